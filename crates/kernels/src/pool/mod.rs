//! A persistent thread pool with one verb: run `n` independent tasks.
//!
//! Every output element has one owner, and the order of its sums follows from shapes alone, so neither how work is cut
//! into tasks nor which thread takes which task shows in the bits. Workers spin briefly before they park, since a training step or a decoded token is
//! hundreds of short parallel regions. A worker joins a region when it gets to it, and the caller never waits for one that
//! has not joined: on a machine whose cores are taken, the caller does the tasks alone.

mod shards;

pub(crate) use shards::Shards;

use crate::buffer::Buffer;
use crate::denormals::Flush;
use crate::isa::Isa;
use crate::profile::Profile;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// Spins (some 100 us) before a worker parks: longer than the gap between two kernels, shorter than anybody notices.
const SPINS: u32 = 20_000;

/// Shares that the tasks of a region are cut into, at most; threads past that begin in the share of another.
const SHARES: usize = 16;

/// Tasks of a share that were taken, on a cache line of its own.
#[repr(align(64))]
struct Share(AtomicUsize);

/// The tasks of a region, as one thread comes to them.
pub(crate) struct Tasks<'a> {
    shares: &'a [Share],
    tasks: usize,
    /// The thread's own share, and how many it has been through.
    first: usize,
    visited: usize,
}

impl Iterator for Tasks<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let count = self.shares.len();
        while self.visited < count {
            let share = (self.first + self.visited) % count;
            let (start, end) = (share * self.tasks / count, (share + 1) * self.tasks / count);
            let i = start + self.shares[share].0.fetch_add(1, Ordering::Relaxed);
            if i < end {
                return Some(i);
            }
            self.visited += 1;
        }
        None
    }
}

/// More than any machine's cores; at some ten thousand the standard library aborts instead of telling.
const MOST_THREADS: usize = 1024;

/// What a worker runs: called once by every thread, with the thread's number.
type Job = *const (dyn Fn(usize) + Sync);

#[derive(Clone, Copy)]
struct JobCell(Option<Job>);
// SAFETY: the pointer is only followed by workers that `broadcast` waits for, and the closure is `Sync`.
unsafe impl Send for JobCell {}

/// [`Shared::state`]: the number of the job above, whether workers may still join it, and how many are inside.
const EPOCH_SHIFT: u32 = 16;
const OPEN: usize = 1 << 15;
const INSIDE_COUNT: usize = OPEN - 1;

struct Shared {
    /// Workers wait for its epoch to move.
    state: AtomicUsize,
    panicked: AtomicBool,
    job: Mutex<JobCell>,
    wake: Condvar,
    sleepers: AtomicUsize,
    stop: AtomicBool,
}

/// The threads, the instruction set and the scratch memory that kernels run with.
pub struct Pool {
    isa: Isa,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held for the length of a parallel region: one region at a time.
    region: Mutex<()>,
    /// Of the kernel that is running.
    partial_sums: Mutex<Buffer>,
    /// One scratch block a thread.
    scratch: Vec<Mutex<Buffer>>,
    /// One of the pool and its halves.
    pub(crate) profile: Arc<Profile>,
    /// Made when they are first asked for.
    halves: OnceLock<Option<Box<[Pool; 2]>>>,
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Restores [`INSIDE`], also after a panic.
struct Outside(bool);

impl Drop for Outside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool of `threads` threads (the caller is one of them) on the detected instruction set.
    ///
    /// # Errors
    /// See [`Isa::detect`]; 0 threads or more than 1,024; the system gives no more.
    pub fn new(threads: usize) -> Result<Self, String> {
        Self::build(threads, Isa::detect()?, Arc::default())
    }

    /// A pool on a given instruction set.
    ///
    /// # Panics
    /// Where [`Pool::new`] is an error.
    pub fn with_isa(threads: usize, isa: Isa) -> Self {
        Self::build(threads, isa, Arc::default()).unwrap_or_else(|message| panic!("{message}"))
    }

