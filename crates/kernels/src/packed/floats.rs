//! Products of floats and halves: the chains of [`crate::matmul`]'s tile, bit for bit.

use super::GROUP;
use super::product::{Output, finish};
use super::tiles::{Ahead, each_tile};
use crate::bf16::widen;
use crate::matmul::depth_of;
use crate::simd::{LANES, Simd, load, simd_fn, store};
use std::ops::Range;

/// Rows of x that meet a panel before the next one does: they stay in the second-level cache.
const ROWS: usize = 96;
/// Steps between which memory is asked for what comes next.
const STEPS: usize = 16;

const F32: u8 = 0;
const F16: u8 = 1;
const BF16: u8 = 2;

/// Bytes of a number.
const fn number(kind: u8) -> usize {
    if kind == F32 { 4 } else { 2 }
}

macro_rules! panels_fn {
    ($name:ident, $KIND:ident) => {
        simd_fn! {
            /// y of the columns of some panels, whose first is `panel`; `width` of them lie step by step in turn.
            pub(super) fn $name[S](
                out: &Output<'_>, panel: usize, panels: (&[u8], usize), x: &[f32], k: usize
            ) {
                let ((bytes, width), size) = (panels, LANES * number($KIND));
                let m = x.len() / k;
                if m == 1 && bytes.len() == GROUP * k * size {
                    return match width {
                        GROUP => row::<S, true, $KIND>(out, panel, bytes, x),
                        _ => row::<S, false, $KIND>(out, panel, bytes, x),
                    };
                }
                for first in (0..m).step_by(ROWS) {
                    let rows = first..m.min(first + ROWS);
                    for start in (0..k).step_by(depth_of(k)) {
                        let steps = start..k.min(start + depth_of(k));
                        for (g, group) in bytes.chunks_exact(k * width * size).enumerate() {
                            let (w, next) = (&group[steps.start * width * size..steps.end * width * size], group.len());
                            let part = Part { w, next, width, x, k, steps: steps.clone() };
                            if S::NV == 1 || width < GROUP {
                                for p in 0..width {
                                    each_tile!(rows, [1 2 3 4 5 6], |row, share, R| {
                                        tile::<S, R, 1, $KIND>(out, panel + g * width, &part, p, row, share)
                                    });
                                }
                            } else {
                                each_tile!(rows, [1 2 3 4 5 6], |row, share, R| {
                                    tile::<S, R, GROUP, $KIND>(out, panel + g * width, &part, 0, row, share)
                                });
                            }
                        }
                    }
                }
            }
        }
    };
}
panels_fn!(panels_f32, F32);
panels_fn!(panels_f16, F16);
panels_fn!(panels_bf16, BF16);

/// Sixteen numbers as floats, the `at`-th sixteen of `bytes`.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn numbers<S: Simd, const KIND: u8>(bytes: &[u8], at: usize) -> S::V {
    // SAFETY: the caller's; no load needs more than the alignment of a number, which the packed memory has.
    unsafe {
        match KIND {
            F32 => S::load_ptr(bytes.as_ptr().cast::<f32>().add(at * LANES)),
            F16 => S::load_f16(bytes.as_ptr().cast::<u16>().add(at * LANES)),
            _ => {
                let halves = bytes.as_ptr().cast::<u16>().add(at * LANES);
                widen::<S>(std::slice::from_raw_parts(halves, LANES))
            }
        }
    }
}

/// A single row with [`GROUP`] panels, that lie step by step `IN_TURN` or one behind the other.
#[inline(always)]
fn row<S: Simd, const IN_TURN: bool, const KIND: u8>(out: &Output<'_>, panel: usize, bytes: &[u8], x: &[f32]) {
    let k = x.len();
    assert_eq!(
        bytes.len(),
        GROUP * k * LANES * number(KIND),
        "{GROUP} panels, a row of {k}"
    );
    let (depth, mut sums) = (depth_of(k), [S::splat(0.0); GROUP]);
    for (i, x) in x.chunks(depth).enumerate() {
        let mut part = [S::splat(0.0); GROUP];
        for (step, &x) in (i * depth..).zip(x) {
            for p in 0..GROUP {
                // SAFETY: every panel has sixteen numbers a step.
                let w = unsafe { numbers::<S, KIND>(bytes, if IN_TURN { step * GROUP + p } else { p * k + step }) };
                part[p] = S::fma(S::splat(x), w, part[p]);
            }
        }
        for p in 0..GROUP {
            sums[p] = if i == 0 { part[p] } else { S::add(sums[p], part[p]) };
        }
    }
    for (p, sum) in sums.into_iter().enumerate() {
        finish::<S>(out, 0, panel + p, sum);
    }
}

/// Steps of the reduction over K, of a group.
struct Part<'a> {
    /// The group's numbers of these steps.
    w: &'a [u8],
    /// Bytes from them to those of the next group.
    next: usize,
    /// Panels of the group.
    width: usize,
    /// (M,K)
    x: &'a [f32],
    k: usize,
    steps: Range<usize>,
}

/// `P` panels of a group, from its `skip`-th on, and `R` rows from `first` on. `share`: which of how many tiles it is.
#[inline(always)]
fn tile<S: Simd, const R: usize, const P: usize, const KIND: u8>(
    out: &Output<'_>,
    panel: usize,
    part: &Part<'_>,
    skip: usize,
    first: usize,
    (tile, tiles): (usize, usize),
) {
    let Part {
        w,
        next,
        width,
        x,
        k,
        ref steps,
    } = *part;
    assert!(
        skip + P <= width
            && w.len() == steps.len() * width * LANES * number(KIND)
            && steps.end <= k
            && x.len() >= (first + R) * k
    );
    let share = (skip / P * tiles + tile, width / P * tiles);
    let mut ahead = (P == 1 || R > 4 || tiles > 1).then(|| Ahead::new((w, next), share, steps.len().div_ceil(STEPS)));
    let mut sums = [[S::splat(0.0); P]; R];
    for start in (0..steps.len()).step_by(STEPS) {
        if let Some(ahead) = &mut ahead {
            ahead.step::<S>();
        }
        for i in start..std::hint::black_box(steps.len().min(start + STEPS)) {
            // SAFETY: the part has sixteen numbers of each panel a step, and a row of x has K.
            unsafe {
                let w: [S::V; P] = std::array::from_fn(|p| numbers::<S, KIND>(w, i * width + skip + p));
                for r in 0..R {
                    let x = S::splat(*x.as_ptr().add((first + r) * k + steps.start + i));
                    for p in 0..P {
                        sums[r][p] = S::fma(x, w[p], sums[r][p]);
                    }
                }
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (p, sum) in sums.into_iter().enumerate() {
            let (row, panel) = (first + r, panel + skip + p);
            // SAFETY: a panel's columns are its task's, and `finish` borrows them only afterwards.
            let y = unsafe { out.columns(row, panel) };
            let sum = if steps.start == 0 {
                sum
            } else {
                S::add(load::<S>(y), sum)
            };
            if steps.end == k {
                finish::<S>(out, row, panel, sum);
            } else {
                store::<S>(y, sum);
            }
        }
    }
}
