//! From logits to the draw.

use super::{Look, Piece};
use crate::error::Error;
use foretoken_generate::{Context, Sampler, Sampling};
use foretoken_lens::{Keep, distribution};
use schemars::JsonSchema;
use serde::Serialize;

/// What could come next, and what of it a sampler keeps.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Next {
    /// `next`.
    #[schemars(extend("const" = "next"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// The position whose next token it is about.
    pub position: usize,
    /// How unsure the model is, in bits.
    pub entropy: f64,
    /// The temperature.
    pub temperature: f32,
    /// Tokens that the draw chooses among.
    pub kept: usize,
    /// The likeliest, and the tokens that end a text wherever they stand.
    pub choices: Vec<Choice>,
}

/// A token that could be next.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Choice {
    /// The token.
    pub id: u32,
    /// What it says.
    pub label: String,
    /// Its rank, from 1.
    pub rank: usize,
    /// Its logit.
    pub logit: f32,
    /// Its probability of all tokens, as the model has it.
    pub probability: f64,
    /// The same at the temperature.
    pub tempered: f64,
    /// The probability that it is drawn with; none where filters cut it.
    pub drawn: Option<f64>,
    /// Whether it ends a text.
    pub ends: bool,
}

impl Look<'_> {
    /// The `count` likeliest tokens behind `position`.
    ///
    /// # Errors
    /// Sampling parameters that mean nothing; no memory.
    ///
    /// # Panics
    /// Where the position is not of the text.
    pub fn next(&self, position: usize, sampling: Sampling, count: usize) -> Result<Next, Error> {
        let trace = self.trace(Keep::STREAM, &[])?;
        let logits = self.logits(&trace, position);
        let temperature = sampling.temperature;
        let mut sampler = Sampler::new(sampling, 0, 0)?;
        let drawn = sampler.candidates(self.gpt.pool(), &logits, &Context::prompt(&self.ids[..=position]))?;
        let seen = distribution(&logits, count);
        let scaled: Vec<f32> = logits.iter().map(|logit| logit / temperature).collect();
        let ends = self.gpt.end_ids();
        let mut ids: Vec<u32> = seen.top.iter().map(|candidate| candidate.id).collect();
        ids.extend(
            ends.iter()
                .filter(|id| !seen.top.iter().any(|candidate| candidate.id == **id)),
        );
        let log_sum = if temperature > 0.0 {
            distribution(&scaled, 0).log_sum
        } else {
            0.0
        };
        let choice = |id: u32| {
            let logit = logits[id as usize];
            let rank = 1 + logits
                .iter()
                .zip(0..)
                .filter(|&(&l, other)| l > logit || (l == logit && other < id))
                .count();
            Choice {
                id,
                label: self.label(id),
                rank,
                logit,
                probability: (f64::from(logit) - seen.log_sum).exp(),
                tempered: match temperature > 0.0 {
                    true => (f64::from(scaled[id as usize]) - log_sum).exp(),
                    false => f64::from(u8::from(rank == 1)),
                },
                drawn: drawn.iter().find(|c| c.token.id == id).map(|c| c.probability.into()),
                ends: ends.contains(&id),
            }
        };
        Ok(Next {
            view: "next",
            model: self.model_name(),
            tokens: self.pieces.clone(),
            position,
            entropy: seen.entropy,
            temperature,
            kept: drawn.len(),
            choices: ids.into_iter().map(choice).collect(),
        })
    }
}
