//! What is told while files are fetched.

use std::time::Duration;

/// What happens, as it happens.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// What a call of [`Pull::fetch`](crate::Pull::fetch) is about to do.
    Plan {
        /// Files asked for.
        files: usize,
        /// Their bytes.
        bytes: u64,
        /// Those that are not there yet.
        missing: u64,
    },
    /// A file begins, or begins again.
    Begin {
        /// Its name in the repository.
        name: &'a str,
        /// Its bytes.
        size: u64,
        /// Those that are there already.
        have: u64,
    },
    /// Some more bytes of it came.
    Received(u64),
    /// It is there, and right.
    Done {
        /// Its name in the repository.
        name: &'a str,
    },
    /// Another process fetches the same file: it is waited for.
    Waits {
        /// Its name in the repository.
        name: &'a str,
    },
    /// Something went wrong that may pass: it is tried again.
    Retry {
        /// What went wrong.
        reason: &'a str,
        /// When.
        pause: Duration,
    },
}
