//! Names of tensors in a folder, from their names in a GGUF file.

/// From a GGUF file's name of a tensor to the module in a folder and the tensor's name in it.
pub(crate) type Naming = fn(&str) -> (String, &str);

/// The module that `name`'s tensor belongs to and the tensor's name in it: `blk.0.attn_q.weight` is
/// `("model.layers.0.self_attn.q_proj", "weight")`.
pub(crate) fn hugging_face(name: &str) -> (String, &str) {
    let (module, tensor) = name.rsplit_once('.').unwrap_or((name, ""));
    let in_layer = module.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let module = match (module, in_layer) {
        ("token_embd", _) => "model.embed_tokens".into(),
        ("output", _) => "lm_head".into(),
        ("output_norm", _) => "model.norm".into(),
        (_, Some((layer, part))) => {
            let part = match part {
                "attn_norm" => "input_layernorm",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "attn_q_norm" => "self_attn.q_norm",
                "attn_k_norm" => "self_attn.k_norm",
                "ffn_norm" => "post_attention_layernorm",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_up" => "mlp.up_proj",
                "ffn_down" => "mlp.down_proj",
                other => other,
            };
            format!("model.layers.{layer}.{part}")
        }
        (other, None) => other.into(),
    };
    (module, tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_a_module_and_a_tensor() {
        for (gguf, module, tensor) in [
            ("token_embd.weight", "model.embed_tokens", "weight"),
            ("output.weight", "lm_head", "weight"),
            ("blk.17.attn_k.bias", "model.layers.17.self_attn.k_proj", "bias"),
            ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm", "weight"),
        ] {
            assert_eq!(hugging_face(gguf), (module.to_string(), tensor));
        }
    }
}
