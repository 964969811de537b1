//! What heads look at.

use super::{Page, small};
use crate::lens::color::{magnitude, signed};
use crate::lens::table::{Cell, cut, left, painted, right};
use crate::terminal::{FAINT, paint};
use foretoken::lens::{HeadMap, Weighing};
use foretoken::look::{Attention, HeadView, Looked};
use textwrap::core::display_width;

pub(in crate::lens) fn attention(view: &Attention, page: Page) -> String {
    let what = format!(
        "T={}; each head in small: a row a query, a column what it looks at",
        view.tokens.len()
    );
    let mut out = page.head(&view.model, &what);
    let side = view.heads.first().map_or(1, |map| map.side);
    let name = |map: &HeadMap| format!("{}.{}", map.layer, map.head);
    let wide = side.max(view.heads.iter().map(|map| name(map).len()).max().unwrap_or(1)) + 2;
    let mut layers: Vec<Vec<&HeadMap>> = Vec::new();
    for map in &view.heads {
        match layers.last_mut() {
            Some(heads) if heads[0].layer == map.layer => heads.push(map),
            _ => layers.push(vec![map]),
        }
    }
    for heads in layers.iter().flat_map(|heads| heads.chunks((page.width / wide).max(1))) {
        let line: String = heads.iter().map(|map| format!("{:wide$}", name(map))).collect();
        out += &format!("{}\n", line.trim_end());
        let maps: Vec<Vec<String>> = heads.iter().map(|map| small(&map.cells, map.side, page)).collect();
        for row in 0..side.div_ceil(2) {
            let line: String = maps
                .iter()
                .map(|map| format!("{}{}", map[row], " ".repeat(wide - side)))
                .collect();
            out += &format!("{}\n", line.trim_end_matches(' '));
        }
        out.push('\n');
    }
    out + &badges(&view.heads, page)
}

/// How much a head does of one thing.
type Score = fn(&HeadMap) -> Option<f64>;

/// The heads that do most of what heads are known to do.
fn badges(heads: &[HeadMap], page: Page) -> String {
    let kinds: [(&str, Score); 4] = [
        ("previous token", |map| map.badges.previous),
        ("induction", |map| map.badges.induction),
        ("same token", |map| map.badges.duplicate),
        ("first token", |map| map.badges.first),
    ];
    let rows = kinds.map(|(name, of)| {
        let mut found: Vec<(f64, String)> = heads
            .iter()
            .filter_map(|map| Some((of(map)?, format!("{}.{}", map.layer, map.head))))
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut row = vec![left(name)];
        match found.is_empty() {
            true => row.push(left("nothing in this text repeats so")),
            false => row.extend(
                found
                    .iter()
                    .take(5)
                    .map(|(score, head)| left(format!("{head} {score:.2}"))),
            ),
        }
        row
    });
    page.head(
        "heads",
        "mean weight at the token before, after an earlier like one where it goes on alike, at like ones, at the first",
    ) + &page.rows(&rows)
}

pub(in crate::lens) fn head(view: &HeadView, at: Option<usize>, page: Page) -> String {
    let percent = match view.weighing {
        Weighing::Weight => " in percent",
        _ => "",
    };
    let what = format!(
        "{}{} of head {}.{}, T={}",
        kind(view),
        percent,
        view.layer,
        view.head,
        view.tokens.len()
    );
    let mut out = page.head(&view.model, &what);
    let n = view.groups.len();
    let label = |group: usize| cut(view_label(view, group), 14);
    if let Some(at) = at {
        let group = view
            .groups
            .iter()
            .position(|group| (group.start..group.end).contains(&at))
            .unwrap_or(0);
        let list = |name: &str, found: Vec<Looked>| {
            let mut rows = vec![vec![left(name)]];
            rows.extend(found.into_iter().map(|looked| {
                vec![
                    right(looked.group.to_string()),
                    left(label(looked.group)),
                    right(format!("{:.3}", looked.weight)),
                ]
            }));
            page.rows(&rows)
        };
        out += &list(&format!("{group} {} looks at", label(group)), view.looks_at(group, 10));
        return out + &list("is looked at by", view.looked_at_by(group, 10));
    }
    let labels = (0..n).map(|i| display_width(&label(i))).max().unwrap_or(0);
    let room = page.width.saturating_sub(labels + 6) / 3;
    if n > room {
        out += &paint(
            &format!("{n} columns find no room: what each query looks at most\n"),
            FAINT,
            page.color,
        );
        let rows: Vec<Vec<Cell>> = (0..n)
            .map(|group| {
                let mut row = vec![right(group.to_string()), left(label(group))];
                row.extend(view.looks_at(group, 4).into_iter().map(|looked| {
                    left(format!(
                        "{} {} {:.2}",
                        looked.group,
                        cut(view_label(view, looked.group), 8),
                        looked.weight
                    ))
                }));
                row
            })
            .collect();
        return out + &page.rows(&rows);
    }
    let most = view.weights.iter().fold(1e-9f32, |most, weight| most.max(weight.abs()));
    let column = |i: usize| format!("{i:>3}");
    out += &format!("{}{}\n", " ".repeat(labels + 4), (0..n).map(column).collect::<String>());
    for (i, row) in view.weights.chunks_exact(n).enumerate() {
        let space = " ".repeat(labels - display_width(&label(i)));
        out += &format!("{i:>3} {}{space}", label(i));
        for (j, &weight) in row.iter().enumerate() {
            let part = f64::from(weight / most);
            let text = match (j <= i, view.weighing) {
                (false, _) => "   ".to_owned(),
                (true, Weighing::Weight) => format!("{:>3}", (100.0 * weight).round() as i32),
                (true, _) => format!("{:>3.0}", weight),
            };
            let ground = if weight < 0.0 { signed(part) } else { magnitude(part) };
            out += &if page.color && j <= i {
                painted(&text, ground)
            } else {
                text
            };
        }
        out = out.trim_end_matches(' ').to_owned() + "\n";
    }
    out
}

fn view_label(view: &HeadView, group: usize) -> &str {
    let found = &view.groups[group];
    match found.end - found.start {
        1 => &view.tokens[found.start].label,
        _ => &found.label,
    }
}

pub(in crate::lens) fn kind(view: &HeadView) -> &'static str {
    match view.weighing {
        Weighing::Weight => "weights",
        Weighing::Value => "weights times the length of what is written",
        Weighing::Score => "raw scores",
    }
}
