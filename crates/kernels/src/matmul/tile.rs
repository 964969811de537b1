//! The register tile: what every floating-point operation of a matmul runs through.

use super::ahead::Ahead;
use super::{Epilogue, seven};
use crate::gelu::{gelu, gelu_and_derivative};
use crate::pool::Shards;
use crate::simd::{LANES, Simd, load, store};

/// Steps of B that are fetched ahead of their use: some 450 cycles, the third-level cache's latency twice over.
const AHEAD: usize = 16;

/// What one tile of C is made of.
pub(crate) struct Tile<'a> {
    /// A: row `i`, step `k` at `i * a_row + k * a_step`; one of the two is 1.
    pub(crate) a: &'a [f32],
    pub(crate) a_row: usize,
    pub(crate) a_step: usize,
    /// B: step `k` at `k * b_step`, NR floats.
    pub(crate) b: &'a [f32],
    pub(crate) b_step: usize,
    pub(crate) depth: usize,
    /// Valid rows, up to MR.
    pub(crate) rows: usize,
    /// What to fetch meanwhile.
    pub(crate) ahead: Ahead,
}

/// The place in C that takes a tile's sums.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// First row and column.
    pub(crate) row: usize,
    pub(crate) col: usize,
    /// Valid rows and columns, up to MR and NR.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// First block of the reduction: C is not read.
    pub(crate) first: bool,
    /// Last block of the reduction: the epilogue applies.
    pub(crate) last: bool,
}

/// The output of a matmul, shared out in tiles.
pub(crate) struct Output<'a> {
    pub(crate) c: Shards<'a>,
    /// What [`Epilogue::BiasGelu`] and the finishes of the GELU write beside C.
    pub(crate) beside: Option<Shards<'a>>,
    pub(crate) stride: usize,
    pub(crate) finish: Finish<'a>,
}

/// What becomes of `A B`.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    Plain(Epilogue<'a>),
    /// C = gelu(pre), where pre lies beside C and becomes (A B) * gelu'(pre). Sums wait in C between blocks.
    GeluBackward,
    /// C = gelu(A B + bias), and the slope there beside it.
    BiasGeluSlope {
        /// One a column.
        bias: &'a [f32],
    },
}

/// Asks for what [`finish`] will read and write.
#[inline(always)]
pub(crate) fn approach<S: Simd, const NV: usize>(tile: &Target, out: &Output<'_>) {
    let read = match out.finish {
        Finish::Plain(
            Epilogue::Residual(read)
            | Epilogue::BiasResidual { residual: read, .. }
            | Epilogue::Multiply { factor: read },
        ) if tile.last => Some(read),
        _ => None,
    };
    for i in 0..tile.rows {
        let at = (tile.row + i) * out.stride + tile.col;
        S::prefetch_write::<NV>(out.c.address(at));
        if let Some(read) = read {
            S::prefetch::<NV>(read.as_ptr().wrapping_add(at));
        }
        if let Some(beside) = &out.beside {
            S::prefetch_write::<NV>(beside.address(at));
        }
    }
}

