//! Keys and values that generation keeps, as f32 or as binary16.

use super::{AttentionDims, Lines, rows_in_vectors};
use crate::buffer::Aligned;
use crate::pool::Pool;
use crate::simd::{LANES, Simd, load, simd_fn, store};

/// How cached keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheType {
    /// As they were computed.
    F32,
    /// Rounded to binary16, relative error below 2^-11: half the memory, and half of what a token reads.
    F16,
}

impl CacheType {
    /// Bytes of a number.
    pub const fn bytes(self) -> usize {
        match self {
            CacheType::F32 => 4,
            CacheType::F16 => 2,
        }
    }
}

/// Cached keys or values: (heads, C, dh), a head's rows one behind the other.
#[derive(Debug)]
pub enum Cache {
    /// f32
    F32(Aligned<f32>),
    /// binary16
    F16(Aligned<u16>),
}

impl Cache {
    /// Room for `len` numbers, or `None` where the allocator refuses. Pages are resident once they are used.
    pub fn try_new(kind: CacheType, len: usize) -> Option<Self> {
        Some(match kind {
            CacheType::F32 => Cache::F32(Aligned::try_zeroed(len)?),
            CacheType::F16 => Cache::F16(Aligned::try_zeroed(len)?),
        })
    }

    /// How numbers are stored.
    pub fn kind(&self) -> CacheType {
        match self {
            Cache::F32(_) => CacheType::F32,
            Cache::F16(_) => CacheType::F16,
        }
    }

    /// Numbers there is room for.
    pub fn len(&self) -> usize {
        match self {
            Cache::F32(numbers) => numbers.len(),
            Cache::F16(numbers) => numbers.len(),
        }
    }

    /// Whether there is room for none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part from `start` to `end`.
    pub fn part(&self, start: usize, end: usize) -> Cached<'_> {
        match self {
            Cache::F32(numbers) => Cached::F32(&numbers[start..end]),
            Cache::F16(numbers) => Cached::F16(&numbers[start..end]),
        }
    }

    /// Numbers from `start` on as f32.
    pub fn read(&self, pool: &Pool, start: usize, out: &mut [f32]) {
        match self {
            Cache::F32(numbers) => out.copy_from_slice(&numbers[start..start + out.len()]),
            Cache::F16(numbers) => widen_all(pool.isa(), out, &numbers[start..start + out.len()]),
        }
    }

    /// Stores f32 from `start` on, rounded to the nearest where need be.
    pub fn write(&mut self, pool: &Pool, start: usize, x: &[f32]) {
        match self {
            Cache::F32(numbers) => numbers[start..start + x.len()].copy_from_slice(x),
            Cache::F16(numbers) => narrow_all(pool.isa(), &mut numbers[start..start + x.len()], x),
        }
    }

    /// Copies `len` numbers of another cache of the same type.
    ///
    /// # Panics
    /// Where the types differ.
    pub fn copy(&mut self, start: usize, from: &Cache, from_start: usize, len: usize) {
        match (self, from) {
            (Cache::F32(to), Cache::F32(from)) => {
                to[start..start + len].copy_from_slice(&from[from_start..from_start + len]);
            }
            (Cache::F16(to), Cache::F16(from)) => {
                to[start..start + len].copy_from_slice(&from[from_start..from_start + len]);
            }
            (to, from) => panic!("{:?} from {:?}", to.kind(), from.kind()),
        }
    }
}

/// Keys or values of one layer of one sequence: (h_kv, C, dh).
#[derive(Clone, Copy, Debug)]
pub enum Cached<'a> {
    /// f32
    F32(&'a [f32]),
    /// binary16
    F16(&'a [u16]),
}

impl<'a> Cached<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Cached::F32(numbers) => numbers.len(),
            Cached::F16(numbers) => numbers.len(),
        }
    }

    /// Rows that are read next.
    #[inline(always)]
    pub(super) fn lines(&self, at: usize, stride: usize, cols: usize) -> Lines {
        match self {
            Cached::F32(numbers) => Lines::new(numbers, at, stride, cols),
            Cached::F16(numbers) => Lines::new(numbers, at, stride, cols),
        }
    }

    /// Rows for a tile, as [`rows_in_vectors`] gives them.
    #[inline(always)]
    pub(super) fn rows<'b, S: Simd>(
        &'b self,
        dst: &'b mut [f32],
        at: usize,
        stride: usize,
        (rows, cols): (usize, usize),
        direct: bool,
    ) -> (&'b [f32], usize) {
        match self {
            Cached::F32(numbers) => rows_in_vectors::<S>(dst, &numbers[at..], stride, (rows, cols), direct),
            Cached::F16(numbers) => {
                let wide = cols.next_multiple_of(LANES);
                for r in 0..rows {
                    let from = &numbers[at + r * stride..at + r * stride + cols];
                    for c in (0..cols).step_by(LANES) {
                        store::<S>(&mut dst[r * wide + c..(r + 1) * wide], load_f16::<S>(&from[c..]));
                    }
                }
                (dst, wide)
            }
        }
    }
}

