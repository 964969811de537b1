//! What heads look at, with words.

use super::{Granularity, Group, Look, Piece};
use crate::error::{Error, check_head};
use foretoken_lens::{HeadMap, Keep, Weighing, head_maps, pattern};
use schemars::JsonSchema;
use serde::Serialize;

/// All heads in small.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Attention {
    /// `attention`.
    #[schemars(extend("const" = "attention"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// Layer after layer.
    pub heads: Vec<HeadMap>,
}

/// One head.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct HeadView {
    /// `head`.
    #[schemars(extend("const" = "head"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// From 0.
    pub layer: usize,
    /// From 0.
    pub head: usize,
    /// What stands in the cells.
    pub weighing: Weighing,
    /// How finely.
    pub by: Granularity,
    /// Rows and columns of `weights`.
    pub groups: Vec<Group>,
    /// (groups,groups), a row a query. Looks at a group add up, looks from a group are averaged.
    pub weights: Vec<f32>,
}

/// What one group looks at, or who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Looked {
    /// The other group.
    pub group: usize,
    /// How much.
    pub weight: f32,
}

impl Look<'_> {
    /// All heads of all layers, each in `side` x `side` cells at most.
    ///
    /// # Errors
    /// No memory.
    pub fn attention(&self, side: usize) -> Result<Attention, Error> {
        let trace = self.trace(Keep::ATTENTION, &[])?;
        Ok(Attention {
            view: "attention",
            model: self.model_name(),
            tokens: self.pieces.clone(),
            heads: head_maps(self.gpt.subject(), &trace, side),
        })
    }

    /// One head.
    ///
    /// # Errors
    /// [`Error::NoHead`]; no memory.
    pub fn head(&self, layer: usize, head: usize, weighing: Weighing, by: Granularity) -> Result<HeadView, Error> {
        check_head(self.gpt.model(), layer, head)?;
        let trace = self.trace(Keep::ATTENTION, &[])?;
        let pattern = pattern(self.gpt.subject(), &trace, layer, head, weighing);
        let groups = by.groups(&self.pieces);
        Ok(HeadView {
            view: "head",
            model: self.model_name(),
            tokens: self.pieces.clone(),
            layer,
            head,
            weighing,
            by,
            weights: grouped(&pattern.weights, &groups, self.ids.len()),
            groups,
        })
    }
}

/// Sums over the tokens that are looked at, means over those that look.
fn grouped(weights: &[f32], groups: &[Group], t: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(groups.len() * groups.len());
    for from in groups {
        for to in groups {
            let rows = from.start..from.end;
            let sum: f32 = rows
                .map(|i| weights[i * t + to.start..i * t + to.end].iter().sum::<f32>())
                .sum();
            out.push(sum / (from.end - from.start) as f32);
        }
    }
    out
}

impl HeadView {
    /// What a group looks at, the most first.
    pub fn looks_at(&self, group: usize, count: usize) -> Vec<Looked> {
        let n = self.groups.len();
        most(self.weights[group * n..(group + 1) * n].iter().copied(), count)
    }

    /// Who looks at a group, the most first.
    pub fn looked_at_by(&self, group: usize, count: usize) -> Vec<Looked> {
        most(
            self.weights.iter().skip(group).step_by(self.groups.len()).copied(),
            count,
        )
    }
}

fn most(weights: impl Iterator<Item = f32>, count: usize) -> Vec<Looked> {
    let mut all: Vec<Looked> = weights
        .enumerate()
        .map(|(group, weight)| Looked { group, weight })
        .collect();
    all.retain(|looked| looked.weight != 0.0);
    all.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.group.cmp(&b.group)));
    all.truncate(count);
    all
}
