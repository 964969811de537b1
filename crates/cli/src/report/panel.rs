//! What the page's charts show: which value of a step, in which unit, with which lines across.

use foretoken::train::Metrics;
use foretoken::train::report::RunReport;

/// What a curve is of a step.
pub(super) type Value = fn(&Metrics) -> Option<f64>;

/// Colours in `style.css`.
pub(super) const COLORS: usize = 8;

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A band from the lowest to the highest value, and a smooth line.
    Smooth,
    /// The values as they are.
    Exact,
    /// The values as they are, a point each; the lowest is a ring.
    Points,
}

/// A curve.
pub(super) struct Series<'a> {
    pub(super) run: &'a RunReport,
    /// Index of the run.
    pub(super) of: usize,
    pub(super) color: usize,
    pub(super) name: String,
    pub(super) value: Value,
    pub(super) kind: Kind,
}

/// A line across.
pub(super) struct Level {
    /// Runs whose line it is.
    pub(super) of: Vec<usize>,
    pub(super) value: f64,
    pub(super) label: String,
}

/// A chart.
pub(super) struct Panel<'a> {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What its y axis counts.
    pub(super) unit: &'static str,
    /// How many of the log's units one of those is.
    pub(super) divisor: f64,
    /// Whether a logarithmic y axis makes sense.
    pub(super) log: bool,
    /// Whether the y axis begins at 0.
    pub(super) zero: bool,
    /// What a step without a value is, where it is a fault.
    pub(super) missing: Option<&'static str>,
    pub(super) series: Vec<Series<'a>>,
    pub(super) levels: Vec<Level>,
}

impl Series<'_> {
    /// The values that can be drawn, in the panel's unit.
    pub(super) fn values(&self, divisor: f64) -> impl Iterator<Item = (&Metrics, Option<f64>)> {
        let value = move |row| {
            (self.value)(row)
                .and_then(super::axes::finite)
                .map(|value| value / divisor)
        };
        self.run.metrics.iter().map(move |row| (row, value(row)))
    }
}

/// The charts of some runs: those for which there is a value.
pub(super) fn panels(runs: &[RunReport]) -> Vec<Panel<'_>> {
    let mut panels = vec![loss(runs), bits(runs), norm(runs), rate(runs)];
    panels.extend([speed(runs), share(runs), memory(runs)]);
    panels.retain_mut(|panel| {
        let (series, missing) = (&mut panel.series, panel.missing);
        series.retain(|series| {
            let has = series.values(1.0).any(|(_, value)| value.is_some());
            has || (missing.is_some() && series.kind != Kind::Points && !series.run.metrics.is_empty())
        });
        !series.is_empty()
    });
    panels
}

fn series(runs: &[RunReport], kind: Kind, value: Value) -> Vec<Series<'_>> {
    let mut all = Vec::new();
    for (of, run) in runs.iter().enumerate() {
        all.push(Series {
            run,
            of,
            color: of % COLORS,
            name: run.name.clone(),
            value,
            kind,
        });
    }
    all
}

fn panel<'a>(id: &'static str, title: &'static str, unit: &'static str, series: Vec<Series<'a>>) -> Panel<'a> {
    Panel {
        id,
        title,
        unit,
        divisor: 1.0,
        log: false,
        zero: true,
        missing: None,
        series,
        levels: Vec::new(),
    }
}

fn loss(runs: &[RunReport]) -> Panel<'_> {
    let (mut train, mut val) = (
        series(runs, Kind::Smooth, |row| row.train_loss),
        series(runs, Kind::Points, |row| row.val_loss),
    );
    for series in &mut train {
        series.name = part(runs, &series.name, "training");
    }
    for series in &mut val {
        // Of one run the two losses have a colour each; of several each run has one.
        series.color = if runs.len() == 1 { 1 } else { series.color };
        series.name = part(runs, &series.name, "validation");
    }
    train.extend(val);
    let floor = |run: &RunReport| run.floor();
    let label = |value: f64| format!("entropy floor {value:.3}: no model does better on average");
    Panel {
        log: true,
        zero: false,
        missing: Some("without a finite loss"),
        levels: levels(runs, floor, label),
        ..panel("loss", "Loss", "nats per token", train)
    }
}

