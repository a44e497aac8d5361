"""Train an EAGLE-3 head on a GPU, from the answers that `nano-reasoning distill --collect-only` keeps.

    python -m venv VENV && VENV/bin/pip install torch numpy gguf safetensors
    VENV/bin/python tools/train_head.py train TARGET.gguf FOLDER/samples OUT [--head HEAD] [--steps N]
    VENV/bin/python tools/train_head.py golden crates/train/tests/golden

`train` does what `distill` does after collecting: a training-time test (Li et al. 2025, arXiv 2503.01840) over rows of
the target's own output matrix, with the loss of crates/train/src/loss.rs. OUT becomes a folder of config.json and
model.safetensors with SpecForge's names, for `--head OUT`; it has no output matrix, which `nano-reasoning head export`
adds for servers. HEAD is such a folder to go on from; without one the head starts as the target's last layer.

`golden` computes losses, guesses and gradients of a tiny case in float64. The test crates/train/tests/golden.rs wants the
same of the Rust trainer, so that the two cannot come apart unseen.
"""

import argparse
import json
import math
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

# Names of a head's tensors in SpecForge's files.
NAMES = {
    "q": "midlayer.self_attn.q_proj.weight",
    "k": "midlayer.self_attn.k_proj.weight",
    "v": "midlayer.self_attn.v_proj.weight",
    "o": "midlayer.self_attn.o_proj.weight",
    "gate": "midlayer.mlp.gate_proj.weight",
    "up": "midlayer.mlp.up_proj.weight",
    "down": "midlayer.mlp.down_proj.weight",
    "fc": "fc.weight",
    "input_norm": "midlayer.input_layernorm.weight",
    "hidden_norm": "midlayer.hidden_norm.weight",
    "post_norm": "midlayer.post_attention_layernorm.weight",
    "norm": "norm.weight",
}


