//! What heads look at.

use crate::trace::{Subject, Trace};
use foretoken_kernels::{Epilogue, Mat, Pool, matmul, softmax_weights};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Mutex;

/// What stands in the cells of a [`Pattern`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighing {
    /// softmax(q kᵀ / √dh): sums to 1 a query.
    #[default]
    Weight,
    /// The weight times the length of what the token would write into the stream, ‖v W_O‖: a look at a token with nothing to say weighs
    /// nothing.
    Value,
    /// q kᵀ / √dh, before the softmax; 0 above the diagonal.
    Score,
}

/// What a head looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// From 0.
    pub layer: usize,
    /// From 0.
    pub head: usize,
    /// (T,T), rows are queries; what comes later than the query is 0.
    pub weights: Vec<f32>,
}

/// What a head looks at, over all tokens.
///
/// 2 T² dh flops and T² floats; with [`Weighing::Value`] 2 T d dh more.
///
/// # Panics
/// Where the trace keeps no queries, keys and values, or there is no such head.
pub fn pattern(subject: Subject<'_>, trace: &Trace, layer: usize, head: usize, weighing: Weighing) -> Pattern {
    let softmax = weighing != Weighing::Score;
    let mut weights = vec![0.0; trace.len() * trace.len()];
    looks(subject.pool, trace, (layer, head), softmax, &mut weights);
    if weighing == Weighing::Value {
        let lengths = value_lengths(subject, trace, layer, head);
        for row in weights.chunks_exact_mut(trace.len()) {
            row.iter_mut()
                .zip(&lengths)
                .for_each(|(weight, length)| *weight *= length);
        }
    }
    Pattern { layer, head, weights }
}

/// q kᵀ / √dh, 0 above the diagonal; or the weights that a softmax makes of it.
fn looks(pool: &Pool, trace: &Trace, (layer, head): (usize, usize), softmax: bool, scores: &mut [f32]) {
    let (t, dh) = (trace.len(), trace.attention.dh);
    assert!(layer < trace.layers && head < trace.attention.h, "head {layer}.{head}");
    let [q, k, _] = trace.columns(head);
    let qkv = Mat::new(trace.qkv(layer), t, trace.attention.row());
    matmul(
        pool,
        scores,
        qkv.columns(q, dh),
        qkv.columns(k, dh).t(),
        Epilogue::Store,
    );
    let scale = 1.0 / (dh as f32).sqrt();
    by_rows(pool, scores, t, |i, row| {
        let (seen, later) = row.split_at_mut(i + 1);
        later.fill(0.0);
        seen.iter_mut().for_each(|score| *score *= scale);
        if softmax {
            let scores = seen.to_vec();
            let (_, sum) = softmax_weights(pool, seen, &scores, 1.0);
            seen.iter_mut().for_each(|weight| *weight /= sum);
        }
    });
}

/// Calls `each` with every row of a (T,T) and its number, on all threads.
fn by_rows(pool: &Pool, square: &mut [f32], t: usize, each: impl Fn(usize, &mut [f32]) + Sync) {
    const ROWS: usize = 32;
    let parts: Vec<Mutex<&mut [f32]>> = square.chunks_mut(ROWS * t).map(Mutex::new).collect();
    pool.run(parts.len(), |part| {
        let mut rows = parts[part].lock().expect("nobody else has it");
        for (i, row) in rows.chunks_exact_mut(t).enumerate() {
            each(part * ROWS + i, row);
        }
    });
}

/// ‖v W_O‖ of every token (T).
fn value_lengths(subject: Subject<'_>, trace: &Trace, layer: usize, head: usize) -> Vec<f32> {
    let (t, d, dh) = (trace.len(), trace.d, trace.attention.dh);
    let out = subject.model.anatomy().heads_out[layer];
    let out = subject.weights.matrix(subject.pool, subject.model, out);
    let values = Mat::new(trace.qkv(layer), t, trace.attention.row()).columns(trace.columns(head)[2], dh);
    let out = Mat::new(&out, d, d).columns(head * dh, dh);
    let mut written = vec![0.0; t * d];
    matmul(subject.pool, &mut written, values, out.t(), Epilogue::Store);
    let length = |row: &[f32]| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32;
    written.chunks_exact(d).map(length).collect()
}

/// How much a head does of what heads are known to do: mean weights over the queries that have something to look at so; none where no
/// query has.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Badges {
    /// At the token before.
    pub previous: Option<f64>,
    /// At the first token, where heads rest that have nothing to do.
    pub first: Option<f64>,
    /// At earlier tokens like the query.
    pub duplicate: Option<f64>,
    /// At what followed earlier tokens like the query, where the text goes on as it did there: the head expects repetition (Olsson et
    /// al., In-context Learning and Induction Heads, 2022, arXiv:2209.11895). Queries after which it goes on otherwise do not
    /// count: in a story most are spaces and endings, among which the repeated names were lost.
    pub induction: Option<f64>,
}

/// A head in small.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct HeadMap {
    /// From 0.
    pub layer: usize,
    /// From 0.
    pub head: usize,
    /// Rows and columns of `cells`.
    pub side: usize,
    /// (side,side): the largest weight of each square of the pattern, so that sharp looks stay visible.
    pub cells: Vec<f32>,
    /// What it is like.
    pub badges: Badges,
}

