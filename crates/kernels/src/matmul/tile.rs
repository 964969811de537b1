//! The register tile: what every floating-point operation of a matmul runs through.

use super::Epilogue;
use crate::gelu::{gelu, gelu_derivative};
use crate::pool::Shards;
use crate::simd::{LANES, Simd, load, store};

/// One tile of C: where it lies, what it is made of, what becomes of it.
pub(crate) struct Tile<'a> {
    /// Packed A: `[k][MR]`.
    pub(crate) a: &'a [f32],
    /// Packed B: `[k][NR]`.
    pub(crate) b: &'a [f32],
    pub(crate) depth: usize,
    /// Valid rows and columns, up to MR and NR.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// First row and column in C.
    pub(crate) row: usize,
    pub(crate) col: usize,
    /// First block of the reduction: C is not read.
    pub(crate) first: bool,
    /// Last block of the reduction: the epilogue applies.
    pub(crate) last: bool,
}

/// The output of a matmul, shared out in tiles.
pub(crate) struct Output<'a> {
    pub(crate) c: Shards<'a>,
    pub(crate) pre: Option<Shards<'a>>,
    pub(crate) stride: usize,
    pub(crate) epilogue: &'a Epilogue<'a>,
}

/// Computes `ROWS` rows of a tile whose packed A has `MR` rows, in `ROWS * NV` accumulators.
///
/// Each element is the chain `fma(a[k], b[k], acc)` over the block's k in order, from zero; blocks are then added to C in
/// order. Nothing else enters, so neither tile shape nor threads show in the bits.
#[inline(always)]
pub(crate) fn run<S: Simd, const MR: usize, const ROWS: usize, const NV: usize>(tile: &Tile<'_>, out: &Output<'_>) {
    let nr = NV * LANES;
    assert!(tile.a.len() >= tile.depth * MR && tile.b.len() >= tile.depth * nr);
    let mut acc = [[S::splat(0.0); NV]; ROWS];
    let (mut a, mut b) = (tile.a.as_ptr(), tile.b.as_ptr());
    for _ in 0..tile.depth {
        // SAFETY: the assertion above covers `depth` steps of MR and NR floats.
        unsafe {
            let mut bv = [S::splat(0.0); NV];
            for v in 0..NV {
                bv[v] = S::load_ptr(b.add(v * LANES));
            }
            for i in 0..ROWS {
                let ai = S::splat(*a.add(i));
                for v in 0..NV {
                    acc[i][v] = S::fma(ai, bv[v], acc[i][v]);
                }
            }
            a = a.add(MR);
            b = b.add(nr);
        }
    }
    for i in 0..ROWS {
        for v in 0..NV {
            if v * LANES < tile.cols {
                finish::<S>(tile, out, i, v * LANES, acc[i][v]);
            }
        }
    }
}

/// Adds the earlier blocks, applies the epilogue and stores up to sixteen columns of row `i`.
#[inline(always)]
fn finish<S: Simd>(tile: &Tile<'_>, out: &Output<'_>, i: usize, offset: usize, acc: S::V) {
    let width = (tile.cols - offset).min(LANES);
    let col = tile.col + offset;
    let at = (tile.row + i) * out.stride + col;
    // SAFETY: each tile of C belongs to one task.
    let c = unsafe { out.c.range(at, at + width) };
    let mut value = acc;
    if !tile.first {
        value = S::add(load::<S>(c), value);
    }
    if tile.last {
        match out.epilogue {
            Epilogue::Store | Epilogue::Accumulate => {}
            Epilogue::Bias(bias) => value = S::add(value, load::<S>(&bias[col..col + width])),
            Epilogue::BiasResidual { bias, residual } => {
                value = S::add(value, load::<S>(&bias[col..col + width]));
                value = S::add(load::<S>(&residual[at..at + width]), value);
            }
            Epilogue::BiasGelu { bias } => {
                value = S::add(value, load::<S>(&bias[col..col + width]));
                if let Some(pre) = &out.pre {
                    // SAFETY: `pre` has C's shape and is cut the same way.
                    store::<S>(unsafe { pre.range(at, at + width) }, value);
                }
                value = gelu::<S>(value);
            }
            Epilogue::GeluBackward { pre } => {
                value = S::mul(value, gelu_derivative::<S>(load::<S>(&pre[at..at + width])));
            }
        }
    }
    store::<S>(c, value);
}

/// Chooses the tile with exactly as many rows as there are.
macro_rules! tile_of_rows {
    ($set:ty, $mr:literal, $nv:literal, $tile:expr, $out:expr; $($rows:literal)*) => {
        match $tile.rows {
            $($rows => $crate::matmul::tile::run::<$set, $mr, $rows, $nv>($tile, $out),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}
pub(crate) use tile_of_rows;