@dataclass
class Config:
    """Sizes of a head."""

    hidden: int
    ffn: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab: int
    eps: float
    theta: float
    taps: list
    context: int = 8192

    def to_json(self, n_core):
        """What config.json says; `eagle_config` counts outputs of layers, the list at the top inputs."""
        return {
            "architectures": ["LlamaForCausalLMEagle3"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": 1,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.context,
            "vocab_size": self.vocab,
            "draft_vocab_size": n_core,
            "rms_norm_eps": self.eps,
            "rope_theta": self.theta,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "eagle_aux_hidden_state_layer_ids": self.taps,
            "eagle_config": {
                "use_aux_hidden_state": True,
                "eagle_aux_hidden_state_layer_ids": [t - 1 for t in self.taps] if min(self.taps) > 0 else None,
            },
        }

    @classmethod
    def from_json(cls, c):
        """The reverse, of a folder that this script or `distill` wrote."""
        return cls(
            c["hidden_size"], c["intermediate_size"], c["num_attention_heads"], c["num_key_value_heads"],
            c["head_dim"], c["vocab_size"], c["rms_norm_eps"], c["rope_theta"],
            c["eagle_aux_hidden_state_layer_ids"], c["max_position_embeddings"],
        )  # fmt: skip

    def shapes(self):
        """The shape of each tensor."""
        h, q, kv = self.hidden, self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        matrices = {
            "q": (q, 2 * h), "k": (kv, 2 * h), "v": (kv, 2 * h), "o": (h, q), "gate": (self.ffn, h),
            "up": (self.ffn, h), "down": (h, self.ffn), "fc": (h, len(self.taps) * h),
        }  # fmt: skip
        return matrices | {norm: (h,) for norm in ("input_norm", "hidden_norm", "post_norm", "norm")}


class Target:
    """What a head needs of its target: embeddings, output matrix, sizes, and the last layer to start from."""

    def __init__(self, path, device="cpu", dtype=torch.float32):
        from gguf import GGUFReader
        from gguf.quants import dequantize

        self.reader = GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.dequantize = dequantize
        self.arch = self.reader.fields["general.architecture"].contents()
        self.embeddings = self.tensor("token_embd.weight").to(device, dtype)
        is_tied = "output.weight" not in self.tensors
        self.output = self.embeddings if is_tied else self.tensor("output.weight").to(device, dtype)

    def tensor(self, name):
        """One tensor's numbers."""
        tensor = self.tensors[name]
        numbers = self.dequantize(tensor.data, tensor.tensor_type)
        return torch.tensor(np.asarray(numbers)).float()

    def number(self, key, default=None):
        """A number of the metadata."""
        field = self.reader.fields.get(f"{self.arch}.{key}")
        return default if field is None else field.contents()

    def config(self, taps):
        """Sizes of a new head."""
        hidden, n_heads = self.number("embedding_length"), self.number("attention.head_count")
        n_kv_heads = self.number("attention.head_count_kv", n_heads)
        head_dim = self.number("attention.key_length", hidden // n_heads)
        # The shortest number that is the same in f32: 1e-6, not 9.999999974752427e-7.
        eps = float(str(np.float32(self.number("attention.layer_norm_rms_epsilon"))))
        return Config(
            hidden, self.number("feed_forward_length"), n_heads, n_kv_heads, head_dim, len(self.embeddings),
            eps, self.number("rope.freq_base", 10000.0), taps, self.number("context_length"),
        )  # fmt: skip

    def warm_start(self, config, generator):
        """A new head: the last layer behind the last tap, with a little of everything else (values.rs)."""
        block = f"blk.{self.number('block_count') - 1}."
        take = lambda name: self.tensor(f"{block}{name}.weight")
        draw = lambda rows, cols, width: torch.randn(rows, cols, generator=generator) * width
        shapes, h = config.shapes(), config.hidden

        def halves(matrix, n_heads):
            # llama.cpp keeps the rows that RoPE pairs beside each other in models of the Llama family.
            if self.arch not in ("llama", "mistral"):
                return matrix
            return matrix.view(n_heads, config.head_dim // 2, 2, -1).transpose(1, 2).reshape(matrix.shape)

        beside = lambda matrix: torch.cat([draw(len(matrix), h, 0.25 * 0.02), matrix], 1)
        fc = draw(*shapes["fc"], 0.1 * 0.02)
        fc[:, -h:] += torch.eye(h)
        return {
            "q": beside(halves(take("attn_q"), config.n_heads)),
            "k": beside(halves(take("attn_k"), config.n_kv_heads)),
            "v": beside(take("attn_v")),
            "o": take("attn_output"),
            "gate": take("ffn_gate"),
            "up": take("ffn_up"),
            "down": take("ffn_down"),
            "fc": fc,
            "input_norm": torch.ones(h),
            "hidden_norm": take("attn_norm"),
            "post_norm": take("ffn_norm"),
            "norm": self.tensor("output_norm.weight"),
        }


class Sample:
    """One answer with its hidden states: the format of crates/train/src/sample_file.rs."""

    def __init__(self, path):
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["nano-reasoning.sample"])
            self.tokens = file.get_tensor("tokens").long()
            self.states = file.get_tensor("states").flatten(1)
            self.hidden = file.get_tensor("hidden")
            self.is_answer = file.get_tensor("is_answer")
        assert header["version"] == 1, f"{path}: version {header['version']}, not 1"
        self.info, self.path = header, path
        self.position, self.first_hidden = header["position"], header["first_hidden"]
        entries = range(max(self.first_hidden - 1, 0), max(len(self.tokens) - 2, 0))
        # Entries from which a draft can be learnt: the token after the next is an answer's.
        self.bases = [entry for entry in entries if self.is_answer[entry + 2]]


def exact(dtype):
    """The type for sums over many numbers."""
    return torch.promote_types(dtype, torch.float32)


class Head:
    """A head over the tokens `core`; `weights` are the tensors of `NAMES`."""

    def __init__(self, config, weights, core):
        self.config, self.weights, self.core = config, weights, core
        pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
        self.frequencies = config.theta**-pairs

    def norm(self, x, name):
        """RMS norm, whatever x's type."""
        wide = x.to(exact(x.dtype))
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.config.eps)
        return (wide * scale).to(x.dtype) * self.weights[name].to(x.dtype)

    def rotate(self, x, positions):
        """x [n, heads, head_dim]; halves are paired."""
        angles = (positions.double()[:, None] * self.frequencies.to(x.device))[:, None]
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def steps(self, sample, bases, n_steps, target):
        """Yields, for each step, the rows' normed outputs [n_rows, hidden]; row r starts from entry bases[r]."""
        config, w = self.config, self.weights
        device, dtype = target.embeddings.device, target.embeddings.dtype
        tokens, base = sample.tokens.to(device), torch.tensor(bases, device=device)
        n, group = int(base.max()) + 1, config.n_heads // config.n_kv_heads
        linear = lambda x, name: F.linear(x, w[name].to(dtype))
        heads = lambda x: x.view(len(x), -1, config.head_dim)

        def inputs(tokens, g):
            embeddings = F.embedding(tokens, target.embeddings)
            return torch.cat([self.norm(embeddings, "input_norm"), self.norm(g, "hidden_norm")], -1)

        # All entries of the text have keys and values; only the rows go through the rest of the layer.
        fused = linear(sample.states[:n].to(device, dtype), "fc")
        x = inputs(tokens[1 : n + 1], fused)
        places = sample.position + torch.arange(n, device=device)
        keys, values = self.rotate(heads(linear(x, "k")), places), heads(linear(x, "v"))
        hides = torch.arange(n, device=device)[None] > base[:, None]
        g, own = fused[base], []
        for i in range(n_steps):
            at = base + 1 + i
            # Beyond the text there is no token; such a row counts for nothing.
            token = torch.where(at < len(tokens), tokens[at.clamp_max(len(tokens) - 1)], 0)
            x = inputs(token, g)
            places = sample.position + base + i
            q = self.rotate(heads(linear(x, "q")), places).view(len(base), config.n_kv_heads, group, -1)
            if i > 0:
                own.append((self.rotate(heads(linear(x, "k")), places), heads(linear(x, "v"))))
            scores = torch.einsum("rkgd,nkd->rkgn", q, keys).masked_fill(hides[:, None, None], -math.inf)
            scores = torch.cat([scores] + [(q * k[:, :, None]).sum(-1, keepdim=True) for k, _ in own], -1)
            p = torch.softmax((scores * config.head_dim**-0.5).to(exact(dtype)), -1).to(dtype)
            out = torch.einsum("rkgn,nkd->rkgd", p[..., :n], values)
            for j, (_, v) in enumerate(own):
                out = out + p[..., n + j, None] * v[:, :, None]
            a = g + linear(out.flatten(1), "o")
            t = self.norm(a, "post_norm")
            g = a + linear(F.silu(linear(t, "gate")) * linear(t, "up"), "down")
            yield self.norm(g, "norm")

    def loss(self, sample, bases, target, n_steps, decay, acceptance):
        """The loss of the rows, as `HeadTrainer::learn` has it, by step; and how many tokens in a row each guesses.

        A step's loss is the mean over its rows of (1 - acceptance) * cross-entropy - acceptance * ln(sum of min(p, q)),
        times decay to the power of the step, over the head's tokens and the sample's.
        """
        device = target.embeddings.device
        seen = dict.fromkeys(self.core)
        seen.update(dict.fromkeys(sample.tokens.tolist()))
        vocabulary = torch.tensor(list(seen), device=device)
        rows = target.output[vocabulary]
        losses, n_right = [], [0] * len(bases)
        for i, z in enumerate(self.steps(sample, bases, n_steps, target)):
            counted = [r for r, b in enumerate(bases) if b + 2 + i < len(sample.tokens) and sample.is_answer[b + 2 + i]]
            if not counted:
                losses.append(z.sum() * 0.0)
                continue
            here = torch.tensor([bases[r] + 1 + i for r in counted])
            hidden = sample.hidden[here - sample.first_hidden].to(rows)
            p = torch.softmax(F.linear(hidden, rows).to(exact(rows.dtype)), -1)
            log_q = torch.log_softmax(F.linear(z[counted], rows).to(exact(rows.dtype)), -1)
            of_rows = -(1.0 - acceptance) * (p * log_q).sum(-1)
            overlap = torch.minimum(p, log_q.exp()).sum(-1).clamp_min(1e-6)
            losses.append(decay**i * (of_rows - acceptance * overlap.log()).mean())
            guesses = vocabulary[log_q.argmax(-1)].tolist()
            for r, guess in zip(counted, guesses):
                if guess == int(sample.tokens[bases[r] + 2 + i]) and n_right[r] == i:
                    n_right[r] += 1
        return losses, n_right

    def write(self, folder, dtype=torch.bfloat16):
        """Writes config.json and model.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {NAMES[name]: w.detach().to("cpu", dtype).contiguous() for name, w in self.weights.items()}
        core = torch.tensor(self.core)
        tensors["d2t"] = core - torch.arange(len(core))
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(self.config.to_json(len(core)), indent=2) + "\n")

    @classmethod
    def read(cls, folder):
        """Reads what `write` or `distill` wrote; an output matrix is the target's rows and is left out."""
        tensors = load_file(folder / "model.safetensors")
        config = Config.from_json(json.loads((folder / "config.json").read_text()))
        core = tensors["d2t"] + torch.arange(len(tensors["d2t"]))
        return cls(config, {name: tensors[key].float() for name, key in NAMES.items()}, core.tolist())


def rate(done, args):
    """The learning rate after `done` steps: as `Distillation::rate`."""
    share = (done + 1) / args.steps
    rise = min(1.0, share / 0.02)
    return args.learning_rate * rise * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def evaluate(head, samples, target, args):
    """Mean loss of a row, and tokens a pass when drafts are replayed over `samples`."""
    loss, n_rows, n_right, n_passes = 0.0, 0, 0, 0
    with torch.no_grad():
        for sample in samples:
            right, bases = [], sample.bases
            for first in range(0, len(bases), args.chunk_rows):
                chunk = bases[first : first + args.chunk_rows]
                losses, guessed = head.loss(sample, chunk, target, args.draft_len, args.decay, args.acceptance)
                loss += float(sum(losses)) * len(chunk)
                right += guessed
            n_rows += len(bases)
            following = 0
            for base, right in zip(bases, right):
                if base >= following:
                    n_right, n_passes, following = n_right + right, n_passes + 1, base + right + 1
    return loss / max(n_rows, 1), 1.0 + n_right / max(n_passes, 1)


def train(args):
    """Learns from the files, and keeps the head that brings most tokens a pass on those held out."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    target = Target(args.target, device, dtype)
    samples = [Sample(path) for path in sorted(args.samples.rglob("*.safetensors"))]
    samples = sorted((sample for sample in samples if sample.bases), key=lambda sample: sample.info["id"])
    kinds = {json.dumps([s.info[key] for key in ("target", "taps", "hidden_dim")]) for s in samples}
    assert len(kinds) == 1, f"answers of {len(kinds)} models or heads in {args.samples}"
    held_out = [s for s in samples if zlib.crc32(s.info["id"].encode()) % 10 == 0] or samples[:1]
    samples = [s for s in samples if s not in held_out]
    assert samples, "answers to learn from and some to hold out are wanted"
    if args.head:
        head = Head.read(args.head)
        assert head.config.taps == samples[0].info["taps"], "the answers were collected for other taps"
    else:
        counts = Counter(t for s in samples + held_out for t in s.tokens[s.is_answer].tolist())
        core = sorted(counts, key=lambda token: (-counts[token], token))[: args.core_vocab]
        config = target.config(samples[0].info["taps"])
        head = Head(config, target.warm_start(config, torch.Generator().manual_seed(args.seed)), core)
    head.weights = {name: w.to(device).requires_grad_() for name, w in head.weights.items()}
    chunks = [
        (sample, sample.bases[first : first + args.chunk_rows])
        for sample in samples
        for first in range(0, len(sample.bases), args.chunk_rows)
    ]
    parameters = list(head.weights.values())
    adamw = torch.optim.AdamW(parameters, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    order, generator = [], np.random.default_rng(args.seed)
    every, best = max(args.steps // 10, 1), (0.0, 0.0)
    print(f"{len(samples)} answers, {len(held_out)} held out, {len(head.core)} tokens of its own, {device}")
    for done in range(args.steps + 1):
        if done % every == 0 or done == args.steps:
            loss, tokens_a_pass = evaluate(head, held_out, target, args)
            print(f"step {done}: held out, loss {loss:.4f}, τ {tokens_a_pass:.3f}", flush=True)
            if (tokens_a_pass, -loss) > best:
                best = tokens_a_pass, -loss
                head.write(args.out)
        if done == args.steps:
            break
        while len(order) < args.step_chunks:
            order += generator.permutation(len(chunks)).tolist()
        step, order = [chunks[i] for i in order[: args.step_chunks]], order[args.step_chunks :]
        n_rows = sum(len(bases) for _, bases in step)
        for sample, bases in step:
            losses, _ = head.loss(sample, bases, target, args.draft_len, args.decay, args.acceptance)
            (sum(losses) * (len(bases) / n_rows)).backward()
        adamw.param_groups[0]["lr"] = rate(done, args)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adamw.step()
        adamw.zero_grad(set_to_none=True)
    print(f"best τ {best[0]:.3f}: {args.out}")


def tiny_target(path, generator):
    """A target of two layers with random weights."""
    from gguf import GGUFWriter

    hidden, ffn, n_heads, n_kv, head_dim, vocab = 32, 32, 2, 1, 16, 48
    writer = GGUFWriter(path, "llama")
    sizes = {
        "block_count": 2, "embedding_length": hidden, "feed_forward_length": ffn, "context_length": 128,
        "attention.head_count": n_heads, "attention.head_count_kv": n_kv, "attention.key_length": head_dim,
        "attention.value_length": head_dim, "rope.dimension_count": head_dim,
    }  # fmt: skip
    for key, value in sizes.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    q, kv = n_heads * head_dim, n_kv * head_dim
    shapes = {"token_embd": (vocab, hidden), "output": (vocab, hidden), "output_norm": (hidden,)}
    layer = {
        "attn_norm": (hidden,), "attn_q": (q, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden),
        "attn_output": (hidden, q), "ffn_norm": (hidden,), "ffn_gate": (ffn, hidden), "ffn_up": (ffn, hidden),
        "ffn_down": (hidden, ffn),
    }  # fmt: skip
    shapes |= {f"blk.{i}.{name}": shape for i in range(2) for name, shape in layer.items()}
    for name, shape in shapes.items():
        numbers = generator.standard_normal(shape)
        numbers = numbers * 1.5 / math.sqrt(shape[-1]) if len(shape) == 2 else 1.0 + 0.3 * numbers
        writer.add_tensor(f"{name}.weight", numbers.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tiny_sample(path, generator):
    """An answer of random numbers: prompt, answer, a token that is none, and a position that is not 0."""
    n, first_hidden, hidden = 14, 4, 32
    numbers = lambda *shape: torch.from_numpy(generator.standard_normal(shape)).half()
    tensors = {
        "tokens": torch.from_numpy((np.arange(n) * 29 % 48).astype(np.uint32)),
        "states": numbers(n, 2, hidden),
        "hidden": numbers(n - first_hidden, hidden),
        "is_answer": torch.tensor([first_hidden <= i != 9 for i in range(n)]),
    }
    header = {
        "version": 1, "position": 3, "first_hidden": first_hidden, "id": "golden/0", "task": "golden",
        "target": "0", "taps": [0, 1], "hidden_dim": hidden,
    }  # fmt: skip
    save_file(tensors, path, metadata={"nano-reasoning.sample": json.dumps(header)})


def golden(args):
    """Writes a tiny target, head and sample where there are none, and what the loss of each setting is."""
    folder = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    paths = folder / "target.gguf", folder / "head", folder / "sample.safetensors"
    if not all(path.exists() for path in paths):
        tiny_target(paths[0], generator)
        tiny_sample(paths[2], generator)
        config = Target(paths[0]).config([0, 1])
        weights = {}
        for name, shape in config.shapes().items():
            numbers = torch.from_numpy(generator.standard_normal(shape)).float()
            weights[name] = numbers * 1.5 / math.sqrt(shape[-1]) if len(shape) == 2 else 1.0 + 0.3 * numbers
        Head(config, weights, [i * 31 % 48 for i in range(20)]).write(paths[1], torch.float32)
    target, head, sample = Target(paths[0], dtype=torch.float64), Head.read(paths[1]), Sample(paths[2])
    cases = []
    settings = [(n, 0.8, a) for a in (0.0, 0.5, 1.0) for n in (1, 2, 3, 5)] + [(3, 0.5, 0.5)]
    for n_steps, decay, acceptance in settings:
        head.weights = {name: w.detach().double().requires_grad_() for name, w in head.weights.items()}
        losses, n_right = head.loss(sample, sample.bases, target, n_steps, decay, acceptance)
        sum(losses).backward()
        cases.append({
            "n_steps": n_steps, "decay": decay, "acceptance": acceptance,
            "steps": [float(loss.detach()) for loss in losses], "n_right": n_right,
            "gradient_norms": {name: float(w.grad.norm()) for name, w in head.weights.items()},
        })  # fmt: skip
    (folder / "losses.json").write_text(json.dumps(cases, indent=1) + "\n")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a head from collected answers")
    command.set_defaults(run=train)
    command.add_argument("target", type=Path, help="the target's GGUF file")
    command.add_argument("samples", type=Path, help="folder of answers")
    command.add_argument("out", type=Path, help="folder for the head")
    command.add_argument("--head", type=Path, help="folder of a head to go on from")
    command.add_argument("--steps", type=int, default=1000)
    command.add_argument("--step-chunks", type=int, default=4, help="chunks of a step")
    command.add_argument("--chunk-rows", type=int, default=512, help="rows of a chunk at most")
    command.add_argument("--draft-len", type=int, default=3, help="steps of the training-time test")
    command.add_argument("--decay", type=float, default=0.8, help="weight of each beside the one before")
    command.add_argument("--acceptance", type=float, default=0.5, help="share of the acceptance term")
    command.add_argument("--learning-rate", type=float, default=5e-4)
    command.add_argument("--core-vocab", type=int, default=12288, help="tokens of a new head's own")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--device", help="cuda, cpu [default: a GPU where there is one]")
    command = commands.add_parser("golden", help="write what the Rust trainer is tested against")
    command.set_defaults(run=golden)
    command.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
