//! Tokens, and how much each surprised the model.

use super::{Granularity, Group, Look, Piece};
use crate::error::Error;
use schemars::JsonSchema;
use serde::Serialize;
use std::f64::consts::LN_2;

/// The tokens of a text.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Tokens {
    /// `tokens`.
    #[schemars(extend("const" = "tokens"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// How finely.
    pub by: Granularity,
    /// Every group, and its surprise: surprises add up.
    pub groups: Vec<Surprise>,
    /// -log2 of the probability of the text.
    pub bits: f64,
    /// Bits a byte: comparable across tokenisers.
    pub bits_per_byte: f64,
    /// Characters a token.
    pub characters_per_token: f64,
}

/// How much a group surprised.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Surprise {
    /// What it is.
    #[serde(flatten)]
    pub group: Group,
    /// -log2 of its probability, given all before it.
    pub bits: f64,
}

impl Look<'_> {
    /// Tokens, syllables or words with their surprise. The first token follows the end-of-text token.
    ///
    /// # Errors
    /// As [`crate::Gpt::score`].
    pub fn tokens(&self, by: Granularity) -> Result<Tokens, Error> {
        let score = self.gpt.score(&self.text)?;
        let bits = |loss: f32| f64::from(loss) / LN_2;
        let surprise = |group: Group| {
            let losses = &score.tokens[group.start..group.end];
            Surprise {
                bits: losses.iter().map(|token| bits(token.loss)).sum(),
                group,
            }
        };
        Ok(Tokens {
            view: "tokens",
            model: self.model_name(),
            groups: by.groups(&self.pieces).into_iter().map(surprise).collect(),
            by,
            bits: score.nats() / LN_2,
            bits_per_byte: score.bits_per_byte(),
            characters_per_token: self.text.chars().count() as f64 / self.ids.len() as f64,
            tokens: self.pieces.clone(),
        })
    }
}
