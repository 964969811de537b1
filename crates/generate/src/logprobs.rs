//! Log-probabilities of tokens, as they are reported.

use crate::rank::{Rank, kth};

/// A token and its log-probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logprob {
    /// The token.
    pub id: u32,
    /// The natural logarithm of the probability that the model gave it: at temperature 1, before penalties and filters.
    pub logprob: f32,
}

/// What the model thought of one place of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Thought {
    /// The token that stands there.
    pub token: Logprob,
    /// The likeliest tokens, the likeliest first; of equal ones the lower id.
    pub top: Vec<Logprob>,
}

impl Thought {
    /// ln softmax(logits), summed in f64, at `id` and at the `top` likeliest tokens.
    ///
    /// All of them come from one normaliser, so whether `id` is the likeliest can be told by comparing the numbers.
    pub fn of(logits: &[f32], id: u32, top: usize) -> Self {
        let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
        let norm = max + sum.ln();
        let at = |id: u32| Logprob {
            id,
            logprob: (f64::from(logits[id as usize]) - norm) as f32,
        };
        let mut best = Vec::new();
        if top > 0 {
            kth(logits, top, &mut best);
            best.sort_unstable_by(Rank::order);
        }
        Self {
            token: at(id),
            top: best.iter().map(|rank| at(rank.id)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_and_probabilities_sum_to_one() {
        let logits = [0.5, 2.0, -1.0, 2.0, f32::NEG_INFINITY];
        let thought = Thought::of(&logits, 2, 3);
        let ids: Vec<u32> = thought.top.iter().map(|t| t.id).collect();
        assert_eq!(ids, [1, 3, 0]);
        assert_eq!(thought.top[0].logprob, thought.top[1].logprob);
        let p = |id| f64::from(Thought::of(&logits, id, 0).token.logprob).exp();
        let sum: f64 = (0..5).map(p).sum();
        assert!((sum - 1.0).abs() < 1e-6 && p(4) == 0.0, "{sum}");
        assert_eq!(Thought::of(&logits, 1, 1).token, Thought::of(&logits, 1, 1).top[0]);
        assert_eq!(
            Thought::of(&logits, 0, 9).top.len(),
            4,
            "no more than have a probability"
        );
    }
}
