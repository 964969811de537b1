//! Activations as whole numbers of 8 bits.

use super::BLOCK;
use crate::pool::{Pool, Shards};
use crate::simd::{LANES, Simd, load, simd_fn};

/// Rows of x, quantised 32 columns at a time: x is about `scale * q`, q from -127 to 127.
#[derive(Clone, Copy)]
pub(crate) struct Quantised<'a> {
    /// (M,K): four signed bytes in the bits of a float, or two numbers of 16 bits where [`Quantised::wide`].
    pub(crate) q: &'a [f32],
    /// (M,K/32)
    pub(crate) scale: &'a [f32],
    /// (M,K/32): sums of the q of a block.
    pub(crate) sum: &'a [f32],
    /// (M,K/32): what whole sums start from, as an `i32`'s bits: the sum of a block's q times what its weights have too much, taken off.
    pub(crate) start: &'a [f32],
    /// K / 32.
    pub(crate) blocks: usize,
}

/// Blocks that one task quantises at least; as many are not worth waking a thread for.
const BLOCKS: usize = 96;

/// Floats of scratch memory for M rows of K columns.
pub(crate) fn scratch(m: usize, k: usize, wide: bool) -> usize {
    m * (k / numbers(wide) + 3 * (k / BLOCK))
}

/// Numbers in the bits of a float.
const fn numbers(wide: bool) -> usize {
    if wide { 2 } else { 4 }
}

/// Quantises x (M,K) into `scratch`. The error of an element is at most half a scale, `max |x| / 254` of its block. A block
/// with a number that is not finite gets a scale that is not. `excess` is what the weights that x meets have too much.
pub(crate) fn quantise<'a>(
    pool: &Pool,
    scratch: &'a mut [f32],
    x: &[f32],
    k: usize,
    wide: bool,
    excess: f32,
) -> Quantised<'a> {
    let (m, blocks, row) = (x.len() / k, k / BLOCK, k / numbers(wide));
    let (q, rest) = scratch.split_at_mut(m * row);
    let (scale, rest) = rest.split_at_mut(m * blocks);
    let (sum, start) = rest.split_at_mut(m * blocks);
    let start = &mut start[..m * blocks];
    let (qs, scales) = (Shards::new(q), Shards::new(scale));
    let (sums, starts) = (Shards::new(sum), Shards::new(start));
    let rows = BLOCKS.div_ceil(blocks);
    pool.run(m.div_ceil(rows), |task| {
        let (first, end) = (task * rows, m.min((task + 1) * rows));
        // SAFETY: these rows are this task's.
        let (q, scale, sum, start) = unsafe {
            (
                qs.range(first * row, end * row),
                scales.range(first * blocks, end * blocks),
                sums.range(first * blocks, end * blocks),
                starts.range(first * blocks, end * blocks),
            )
        };
        match wide {
            true => blocks_of_pairs(pool.isa(), q, scale, sum, &x[first * k..end * k]),
            false => blocks_of_quads(pool.isa(), q, scale, sum, &x[first * k..end * k]),
        }
        for (start, sum) in start.iter_mut().zip(sum) {
            // Exact: both are whole numbers, and the product is below 2^24.
            *start = f32::from_bits((-excess * *sum) as i32 as u32);
        }
    });
    Quantised {
        q,
        scale,
        sum,
        start,
        blocks,
    }
}

simd_fn! {
    fn blocks_of_quads[S](q: &mut [f32], scale: &mut [f32], sum: &mut [f32], x: &[f32]) {
        blocks_of::<S, 4>(q, scale, sum, x);
    }
}

simd_fn! {
    fn blocks_of_pairs[S](q: &mut [f32], scale: &mut [f32], sum: &mut [f32], x: &[f32]) {
        blocks_of::<S, 2>(q, scale, sum, x);
    }
}

/// `N` numbers in the bits of a float.
#[inline(always)]
fn blocks_of<S: Simd, const N: usize>(q: &mut [f32], scale: &mut [f32], sum: &mut [f32], x: &[f32]) {
    for (b, x) in x.chunks_exact(BLOCK).enumerate() {
        let (low, high) = (load::<S>(x), load::<S>(&x[LANES..]));
        let minus = |v| S::sub(S::splat(0.0), v);
        let most = S::max_lane(S::max(S::max(low, minus(low)), S::max(high, minus(high))));
        let total = S::sum(S::add(low, high));
        // A maximum may pass over what is not a number; a sum does not.
        let most = if total.is_finite() { most } else { f32::NAN };
        let inverse = S::splat(if most > 0.0 { 127.0 / most } else { 0.0 });
        scale[b] = most / 127.0;
        let rounded = [S::round(S::mul(low, inverse)), S::round(S::mul(high, inverse))];
        sum[b] = S::sum(S::add(rounded[0], rounded[1]));
        let q = q[b * BLOCK / N..(b + 1) * BLOCK / N].as_mut_ptr();
        for (i, rounded) in rounded.into_iter().enumerate() {
            // SAFETY: the slice holds 32 numbers of 32 / N bits.
            unsafe {
                match N {
                    2 => S::store_i16(q.cast::<i16>().add(LANES * i), rounded),
                    _ => S::store_i8(q.cast::<i8>().add(LANES * i), rounded),
                }
            }
        }
    }
}
