//! Text that is safe in a page, and figures as people read them.

/// Text as HTML and as XML. What neither may hold becomes U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The language of a text as far as its letters tell; empty, which is unknown, for all others.
pub(super) fn language(text: &str) -> &'static str {
    let hangul = |c: char| matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}');
    if text.chars().any(hangul) { "ko" } else { "" }
}

/// A value in four digits: `2.134`, `0.0006`, `1.5e-5`.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".into(),
        s if (1e-3..1e6).contains(&s) => {
            let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
            let text = format!("{value:.decimals$}");
            if decimals > 3 {
                text.trim_end_matches('0').into()
            } else {
                text
            }
        }
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_text() {
        let hostile = "</script><img src=x onerror='alert(1)'>&\u{0}\u{1b}[31m\u{ffff}\n\"";
        assert_eq!(
            escape(hostile),
            "&lt;/script&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;\u{fffd}\u{fffd}[31m\u{fffd}\n&quot;"
        );
        assert_eq!((language("One day"), language("One 날")), ("", "ko"));
    }

    #[test]
    fn figures_have_four_digits() {
        let figures = [0.0, 2.13449, 12345.6, 0.0006, 0.01234567, 1.5e-5, -3.25, 2.5e9].map(figure);
        assert_eq!(
            figures,
            [
                "0", "2.134", "12346", "6.00e-4", "0.01235", "1.50e-5", "-3.250", "2.50e9"
            ]
        );
    }
}
