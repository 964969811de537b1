//! Token and position embedding: `x[b,t] = wte[id[b,t]] + wpe[position]`; without the second where positions turn queries and
//! keys instead.

use crate::documents::Documents;
use crate::pool::{Pool, Shards};
use crate::sums::add_to;

/// Rows a task of the forward copies.
const ROWS: usize = 64;
/// Groups of tokens in the backward, each of one task: every row that names a token adds to it in order, whatever the
/// threads. Whole rows: cut by columns it ran at half the speed, since every task walked all of a large table.
const GROUPS: usize = 16;
/// Positions a task of the backward owns.
const POSITIONS: usize = 32;

/// x (N,d) from `ids` (N) in documents of these lengths, at most `t`, or, where none are given, of `t` tokens; each is at positions
/// `first_position…`. 12 bytes an element; one rounding.
///
/// # Panics
/// Where an id is not below V, a position not below n_positions, or shapes differ.
pub fn embedding_forward(
    pool: &Pool,
    x: &mut [f32],
    ids: &[u32],
    wte: &[f32],
    wpe: Option<&[f32]>,
    (t, documents): (usize, &[usize]),
    first_position: usize,
) {
    let d = x.len() / ids.len().max(1);
    let _timed = pool.timed("embedding_forward", [ids.len(), d], |[n, d]| (n * d, 12 * n * d));
    assert_eq!(x.len(), ids.len() * d, "x is (N,d)");
    let documents = Documents::new(ids.len(), t, documents);
    pool.run_chunks(x, ROWS * d.max(1), |task, x| {
        let places = ids[task * ROWS..].iter().zip(documents.positions(task * ROWS));
        for (x, (&id, position)) in x.chunks_exact_mut(d).zip(places) {
            let (id, position) = (id as usize, first_position + position);
            let token = &wte[id * d..(id + 1) * d];
            match wpe {
                Some(wpe) => {
                    let place = &wpe[position * d..(position + 1) * d];
                    x.iter_mut().zip(token).zip(place).for_each(|((x, a), b)| *x = a + b);
                }
                None => x.copy_from_slice(token),
            }
        }
    });
}

/// dwte and dwpe += the gradient dx (N,d) of x; documents as in the forward, at positions 0… 24 bytes an element. Error against
/// f64 below `2e-7 sqrt(N) (1 + |gradient|)`.
///
/// # Panics
/// Where an id is not below V or shapes differ.
pub fn embedding_backward(
    pool: &Pool,
    dwte: Option<&mut [f32]>,
    dwpe: Option<&mut [f32]>,
    dx: &[f32],
    ids: &[u32],
    (t, documents): (usize, &[usize]),
) {
    let d = dx.len() / ids.len().max(1);
    let _timed = pool.timed("embedding_backward", [ids.len(), d], |[n, d]| (2 * n * d, 24 * n * d));
    assert_eq!(dx.len(), ids.len() * d, "dx is (N,d)");
    if let Some(dwte) = dwte {
        let dwte = Shards::new(dwte);
        pool.run(GROUPS, |group| {
            for (n, &id) in ids.iter().enumerate().filter(|(_, id)| **id as usize % GROUPS == group) {
                // SAFETY: tokens of this group are this task's.
                let to = unsafe { dwte.range(id as usize * d, (id as usize + 1) * d) };
                add_to(pool.isa(), to, &dx[n * d..(n + 1) * d]);
            }
        });
    }
    let Some(dwpe) = dwpe else { return };
    let documents = Documents::new(ids.len(), t, documents);
    let positions = documents.iter().map(|document| document.len).max().unwrap_or(0);
    assert!(
        positions * d <= dwpe.len(),
        "{positions} positions of {d} in {} floats",
        dwpe.len()
    );
    pool.run_chunks(&mut dwpe[..positions * d], POSITIONS * d.max(1), |task, dwpe| {
        for (i, to) in dwpe.chunks_exact_mut(d).enumerate() {
            let position = task * POSITIONS + i;
            for document in documents.iter().filter(|document| document.len > position) {
                let n = document.first + position;
                add_to(pool.isa(), to, &dx[n * d..(n + 1) * d]);
            }
        }
    });
}

/// The sum of both embeddings in f64: x (N,d). The oracle.
pub fn embedding_reference(
    ids: &[u32],
    wte: &[f64],
    wpe: &[f64],
    d: usize,
    t: usize,
    first_position: usize,
) -> Vec<f64> {
    let element = |i: usize| {
        let (n, c) = (i / d, i % d);
        wte[ids[n] as usize * d + c] + wpe[(first_position + n % t) * d + c]
    };
    (0..ids.len() * d).map(element).collect()
}

/// The gradients of the token (V,d) and position embedding (n_positions,d) in f64. The oracle.
pub fn embedding_backward_reference(
    dx: &[f64],
    ids: &[u32],
    t: usize,
    vocab: usize,
    positions: usize,
) -> (Vec<f64>, Vec<f64>) {
    let d = dx.len() / ids.len().max(1);
    let (mut dwte, mut dwpe) = (vec![0.0; vocab * d], vec![0.0; positions * d]);
    for (i, dx) in dx.iter().enumerate() {
        let (n, c) = (i / d, i % d);
        dwte[ids[n] as usize * d + c] += dx;
        dwpe[n % t * d + c] += dx;
    }
    (dwte, dwpe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn looks_up_adds_and_sums_back() {
        let pool = Pool::with_isa(2, Isa::Portable);
        let (wte, wpe) = (vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![10.0, 20.0, 30.0, 40.0]);
        let mut x = vec![0.0; 8];
        embedding_forward(&pool, &mut x, &[2, 0, 2, 1], &wte, Some(&wpe), (2, &[]), 0);
        assert_eq!(x, [15.0, 26.0, 31.0, 42.0, 15.0, 26.0, 33.0, 44.0]);
        let (mut dwte, mut dwpe) = (vec![0.0; 6], vec![0.0; 4]);
        embedding_backward(
            &pool,
            Some(&mut dwte),
            Some(&mut dwpe),
            &[1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0],
            &[2, 0, 2, 1],
            (2, &[]),
        );
        assert_eq!(dwte, [2.0, 2.0, 8.0, 8.0, 5.0, 5.0]);
        assert_eq!(dwpe, [5.0, 5.0, 10.0, 10.0]);
    }
}
