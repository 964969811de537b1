//! `config.json` of a llama.

use crate::contract::Dims;
use crate::error::Error;
use serde::{Deserialize, Serialize};

/// Hugging Face's fields; what a file leaves out is as `transformers` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// V: rows of the token embedding.
    pub vocab_size: usize,
    /// The longest context.
    pub max_position_embeddings: usize,
    /// d: width of the residual stream.
    pub hidden_size: usize,
    /// L: number of blocks.
    pub num_hidden_layers: usize,
    /// h: number of heads of queries, a divisor of d.
    pub num_attention_heads: usize,
    /// Heads of keys and values, a divisor of h; h where it is not given.
    pub num_key_value_heads: Option<usize>,
    /// dh; only d/h.
    pub head_dim: Option<usize>,
    /// f: width of the MLP.
    pub intermediate_size: usize,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f32,
    /// Base of the rotation's angles.
    pub rope_theta: f64,
    /// Only none.
    pub rope_scaling: Option<serde_json::Value>,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Dropout of attention's probabilities.
    pub attention_dropout: f32,
    /// Token that begins a text.
    pub bos_token_id: Option<u32>,
    /// Token that ends a text; the first, where a file lists several.
    #[serde(deserialize_with = "first")]
    pub eos_token_id: Option<u32>,
    /// Whether the head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Only `silu`.
    pub hidden_act: String,
    /// Only `false`.
    pub attention_bias: bool,
    /// Only `false`.
    pub mlp_bias: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            max_position_embeddings: 2048,
            hidden_size: 4096,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            intermediate_size: 11_008,
            rms_norm_eps: 1e-6,
            rope_theta: 1e4,
            rope_scaling: None,
            initializer_range: 0.02,
            attention_dropout: 0.0,
            bos_token_id: Some(1),
            eos_token_id: Some(2),
            tie_word_embeddings: false,
            hidden_act: "silu".into(),
            attention_bias: false,
            mlp_bias: false,
        }
    }
}

fn first<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        One(u32),
        Several(Vec<u32>),
    }
    Ok(match Option::<Ids>::deserialize(deserializer)? {
        Some(Ids::One(id)) => Some(id),
        Some(Ids::Several(ids)) => ids.first().copied(),
        None => None,
    })
}

/// Sizes no model on a CPU has, so that a hostile config cannot overflow anything.
const LARGEST: [(&str, usize); 5] = [
    ("vocab_size", 1 << 24),
    ("max_position_embeddings", 1 << 24),
    ("hidden_size", 1 << 17),
    ("num_hidden_layers", 1 << 12),
    ("intermediate_size", 1 << 20),
];

impl Config {
    /// Reads a config, with `rope_theta` where older files have it or inside `rope_parameters`.
    ///
    /// # Errors
    /// A field of the wrong type; sizes are checked by [`super::Llama::new`].
    pub fn from_json(value: &serde_json::Value) -> Result<Self, Error> {
        let mut config = Self::deserialize(value)?;
        let Some(rope) = value.get("rope_parameters").filter(|rope| !rope.is_null()) else {
            return Ok(config);
        };
        if let Some(theta) = rope.get("rope_theta").and_then(serde_json::Value::as_f64) {
            config.rope_theta = theta;
        }
        let kind = rope
            .get("rope_type")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("default");
        check("rope_parameters.rope_type", kind == "default", kind, "default".into())?;
        Ok(config)
    }

