//! What a text is to a model: shapes, tokens, embeddings.

use super::{Page, names, percent, small};
use crate::lens::color::magnitude;
use crate::lens::table::{Cell, cut, left, on, right};
use crate::terminal::{FAINT, paint, short};
use foretoken::look::{Embedding, Granularity, Shape, Tokens};
use textwrap::core::display_width;

/// The walk's steps, under their heads.
pub(in crate::lens) fn shape_rows(view: &Shape) -> Vec<Vec<Cell>> {
    let mut rows = vec![names(&[
        "step",
        "shape",
        "numbers",
        "bytes",
        "flops",
        "mean length",
        "",
    ])];
    for step in &view.steps {
        let (letters, sizes): (Vec<&str>, Vec<String>) = step
            .step
            .shape
            .iter()
            .map(|&(letter, n)| (letter, n.to_string()))
            .unzip();
        let flops = step.step.forward_flops * step.step.runs() as f64;
        let norms: Vec<String> = step.norms.iter().map(|norm| format!("{norm:.1}")).collect();
        let repeated = step.step.layers.map_or(String::new(), |layers| format!("x {layers}"));
        rows.push(vec![
            left(step.step.name),
            left(format!("({})", letters.join(","))),
            right(sizes.join(" x ")),
            right(foretoken::model::human_bytes(step.bytes)),
            right(if flops > 0.0 { short(flops) } else { String::new() }),
            right(norms.join(" … ")),
            left(repeated),
        ]);
    }
    rows
}

/// What the last column but one says.
pub(in crate::lens) const MEAN_LENGTH: &str = "mean length: of a token's vector, in the first layer … in the last";

pub(in crate::lens) fn shape(view: &Shape, page: Page) -> String {
    let mut out = page.head(&view.model, &format!("T={}, one sequence", view.tokens.len()));
    out += &page.rows(&shape_rows(view));
    out + &paint(&format!("{MEAN_LENGTH}\n"), FAINT, page.color)
}

pub(in crate::lens) fn tokens(view: &Tokens, page: Page) -> String {
    let name = match view.by {
        Granularity::Token => "tokens",
        Granularity::Syllable => "characters",
        Granularity::Word => "words",
    };
    let groups = match view.by {
        Granularity::Token => String::new(),
        _ => format!(", {} {name}", view.groups.len()),
    };
    let what = format!(
        "{} tokens{groups}, {:.1} bits, {:.3} bits a byte, {:.2} characters a token",
        view.tokens.len(),
        view.bits,
        view.bits_per_byte,
        view.characters_per_token
    );
    let mut out = page.head(&view.model, &what);
    let most = view.groups.iter().map(|group| group.bits).fold(1e-9, f64::max);
    let mut rows = vec![names(&["at", "says", "ids", "bytes", "bits", ""])];
    for surprise in &view.groups {
        let group = &surprise.group;
        let pieces = &view.tokens[group.start..group.end];
        let ids: Vec<String> = pieces.iter().map(|piece| piece.id.to_string()).collect();
        let label = if pieces.len() == 1 {
            &pieces[0].label
        } else {
            &group.label
        };
        let bytes: String = pieces
            .iter()
            .flat_map(|piece| &piece.bytes)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let part = surprise.bits / most;
        let bar = "█".repeat((20.0 * part).round() as usize);
        rows.push(vec![
            right(group.start.to_string()),
            on(magnitude(part), cut(label, 30)),
            left(cut(&ids.join(" "), 24)),
            left(cut(&bytes, 24)),
            right(format!("{:.2}", surprise.bits)),
            left(bar),
        ]);
    }
    out += &page.rows(&rows);
    out
}

pub(in crate::lens) fn embedding(view: &Embedding, page: Page) -> String {
    let mut out = page.head(
        &view.model,
        "nearest tokens by the cosine of their embeddings, and the distance",
    );
    let mut rows = Vec::new();
    for of in &view.neighbours {
        let mut row = vec![left(cut(&of.label, 16))];
        let room = (page.width.saturating_sub(18) / 18).max(1);
        row.extend(
            of.nearest
                .iter()
                .take(room)
                .map(|(near, label)| left(format!("{} {:.2} {:.1}", cut(label, 8), near.cosine, near.distance))),
        );
        rows.push(row);
    }
    out += &page.rows(&rows);
    out.push('\n');
    out += &page.head(
        "plane",
        &format!(
            "the two directions in which these tokens differ most: {} of it all",
            percent(view.shown)
        ),
    );
    out += &scatter(view, page);
    if !view.positions.is_empty() {
        out.push('\n');
        out += &page.head(
            "positions",
            "cosine of the position embeddings, from the first to the last",
        );
        let side = view.positions.len();
        let map: Vec<f32> = view.similarity.iter().map(|&x| x.max(0.0) as f32).collect();
        out += &small(&map, side, page).join("\n");
        out.push('\n');
    }
    out
}

/// Labels where the points are; what would cover another goes a line down.
fn scatter(view: &Embedding, page: Page) -> String {
    let (wide, high) = (page.width.min(100), 20);
    let ends = |of: &dyn Fn(usize) -> f64| {
        let all = (0..view.plane.len()).map(of);
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        })
    };
    let (x, y) = (ends(&|i| view.plane[i].x), ends(&|i| view.plane[i].y));
    let at = |value: f64, (low, high): (f64, f64), room: usize| {
        if high > low {
            ((value - low) / (high - low) * room as f64).round() as usize
        } else {
            0
        }
    };
    let mut lines = vec![vec![None::<char>; wide]; high];
    'points: for point in &view.plane {
        let label = cut(&point.label, 10);
        let size = display_width(&label);
        let column = at(point.x, x, wide - 12);
        let row = at(-point.y, (-y.1, -y.0), high - 1);
        for row in row..high {
            if (column..column + size + 1).all(|c| c >= wide || lines[row][c].is_none()) {
                let mut c = column;
                for character in label.chars() {
                    lines[row][c] = Some(character);
                    // The second column of a wide character stays empty, and is nobody else's.
                    let broad = display_width(&character.to_string()).max(1);
                    (c + 1..c + broad).for_each(|c| lines[row][c] = Some('\0'));
                    c += broad;
                }
                continue 'points;
            }
        }
    }
    let line = |line: Vec<Option<char>>| {
        let text: String = line
            .into_iter()
            .map(|c| c.unwrap_or(' '))
            .filter(|&c| c != '\0')
            .collect();
        text.trim_end().to_owned() + "\n"
    };
    lines.into_iter().map(line).collect()
}
