//! What the terminal can do.

use anstyle::{AnsiColor, Style};
use std::io::{IsTerminal, Write};

/// Whether colour is wanted on a stream: a terminal that is not dumb, and no NO_COLOR.
fn color(is_terminal: bool) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    is_terminal && !forbidden && !dumb
}

/// Whether standard output takes colour.
pub(crate) fn stdout_color() -> bool {
    color(std::io::stdout().is_terminal())
}

/// Whether standard error takes colour.
pub(crate) fn stderr_color() -> bool {
    color(std::io::stderr().is_terminal())
}

/// A line on standard error. Nobody may be there to read it, which is no reason to stop.
pub(crate) fn say_error(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Columns of the terminal; 80 in a pipe.
pub(crate) fn width() -> usize {
    textwrap::termwidth().clamp(40, 140)
}

/// Text in a style where colour is wanted.
pub(crate) fn paint(text: &str, style: Style, color: bool) -> String {
    if color {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// The label of an error on standard error.
pub(crate) fn paint_error(label: &str) -> String {
    paint(label, AnsiColor::Red.on_default().bold(), stderr_color())
}

/// The label of a warning on standard error.
pub(crate) fn paint_warning(label: &str) -> String {
    paint(label, AnsiColor::Yellow.on_default().bold(), stderr_color())
}

/// What is said beside what matters.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What matters.
pub(crate) const STRONG: Style = Style::new().bold();

/// A whole number with commas.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration as people read it.
pub(crate) fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{}:{:02} min", s / 60, s % 60),
        _ => format!("{}:{:02} h", s / 3600, s % 3600 / 60),
    }
}

/// A count with a unit of thousands: `24.3k`.
pub(crate) fn short(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{:.1}G", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (grouped(0), grouped(999), grouped(1000), grouped(124_439_808)),
            ("0".into(), "999".into(), "1,000".into(), "124,439,808".into())
        );
        assert_eq!(
            (duration(7.2), duration(75.0), duration(3700.0)),
            ("7 s".into(), "1:15 min".into(), "1:01 h".into())
        );
        assert_eq!(
            (short(812.0), short(24_310.0), short(2.5e6)),
            ("812".into(), "24.3k".into(), "2.5M".into())
        );
    }
}
