//! What the model would say, step by step, and next.

use super::{Page, names, percent};
use crate::lens::color::magnitude;
use crate::lens::table::{cut, left, on, right, table};
use crate::terminal::{FAINT, grouped, paint, width};
use foretoken::look::{Next, Stream};
use textwrap::core::display_width;

/// Columns of a reading, with the space behind it.
const READING: usize = 11;

/// Columns of a step's name.
const STEP: usize = 14;

/// Positions whose stream finds room.
pub(in crate::lens) fn stream_columns() -> usize {
    (width().saturating_sub(STEP) / READING).max(1)
}

pub(in crate::lens) fn stream(view: &Stream, page: Page) -> String {
    let what = "what the model would say after each step, and how likely; * is what truly follows";
    let mut out = page.head(&view.model, what);
    let label = |&position: &usize| cut(&view.tokens[position].label, READING - 2);
    let mut rows = vec![
        std::iter::once(left(""))
            .chain(view.positions.iter().map(|p| left(label(p))))
            .collect::<Vec<_>>(),
    ];
    for (name, cells) in view.steps.iter().zip(&view.cells).rev() {
        let mut row = vec![left(name.clone())];
        row.extend(cells.iter().zip(&view.targets).map(|(cell, target)| {
            let top = &cell.reading.top[0];
            let right = target.as_ref().is_some_and(|(id, _)| *id == top.id);
            let text = format!("{}{}", cut(&cell.labels[0], 5), if right { "*" } else { "" });
            let space = " ".repeat(6usize.saturating_sub(display_width(&text)));
            on(
                magnitude(top.probability),
                format!("{text}{space}{:>3.0}", 100.0 * top.probability),
            )
        }));
        rows.push(row);
    }
    out += &table(&rows, " ", page.color);
    // The last position in full: how each step moves it.
    let Some(last) = view.positions.len().checked_sub(1) else {
        return out;
    };
    let target = view.targets[last]
        .as_ref()
        .map_or(String::new(), |(_, label)| format!("; rank and probability of {label}"));
    out.push('\n');
    out += &page.head(
        &format!("behind {} {}", view.positions[last], view.tokens[view.positions[last]].label),
        &format!("bits of entropy, bits from the last (KL), length of the stream, how far and which way the step went{target}"),
    );
    let mut rows = vec![names(&[
        "", "entropy", "KL", "length", "moved", "cosine", "rank", "p", "top",
    ])];
    for (name, cells) in view.steps.iter().zip(&view.cells) {
        let cell = &cells[last];
        let reading = &cell.reading;
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        rows.push(vec![
            left(name.clone()),
            right(format!("{:.2}", reading.entropy)),
            right(format!("{:.2}", reading.divergence)),
            right(format!("{:.1}", reading.norm)),
            right(number(reading.moved)),
            right(number(reading.turned)),
            right(reading.rank.map_or(String::new(), |rank| grouped(rank as u64))),
            right(reading.probability.map_or(String::new(), percent)),
            left(
                cell.labels
                    .iter()
                    .map(|label| cut(label, 12))
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
        ]);
    }
    out += &page.rows(&rows);
    out + &paint(
        "early steps are read with a head that was trained for the last: suggestive, not exact\n",
        FAINT,
        page.color,
    )
}

pub(in crate::lens) fn next(view: &Next, page: Page) -> String {
    let what = format!(
        "what follows {} tokens: {:.2} bits of entropy; at temperature {} the draw is among {}",
        view.tokens.len(),
        view.entropy,
        view.temperature,
        grouped(view.kept as u64)
    );
    let mut out = page.head(&view.model, &what);
    let mut rows = vec![names(&["rank", "token", "id", "logit", "p", "p at T", "drawn", ""])];
    for choice in &view.choices {
        let bar = "█".repeat((20.0 * choice.drawn.unwrap_or(0.0)).round() as usize);
        let name = if choice.ends {
            format!("{} (ends)", choice.label)
        } else {
            choice.label.clone()
        };
        rows.push(vec![
            right(grouped(choice.rank as u64)),
            on(magnitude(choice.probability), cut(&name, 24)),
            right(choice.id.to_string()),
            right(format!("{:.2}", choice.logit)),
            right(percent(choice.probability)),
            right(percent(choice.tempered)),
            right(choice.drawn.map_or("cut".into(), percent)),
            left(bar),
        ]);
    }
    out += &page.rows(&rows);
    out
}
