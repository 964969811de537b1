//! The sizes of a model, drawn for a terminal. The numbers are [`foretoken_model::sizes`]' alone.

mod memory;
mod numbers;
mod page;
mod walk;

pub(crate) use page::Style;

use foretoken_model::Part;
use foretoken_model::sizes::{Answer, Bound, Fit, Report, WalkRow};
use numbers::{bytes, count, flops, grouped, percent, work};
use page::{Column, Ink, Need, Page, Row, Table};
use std::io::{self, Write};

/// Draws a report, and what fits where that was asked, under the name of the model.
///
/// # Errors
/// Those of `out`.
pub(crate) fn print(
    name: &str,
    report: &Report,
    fit: Option<&Fit>,
    out: &mut dyn Write,
    style: Style,
) -> io::Result<()> {
    let mut page = Page { out, style };
    title(&mut page, name, report)?;
    walk::print(&mut page, report)?;
    parameters(&mut page, report)?;
    memory::training(&mut page, report)?;
    memory::generation(&mut page, report)?;
    products(&mut page, report)?;
    fit.map_or(Ok(()), |fit| fits(&mut page, report, fit))
}

/// Writes a report and what fits as one JSON object on one line; `fit` is null where it was not asked.
///
/// # Errors
/// Those of `out`.
pub(crate) fn print_json(name: &str, report: &Report, fit: Option<&Fit>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Sizes<'a> {
        name: &'a str,
        #[serde(flatten)]
        report: &'a Report,
        fit: Option<&'a Fit>,
    }
    serde_json::to_writer(&mut *out, &Sizes { name, report, fit })?;
    writeln!(out)
}

fn column(head: &'static str, right: bool, need: Need) -> Column {
    Column { head, right, need }
}

/// A row of a table that stands two columns in.
fn row(cells: impl IntoIterator<Item = (String, Ink)>, note: &str) -> Row {
    Row {
        first: "  ".into(),
        rest: "  ".into(),
        cells: cells.into_iter().collect(),
        note: note.into(),
        ..Row::default()
    }
}

/// Whether the terminal is wide enough to be generous.
fn is_wide(page: &Page<'_>) -> bool {
    page.style.width >= 110
}

fn bar_width(page: &Page<'_>) -> usize {
    if is_wide(page) { 40 } else { 24 }
}

fn times(copies: usize) -> String {
    if copies > 1 {
        format!("x {}", grouped(copies as u64))
    } else {
        String::new()
    }
}

/// What a letter stands for here.
fn value(report: &Report, letter: &str) -> usize {
    report
        .letters
        .iter()
        .find(|l| l.letter == letter)
        .map_or(0, |l| l.value)
}

fn title(page: &mut Page<'_>, name: &str, report: &Report) -> io::Result<()> {
    let parameters = report.parameters.count;
    page.heading(
        name,
        &format!("{} parameters ({})", grouped(parameters), count(parameters as f64)),
    )?;
    writeln!(page.out)?;
    // Down the columns, as a reader goes.
    let across = if is_wide(page) { 3 } else { 2 };
    let down = report.letters.len().div_ceil(across);
    let rows = (0..down).map(|i| {
        let letters = (0..across).filter_map(|j| Some((j, report.letters.get(j * down + i)?)));
        let cells = letters.flat_map(|(j, l)| {
            let space = if j > 0 { "   " } else { "" };
            [
                (format!("{space}{}", l.letter), Ink::Strong),
                (grouped(l.value as u64), Ink::Plain),
                (l.name.to_owned(), Ink::Faint),
            ]
        });
        row(cells, "")
    });
    let rows = rows.collect();
    let columns = (0..3 * across).map(|i| column("", i % 3 == 1, Need::Always)).collect();
    page.table(&Table {
        columns,
        rows,
        note_width: 0,
    })
}