    fn build(threads: usize, isa: Isa, profile: Arc<Profile>) -> Result<Self, String> {
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(format!("{threads} threads; a pool has 1 to {MOST_THREADS}"));
        }
        let mut pool = Self {
            isa,
            shared: Arc::new(Shared {
                state: AtomicUsize::new(0),
                panicked: AtomicBool::new(false),
                job: Mutex::new(JobCell(None)),
                wake: Condvar::new(),
                sleepers: AtomicUsize::new(0),
                stop: AtomicBool::new(false),
            }),
            workers: Vec::with_capacity(threads - 1),
            region: Mutex::new(()),
            partial_sums: Mutex::new(Buffer::zeroed(0)),
            scratch: (0..threads).map(|_| Mutex::new(Buffer::zeroed(0))).collect(),
            profile,
            halves: OnceLock::new(),
        };
        for worker in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("kernel-{worker}"));
            // Dropping the pool ends the threads that did start.
            let thread = thread.spawn(move || work(&shared, worker)).map_err(|error| {
                format!("the system gives {worker} of {threads} threads ({error}); ask for fewer with --threads")
            })?;
            pool.workers.push(thread);
        }
        Ok(pool)
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// The instruction set kernels run on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `task(0)` … `task(tasks - 1)`, each once, on all threads, and returns when the last has ended.
    ///
    /// Inside a task denormal numbers count as zero, on every thread alike; the caller's own setting is back afterwards.
    ///
    /// # Panics
    /// Where a task panics (after all threads have left the region), and where a task calls `run` itself.
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        self.run_on_threads(tasks, |_, tasks| tasks.for_each(&task));
    }

    /// Runs `task(pool, 0)` and `task(pool, 1)`: side by side, each on half of the threads, where that is a whole number,
    /// else one after the other on all. The tasks run kernels on the pool they are given, and on no other.
    ///
    /// What kernels do on half the threads needs half the hand-offs, and meets what its own cores just wrote: a small
    /// model's step took 31 ms instead of 24 whenever the two cores of a machine shared no cache, and as a pair of halves
    /// it does not.
    pub fn halves(&self, task: impl Fn(&Pool, usize) + Sync) {
        let half = || Self::build(self.threads() / 2, self.isa, Arc::clone(&self.profile)).ok();
        let make = || {
            (self.threads() % 2 == 0)
                .then(|| Some(Box::new([half()?, half()?])))
                .flatten()
        };
        let Some(halves) = self.halves.get_or_init(make) else {
            task(self, 0);
            task(self, 1);
            return;
        };
        self.run(2, |i| {
            // Regions of another pool than the one that waits for this task.
            let _outside = Outside(INSIDE.replace(false));
            task(&halves[i], i);
        });
    }

    /// Runs `thread(number, tasks)` on every thread that comes; all of them together are handed each of `0..tasks` once.
    ///
    /// Every thread begins with its own share of consecutive tasks, then helps with the others': kernel after kernel a
    /// thread meets the same rows, which lie in its own caches. Cores that share no cache gain most: with one counter
    /// for all, packing took a quarter of a small model's step there, and two threads were no faster than one.
    pub(crate) fn run_on_threads(&self, tasks: usize, thread: impl Fn(usize, Tasks<'_>) + Sync) {
        let count = if tasks <= 1 { 1 } else { self.threads().min(SHARES) };
        let shares: [Share; SHARES] = std::array::from_fn(|_| Share(AtomicUsize::new(0)));
        let tasks_of = |worker: usize| Tasks {
            shares: &shares[..count],
            tasks,
            first: worker % count,
            visited: 0,
        };
        if count == 1 {
            let _flush = Flush::new();
            thread(0, tasks_of(0));
        } else {
            self.broadcast(&|worker| thread(worker, tasks_of(worker)));
        }
    }

    /// Scratch memory of a thread; for its tasks, one region at a time.
    pub(crate) fn scratch(&self, worker: usize) -> MutexGuard<'_, Buffer> {
        lock(&self.scratch[worker])
    }

    /// Runs tasks that each get `floats` floats of scratch memory of their thread (contents undefined).
    pub(crate) fn run_with_scratch(&self, tasks: usize, floats: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
        self.run_on_threads(tasks, |worker, tasks| {
            let mut scratch = self.scratch(worker);
            let scratch = scratch.at_least(floats);
            tasks.for_each(|i| task(i, scratch));
        });
    }

    /// Cuts `out` into chunks of `chunk` elements (a constant of the shape) and runs `task(index, chunk)` on each.
    pub(crate) fn run_chunks(&self, out: &mut [f32], chunk: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
        let len = out.len();
        let shards = Shards::new(out);
        self.run(len.div_ceil(chunk), |i| {
            // SAFETY: chunk `i` belongs to task `i` alone.
            task(i, unsafe { shards.range(i * chunk, len.min((i + 1) * chunk)) });
        });
    }

    pub(crate) fn partial_sums(&self) -> MutexGuard<'_, Buffer> {
        lock(&self.partial_sums)
    }

    fn broadcast(&self, job: &(dyn Fn(usize) + Sync)) {
        assert!(!INSIDE.get(), "a task of the pool started a parallel region of its own");
        let region = lock(&self.region);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; this function does not return before the job is closed and empty.
        let job_static: Job = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync), Job>(job) };
        lock(&shared.job).0 = Some(job_static);
        shared.next_epoch(OPEN);
        INSIDE.set(true);
        let own = catch_unwind(AssertUnwindSafe(|| {
            let _flush = Flush::new();
            job(0)
        }));
        INSIDE.set(false);
        // Nobody joins any more; who is inside is waited for.
        let mut inside = shared.state.fetch_and(!OPEN, Ordering::AcqRel) & INSIDE_COUNT;
        let mut spins = 0u32;
        while inside > 0 {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop()
            } else {
                std::thread::yield_now()
            }
            inside = shared.state.load(Ordering::Acquire) & INSIDE_COUNT;
        }
        let worker_panicked = shared.panicked.swap(false, Ordering::Relaxed);
        drop(region);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!worker_panicked, "a task of the pool panicked; its message is above");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.next_epoch(0);
        for worker in self.workers.drain(..) {
            // A worker's panic was already reported by the region it happened in.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} threads, {})", self.threads(), self.isa.name())
    }
}

