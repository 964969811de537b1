//! The walk, drawn: the stream runs down the left, branches leave it and come back, and beside each step stand its sizes.

use super::numbers::{bytes, flops, grouped, work};
use super::page::{Column, Ink, Need, Page, Row, Table};
use foretoken_model::sizes::{Report, WalkRow};
use foretoken_model::{Shortcut, Stored};
use std::io;

/// The stream, a branch beside it, and the bracket around the layers.
struct Rail {
    stream: &'static str,
    open: &'static str,
    close: &'static str,
    in_block: &'static str,
    leaves: &'static str,
    beside: &'static str,
    returns: &'static str,
}

const LINES: Rail = Rail {
    stream: "  │    ",
    open: "╭ │    ",
    close: "╰ │    ",
    in_block: "│ │    ",
    leaves: "│ ├─╮  ",
    beside: "│ │ │  ",
    returns: "│ ⊕─╯  ",
};

const ASCII: Rail = Rail {
    stream: "  |    ",
    open: ". |    ",
    close: "' |    ",
    in_block: "| |    ",
    leaves: "| +-.  ",
    beside: "| | |  ",
    returns: "| +-'  ",
};

pub(super) fn print(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let rail = if page.style.unicode { &LINES } else { &ASCII };
    page.heading(
        "THE WALK",
        "what becomes of a batch: shapes, bytes in f32, flops of the forward",
    )?;
    page.paragraph(
        "kept: stays until the backward has read it. working: memory that the next layer uses again. view: another \
         step's memory. never: nowhere as a whole, so its bytes are what it would have taken.",
        Ink::Faint,
    )?;
    writeln!(page.out)?;
    let column = |head, right, need| Column { head, right, need };
    let mut table = Table {
        columns: vec![
            column("", false, Need::Always),
            column("shape", false, Need::Always),
            column("", false, Need::Always),
            column("memory", true, Need::Always),
            column("flops", true, Need::Fits),
            column("stored", false, Need::Fits),
        ],
        rows: Vec::new(),
        note_width: 36,
    };
    let mut branch = false;
    let mut inside = false;
    for (i, row) in report.walk.iter().enumerate() {
        if let (Some(layers), false) = (row.step.layers, inside) {
            table.rows.push(boundary(
                rail.open,
                match layers {
                    1 => "1 layer:".into(),
                    n => format!("{} layers, each:", grouped(n as u64)),
                },
            ));
        }
        inside = row.step.layers.is_some();
        let (first, rest) = match (inside, row.step.shortcut, branch) {
            (false, ..) => (rail.stream, rail.stream),
            (_, Some(Shortcut::Leaves), _) => (rail.leaves, rail.beside),
            (_, Some(Shortcut::Returns), _) => (rail.returns, rail.in_block),
            (_, None, true) => (rail.beside, rail.beside),
            (_, None, false) => (rail.in_block, rail.in_block),
        };
        branch = match row.step.shortcut {
            Some(shortcut) => shortcut == Shortcut::Leaves,
            None => branch,
        };
        table.rows.push(step(row, first, rest));
        if inside && report.walk.get(i + 1).is_none_or(|next| next.step.layers.is_none()) {
            table.rows.push(boundary(rail.close, total(report)));
        }
    }
    page.table(&table)
}

fn boundary(rail: &str, text: String) -> Row {
    Row {
        first: rail.into(),
        rest: rail.into(),
        span: text,
        ..Row::default()
    }
}

/// What all layers keep and compute.
fn total(report: &Report) -> String {
    let inside = || report.walk.iter().filter(|row| row.step.layers.is_some());
    let layers = inside().next().map_or(1, |row| row.step.runs());
    let kept: u64 = report
        .training
        .activations
        .iter()
        .filter(|row| row.kept && inside_slot(report, row.slot))
        .map(|row| row.bytes)
        .sum();
    let forward: f64 = inside()
        .map(|row| row.step.runs() as f64 * row.step.forward_flops)
        .sum();
    format!(
        "all {}: {} kept, {} forward",
        grouped(layers as u64),
        bytes(kept),
        flops(forward)
    )
}

fn inside_slot(report: &Report, slot: &str) -> bool {
    report
        .walk
        .iter()
        .any(|row| row.step.layers.is_some() && row.step.slots.contains(&slot))
}

fn step(row: &WalkRow, first: &str, rest: &str) -> Row {
    let step = &row.step;
    let (stored, ink) = match step.stored {
        Stored::Kept => ("kept", Ink::Kept),
        Stored::Working => ("working", Ink::Plain),
        Stored::View => ("view", Ink::Faint),
        Stored::Never => ("never", Ink::Never),
    };
    let (letters, numbers) = shape(&step.shape);
    let products = if step.forward_flops > 0.0 {
        work(step.forward_flops)
    } else {
        String::new()
    };
    let mut note = vec![step.what.to_owned()];
    if row.parameters > 0 {
        note.push(format!("{} parameters", grouped(row.parameters)));
    }
    note.extend(step.tied.map(|name| format!("tied to {name}")));
    let mut note = note.join("; ");
    if !step.note.is_empty() {
        note += &format!(" ({})", step.note);
    }
    Row {
        first: first.into(),
        rest: rest.into(),
        cells: vec![
            (step.name.into(), Ink::Strong),
            (letters, Ink::Plain),
            (numbers, Ink::Plain),
            (bytes(row.bytes), Ink::Plain),
            (products, Ink::Plain),
            (stored.into(), ink),
        ],
        note,
        ..Row::default()
    }
}

/// A shape as letters and as numbers: `B T d` and `4 x 1,024 x 768`.
pub(super) fn shape(axes: &[(&str, usize)]) -> (String, String) {
    let letters: Vec<&str> = axes.iter().map(|(letter, _)| *letter).collect();
    let numbers: Vec<String> = axes.iter().map(|(_, n)| grouped(*n as u64)).collect();
    (letters.join(" "), numbers.join(" x "))
}