pub(crate) fn part_name(part: Part) -> &'static str {
    match part {
        Part::TokenEmbedding => "token embedding",
        Part::PositionEmbedding => "position embedding",
        Part::Attention => "attention",
        Part::Mlp => "MLP",
        Part::Norm => "norms",
        Part::Head => "head",
    }
}

/// How many numbers training updates, where it is not all of the model's.
fn learns(report: &Report) -> String {
    match (report.learns, report.parameters.count) {
        (learns, count) if learns == count => String::new(),
        (learns, count) => format!(
            "; {} learn ({:.2}%)",
            grouped(learns),
            100.0 * learns as f64 / count as f64
        ),
    }
}

fn parameters(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let parameters = &report.parameters;
    page.heading(
        "PARAMETERS",
        &format!(
            "{}: {} in f32{}",
            grouped(parameters.count),
            bytes(parameters.bytes),
            learns(report)
        ),
    )?;
    let rows = parameters.parts.iter().map(|part| {
        let last = match part.tied {
            Some(name) => (format!("tied: uses {name}"), Ink::Faint),
            None => (page.bar(part.share, bar_width(page)), Ink::Bar),
        };
        let cells = [
            (part_name(part.part).into(), Ink::Plain),
            (grouped(part.count), Ink::Plain),
            (count(part.count as f64), Ink::Plain),
            (percent(part.share), Ink::Plain),
            last,
        ];
        row(cells, "")
    });
    let rows = rows.collect();
    let columns = vec![
        column("", false, Need::Always),
        column("", true, Need::Always),
        column("", true, Need::Fits),
        column("", true, Need::Fits),
        column("", false, Need::Fits),
    ];
    page.table(&Table {
        columns,
        rows,
        note_width: 0,
    })?;
    writeln!(page.out)?;
    let rows = parameters.tensors.iter().map(|tensor| {
        let shape: Vec<String> = tensor.shape.iter().map(|&n| grouped(n as u64)).collect();
        let cells = [
            (tensor.name.clone(), Ink::Plain),
            (tensor.letters.into(), Ink::Plain),
            (shape.join(" x "), Ink::Plain),
            (times(tensor.copies), Ink::Faint),
            (grouped(tensor.count), Ink::Plain),
            (if tensor.decay { "yes" } else { "no" }.into(), Ink::Faint),
        ];
        row(cells, "")
    });
    let rows = rows.collect();
    let columns = vec![
        column("tensor", false, Need::Always),
        column("shape", false, Need::Fits),
        column("", false, Need::Always),
        column("", true, Need::Fits),
        column("parameters", true, Need::Always),
        column("weight decay", false, Need::Fits),
    ];
    page.table(&Table {
        columns,
        rows,
        note_width: 0,
    })
}

