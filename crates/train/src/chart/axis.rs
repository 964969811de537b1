//! An axis: what it spans, where a value lies on it, which values are worth a label.

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Any numbers, evenly.
    Linear,
    /// Steps, evenly.
    Steps,
    /// Steps, every factor of ten as wide as the next.
    LogSteps,
    /// Any numbers above 0, every factor as wide as the next.
    Log,
}

/// One axis of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Its first value; above 0 on a log scale.
    pub lo: f64,
    /// Its last value; above `lo`.
    pub hi: f64,
    /// What it counts.
    pub scale: Scale,
}

/// A labelled value.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Where.
    pub value: f64,
    /// How it is written.
    pub label: String,
}

impl Axis {
    /// Where a value lies: 0 at `lo`, 1 at `hi`; values outside lie at the nearer end.
    pub fn place(&self, value: f64) -> f64 {
        let at = match self.scale {
            Scale::Linear | Scale::Steps => (value - self.lo) / (self.hi - self.lo),
            Scale::LogSteps | Scale::Log => (value.max(self.lo) / self.lo).ln() / (self.hi / self.lo).ln(),
        };
        at.clamp(0.0, 1.0)
    }

    /// About `count` round values in the span, with their labels.
    pub fn ticks(&self, count: usize) -> Vec<Tick> {
        let tick = |value, label| Tick { value, label };
        if self.scale == Scale::Log && self.decades().count() < 2 {
            return self.ticks_within_a_decade(count);
        }
        if self.is_log() {
            let decades: Vec<f64> = self.decades().collect();
            // Every second or third decade where all do not fit; the last ones matter most.
            let stride = decades.len().div_ceil(count.max(1)).max(1);
            let mut ticks: Vec<Tick> = decades
                .iter()
                .rev()
                .step_by(stride)
                .map(|&v| tick(v, number(v)))
                .collect();
            ticks.reverse();
            return ticks;
        }
        let whole = self.scale == Scale::Steps;
        let mut step = round_step((self.hi - self.lo) / count.max(1) as f64);
        if whole {
            step = step.max(1.0);
        }
        // The sliver keeps a tick that rounding moved just past the end.
        let sliver = 1e-9;
        let first = (self.lo / step - sliver).ceil();
        let last = (self.hi / step + sliver).floor();
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let mut ticks = Vec::new();
        let mut i = first;
        while i <= last && ticks.len() <= 4 * count {
            // `+ 0.0` turns -0 into 0.
            let value = i * step + 0.0;
            ticks.push(tick(
                value,
                if whole {
                    grouped(value as u64)
                } else {
                    format!("{value:.decimals$}")
                },
            ));
            i += 1.0;
        }
        ticks
    }

    /// The unlabelled values between the decades of a log scale, 2 to 9 of each; none elsewhere.
    pub fn minor_ticks(&self) -> Vec<f64> {
        if !self.is_log() {
            return Vec::new();
        }
        let below = self.decades().next().unwrap_or(self.hi) / 10.0;
        std::iter::once(below)
            .chain(self.decades())
            .flat_map(|decade| (2..10).map(move |digit| decade * f64::from(digit)))
            .filter(|value| (self.lo..=self.hi).contains(value))
            .collect()
    }

    fn is_log(&self) -> bool {
        matches!(self.scale, Scale::LogSteps | Scale::Log)
    }

    /// Those of 1, 2 and 5 times a power of ten, or round values evenly where even those are too far apart.
    fn ticks_within_a_decade(&self, count: usize) -> Vec<Tick> {
        let first = self.lo.log10().floor() as i32;
        let powers = (first..first + 3).map(|power| 10f64.powi(power));
        let values = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * power));
        let inside: Vec<f64> = values.filter(|value| (self.lo..=self.hi).contains(value)).collect();
        if inside.len() < 3 {
            let scale = Scale::Linear;
            return Self { scale, ..*self }.ticks(count);
        }
        let tick = |value| Tick {
            value,
            label: number(value),
        };
        inside.into_iter().map(tick).collect()
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        let powers = if self.scale == Scale::Log { -30..31 } else { 0..20 };
        powers
            .map(|power| 10f64.powi(power))
            .filter(|value| (self.lo..=self.hi).contains(value))
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    let unit = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|digit| digit * unit)
        .into_iter()
        .find(|&step| step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * unit)
}

