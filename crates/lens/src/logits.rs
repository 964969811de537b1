//! From logits to what is likely.

use schemars::JsonSchema;
use serde::Serialize;

/// A token that could be next.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its logit.
    pub logit: f32,
    /// Its probability, of all tokens.
    pub probability: f64,
}

/// What logits (V) say.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Distribution {
    /// The likeliest, the first first; of equal ones the smaller id.
    pub top: Vec<Candidate>,
    /// How unsure it is, in bits.
    pub entropy: f64,
    /// ln of the sum of e to each logit: `logit - log_sum` is a token's log-probability.
    #[serde(skip)]
    pub log_sum: f64,
}

/// Sums in f64.
///
/// # Panics
/// Where there are no logits.
pub fn distribution(logits: &[f32], top: usize) -> Distribution {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let (mut sum, mut weighted) = (0.0, 0.0);
    for &logit in logits {
        let below = f64::from(logit) - max;
        let weight = below.exp();
        sum += weight;
        weighted += weight * below;
    }
    let log_sum = max + sum.ln();
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let likelier = |&a: &u32, &b: &u32| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b));
    let top = top.min(order.len());
    if top < order.len() {
        order.select_nth_unstable_by(top, likelier);
        order.truncate(top);
    }
    order.sort_unstable_by(likelier);
    let candidate = |id: u32| {
        let logit = logits[id as usize];
        Candidate {
            id,
            logit,
            probability: (f64::from(logit) - log_sum).exp(),
        }
    };
    Distribution {
        top: order.into_iter().map(candidate).collect(),
        entropy: (sum.ln() - weighted / sum) / std::f64::consts::LN_2,
        log_sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_each_is_two_bits() {
        let even = distribution(&[5.0; 4], 2);
        assert!((even.entropy - 2.0).abs() < 1e-12);
        assert_eq!(even.top.iter().map(|c| c.id).collect::<Vec<_>>(), [0, 1]);
        assert!(even.top.iter().all(|c| (c.probability - 0.25).abs() < 1e-12));
        let sure = distribution(&[0.0, 100.0, -3.0], 9);
        assert!(sure.entropy < 1e-12 && sure.top[0].id == 1 && sure.top.len() == 3);
    }
}
