//! Memory, drawn.

use super::numbers::{bytes, grouped, percent};
use super::page::{Ink, Need, Page, Row, Table};
use super::{column, is_wide, row, times, value, walk};
use foretoken_model::sizes::{Item, Report};
use std::io;

/// Columns of a bar beside which words stand.
fn bar_width(page: &Page<'_>) -> usize {
    if is_wide(page) { 24 } else { 14 }
}

/// A sum of memory with bars.
fn items(page: &mut Page<'_>, items: &[Item], total: u64) -> io::Result<()> {
    let line = |name: &str, n: u64, bar: String, what: &str, ink| {
        let cells = [
            (name.into(), ink),
            (bytes(n), ink),
            (percent(n as f64 / total as f64), Ink::Plain),
            (bar, Ink::Bar),
            (grouped(n), Ink::Faint),
        ];
        row(cells, what)
    };
    let item = |item: &Item| {
        let bar = page.bar(item.bytes as f64 / total as f64, bar_width(page));
        line(item.name, item.bytes, bar, &item.what, Ink::Plain)
    };
    let mut rows: Vec<Row> = items.iter().map(item).collect();
    rows.push(line("in all", total, String::new(), "", Ink::Strong));
    let columns = vec![
        column("", false, Need::Always),
        column("", true, Need::Always),
        column("", true, Need::Fits),
        column("", false, Need::Fits),
        column("bytes", true, Need::Extra),
    ];
    page.table(&Table {
        columns,
        rows,
        note_width: 26,
    })
}

pub(super) fn training(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let (b, t) = (grouped(value(report, "B") as u64), grouped(value(report, "T") as u64));
    let micro = match report.options.micro_batches {
        1 => String::new(),
        n => format!(", {} micro-batches a step", grouped(n as u64)),
    };
    page.heading(
        "MEMORY TO TRAIN",
        &format!("B = {b}, T = {t}{micro}: {}", bytes(report.training.bytes)),
    )?;
    items(page, &report.training.items, report.training.bytes)?;
    writeln!(page.out)?;
    let arena: u64 = report.training.activations.iter().map(|row| row.bytes).sum();
    let rows = report.training.activations.iter().map(|slot| {
        let (letters, numbers) = walk::shape(&slot.shape);
        let stored = if slot.kept {
            ("kept".into(), Ink::Kept)
        } else {
            ("working".into(), Ink::Plain)
        };
        let cells = [
            (slot.slot.into(), Ink::Plain),
            (letters, Ink::Plain),
            (numbers, Ink::Plain),
            (times(slot.copies), Ink::Faint),
            (bytes(slot.bytes), Ink::Plain),
            stored,
            (page.bar(slot.bytes as f64 / arena as f64, bar_width(page)), Ink::Bar),
        ];
        row(cells, "")
    });
    let rows = rows.collect();
    let columns = vec![
        column("activation", false, Need::Always),
        column("shape", false, Need::Always),
        column("", false, Need::Always),
        column("", true, Need::Fits),
        column("memory", true, Need::Always),
        column("stored", false, Need::Fits),
        column("", false, Need::Fits),
    ];
    page.table(&Table {
        columns,
        rows,
        note_width: 0,
    })
}

pub(super) fn generation(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let generation = &report.generation;
    let sequences = match report.options.sequences {
        1 => "one sequence".into(),
        n => format!("{} sequences", grouped(n as u64)),
    };
    let [t, l, d] = ["T", "L", "d"].map(|letter| grouped(value(report, letter) as u64));
    page.heading(
        "MEMORY TO GENERATE",
        &format!("{sequences} of up to {t} tokens: {}", bytes(generation.bytes)),
    )?;
    items(page, &generation.items, generation.bytes)?;
    let a_token = bytes(generation.cache_a_token);
    let cache =
        format!("A token takes {a_token} of the cache: 2 x {l} x {d} numbers, a key and a value in every layer.");
    page.paragraph(&cache, Ink::Faint)
}