    /// Heads of keys and values.
    pub fn n_kv_head(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// The checked sizes.
    pub(super) fn dims(&self) -> Result<Dims, Error> {
        let (d, h, h_kv) = (self.hidden_size, self.num_attention_heads, self.n_kv_head());
        let sizes = [
            self.vocab_size,
            self.max_position_embeddings,
            d,
            self.num_hidden_layers,
            self.intermediate_size,
        ];
        for ((field, largest), found) in LARGEST.into_iter().zip(sizes) {
            check(field, (1..=largest).contains(&found), found, format!("1 to {largest}"))?;
        }
        let holds = h > 0 && d % h == 0 && d / h % 2 == 0;
        check(
            "num_attention_heads",
            holds,
            h,
            format!("a divisor of hidden_size = {d} that leaves heads of even width"),
        )?;
        let holds = h_kv > 0 && h % h_kv == 0;
        check(
            "num_key_value_heads",
            holds,
            h_kv,
            format!("a divisor of num_attention_heads = {h}"),
        )?;
        let head_dim = self.head_dim.unwrap_or(d / h);
        check(
            "head_dim",
            head_dim == d / h,
            head_dim,
            format!("hidden_size / num_attention_heads = {}", d / h),
        )?;
        for (field, value, most) in [
            ("rms_norm_eps", f64::from(self.rms_norm_eps), 1.0),
            ("initializer_range", self.initializer_range, 10.0),
            ("rope_theta", self.rope_theta, 1e12),
        ] {
            check(
                field,
                value > 0.0 && value < most,
                value,
                format!("above 0 and below {most}"),
            )?;
        }
        let p = self.attention_dropout;
        check(
            "attention_dropout",
            (0.0..1.0).contains(&p),
            p,
            "at least 0 and below 1".into(),
        )?;
        check("hidden_act", self.hidden_act == "silu", &self.hidden_act, "silu".into())?;
        check("attention_bias", !self.attention_bias, true, "false".into())?;
        check("mlp_bias", !self.mlp_bias, true, "false".into())?;
        let scaling = self.rope_scaling.as_ref();
        check(
            "rope_scaling",
            scaling.is_none(),
            format!("{scaling:?}"),
            "none: angles are not scaled here".into(),
        )?;
        Ok(Dims {
            vocab_size: self.vocab_size,
            n_positions: self.max_position_embeddings,
            n_embd: d,
            n_layer: self.num_hidden_layers,
            n_head: h,
            n_inner: self.intermediate_size,
        })
    }

    /// As Hugging Face writes it.
    pub(super) fn to_json(&self) -> serde_json::Value {
        // By way of text: a Value holds f64, and 1e-5 as f32 would be written 9.999999747378752e-6.
        let text = serde_json::to_string(self).expect("numbers and strings");
        let mut value: serde_json::Value = serde_json::from_str(&text).expect("it was just written");
        value["architectures"] = serde_json::json!(["LlamaForCausalLM"]);
        value["model_type"] = super::Llama::MODEL_TYPE.into();
        value["num_key_value_heads"] = self.n_kv_head().into();
        value["head_dim"] = (self.hidden_size / self.num_attention_heads).into();
        value["torch_dtype"] = "float32".into();
        value
    }
}

fn check(field: &'static str, holds: bool, found: impl ToString, expected: String) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::Config {
        field,
        found: found.to_string(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Model;
    use crate::llama::Llama;

    #[test]
    fn a_config_is_read_back() {
        let config = Config {
            hidden_size: 64,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            ..Config::default()
        };
        let json = Llama::new(config.clone()).unwrap().config();
        assert_eq!(json["rms_norm_eps"], 1e-6);
        let head_dim = Some(16);
        assert_eq!(Config::from_json(&json).unwrap(), Config { head_dim, ..config });
    }

    #[test]
    fn newer_files_keep_the_base_elsewhere_and_list_end_tokens() {
        let json = serde_json::json!({
            "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}, "eos_token_id": [7, 9],
        });
        let config = Config::from_json(&json).unwrap();
        assert_eq!((config.rope_theta, config.eos_token_id), (5e5, Some(7)));
        let json = serde_json::json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3"}});
        assert!(Config::from_json(&json).unwrap_err().to_string().contains("llama3"));
    }

    #[test]
    fn what_this_is_not_is_named() {
        for (field, value) in [
            ("num_attention_heads", serde_json::json!(7)),
            ("num_key_value_heads", serde_json::json!(3)),
            ("head_dim", serde_json::json!(5)),
            ("hidden_act", serde_json::json!("gelu")),
            ("attention_bias", serde_json::json!(true)),
            ("rope_scaling", serde_json::json!({"type": "linear", "factor": 2.0})),
            ("rms_norm_eps", serde_json::json!(0.0)),
            ("max_position_embeddings", serde_json::json!(1u64 << 40)),
        ] {
            let mut config = serde_json::json!({"hidden_size": 64, "num_attention_heads": 4});
            config[field] = value;
            let error = Llama::new(Config::from_json(&config).unwrap()).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }
}
