//! Sums over arrays: folding gradients, adding up partial sums in a fixed order, zeroing.

use crate::pool::{Pool, Shards};
use crate::simd::{LANES, load, simd_fn, store};

/// Elements a task adds.
const CHUNK: usize = 16_384;

/// acc += x, element by element: how gradients of micro-batches are folded. 12 bytes an element; one rounding.
///
/// # Panics
/// Where lengths differ.
pub fn add_in_place(pool: &Pool, acc: &mut [f32], x: &[f32]) {
    assert_eq!(acc.len(), x.len(), "both sides have one shape");
    pool.run_chunks(acc, CHUNK, |i, acc| {
        let len = acc.len();
        add_to(pool.isa(), acc, &x[i * CHUNK..i * CHUNK + len])
    });
}

/// x = 0 on all threads.
pub fn zero(pool: &Pool, x: &mut [f32]) {
    pool.run_chunks(x, 1 << 18, |_, x| x.fill(0.0));
}

/// sum += every row of `rows`, which lie `stride` floats apart, one after another: the order is part of the bits.
///
/// Columns are shared out once there is enough to add; below that a hand-off costs more than the sum.
pub(crate) fn add_rows(pool: &Pool, sum: &mut [f32], rows: &[f32], stride: usize) {
    let width = sum.len();
    let count = rows.len().div_ceil(stride.max(1));
    let cols = (32_768 / count.max(1)).next_multiple_of(LANES).max(LANES);
    let shards = Shards::new(sum);
    pool.run(width.div_ceil(cols), |task| {
        let (start, end) = (task * cols, width.min((task + 1) * cols));
        // SAFETY: these columns are this task's.
        let sum = unsafe { shards.range(start, end) };
        for row in 0..count {
            add_to(pool.isa(), sum, &rows[row * stride + start..row * stride + end]);
        }
    });
}

simd_fn! {
    /// sum += x; both of one length.
    pub(crate) fn add_to[S](sum: &mut [f32], x: &[f32]) {
        let n = sum.len();
        for i in (0..n).step_by(LANES) {
            let total = S::add(load::<S>(&sum[i..n]), load::<S>(&x[i..n]));
            store::<S>(&mut sum[i..n], total);
        }
    }
}
