//! Counters, as Prometheus reads them.

use crate::model::Model;
use foretoken::generate::EngineStats;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the buckets of a histogram, in seconds.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// How often something took how long.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let bucket = BUCKETS.iter().position(|&end| took.as_secs_f64() <= end);
        self.counts[bucket.unwrap_or(BUCKETS.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let (mut total, comma) = (0, if labels.is_empty() { "" } else { "," });
        let ends = BUCKETS.iter().map(f64::to_string).chain(["+Inf".into()]);
        for (end, count) in ends.zip(&self.counts) {
            total += count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{end}\"}} {total}");
        }
        let sum = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {total}");
    }
}

/// What a model's engine does.
#[derive(Debug, Default)]
pub(crate) struct ModelMetrics {
    running: AtomicU64,
    waiting: AtomicU64,
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    generated_tokens: AtomicU64,
    steps: AtomicU64,
    pub(crate) first_token: Histogram,
}

impl ModelMetrics {
    pub(crate) fn engine(&self, stats: EngineStats, running: usize, waiting: usize) {
        let set = |cell: &AtomicU64, value: u64| cell.store(value, Ordering::Relaxed);
        set(&self.running, running as u64);
        set(&self.waiting, waiting as u64);
        set(&self.prompt_tokens, stats.prompt_tokens);
        set(&self.cached_tokens, stats.cached_tokens);
        set(&self.generated_tokens, stats.generated_tokens);
        set(&self.steps, stats.steps);
    }
}

/// What the server does.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By path and status.
    ended: Mutex<BTreeMap<(&'static str, u16), u64>>,
    took: Histogram,
    pub(crate) in_flight: AtomicU64,
}

impl Metrics {
    /// A request has ended.
    pub(crate) fn end(&self, path: &'static str, status: u16, took: Duration) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended.entry((path, status)).or_default() += 1;
        self.took.record(took);
    }

    /// The page of `/metrics`.
    pub(crate) fn page<'a>(&self, models: impl Iterator<Item = &'a Model> + Clone) -> String {
        let mut out = String::new();
        about(
            &mut out,
            "requests_total",
            "counter",
            "Requests that have ended, by path and status; 499 where the client left.",
        );
        for ((path, status), count) in self.ended.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(
                out,
                "foretoken_requests_total{{path=\"{path}\",status=\"{status}\"}} {count}"
            );
        }
        about(&mut out, "requests_in_flight", "gauge", "Requests under way.");
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let _ = writeln!(out, "foretoken_requests_in_flight {in_flight}");
        about(
            &mut out,
            "request_seconds",
            "histogram",
            "From a request's headers to its end.",
        );
        self.took.write(&mut out, "foretoken_request_seconds", "");
        type Cell = fn(&ModelMetrics) -> &AtomicU64;
        let cells: [(&str, &str, &str, Cell); 6] = [
            ("texts_running", "gauge", "Texts that are being generated.", |m| {
                &m.running
            }),
            ("texts_waiting", "gauge", "Texts that wait for a place.", |m| &m.waiting),
            (
                "prompt_tokens_total",
                "counter",
                "Tokens of prompts that were read.",
                |m| &m.prompt_tokens,
            ),
            (
                "cached_tokens_total",
                "counter",
                "Tokens of prompts that had been read for another text.",
                |m| &m.cached_tokens,
            ),
            (
                "generated_tokens_total",
                "counter",
                "Tokens that were generated.",
                |m| &m.generated_tokens,
            ),
            ("steps_total", "counter", "Steps of the engine.", |m| &m.steps),
        ];
        for (name, kind, help, cell) in cells {
            about(&mut out, name, kind, help);
            for model in models.clone() {
                let value = cell(&model.shared.metrics).load(Ordering::Relaxed);
                let _ = writeln!(out, "foretoken_{name}{{{}}} {value}", label(&model.name));
            }
        }
        about(
            &mut out,
            "first_token_seconds",
            "histogram",
            "From a request's headers to its first token.",
        );
        for model in models {
            let histogram = &model.shared.metrics.first_token;
            histogram.write(&mut out, "foretoken_first_token_seconds", &label(&model.name));
        }
        out
    }
}

fn about(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP foretoken_{name} {help}\n# TYPE foretoken_{name} {kind}");
}

fn label(model: &str) -> String {
    let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("model=\"{model}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_labels_cannot_be_broken_out_of() {
        let (histogram, mut out) = (Histogram::default(), String::new());
        for millis in [1, 5, 70, 1_000_000] {
            histogram.record(Duration::from_millis(millis));
        }
        histogram.write(&mut out, "x", "a=\"b\"");
        for line in [
            "x_bucket{a=\"b\",le=\"0.005\"} 2",
            "le=\"0.1\"} 3",
            "le=\"300\"} 3",
            "le=\"+Inf\"} 4",
            "x_sum{a=\"b\"} 1000.076",
        ] {
            assert!(out.contains(line), "{line}: {out}");
        }
        assert_eq!(label("a\"} 1\n"), "model=\"a\\\"} 1\\n\"");
    }
}
