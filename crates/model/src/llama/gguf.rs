//! What a llama is in a GGUF file.

use super::Llama;
use crate::contract::Model;
use crate::gguf::{GgufTensor, Layout, renamed};
use foretoken_formats::gguf::Value;

/// Names of tensors: Hugging Face's and llama.cpp's.
const STEMS: [(&str, &str); 12] = [
    ("model.embed_tokens", "token_embd"),
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
];

/// Matrices are (out,in) in both; queries and keys are turned.
pub(super) fn tensors(model: &Llama) -> Vec<GgufTensor> {
    let (h, h_kv) = (model.dims.n_head, model.config.n_kv_head());
    let specs = model.table.specs().iter();
    specs
        .map(|spec| GgufTensor {
            name: renamed(&spec.name, "model.layers.", &STEMS),
            layout: match &*spec.name {
                name if name.ends_with("q_proj.weight") => Layout::Turned { heads: h },
                name if name.ends_with("k_proj.weight") => Layout::Turned { heads: h_kv },
                _ => Layout::Same,
            },
        })
        .collect()
}

/// The keys that say its sizes.
pub(super) fn metadata(model: &Llama) -> Vec<(&'static str, Value<'static>)> {
    let dims = model.dims();
    let size = |size: usize| Value::U32(size as u32); // the config is bounded
    vec![
        ("general.architecture", Value::String(Llama::MODEL_TYPE)),
        ("llama.block_count", size(dims.n_layer)),
        ("llama.context_length", size(dims.n_positions)),
        ("llama.embedding_length", size(dims.n_embd)),
        ("llama.feed_forward_length", size(dims.n_inner)),
        ("llama.attention.head_count", size(dims.n_head)),
        ("llama.attention.head_count_kv", size(model.config.n_kv_head())),
        ("llama.rope.freq_base", Value::F32(model.config.rope_theta as f32)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Value::F32(model.config.rms_norm_eps),
        ),
        ("llama.vocab_size", size(dims.vocab_size)),
        ("llama.rope.dimension_count", size(dims.head_dim())),
    ]
}
