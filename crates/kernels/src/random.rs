//! Random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, Parallel Random Numbers: As Easy as
//! 1, 2, 3, SC11). No state, so any thread can make any number, and a resumed run makes the same ones.

const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const LOW: u64 = 0xFFFF_FFFF;

/// Philox4x32-10: four words that only the counter and the key decide.
#[inline]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = u64::from(c0) * MULTIPLIERS[0];
        let p1 = u64::from(c2) * MULTIPLIERS[1];
        (c0, c1, c2, c3) = (
            (p1 >> 32) as u32 ^ c1 ^ k0,
            p1 as u32,
            (p0 >> 32) as u32 ^ c3 ^ k1,
            p0 as u32,
        );
        k0 = k0.wrapping_add(KEY_STEPS[0]);
        k1 = k1.wrapping_add(KEY_STEPS[1]);
    }
    [c0, c1, c2, c3]
}

/// Blocks that [`Stream::blocks`] makes at once: one a lane.
pub(crate) const BLOCKS: usize = 16;

/// A stream of random numbers: a key, and what the numbers are for.
///
/// Number `i` of a stream is word `i % 4` of the Philox block with counter `(i / 4, step, purpose)`, the step's high word last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Usually the run's seed.
    pub seed: u64,
    /// Usually the micro-batch: steps and micro-batches never share numbers.
    pub step: u64,
    /// Which tensor or use in that step.
    pub purpose: u32,
}

impl Stream {
    /// Four numbers: `4 * block` … `4 * block + 3`.
    ///
    /// `block` is below 2^32 for any tensor of fewer than 2^34 elements; beyond, its high word enters the purpose.
    #[inline]
    pub fn block(&self, block: u64) -> [u32; 4] {
        let purpose = self.purpose ^ ((block >> 32) as u32).rotate_left(16);
        philox4x32(
            [block as u32, self.step as u32, purpose, (self.step >> 32) as u32],
            [self.seed as u32, (self.seed >> 32) as u32],
        )
    }

    /// Sixteen blocks, `first` and on: word `w` of block `first + l` is `[w][l]`. The same numbers as
    /// [`Stream::block`], several times faster where the caller is compiled for a vector set.
    #[inline(always)]
    pub(crate) fn blocks(&self, first: u64) -> [[u32; BLOCKS]; 4] {
        // Words lie in the lower halves of 64 bits, and what the upper halves hold does not matter: this is how the
        // vector multiplication reads them, and nothing has to move between lanes.
        let [mut c0, mut c2] = [[0u64; BLOCKS]; 2];
        let (mut c1, mut c3) = ([self.step; BLOCKS], [self.step >> 32; BLOCKS]);
        for l in 0..BLOCKS {
            let block = first + l as u64;
            c0[l] = block;
            c2[l] = u64::from(self.purpose ^ ((block >> 32) as u32).rotate_left(16));
        }
        let (mut k0, mut k1) = (self.seed as u32, (self.seed >> 32) as u32);
        for _ in 0..10 {
            for l in 0..BLOCKS {
                let p0 = (c0[l] & LOW) * MULTIPLIERS[0];
                let p1 = (c2[l] & LOW) * MULTIPLIERS[1];
                c0[l] = (p1 >> 32) ^ c1[l] ^ u64::from(k0);
                c1[l] = p1;
                c2[l] = (p0 >> 32) ^ c3[l] ^ u64::from(k1);
                c3[l] = p0;
            }
            k0 = k0.wrapping_add(KEY_STEPS[0]);
            k1 = k1.wrapping_add(KEY_STEPS[1]);
        }
        // A loop, since `map` is not inlined into a vector set.
        let mut words = [[0; BLOCKS]; 4];
        for l in 0..BLOCKS {
            (words[0][l], words[1][l]) = (c0[l] as u32, c1[l] as u32);
            (words[2][l], words[3][l]) = (c2[l] as u32, c3[l] as u32);
        }
        words
    }

    /// Number `i`.
    #[inline]
    pub fn word(&self, i: u64) -> u32 {
        self.block(i / 4)[(i % 4) as usize]
    }

    /// Number `i` as a float in [0, 1) with 24 bits.
    #[inline]
    pub fn uniform(&self, i: u64) -> f32 {
        unit(self.word(i))
    }

    /// Number `i` as a float in [0, 1) with 53 bits, made of words `2i` and `2i + 1`.
    #[inline]
    pub fn uniform_f64(&self, i: u64) -> f64 {
        let w = self.block(i / 2);
        let (high, low) = if i.is_multiple_of(2) {
            (w[0], w[1])
        } else {
            (w[2], w[3])
        };
        ((u64::from(high) << 21) ^ u64::from(low >> 11)) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Fills `out` with normal numbers (Box and Muller), mean 0 and standard deviation `std`; number `i` of the slice is
    /// a function of `first + i` alone, where `first` is even.
    pub fn normals(&self, first: u64, std: f64, out: &mut [f32]) {
        for (pair, chunk) in out.chunks_mut(2).enumerate() {
            let i = first + 2 * pair as u64;
            let radius = (-2.0 * (1.0 - self.uniform_f64(i)).ln()).sqrt() * std;
            let (sin, cos) = (std::f64::consts::TAU * self.uniform_f64(i + 1)).sin_cos();
            chunk[0] = (radius * cos) as f32;
            if let Some(second) = chunk.get_mut(1) {
                *second = (radius * sin) as f32;
            }
        }
    }
}

/// The upper 24 bits as a float in [0, 1).
#[inline]
pub(crate) fn unit(word: u32) -> f32 {
    // By way of a signed integer, for which every vector set has the conversion.
    (word >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of Random123 (kat_vectors, philox4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn sixteen_blocks_are_the_same_blocks() {
        let stream = Stream {
            seed: 0x0123_4567_89ab_cdef,
            step: 77,
            purpose: 5,
        };
        for first in [0, 1, 12_345, u64::from(u32::MAX) - 7, 1 << 40] {
            let words = stream.blocks(first);
            for l in 0..BLOCKS {
                let want = stream.block(first + l as u64);
                assert_eq!([words[0][l], words[1][l], words[2][l], words[3][l]], want);
            }
        }
    }

    #[test]
    fn every_step_has_numbers_of_its_own() {
        let stream = |step| Stream {
            seed: 3,
            step,
            purpose: 5,
        };
        let steps = [9, (1 << 32) + 9, (1 << 33) + 9, (1 << 63) + 9];
        for (i, step) in steps.into_iter().enumerate() {
            for &other in &steps[..i] {
                assert!((0..100).all(|block| stream(step).block(block) != stream(other).block(block)));
            }
            let words = stream(step).blocks(7);
            assert_eq!(words.map(|word| word[1]), stream(step).block(8));
        }
    }

    #[test]
    fn normals_have_their_moments_and_do_not_depend_on_the_cut() {
        let stream = Stream {
            seed: 1,
            step: 2,
            purpose: 3,
        };
        let mut x = vec![0.0; 40_000];
        stream.normals(0, 0.02, &mut x);
        let mean: f64 = x.iter().map(|&x| f64::from(x)).sum::<f64>() / 4e4;
        let var: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 4e4;
        assert!(mean.abs() < 4e-4 && (var.sqrt() - 0.02).abs() < 3e-4, "{mean} {var}");
        let mut part = vec![0.0; 100];
        stream.normals(1000, 0.02, &mut part);
        assert_eq!(part, x[1000..1100]);
    }
}
