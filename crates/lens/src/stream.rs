//! The stream, read after every step as if it were the last.

use crate::logits::{Candidate, distribution};
use crate::trace::{Subject, Trace};
use foretoken_model::SCORED;
use schemars::JsonSchema;
use serde::Serialize;

/// The stream at one token after one step.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Reading {
    /// What the last norm and the head would say here.
    pub top: Vec<Candidate>,
    /// How unsure that is, in bits.
    pub entropy: f64,
    /// Kullback-Leibler divergence of it from what the model says in the end, in bits: what is lost by stopping here.
    pub divergence: f64,
    /// Rank of the target, 1 is the likeliest; none where there is no target.
    pub rank: Option<usize>,
    /// Probability of the target.
    pub probability: Option<f64>,
    /// Length of the stream's vector.
    pub norm: f64,
    /// Length of what the step added; none before the first.
    pub moved: Option<f64>,
    /// Cosine of what the step added with the stream before it: 1 goes on, 0 turns aside, -1 takes back.
    pub turned: Option<f64>,
}

/// Readings (2 L + 1, positions): before the first layer, after each layer's attention, after its MLP. `targets` has a token for each
/// position, or none.
///
/// This is the logit lens: a reading of early steps with a head that was trained for the last is suggestive, not exact. 2 (2 L + 1) P d V
/// flops for P positions; the logits of 64 rows are in memory at a time.
///
/// # Panics
/// Where a position is not of the trace, or there is not one target for each.
pub fn stream(
    subject: Subject<'_>,
    trace: &Trace,
    positions: &[usize],
    targets: &[Option<u32>],
    top: usize,
) -> Vec<Vec<Reading>> {
    assert_eq!(positions.len(), targets.len(), "a target for each position, or none");
    let (v, steps) = (subject.model.dims().vocab_size, 2 * trace.layers + 1);
    let mut table: Vec<Vec<Reading>> = (0..steps).map(|_| Vec::with_capacity(positions.len())).collect();
    let width = SCORED.min(positions.len().max(1));
    let (mut last, mut logits) = (vec![0.0; width * v], vec![0.0; width * v]);
    for (positions, targets) in positions.chunks(width).zip(targets.chunks(width)) {
        let read = |step: usize, logits: &mut [f32]| {
            let x: Vec<f32> = positions.iter().flat_map(|&p| trace.at(step, p)).copied().collect();
            subject.model.unembed(subject.pool, subject.weights, &x, logits);
        };
        let size = positions.len() * v;
        read(steps - 1, &mut last[..size]);
        for (step, out) in table.iter_mut().enumerate() {
            read(step, &mut logits[..size]);
            let rows = logits.chunks_exact(v).zip(last.chunks_exact(v));
            for ((&position, target), (logits, last)) in positions.iter().zip(targets).zip(rows) {
                let (norm, moved, turned) = movement(trace, step, position);
                out.push(Reading {
                    norm,
                    moved,
                    turned,
                    ..read_row(logits, last, *target, top)
                });
            }
        }
    }
    table
}

fn read_row(logits: &[f32], last: &[f32], target: Option<u32>, top: usize) -> Reading {
    let (here, end) = (distribution(logits, top), distribution(last, 0));
    let pairs = logits.iter().zip(last);
    let divergence: f64 = pairs
        .map(|(&q, &p)| {
            let (q, p) = (f64::from(q) - here.log_sum, f64::from(p) - end.log_sum);
            p.exp() * (p - q)
        })
        .sum();
    let of = |id: u32| logits[id as usize];
    Reading {
        top: here.top,
        entropy: here.entropy,
        divergence: divergence.max(0.0) / std::f64::consts::LN_2,
        rank: target.map(|id| 1 + logits.iter().filter(|&&logit| logit > of(id)).count()),
        probability: target.map(|id| (f64::from(of(id)) - here.log_sum).exp()),
        norm: 0.0,
        moved: None,
        turned: None,
    }
}

/// How long the stream is after a step, and how far and which way the step moved it.
fn movement(trace: &Trace, step: usize, position: usize) -> (f64, Option<f64>, Option<f64>) {
    let x = trace.at(step, position);
    let dot = |a: &mut dyn Iterator<Item = (f64, f64)>| a.map(|(a, b)| a * b).sum::<f64>();
    let norm = dot(&mut x.iter().map(|&x| (f64::from(x), f64::from(x)))).sqrt();
    if step == 0 {
        return (norm, None, None);
    }
    let before = trace.at(step - 1, position);
    let pairs = || {
        x.iter()
            .zip(before)
            .map(|(&x, &b)| (f64::from(x) - f64::from(b), f64::from(b)))
    };
    let moved = dot(&mut pairs().map(|(step, _)| (step, step))).sqrt();
    let length = dot(&mut pairs().map(|(_, b)| (b, b))).sqrt();
    let cosine = dot(&mut pairs()) / (moved * length).max(f64::MIN_POSITIVE);
    (norm, Some(moved), Some(cosine))
}
