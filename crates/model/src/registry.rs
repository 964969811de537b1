//! The variants there are, and named sizes.

use crate::contract::Model;
use crate::error::Error;
use crate::gpt2::{self, Gpt2};
use crate::llama::{self, Llama};
use foretoken_formats::gguf::{Gguf, Value};
use serde::{Deserialize, Serialize};

/// One row a variant.
struct Variant {
    /// `model_type` in the config.
    model_type: &'static str,
    /// Makes a model from its config.
    from_config: fn(&serde_json::Value) -> Result<Box<dyn Model>, Error>,
    /// Makes a model from the keys of a GGUF file.
    from_gguf: fn(&Gguf) -> Result<Box<dyn Model>, Error>,
}

const VARIANTS: [Variant; 2] = [
    Variant {
        model_type: Gpt2::MODEL_TYPE,
        from_config: |config| Ok(Box::new(Gpt2::new(gpt2::Config::from_json(config)?)?)),
        from_gguf: |file| Ok(Box::new(Gpt2::from_gguf(file)?)),
    },
    Variant {
        model_type: Llama::MODEL_TYPE,
        from_config: |config| Ok(Box::new(Llama::new(llama::Config::from_json(config)?)?)),
        from_gguf: |file| Ok(Box::new(Llama::from_gguf(file)?)),
    },
];

/// The model of a `config.json`.
///
/// # Errors
/// An unknown `model_type`, a field of the wrong type, a size that is impossible.
pub fn from_config(config: &serde_json::Value) -> Result<Box<dyn Model>, Error> {
    let found = config.get("model_type").and_then(|value| value.as_str());
    match VARIANTS.iter().find(|variant| Some(variant.model_type) == found) {
        Some(variant) => (variant.from_config)(config),
        None => Err(Error::Architecture {
            found: found.map_or_else(|| "missing".into(), |name| format!("`{name}`")),
            known: VARIANTS.iter().map(|variant| variant.model_type).collect(),
        }),
    }
}

/// The model of a GGUF file: `general.architecture` and its keys. Its tensors are looked for by [`crate::gguf_views`].
///
/// # Errors
/// An unknown architecture, a key that is missing or of the wrong type, a size that is impossible, a key that asks for what
/// is not computed here.
pub fn from_gguf(file: &Gguf) -> Result<Box<dyn Model>, Error> {
    let path = || file.path().display().to_string();
    let parts = file.optional("split.count", "a whole number", Value::as_u64)?;
    if let Some(parts) = parts.filter(|&parts| parts > 1) {
        return Err(Error::Key {
            path: path(),
            key: "split.count".into(),
            found: parts.to_string(),
            expected: "1: join the parts first (`llama-gguf-split --merge`)".into(),
        });
    }
    let found = file.require("general.architecture", "a text", Value::as_str)?;
    match VARIANTS.iter().find(|variant| variant.model_type == found) {
        Some(variant) => (variant.from_gguf)(file),
        None => Err(Error::GgufArchitecture {
            path: path(),
            found: found.chars().take(64).collect(),
            known: VARIANTS.iter().map(|variant| variant.model_type).collect(),
        }),
    }
}

/// What may be trained from nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// Learnt positions, layernorm, GELU.
    #[default]
    Gpt2,
    /// Turned positions, RMSNorm, SwiGLU, keys that heads may share.
    Llama,
}

/// The sizes of a model that begins from nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// V.
    pub vocab_size: usize,
    /// The longest context.
    pub n_positions: usize,
    /// d.
    pub n_embd: usize,
    /// L.
    pub n_layer: usize,
    /// h.
    pub n_head: usize,
    /// Heads of keys and values; only a llama may have fewer than h.
    pub n_kv_head: Option<usize>,
    /// Dropout: of embeddings, attention and residuals of a GPT-2, of attention alone of a llama.
    pub dropout: f32,
    /// Token that ends a text.
    pub eos: u32,
}

