//! Random numbers for one story: SplitMix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators,
//! OOPSLA 2014), started at a point that only the seed and the story's index decide.

/// What SplitMix64 adds to its state for each number: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser: a bijection of the 64-bit words in which each input bit moves every output bit.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The numbers of one story.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The stream of story `index` under `seed`.
    ///
    /// The index is mixed before it becomes a starting point: neighbours that started one [`STEP`] apart would share all
    /// their numbers but one.
    pub(super) fn new(seed: u64, index: u64) -> Self {
        Self {
            state: mix(mix(seed.wrapping_add(STEP)) ^ index),
        }
    }

    /// The next 64 bits.
    #[inline]
    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number below `n` with exactly equal chances (Lemire, Fast Random Integer Generation in an Interval, TOMACS 2019):
    /// the floor is computed from `1 / n`, so a bias would make it wrong. `n` is at least 1.
    #[inline]
    pub(super) fn below(&mut self, n: u64) -> u64 {
        debug_assert!(n > 0, "a draw among nothing");
        let mut product = u128::from(self.word()) * u128::from(n);
        if (product as u64) < n {
            let reject_below = n.wrapping_neg() % n;
            while (product as u64) < reject_below {
                product = u128::from(self.word()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the published generator started at 0.
    #[test]
    fn known_answers() {
        let mut random = Random { state: 0 };
        assert_eq!(random.word(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.word(), 0x6E78_9E6A_A1B9_65F4);
        assert_eq!(random.word(), 0x06C4_5D18_8009_454F);
    }

    #[test]
    fn draws_are_uniform_within_a_stream_and_across_streams() {
        // Chi-square with 6 degrees of freedom: 22.5 is passed once in a thousand; the seeds are fixed.
        let chi = |counts: [u32; 7]| counts.iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum::<f64>();
        let (mut within, mut across) = ([0; 7], [0; 7]);
        let mut random = Random::new(1, 2);
        for index in 0..70_000 {
            within[random.below(7) as usize] += 1;
            across[Random::new(3, index).below(7) as usize] += 1;
        }
        assert!(chi(within) < 22.5 && chi(across) < 22.5, "{within:?} {across:?}");
    }

    #[test]
    fn streams_differ_by_seed_and_by_index() {
        let first = |seed, index| Random::new(seed, index).word();
        assert_ne!(first(0, 1), first(1, 0));
        assert_ne!(first(0, 0), first(0, 1));
        assert_eq!(first(5, 6), first(5, 6));
    }
}
