//! Where the time of kernels goes: calls, thread-seconds, flops and bytes of every op at every shape.
//!
//! Every public kernel begins with a guard, [`Pool::timed`], which costs one relaxed load while nobody profiles. Only
//! **leaves** are timed: a kernel made of kernels (the head's loss runs three matmuls a chunk) has no guard of its own, its
//! parts have. So the times add up, and what is missing to the step's is what happens outside of kernels.
//!
//! A kernel on a pool of `p` threads takes `p` thread-seconds a second, whether its threads have work or wait: idle threads
//! are the kernel's fault. A half of a pool ([`Pool::halves`]) reports to the whole one.

use crate::pool::Pool;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What all calls of an op at one shape took, while [`Pool::start_profile`] listened.
#[derive(Clone, Debug, PartialEq)]
pub struct OpTime {
    /// The kernel's name; a matmul's also says how its operands are read: `matmul_nn` for A B, `matmul_nt` for A Bᵀ,
    /// `matmul_tn` for Aᵀ B.
    pub op: &'static str,
    /// Sizes, in the order of the kernel's doc comment; [M, K, N] of a matmul.
    pub shape: Vec<usize>,
    /// Calls.
    pub calls: u64,
    /// Seconds times the threads of the pool that ran them.
    pub thread_seconds: f64,
    /// Floating-point operations that the algorithm needs (a causal attention's triangle, not its tiles).
    pub flops: u64,
    /// Bytes that the algorithm needs to move: every operand read once, every result written once.
    pub bytes: u64,
}

/// What a machine can do at best, all threads of a pool together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Flops a second: [`crate::peak_flops`].
    pub flops_per_s: f64,
    /// Bytes a second: [`crate::read_bandwidth`].
    pub bytes_per_s: f64,
}

impl Limits {
    /// Measures both on a pool, reading a buffer of `bytes` bytes: see [`crate::read_bandwidth`]. Takes about a third of a
    /// second for 256 MiB.
    ///
    /// # Panics
    /// Where `bytes` is below 4, and where the allocator refuses the buffer.
    pub fn measure(pool: &Pool, bytes: usize) -> Self {
        Self {
            flops_per_s: crate::peak_flops(pool),
            bytes_per_s: crate::read_bandwidth(pool, bytes),
        }
    }

    /// The least seconds that work can take: `max(flops / flops_per_s, bytes / bytes_per_s)`, the roofline (Williams,
    /// Waterman and Patterson, CACM 52(4), 2009). Operands that lie in a cache can beat it.
    pub fn seconds(&self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.flops_per_s).max(bytes as f64 / self.bytes_per_s)
    }

    /// Whether it is the flops that bind, not the bytes.
    pub fn binds_flops(&self, flops: u64, bytes: u64) -> bool {
        flops as f64 / self.flops_per_s >= bytes as f64 / self.bytes_per_s
    }
}

/// Sizes of the longest shape.
const SIZES: usize = 4;

#[derive(Clone, Copy, Default)]
struct Total {
    calls: u64,
    thread_seconds: f64,
    flops: u64,
    bytes: u64,
}

/// The op, its sizes, and how many of them there are.
type Key = (&'static str, [usize; SIZES], usize);

/// What a pool and its halves write to.
#[derive(Default)]
pub(crate) struct Profile {
    on: AtomicBool,
    totals: Mutex<HashMap<Key, Total>>,
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Times a kernel until it is dropped.
#[must_use]
pub(crate) struct Timed<'a>(Option<Running<'a>>);

struct Running<'a> {
    profile: &'a Profile,
    key: Key,
    /// One call's.
    total: Total,
    begun: Instant,
}

impl Pool {
    /// From now on, kernels on this pool and its halves count calls, time, flops and bytes. What was counted before is
    /// forgotten. No result changes by a bit.
    pub fn start_profile(&self) {
        self.profile.totals().clear();
        self.profile.on.store(true, Ordering::Relaxed);
    }

    /// What was counted since [`Pool::start_profile`], what took longest first; nothing is counted any more.
    pub fn take_profile(&self) -> Vec<OpTime> {
        self.profile.on.store(false, Ordering::Relaxed);
        let totals = std::mem::take(&mut *self.profile.totals());
        let time = |((op, shape, sizes), total): (Key, Total)| OpTime {
            op,
            shape: shape[..sizes].to_vec(),
            calls: total.calls,
            thread_seconds: total.thread_seconds,
            flops: total.flops,
            bytes: total.bytes,
        };
        let mut times: Vec<OpTime> = totals.into_iter().map(time).collect();
        times.sort_by(|a, b| b.thread_seconds.total_cmp(&a.thread_seconds));
        times
    }

    /// Times the kernel that holds the guard. `work` gives (flops, bytes) of the sizes, in 64 bits on any machine; it is
    /// not called while nobody profiles.
    #[inline]
    pub(crate) fn timed<const N: usize>(
        &self,
        op: &'static str,
        shape: [usize; N],
        work: impl FnOnce([u64; N]) -> (u64, u64),
    ) -> Timed<'_> {
        if !self.profile.on.load(Ordering::Relaxed) {
            return Timed(None);
        }
        assert!(
            !INSIDE.replace(true),
            "{op} runs inside a timed kernel: its time would count twice"
        );
        let (flops, bytes) = work(shape.map(|size| size as u64));
        let mut sizes = [0; SIZES];
        sizes[..N].copy_from_slice(&shape);
        Timed(Some(Running {
            profile: &self.profile,
            key: (op, sizes, N),
            total: Total {
                calls: 1,
                thread_seconds: self.threads() as f64,
                flops,
                bytes,
            },
            begun: Instant::now(),
        }))
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let Some(Running {
            profile,
            key,
            total,
            begun,
        }) = self.0.take()
        else {
            return;
        };
        let seconds = begun.elapsed().as_secs_f64();
        INSIDE.set(false);
        let mut totals = profile.totals();
        let sum = totals.entry(key).or_default();
        sum.calls += total.calls;
        sum.thread_seconds += seconds * total.thread_seconds;
        sum.flops += total.flops;
        sum.bytes += total.bytes;
    }
}