impl Shared {
    /// Begins the next epoch, with nobody inside, and wakes who sleeps.
    fn next_epoch(&self, open: usize) {
        let epoch = (self.state.load(Ordering::Relaxed) >> EPOCH_SHIFT).wrapping_add(1);
        self.state.store(epoch << EPOCH_SHIFT | open, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // Under the lock, so that a worker between its last look and its sleep is not missed.
            let _guard = lock(&self.job);
            self.wake.notify_all();
        }
    }

    fn epoch(&self) -> usize {
        self.state.load(Ordering::SeqCst) >> EPOCH_SHIFT
    }

    /// Joins the newest job unless it is closed already; either way `seen` becomes its epoch.
    fn join(&self, seen: &mut usize) -> bool {
        let mut now = self.state.load(Ordering::SeqCst);
        loop {
            *seen = now >> EPOCH_SHIFT;
            if now & OPEN == 0 {
                return false;
            }
            match self
                .state
                .compare_exchange_weak(now, now + 1, Ordering::AcqRel, Ordering::SeqCst)
            {
                Ok(_) => return true,
                Err(changed) => now = changed,
            }
        }
    }
}

fn work(shared: &Shared, worker: usize) {
    INSIDE.set(true);
    let _flush = Flush::new();
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while shared.epoch() == seen {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                continue;
            }
            let mut guard = lock(&shared.job);
            shared.sleepers.fetch_add(1, Ordering::SeqCst);
            while shared.epoch() == seen {
                guard = shared.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            shared.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        if !shared.join(&mut seen) {
            continue;
        }
        let job = lock(&shared.job).0.expect("a job was set before the epoch moved");
        // SAFETY: `broadcast` keeps the closure alive until nobody is inside.
        if catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(worker) })).is_err() {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        shared.state.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
