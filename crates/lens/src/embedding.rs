//! How tokens and positions lie to each other before the first layer.

use crate::pair::Pair;
use crate::trace::Subject;
use foretoken_kernels::{Epilogue, Mat, matmul};
use schemars::JsonSchema;
use serde::Serialize;

/// A token near another.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Neighbour {
    /// The token.
    pub id: u32,
    /// Cosine of the angle between the two embeddings.
    pub cosine: f64,
    /// Distance between them.
    pub distance: f64,
}

/// For each of `ids` the `count` tokens of `vocabulary` with the largest cosine, itself left out. 2 n V d flops for n ids; the cosines of 64
/// are in memory at a time.
///
/// # Panics
/// Where there is no such token.
pub fn neighbours(subject: Subject<'_>, ids: &[u32], vocabulary: usize, count: usize) -> Vec<Vec<Neighbour>> {
    let d = subject.model.dims().n_embd;
    let table = subject
        .weights
        .matrix(subject.pool, subject.model, subject.model.anatomy().embedding);
    let row = |id: u32| &table[id as usize * d..(id as usize + 1) * d];
    let square = |row: &[f32]| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let squares: Vec<f64> = table.chunks_exact(d).take(vocabulary).map(square).collect();
    let mut all = Vec::with_capacity(ids.len());
    for ids in ids.chunks(64) {
        let of: Vec<f32> = ids.iter().flat_map(|&id| row(id)).copied().collect();
        let mut products = vec![0.0; ids.len() * vocabulary];
        let (of, others) = (
            Mat::new(&of, ids.len(), d),
            Mat::new(&table[..vocabulary * d], vocabulary, d),
        );
        matmul(subject.pool, &mut products, of, others.t(), Epilogue::Store);
        for (&id, products) in ids.iter().zip(products.chunks_exact(vocabulary)) {
            let own = squares[id as usize];
            let cosine = |other: u32| {
                let other = other as usize;
                f64::from(products[other]) / (own * squares[other]).sqrt().max(f64::MIN_POSITIVE)
            };
            let mut order: Vec<(f64, u32)> = (0..vocabulary as u32).map(|other| (cosine(other), other)).collect();
            let nearer = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            // One more: the token itself is among them.
            if count + 1 < order.len() {
                order.select_nth_unstable_by(count + 1, nearer);
                order.truncate(count + 1);
            }
            order.retain(|&(_, other)| other != id);
            order.sort_unstable_by(nearer);
            order.truncate(count);
            let neighbour = |(_, other): (f64, u32)| {
                let pair = Pair::of(row(id), row(other));
                Neighbour {
                    id: other,
                    cosine: pair.cosine(),
                    distance: pair.apart.sqrt(),
                }
            };
            all.push(order.into_iter().map(neighbour).collect());
        }
    }
    all
}

/// Tokens in the plane in which their embeddings differ most (their two first principal components), and what part of all variance it
/// shows.
///
/// # Panics
/// Where there is no such token.
pub fn plane(subject: Subject<'_>, ids: &[u32]) -> (Vec<[f64; 2]>, f64) {
    let (embedding, d) = (subject.model.anatomy().embedding, subject.model.dims().n_embd);
    let mut rows = vec![vec![0.0; d]; ids.len()];
    let mut row = vec![0.0; d];
    for (out, &id) in rows.iter_mut().zip(ids) {
        subject.weights.row(subject.model, embedding, id as usize, &mut row);
        out.iter_mut().zip(&row).for_each(|(out, &x)| *out = f64::from(x));
    }
    for column in 0..d {
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / ids.len().max(1) as f64;
        rows.iter_mut().for_each(|row| row[column] -= mean);
    }
    let total: f64 = rows.iter().flatten().map(|x| x * x).sum();
    let mut points = vec![[0.0; 2]; ids.len()];
    let mut shown = 0.0;
    for axis in 0..2 {
        let direction = principal(&rows, axis);
        for (row, point) in rows.iter_mut().zip(&mut points) {
            let along: f64 = row.iter().zip(&direction).map(|(x, u)| x * u).sum();
            point[axis] = along;
            shown += along * along;
            // What is left is for the other axis.
            row.iter_mut().zip(&direction).for_each(|(x, u)| *x -= along * u);
        }
    }
    (points, if total > 0.0 { shown / total } else { 0.0 })
}

/// The unit vector along which rows spread most, by power iteration; its sign is the one of its largest entry.
fn principal(rows: &[Vec<f64>], axis: usize) -> Vec<f64> {
    let d = rows.first().map_or(0, Vec::len);
    // Any start that is not orthogonal to it.
    let mut u: Vec<f64> = (0..d)
        .map(|i| 1.0 + ((i * 7919 + axis * 104_729) % 97) as f64 / 97.0)
        .collect();
    for _ in 0..200 {
        let mut next = vec![0.0; d];
        for row in rows {
            let along: f64 = row.iter().zip(&u).map(|(x, u)| x * u).sum();
            next.iter_mut().zip(row).for_each(|(out, x)| *out += along * x);
        }
        let length = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length == 0.0 {
            return vec![0.0; d];
        }
        next.iter_mut().for_each(|x| *x /= length);
        let same: f64 = next.iter().zip(&u).map(|(a, b)| a * b).sum();
        u = next;
        if (1.0 - same.abs()) < 1e-12 {
            break;
        }
    }
    let largest = u
        .iter()
        .copied()
        .fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 {
        u.iter_mut().for_each(|x| *x = -*x);
    }
    u
}

/// Cosines (side,side) between `side` learnt positions, evenly chosen from the first to the last, and which they are; none where a model
/// learns no positions.
pub fn position_similarity(subject: Subject<'_>, side: usize) -> Option<(Vec<usize>, Vec<f64>)> {
    let positions = subject.model.anatomy().positions?;
    let (count, d) = (subject.model.dims().n_positions, subject.model.dims().n_embd);
    let side = side.clamp(1, count);
    let chosen: Vec<usize> = (0..side).map(|i| i * (count - 1) / (side - 1).max(1)).collect();
    let table = subject.weights.vector(subject.model, positions);
    let row = |i: usize| &table[i * d..(i + 1) * d];
    let pairs = chosen.iter().flat_map(|&a| chosen.iter().map(move |&b| (a, b)));
    let cosines = pairs.map(|(a, b)| Pair::of(row(a), row(b)).cosine()).collect();
    Some((chosen, cosines))
}
