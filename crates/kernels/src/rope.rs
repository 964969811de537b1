//! Rotary position embedding (Su et al., arXiv 2104.09864), the two halves of a head rotated against each other as Hugging
//! Face's llama has it: `(a, b) -> (a cos - b sin, b cos + a sin)` for elements i and i + dh/2, at the angle
//! `position * theta^(-2i/dh)`.

use crate::pool::Pool;
use crate::simd::{LANES, load, simd_fn, store};

/// Rows a task rotates.
const ROWS: usize = 32;

/// Cosines and sines of `positions` positions for heads of width `dh`: (positions, dh), a row's dh/2 cosines, then its sines.
/// Angles are taken in f64.
///
/// # Panics
/// Where `dh` is odd.
pub fn rope_table(theta: f64, dh: usize, positions: usize) -> Vec<f32> {
    assert!(dh % 2 == 0, "a head of width {dh} has no halves");
    let half = dh / 2;
    let mut table = Vec::with_capacity(positions * dh);
    for position in 0..positions {
        let angle = |i: usize| position as f64 * theta.powf(-(2.0 * i as f64) / dh as f64);
        table.extend((0..half).map(|i| angle(i).cos() as f32));
        table.extend((0..half).map(|i| angle(i).sin() as f32));
    }
    table
}

/// Which way [`rope`] turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The forward.
    Forward,
    /// By the negative angle: what the gradient takes back through it.
    Back,
}

/// Rotates the first `heads` heads of every row of `x` in place. Rows are `row` floats wide and lie in sequences of `t`, at
/// positions `first_position…` of `table`, which is [`rope_table`]'s for heads of width `dh`. 8 bytes and 3 flops an element.
/// Error against f64 below `2e-7 (1 + |x|)`.
///
/// # Panics
/// Where shapes differ, or the table has fewer positions.
pub fn rope(
    pool: &Pool,
    x: &mut [f32],
    (row, heads, dh): (usize, usize, usize),
    t: usize,
    first_position: usize,
    table: &[f32],
    turn: Turn,
) {
    assert!(
        heads * dh <= row && x.len() % row.max(1) == 0,
        "{heads} heads of {dh} in rows of {row}"
    );
    assert!(
        (first_position + t.min(x.len() / row.max(1))) * dh <= table.len(),
        "positions up to {} of a table of {}",
        first_position + t,
        table.len() / dh.max(1)
    );
    pool.run_chunks(x, ROWS * row, |task, x| {
        for (i, x) in x.chunks_exact_mut(row).enumerate() {
            let position = first_position + (task * ROWS + i) % t;
            let angles = &table[position * dh..(position + 1) * dh];
            rotate(pool.isa(), &mut x[..heads * dh], dh, angles, turn);
        }
    });
}

simd_fn! {
    fn rotate[S](x: &mut [f32], dh: usize, angles: &[f32], turn: Turn) {
        let half = dh / 2;
        let (cos, sin) = angles.split_at(half);
        for head in x.chunks_exact_mut(dh) {
            let (a, b) = head.split_at_mut(half);
            for i in (0..half).step_by(LANES) {
                let (c, s) = (load::<S>(&cos[i..]), load::<S>(&sin[i..]));
                let s = match turn {
                    Turn::Forward => s,
                    Turn::Back => S::sub(S::splat(0.0), s),
                };
                let (av, bv) = (load::<S>(&a[i..]), load::<S>(&b[i..]));
                store::<S>(&mut a[i..], S::sub(S::mul(av, c), S::mul(bv, s)));
                store::<S>(&mut b[i..], S::fma(bv, c, S::mul(av, s)));
            }
        }
    }
}

/// One head at one position in f64. The oracle.
pub fn rope_reference(x: &[f64], theta: f64, position: usize, turn: Turn) -> Vec<f64> {
    let half = x.len() / 2;
    let sign = if turn == Turn::Forward { 1.0 } else { -1.0 };
    let mut y = vec![0.0; x.len()];
    for i in 0..half {
        let angle = sign * position as f64 * theta.powf(-(2.0 * i as f64) / x.len() as f64);
        let (sin, cos) = angle.sin_cos();
        y[i] = x[i] * cos - x[half + i] * sin;
        y[half + i] = x[half + i] * cos + x[i] * sin;
    }
    y
}
