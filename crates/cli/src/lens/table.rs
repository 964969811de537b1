//! Columns that line up, whatever the script.

use super::color::{Rgb, ink};
use textwrap::core::display_width;

/// A piece of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) right: bool,
    /// Drawn behind the text where there is colour.
    pub(super) ground: Option<Rgb>,
}

/// Text from the left.
pub(super) fn left(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        ..Cell::default()
    }
}

/// A number, from the right.
pub(super) fn right(text: impl Into<String>) -> Cell {
    Cell {
        right: true,
        ..left(text)
    }
}

/// Text on a colour.
pub(super) fn on(ground: Rgb, text: impl Into<String>) -> Cell {
    Cell {
        ground: Some(ground),
        ..left(text)
    }
}

/// Rows below each other, each column as wide as its widest cell, `gap` between them.
pub(super) fn table(rows: &[Vec<Cell>], gap: &str, color: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| display_width(&cell.text))
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width - display_width(&cell.text));
            let last = i + 1 == row.len();
            let text = match (cell.right, last && cell.ground.is_none()) {
                (true, _) => format!("{space}{}", cell.text),
                (false, true) => cell.text.clone(),
                (false, false) => format!("{}{space}", cell.text),
            };
            line += &match cell.ground {
                Some(ground) if color => painted(&text, ground),
                _ => text,
            };
            if !last {
                line += gap;
            }
        }
        out += line.trim_end_matches(' ');
        out.push('\n');
    }
    out
}

/// Text on a colour, in an ink that is read on it.
pub(super) fn painted(text: &str, ground: Rgb) -> String {
    let ([r, g, b], [ir, ig, ib]) = (ground, ink(ground));
    format!("\u{1b}[48;2;{r};{g};{b}m\u{1b}[38;2;{ir};{ig};{ib}m{text}\u{1b}[0m")
}

/// No wider than `width`, with … where something is left away.
pub(super) fn cut(text: &str, width: usize) -> String {
    if display_width(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if display_width(&out) + display_width(&c.to_string()) + 1 > width {
            break;
        }
        out.push(c);
    }
    out + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangul_is_two_columns_wide() {
        let rows = [vec![left("안녕"), right("1")], vec![left("ab"), right("23")]];
        assert_eq!(table(&rows, " ", false), "안녕  1\nab   23\n");
        assert_eq!(cut("안녕하세요", 7), "안녕하…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
