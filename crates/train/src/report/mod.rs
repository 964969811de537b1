//! A run as plain data for whoever reports on it: what it logged, thinned; what it was told; how it went.
//!
//! It is read from the run's directory alone, while the run goes on or long after: no model is opened, no token file looked for.

mod bands;
mod compare;
mod log;
mod samples;
mod summary;
mod watched;

pub use bands::{Bucket, bands};
pub use compare::{Difference, differences};
pub use log::{Log, read_metrics};
pub use samples::{Sample, SampleLog};
pub use summary::{Best, Summary, Trend};
pub use watched::Watched;

use crate::config::RunConfig;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::prepare::DataSummary;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Buckets of a curve in [`RunReport::curves`].
const BUCKETS: usize = 400;

/// A run, read.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The last part of its path.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// What it was told.
    pub config: RunConfig,
    /// Its data in numbers; runs of before they were kept have none.
    pub data: Option<DataSummary>,
    /// Every step.
    pub metrics: Vec<Metrics>,
    /// Whether the last line of the log was cut off: the run writes it just now, or was killed over it.
    pub torn: bool,
    /// Texts it wrote while it trained, in order.
    pub samples: Vec<Sample>,
    /// Numbers of the model, from its newest checkpoint.
    pub parameters: Option<u64>,
    /// V, from there too.
    pub vocab_size: Option<u64>,
    /// Whether some process trains it now.
    pub running: bool,
}

/// The curves of a run in at most 400 buckets each.
#[derive(Clone, Debug, Serialize)]
pub struct Curves {
    /// Nats per token.
    pub train_loss: Vec<Bucket>,
    /// Nats per token.
    pub val_loss: Vec<Bucket>,
    /// Bits per byte of text.
    pub val_bits_per_byte: Vec<Bucket>,
    /// Before clipping.
    pub grad_norm: Vec<Bucket>,
    /// The learning rate.
    pub lr: Vec<Bucket>,
    /// Tokens a second.
    pub tokens_per_s: Vec<Bucket>,
    /// Part of the machine's limit.
    pub share_of_limit: Vec<Bucket>,
    /// Resident memory, bytes.
    pub memory: Vec<Bucket>,
}

impl RunReport {
    /// Reads the run in a directory.
    ///
    /// # Errors
    /// There is no run, its config does not parse, or its log is damaged before its last line.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        Ok(Watched::open(dir)?.into_report())
    }

    /// The source's entropy in nats per token, where it is known.
    pub fn floor(&self) -> Option<f64> {
        self.data.as_ref()?.floor_loss().filter(|floor| floor.is_finite())
    }

    /// Every curve, in buckets of consecutive steps.
    pub fn curves(&self) -> Curves {
        let of = |value: fn(&Metrics) -> Option<f64>| bands(&self.metrics, BUCKETS, value);
        Curves {
            train_loss: of(|row| row.train_loss),
            val_loss: of(|row| row.val_loss),
            val_bits_per_byte: of(|row| row.val_bits_per_byte),
            grad_norm: of(|row| row.grad_norm),
            lr: of(|row| Some(row.lr)),
            tokens_per_s: of(|row| Some(row.tokens_per_s)),
            share_of_limit: of(|row| row.share_of_limit),
            memory: of(|row| row.memory.map(|bytes| bytes as f64)),
        }
    }
}

/// Whether some process trains the run in a directory now.
pub fn is_running(dir: &Path) -> bool {
    crate::claim::is_taken(dir)
}

#[cfg(test)]
mod tests;