/// Multiplies the `ROWS` rows of a tile in `ROWS * NV` accumulators, and leaves them in `acc`: storing whole tiles straight
/// from the registers made the compiler spill them, at half the speed.
///
/// Each element is the chain `fma(a[k], b[k], acc)` over the block's k in order, from zero; blocks are then added to C in
/// order. Nothing else enters, so neither the tile's shape, nor where its operands lie, nor threads show in the bits.
///
/// `SEVEN` tells operands that lie as [`super::seven`] packs them, at distances that are known here, so that one register does for all
/// rows of A. That leaves one for the second line that is fetched ahead, whose step is its own. Where rows lie at any distance there
/// is none: on AVX2 the compiler spilled pointers, for a sixth of the time with packed rows and half of it with rows read in place.
#[inline(always)]
pub(crate) fn run<S: Simd, const ROWS: usize, const NV: usize, const BY_ROW: bool, const SEVEN: bool>(
    tile: &Tile<'_>,
    acc: &mut [[S::V; NV]],
) {
    let (a_row, a_step) = match (BY_ROW, SEVEN) {
        (true, true) => (seven::ROW, 1),
        (true, false) => (tile.a_row, 1),
        (false, true) => (1, seven::column(S::MR)),
        (false, false) => (1, tile.a_step),
    };
    let b_step = if SEVEN { NV * LANES } else { tile.b_step };
    debug_assert_eq!((tile.a_row, tile.a_step, tile.b_step), (a_row, a_step, b_step));
    let mut sums = [[S::splat(0.0); NV]; ROWS];
    if tile.depth > 0 {
        let last = tile.depth - 1;
        assert!(tile.a.len() > (ROWS - 1) * a_row + last * a_step && tile.b.len() >= last * b_step + NV * LANES);
    }
    let (mut a, mut b) = (tile.a.as_ptr(), tile.b.as_ptr());
    let (mut first, mut second) = (tile.ahead.first, tile.ahead.second);
    let apart = (second as usize).wrapping_sub(first as usize);
    for _ in 0..tile.depth {
        // SAFETY: the assertion above covers ROWS rows of A and NR columns of B at every step; prefetches may miss.
        unsafe {
            S::prefetch::<NV>(b.wrapping_add(AHEAD * b_step));
            if !BY_ROW {
                // The columns of the next tile, which lie beside these.
                S::prefetch::<1>(a.wrapping_add(2 * ROWS - 1));
            }
            S::prefetch::<1>(first);
            if SEVEN {
                S::prefetch::<1>(second);
                second = second.wrapping_add(tile.ahead.second_step);
            } else {
                S::prefetch::<1>(first.wrapping_byte_add(apart));
            }
            first = first.wrapping_add(tile.ahead.first_step);
            let mut bv = [S::splat(0.0); NV];
            for v in 0..NV {
                bv[v] = S::load_ptr(b.add(v * LANES));
            }
            for i in 0..ROWS {
                let ai = S::splat(*a.add(i * a_row));
                for v in 0..NV {
                    sums[i][v] = S::fma(ai, bv[v], sums[i][v]);
                }
            }
        }
        (a, b) = (a.wrapping_add(a_step), b.wrapping_add(b_step));
    }
    acc[..ROWS].copy_from_slice(&sums);
}

/// Vector `v` of a row of the tile, which is NR wide where it is `FULL`.
///
/// # Safety
/// Where `FULL`, the row holds vector `v`.
#[inline(always)]
unsafe fn get<S: Simd, const FULL: bool>(row: &[f32], v: usize) -> S::V {
    if FULL {
        // SAFETY: the caller's promise.
        unsafe { S::load_ptr(row.as_ptr().add(v * LANES)) }
    } else {
        load::<S>(&row[row.len().min(v * LANES)..])
    }
}

/// The counterpart of [`get`].
///
/// # Safety
/// As [`get`].
#[inline(always)]
unsafe fn set<S: Simd, const FULL: bool>(row: &mut [f32], v: usize, value: S::V) {
    if FULL {
        // SAFETY: the caller's promise.
        unsafe { S::store_ptr(row.as_mut_ptr().add(v * LANES), value) }
    } else {
        let from = row.len().min(v * LANES);
        store::<S>(&mut row[from..], value);
    }
}