/// All heads of all layers, each in `side` x `side` cells at most.
///
/// 2 L h T² dh flops; one pattern is in memory at a time.
pub fn head_maps(subject: Subject<'_>, trace: &Trace, side: usize) -> Vec<HeadMap> {
    let heads = (0..trace.layers).flat_map(|layer| (0..trace.attention.h).map(move |head| (layer, head)));
    let known = Looks::of(&trace.ids);
    let side = side.clamp(1, trace.len());
    // One square for all: asking the system for one a head took as long as the heads.
    let mut weights = vec![0.0; trace.len() * trace.len()];
    heads
        .map(|(layer, head)| {
            looks(subject.pool, trace, (layer, head), true, &mut weights);
            HeadMap {
                layer,
                head,
                side,
                cells: shrink(&weights, trace.len(), side),
                badges: known.badges(&weights),
            }
        })
        .collect()
}

/// The largest of each square.
fn shrink(weights: &[f32], t: usize, side: usize) -> Vec<f32> {
    let mut cells = vec![0.0f32; side * side];
    // Where each cell ends: the division is done once a column, not once a weight.
    let ends: Vec<usize> = (1..=side).map(|cell| (cell * t).div_ceil(side)).collect();
    for (i, row) in weights.chunks_exact(t).enumerate() {
        let cells = &mut cells[i * side / t * side..][..side];
        let mut start = 0;
        for (cell, &end) in cells.iter_mut().zip(&ends) {
            let seen = &row[start..end.min(i + 1).max(start)];
            *cell = seen
                .iter()
                .fold(*cell, |most, &weight| if weight > most { weight } else { most });
            start = end;
        }
    }
    cells
}

/// For each query, the earlier tokens that are like it, and those of them after which the text went on as it does here.
struct Looks {
    like: Vec<Vec<usize>>,
    again: Vec<Vec<usize>>,
}

impl Looks {
    fn of(ids: &[u32]) -> Self {
        let mut seen = std::collections::HashMap::<u32, Vec<usize>>::new();
        let like = ids.iter().enumerate().map(|(i, &id)| {
            let before = seen.entry(id).or_default();
            let like = before.clone();
            before.push(i);
            like
        });
        let like: Vec<Vec<usize>> = like.collect();
        // What follows must lie before the query, which sees it.
        let again = like.iter().enumerate().map(|(i, like)| {
            let goes_on = |j: &usize| j + 1 < i && i + 1 < ids.len() && ids[j + 1] == ids[i + 1];
            like.iter().copied().filter(goes_on).collect()
        });
        Self {
            again: again.collect(),
            like,
        }
    }

    fn badges(&self, weights: &[f32]) -> Badges {
        let t = self.like.len();
        let weight = |i: usize, j: usize| f64::from(weights[i * t + j]);
        let mean = |all: &mut dyn Iterator<Item = f64>| {
            let (sum, n) = all.fold((0.0, 0), |(sum, n), weight| (sum + weight, n + 1));
            (n > 0).then(|| sum / f64::from(n))
        };
        fn queries(of: &[Vec<usize>]) -> impl Iterator<Item = (usize, &Vec<usize>)> {
            of.iter().enumerate().filter(|(_, like)| !like.is_empty())
        }
        Badges {
            previous: mean(&mut (1..t).map(|i| weight(i, i - 1))),
            first: mean(&mut (1..t).map(|i| weight(i, 0))),
            duplicate: mean(&mut queries(&self.like).map(|(i, like)| like.iter().map(|&j| weight(i, j)).sum())),
            induction: mean(&mut queries(&self.again).map(|(i, like)| like.iter().map(|&j| weight(i, j + 1)).sum())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_keep_their_largest_weight() {
        #[rustfmt::skip]
        let weights = [
            1.0, 0.0, 0.0, 0.0,
            0.4, 0.6, 0.0, 0.0,
            0.1, 0.2, 0.7, 0.0,
            0.3, 0.1, 0.1, 0.5,
        ];
        assert_eq!(shrink(&weights, 4, 2), [1.0, 0.0, 0.3, 0.7]);
        assert_eq!(shrink(&weights, 4, 4), weights);
    }

    #[test]
    fn a_head_is_known_by_where_it_looks() {
        // a b a b: token 2 is like 0, and b follows again; token 3 is like 1, but nothing follows it.
        let looks = Looks::of(&[7, 8, 7, 8]);
        #[rustfmt::skip]
        let weights = [
            1.0, 0.0, 0.0, 0.0,
            0.5, 0.5, 0.0, 0.0,
            0.1, 0.8, 0.1, 0.0,
            0.0, 0.2, 0.6, 0.2,
        ];
        let badges = looks.badges(&weights);
        let near = |found: Option<f64>, wanted: f64| assert!((found.unwrap() - wanted).abs() < 1e-7, "{badges:?}");
        near(badges.previous, (0.5 + 0.8 + 0.6) / 3.0);
        near(badges.first, (0.5 + 0.1 + 0.0) / 3.0);
        near(badges.duplicate, (0.1 + 0.2) / 2.0);
        near(badges.induction, 0.8);
        // a b a c goes on otherwise.
        assert_eq!(Looks::of(&[7, 8, 7, 9]).badges(&weights).induction, None);
        assert_eq!(Looks::of(&[1, 2]).badges(&[1.0, 0.0, 0.5, 0.5]).induction, None);
    }
}
