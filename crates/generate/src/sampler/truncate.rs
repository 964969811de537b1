//! Which tokens a draw chooses among: top-k, top-p, min-p, typical-p, XTC, mirostat.

use crate::rank::{Rank, Weighted, kth, nucleus, prefix};
use crate::sampling::Sampling;

/// Memory that is used again at every draw.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    pub(super) best: Vec<Rank>,
    /// What is left, in the order of ids.
    pub(super) tokens: Vec<Weighted>,
    sorted: Vec<Weighted>,
}

/// What the draw's state adds to the parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Whether it is XTC's turn.
    pub(super) exclude: bool,
    /// Mirostat's bound on the surprise, in bits.
    pub(super) mu: Option<f64>,
}

/// `s.tokens` becomes what steps 7 to 9 of [`Sampling`] leave of the weights exp((logit - largest) / temperature). Returns
/// the share of the probability that mirostat kept.
pub(super) fn truncate(sampling: &Sampling, logits: &[f32], weights: &[f32], turn: Turn, s: &mut Scratch) -> f64 {
    let &Sampling {
        top_k,
        top_p,
        min_p,
        typical_p,
        ..
    } = sampling;
    let cut = match (1..logits.len()).contains(&top_k) {
        true => kth(logits, top_k, &mut s.best),
        false => None,
    };
    let ranks = logits.iter().zip(0..).map(|(&logit, id)| Rank { logit, id });
    s.tokens.clear();
    s.tokens.extend(
        ranks
            .zip(weights)
            .map(|(rank, &weight)| Weighted { rank, weight })
            .filter(|t| t.weight > 0.0 && cut.is_none_or(|last| t.rank.within(&last))),
    );
    if top_p < 1.0
        && let Some(last) = nucleus(&s.tokens, top_p, &mut s.sorted)
    {
        s.tokens.retain(|t| t.rank.within(&last));
    }
    if min_p > 0.0 {
        // The likeliest token's weight is exactly 1, and no filter before takes it away.
        s.tokens.retain(|t| t.weight >= min_p);
    }
    if typical_p < 1.0 {
        typical(typical_p, s);
    }
    if turn.exclude
        && let Some(xtc) = sampling.xtc
    {
        exclude_top_choices(f64::from(xtc.threshold), &mut s.tokens);
    }
    turn.mu.map_or(1.0, |mu| bound_surprise(mu, &mut s.tokens))
}

/// The sum of the weights.
pub(super) fn mass(tokens: &[Weighted]) -> f64 {
    tokens.iter().map(|t| f64::from(t.weight)).sum()
}

/// Locally typical sampling: the fewest tokens that hold the share `p`, by how near -ln p is to the entropy.
fn typical(p: f32, s: &mut Scratch) {
    let total = mass(&s.tokens);
    let surprise = |t: &Weighted| (total / f64::from(t.weight)).ln();
    let share = |t: &Weighted| f64::from(t.weight) / total;
    let entropy: f64 = s.tokens.iter().map(|t| share(t) * surprise(t)).sum();
    // Ranked as by a logit: the nearer, the higher.
    let near = |t: &Weighted| Rank {
        logit: -(surprise(t) - entropy).abs() as f32,
        id: t.rank.id,
    };
    s.sorted.clear();
    s.sorted
        .extend(s.tokens.iter().map(|t| Weighted { rank: near(t), ..*t }));
    if let Some(last) = prefix(&mut s.sorted, f64::from(p) * total) {
        s.tokens.retain(|t| near(t).within(&last));
    }
}

/// XTC: drops all but the least likely of the tokens that reach the threshold.
fn exclude_top_choices(threshold: f64, tokens: &mut Vec<Weighted>) {
    let total = mass(tokens);
    let top = |t: &Weighted| f64::from(t.weight) >= threshold * total;
    let least = tokens.iter().filter(|t| top(t)).map(|t| t.rank).max_by(Rank::order);
    if let Some(least) = least {
        tokens.retain(|t| !t.rank.within(&least) || t.rank == least);
    }
}

/// Mirostat 2: drops what surprises more than mu bits, but never the likeliest. Returns the share that is left.
fn bound_surprise(mu: f64, tokens: &mut Vec<Weighted>) -> f64 {
    let total = mass(tokens);
    let floor = total * (-mu).exp2();
    if let Some(likeliest) = tokens.iter().map(|t| t.rank).min_by(Rank::order) {
        tokens.retain(|t| f64::from(t.weight) >= floor || t.rank == likeliest);
    }
    mass(tokens) / total
}