/// A model of the same kind with another vocabulary, and with this dropout wherever its config knows one: what a run that
/// begins from a model may change of it.
///
/// # Errors
/// [`Error::Config`] where a number is impossible.
pub fn adapted(model: &dyn Model, vocab_size: usize, dropout: f32) -> Result<Box<dyn Model>, Error> {
    let mut config = model.config();
    config["vocab_size"] = vocab_size.into();
    for field in ["embd_pdrop", "resid_pdrop", "attn_pdrop", "attention_dropout"] {
        if let Some(value) = config.get_mut(field) {
            *value = dropout.into();
        }
    }
    from_config(&config)
}

impl Arch {
    /// The kind of this `model_type`.
    pub fn of(model_type: &str) -> Option<Self> {
        [Arch::Gpt2, Arch::Llama]
            .into_iter()
            .find(|arch| arch.model_type() == model_type)
    }

    /// `model_type` of its models.
    pub fn model_type(self) -> &'static str {
        match self {
            Arch::Gpt2 => Gpt2::MODEL_TYPE,
            Arch::Llama => Llama::MODEL_TYPE,
        }
    }

    /// A model of these sizes. Its MLP is 4 d wide, a llama's 8/3 d, rounded up to a multiple of 32: as many parameters in
    /// three matrices as GPT-2 has in two. The head is the embedding.
    ///
    /// # Errors
    /// [`Error::Config`] where a size is impossible.
    pub fn model(self, sizes: &Sizes) -> Result<Box<dyn Model>, Error> {
        let Sizes {
            vocab_size,
            n_positions,
            n_embd,
            n_layer,
            n_head,
            n_kv_head,
            dropout,
            eos,
        } = *sizes;
        Ok(match self {
            Arch::Gpt2 => {
                if let Some(found) = n_kv_head.filter(|&found| found != n_head) {
                    return Err(Error::Config {
                        field: "n_kv_head",
                        found: found.to_string(),
                        expected: format!("n_head = {n_head}: only a llama's heads share keys (--arch llama)"),
                    });
                }
                Box::new(Gpt2::new(gpt2::Config {
                    vocab_size,
                    n_positions,
                    n_embd,
                    n_layer,
                    n_head,
                    resid_pdrop: dropout,
                    embd_pdrop: dropout,
                    attn_pdrop: dropout,
                    bos_token_id: Some(eos),
                    eos_token_id: Some(eos),
                    ..gpt2::Config::default()
                })?)
            }
            Arch::Llama => Box::new(Llama::new(llama::Config {
                vocab_size,
                max_position_embeddings: n_positions,
                hidden_size: n_embd,
                num_hidden_layers: n_layer,
                num_attention_heads: n_head,
                num_key_value_heads: n_kv_head,
                intermediate_size: (n_embd.saturating_mul(8) / 3).next_multiple_of(32),
                attention_dropout: dropout,
                bos_token_id: Some(eos),
                eos_token_id: Some(eos),
                tie_word_embeddings: true,
                ..llama::Config::default()
            })?),
        })
    }
}

/// A named size. Vocabulary and end token of the small ones come from the tokeniser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// What `--preset` takes.
    pub name: &'static str,
    /// L.
    pub n_layer: usize,
    /// h.
    pub n_head: usize,
    /// d.
    pub n_embd: usize,
    /// The longest context.
    pub n_positions: usize,
    /// What it is.
    pub about: &'static str,
}

const fn preset(name: &'static str, sizes: [usize; 4], about: &'static str) -> Preset {
    let [n_layer, n_head, n_embd, n_positions] = sizes;
    Preset {
        name,
        n_layer,
        n_head,
        n_embd,
        n_positions,
        about,
    }
}

