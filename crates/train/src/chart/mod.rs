//! Pictures of a run: what they show ([`Losses`]), and how it is drawn as an SVG ([`loss_svg`]).
//!
//! The SVG is written by hand: the light plotting crate at hand, `kuva`, has no axis with two rows of labels and no
//! thinning that keeps extremes, so half of this would be needed all the same, in front of 95,000 lines.

mod axis;
mod curve;
mod svg;

pub use axis::{Axis, Scale, Tick};
pub use curve::{Curve, Point, Span};
pub use svg::loss_svg;

use crate::metrics::Metrics;

/// Steps from which the x axis is logarithmic. Loss falls about as a power of the steps: in a longer run the first
/// hundreds, where it falls most, would be a vertical line at the edge, and the rest would look flat.
const LOG_FROM: f64 = 5_000.0;

/// Losses above this many times the first are not given room unless one step in a hundred is there: a model that has
/// learnt nothing is at the first loss, and one spike must not flatten the rest.
const WORSE_THAN_NOTHING: f64 = 1.5;

/// Losses are cut to this size: no sum and no coordinate overflows, whatever a log holds.
const LARGEST: f64 = 1e9;

/// What a picture of losses shows, whatever draws it.
#[derive(Clone, Debug)]
pub struct Losses {
    /// Steps.
    pub x: Axis,
    /// Nats per token.
    pub y: Axis,
    /// Training losses, cut at the top of the y axis, with gaps where a loss was not finite.
    pub train: Curve,
    /// Validation losses, cut at the top of the y axis.
    pub val: Curve,
    /// The last validation loss.
    pub last_val: Option<f64>,
    /// The same in bits per byte of text.
    pub last_val_bits: Option<f64>,
    /// The lowest validation loss, and its step.
    pub best_val: Option<(f64, u64)>,
    /// The source's entropy in nats per token, where it is known.
    pub floor: Option<f64>,
    /// Steps without a finite training loss.
    pub lost: Marks,
    /// Steps with a loss above the top of the y axis.
    pub above: Marks,
}

/// Steps that deserve a mark.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Their places on the x axis, 0 to 1; about one a column at most.
    pub at: Vec<f64>,
    /// How many steps there are in all.
    pub steps: u64,
}

impl Marks {
    fn push(&mut self, x: f64, columns: usize) {
        self.steps += 1;
        if self
            .at
            .last()
            .is_none_or(|last| (x - last).abs() * columns as f64 >= 1.0)
        {
            self.at.push(x);
        }
    }
}

impl Losses {
    /// Gathers the steps of a run, in order, into a picture of so many columns.
    pub fn new(metrics: &[Metrics], floor: Option<f64>, columns: usize) -> Self {
        let floor = floor.and_then(finite);
        let x = steps_axis(metrics);
        let y = loss_axis(metrics, floor);
        let mut losses = Self {
            x,
            y,
            train: Curve::new(columns),
            val: Curve::new(columns),
            last_val: None,
            last_val_bits: None,
            best_val: None,
            floor,
            lost: Marks::default(),
            above: Marks::default(),
        };
        for row in metrics {
            let at = x.place(row.step as f64);
            let (train, val) = (row.train_loss.and_then(finite), row.val_loss.and_then(finite));
            match train {
                Some(loss) if loss > y.hi => losses.train.push_cut(at, y.hi),
                Some(loss) => losses.train.push(at, loss),
                None => {
                    losses.train.push_gap(at);
                    losses.lost.push(at, columns);
                }
            }
            if let Some(loss) = val {
                losses.val.push(at, loss.min(y.hi));
                (losses.last_val, losses.last_val_bits) = (val, row.val_bits_per_byte.and_then(finite));
                if losses.best_val.is_none_or(|(best, _)| loss < best) {
                    losses.best_val = Some((loss, row.step));
                }
            }
            if [train, val].into_iter().flatten().any(|loss| loss > y.hi) {
                losses.above.push(at, columns);
            }
        }
        losses
    }
}

fn finite(loss: f64) -> Option<f64> {
    loss.is_finite().then_some(loss.clamp(-LARGEST, LARGEST))
}

fn steps_axis(metrics: &[Metrics]) -> Axis {
    let steps = || metrics.iter().map(|row| row.step);
    let first = steps().min().unwrap_or(0) as f64;
    let hi = (steps().max().unwrap_or(0) as f64).max(1.0);
    if hi >= LOG_FROM && first <= hi / 100.0 {
        return Axis {
            lo: first.max(1.0),
            hi,
            scale: Scale::LogSteps,
        };
    }
    // From 0 unless that wastes more than a twentieth.
    let lo = if first * 20.0 <= hi {
        0.0
    } else {
        first.min(hi - 1.0).min(hi * (1.0 - 1e-9))
    };
    Axis {
        lo,
        hi,
        scale: Scale::Steps,
    }
}

fn loss_axis(metrics: &[Metrics], floor: Option<f64>) -> Axis {
    let of_row = |row: &Metrics| [row.train_loss, row.val_loss].into_iter().flatten().filter_map(finite);
    let mut losses: Vec<f64> = metrics.iter().flat_map(of_row).collect();
    let scale = Scale::Linear;
    let Some(&first) = losses.first() else {
        let middle = floor.unwrap_or(1.0);
        return Axis {
            lo: middle - 1.0,
            hi: middle + 1.0,
            scale,
        };
    };
    let low = losses.iter().copied().chain(floor).fold(first, f64::min);
    let mut high = losses.iter().copied().chain(floor).fold(first, f64::max);
    let enough = WORSE_THAN_NOTHING * first.abs();
    if high > enough {
        let rank = (losses.len() - 1) * 99 / 100;
        let (_, &mut common, _) = losses.select_nth_unstable_by(rank, f64::total_cmp);
        high = high.min(enough.max(common).max(floor.unwrap_or(common)));
    }
    let span = if high > low { high - low } else { 1.0 };
    // Room at both ends; down to 0 where that is near, for then lengths mean something too.
    let lo = if low >= 0.0 && low < 0.2 * span {
        0.0
    } else {
        low - 0.07 * span
    };
    Axis {
        lo,
        hi: high + 0.04 * span,
        scale,
    }
}
