//! The axes of the page's charts: what lies along x, how far it goes, and what of a curve has room.

use foretoken::train::Metrics;
use foretoken::train::chart::{Axis, Scale};
use foretoken::train::report::RunReport;

/// Values are cut to this size: no sum and no coordinate overflows, whatever a log holds.
const LARGEST: f64 = 1e12;
/// Steps from which a chart begins on a logarithmic x axis, as `loss.svg` does.
const LOG_FROM: u64 = 5_000;

/// What lies along x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Along {
    Step,
    Tokens,
    Time,
}

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    Linear,
    LogX,
    LogLog,
}

impl Along {
    pub(super) const ALL: [Self; 3] = [Self::Step, Self::Tokens, Self::Time];

    /// Part of the names of classes and controls.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Tokens => "tokens",
            Self::Time => "time",
        }
    }

    /// Where a step lies.
    pub(super) fn of(self, row: &Metrics) -> Option<f64> {
        let value = match self {
            Self::Step => row.step as f64,
            Self::Tokens => row.tokens as f64,
            Self::Time => row.time_s,
        };
        (value.is_finite() && value > 0.0).then_some(value.min(LARGEST))
    }

    /// What the axis counts up to `hi`, and how many of the log's units one of its own is.
    fn unit(self, hi: f64) -> (&'static str, f64) {
        match (self, hi) {
            (Self::Step, _) => ("steps", 1.0),
            (Self::Tokens, hi) if hi < 2e4 => ("tokens", 1.0),
            (Self::Tokens, hi) if hi < 2e6 => ("thousand tokens", 1e3),
            (Self::Tokens, hi) if hi < 2e9 => ("million tokens", 1e6),
            (Self::Tokens, _) => ("billion tokens", 1e9),
            (Self::Time, hi) if hi < 180.0 => ("seconds of training", 1.0),
            (Self::Time, hi) if hi < 3.0 * 3600.0 => ("minutes of training", 60.0),
            (Self::Time, hi) if hi < 3.0 * 86400.0 => ("hours of training", 3600.0),
            (Self::Time, _) => ("days of training", 86400.0),
        }
    }
}

impl Spread {
    pub(super) const ALL: [Self; 3] = [Self::Linear, Self::LogX, Self::LogLog];

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::LogX => "logx",
            Self::LogLog => "loglog",
        }
    }

    /// What a page begins with: loss falls about as a power of the steps, and in a long run the steps in which it falls most would
    /// be a line at the edge.
    pub(super) fn fitting(runs: &[RunReport]) -> Self {
        let last = runs
            .iter()
            .filter_map(|run| run.metrics.last())
            .map(|row| row.step)
            .max();
        if last >= Some(LOG_FROM) {
            Self::LogX
        } else {
            Self::Linear
        }
    }
}

/// The x axis that all charts share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Across {
    pub(super) along: Along,
    /// In units of its own.
    pub(super) axis: Axis,
    pub(super) unit: &'static str,
    pub(super) divisor: f64,
}

impl Across {
    /// Over the steps of all runs; none where no log has any.
    pub(super) fn new(runs: &[RunReport], along: Along, log: bool) -> Option<Self> {
        let values = || runs.iter().flat_map(|run| &run.metrics).filter_map(|row| along.of(row));
        let hi = values().reduce(f64::max)?;
        let (unit, divisor) = along.unit(hi);
        let hi = hi / divisor;
        let lo = values().fold(f64::INFINITY, f64::min) / divisor;
        let axis = match (log, along) {
            (true, _) => Axis {
                lo: lo.min(hi / 10.0).max(hi / 1e7),
                hi,
                scale: if along == Along::Step {
                    Scale::LogSteps
                } else {
                    Scale::Log
                },
            },
            (false, Along::Step) => Axis {
                lo: 0.0,
                hi,
                scale: Scale::Steps,
            },
            (false, _) => Axis {
                lo: 0.0,
                hi,
                scale: Scale::Linear,
            },
        };
        Some(Self {
            along,
            axis,
            unit,
            divisor,
        })
    }

    /// The place of a step, 0 to 1.
    pub(super) fn place(&self, row: &Metrics) -> Option<f64> {
        Some(self.axis.place(self.along.of(row)? / self.divisor))
    }
}

/// A value that can be drawn.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value.clamp(-LARGEST, LARGEST))
}

/// A y axis with room for the values, and for `levels`. What only a few steps are far above is not given room: `first` values
/// are, and three times what 99 of a hundred stay below.
pub(super) fn upright(mut values: Vec<f64>, first: f64, levels: &[f64], log: bool, zero: bool) -> Axis {
    if log {
        values.retain(|&value| value > 0.0);
    }
    let scale = if log { Scale::Log } else { Scale::Linear };
    let all = || values.iter().chain(levels).copied();
    let low = all().fold(f64::INFINITY, f64::min);
    let mut high = all().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return Axis {
            lo: 0.1,
            hi: 1.0,
            scale,
        };
    }
    if log {
        let low = low.max(high / 1e9);
        let room = if high > low { (high / low).powf(0.05) } else { 1.5 };
        return Axis {
            lo: low / room,
            hi: high * room,
            scale,
        };
    }
    if !values.is_empty() {
        let rank = (values.len() - 1) * 99 / 100;
        let (_, &mut common, _) = values.select_nth_unstable_by(rank, f64::total_cmp);
        let enough = (1.5 * first.abs()).max(3.0 * common.abs());
        let needed = levels.iter().copied().fold(enough, f64::max);
        high = if high > needed && needed > low { needed } else { high };
    }
    let span = if high > low {
        high - low
    } else {
        high.abs().max(1e-9) * 0.5
    };
    // Down to 0 where that is near, for then lengths mean something too.
    let lo = if low >= 0.0 && (zero || low < 0.2 * span) {
        0.0
    } else {
        low - 0.07 * span
    };
    let hi = high + 0.05 * (high - lo).max(span);
    Axis { lo, hi, scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_gets_no_room_and_a_beginning_does() {
        let mut values: Vec<f64> = (0..1000).map(|i| 2.0 + f64::from(i % 10) / 10.0).collect();
        values[0] = 9.0;
        values[500] = 1e6;
        let axis = upright(values.clone(), 9.0, &[1.5], false, false);
        assert!(axis.hi > 9.0 && axis.hi < 20.0 && axis.lo <= 1.5, "{axis:?}");
        let axis = upright(values, 9.0, &[], true, false);
        assert!(axis.hi > 1e6 && axis.lo > 1.0 && axis.lo < 2.0, "{axis:?}");
    }

    #[test]
    fn any_values_make_an_axis() {
        for values in [
            vec![],
            vec![0.0],
            vec![-3.0],
            vec![5.0, 5.0],
            vec![1e12, -1e12],
            vec![1e-300, 1e12],
        ] {
            for log in [false, true] {
                let axis = upright(values.clone(), 0.0, &[], log, false);
                assert!(axis.hi > axis.lo && axis.hi.is_finite(), "{values:?}: {axis:?}");
                assert!(!log || axis.lo > 0.0, "{values:?}: {axis:?}");
            }
        }
    }
}
