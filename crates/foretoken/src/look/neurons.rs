//! Neurons and the contexts they fire in.

use super::{Look, Piece};
use crate::error::{Error, check_head};
use foretoken_lens::{Keep, neurons};
use schemars::JsonSchema;
use serde::Serialize;

/// Tokens shown before one that a neuron fires on, and after it.
const AROUND: (usize, usize) = (8, 3);

/// The neurons of a layer whose firing stands out.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Neurons {
    /// `neurons`.
    #[schemars(extend("const" = "neurons"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// The layer, from 0.
    pub layer: usize,
    /// Those that stand out most first.
    pub neurons: Vec<Neuron>,
}

/// One neuron.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Neuron {
    /// Which of the f.
    pub neuron: usize,
    /// Its mean activation.
    pub mean: f64,
    /// How far its largest stands out, in standard deviations.
    pub sharpness: f64,
    /// Where it fires most.
    pub contexts: Vec<Context>,
}

/// A place where a neuron fires.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Context {
    /// The token.
    pub position: usize,
    /// What stands before it.
    pub before: String,
    /// The token, with the character it is part of.
    pub token: String,
    /// What follows.
    pub after: String,
    /// The activation.
    pub activation: f32,
}

impl Look<'_> {
    /// The `count` neurons of a layer that stand out most over the text, with `contexts` places each.
    ///
    /// # Errors
    /// [`Error::NoHead`] where there is no such layer; no memory.
    pub fn neurons(&self, layer: usize, count: usize, contexts: usize) -> Result<Neurons, Error> {
        check_head(self.gpt.model(), layer, 0)?;
        let trace = self.trace(
            Keep {
                hidden: true,
                ..Keep::STREAM
            },
            &[],
        )?;
        let text = |range: std::ops::Range<usize>| {
            let bytes: Vec<u8> = self.pieces[range]
                .iter()
                .flat_map(|piece| &piece.bytes)
                .copied()
                .collect();
            // A context may begin or end within a character: that part is left away.
            let whole: String = bytes.utf8_chunks().map(|chunk| chunk.valid().to_owned()).collect();
            whole.replace('\n', "⏎")
        };
        let context = |&(position, activation): &(usize, f32)| Context {
            position,
            before: text(position.saturating_sub(AROUND.0)..position),
            token: self.pieces[position].label.clone(),
            after: text(position + 1..(position + 1 + AROUND.1).min(self.ids.len())),
            activation,
        };
        let found = neurons(&trace, layer, count, contexts)
            .into_iter()
            .map(|firing| Neuron {
                neuron: firing.neuron,
                mean: firing.mean,
                sharpness: firing.sharpness,
                contexts: firing.top.iter().map(context).collect(),
            });
        Ok(Neurons {
            view: "neurons",
            model: self.model_name(),
            tokens: self.pieces.clone(),
            layer,
            neurons: found.collect(),
        })
    }
}
