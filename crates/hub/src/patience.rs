//! How often a server is asked, and how long it is waited for.

use crate::error::{Error, Result};
use crate::event::Event;
use std::time::Duration;

/// No longer wait is taken from a server. The hub counts requests over five minutes.
const MAX_PAUSE: Duration = Duration::from_secs(330);

/// How long a silent server is waited for, and how often it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts in a row that bring nothing new.
    pub tries: u32,
    /// Before the second attempt; doubled before each further one. A `Retry-After` counts instead.
    pub pause: Duration,
    /// Without a single byte, before a connection is given up.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 5,
            pause: Duration::from_secs(1),
            silence: Duration::from_secs(60),
        }
    }
}

/// Attempts, and the pauses between them.
#[derive(Debug)]
pub(crate) struct Tries {
    patience: Patience,
    failed: u32,
}

impl Tries {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, failed: 0 }
    }

    /// Something new came: the count begins again.
    pub(crate) fn progress(&mut self) {
        self.failed = 0;
    }

    /// Waits after a failure that may pass; gives the error back where it was tried often enough.
    pub(crate) fn again(
        &mut self,
        mut error: Error,
        after: Option<Duration>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        self.failed += 1;
        let pause = after.unwrap_or(self.patience.pause.saturating_mul(2u32.saturating_pow(self.failed - 1)));
        let (reason, message) = match &mut error {
            Error::Network { url, message } => (format!("{url}: {message}"), message),
            Error::Status { url, status, message } => (format!("{url} answered with HTTP {status}{message}"), message),
            _ => return Err(error),
        };
        if pause > MAX_PAUSE {
            *message += &format!("; it asks to wait {} s: try again then", pause.as_secs());
            return Err(error);
        }
        if self.failed >= self.patience.tries {
            *message += &format!(", {} times", self.failed);
            return Err(error);
        }
        on_event(Event::Retry { reason: &reason, pause });
        std::thread::sleep(pause);
        Ok(())
    }
}