impl Profile {
    fn totals(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Total>> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttentionDims, Epilogue, Mat, attention_forward, gelu_forward, matmul};

    fn find<'a>(times: &'a [OpTime], op: &str) -> &'a OpTime {
        times
            .iter()
            .find(|time| time.op == op)
            .unwrap_or_else(|| panic!("{op} in {times:?}"))
    }

    #[test]
    fn calls_and_work_add_up_by_op_and_shape_and_only_while_somebody_listens() {
        let pool = Pool::new(2).unwrap();
        let (a, b, mut c) = (vec![1.0; 6], vec![1.0; 12], vec![0.0; 8]);
        let product = |c: &mut [f32]| {
            matmul(&pool, c, Mat::new(&a, 2, 3), Mat::new(&b, 3, 4), Epilogue::Store);
        };
        product(&mut c);
        pool.start_profile();
        product(&mut c);
        product(&mut c);
        let (x, dy) = (Mat::new(&a, 3, 2), Mat::new(&b, 3, 4));
        matmul(&pool, &mut c, x.t(), dy, Epilogue::Accumulate);
        gelu_forward(&pool, &mut c, &b[..8]);
        let times = pool.take_profile();
        product(&mut c);
        assert_eq!(times.len(), 3, "{times:?}");
        let nn = find(&times, "matmul_nn");
        assert_eq!((&*nn.shape, nn.calls), (&[2, 3, 4][..], 2));
        assert_eq!((nn.flops, nn.bytes), (2 * 48, 2 * 4 * (6 + 12 + 8)));
        // C is read as well.
        let tn = find(&times, "matmul_tn");
        assert_eq!(
            (&*tn.shape, tn.flops, tn.bytes),
            (&[2, 3, 4][..], 48, 4 * (6 + 12 + 16))
        );
        let gelu = find(&times, "gelu_forward");
        assert_eq!((&*gelu.shape, gelu.calls, gelu.bytes), (&[8][..], 1, 64));
        assert!(times.iter().all(|time| time.thread_seconds > 0.0));
        assert!(
            times
                .windows(2)
                .all(|pair| pair[0].thread_seconds >= pair[1].thread_seconds)
        );
        assert!(
            pool.take_profile().is_empty(),
            "nothing is kept, nothing is counted any more"
        );
        pool.start_profile();
        assert!(pool.take_profile().is_empty());
    }

    #[test]
    fn orientations_of_single_rows_and_columns_are_told_apart() {
        let pool = Pool::new(1).unwrap();
        let (row, ones) = (vec![1.0; 5], vec![1.0; 5]);
        let (line, column) = (Mat::new(&row, 1, 5), Mat::new(&ones, 5, 1));
        for (a, b, c, op) in [
            (line, column, 1, "matmul_nn"),
            (line, line.t(), 1, "matmul_nt"),
            (column.t(), column, 1, "matmul_tn"),
            (line.t(), line, 25, "matmul_tn"),
            (column, column.t(), 25, "matmul_nt"),
        ] {
            pool.start_profile();
            matmul(&pool, &mut vec![0.0; c], a, b, Epilogue::Store);
            assert_eq!(pool.take_profile()[0].op, op);
        }
    }

    #[test]
    fn attention_counts_the_triangle() {
        let (b, t, h, dh) = (2, 5, 3, 4);
        let dims = AttentionDims { b, t, h, h_kv: h, dh };
        let (qkv, mut out, mut lse) = (vec![0.5; b * t * 36], vec![0.0; b * t * 12], vec![0.0; b * h * t]);
        let pool = Pool::new(1).unwrap();
        pool.start_profile();
        attention_forward(&pool, &mut out, &mut lse, &qkv, dims, &[], None);
        let times = pool.take_profile();
        let pairs = b * h * (t * (t + 1) / 2);
        assert_eq!(
            (&*times[0].shape, times[0].flops as usize),
            (&[b, t, h, dh][..], pairs * 2 * 2 * dh)
        );
        assert_eq!(times[0].bytes as usize, 4 * (qkv.len() + out.len() + lse.len()));
    }

    #[test]
    fn halves_report_to_the_whole() {
        for threads in 1..=4 {
            let pool = Pool::new(threads).unwrap();
            pool.start_profile();
            pool.halves(|half, _| crate::zero(half, &mut [1.0; 10]));
            let times = pool.take_profile();
            assert_eq!(
                (times.len(), times[0].calls, times[0].bytes),
                (1, 2, 80),
                "{threads} threads"
            );
        }
    }

    #[test]
    fn the_larger_of_flops_and_bytes_binds() {
        let limits = Limits {
            flops_per_s: 100.0,
            bytes_per_s: 10.0,
        };
        assert_eq!((limits.seconds(200, 10), limits.binds_flops(200, 10)), (2.0, true));
        assert_eq!((limits.seconds(200, 50), limits.binds_flops(200, 50)), (5.0, false));
    }
}
