//! Who raised a logit.

use super::Page;
use crate::lens::table::{Cell, cut, left, right};
use foretoken::look::Why;

pub(in crate::lens) fn why(view: &Why, page: Page) -> String {
    let over = view
        .against
        .as_ref()
        .map_or(String::new(), |(_, label)| format!(" over {label}"));
    let what = format!(
        "logit of {}{over} behind {} {}: {:.3}",
        view.token.1, view.position, view.tokens[view.position].label, view.logit
    );
    let mut out = page.head(&view.model, &what);
    let most = view.bars.iter().map(|bar| bar.added.abs()).fold(1e-9, f64::max);
    let half = (page.width.saturating_sub(34) / 2).clamp(8, 30);
    let row = |name: &str, added: f64| {
        let size = (added.abs() / most * half as f64).round() as usize;
        let (before, after) = match added < 0.0 {
            true => (
                format!("{}{}", " ".repeat(half - size.min(half)), "█".repeat(size.min(half))),
                String::new(),
            ),
            false => (" ".repeat(half), "█".repeat(size.min(half))),
        };
        vec![
            left(name),
            right(format!("{added:+.3}")),
            left(format!("{before}│{after}")),
        ]
    };
    let mut rows: Vec<Vec<Cell>> = view.bars.iter().map(|bar| row(&bar.name, bar.added)).collect();
    rows.push(vec![
        left("sum"),
        right(format!("{:+.3}", view.bars.iter().map(|bar| bar.added).sum::<f64>())),
    ]);
    out += &page.rows(&rows);
    out.push('\n');
    out += &page.head(
        "heads",
        "what the largest added of their layer's attention, and from which tokens (weight, added)",
    );
    let label = |position: usize| cut(&view.tokens[position].label, 10);
    let rows: Vec<Vec<Cell>> = (view.heads.iter())
        .map(|bar| {
            let mut row = vec![
                left(format!("{}.{}", bar.layer, bar.head)),
                right(format!("{:+.3}", bar.added)),
            ];
            row.extend(bar.sources.iter().map(|source| {
                left(format!(
                    "{} {} {:.2} {:+.2}",
                    source.position,
                    label(source.position),
                    source.weight,
                    source.added
                ))
            }));
            row
        })
        .collect();
    out += &page.rows(&rows);
    if !view.ablated.is_empty() {
        out.push('\n');
        out += &page.head(
            "measured by removal",
            "the logit without the head, which counts what it does by way of later layers too",
        );
        let rows: Vec<Vec<Cell>> = (view.ablated.iter())
            .map(|one| {
                vec![
                    left(format!("{}.{}", one.layer, one.head)),
                    right(format!("{:.3}", one.logit)),
                    right(format!("{:+.3}", one.change)),
                ]
            })
            .collect();
        out += &page.rows(&rows);
    }
    if !view.patched.is_empty() {
        out.push('\n');
        out += &page.head(
            "patched",
            "the logit where the stream after a step is the other text's, at one token",
        );
        let mut places: Vec<usize> = view.patched.iter().map(|one| one.position).collect();
        places.sort_unstable();
        places.dedup();
        let mut rows = vec![
            std::iter::once(left(""))
                .chain(places.iter().map(|&p| right(format!("{p} {}", label(p)))))
                .collect(),
        ];
        for step in view.patched.chunks(places.len()) {
            let cells = step.iter().map(|one| right(format!("{:.3}", one.logit)));
            rows.push(
                std::iter::once(left(step[0].name.clone()))
                    .chain(cells)
                    .collect::<Vec<_>>(),
            );
        }
        out += &page.rows(&rows);
    }
    out
}
