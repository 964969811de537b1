//! Dropout with a mask that is never stored: element `i` is kept where number `i` of a counter-based stream says so.
//! `y = keep(i) x / (1 - p)` (Srivastava et al., JMLR 15, 2014).

use crate::pool::Pool;
use crate::random::{BLOCKS, Stream, unit};
use crate::simd::{LANES, load, simd_fn, store};

/// Elements a task handles; a multiple of [`RUN`].
const CHUNK: usize = 16_384;
/// Elements whose factors are made at once.
pub(crate) const RUN: usize = 4 * BLOCKS;

/// What is dropped, and by which numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of dropping, in [0, 1).
    pub p: f32,
    /// Where the mask's numbers come from.
    pub stream: Stream,
}

impl Dropout {
    /// 0, or 1 / (1 - p) where element `i` is kept.
    #[inline]
    pub fn factor(&self, i: u64) -> f32 {
        self.factors(i / 4)[(i % 4) as usize]
    }

    #[inline(always)]
    fn factors(&self, block: u64) -> [f32; 4] {
        self.stream.block(block).map(|word| self.choose(word))
    }

    /// The factors of the sixty-four elements from `first` on, which is a multiple of four.
    #[inline(always)]
    pub(crate) fn run(&self, first: u64) -> [f32; RUN] {
        debug_assert_eq!(first % 4, 0);
        let words = self.stream.blocks(first / 4);
        let mut factors = [0.0; RUN];
        for l in 0..BLOCKS {
            for w in 0..4 {
                factors[4 * l + w] = self.choose(words[w][l]);
            }
        }
        factors
    }

    #[inline(always)]
    fn choose(&self, word: u32) -> f32 {
        if unit(word) < self.p { 0.0 } else { 1.0 / (1.0 - self.p) }
    }
}

/// out = residual + dropout(x); without dropout a plain sum. `out` may be what `x` was only in a copy. 12 bytes an
/// element; one rounding, three with dropout (error against f64 below `2e-7 (1 + |out|)`).
///
/// # Panics
/// Where lengths differ.
pub fn residual_forward(pool: &Pool, out: &mut [f32], residual: &[f32], x: &[f32], dropout: Option<Dropout>) {
    let _timed = pool.timed("residual_forward", [x.len()], |[n]| (n, 12 * n));
    assert_eq!(
        (out.len(), out.len()),
        (residual.len(), x.len()),
        "out, residual and x have one shape"
    );
    pool.run_chunks(out, CHUNK, |chunk, out| {
        let start = chunk * CHUNK;
        let (residual, x) = (&residual[start..start + out.len()], &x[start..start + out.len()]);
        match dropout {
            // The plain loop: in memory it beats one over sixteen lanes by a tenth, in cache they are even.
            None => out.iter_mut().zip(residual).zip(x).for_each(|((o, r), x)| *o = r + x),
            Some(dropout) => add_dropped_chunk(pool.isa(), out, residual, x, dropout, start as u64),
        }
    });
}

/// y = dropout(y), in place: the forward on an activation and the backward on its gradient. 8 bytes an element.
pub fn dropout_in_place(pool: &Pool, y: &mut [f32], dropout: Dropout) {
    let _timed = pool.timed("dropout_in_place", [y.len()], |[n]| (n, 8 * n));
    pool.run_chunks(y, CHUNK, |chunk, y| {
        drop_chunk(pool.isa(), y, dropout, (chunk * CHUNK) as u64)
    });
}

simd_fn! {
    fn add_dropped_chunk[S](out: &mut [f32], residual: &[f32], x: &[f32], dropout: Dropout, first: u64) {
        let n = out.len();
        for start in (0..n).step_by(RUN) {
            let factors = dropout.run(first + start as u64);
            for i in (start..n.min(start + RUN)).step_by(LANES) {
                let kept = S::mul(load::<S>(&factors[i - start..]), load::<S>(&x[i..n]));
                store::<S>(&mut out[i..], S::add(load::<S>(&residual[i..n]), kept));
            }
        }
    }
}

simd_fn! {
    fn drop_chunk[S](y: &mut [f32], dropout: Dropout, first: u64) {
        let n = y.len();
        for start in (0..n).step_by(RUN) {
            let factors = dropout.run(first + start as u64);
            for i in (start..n.min(start + RUN)).step_by(LANES) {
                let kept = S::mul(load::<S>(&factors[i - start..]), load::<S>(&y[i..n]));
                store::<S>(&mut y[i..], kept);
            }
        }
    }
}

/// dropout(x) in f64; the gradient passes through the same function. The oracle.
pub fn dropout_reference(x: &[f64], dropout: Dropout) -> Vec<f64> {
    x.iter()
        .enumerate()
        .map(|(i, x)| f64::from(dropout.factor(i as u64)) * x)
        .collect()
}

/// residual + dropout(x) in f64. The oracle; backward, the residual's gradient is dy and that of x is
/// [`dropout_reference`] of dy.
pub fn residual_reference(residual: &[f64], x: &[f64], dropout: Option<Dropout>) -> Vec<f64> {
    let branch = dropout.map_or_else(|| x.to_vec(), |dropout| dropout_reference(x, dropout));
    residual.iter().zip(&branch).map(|(r, x)| r + x).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn keeps_the_mean_and_the_mask_is_the_counter_s() {
        let dropout = Dropout {
            p: 0.25,
            stream: Stream {
                seed: 9,
                step: 4,
                purpose: 2,
            },
        };
        let n = 50_001;
        for threads in [1, 2] {
            let pool = Pool::with_isa(threads, Isa::Portable);
            let mut y = vec![1.0; n];
            dropout_in_place(&pool, &mut y, dropout);
            let mean = y.iter().map(|&y| f64::from(y)).sum::<f64>() / n as f64;
            assert!((mean - 1.0).abs() < 0.01, "{mean}");
            assert!((0..n).all(|i| y[i] == dropout.factor(i as u64)));
            let mut out = vec![0.0; n];
            residual_forward(&pool, &mut out, &vec![2.0; n], &vec![1.0; n], Some(dropout));
            assert!(out.iter().zip(&y).all(|(o, y)| *o == 2.0 + y));
        }
    }
}
