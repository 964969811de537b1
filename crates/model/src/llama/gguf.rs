//! What a llama is in a GGUF file.

use super::{Config, Llama};
use crate::contract::Model;
use crate::error::Error;
use crate::gguf::{EMBEDDING, GgufTensor, HEAD, Keys, Layout, renamed};
use foretoken_formats::gguf::{Gguf, Value};

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

/// Fields of the config, and the keys that hold them.
const KEYS: [(&str, &str); 9] = [
    ("vocab_size", EMBEDDING),
    ("max_position_embeddings", "context_length"),
    ("hidden_size", "embedding_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("intermediate_size", "feed_forward_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
];

impl Llama {
    /// The model of a GGUF file whose architecture is `llama`; without a tensor `output.weight` its head is the embedding.
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
            max_position_embeddings: keys.size("context_length")?,
            hidden_size: keys.size("embedding_length")?,
            num_hidden_layers: keys.size("block_count")?,
            num_attention_heads: keys.size("attention.head_count")?,
            num_key_value_heads: keys.optional_size("attention.head_count_kv")?,
            intermediate_size: keys.size("feed_forward_length")?,
            rms_norm_eps: keys.float("attention.layer_norm_rms_epsilon")? as f32,
            rope_theta: keys.optional_float("rope.freq_base")?.unwrap_or(1e4),
            bos_token_id: keys.token("bos")?,
            eos_token_id: keys.token("eos")?,
            tie_word_embeddings: file.tensor(HEAD).is_none(),
            ..Config::default()
        };
        let model = Self::new(config).map_err(|error| keys.in_file(&KEYS, error))?;
        let dims = model.dims;
        for (name, expected) in [
            ("vocab_size", dims.vocab_size),
            ("rope.dimension_count", dims.head_dim()),
            ("attention.key_length", dims.head_dim()),
            ("attention.value_length", dims.head_dim()),
        ] {
            keys.expect(name, keys.optional_size(name)?, expected)?;
        }
        keys.expect_neutral()?;
        Ok(model)
    }
}

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
