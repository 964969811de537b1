//! Rotary position embedding (Su et al., arXiv 2104.09864), the two halves of a head rotated against each other as Hugging
//! Face's llama has it: `(a, b) -> (a cos - b sin, b cos + a sin)` for elements i and i + dh/2, at the angle
//! `position * theta^(-2i/dh)`.

use crate::documents::Documents;
use crate::pool::Pool;
use crate::simd::{LANES, load, simd_fn, store};

/// Rows a task rotates.
const ROWS: usize = 32;

/// Fills `angles` (T,dh) with the cosines, then the sines, of dh/2 angles at each of the positions `first_position…`. Angles are
/// taken in f64. 4 bytes an element.
///
/// # Panics
/// Where `dh` is odd, or `angles` is not whole rows.
pub fn rope_angles(pool: &Pool, angles: &mut [f32], dh: usize, theta: f64, first_position: usize) {
    assert!(dh > 0 && dh % 2 == 0, "a head of width {dh} has no halves");
    assert_eq!(angles.len() % dh, 0, "rows of {dh}");
    let _timed = pool.timed("rope_angles", [angles.len() / dh, dh], |[t, dh]| {
        (2 * t * dh, 4 * t * dh)
    });
    let turns: Vec<f64> = (0..dh / 2).map(|i| theta.powf(-(2.0 * i as f64) / dh as f64)).collect();
    pool.run_chunks(angles, ROWS * dh, |task, angles| {
        for (row, angles) in angles.chunks_exact_mut(dh).enumerate() {
            let position = (first_position + task * ROWS + row) as f64;
            let (cos, sin) = angles.split_at_mut(dh / 2);
            for ((c, s), turn) in cos.iter_mut().zip(sin).zip(&turns) {
                let (sin, cos) = (position * turn).sin_cos();
                (*c, *s) = (cos as f32, sin as f32);
            }
        }
    });
}

/// Which way [`rope`] turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The forward.
    Forward,
    /// By the negative angle: what the gradient takes back through it.
    Back,
}

/// Rotates the first `heads` heads of every row of `x` in place. Rows are `row` floats wide and lie in documents of these lengths, at
/// most T, or, where none are given, of T; each is at the positions that `angles` (T,dh) was filled for. 8 bytes and 3 flops an
/// element. Error against f64 below `3e-7 (1 + |x|)`.
///
/// # Panics
/// Where shapes differ.
pub fn rope(
    pool: &Pool,
    x: &mut [f32],
    (row, heads, dh): (usize, usize, usize),
    angles: &[f32],
    documents: &[usize],
    turn: Turn,
) {
    let t = angles.len() / dh;
    let _timed = pool.timed("rope", [x.len() / row, heads, dh], |[n, heads, dh]| {
        (3 * n * heads * dh, 8 * n * heads * dh)
    });
    assert!(
        heads * dh <= row && x.len() % (row * t) == 0 && angles.len() == t * dh,
        "{heads} heads of {dh} in rows of {row}, sequences of {t}, {} floats",
        x.len()
    );
    let documents = Documents::new(x.len() / row, t, documents);
    pool.run_chunks(x, ROWS * row, |task, x| {
        for (x, place) in x.chunks_exact_mut(row).zip(documents.positions(task * ROWS)) {
            rotate(
                pool.isa(),
                &mut x[..heads * dh],
                dh,
                &angles[place * dh..(place + 1) * dh],
                turn,
            );
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
