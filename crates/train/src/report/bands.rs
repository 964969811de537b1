//! A curve of any length in few buckets that hide nothing: each keeps its lowest and its highest value.

use crate::metrics::Metrics;
use serde::Serialize;

/// Consecutive steps of a curve together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// The last of its steps.
    pub step: u64,
    /// Tokens up to there.
    pub tokens: u64,
    /// Seconds up to there; null where the log has none.
    pub time_s: Option<f64>,
    /// Values, of which there is none where a step has none.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// The finite values that `value` finds, in at most `count` buckets of as many values each, or one more. Of no more values than
/// `count` each is a bucket of its own.
///
/// ```
/// use foretoken_train::{Metrics, report::bands};
/// let metrics: Vec<Metrics> =
///     (1..=5).map(|step| Metrics { step, train_loss: Some(step as f64), ..Metrics::default() }).collect();
/// let buckets = bands(&metrics, 2, |row| row.train_loss);
/// let found: Vec<_> = buckets.iter().map(|b| (b.step, b.n, b.min, b.mean, b.max)).collect();
/// assert_eq!(found, [(2, 2, 1.0, 1.5, 2.0), (5, 3, 3.0, 4.0, 5.0)]);
/// ```
pub fn bands(metrics: &[Metrics], count: usize, value: impl Fn(&Metrics) -> Option<f64>) -> Vec<Bucket> {
    let values: Vec<(&Metrics, f64)> = metrics
        .iter()
        .filter_map(|row| Some((row, value(row).filter(|value| value.is_finite())?)))
        .collect();
    let count = count.min(values.len());
    let buckets = (0..count).map(|i| &values[i * values.len() / count..(i + 1) * values.len() / count]);
    buckets.map(bucket).collect()
}

fn bucket(values: &[(&Metrics, f64)]) -> Bucket {
    let (last, _) = values.last().expect("no bucket is empty");
    let all = || values.iter().map(|&(_, value)| value);
    let (min, max) = (
        all().fold(f64::INFINITY, f64::min),
        all().fold(f64::NEG_INFINITY, f64::max),
    );
    // Divided first: no sum of finite values overflows. What rounding adds does not leave the band.
    let mean: f64 = all().map(|value| value / values.len() as f64).sum();
    Bucket {
        step: last.step,
        tokens: last.tokens,
        time_s: Some(last.time_s).filter(|time| time.is_finite()),
        n: values.len() as u64,
        mean: mean.clamp(min, max),
        min,
        max,
    }
}