/// Adds the earlier blocks, applies the epilogue and stores. `FULL` tells a tile of NR columns.
#[inline(always)]
pub(crate) fn finish<S: Simd, const NV: usize, const FULL: bool>(tile: &Target, out: &Output<'_>, acc: &[[S::V; NV]]) {
    assert!(!FULL || tile.cols == NV * LANES);
    let cols = tile.col..tile.col + tile.cols;
    /// C = `$new` of `$value`, vector `$v` of the row that starts at `$at`.
    macro_rules! each {
        (|$value:ident, $v:ident, $row:ident| $new:expr) => {
            for (i, line) in acc.iter().enumerate().take(tile.rows) {
                let at = (tile.row + i) * out.stride + tile.col;
                let $row = at..at + tile.cols;
                // SAFETY: each tile of C belongs to one task.
                let c = unsafe { out.c.range($row.start, $row.end) };
                for ($v, &$value) in line.iter().enumerate() {
                    // SAFETY: `c`, and every row below, is `cols` long: NR where FULL.
                    unsafe {
                        let $value = if tile.first {
                            $value
                        } else {
                            S::add(get::<S, FULL>(c, $v), $value)
                        };
                        set::<S, FULL>(c, $v, $new);
                    }
                }
            }
        };
    }
    if !tile.last {
        each!(|value, v, row| value);
        return;
    }
    let epilogue = match out.finish {
        Finish::Plain(epilogue) => epilogue,
        Finish::GeluBackward => {
            let pre = out.beside.as_ref().expect("pre lies beside C");
            each!(|value, v, row| {
                // It has C's shape and is cut the same way.
                let pre = pre.range(row.start, row.end);
                let (gelu, derivative) = gelu_and_derivative::<S>(get::<S, FULL>(pre, v));
                set::<S, FULL>(pre, v, S::mul(value, derivative));
                gelu
            });
            return;
        }
        Finish::BiasGeluSlope { bias } => {
            let (bias, slopes) = (&bias[cols], out.beside.as_ref().expect("the slope lies beside C"));
            each!(|value, v, row| {
                let pre = S::add(value, get::<S, FULL>(bias, v));
                let (gelu, slope) = gelu_and_derivative::<S>(pre);
                // As above.
                set::<S, FULL>(slopes.range(row.start, row.end), v, slope);
                gelu
            });
            return;
        }
    };
    match epilogue {
        Epilogue::Store | Epilogue::Accumulate => each!(|value, v, row| value),
        Epilogue::Bias(bias) => {
            let bias = &bias[cols];
            each!(|value, v, row| S::add(value, get::<S, FULL>(bias, v)));
        }
        Epilogue::Residual(residual) => {
            each!(|value, v, row| S::add(get::<S, FULL>(&residual[row.clone()], v), value));
        }
        Epilogue::BiasResidual { bias, residual } => {
            let bias = &bias[cols];
            each!(|value, v, row| {
                let value = S::add(value, get::<S, FULL>(bias, v));
                S::add(get::<S, FULL>(&residual[row.clone()], v), value)
            });
        }
        Epilogue::Multiply { factor } => {
            each!(|value, v, row| S::mul(value, get::<S, FULL>(&factor[row.clone()], v)));
        }
        Epilogue::BiasGelu { bias } => {
            let bias = &bias[cols];
            each!(|value, v, row| {
                let pre = S::add(value, get::<S, FULL>(bias, v));
                if let Some(beside) = &out.beside {
                    // As above.
                    set::<S, FULL>(beside.range(row.start, row.end), v, pre);
                }
                gelu::<S>(pre)
            });
        }
    }
}

/// The register tile of a set: multiplies with exactly as many rows as there are; and what follows.
macro_rules! tile_of_rows {
    ($set:ty, $mr:literal, $nv:literal; $($rows:literal)*) => {
        type Sums = [[Self::V; $nv]; $mr];
        #[inline(always)]
        fn no_sums() -> Self::Sums {
            [[<$set>::splat(0.0); $nv]; $mr]
        }
        #[inline(always)]
        fn vectors(sums: &mut Self::Sums) -> &mut [Self::V] {
            sums.as_flattened_mut()
        }
        #[inline(always)]
        fn approach(target: &Target, out: &Output<'_>) {
            $crate::matmul::tile::approach::<$set, $nv>(target, out);
        }
        #[inline(always)]
        fn tile<const SEVEN: bool>(tile: &Tile<'_>, sums: &mut Self::Sums) {
            use $crate::matmul::tile::run;
            match (tile.rows, tile.a_row == 1) {
                $(($rows, true) => run::<$set, $rows, $nv, false, SEVEN>(tile, sums),
                ($rows, false) => run::<$set, $rows, $nv, true, SEVEN>(tile, sums),)*
                (rows, _) => unreachable!("a tile of {rows} rows"),
            }
        }
        #[inline(always)]
        fn finish(target: &Target, out: &Output<'_>, sums: &Self::Sums) {
            use $crate::matmul::tile::finish;
            if target.cols == <$set>::NR {
                finish::<$set, $nv, true>(target, out, sums);
            } else {
                finish::<$set, $nv, false>(target, out, sums);
            }
        }
    };
}
pub(crate) use tile_of_rows;