/// The name of a curve where a run has two in a chart.
fn part(runs: &[RunReport], name: &str, part: &str) -> String {
    match runs.len() {
        1 => part.into(),
        _ => format!("{name}, {part}"),
    }
}

/// Losses of runs with different vocabularies can only be compared by the text's bytes.
fn bits(runs: &[RunReport]) -> Panel<'_> {
    let curves = if super::verdict::same_tokens(runs) {
        Vec::new()
    } else {
        series(runs, Kind::Points, |row| row.val_bits_per_byte)
    };
    let floor = |run: &RunReport| run.data.as_ref()?.floor_bits_per_byte.filter(|bits| bits.is_finite());
    Panel {
        log: true,
        zero: false,
        levels: levels(runs, floor, |value| format!("entropy floor {value:.3}")),
        ..panel("bits", "Validation loss by the byte", "bits per byte of text", curves)
    }
}

fn norm(runs: &[RunReport]) -> Panel<'_> {
    let clip = |run: &RunReport| {
        let norms = run.metrics.iter().filter_map(|row| row.grad_norm);
        let highest = norms.filter(|norm| norm.is_finite()).fold(0.0, f64::max);
        // A line far above all norms would press them flat.
        let clip = f64::from(run.config.grad_clip);
        (clip > 0.0 && clip < 3.0 * highest).then_some(clip)
    };
    Panel {
        log: true,
        zero: false,
        missing: Some("skipped: the gradient was not finite"),
        levels: levels(runs, clip, |value| format!("clipped above {}", value as f32)),
        ..panel(
            "norm",
            "Gradient norm",
            "before clipping",
            series(runs, Kind::Smooth, |row| row.grad_norm),
        )
    }
}

fn rate(runs: &[RunReport]) -> Panel<'_> {
    let curves = series(runs, Kind::Exact, |row| Some(row.lr));
    Panel {
        log: true,
        ..panel("lr", "Learning rate", "", curves)
    }
}

fn speed(runs: &[RunReport]) -> Panel<'_> {
    let curves = series(runs, Kind::Smooth, |row| Some(row.tokens_per_s));
    let (unit, divisor) = match highest(&curves) {
        high if high < 1e4 => ("tokens a second", 1.0),
        high if high < 1e7 => ("thousand tokens a second", 1e3),
        _ => ("million tokens a second", 1e6),
    };
    Panel {
        divisor,
        ..panel("speed", "Speed", unit, curves)
    }
}

fn share(runs: &[RunReport]) -> Panel<'_> {
    let curves = series(runs, Kind::Smooth, |row| row.share_of_limit);
    Panel {
        divisor: 0.01,
        ..panel(
            "share",
            "Share of the machine's limit",
            "% of its measured flops a second",
            curves,
        )
    }
}

fn memory(runs: &[RunReport]) -> Panel<'_> {
    let curves = series(runs, Kind::Smooth, |row| row.memory.map(|bytes| bytes as f64));
    let (unit, divisor) = match highest(&curves) {
        high if high < 2.0 * f64::from(1 << 30) => ("MiB resident", f64::from(1 << 20)),
        _ => ("GiB resident", f64::from(1 << 30)),
    };
    Panel {
        divisor,
        ..panel("memory", "Memory", unit, curves)
    }
}

fn highest(series: &[Series<'_>]) -> f64 {
    let values = series.iter().flat_map(|series| series.values(1.0));
    values.filter_map(|(_, value)| value).fold(0.0, f64::max)
}

/// A line for each value that some runs have.
fn levels(runs: &[RunReport], of: impl Fn(&RunReport) -> Option<f64>, label: impl Fn(f64) -> String) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for (i, value) in runs.iter().map(of).enumerate() {
        let Some(value) = value.filter(|value| value.abs() < 1e12) else {
            continue;
        };
        match levels.iter_mut().find(|level| level.value == value) {
            Some(level) => level.of.push(i),
            None => levels.push(Level {
                of: vec![i],
                value,
                label: label(value),
            }),
        }
    }
    levels
}
