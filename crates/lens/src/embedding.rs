//! How tokens and positions lie to each other before the first layer.

use crate::trace::Subject;
use serde::Serialize;

/// A token near another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    /// The token.
    pub id: u32,
    /// Cosine of the angle between the two embeddings.
    pub cosine: f64,
    /// Distance between them.
    pub distance: f64,
}

/// The `count` tokens of `vocabulary` with the largest cosine to `id`, itself left out. V d multiplications.
///
/// # Panics
/// Where there is no such token.
pub fn neighbours(subject: Subject<'_>, id: u32, vocabulary: usize, count: usize) -> Vec<Neighbour> {
    let (embedding, d) = (subject.model.anatomy().embedding, subject.model.dims().n_embd);
    let mut of = vec![0.0; d];
    subject.weights.row(subject.model, embedding, id as usize, &mut of);
    let mut row = vec![0.0; d];
    let mut all: Vec<Neighbour> = (0..vocabulary as u32)
        .filter(|&other| other != id)
        .map(|other| {
            subject.weights.row(subject.model, embedding, other as usize, &mut row);
            let (cosine, distance) = compare(&of, &row);
            Neighbour {
                id: other,
                cosine,
                distance,
            }
        })
        .collect();
    all.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.id.cmp(&b.id)));
    all.truncate(count);
    all
}

/// Cosine and distance.
fn compare(a: &[f32], b: &[f32]) -> (f64, f64) {
    let (mut ab, mut aa, mut bb, mut apart) = (0.0, 0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        ab += a * b;
        aa += a * a;
        bb += b * b;
        apart += (a - b) * (a - b);
    }
    (ab / (aa * bb).sqrt().max(f64::MIN_POSITIVE), apart.sqrt())
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
    let cosines = pairs.map(|(a, b)| compare(row(a), row(b)).0).collect();
    Some((chosen, cosines))
}
