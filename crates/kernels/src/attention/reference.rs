//! Attention of one head in f64, from the definition: the oracle.

use super::{AttentionDims, drop_number};
use crate::documents::Document;
use crate::dropout::Dropout;
use std::ops::Range;

/// The dropout factors (length,length) of a head of the document at these tokens: row i, column j is what the weight of key j
/// for query i is multiplied with.
pub fn attention_mask_reference(dropout: Dropout, dims: AttentionDims, tokens: Range<usize>, head: usize) -> Vec<f64> {
    let (first, len) = (tokens.start, tokens.len());
    let number = |at: usize| drop_number(&dims, Document { first, len }, head, at / len, at % len);
    (0..len * len).map(|at| f64::from(dropout.factor(number(at)))).collect()
}

/// Causal attention of one head: `q, k, v` are (T,dh), `mask` (T,T) the dropout's factors if there are any.
///
/// Returns (o (T,dh), lse (T), probabilities (T,T)); the probabilities are those before dropout.
pub fn attention_reference(
    q: &[f64],
    k: &[f64],
    v: &[f64],
    mask: Option<&[f64]>,
    t: usize,
    dh: usize,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut o, mut lse, mut p) = (vec![0.0; t * dh], vec![0.0; t], vec![0.0; t * t]);
    for i in 0..t {
        let scores: Vec<f64> = (0..=i)
            .map(|j| (0..dh).map(|c| q[i * dh + c] * k[j * dh + c]).sum::<f64>() / (dh as f64).sqrt())
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        lse[i] = max + sum.ln();
        for j in 0..=i {
            p[i * t + j] = (scores[j] - lse[i]).exp();
            let met = p[i * t + j] * mask.map_or(1.0, |mask| mask[i * t + j]);
            for c in 0..dh {
                o[i * dh + c] += met * v[j * dh + c];
            }
        }
    }
    (o, lse, p)
}

/// The gradients (dq, dk, dv), each (T,dh), of [`attention_reference`]'s o against `dout` (T,dh).
pub fn attention_backward_reference(
    dout: &[f64],
    q: &[f64],
    k: &[f64],
    v: &[f64],
    mask: Option<&[f64]>,
    t: usize,
    dh: usize,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (_, _, p) = attention_reference(q, k, v, mask, t, dh);
    let scale = 1.0 / (dh as f64).sqrt();
    let (mut dq, mut dk, mut dv) = (vec![0.0; t * dh], vec![0.0; t * dh], vec![0.0; t * dh]);
    for i in 0..t {
        let factor = |j: usize| mask.map_or(1.0, |mask| mask[i * t + j]);
        // Gradient of row i's probabilities, then of its scores through the softmax.
        let dp: Vec<f64> = (0..=i)
            .map(|j| factor(j) * (0..dh).map(|c| dout[i * dh + c] * v[j * dh + c]).sum::<f64>())
            .collect();
        let mean: f64 = (0..=i).map(|j| p[i * t + j] * dp[j]).sum();
        for j in 0..=i {
            let ds = p[i * t + j] * (dp[j] - mean) * scale;
            for c in 0..dh {
                dq[i * dh + c] += ds * k[j * dh + c];
                dk[j * dh + c] += ds * q[i * dh + c];
                dv[j * dh + c] += p[i * t + j] * factor(j) * dout[i * dh + c];
            }
        }
    }
    (dq, dk, dv)
}
