//! Measures kernels, training steps and decoding of a model on this machine, each beside the machine's limit.
//!
//! Nothing is downloaded: weights are those of [`foretoken_model::init`], ids a hash of their place. Every time is a median,
//! and what runs first is not counted: it meets memory that nobody has touched.
//!
//! ```
//! use foretoken::bench;
//! use foretoken::kernels::Pool;
//! use foretoken::model::{Recompute, init, registry};
//!
//! let model = registry::from_config(&serde_json::json!({
//!     "model_type": "gpt2", "vocab_size": 300, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2,
//! }))?;
//! let pool = Pool::new(1)?;
//! let limits = bench::limits(&pool);
//! let weights = || Ok(init(model.params(), 1)?);
//! let report = bench::train(&pool, &*model, weights, (2, 32), Recompute::Selective, 3, &mut |_| {})?;
//! println!("{:.0} tokens/s", report.tokens_per_s);
//! for row in report.profile.rows(&limits) {
//!     println!("{} {:.1}% of the step, {:.0}% of its limit", row.op, 100.0 * row.share, 100.0 * row.share_of_limit);
//! }
//! # assert!(report.tokens_per_s > 0.0 && report.profile.steps == 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod kernels;
mod train;

pub use decode::{DecodeReport, TOGETHER, decode, decode_sizes};
pub use kernels::{KernelTime, kernels};
pub use train::{TrainReport, train};

use crate::error::Error;
use foretoken_formats::memory::available_memory;
use foretoken_kernels::{Limits, Pool};
use foretoken_model::human_bytes;

/// What a benchmark tells while it goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// What is being done now.
    Phase(&'a str),
    /// A kernel was measured.
    Kernel(KernelTime),
    /// A training step was done.
    Step {
        /// Its number, from 1; the first is not counted.
        step: usize,
        /// Seconds it took.
        seconds: f64,
        /// Mean loss in nats before its update.
        loss: f64,
    },
    /// A prompt was read and tokens were written after it.
    Round {
        /// Its number; round 0 is not counted.
        round: usize,
        /// Tokens of the prompt a second.
        prefill_tokens_per_s: f64,
        /// Tokens written a second.
        decode_tokens_per_s: f64,
    },
}

/// Measures what the machine can do at best on a pool, in about a third of a second. Reads 256 MiB, several times the last
/// cache of most machines; less where there is not four times as much free.
pub fn limits(pool: &Pool) -> Limits {
    const READ: u64 = 256 << 20;
    let bytes = available_memory().map_or(READ, |free| READ.min(free / 4).max(1 << 20));
    Limits::measure(pool, bytes as usize)
}

/// The middle one, or the mean of the two in the middle. NaN where there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

/// Refuses what does not fit into memory, before it is taken.
///
/// # Errors
/// [`Error::BenchMemory`].
pub fn fits(what: &str, needed: u64) -> Result<(), Error> {
    match available_memory() {
        Some(available) if available < needed => Err(Error::BenchMemory {
            what: what.to_owned(),
            needed: human_bytes(needed),
            available: human_bytes(available),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 3.0, 2.0])), (2.0, 2.5));
        assert!(median(&[]).is_nan());
    }
}
