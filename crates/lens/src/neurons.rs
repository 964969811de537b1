//! Which hidden units of the MLPs fire, and where.

use crate::trace::Trace;
use schemars::JsonSchema;
use serde::Serialize;

/// A hidden unit and where it was strongest.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Firing {
    /// From 0.
    pub layer: usize,
    /// Which of the f units.
    pub neuron: usize,
    /// Its positions with the largest activation, the largest first.
    pub top: Vec<(usize, f32)>,
    /// Its mean over all tokens.
    pub mean: f64,
    /// How far its largest activation stands out: in standard deviations from its mean.
    pub sharpness: f64,
}

/// The `count` units of a layer whose largest activation stands out most, each with its `contexts` strongest positions.
///
/// # Panics
/// Where the trace keeps no hidden layers, or there is no such layer.
pub fn neurons(trace: &Trace, layer: usize, count: usize, contexts: usize) -> Vec<Firing> {
    let (t, f) = (trace.len(), trace.inner);
    let (mut sum, mut square, mut most) = (vec![0.0f64; f], vec![0.0f64; f], vec![f32::NEG_INFINITY; f]);
    for position in 0..t {
        for (i, &x) in trace.hidden(layer, position).iter().enumerate() {
            sum[i] += f64::from(x);
            square[i] += f64::from(x) * f64::from(x);
            most[i] = most[i].max(x);
        }
    }
    let spread = |i: usize| {
        let mean = sum[i] / t as f64;
        (mean, (square[i] / t as f64 - mean * mean).max(0.0).sqrt())
    };
    let sharpness = |i: usize| match spread(i) {
        (_, 0.0) => 0.0,
        (mean, deviation) => (f64::from(most[i]) - mean) / deviation,
    };
    let mut order: Vec<usize> = (0..f).collect();
    order.sort_by(|&a, &b| sharpness(b).total_cmp(&sharpness(a)).then(a.cmp(&b)));
    let firing = |neuron: usize| {
        let mut top: Vec<(usize, f32)> = (0..t)
            .map(|position| (position, trace.hidden(layer, position)[neuron]))
            .collect();
        top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        top.truncate(contexts);
        Firing {
            layer,
            neuron,
            top,
            mean: spread(neuron).0,
            sharpness: sharpness(neuron),
        }
    };
    order.into_iter().take(count).map(firing).collect()
}
