//! Steps that can be made to fail: in this crate's tests as an error or a crash, and in a build with the feature
//! `failpoints` as an abort of the process. In any other build a failpoint is nothing.

use std::io;
use std::path::Path;

/// A step of the write protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    CreateDir,
    Write,
    Truncate,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

/// Reached just before `step` on `path` (a rename also has a target `to`; elsewhere it is `path` again).
#[inline]
pub(super) fn reach(step: Step, path: &Path, to: &Path) -> io::Result<()> {
    #[cfg(feature = "failpoints")]
    environment::reach(step);
    #[cfg(test)]
    plan::reach(step, path, to)?;
    let _ = (step, path, to);
    Ok(())
}

/// `FORETOKEN_FAILPOINT=name:n` aborts the process just before the `n`-th step of that name, from 1; the name is a
/// step's in lower case (`create`, `createdir`, `write`, `truncate`, `sync`, `syncdir`, `rename`, `remove`) or `any`.
#[cfg(feature = "failpoints")]
mod environment {
    use super::Step;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    pub(super) fn reach(step: Step) {
        static ASKED: OnceLock<Option<(String, u64)>> = OnceLock::new();
        static REACHED: AtomicU64 = AtomicU64::new(0);
        let asked = ASKED.get_or_init(|| {
            let value = std::env::var("FORETOKEN_FAILPOINT").ok()?;
            let (name, n) = value.split_once(':').expect("FORETOKEN_FAILPOINT is name:n");
            let n = n.parse().expect("FORETOKEN_FAILPOINT is name:n with a number n");
            Some((name.to_owned(), n))
        });
        let Some((name, n)) = asked else { return };
        let matches = name == "any" || format!("{step:?}").eq_ignore_ascii_case(name);
        if matches && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *n {
            std::process::abort();
        }
    }
}

/// What the current thread's steps shall do, and what they did.
#[cfg(test)]
pub(super) mod plan {
    use super::Step;
    use std::cell::RefCell;
    use std::io;
    use std::path::{Path, PathBuf};

    /// How the chosen step fails.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) enum Failure {
        /// It alone, with an error: the code goes on to clean up.
        Error,
        /// The disk is full.
        DiskFull,
        /// It and all later ones, as if the process had died.
        Crash,
    }

    #[derive(Default)]
    struct Plan {
        failure: Option<(usize, Failure)>,
        done: Vec<(Step, PathBuf, PathBuf)>,
        count: usize,
    }

    thread_local! {
        static PLAN: RefCell<Plan> = RefCell::default();
    }

    pub(super) fn reach(step: Step, path: &Path, to: &Path) -> io::Result<()> {
        PLAN.with_borrow_mut(|plan| {
            let at = plan.count;
            plan.count += 1;
            match plan.failure {
                Some((n, Failure::Error)) if at == n => Err(io::Error::other("failpoint")),
                Some((n, Failure::DiskFull)) if at == n => Err(io::ErrorKind::StorageFull.into()),
                Some((n, Failure::Crash)) if at >= n => Err(io::Error::other("crashed")),
                _ => {
                    plan.done.push((step, path.to_owned(), to.to_owned()));
                    Ok(())
                }
            }
        })
    }

    /// Runs `f`, failing its step number `failure.0`; gives its result and the steps that were done.
    pub(in super::super) fn run<T>(
        failure: Option<(usize, Failure)>,
        f: impl FnOnce() -> T,
    ) -> (T, Vec<(Step, PathBuf, PathBuf)>) {
        PLAN.set(Plan {
            failure,
            ..Plan::default()
        });
        let result = f();
        (result, PLAN.take().done)
    }
}
