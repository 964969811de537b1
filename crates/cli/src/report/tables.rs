//! The page's tables: figures of the runs, the values behind each chart, configs.

use super::html::{escape, figure};
use super::panel::Panel;
use crate::terminal::{duration, grouped, short};
use foretoken::model::human_bytes;
use foretoken::train::report::{Difference, RunReport, Summary, bands};
use std::fmt::Write;

/// Rows of the table behind a curve.
const ROWS: usize = 30;

/// A figure of a run by its name; none where the run has none.
type Figure = (&'static str, fn(&Summary) -> Option<String>);

const FIGURES: [Figure; 14] = [
    ("best validation loss, nats per token", |row| {
        Some(format!("{:.4}", row.best?.loss))
    }),
    ("its step", |row| Some(grouped(row.best?.step))),
    ("its bits per byte", |row| {
        Some(format!("{:.4}", row.best?.bits_per_byte?))
    }),
    ("entropy floor, nats per token", |row| {
        Some(format!("{:.4}", row.floor?))
    }),
    ("last validation loss", |row| Some(format!("{:.4}", row.val_loss?))),
    ("training loss, last twentieth", |row| {
        Some(format!("{:.4}", row.train_loss?))
    }),
    ("steps", |row| {
        Some(format!("{} of {}", grouped(row.step), grouped(row.steps)))
    }),
    ("tokens", |row| Some(grouped(row.tokens))),
    ("time", |row| row.time_s.map(duration)),
    ("tokens a second, median", |row| row.tokens_per_s.map(short)),
    ("share of the machine's limit, median", |row| {
        Some(format!("{:.0}%", 100.0 * row.share_of_limit?))
    }),
    ("most memory", |row| row.memory.map(human_bytes)),
    ("parameters", |row| row.parameters.map(grouped)),
    ("steps skipped", |row| (row.skipped > 0).then(|| grouped(row.skipped))),
];

/// Figures, one a row, a column a run.
pub(super) fn figures(rows: &[Summary]) -> String {
    let mut body = String::new();
    for (name, of) in FIGURES {
        let cells: Vec<Option<String>> = rows.iter().map(of).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let cells = cells
            .iter()
            .map(|cell| format!("<td>{}</td>", cell.as_deref().unwrap_or("–")));
        let cells: String = cells.collect();
        writeln!(body, r#"<tr><th scope="row">{name}</th>{cells}</tr>"#).expect("a string takes all");
    }
    let names = rows.iter().map(|row| row.name.as_str());
    table("Figures", "figures", &head("", names), &body)
}

/// Every field of the configs, those that differ marked and first.
pub(super) fn configs(runs: &[RunReport], differences: &[Difference]) -> String {
    let mut body = String::new();
    let sorted = [true, false].map(|differs| differences.iter().filter(move |one| one.differs == differs));
    for difference in sorted.into_iter().flatten() {
        let class = if difference.differs { r#" class="differs""# } else { "" };
        let cell =
            |value: &Option<String>| format!("<td><code>{}</code></td>", escape(value.as_deref().unwrap_or("–")));
        let cells: String = difference.values.iter().map(cell).collect();
        let field = escape(&difference.field);
        writeln!(body, r#"<tr{class}><th scope="row">{field}</th>{cells}</tr>"#).expect("a string takes all");
    }
    table(
        "run.toml",
        "configs",
        &head("", runs.iter().map(|run| run.name.as_str())),
        &body,
    )
}

/// The values behind a chart, a table a curve.
pub(super) fn values(panel: &Panel<'_>) -> String {
    let mut out = String::new();
    for series in &panel.series {
        let value = |row: &_| {
            (series.value)(row)
                .and_then(super::axes::finite)
                .map(|value| value / panel.divisor)
        };
        let buckets = bands(&series.run.metrics, ROWS, value);
        if buckets.is_empty() {
            continue;
        }
        let mut body = String::new();
        for bucket in &buckets {
            let time = bucket.time_s.map_or("–".into(), duration);
            let (step, tokens) = (grouped(bucket.step), grouped(bucket.tokens));
            let (mean, min, max) = (figure(bucket.mean), figure(bucket.min), figure(bucket.max));
            let of = grouped(bucket.n);
            writeln!(
                body,
                r#"<tr><th scope="row">{step}</th><td>{tokens}</td><td>{time}</td><td>{mean}</td><td>{min}</td><td>{max}</td><td>{of}</td></tr>"#
            )
            .expect("a string takes all");
        }
        let unit = if panel.unit.is_empty() {
            String::new()
        } else {
            format!(", {}", panel.unit)
        };
        let caption = format!("{}: {}{unit}", panel.title, series.name);
        let columns = ["tokens", "time", "mean", "lowest", "highest", "values"];
        out += &table(&caption, "values", &head("up to step", columns.into_iter()), &body);
    }
    out
}

fn head<'t>(corner: &str, names: impl Iterator<Item = &'t str>) -> String {
    let names: String = names
        .map(|name| format!(r#"<th scope="col">{}</th>"#, escape(name)))
        .collect();
    format!("<tr><td>{corner}</td>{names}</tr>")
}

fn table(caption: &str, class: &str, head: &str, body: &str) -> String {
    let caption = escape(caption);
    format!(
        r#"<div class="scroll" tabindex="0" role="group" aria-label="{caption}"><table class="{class}"><caption>{caption}</caption><thead>{head}</thead><tbody>{body}</tbody></table></div>"#
    )
}
