//! What a GPT-2 is in a GGUF file.

use super::{Config, Gpt2};
use crate::contract::Model;
use crate::error::Error;
use crate::gguf::{EMBEDDING, GgufTensor, Keys, Layout, renamed};
use foretoken_formats::gguf::{Gguf, Value};

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

/// Fields of the config, and the keys that hold them.
const KEYS: [(&str, &str); 7] = [
    ("vocab_size", EMBEDDING),
    ("n_positions", "context_length"),
    ("n_embd", "embedding_length"),
    ("n_layer", "block_count"),
    ("n_head", "attention.head_count"),
    ("n_inner", "feed_forward_length"),
    ("layer_norm_epsilon", "attention.layer_norm_epsilon"),
];

impl Gpt2 {
    /// The model of a GGUF file whose architecture is `gpt2`.
    ///
    /// # Errors
    /// A key is missing, of the wrong type, impossible, or asks for what is not computed here.
    pub fn from_gguf(file: &Gguf) -> Result<Self, Error> {
        let keys = Keys {
            file,
            arch: Self::MODEL_TYPE,
        };
        let config = Config {
            vocab_size: keys.vocab_size()?,
            n_positions: keys.size("context_length")?,
            n_embd: keys.size("embedding_length")?,
            n_layer: keys.size("block_count")?,
            n_head: keys.size("attention.head_count")?,
            n_inner: keys.optional_size("feed_forward_length")?,
            layer_norm_epsilon: keys.float("attention.layer_norm_epsilon")? as f32,
            bos_token_id: keys.token("bos")?,
            eos_token_id: keys.token("eos")?,
            ..Config::default()
        };
        let h = config.n_head;
        let model = Self::new(config).map_err(|error| keys.in_file(&KEYS, error))?;
        keys.expect(
            "attention.head_count_kv",
            keys.optional_size("attention.head_count_kv")?,
            h,
        )?;
        keys.expect_neutral()?;
        Ok(model)
    }
}

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
