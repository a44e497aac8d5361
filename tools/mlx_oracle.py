"""MLX as an oracle for the Hugging Face loader, on Linux's CPU.

    python -m venv VENV && VENV/bin/pip install "mlx[cpu]==0.32.4" mlx-lm gguf
    VENV/bin/python tools/mlx_oracle.py convert MODEL.gguf FOLDER --bits 4 --group 64 --dtype bfloat16
    VENV/bin/python tools/mlx_oracle.py logits FOLDER IDS.txt BASE [--context 512]
    VENV/bin/python tools/mlx_oracle.py greedy FOLDER N ID ...

`convert` makes a folder as mlx-community publishes them: config.json and safetensors, affine quantized for
--bits 4 or 8, plain for --bits 0; --shards cuts it into files with an index; --down-bits quantizes
mlp.down_proj otherwise, as mixed recipes do.

`logits` runs the second half of each chunk of IDS (token ids in text) through mlx-lm and writes log
probabilities as llama-perplexity's --kl-divergence-base does, for the example `kl_divergence`. `greedy` prints
N token ids. Both compute in float32 (the weights' values stay what they are), so that MLX's own rounding is
out of the comparison.
"""

import argparse
import json
import struct
from pathlib import Path

import mlx.core as mx
import numpy as np

PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {"token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm"}


def convert(args):
    import gguf

    reader = gguf.GGUFReader(args.model)
    meta = {key: field.contents() for key, field in reader.fields.items() if "tokenizer" not in key}
    arch = meta["general.architecture"]
    get = lambda key, default=None: meta.get(f"{arch}.{key}", default)
    names = [tensor.name for tensor in reader.tensors]
    n_heads, hidden = get("attention.head_count"), get("embedding_length")
    n_kv_heads = get("attention.head_count_kv", n_heads)
    config = {
        "model_type": arch,
        "hidden_size": hidden,
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "head_dim": get("attention.key_length", hidden // n_heads),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "rope_theta": get("rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in names,
        "hidden_act": "silu",
    }
    dtype = getattr(mx, args.dtype)
    weights, overrides = {}, {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        values = np.ascontiguousarray(values, dtype=np.float32).reshape([int(n) for n in reversed(tensor.shape)])
        base, kind = tensor.name.rsplit(".", 1)
        if base == "token_embd":
            config["vocab_size"] = values.shape[0]
        if base in TOP:
            module = TOP[base]
        else:
            _, layer, part = base.split(".")
            module = f"model.layers.{layer}.{PARTS[part]}"
            if arch == "llama" and part in ("attn_q", "attn_k"):
                # GGUF pairs neighbours for RoPE, Hugging Face halves.
                heads = n_heads if part == "attn_q" else n_kv_heads
                values = values.reshape(heads, values.shape[0] // heads // 2, 2, -1).swapaxes(1, 2)
                values = values.reshape(-1, values.shape[-1])
        array = mx.array(values).astype(dtype)
        if array.ndim == 2 and args.bits:
            bits = args.down_bits if args.down_bits and module.endswith("down_proj") else args.bits
            if bits != args.bits:
                overrides[module] = {"group_size": args.group, "bits": bits}
            parts = mx.quantize(array, group_size=args.group, bits=bits)
            weights.update(zip((f"{module}.weight", f"{module}.scales", f"{module}.biases"), parts))
        else:
            weights[f"{module}.{kind}"] = array
        mx.eval(list(weights.values())[-3:])
    if args.bits:
        config["quantization"] = {"group_size": args.group, "bits": args.bits, **overrides}
        config["quantization_config"] = config["quantization"]
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    if args.shards == 1:
        mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
        return
    weight_map = {}
    for i in range(args.shards):
        name = f"model-{i + 1:05}-of-{args.shards:05}.safetensors"
        part = dict(list(weights.items())[i :: args.shards])
        mx.save_safetensors(str(folder / name), part, metadata={"format": "mlx"})
        weight_map.update(dict.fromkeys(part, name))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def load(folder):
    from mlx_lm.utils import load_model

    model, _ = load_model(Path(folder))
    model.set_dtype(mx.float32)
    return model


def logits(args):
    model = load(args.folder)
    ids = [int(word) for word in Path(args.ids).read_text().split()]
    n_ctx = args.context
    n_chunks = len(ids) // n_ctx
    with open(args.base, "wb") as out:
        for chunk in range(n_chunks):
            tokens = ids[chunk * n_ctx : (chunk + 1) * n_ctx]
            rows = np.array(model(mx.array([tokens]))[0, n_ctx // 2 : n_ctx - 1])
            n_vocab = rows.shape[1]
            if chunk == 0:
                out.write(b"_logits_" + struct.pack("<iii", n_ctx, n_vocab, n_chunks))
                out.write(np.array(ids[: n_chunks * n_ctx], dtype="<i4").tobytes())
            for row in rows.astype(np.float64):
                largest = row.max()
                smallest = max(row.min(), largest - 16.0)
                log_sum = largest + np.log(np.exp(row - largest).sum())
                scale = (largest - smallest) / 65535.0
                codes = np.rint(np.maximum(row - smallest, 0.0) / scale).astype("<u2")
                codes = np.concatenate([codes, np.zeros(n_vocab % 2, "<u2")])
                out.write(struct.pack("<ff", scale, smallest - log_sum) + codes.tobytes())
            print(f"chunk {chunk + 1} of {n_chunks}", flush=True)


def greedy(args):
    from mlx_lm.generate import generate_step

    model = load(args.folder)
    steps = generate_step(mx.array(args.ids), model, max_tokens=args.n)
    print([int(token) for token, _ in steps])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("convert")
    command.set_defaults(run=convert)
    command.add_argument("model")
    command.add_argument("folder")
    command.add_argument("--bits", type=int, default=4)
    command.add_argument("--group", type=int, default=64)
    command.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    command.add_argument("--down-bits", type=int, default=0)
    command.add_argument("--shards", type=int, default=1)
    command = commands.add_parser("logits")
    command.set_defaults(run=logits)
    command.add_argument("folder")
    command.add_argument("ids")
    command.add_argument("base")
    command.add_argument("--context", type=int, default=512)
    command = commands.add_parser("greedy")
    command.set_defaults(run=greedy)
    command.add_argument("folder")
    command.add_argument("n", type=int)
    command.add_argument("ids", type=int, nargs="+")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
