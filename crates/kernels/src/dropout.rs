//! Dropout with a mask that is never stored: element `i` is kept where number `i` of a counter-based stream says so.
//! `y = keep(i) x / (1 - p)` (Srivastava et al., JMLR 15, 2014).

use crate::pool::Pool;
use crate::random::{Stream, unit};

/// Elements a task handles; a multiple of four, so that a block of random words is made once.
const CHUNK: usize = 16_384;

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
    pub(crate) fn factor(&self, i: u64) -> f32 {
        self.factors(i / 4)[(i % 4) as usize]
    }

    #[inline]
    fn factors(&self, block: u64) -> [f32; 4] {
        let scale = 1.0 / (1.0 - self.p);
        self.stream
            .block(block)
            .map(|word| if unit(word) < self.p { 0.0 } else { scale })
    }
}

/// out = residual + dropout(x); without dropout a plain sum. `out` may be what `x` was only in a copy. 12 bytes an
/// element.
///
/// # Panics
/// Where lengths differ.
pub fn residual_forward(pool: &Pool, out: &mut [f32], residual: &[f32], x: &[f32], dropout: Option<Dropout>) {
    assert_eq!(
        (out.len(), out.len()),
        (residual.len(), x.len()),
        "out, residual and x have one shape"
    );
    pool.run_chunks(out, CHUNK, |chunk, out| {
        let start = chunk * CHUNK;
        let (residual, x) = (&residual[start..start + out.len()], &x[start..start + out.len()]);
        match dropout {
            None => out.iter_mut().zip(residual).zip(x).for_each(|((o, r), x)| *o = r + x),
            Some(dropout) => masked(&dropout, start, out.len(), |i, factor| {
                out[i] = residual[i] + factor * x[i]
            }),
        }
    });
}

/// y = dropout(y), in place: the forward on an activation and the backward on its gradient. 8 bytes an element.
pub fn dropout_in_place(pool: &Pool, y: &mut [f32], dropout: Dropout) {
    pool.run_chunks(y, CHUNK, |chunk, y| {
        masked(&dropout, chunk * CHUNK, y.len(), |i, factor| y[i] *= factor)
    });
}

fn masked(dropout: &Dropout, start: usize, len: usize, mut apply: impl FnMut(usize, f32)) {
    for i in (0..len).step_by(4) {
        let factors = dropout.factors(((start + i) / 4) as u64);
        for (k, &factor) in factors.iter().enumerate().take(len - i) {
            apply(i + k, factor);
        }
    }
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
