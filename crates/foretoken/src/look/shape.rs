//! The walk of the tensors for one text, with what is really in them.

use super::{Look, Piece};
use crate::error::Error;
use foretoken_lens::{Keep, Trace};
use foretoken_model::{Recompute, Step};
use schemars::JsonSchema;
use serde::Serialize;

/// What becomes of a text on its way through a model.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Shape {
    /// `shape`.
    #[schemars(extend("const" = "shape"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// In the order of the data flow.
    pub steps: Vec<ShapeStep>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct ShapeStep {
    /// Its name, shape, flops and bytes.
    #[serde(flatten)]
    pub step: Step,
    /// Bytes of its output in one layer, in f32.
    pub bytes: u64,
    /// Mean length of a token's vector there, in the first layer and in the last where layers repeat it; none where the value never lies
    /// in memory.
    pub norms: Vec<f64>,
}

impl Look<'_> {
    /// The walk of this text.
    ///
    /// # Errors
    /// No memory.
    pub fn shape(&self) -> Result<Shape, Error> {
        let trace = self.trace(Keep::ALL, &[])?;
        let walk = self.gpt.model().walk(1, self.ids.len(), Recompute::default());
        // Each branch ends in a step of the same name: they are told apart by what stands before.
        let mut in_mlp = false;
        let mut steps = Vec::with_capacity(walk.len());
        for step in walk {
            in_mlp |= step.part == foretoken_model::Part::Mlp;
            let last = trace.layers - 1;
            let ends: Vec<usize> = if step.layers.is_some() { vec![0, last] } else { vec![0] };
            let norms = ends
                .iter()
                .filter_map(|&layer| self.norm(&trace, &step, layer, in_mlp))
                .collect();
            steps.push(ShapeStep {
                bytes: step.bytes(),
                step,
                norms,
            });
        }
        Ok(Shape {
            view: "shape",
            model: self.model_name(),
            tokens: self.pieces.clone(),
            steps,
        })
    }

    /// Mean length of the vectors that a step leaves, where a trace has them.
    fn norm(&self, trace: &Trace, step: &Step, layer: usize, in_mlp: bool) -> Option<f64> {
        let t = trace.len();
        let mean = |row: &dyn Fn(usize) -> f64| (0..t).map(row).sum::<f64>() / t as f64;
        let length = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let wide = trace.attention.row();
        Some(match step.slots.first().copied() {
            Some("embedded") => mean(&|p| length(trace.at(0, p))),
            Some("qkv") => mean(&|p| length(&trace.qkv(layer)[p * wide..(p + 1) * wide])),
            Some("heads") => mean(&|p| length(trace.heads(layer, p))),
            Some("gelu" | "hidden") => mean(&|p| length(trace.hidden(layer, p))),
            Some("mid") => mean(&|p| length(trace.at(2 * layer + 1, p))),
            Some("out") => mean(&|p| length(trace.at(2 * layer + 2, p))),
            _ if step.name == "c_proj" || step.name == "o_proj" || step.name == "down_proj" => {
                let after = 2 * layer + 1 + usize::from(in_mlp);
                let difference = |p: usize| {
                    let pairs = trace.at(after, p).iter().zip(trace.at(after - 1, p));
                    length(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>())
                };
                mean(&difference)
            }
            _ => return None,
        })
    }
}
