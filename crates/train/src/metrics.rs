//! What a run tells of every step: one JSON object a line.

pub use foretoken_formats::memory::available_memory;

use serde::{Deserialize, Serialize};

/// One step. The same object is a line of `metrics.jsonl` and of `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Steps done, from 1.
    pub step: u64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Seconds of training so far, over all sittings, evaluation and checkpoints included.
    pub time_s: f64,
    /// Mean loss of the step's tokens, in nats, before its update.
    pub train_loss: Option<f64>,
    /// Mean loss of the evaluation after the step, in nats; null where none was made.
    pub val_loss: Option<f64>,
    /// The same in bits per byte of text.
    pub val_bits_per_byte: Option<f64>,
    /// Learning rate of the step.
    pub lr: f64,
    /// Norm of the gradient before clipping; null where it is not finite.
    pub grad_norm: Option<f64>,
    /// Tokens a second of this step.
    pub tokens_per_s: f64,
    /// Floating-point operations a second of this step as a part of the machine's measured limit.
    pub share_of_limit: Option<f64>,
    /// Resident memory of the process, bytes.
    pub memory: Option<u64>,
    /// Steps skipped so far because the gradient was not finite.
    pub skipped: u64,
}

impl Metrics {
    /// A line of `metrics.jsonl`.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("plain fields")
    }
}

/// Resident and peak memory of this process in bytes, where the system tells (`/proc`).
pub fn resident_memory() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back() {
        let metrics = Metrics {
            step: 3,
            train_loss: Some(2.5),
            grad_norm: None,
            ..Metrics::default()
        };
        let line = metrics.to_line();
        assert!(
            line.starts_with(r#"{"step":3,"tokens":0,"#) && line.contains(r#""grad_norm":null"#),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<Metrics>(&line).unwrap(), metrics);
    }
}