/// The first sixteen numbers of `x`, or all of a shorter `x` with zeros in the other lanes.
#[inline(always)]
pub(super) fn load_f16<S: Simd>(x: &[u16]) -> S::V {
    if x.len() >= LANES {
        // SAFETY: sixteen numbers are there.
        return unsafe { S::load_f16(x.as_ptr()) };
    }
    let mut lanes = [0; LANES];
    lanes[..x.len()].copy_from_slice(x);
    // SAFETY: as above.
    unsafe { S::load_f16(lanes.as_ptr()) }
}

simd_fn! {
    fn widen_all[S](out: &mut [f32], x: &[u16]) {
        for i in (0..x.len()).step_by(LANES) {
            store::<S>(&mut out[i..], load_f16::<S>(&x[i..]));
        }
    }
}

simd_fn! {
    fn narrow_all[S](out: &mut [u16], x: &[f32]) {
        for (out, x) in out.chunks_mut(LANES).zip(x.chunks(LANES)) {
            if out.len() == LANES && x.len() == LANES {
                // SAFETY: sixteen numbers are there.
                unsafe { S::store_f16(out.as_mut_ptr(), load::<S>(x)) };
            } else {
                let mut lanes = [0; LANES];
                // SAFETY: as above.
                unsafe { S::store_f16(lanes.as_mut_ptr(), load::<S>(x)) };
                out.copy_from_slice(&lanes[..out.len()]);
            }
        }
    }
}

/// Writes the keys and values of T new tokens, rows of qkv, into one layer's caches, (h_kv,C,dh) each from `start` on, behind
/// the `past` tokens before them.
pub fn cache_append(
    pool: &Pool,
    (keys, values): (&mut Cache, &mut Cache),
    (start, capacity): (usize, usize),
    qkv: &[f32],
    past: usize,
    dims: AttentionDims,
) {
    let (d, kv, dh) = (dims.d(), dims.kv(), dims.dh);
    for (row, qkv) in qkv.chunks_exact(dims.row()).enumerate() {
        for head in 0..dims.h_kv {
            let at = start + (head * capacity + past + row) * dh;
            let column = d + head * dh;
            keys.write(pool, at, &qkv[column..][..dh]);
            values.write(pool, at, &qkv[column + kv..][..dh]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use half::f16;

    #[test]
    fn halves_are_rounded_to_the_nearest_and_read_back_on_every_set() {
        let mut x: Vec<f32> = (0..1003)
            .map(|i| ((i * i) as f32).sin() * 2f32.powi(i % 40 - 26))
            .collect();
        x.extend([
            0.0,
            -0.0,
            65504.0,
            65520.0,
            1e9,
            f32::INFINITY,
            f32::NAN,
            2f32.powi(-24),
            2f32.powi(-25),
        ]);
        for isa in Isa::available() {
            let pool = Pool::with_isa(1, isa);
            for start in [0, 1, 16, 19] {
                let mut cache = Cache::try_new(CacheType::F16, start + x.len() + 5).unwrap();
                cache.write(&pool, start, &x);
                let mut back = vec![0.0; x.len()];
                cache.read(&pool, start, &mut back);
                for (&x, &back) in x.iter().zip(&back) {
                    let want = f16::from_f32(x).to_f32();
                    assert!(
                        want.to_bits() == back.to_bits() || want.is_nan() && back.is_nan(),
                        "{isa:?}: {x}, {back}"
                    );
                }
                let mut rest = [1.0; 5];
                cache.read(&pool, start + x.len(), &mut rest);
                assert_eq!(rest, [0.0; 5], "nothing behind is written");
            }
        }
    }
}
