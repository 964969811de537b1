//! The training loop: run config, data in token files, schedule, AdamW and Muon, evaluation, checkpoints, metrics.
//!
//! **Knows** what a run is, and that the same run gives the same bits: on any number of threads, and after any stop.
//! **Must not know** HTTP or terminals: it tells what happens through [`Event`]s.
//!
//! What decides a run is in [`RunConfig`] (`run.toml`), the data, and nothing else: weights, order of the data and dropout
//! are functions of the seed and of counters.
//!
//! ```
//! use foretoken_kernels::Pool;
//! use foretoken_train::{Event, Outcome, Run, RunConfig};
//! use std::sync::atomic::AtomicBool;
//!
//! let tmp = tempfile::tempdir()?;
//! let config = RunConfig {
//!     data: vec!["corpus:200".into()],
//!     tokenizer: "byte".into(),
//!     n_layer: Some(1), n_head: Some(1), n_embd: Some(8), seq_len: Some(16), batch_size: Some(2), steps: 5,
//!     ..RunConfig::default()
//! };
//! let pool = Pool::new(1)?;
//! let mut run = Run::start(config, &tmp.path().join("run"), &tmp.path().join("cache"), &pool, &mut |_| {})?;
//! let mut losses = Vec::new();
//! let outcome = run.train(&pool, &AtomicBool::new(false), &mut |event| {
//!     if let Event::Step(metrics) = event {
//!         losses.push(metrics.train_loss.expect("it is finite"));
//!     }
//! })?;
//! assert_eq!((outcome, losses.len()), (Outcome::Finished, 5));
//! assert!(tmp.path().join("run/latest/model.safetensors").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod adapter;
pub mod chart;
mod checkpoint;
mod claim;
mod config;
mod error;
mod examples;
mod gradients;
mod init;
mod learning;
mod metrics;
mod moments;
mod optimizer;
mod prepare;
mod profile;
pub mod report;
mod run;
mod schedule;
pub mod tensorboard;
mod tokens;
mod trainer;

pub use checkpoint::{Checkpoint, TrainState, checkpoints, newest};
pub use config::{RUN_VERSION, RunConfig};
pub use error::Error;
pub use examples::{Examples, LossOn, Packed, PackingReport};
pub use gradients::GradientTree;
pub use init::{Init, TOKENIZER_OF_INIT};
pub use learning::Learning;
pub use metrics::{Metrics, available_memory, resident_memory};
pub use moments::Moments;
pub use optimizer::{Hyperparameters, Optimizer, Update};
pub use prepare::{BuiltIn, DataSummary, Prepared, Preparing, held_out, prepare, tokenizer_kind, validation_stories};
pub use profile::{ProfileRow, StepProfile};
pub use run::{Event, Outcome, Run};
pub use schedule::{LearningRate, Schedule};
pub use tokens::{Data, Tokens, Window};
pub use trainer::{StepOutcome, Trainer};
