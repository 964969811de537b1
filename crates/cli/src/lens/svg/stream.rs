//! The stream, and what comes of it.

use super::{MARGIN, Picture, TOP, room};
use crate::lens::color::{hex, ink, magnitude};
use crate::lens::draw::short_label;
use crate::lens::table::cut;
use foretoken::look::{Next, Stream, Why};

pub(in crate::lens) fn stream(view: &Stream) -> String {
    let mut picture = Picture::new();
    let (wide, high) = (92.0, 22.0);
    let from = MARGIN + room(view.steps.iter().map(String::as_str));
    for (column, &position) in view.positions.iter().enumerate() {
        let x = from + wide * column as f64;
        picture.text(
            x + 4.0,
            TOP + 12.0,
            r#"font-weight="600""#,
            &short_label(&view.tokens[position]),
        );
    }
    for (row, (name, cells)) in view.steps.iter().zip(&view.cells).rev().enumerate() {
        let y = TOP + 20.0 + high * row as f64;
        picture.text(MARGIN, y + 15.0, "", name);
        for (column, (cell, target)) in cells.iter().zip(&view.targets).enumerate() {
            let (x, top) = (from + wide * column as f64, &cell.reading.top[0]);
            let ground = magnitude(top.probability);
            picture.rect([x, y, wide - 1.0, high - 1.0], ground);
            let star = if target.as_ref().is_some_and(|(id, _)| *id == top.id) {
                "*"
            } else {
                ""
            };
            let text = format!("{}{star} {:.0}%", cut(&cell.labels[0], 7), 100.0 * top.probability);
            picture.text(
                x + 4.0,
                y + 15.0,
                &format!(r#"font-size="11" fill="{}""#, hex(ink(ground))),
                &text,
            );
        }
    }
    picture.legend("1: probability of the likeliest");
    picture.finish(
        &format!("Stream of {}", view.model),
        "what the model would say after each step; * is what truly follows",
    )
}

pub(in crate::lens) fn why(view: &Why) -> String {
    let over = view
        .against
        .as_ref()
        .map_or(String::new(), |(_, label)| format!(" over {label}"));
    let title = format!("Why {}{over}", view.token.1);
    let what = format!(
        "what each part adds to {:.3}, the logit behind {}",
        view.logit, view.tokens[view.position].label
    );
    let bars: Vec<(&str, f64)> = view.bars.iter().map(|bar| (bar.name.as_str(), bar.added)).collect();
    bars_picture(&bars, |added| format!("{added:+.2}")).finish(&title, &what)
}

pub(in crate::lens) fn next(view: &Next) -> String {
    let bars: Vec<(&str, f64)> = view
        .choices
        .iter()
        .map(|choice| (choice.label.as_str(), choice.probability))
        .collect();
    let what = format!("probability of each; {:.2} bits of entropy", view.entropy);
    bars_picture(&bars, |p| format!("{:.2}%", 100.0 * p)).finish(&format!("What follows, by {}", view.model), &what)
}

/// Bars around a middle line, each with its number.
fn bars_picture(bars: &[(&str, f64)], number: impl Fn(f64) -> String) -> Picture {
    let mut picture = Picture::new();
    let most = bars.iter().map(|(_, value)| value.abs()).fold(1e-9, f64::max);
    let negative = bars.iter().any(|(_, value)| *value < 0.0);
    let from = MARGIN + room(bars.iter().map(|(name, _)| *name));
    let half = 220.0;
    let middle = from + if negative { half + 50.0 } else { 0.0 };
    for (i, &(name, value)) in bars.iter().enumerate() {
        let (y, size) = (TOP + 20.0 * i as f64, value.abs() / most * half);
        picture.text(MARGIN, y + 13.0, "", name);
        let x = if value < 0.0 { middle - size } else { middle };
        picture.rect(
            [x, y + 2.0, size.max(0.5), 15.0],
            if value < 0.0 { [33, 102, 172] } else { [217, 95, 2] },
        );
        match value < 0.0 {
            true => picture.text(x - 4.0, y + 13.0, r#"text-anchor="end""#, &number(value)),
            false => picture.text(x + size + 4.0, y + 13.0, "", &number(value)),
        }
    }
    picture
}
