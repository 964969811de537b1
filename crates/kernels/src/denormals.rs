//! Numbers below the smallest normal one (1.2e-38) count as zero while kernels run: FTZ and DAZ.
//!
//! They do occur: the moments of a token that is never seen decay by beta a step, and after some hundred steps would
//! stay denormal for good, since `0.9` of the last few denormals rounds back up. On many processors each operation on
//! them costs a hundred cycles, and nothing a model learns lies down there.
//!
//! Rust takes the default floating-point environment for granted, and setting these two bits departs from it. What can
//! come of it is that a constant the compiler folds keeps a denormal that the processor would have flushed: no kernel
//! has such a constant. Rounding and exceptions stay as they are.

#[cfg(target_arch = "x86_64")]
mod control {
    /// FTZ and DAZ in MXCSR.
    pub(super) const FLUSH: u64 = (1 << 15) | (1 << 6);

    pub(super) fn get() -> u64 {
        let mut bits = 0u32;
        // SAFETY: stores MXCSR to `bits`, nothing else.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut bits, options(nostack, preserves_flags)) };
        u64::from(bits)
    }

    pub(super) fn set(bits: u64) {
        let bits = bits as u32;
        // SAFETY: `bits` was read from MXCSR, with at most FTZ and DAZ added, so no reserved bit is set.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const bits, options(nostack)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    /// FZ in FPCR: inputs and outputs.
    pub(super) const FLUSH: u64 = 1 << 24;

    pub(super) fn get() -> u64 {
        let bits;
        // SAFETY: reads FPCR, nothing else.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) bits, options(nomem, nostack, preserves_flags)) };
        bits
    }

    pub(super) fn set(bits: u64) {
        // SAFETY: `bits` was read from FPCR, with at most FZ added.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) bits, options(nostack)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) const FLUSH: u64 = 0;

    pub(super) fn get() -> u64 {
        0
    }

    pub(super) fn set(_: u64) {}
}

/// Denormals are zero on this thread as long as this lives; afterwards the thread's own setting is back.
pub(crate) struct Flush {
    before: u64,
    // The setting is this thread's.
    not_send: std::marker::PhantomData<*const ()>,
}

impl Flush {
    pub(crate) fn new() -> Self {
        let before = control::get();
        control::set(before | control::FLUSH);
        Self {
            before,
            not_send: std::marker::PhantomData,
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        // Only these bits: flags that a kernel raised stay raised.
        control::set(control::get() & !control::FLUSH | self.before & control::FLUSH);
    }
}

#[cfg(test)]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod tests {
    use crate::isa::Isa;
    use crate::pool::Pool;
    use std::hint::black_box;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A quarter of the smallest normal number: denormal, or zero where denormals are flushed.
    fn quarter() -> u32 {
        (black_box(f32::MIN_POSITIVE) * black_box(0.25)).to_bits()
    }

    /// Twice a denormal that is more than normal: its own, or zero where denormal inputs count as zero.
    fn doubled() -> u32 {
        (black_box(f32::MIN_POSITIVE * 0.75) * black_box(2.0)).to_bits()
    }

    #[test]
    fn denormals_are_zero_inside_on_every_thread_and_the_caller_s_own_outside() {
        for isa in Isa::available() {
            for threads in [1, 2, 3] {
                let pool = Pool::with_isa(threads, isa);
                for tasks in [1, 64] {
                    let seen = AtomicU32::new(0);
                    pool.run(tasks, |_| {
                        seen.fetch_or(quarter() | doubled(), Ordering::Relaxed);
                    });
                    assert_eq!(seen.into_inner(), 0, "{pool:?}, {tasks} tasks");
                    assert!(
                        quarter() != 0 && doubled() != 0,
                        "{pool:?}: the caller's setting is back"
                    );
                }
            }
        }
    }

    #[test]
    fn a_panic_gives_the_caller_its_setting_back() {
        for threads in [1, 2] {
            let pool = Pool::with_isa(threads, Isa::Portable);
            assert!(catch_unwind(AssertUnwindSafe(|| pool.run(8, |i| assert!(i != 3, "task 3")))).is_err());
            assert!(quarter() != 0);
        }
    }

    #[test]
    fn moments_of_a_token_that_is_never_seen_reach_zero() {
        let options = crate::AdamW {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.0,
            step: 1,
            grad_scale: 1.0,
        };
        for isa in Isa::available() {
            let pool = Pool::with_isa(2, isa);
            let (mut p, mut m, mut v) = ([0.5; 33], [1e-37; 33], [1e-37; 33]);
            for step in 1..=100 {
                crate::adamw(
                    &pool,
                    &mut p,
                    &mut m,
                    &mut v,
                    &[0.0; 33],
                    &crate::AdamW { step, ..options },
                );
            }
            assert!(m.iter().chain(&v).all(|&x| x == 0.0), "{isa:?}: {} {}", m[0], v[0]);
        }
    }
}
