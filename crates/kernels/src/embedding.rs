//! Token and position embedding: `x[b,t] = wte[id[b,t]] + wpe[position]`.

use crate::pool::{Pool, Shards};

/// Rows a task of the forward copies.
const ROWS: usize = 64;
/// Columns a task of the backward owns: every row that names a token adds to it in order, whatever the threads.
const COLS: usize = 64;

/// x (N,d) from `ids` (N) in rows of `t` tokens, each row at positions `first_position…`.
///
/// # Panics
/// Where an id is not below V, a position not below n_positions, or shapes differ.
pub fn embedding_forward(
    pool: &Pool,
    x: &mut [f32],
    ids: &[u32],
    wte: &[f32],
    wpe: &[f32],
    t: usize,
    first_position: usize,
) {
    let d = x.len() / ids.len().max(1);
    assert_eq!(x.len(), ids.len() * d, "x is (N,d)");
    pool.run_chunks(x, ROWS * d.max(1), |task, x| {
        for (row, x) in x.chunks_exact_mut(d).enumerate() {
            let n = task * ROWS + row;
            let (id, position) = (ids[n] as usize, first_position + n % t);
            let (token, place) = (&wte[id * d..(id + 1) * d], &wpe[position * d..(position + 1) * d]);
            x.iter_mut().zip(token).zip(place).for_each(|((x, a), b)| *x = a + b);
        }
    });
}

/// dwte and dwpe += the gradient dx (N,d) of x; rows of `t` tokens at positions 0…
///
/// # Panics
/// Where an id is not below V or shapes differ.
pub fn embedding_backward(pool: &Pool, dwte: &mut [f32], dwpe: &mut [f32], dx: &[f32], ids: &[u32], t: usize) {
    let d = dx.len() / ids.len().max(1);
    assert_eq!(dx.len(), ids.len() * d, "dx is (N,d)");
    let (dwte, dwpe) = (Shards::new(dwte), Shards::new(dwpe));
    pool.run(d.div_ceil(COLS), |task| {
        let (start, end) = (task * COLS, d.min((task + 1) * COLS));
        for (n, &id) in ids.iter().enumerate() {
            let from = &dx[n * d + start..n * d + end];
            for (shards, row) in [(&dwte, id as usize), (&dwpe, n % t)] {
                // SAFETY: these columns are this task's in every row.
                let to = unsafe { shards.range(row * d + start, row * d + end) };
                to.iter_mut().zip(from).for_each(|(sum, x)| *sum += x);
            }
        }
    });
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
        embedding_forward(&pool, &mut x, &[2, 0, 2, 1], &wte, &wpe, 2, 0);
        assert_eq!(x, [15.0, 26.0, 31.0, 42.0, 15.0, 26.0, 33.0, 44.0]);
        let (mut dwte, mut dwpe) = (vec![0.0; 6], vec![0.0; 4]);
        embedding_backward(
            &pool,
            &mut dwte,
            &mut dwpe,
            &[1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0],
            &[2, 0, 2, 1],
            2,
        );
        assert_eq!(dwte, [2.0, 2.0, 8.0, 8.0, 5.0, 5.0]);
        assert_eq!(dwpe, [5.0, 5.0, 10.0, 10.0]);
    }
}
