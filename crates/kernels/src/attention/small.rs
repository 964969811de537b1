//! The small product inside attention: operands lie in first- and second-level cache, nothing is packed.

use crate::simd::{LANES, Simd};

/// A of a small product: element (i, k) is `data[i * row + k * step]`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
    pub(super) step: usize,
}

/// Which part of a small product is wanted, by the row of C: the rest is not computed, or adds nothing.
pub(super) trait Part {
    /// First column of C.
    fn col(&self, row: usize) -> usize;
    /// Steps of the reduction, for `rows` rows of C from `row` on.
    fn steps(&self, row: usize, rows: usize) -> std::ops::Range<usize>;
}

/// All of it.
impl Part for std::ops::RangeTo<usize> {
    #[inline(always)]
    fn col(&self, _row: usize) -> usize {
        0
    }
    #[inline(always)]
    fn steps(&self, _row: usize, _rows: usize) -> std::ops::Range<usize> {
        0..self.end
    }
}

/// C (m, n) = or += A (m, k) B (k, n), with n a multiple of sixteen; rows of B and C lie `b.1` and `c.1` floats apart.
#[inline(always)]
pub(super) fn small<S: Simd>(
    (m, n): (usize, usize),
    part: impl Part,
    a: Left<'_>,
    b: (&[f32], usize),
    c: (&mut [f32], usize),
    accumulate: bool,
) {
    assert!(n % LANES == 0 && n <= b.1 && n <= c.1);
    let mut i = 0;
    while i < m {
        let rows = S::SMALL.0.min(m - i);
        let steps = part.steps(i, rows);
        let depth = steps.len();
        let first = steps.start;
        let mut j = part.col(i) / LANES * LANES;
        if depth > 0 && j < n {
            assert!(a.data.len() > (i + rows - 1) * a.row + (first + depth - 1) * a.step);
            assert!(b.0.len() >= (first + depth - 1) * b.1 + n && c.0.len() >= (i + rows - 1) * c.1 + n);
        }
        while depth > 0 && j < n {
            let vectors = S::SMALL.1.min((n - j) / LANES);
            // SAFETY: the assertions above cover every element of the three operands.
            unsafe {
                S::small(&SmallTile {
                    rows,
                    vectors,
                    depth,
                    a: a.data.as_ptr().add(i * a.row + first * a.step),
                    a_row: a.row,
                    a_step: a.step,
                    b: b.0.as_ptr().add(first * b.1 + j),
                    b_step: b.1,
                    c: c.0.as_mut_ptr().add(i * c.1 + j),
                    c_row: c.1,
                    accumulate,
                });
            }
            j += vectors * LANES;
        }
        i += rows;
    }
}

/// One register tile of a small product.
pub(crate) struct SmallTile {
    pub(crate) rows: usize,
    pub(crate) vectors: usize,
    depth: usize,
    a: *const f32,
    a_row: usize,
    a_step: usize,
    b: *const f32,
    b_step: usize,
    c: *mut f32,
    c_row: usize,
    accumulate: bool,
}

/// # Safety
/// All elements the tile names must be valid; `C` must not be shared.
#[inline(always)]
pub(crate) unsafe fn run<S: Simd, const ROWS: usize, const NV: usize>(tile: &SmallTile) {
    let mut acc = [[S::splat(0.0); NV]; ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        if tile.accumulate {
            for i in 0..ROWS {
                for v in 0..NV {
                    acc[i][v] = S::load_ptr(tile.c.add(i * tile.c_row + v * LANES));
                }
            }
        }
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.depth {
            let mut bv = [S::splat(0.0); NV];
            for v in 0..NV {
                bv[v] = S::load_ptr(b.add(v * LANES));
            }
            for i in 0..ROWS {
                let ai = S::splat(*a.add(i * tile.a_row));
                for v in 0..NV {
                    acc[i][v] = S::fma(ai, bv[v], acc[i][v]);
                }
            }
            (a, b) = (a.wrapping_add(tile.a_step), b.wrapping_add(tile.b_step));
        }
        for i in 0..ROWS {
            for v in 0..NV {
                S::store_ptr(tile.c.add(i * tile.c_row + v * LANES), acc[i][v]);
            }
        }
    }
}

/// Chooses the tile with exactly as many rows and vectors as there are. The whole one comes first: jumping to it through a table, and indices in
/// the place of pointers that walk, cost 1 to 2% of the backward.
macro_rules! small_of {
    ($set:ty, $tile:expr; $($rows:literal)*; $($nv:literal)*) => {
        if ($tile.rows, $tile.vectors) == <$set>::SMALL {
            // SAFETY: the caller of `Simd::small` promised it.
            unsafe { $crate::attention::small::run::<$set, { <$set>::SMALL.0 }, { <$set>::SMALL.1 }>($tile) }
        } else {
            $crate::attention::small::small_of!(@ $set, $tile; $($rows)*; [$($nv)*])
        }
    };
    (@ $set:ty, $tile:expr; $($rows:literal)*; $nvs:tt) => {
        match $tile.rows {
            $($rows => $crate::attention::small::small_of!(# $set, $tile, $rows, $nvs),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
    (# $set:ty, $tile:expr, $rows:literal, [$($nv:literal)*]) => {
        match $tile.vectors {
            // SAFETY: the caller of `Simd::small` promised it.
            $($nv => unsafe { $crate::attention::small::run::<$set, $rows, $nv>($tile) },)*
            vectors => unreachable!("a tile of {vectors} vectors"),
        }
    };
}
pub(crate) use small_of;
