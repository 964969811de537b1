//! Numbers as people read them.

pub(super) use crate::terminal::grouped;

/// Bytes in powers of 1024, three digits: `1.41 GiB`.
pub(super) fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A count in powers of 1000 with the field's letters: `124 M`, `175 B`.
pub(super) fn count(n: f64) -> String {
    scaled(n, 1000.0, &["", "K", "M", "B", "T"]).trim_end().to_owned()
}

/// Flops in powers of 1000, for a column that says what they are: `3.31 T`.
pub(super) fn work(n: f64) -> String {
    let flops = flops(n);
    flops
        .strip_suffix("flop")
        .map(|n| n.trim_end().to_owned())
        .unwrap_or(flops)
}

/// Flops in powers of 1000: `3.31 Tflop`.
pub(super) fn flops(n: f64) -> String {
    scaled(
        n,
        1000.0,
        &["flop", "kflop", "Mflop", "Gflop", "Tflop", "Pflop", "Eflop", "Zflop"],
    )
}

/// Three digits, and no more than there are: 999.6 is the next unit's 1.00, and a whole number below it has no point.
fn scaled(n: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (n, 0);
    while value >= step - 0.5 && unit + 1 < units.len() {
        (value, unit) = (value / step, unit + 1);
    }
    let digits = match value {
        _ if unit == 0 && value.fract() == 0.0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

/// A share as a percentage: one digit after the point, and never `0.0%` of something.
pub(super) fn percent(share: f64) -> String {
    match share {
        0.0 => "0%".into(),
        ..0.0005 => "<0.1%".into(),
        _ => format!("{:.1}%", 100.0 * share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (124_439_808, "124,439,808")];
        for (n, want) in cases {
            assert_eq!(grouped(n), want);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn units_keep_three_digits_at_their_borders() {
        for (n, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_235, "10.0 KiB"),
            (1_048_575, "1.00 MiB"),
            (201_326_592, "192 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(n), want);
        }
        assert_eq!(count(124_439_808.0), "124 M");
        assert_eq!(count(174_591_793_152.0), "175 B");
        assert_eq!(count(512.0), "512");
        assert_eq!(flops(3.306e12), "3.31 Tflop");
        assert_eq!(flops(999.9e6), "1.00 Gflop");
        assert_eq!((work(14.5e9).as_str(), work(7.0).as_str()), ("14.5 G", "7"));
        assert_eq!(
            (percent(0.0).as_str(), percent(1e-6).as_str(), percent(0.455).as_str()),
            ("0%", "<0.1%", "45.5%")
        );
    }
}
