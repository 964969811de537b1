//! Packing: operands laid out as the register tile reads them, whatever their orientation.

use crate::simd::Simd;

/// Copies a panel of up to `width` lines, `depth` long, to `[depth][width]`, lines past `lines` as zeros.
///
/// Line `i`, step `k` is `src[i * line_stride + k * step_stride]`; one of the strides is 1. Rows of A and columns of B
/// are both lines, so one function packs both.
#[inline(always)]
pub(super) fn pack_panel<S: Simd>(
    dst: &mut [f32],
    src: &[f32],
    width: usize,
    lines: usize,
    depth: usize,
    (line_stride, step_stride): (usize, usize),
) {
    if depth == 0 {
        return;
    }
    if lines < width {
        dst[..depth * width].fill(0.0);
    }
    if line_stride == 1 {
        for k in 0..depth {
            let from = &src[k * step_stride..k * step_stride + lines];
            let to = &mut dst[k * width..k * width + lines];
            let mut i = 0;
            while i < lines {
                crate::simd::store::<S>(&mut to[i..], crate::simd::load::<S>(&from[i..]));
                i += crate::simd::LANES;
            }
        }
        return;
    }
    assert_eq!(step_stride, 1, "one stride of a packed operand is 1");
    // Squares keep both sides in the first-level cache; the tail goes one by one.
    let full = match lines == width {
        true if width % S::SQUARE == 0 => depth / S::SQUARE * S::SQUARE,
        true => depth.saturating_sub(1) / S::SQUARE * S::SQUARE,
        false => 0,
    };
    if full > 0 {
        pack_squares::<S>(dst, src, width, full, line_stride);
    }
    for i in 0..lines {
        let line = &src[i * line_stride..i * line_stride + depth];
        for k in full..depth {
            dst[k * width + i] = line[k];
        }
    }
}

/// Transposes lines in squares. The last square of a width that is no multiple is stored whole all the same: what it
/// spills lies in the next step's first lines, which are written later (lines go from last to first within a square of
/// steps, and a square's steps in order), and the last step is left to the caller.
#[inline(always)]
fn pack_squares<S: Simd>(dst: &mut [f32], src: &[f32], width: usize, depth: usize, line_stride: usize) {
    let squares = width.div_ceil(S::SQUARE);
    assert!(src.len() >= (width - 1) * line_stride + depth);
    assert!(dst.len() >= (depth - 1) * width + squares * S::SQUARE);
    for k in (0..depth).step_by(S::SQUARE) {
        for square in (0..squares).rev() {
            let i = square * S::SQUARE;
            // SAFETY: lines past `width` repeat the last one; steps k.. of a square lie in `depth`; the furthest store is
            // the last square's of step `depth - 1`, inside `dst` by the assertion.
            unsafe {
                let line = |l: usize| src.as_ptr().add((i + l).min(width - 1) * line_stride + k);
                S::transpose(line, dst.as_mut_ptr().add(k * width + i), width);
            }
        }
    }
}

/// Copies `rows` rows of `depth` floats to rows that lie `to_stride` apart.
#[inline(always)]
pub(super) fn copy_rows<S: Simd>(
    dst: &mut [f32],
    to_stride: usize,
    src: &[f32],
    from_stride: usize,
    (rows, depth): (usize, usize),
) {
    for i in 0..rows {
        let from = &src[i * from_stride..i * from_stride + depth];
        let to = &mut dst[i * to_stride..i * to_stride + depth];
        for c in (0..depth).step_by(crate::simd::LANES) {
            crate::simd::store::<S>(&mut to[c..], crate::simd::load::<S>(&from[c..]));
        }
    }
}

/// Copies `depth` columns of `rows` floats, `col_stride` apart, to columns of MR.
#[inline(always)]
pub(super) fn copy_columns<S: Simd>(dst: &mut [f32], src: &[f32], col_stride: usize, (rows, depth): (usize, usize)) {
    for k in 0..depth {
        let from = &src[k * col_stride..k * col_stride + rows];
        let to = &mut dst[k * S::MR..k * S::MR + rows];
        if rows == S::MR {
            // Of a length known here: parts of a vector are slow to store on AVX2.
            to[..S::MR].copy_from_slice(&from[..S::MR]);
        } else {
            to.copy_from_slice(from);
        }
    }
}
