//! What training changed: two sets of weights of one model.

use foretoken_model::{Model, Weights};
use serde::Serialize;

/// How far a tensor went.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
            let [mut ab, mut aa, mut bb, mut apart] = [0.0; 4];
            let mut add = |a: &[f32], b: &[f32]| {
                for (&a, &b) in a.iter().zip(b) {
                    let (a, b) = (f64::from(a), f64::from(b));
                    ab += a * b;
                    aa += a * a;
                    bb += b * b;
                    apart += (a - b) * (a - b);
                }
            };
            match spec.product {
                Some(product) => {
                    let [rows, cols] = match product {
                        foretoken_model::Product::InOut => [spec.shape[1], spec.shape[0]],
                        foretoken_model::Product::OutIn => [spec.shape[0], spec.shape[1]],
                    };
                    let (mut a, mut b) = (vec![0.0; cols], vec![0.0; cols]);
                    for row in 0..rows {
                        before.row(model, tensor, row, &mut a);
                        after.row(model, tensor, row, &mut b);
                        add(&a, &b);
                    }
                }
                None => add(&before.vector(model, tensor), &after.vector(model, tensor)),
            }
            let n = spec.len() as f64;
            TensorChange {
                name: spec.name.clone(),
                shape: spec.shape.clone(),
                rms: (aa / n).sqrt(),
                rms_after: (bb / n).sqrt(),
                relative: (apart / aa).sqrt(),
                cosine: ab / (aa * bb).sqrt().max(f64::MIN_POSITIVE),
            }
        })
        .collect()
}
