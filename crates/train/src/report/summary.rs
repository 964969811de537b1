//! How a run went, in numbers: what a row of a comparison holds.

use super::RunReport;
use crate::metrics::Metrics;
use serde::Serialize;

/// The part of a loss below which a change is not told from noise.
const NOTICEABLE: f64 = 0.01;

/// How the validation loss went at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// It fell by more than 1% in the last third of the evaluations, and the lowest is the last or within 1% of it.
    Falling,
    /// It neither fell nor rose by more than 1%.
    Flat,
    /// It is more than 1% above its lowest, while the training loss fell on.
    Overfitting,
    /// It is more than 1% above its lowest, and the training loss did not fall either.
    Rising,
    /// Fewer than three evaluations.
    Unknown,
}

/// The lowest validation loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Best {
    /// Its step.
    pub step: u64,
    /// Nats per token.
    pub loss: f64,
    /// Bits per byte of text, where that is known.
    pub bits_per_byte: Option<f64>,
}

/// A run in a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Steps done.
    pub step: u64,
    /// Steps that were asked for.
    pub steps: u64,
    /// Whether a process trains it now.
    pub running: bool,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of training.
    pub time_s: Option<f64>,
    /// Mean training loss of the last twentieth of the steps.
    pub train_loss: Option<f64>,
    /// The last validation loss.
    pub val_loss: Option<f64>,
    /// The lowest.
    pub best: Option<Best>,
    /// How it went at the end.
    pub trend: Trend,
    /// The source's entropy in nats per token.
    pub floor: Option<f64>,
    /// Median of the steps.
    pub tokens_per_s: Option<f64>,
    /// Median of the steps.
    pub share_of_limit: Option<f64>,
    /// Most resident memory, bytes.
    pub memory: Option<u64>,
    /// Steps skipped because the gradient was not finite.
    pub skipped: u64,
    /// Numbers of the model.
    pub parameters: Option<u64>,
    /// V.
    pub vocab_size: Option<u64>,
}

impl RunReport {
    /// The run in a row.
    pub fn summary(&self) -> Summary {
        let rows = &self.metrics;
        let last = rows.last();
        let evaluations: Vec<(&Metrics, f64)> = rows.iter().filter_map(|row| Some((row, row.val_loss?))).collect();
        let best = evaluations.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        Summary {
            name: self.name.clone(),
            step: last.map_or(0, |row| row.step),
            steps: self.config.steps,
            running: self.running,
            tokens: last.map_or(0, |row| row.tokens),
            time_s: last.map(|row| row.time_s).filter(|time| time.is_finite()),
            train_loss: mean(&rows[rows.len() - rows.len().div_ceil(20)..]),
            val_loss: evaluations.last().map(|(_, loss)| *loss),
            best: best.map(|(row, loss)| Best {
                step: row.step,
                loss,
                bits_per_byte: row.val_bits_per_byte,
            }),
            trend: trend(rows, &evaluations),
            floor: self.floor(),
            tokens_per_s: median(rows.iter().map(|row| row.tokens_per_s)),
            share_of_limit: median(rows.iter().filter_map(|row| row.share_of_limit)),
            memory: rows.iter().filter_map(|row| row.memory).max(),
            skipped: last.map_or(0, |row| row.skipped),
            parameters: self.parameters,
            vocab_size: self.vocab_size,
        }
    }
}

/// Mean of the training losses that are there.
fn mean(rows: &[Metrics]) -> Option<f64> {
    let losses: Vec<f64> = rows.iter().filter_map(|row| row.train_loss).collect();
    (!losses.is_empty()).then(|| losses.iter().map(|loss| loss / losses.len() as f64).sum())
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

fn trend(rows: &[Metrics], evaluations: &[(&Metrics, f64)]) -> Trend {
    let (&[first, .., last], true) = (evaluations, evaluations.len() >= 3) else {
        return Trend::Unknown;
    };
    let (best, lowest) = (evaluations.iter().copied())
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or(first);
    let noticeable = NOTICEABLE * lowest.abs();
    if last.1 > lowest + noticeable {
        // The training loss around the best evaluation, and at the end.
        let width = rows.len().div_ceil(20);
        let at = rows.partition_point(|row| row.step <= best.step);
        let then = mean(&rows[at.saturating_sub(width)..at]);
        let now = mean(&rows[rows.len() - width..]);
        return match (then, now) {
            (Some(then), Some(now)) if now < then => Trend::Overfitting,
            _ => Trend::Rising,
        };
    }
    let third = evaluations[evaluations.len() - 1 - evaluations.len().div_ceil(3)].1;
    if third - last.1 > noticeable {
        Trend::Falling
    } else {
        Trend::Flat
    }
}
