//! Where the likeliest tokens end, found without sorting the vocabulary.

use std::cmp::Ordering;

/// A token's place among the others: the higher logit first, then the lower id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rank {
    pub(crate) logit: f32,
    pub(crate) id: u32,
}

impl Rank {
    /// Less is likelier. Logits are not NaN here, and 0 equals -0.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let logits = other.logit.partial_cmp(&self.logit).unwrap_or(Ordering::Equal);
        logits.then(self.id.cmp(&other.id))
    }

    /// Whether this token is kept by a cut whose last token is `last`.
    pub(crate) fn within(&self, last: &Self) -> bool {
        self.logit > last.logit || self.logit == last.logit && self.id <= last.id
    }
}

/// The k-th likeliest token, `1 <= k`; where fewer have a logit above -inf, the least likely of those (`None` where no
/// token has).
///
/// One pass over the logits that compares each with the k-th best so far: for the usual k of 50, nothing else happens to
/// all but a few hundred of 50257.
pub(crate) fn kth(logits: &[f32], k: usize, best: &mut Vec<Rank>) -> Option<Rank> {
    best.clear();
    // Twice k, so that a selection of k pays for k tokens taken up.
    let room = k.saturating_mul(2);
    let mut bar = f32::NEG_INFINITY;
    for (id, &logit) in logits.iter().enumerate() {
        // One that equals the k-th best has a higher id and ranks after it.
        if logit > bar {
            best.push(Rank { logit, id: id as u32 });
            if best.len() == room {
                bar = best.select_nth_unstable_by(k - 1, Rank::order).1.logit;
                best.truncate(k);
            }
        }
    }
    if best.len() > k {
        best.select_nth_unstable_by(k - 1, Rank::order);
        best.truncate(k);
    }
    best.iter().copied().max_by(Rank::order)
}

/// A token and its weight: its probability before the division.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weighted {
    pub(crate) rank: Rank,
    pub(crate) weight: f32,
}

/// The last of the fewest likeliest tokens that hold a share `p` of the weight of all; `None` where there is no token.
pub(crate) fn nucleus(tokens: &[Weighted], p: f32, scratch: &mut Vec<Weighted>) -> Option<Rank> {
    let total: f64 = tokens.iter().map(|t| f64::from(t.weight)).sum();
    let wanted = f64::from(p) * total;
    // All tokens below this floor together weigh less than 1 - p of the total, so the rest holds the share. This drops
    // nearly all of the vocabulary after a trained model.
    let floor = ((total - wanted) / tokens.len() as f64) as f32;
    scratch.clear();
    scratch.extend(tokens.iter().filter(|t| t.weight >= floor));
    prefix(scratch, wanted)
}

/// The last of the fewest first tokens, by rank, that weigh `wanted` or more; `None` where there is no token. Tokens change
/// places.
///
/// Selection by halves, not a sort: linear in the tokens.
pub(crate) fn prefix(tokens: &mut [Weighted], wanted: f64) -> Option<Rank> {
    // The first `low` tokens are too few, the first `high` are enough.
    let (mut low, mut high, mut before) = (0, tokens.len(), 0.0);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let part = &mut tokens[low..high];
        part.select_nth_unstable_by(middle - low, |a, b| a.rank.order(&b.rank));
        let half: f64 = part[..middle - low].iter().map(|t| f64::from(t.weight)).sum();
        if before + half >= wanted {
            high = middle;
        } else {
            low = middle;
            before += half;
        }
    }
    tokens.get(low).map(|t| t.rank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(logits: &[f32]) -> Vec<Rank> {
        let mut all: Vec<Rank> = logits
            .iter()
            .zip(0..)
            .map(|(&logit, id)| Rank { logit, id })
            .filter(|rank| rank.logit > f32::NEG_INFINITY)
            .collect();
        all.sort_by(Rank::order);
        all
    }

    /// Logits with many ties, and some of -inf.
    fn logits() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(
            prop_oneof![
                4 => (-20i32..20).prop_map(|x| x as f32 / 4.0),
                1 => Just(f32::NEG_INFINITY),
                4 => -5.0f32..5.0,
            ],
            1..200,
        )
    }

    proptest! {
        #[test]
        fn the_kth_is_the_sorted_lists_kth(logits in logits(), k in 1usize..220) {
            let all = sorted(&logits);
            let want = all.get(k.min(all.len()).wrapping_sub(1)).copied();
            prop_assert_eq!(kth(&logits, k, &mut Vec::new()), want);
        }

        #[test]
        fn the_nucleus_is_the_shortest_prefix_that_holds_the_share(logits in logits(), p in 0.0f32..1.0) {
            let all = sorted(&logits);
            let weigh = |rank: &Rank| Weighted { rank: *rank, weight: rank.logit.exp() };
            let tokens: Vec<Weighted> = all.iter().map(weigh).collect();
            let last = nucleus(&tokens, p, &mut Vec::new());
            prop_assert_eq!(last.is_none(), all.is_empty());
            if let Some(last) = last {
                let total: f64 = tokens.iter().map(|t| f64::from(t.weight)).sum();
                let kept = all.iter().filter(|rank| rank.within(&last)).count();
                let mass = |n: usize| tokens[..n].iter().map(|t| f64::from(t.weight)).sum::<f64>() / total;
                prop_assert!(mass(kept) >= f64::from(p) - 1e-9);
                prop_assert!(kept == 1 || mass(kept - 1) < f64::from(p) + 1e-9);
            }
        }
    }
}
