//! What this machine can do at best: the figures that a training step's speed is a share of.

use crate::pool::Pool;
use crate::simd::{LANES, load, simd_fn};
use std::hint::black_box;
use std::time::Instant;

/// Rounds of which the best counts: what else runs on the machine slows some of them.
const ROUNDS: usize = 5;
/// Fused multiply-adds on sixteen lanes in one task: a third of a millisecond at 118 GFLOP/s.
const MULTIPLY_ADDS: usize = 1_200_000;
/// Tasks a thread: a thread that is interrupted leaves its rest to the others.
const TASKS: usize = 16;
/// Floats a task reads before the next is taken.
const CHUNK: usize = 1 << 18;

/// Flops a second of all threads of the pool together, on its instruction set: multiply-adds in registers that wait for
/// nothing. The bound of every matmul. Takes about 30 ms.
pub fn peak_flops(pool: &Pool) -> f64 {
    let tasks = pool.threads() * TASKS;
    let seconds = best_seconds(|| pool.run(tasks, |_| _ = black_box(multiply_adds(pool.isa(), black_box(1e-3)))));
    (tasks * MULTIPLY_ADDS * LANES * 2) as f64 / seconds
}

/// Bytes a second that all threads of the pool together read from memory: a buffer of `bytes` bytes, once a round. The
/// bound of decoding, which reads every weight for a token.
///
/// Make the buffer several times larger than the last cache (256 MiB for most machines): what fits in cache gives the
/// cache's speed.
///
/// # Panics
/// Where `bytes` is below 4, and where the allocator refuses the buffer.
pub fn read_bandwidth(pool: &Pool, bytes: usize) -> f64 {
    let len = bytes / 4;
    assert!(len > 0, "a buffer of {bytes} bytes holds no float");
    let mut buffer = crate::Buffer::zeroed(len);
    // Written once, else every page is the same page of zeros; by the pool, so that each thread has its share near.
    pool.run_chunks(&mut buffer, CHUNK, |_, chunk| chunk.fill(1.0));
    let read = || {
        pool.run(len.div_ceil(CHUNK), |i| {
            _ = black_box(total(pool.isa(), &buffer[i * CHUNK..len.min((i + 1) * CHUNK)]))
        });
    };
    (len * 4) as f64 / best_seconds(read)
}

/// The shortest of a few runs, after one that does not count.
fn best_seconds(run: impl Fn()) -> f64 {
    run();
    let seconds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    // A clock too coarse to see the run would otherwise give infinity.
    seconds.fold(f64::INFINITY, f64::min).max(1e-9)
}

simd_fn! {
    /// [`MULTIPLY_ADDS`] in as many chains as fill the pipes and stay in registers.
    fn multiply_adds[S](x: f32) -> f32 {
        const { assert!(MULTIPLY_ADDS % S::CHAINS == 0 && S::CHAINS <= 12) }
        let (a, b) = (S::splat(x), S::splat(1.0 - x));
        let mut sums = [S::splat(x); 12];
        for _ in 0..MULTIPLY_ADDS / S::CHAINS {
            for sum in &mut sums[..S::CHAINS] {
                *sum = S::fma(*sum, b, a);
            }
        }
        let mut all = S::splat(0.0);
        for sum in &sums[..S::CHAINS] {
            all = S::add(all, *sum);
        }
        S::sum(all)
    }
}

simd_fn! {
    /// Sum of a slice in eight chains, so that reading is what takes the time.
    fn total[S](x: &[f32]) -> f32 {
        let mut sums = [S::splat(0.0); 8];
        let mut blocks = x.chunks_exact(8 * LANES);
        for block in &mut blocks {
            for (s, sum) in sums.iter_mut().enumerate() {
                *sum = S::add(*sum, load::<S>(&block[s * LANES..]));
            }
        }
        for tail in blocks.remainder().chunks(LANES) {
            sums[0] = S::add(sums[0], load::<S>(tail));
        }
        let mut all = S::splat(0.0);
        for sum in sums {
            all = S::add(all, sum);
        }
        S::sum(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn figures_are_finite_and_positive_on_every_set() {
        for isa in Isa::available() {
            for threads in [1, 2] {
                let pool = Pool::with_isa(threads, isa);
                let (flops, bytes) = (peak_flops(&pool), read_bandwidth(&pool, 3 << 20));
                assert!(flops.is_finite() && flops > 0.0, "{pool:?}: {flops}");
                assert!(bytes.is_finite() && bytes > 0.0, "{pool:?}: {bytes}");
            }
        }
    }

    #[test]
    fn every_float_is_read() {
        for isa in Isa::available() {
            for n in [1, 15, 16, 127, 128, 1003] {
                assert_eq!(total(isa, &vec![1.0; n]), n as f32, "{isa:?}");
            }
        }
    }
}
