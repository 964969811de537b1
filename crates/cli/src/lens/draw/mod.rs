//! Views in a terminal: colour where there is colour, numbers without it.

mod attention;
mod stream;
mod text;
mod training;
mod why;

pub(super) use attention::{attention, head, kind};
pub(super) use stream::{next, stream, stream_columns};
pub(super) use text::{MEAN_LENGTH, embedding, shape, shape_rows, tokens};
pub(super) use training::{change_rows, difference, history, neuron_rows, neurons, neurons_what};
pub(super) use why::why;

use super::color::magnitude;
use super::table::{Cell, cut, left, table};
use crate::terminal::{FAINT, STRONG, paint, stdout_color, width};
use foretoken::look::Piece;

/// Where a view is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    color: bool,
    width: usize,
}

impl Page {
    pub(super) fn of_terminal() -> Self {
        Self {
            color: stdout_color(),
            width: width(),
        }
    }

    fn head(&self, name: &str, what: &str) -> String {
        let what = paint(what, FAINT, self.color);
        format!("{}  {what}\n", paint(name, STRONG, self.color))
    }

    fn rows(&self, rows: &[Vec<Cell>]) -> String {
        table(rows, "  ", self.color)
    }
}

/// The row of a table's heads.
fn names(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|&name| left(name)).collect()
}

fn percent(part: f64) -> String {
    match part {
        part if part >= 0.0995 => format!("{:.0}%", 100.0 * part),
        part if part >= 0.00095 => format!("{:.1}%", 100.0 * part),
        0.0 => "0".into(),
        part => format!("{:.0e}", part),
    }
}

/// A small map: two cells a character where there is colour, shades without it.
fn small(cells: &[f32], side: usize, page: Page) -> Vec<String> {
    const SHADES: [char; 6] = [' ', '·', '░', '▒', '▓', '█'];
    let at = |i: usize, j: usize| if i < side { cells[i * side + j] } else { 0.0 };
    (0..side.div_ceil(2))
        .map(|i| {
            let pair = |j: usize| (at(2 * i, j), at(2 * i + 1, j));
            (0..side)
                .map(|j| match (page.color, pair(j)) {
                    (true, (top, below)) => {
                        let ([r, g, b], [tr, tg, tb]) = (magnitude(below.into()), magnitude(top.into()));
                        format!("\u{1b}[48;2;{r};{g};{b}m\u{1b}[38;2;{tr};{tg};{tb}m▀\u{1b}[0m")
                    }
                    (false, (top, below)) => {
                        let shade = (f64::from(top.max(below)) * 5.0).ceil().clamp(0.0, 5.0);
                        SHADES[shade as usize].to_string()
                    }
                })
                .collect()
        })
        .collect()
}

/// What a column or row is called where there is little room.
pub(super) fn short_label(piece: &Piece) -> String {
    cut(&piece.label, 12)
}
