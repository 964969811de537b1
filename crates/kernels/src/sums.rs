//! Sums over arrays: folding gradients, adding up partial sums in a fixed order, zeroing.

use crate::pool::{Pool, Shards};
use crate::simd::{LANES, load, simd_fn, store};

/// Elements a task adds.
const CHUNK: usize = 16_384;
/// Additions from which partial sums are shared out. N = 4096 rows of 3072 leave 196,608 of them, 25 us of the 1.4 ms
/// that the rows take; a second region costs more where the machine is busy with other things.
const WORTH_SHARING: usize = 1 << 19;

/// acc += x, element by element: how gradients of micro-batches are folded. 12 bytes an element; one rounding.
///
/// # Panics
/// Where lengths differ.
pub fn add_in_place(pool: &Pool, acc: &mut [f32], x: &[f32]) {
    let _timed = pool.timed("add_in_place", [x.len()], |[n]| (n, 12 * n));
    assert_eq!(acc.len(), x.len(), "both sides have one shape");
    // The plain loop, as in `residual_forward`.
    pool.run_chunks(acc, CHUNK, |i, acc| {
        acc.iter_mut().zip(&x[i * CHUNK..]).for_each(|(a, x)| *a += x)
    });
}

/// x = 0 on all threads.
pub fn zero(pool: &Pool, x: &mut [f32]) {
    let _timed = pool.timed("zero", [x.len()], |[n]| (0, 4 * n));
    pool.run_chunks(x, 1 << 18, |_, x| x.fill(0.0));
}

/// sum += every row of `rows`, which lie `stride` floats apart, one after another: the order is part of the bits.
///
/// Columns are shared out where that is worth a hand-off.
pub(crate) fn add_rows(pool: &Pool, sum: &mut [f32], rows: &[f32], stride: usize) {
    let width = sum.len();
    let count = rows.len().div_ceil(stride.max(1));
    let cols = (WORTH_SHARING / count.max(1)).next_multiple_of(LANES).max(LANES);
    let shards = Shards::new(sum);
    pool.run(width.div_ceil(cols), |task| {
        let (start, end) = (task * cols, width.min((task + 1) * cols));
        // SAFETY: these columns are this task's.
        let sum = unsafe { shards.range(start, end) };
        add_rows_to(pool.isa(), sum, &rows[start..], stride, count);
    });
}

simd_fn! {
    /// sum += the first `sum.len()` floats of `count` rows that lie `stride` floats apart, one row after another.
    pub(crate) fn add_rows_to[S](sum: &mut [f32], rows: &[f32], stride: usize, count: usize) {
        let n = sum.len();
        for row in 0..count {
            let row = &rows[row * stride..row * stride + n];
            for i in (0..n).step_by(LANES) {
                let total = S::add(load::<S>(&sum[i..n]), load::<S>(&row[i..n]));
                store::<S>(&mut sum[i..n], total);
            }
        }
    }
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
