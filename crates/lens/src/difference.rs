//! What training changed: two sets of weights of one model.

use crate::pair::Pair;
use foretoken_model::{Model, Product, Weights};
use schemars::JsonSchema;
use serde::Serialize;

/// How far a tensor went.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct TensorChange {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Root mean square of its numbers before.
    pub rms: f64,
    /// Root mean square of its numbers after.
    pub rms_after: f64,
    /// Length of the change over length before; infinite where all was 0.
    pub relative: f64,
    /// Cosine between before and after.
    pub cosine: f64,
}

/// Compares every tensor of a model under two sets of weights.
///
/// # Panics
/// Where one of them is not of this model.
pub fn compare_weights(model: &dyn Model, before: Weights<'_>, after: Weights<'_>) -> Vec<TensorChange> {
    let specs = model.params().specs().iter().enumerate();
    specs
        .map(|(tensor, spec)| {
            let mut pair = Pair::default();
            match spec.product {
                Some(product) => {
                    let [rows, cols] = match product {
                        Product::InOut => [spec.shape[1], spec.shape[0]],
                        Product::OutIn => [spec.shape[0], spec.shape[1]],
                    };
                    let (mut a, mut b) = (vec![0.0; cols], vec![0.0; cols]);
                    for row in 0..rows {
                        before.row(model, tensor, row, &mut a);
                        after.row(model, tensor, row, &mut b);
                        pair.add(&a, &b);
                    }
                }
                None => pair.add(&before.vector(model, tensor), &after.vector(model, tensor)),
            }
            let n = spec.len() as f64;
            TensorChange {
                name: spec.name.clone(),
                shape: spec.shape.clone(),
                rms: (pair.aa / n).sqrt(),
                rms_after: (pair.bb / n).sqrt(),
                relative: (pair.apart / pair.aa).sqrt(),
                cosine: pair.cosine(),
            }
        })
        .collect()
}