/// Every preset, the smallest first. Sizes of GPT-2: Radford et al. 2019; of GPT-3: Brown et al., arXiv 2005.14165, table
/// 2.1 (where its 1.3B row's 24 heads do not divide d = 2048, 16 are taken).
pub const PRESETS: [Preset; 16] = [
    preset(
        "nano",
        [4, 4, 128, 64],
        "seconds on a laptop's CPU: nanoGPT's CPU recipe",
    ),
    preset("tiny", [4, 4, 128, 256], "a minute or two on a laptop's CPU"),
    preset("mini", [6, 6, 192, 256], "minutes on a laptop's CPU"),
    preset(
        "small",
        [6, 6, 384, 256],
        "an hour on a laptop's CPU: nanoGPT's character model",
    ),
    preset("gpt2", [12, 12, 768, 1024], "GPT-2 124M"),
    preset("gpt2-medium", [24, 16, 1024, 1024], "GPT-2 355M"),
    preset("gpt2-large", [36, 20, 1280, 1024], "GPT-2 774M"),
    preset("gpt2-xl", [48, 25, 1600, 1024], "GPT-2 1.6B"),
    preset("gpt3-small", [12, 12, 768, 2048], "GPT-3 125M, to look at"),
    preset("gpt3-medium", [24, 16, 1024, 2048], "GPT-3 350M, to look at"),
    preset("gpt3-large", [24, 16, 1536, 2048], "GPT-3 760M, to look at"),
    preset("gpt3-xl", [24, 16, 2048, 2048], "GPT-3 1.3B, to look at"),
    preset("gpt3-2.7b", [32, 32, 2560, 2048], "GPT-3 2.7B, to look at"),
    preset("gpt3-6.7b", [32, 32, 4096, 2048], "GPT-3 6.7B, to look at"),
    preset("gpt3-13b", [40, 40, 5120, 2048], "GPT-3 13B, to look at"),
    preset("gpt3-175b", [96, 96, 12288, 2048], "GPT-3 175B, to look at"),
];

impl Preset {
    /// A preset by name.
    pub fn find(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Its config, with GPT-2's vocabulary.
    pub fn config(&self) -> gpt2::Config {
        gpt2::Config {
            n_layer: self.n_layer,
            n_head: self.n_head,
            n_embd: self.n_embd,
            n_positions: self.n_positions,
            ..gpt2::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_published_sizes() {
        let count = |name: &str| {
            Gpt2::new(Preset::find(name).unwrap().config())
                .unwrap()
                .params()
                .count()
        };
        assert_eq!(count("gpt2"), 124_439_808);
        assert_eq!(count("gpt2-medium"), 354_823_168);
        assert_eq!(count("gpt2-large"), 774_030_080);
        assert_eq!(count("gpt2-xl"), 1_557_611_200);
        assert!((count("gpt3-175b") as f64 / 1e9 - 175.0).abs() < 1.0);
    }

    #[test]
    fn an_unknown_architecture_and_bad_sizes_are_named() {
        let error = |config| from_config(&config).unwrap_err().to_string();
        assert!(error(serde_json::json!({})).contains("missing"));
        assert!(error(serde_json::json!({"model_type": "mamba"})).contains("`mamba`"));
        for (field, value) in [
            ("n_head", serde_json::json!(0)),
            ("n_head", serde_json::json!(7)),
            ("n_layer", serde_json::json!(1_000_000_000)),
            ("n_positions", serde_json::json!(1u64 << 40)),
            ("n_embd", serde_json::json!(0)),
            ("vocab_size", serde_json::json!(-1)),
            ("layer_norm_epsilon", serde_json::json!(0.0)),
            ("activation_function", serde_json::json!("relu")),
            ("tie_word_embeddings", serde_json::json!(false)),
            ("attn_pdrop", serde_json::json!(1.0)),
        ] {
            let mut config = serde_json::json!({"model_type": "gpt2"});
            config[field] = value;
            let error = error(config);
            assert!(
                error.contains(field) || error.contains("invalid value"),
                "{field}: {error}"
            );
        }
    }
}