fn products(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let f = &report.flops;
    let forward = f.token_forward_weights + f.token_forward_attention;
    page.heading(
        "FLOPS",
        &format!(
            "a token: {} forward, {} to train",
            flops(forward),
            flops(f.token_training)
        ),
    )?;
    let line = |name: &str, forward, training, ink, note: &str| {
        row(
            [(name.into(), ink), (flops(forward), ink), (flops(training), ink)],
            note,
        )
    };
    let weights = format!("2 N and 6 N, N = {}", grouped(f.weights));
    let attention = "2 L d (T + 1) and 7 L d (T + 1)";
    let steps = f.step_training / f.token_training;
    let mut rows = vec![
        line(
            "weights",
            f.token_forward_weights,
            f.token_training_weights,
            Ink::Plain,
            &weights,
        ),
        line(
            "attention",
            f.token_forward_attention,
            f.token_training_attention,
            Ink::Plain,
            attention,
        ),
        line("a token", forward, f.token_training, Ink::Strong, ""),
        line("a step", steps * forward, f.step_training, Ink::Plain, &tokens(report)),
    ];
    if f.step_optimizer > 0.0 {
        let note = format!(
            "Newton-Schulz: below 10% of a step from {} tokens on",
            grouped(f.muon_pays_from() as u64)
        );
        let cells = [("+ Muon", Ink::Plain), ("", Ink::Plain)].map(|(text, ink)| (text.to_owned(), ink));
        rows.push(row(
            cells.into_iter().chain([(flops(f.step_optimizer), Ink::Plain)]),
            &note,
        ));
    }
    let columns = vec![
        column("", false, Need::Always),
        column("forward", true, Need::Always),
        column("training", true, Need::Always),
    ];
    page.table(&Table {
        columns,
        rows,
        note_width: 30,
    })?;
    writeln!(page.out)?;
    let of = |row: &WalkRow| row.step.runs() as f64 * row.step.forward_flops;
    let all: f64 = report.walk.iter().map(of).sum();
    let rows = report.walk.iter().filter(|row| of(row) > 0.0).map(|product| {
        let step = &product.step;
        let cells = [
            (format!("{}: {}", part_name(step.part), step.name), Ink::Plain),
            (work(step.forward_flops), Ink::Plain),
            (times(step.runs()), Ink::Faint),
            (percent(of(product) / all), Ink::Plain),
            (page.bar(of(product) / all, bar_width(page)), Ink::Bar),
        ];
        row(cells, "")
    });
    let rows = rows.collect();
    let columns = vec![
        column("product", false, Need::Always),
        column("forward", true, Need::Always),
        column("", true, Need::Fits),
        column("", true, Need::Always),
        column("", false, Need::Fits),
    ];
    page.table(&Table {
        columns,
        rows,
        note_width: 0,
    })?;
    page.paragraph(
        &format!(
            "N are the weights that meet every token in a product, the head's too. Counted: {}.",
            f.convention
        ),
        Ink::Faint,
    )
}

fn tokens(report: &Report) -> String {
    let micro_batches = report.options.micro_batches as u64;
    let tokens = grouped((value(report, "B") * value(report, "T")) as u64 * micro_batches);
    match micro_batches {
        1 => format!("{tokens} tokens"),
        n => format!("{tokens} tokens in {} micro-batches", grouped(n)),
    }
}

fn fits(page: &mut Page<'_>, report: &Report, fit: &Fit) -> io::Result<()> {
    page.heading("WHAT FITS", &format!("into {}", bytes(fit.memory)))?;
    let positions = value(report, "n_positions");
    let mut rows = Vec::new();
    for (what, answers) in [("to train", &fit.training), ("to generate", &fit.generation)] {
        let mut line = |what: &str, given: String, letter, answer: &Answer, positions| {
            let (found, ink, note) = found(letter, answer, positions);
            rows.push(row(
                [(what.into(), Ink::Plain), (given, Ink::Plain), (found, ink)],
                &note,
            ));
        };
        line(
            what,
            format!("B = {}", grouped(answers.b as u64)),
            "T",
            &answers.longest,
            positions,
        );
        line(
            "",
            format!("T = {}", grouped(answers.t as u64)),
            "B",
            &answers.widest,
            usize::MAX,
        );
    }
    let columns = (0..3).map(|_| column("", false, Need::Always)).collect();
    page.table(&Table {
        columns,
        rows,
        note_width: 30,
    })
}

/// An answer in words; `positions` are those the model was drawn with.
fn found(letter: &str, answer: &Answer, positions: usize) -> (String, Ink, String) {
    let peak = bytes(answer.bytes);
    if answer.largest == 0 {
        return (
            "does not fit".into(),
            Ink::Never,
            format!("{letter} = 1 needs {peak} at least"),
        );
    }
    let note = match answer.bound {
        Bound::Memory if answer.largest > positions => format!("takes {peak}; past n_positions"),
        Bound::Memory => format!("takes {peak}"),
        Bound::Positions => format!("takes {peak}; all of n_positions"),
        Bound::Limit => format!("takes {peak}; as far as sizes go"),
    };
    (
        format!("{letter} up to {}", grouped(answer.largest as u64)),
        Ink::Strong,
        note,
    )
}

#[cfg(test)]
mod tests;
