//! `config.json` of a GPT-2.

use crate::contract::Dims;
use crate::error::Error;
use serde::{Deserialize, Serialize};

/// Hugging Face's fields; what a file leaves out is GPT-2's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// V: rows of the token embedding.
    pub vocab_size: usize,
    /// The longest context.
    pub n_positions: usize,
    /// d: width of the residual stream.
    pub n_embd: usize,
    /// L: number of blocks.
    pub n_layer: usize,
    /// h: number of heads, a divisor of d.
    pub n_head: usize,
    /// f: width of the MLP; 4d where it is not given.
    pub n_inner: Option<usize>,
    /// Added to the variance in every layernorm.
    pub layer_norm_epsilon: f32,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Dropout of what attention and MLP add to the residual stream.
    pub resid_pdrop: f32,
    /// Dropout of the embeddings.
    pub embd_pdrop: f32,
    /// Dropout of attention's probabilities.
    pub attn_pdrop: f32,
    /// Token that begins a text.
    pub bos_token_id: Option<u32>,
    /// Token that ends a text.
    pub eos_token_id: Option<u32>,
    /// Only GPT-2's own, `gelu_new`.
    pub activation_function: String,
    /// Only `true`: the head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Only `false`.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Only `true`.
    pub scale_attn_weights: bool,
}

impl Default for Config {
    /// `gpt2`: 124M parameters.
    fn default() -> Self {
        Self {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            resid_pdrop: 0.0,
            embd_pdrop: 0.0,
            attn_pdrop: 0.0,
            bos_token_id: Some(50256),
            eos_token_id: Some(50256),
            activation_function: "gelu_new".into(),
            tie_word_embeddings: true,
            scale_attn_by_inverse_layer_idx: false,
            scale_attn_weights: true,
        }
    }
}

/// Sizes no model on a CPU has, so that a hostile config cannot overflow anything.
const LARGEST: [(&str, usize); 5] = [
    ("vocab_size", 1 << 24),
    ("n_positions", 1 << 24),
    ("n_embd", 1 << 17),
    ("n_layer", 1 << 12),
    ("n_inner", 1 << 20),
];

impl Config {
    /// Reads a config.
    ///
    /// # Errors
    /// A field of the wrong type; sizes are checked by [`super::Gpt2::new`].
    pub fn from_json(value: &serde_json::Value) -> Result<Self, Error> {
        // Others' files say what they were trained with; generation and scoring drop nothing, and a new run says anew.
        Ok(Self::deserialize(value)?)
    }

    /// The checked sizes.
    pub(super) fn dims(&self) -> Result<Dims, Error> {
        let n_inner = self.n_inner.unwrap_or_else(|| self.n_embd.saturating_mul(4));
        let sizes = [self.vocab_size, self.n_positions, self.n_embd, self.n_layer, n_inner];
        for ((field, largest), found) in LARGEST.into_iter().zip(sizes) {
            check(field, (1..=largest).contains(&found), found, format!("1 to {largest}"))?;
        }
        check("n_head", self.n_head > 0, self.n_head, "at least 1".into())?;
        let divides = self.n_embd % self.n_head == 0;
        let expected = || {
            format!(
                "a divisor of n_embd = {}: {}",
                self.n_embd,
                divisors(self.n_embd, self.n_head)
            )
        };
        check(
            "n_head",
            divides,
            self.n_head,
            if divides { String::new() } else { expected() },
        )?;
        let eps = self.layer_norm_epsilon;
        check(
            "layer_norm_epsilon",
            eps > 0.0 && eps < 1.0,
            eps,
            "above 0 and below 1".into(),
        )?;
        let std = self.initializer_range;
        check(
            "initializer_range",
            std > 0.0 && std < 10.0,
            std,
            "above 0 and below 10".into(),
        )?;
        let drops = [
            ("resid_pdrop", self.resid_pdrop),
            ("embd_pdrop", self.embd_pdrop),
            ("attn_pdrop", self.attn_pdrop),
        ];
        for (field, p) in drops {
            check(field, (0.0..1.0).contains(&p), p, "at least 0 and below 1".into())?;
        }
        let gelu = self.activation_function == "gelu_new" || self.activation_function == "gelu_pytorch_tanh";
        check(
            "activation_function",
            gelu,
            &self.activation_function,
            "gelu_new".into(),
        )?;
        check("tie_word_embeddings", self.tie_word_embeddings, false, "true".into())?;
        check("scale_attn_weights", self.scale_attn_weights, false, "true".into())?;
        let scaled = self.scale_attn_by_inverse_layer_idx;
        check("scale_attn_by_inverse_layer_idx", !scaled, true, "false".into())?;
        Ok(Dims {
            vocab_size: self.vocab_size,
            n_positions: self.n_positions,
            n_embd: self.n_embd,
            n_layer: self.n_layer,
            n_head: self.n_head,
            n_inner,
        })
    }

    /// As Hugging Face writes it, with what readers of GPT-2 look for.
    pub(super) fn to_json(&self, dims: &Dims) -> serde_json::Value {
        // By way of text: a Value holds f64, and 1e-5 as f32 would be written 9.999999747378752e-6.
        let text = serde_json::to_string(self).expect("numbers and strings");
        let mut value: serde_json::Value = serde_json::from_str(&text).expect("it was just written");
        let extra = serde_json::json!({
            "architectures": ["GPT2LMHeadModel"],
            "model_type": super::Gpt2::MODEL_TYPE,
            "n_ctx": dims.n_positions,
            "torch_dtype": "float32",
        });
        for (key, field) in extra.as_object().expect("an object") {
            value[key] = field.clone();
        }
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

/// The divisors of a width on both sides of what was asked for, at most four each, as a hint.
fn divisors(n: usize, asked: usize) -> String {
    let (below, above): (Vec<_>, Vec<_>) = (1..=n).filter(|k| n % k == 0).partition(|&k| k < asked);
    let near = below[below.len().saturating_sub(4)..]
        .iter()
        .chain(above.iter().take(4));
    near.map(usize::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Model;

    #[test]
    fn numbers_are_written_as_a_reader_expects_them() {
        let config = Config {
            attn_pdrop: 0.1,
            ..Config::default()
        };
        let json = super::super::Gpt2::new(config.clone()).unwrap().config();
        assert_eq!(
            (&json["layer_norm_epsilon"], &json["attn_pdrop"]),
            (&1e-5.into(), &0.1.into())
        );
        assert_eq!(Config::from_json(&json).unwrap(), config);
    }

    #[test]
    fn the_hint_lists_divisors_near_what_was_asked_for() {
        assert_eq!(divisors(768, 100), "32, 48, 64, 96, 128, 192, 256, 384");
        assert_eq!(divisors(768, 5000), "192, 256, 384, 768");
        assert_eq!(divisors(16, 3), "1, 2, 4, 8, 16");
        assert_eq!(divisors(13, 2), "1, 13");
    }
}
