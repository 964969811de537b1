//! A page of aligned columns: widths as a terminal shows them, bars, colours, and notes that wrap.

use std::io::{self, Write};
use textwrap::core::display_width;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether to send colours.
    pub(crate) color: bool,
    /// Whether lines and bars may be drawn with characters beyond ASCII.
    pub(crate) unicode: bool,
    /// Columns of the terminal.
    pub(crate) width: usize,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ink {
    #[default]
    Plain,
    Strong,
    Faint,
    Kept,
    Never,
    Bar,
}

impl Ink {
    fn style(self) -> anstyle::Style {
        use anstyle::AnsiColor::{Cyan, Green, Yellow};
        match self {
            Ink::Plain => anstyle::Style::new(),
            Ink::Strong => anstyle::Style::new().bold(),
            Ink::Faint => anstyle::Style::new().dimmed(),
            Ink::Kept => Green.on_default(),
            Ink::Never => Yellow.on_default(),
            Ink::Bar => Cyan.on_default(),
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) right: bool,
    pub(super) need: Need,
}

/// Where a column goes when there is no room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// It stays.
    Always,
    /// It goes when the table is too wide, the last one first.
    Fits,
    /// It goes already when the notes find no room beside the table.
    Extra,
}

/// A row: what hangs on the left of its lines, cells, and a note.
#[derive(Default)]
pub(super) struct Row {
    /// Left of the first line.
    pub(super) first: String,
    /// Left of the lines that follow.
    pub(super) rest: String,
    pub(super) cells: Vec<(String, Ink)>,
    /// Words instead of cells, over all columns.
    pub(super) span: String,
    pub(super) note: String,
}

/// A table.
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// Columns of the terminal that notes need to stand beside the table; they go below each row where there are fewer.
    pub(super) note_width: usize,
}

/// Spaces between two columns.
const GAP: usize = 2;

/// Where the page goes.
pub(super) struct Page<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) style: Style,
}

impl Page<'_> {
    fn paint(&self, text: &str, ink: Ink) -> String {
        match self.style.color && ink != Ink::Plain && !text.trim().is_empty() {
            true => format!("{0}{text}{0:#}", ink.style()),
            false => text.to_owned(),
        }
    }

    /// A heading: bold words, and what follows them.
    pub(super) fn heading(&mut self, words: &str, rest: &str) -> io::Result<()> {
        writeln!(self.out)?;
        let mut lines = textwrap::wrap(rest, self.room(display_width(words) + GAP)).into_iter();
        let first = lines.next().unwrap_or_default();
        let gap = if first.is_empty() { "" } else { "  " };
        writeln!(self.out, "{}{gap}{first}", self.paint(words, Ink::Strong))?;
        for line in lines {
            writeln!(self.out, "{:1$}{line}", "", display_width(words) + GAP)?;
        }
        Ok(())
    }

    /// A paragraph.
    pub(super) fn paragraph(&mut self, text: &str, ink: Ink) -> io::Result<()> {
        for line in textwrap::wrap(text, self.room(GAP)) {
            writeln!(self.out, "  {}", self.paint(&line, ink))?;
        }
        Ok(())
    }

    /// Columns that are left after `used`; never so few that text is cut into letters.
    fn room(&self, used: usize) -> usize {
        self.style.width.saturating_sub(used).max(20)
    }

    /// A bar of `share` (0 to 1) of `width` columns, in eighths where the terminal has them.
    pub(super) fn bar(&self, share: f64, width: usize) -> String {
        let eighths = (share.clamp(0.0, 1.0) * 8.0 * width as f64).round() as usize;
        if !self.style.unicode {
            return "#".repeat(eighths.div_ceil(8).min(width));
        }
        let mut bar = "█".repeat(eighths / 8);
        bar += ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        // What is not nothing is seen.
        if bar.is_empty() && share > 0.0 {
            "▏".into()
        } else {
            bar
        }
    }

    /// Draws a table.
    pub(super) fn table(&mut self, table: &Table) -> io::Result<()> {
        let left = table
            .rows
            .iter()
            .map(|row| display_width(&row.first))
            .max()
            .unwrap_or(0);
        let (shown, used) = self.shown(table, left);
        let room = self.style.width.saturating_sub(used + GAP);
        let beside = room >= table.note_width;
        if table.columns.iter().any(|column| !column.head.is_empty()) {
            let heads = shown
                .iter()
                .map(|&(i, width)| (table.columns[i].head, Ink::Faint, table.columns[i].right, width));
            self.line(&" ".repeat(left), heads)?;
        }
        for row in &table.rows {
            if !row.span.is_empty() {
                writeln!(self.out, "{:left$}{}", row.first, self.paint(&row.span, Ink::Strong))?;
                continue;
            }
            let cells = shown.iter().filter_map(|&(i, width)| {
                row.cells
                    .get(i)
                    .map(|(text, ink)| (text.as_str(), *ink, table.columns[i].right, width))
            });
            let (at, room) = if beside {
                (used + GAP, room)
            } else {
                (left + GAP, self.room(left + GAP))
            };
            let mut notes = textwrap::wrap(&row.note, room)
                .into_iter()
                .filter(|line| !line.is_empty());
            let here = if beside {
                notes.next().unwrap_or_default()
            } else {
                Default::default()
            };
            self.line(
                &format!("{:left$}", row.first),
                cells.chain([(&*here, Ink::Faint, false, 0)]),
            )?;
            for note in notes {
                writeln!(self.out, "{:at$}{}", row.rest, self.paint(&note, Ink::Faint))?;
            }
        }
        Ok(())
    }

    /// The columns there is room for, with their widths, and what they take together.
    fn shown(&self, table: &Table, left: usize) -> (Vec<(usize, usize)>, usize) {
        let Table {
            columns,
            rows,
            note_width,
        } = table;
        let width = |i: usize| {
            let cells = rows
                .iter()
                .filter_map(|row| row.cells.get(i))
                .map(|(text, _)| display_width(text));
            cells.chain([display_width(columns[i].head)]).max().unwrap_or(0)
        };
        let mut shown: Vec<(usize, usize)> = (0..columns.len()).map(|i| (i, width(i))).collect();
        let used = |shown: &[(usize, usize)]| left + shown.iter().map(|(_, width)| width + GAP).sum::<usize>() - GAP;
        let note = if rows.iter().any(|row| !row.note.is_empty()) {
            GAP + note_width
        } else {
            0
        };
        for (need, extra) in [(Need::Extra, note), (Need::Fits, 0)] {
            while used(&shown) + extra > self.style.width {
                let Some(at) = shown.iter().rposition(|&(i, _)| columns[i].need >= need) else {
                    break;
                };
                shown.remove(at);
            }
        }
        let used = used(&shown);
        (shown, used)
    }

    fn line<'t>(&mut self, first: &str, cells: impl Iterator<Item = (&'t str, Ink, bool, usize)>) -> io::Result<()> {
        let mut line = first.to_owned();
        let mut end = line.trim_end().len();
        for (i, (text, ink, right, width)) in cells.enumerate() {
            let pad = " ".repeat(width.saturating_sub(display_width(text)));
            let (before, after) = if right { (&*pad, "") } else { ("", &*pad) };
            line += if i > 0 { "  " } else { "" };
            line += before;
            line += &self.paint(text, ink);
            if !text.is_empty() {
                end = line.len();
            }
            line += after;
        }
        line.truncate(end);
        writeln!(self.out, "{line}")
    }
}
