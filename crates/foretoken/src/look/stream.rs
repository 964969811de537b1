//! The stream after every step, with words.

use super::{Look, Piece, step_name};
use crate::error::Error;
use foretoken_lens::{Keep, Reading, stream};
use schemars::JsonSchema;
use serde::Serialize;

/// The stream, read as if each step were the last.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Stream {
    /// `stream`.
    #[schemars(extend("const" = "stream"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// The positions that are read: a column each.
    pub positions: Vec<usize>,
    /// The token that truly follows each, with what it says; none behind the last.
    pub targets: Vec<Option<(u32, String)>>,
    /// The rows' names: `embedding`, then attention and MLP of each layer.
    pub steps: Vec<String>,
    /// (2 L + 1, positions).
    pub cells: Vec<Vec<StreamCell>>,
}

/// One reading, and what its top tokens say.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct StreamCell {
    /// In numbers.
    #[serde(flatten)]
    pub reading: Reading,
    /// A label for each of `top`.
    pub labels: Vec<String>,
}

impl Look<'_> {
    /// The stream at some positions, with the `top` likeliest tokens of every reading.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Panics
    /// Where a position is not of the text.
    pub fn stream(&self, positions: &[usize], top: usize) -> Result<Stream, Error> {
        let trace = self.trace(Keep::STREAM, &[])?;
        let targets: Vec<Option<u32>> = positions.iter().map(|&p| self.ids.get(p + 1).copied()).collect();
        let cell = |reading: Reading| StreamCell {
            labels: reading.top.iter().map(|candidate| self.label(candidate.id)).collect(),
            reading,
        };
        let readings = stream(self.gpt.subject(), &trace, positions, &targets, top);
        Ok(Stream {
            view: "stream",
            model: self.model_name(),
            tokens: self.pieces.clone(),
            positions: positions.to_vec(),
            targets: targets
                .into_iter()
                .map(|id| id.map(|id| (id, self.label(id))))
                .collect(),
            steps: (0..=2 * trace.layers).map(step_name).collect(),
            cells: readings
                .into_iter()
                .map(|row| row.into_iter().map(cell).collect())
                .collect(),
        })
    }
}
