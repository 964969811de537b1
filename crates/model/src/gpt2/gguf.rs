//! What a GPT-2 is in a GGUF file.

use super::Gpt2;
use crate::contract::Model;
use crate::gguf::{GgufTensor, Layout, renamed};
use foretoken_formats::gguf::Value;

/// Names of tensors: Hugging Face's and llama.cpp's.
const STEMS: [(&str, &str); 9] = [
    ("wte", "token_embd"),
    ("wpe", "position_embd"),
    ("ln_1", "attn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("ln_2", "ffn_norm"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
    ("ln_f", "output_norm"),
];

/// Exactly the hidden matrices are (in,out) in Hugging Face's files.
pub(super) fn tensors(model: &Gpt2) -> Vec<GgufTensor> {
    let specs = model.table.specs().iter();
    specs
        .map(|spec| GgufTensor {
            name: renamed(&spec.name, "h.", &STEMS),
            layout: match spec.hidden {
                Some(_) => Layout::Transposed,
                None => Layout::Same,
            },
        })
        .collect()
}

/// The keys that say its sizes.
pub(super) fn metadata(model: &Gpt2) -> Vec<(&'static str, Value<'static>)> {
    let dims = model.dims();
    let size = |size: usize| Value::U32(size as u32); // the config is bounded
    vec![
        ("general.architecture", Value::String(Gpt2::MODEL_TYPE)),
        ("gpt2.block_count", size(dims.n_layer)),
        ("gpt2.context_length", size(dims.n_positions)),
        ("gpt2.embedding_length", size(dims.n_embd)),
        ("gpt2.feed_forward_length", size(dims.n_inner)),
        ("gpt2.attention.head_count", size(dims.n_head)),
        (
            "gpt2.attention.layer_norm_epsilon",
            Value::F32(model.config.layer_norm_epsilon),
        ),
    ]
}
