//! Embeddings with words.

use super::{Look, Piece, label};
use foretoken_lens::{Neighbour, neighbours, plane, position_similarity};
use schemars::JsonSchema;
use serde::Serialize;

/// Rows and columns of the positions' picture.
const SIDE: usize = 32;

/// How the tokens of a text lie to others and to each other.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Embedding {
    /// `embedding`.
    #[schemars(extend("const" = "embedding"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// For each different token of the text, the nearest.
    pub neighbours: Vec<NeighboursOf>,
    /// The same tokens in the plane in which they differ most.
    pub plane: Vec<Point>,
    /// What part of all variance the plane shows.
    pub shown: f64,
    /// Positions that are compared; none where a model learns no positions.
    pub positions: Vec<usize>,
    /// (positions,positions): cosines of the position embeddings.
    pub similarity: Vec<f64>,
}

/// A token and those near it.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct NeighboursOf {
    /// The token.
    pub id: u32,
    /// What it says.
    pub label: String,
    /// The nearest first.
    pub nearest: Vec<(Neighbour, String)>,
}

/// A token in the plane.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Point {
    /// The token.
    pub id: u32,
    /// What it says.
    pub label: String,
    /// Along the first principal component.
    pub x: f64,
    /// Along the second.
    pub y: f64,
}

impl Look<'_> {
    /// The `count` nearest tokens of each token of the text, and the tokens' plane.
    pub fn embedding(&self, count: usize) -> Embedding {
        let (subject, tokenizer) = (self.gpt.subject(), self.gpt.tokenizer());
        let mut ids = Vec::new();
        for &id in &self.ids {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let named = |near: Neighbour| (near, label(tokenizer, near.id));
        let found = neighbours(subject, &ids, tokenizer.vocab_size(), count);
        let of = |(&id, near): (&u32, Vec<Neighbour>)| NeighboursOf {
            id,
            label: label(tokenizer, id),
            nearest: near.into_iter().map(named).collect(),
        };
        let (points, shown) = plane(subject, &ids);
        let point = |(&id, &[x, y]): (&u32, &[f64; 2])| Point {
            id,
            label: label(tokenizer, id),
            x,
            y,
        };
        let (positions, similarity) = position_similarity(subject, SIDE).unwrap_or_default();
        Embedding {
            view: "embedding",
            model: self.model_name(),
            tokens: self.pieces.clone(),
            neighbours: ids.iter().zip(found).map(of).collect(),
            plane: ids.iter().zip(&points).map(point).collect(),
            shown,
            positions,
            similarity,
        }
    }
}