/// A count in full: `1,234,567`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A value of one digit on a log axis: `0.05`, `1`, `20k`; `1e-5` where there would be many noughts.
fn number(value: f64) -> String {
    match value {
        v if v >= 999.5 => short(v),
        v if v >= 0.999e-3 => format!("{}", (v * 1e6).round() / 1e6),
        v => format!("{v:.0e}"),
    }
}

/// A count in at most three digits and a unit: `819k`, `1.64M`, `10B`.
pub(super) fn short(count: f64) -> String {
    let mut value = count;
    for unit in ["", "k", "M", "B", "T"] {
        // What rounds to four digits belongs to the next unit.
        if value < 999.5 || unit == "T" {
            let decimals = match value {
                _ if unit.is_empty() => 0,
                v if v < 9.995 => 2,
                v if v < 99.95 => 1,
                _ => 0,
            };
            let text = format!("{value:.decimals$}");
            let text = if decimals > 0 {
                text.trim_end_matches('0').trim_end_matches('.')
            } else {
                &text
            };
            return format!("{text}{unit}");
        }
        value /= 1000.0;
    }
    unreachable!("the last unit takes all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(lo: f64, hi: f64, scale: Scale, count: usize) -> Vec<String> {
        Axis { lo, hi, scale }
            .ticks(count)
            .into_iter()
            .map(|tick| tick.label)
            .collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            labels(0.0, 1000.0, Scale::Steps, 5),
            ["0", "200", "400", "600", "800", "1,000"]
        );
        assert_eq!(labels(1.0, 3.0, Scale::Steps, 6), ["1", "2", "3"]);
        assert_eq!(labels(1.93, 2.21, Scale::Linear, 4), ["2.0", "2.1", "2.2"]);
        assert_eq!(labels(-0.1, 0.1, Scale::Linear, 2), ["-0.1", "0.0", "0.1"]);
        assert_eq!(
            labels(1.0, 1e5, Scale::LogSteps, 6),
            ["1", "10", "100", "1k", "10k", "100k"]
        );
        assert_eq!(labels(1.0, 1e6, Scale::LogSteps, 4), ["1", "100", "10k", "1M"]);
    }

    #[test]
    fn ticks_of_any_numbers_on_a_log_scale() {
        assert_eq!(labels(1e-5, 2e-3, Scale::Log, 6), ["1e-5", "1e-4", "0.001"]);
        assert_eq!(labels(1.5, 12.0, Scale::Log, 6), ["2", "5", "10"]);
        assert_eq!(labels(0.04, 0.3, Scale::Log, 6), ["0.05", "0.1", "0.2"]);
        assert_eq!(labels(2.1, 2.9, Scale::Log, 4), ["2.2", "2.4", "2.6", "2.8"]);
        assert_eq!(labels(5e2, 5e6, Scale::Log, 6), ["1k", "10k", "100k", "1M"]);
    }

    #[test]
    fn ticks_are_few_at_any_span() {
        for (lo, hi) in [(0.0, 1e-12), (1e9, 1e9 + 1.0), (-1e9, 1e9), (0.0, 1e19)] {
            for scale in [Scale::Linear, Scale::Steps] {
                assert!(Axis { lo, hi, scale }.ticks(6).len() <= 24, "{lo} to {hi}");
            }
        }
    }

    #[test]
    fn minor_ticks_lie_between() {
        let axis = Axis {
            lo: 3.0,
            hi: 20.0,
            scale: Scale::LogSteps,
        };
        assert_eq!(axis.minor_ticks(), [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 20.0]);
        let even = Axis {
            scale: Scale::Steps,
            ..axis
        };
        assert!(even.minor_ticks().is_empty());
    }

    #[test]
    fn places() {
        let axis = Axis {
            lo: 1.0,
            hi: 100.0,
            scale: Scale::LogSteps,
        };
        assert_eq!(
            (axis.place(0.0), axis.place(1.0), axis.place(100.0), axis.place(1e9)),
            (0.0, 0.0, 1.0, 1.0)
        );
        assert!((axis.place(10.0) - 0.5).abs() < 1e-12);
        assert_eq!(
            Axis {
                scale: Scale::Linear,
                ..axis
            }
            .place(50.5),
            0.5
        );
    }

    #[test]
    fn counts() {
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        let shorts = [
            0.0,
            999.0,
            1000.0,
            1640.0,
            16_384.0,
            819_200.0,
            999_999.0,
            2_048_000_000.0,
            1e16,
        ]
        .map(short);
        assert_eq!(
            shorts,
            ["0", "999", "1k", "1.64k", "16.4k", "819k", "1M", "2.05B", "10000T"]
        );
    }
}
