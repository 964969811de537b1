//! Heads.

use super::{MARGIN, Picture, TOP, room};
use crate::lens::color::{hex, ink, magnitude, signed};
use crate::lens::draw::{kind, short_label};
use crate::lens::table::cut;
use foretoken::look::{Attention, HeadView};

pub(in crate::lens) fn attention(view: &Attention) -> String {
    let mut picture = Picture::new();
    const SIZE: f64 = 72.0;
    for map in &view.heads {
        let (x, y) = (
            MARGIN + 44.0 + (SIZE + 10.0) * map.head as f64,
            TOP + 20.0 + (SIZE + 10.0) * map.layer as f64,
        );
        let step = SIZE / map.side as f64;
        picture.rect([x, y, SIZE, SIZE], magnitude(0.0));
        for (i, &weight) in map.cells.iter().enumerate().filter(|(_, weight)| **weight >= 0.02) {
            let at = [x + step * (i % map.side) as f64, y + step * (i / map.side) as f64];
            picture.rect([at[0], at[1], step, step], magnitude(weight.into()));
        }
        if map.layer == 0 {
            picture.text(x + SIZE / 2.0 - 4.0, y - 6.0, "", &map.head.to_string());
        }
        if map.head == 0 {
            picture.text(MARGIN, y + SIZE / 2.0 + 4.0, "", &format!("L{}", map.layer));
        }
        let badges = [("previous", map.badges.previous), ("induction", map.badges.induction)];
        let found = badges.into_iter().filter_map(|(name, score)| Some((name, score?)));
        if let Some((name, score)) = found
            .filter(|(_, score)| *score >= 0.4)
            .max_by(|a, b| a.1.total_cmp(&b.1))
        {
            let label = format!("{name} {score:.2}");
            picture.text(x + 2.0, y + 11.0, r##"font-size="9" fill="#ffffff""##, &label);
        }
    }
    picture.legend("1");
    picture.finish(
        &format!("Attention of {}", view.model),
        &format!(
            "{} tokens; a row a layer, a column a head; in each, a row a query, a column what it looks at",
            view.tokens.len()
        ),
    )
}

pub(in crate::lens) fn head(view: &HeadView) -> String {
    let mut picture = Picture::new();
    let n = view.groups.len();
    let label = |group: usize| match view.groups[group].end - view.groups[group].start {
        1 => short_label(&view.tokens[view.groups[group].start]),
        _ => cut(&view.groups[group].label, 12),
    };
    let labels: Vec<String> = (0..n).map(label).collect();
    let size = (720.0 / n as f64).clamp(1.0, 26.0);
    let (from, below) = (
        MARGIN + room(labels.iter().map(String::as_str)),
        TOP + room(labels.iter().map(String::as_str)),
    );
    let most = view.weights.iter().fold(1e-9f32, |most, weight| most.max(weight.abs()));
    for i in 0..n {
        let middle = size / 2.0 + 4.0;
        if size >= 9.0 {
            let y = below + size * i as f64 + middle;
            picture.text(from - 6.0, y, r#"text-anchor="end""#, &labels[i]);
            let x = from + size * i as f64 + middle;
            let turned = format!(r#"transform="rotate(-90 {x:.1} {:.1})""#, below - 6.0);
            picture.text(x, below - 6.0, &turned, &labels[i]);
        }
        let colour = |j: usize| {
            let part = f64::from(view.weights[i * n + j] / most);
            // 64 shades are as many as an eye tells apart, and let cells of one shade be drawn as one.
            let part = (part * 64.0).round() / 64.0;
            if part < 0.0 { signed(part) } else { magnitude(part) }
        };
        let (mut j, row) = (0, below + size * i as f64);
        while j <= i {
            let ground = colour(j);
            let alike = if size < 9.0 {
                (j..=i).take_while(|&k| colour(k) == ground).count()
            } else {
                1
            };
            let gap = if size < 9.0 { 0.0 } else { 0.5 };
            let at = [from + size * j as f64, row];
            picture.rect([at[0], at[1], size * alike as f64 - gap, size - gap], ground);
            let weight = view.weights[i * n + j];
            if size >= 22.0 && view.weighing == foretoken::lens::Weighing::Weight && weight >= 0.05 {
                let style = format!(r#"font-size="9" fill="{}""#, hex(ink(ground)));
                picture.text(
                    at[0] + 4.0,
                    at[1] + size / 2.0 + 3.0,
                    &style,
                    &format!("{:.0}", 100.0 * weight),
                );
            }
            j += alike;
        }
    }
    picture.legend(&format!("{most:.2}"));
    let what = format!("{}; rows look at columns", kind(view));
    picture.finish(&format!("Head {}.{} of {}", view.layer, view.head, view.model), &what)
}
