//! Views as pictures: SVG without scripts or fonts of its own, on a light ground.

use super::color::{Rgb, hex, ink, magnitude, signed};
use super::draw::{kind, short_label};
use super::table::cut;
use foretoken::look::{Attention, Embedding, HeadView, Next, Stream, Tokens, Why};
use std::fmt::Write;
use textwrap::core::display_width;

const FONT: &str = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK KR', 'Apple SD Gothic Neo', \
                    'Malgun Gothic', 'DejaVu Sans', sans-serif";
const INK: &str = "#1f2328";
const SOFT: &str = "#57606a";
/// Left of everything.
const MARGIN: f64 = 16.0;
/// Above the drawing: the title, and what it says.
const TOP: f64 = 64.0;

/// A picture that grows as it is drawn.
struct Picture {
    body: String,
    width: f64,
    height: f64,
}

impl Picture {
    fn new() -> Self {
        Self {
            body: String::new(),
            width: 360.0,
            height: TOP,
        }
    }

    fn rect(&mut self, [x, y, w, h]: [f64; 4], fill: Rgb) {
        let fill = hex(fill);
        writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" fill="{fill}"/>"#
        )
        .expect("a string takes all");
        self.width = self.width.max(x + w);
        self.height = self.height.max(y + h);
    }

    fn text(&mut self, x: f64, y: f64, style: &str, text: &str) {
        writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" {style}>{}</text>"#,
            escape(text)
        )
        .expect("a string takes all");
        let size = if style.contains("rotate") {
            8.0
        } else {
            7.2 * display_width(text) as f64
        };
        let right = if style.contains(r#""end""#) { x } else { x + size };
        self.width = self.width.max(right);
        self.height = self.height.max(y + 4.0);
    }

    /// A scale of magnitudes from 0 to `most`.
    fn legend(&mut self, most: &str) {
        let y = self.height + 16.0;
        self.text(MARGIN, y + 10.0, "", "0");
        for i in 0..40 {
            self.rect(
                [MARGIN + 14.0 + 4.0 * f64::from(i), y, 4.2, 12.0],
                magnitude((f64::from(i) + 0.5) / 40.0),
            );
        }
        self.text(MARGIN + 180.0, y + 10.0, "", most);
    }

    fn finish(self, title: &str, what: &str) -> String {
        let (body, [title, what]) = (self.body, [title, what].map(escape));
        let wide = (9.2 * display_width(&title) as f64).max(6.6 * display_width(&what) as f64);
        let (width, height) = (self.width.max(wide.min(900.0)) + MARGIN, self.height + MARGIN);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<desc>{what}</desc>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <g font-family=\"{FONT}\" font-size=\"12\" fill=\"{INK}\">\n\
             <text x=\"{MARGIN}\" y=\"26\" font-size=\"16\" font-weight=\"600\">{title}</text>\n\
             <text x=\"{MARGIN}\" y=\"46\" fill=\"{SOFT}\">{what}</text>\n{body}</g>\n</svg>\n"
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Columns of labels, in pixels.
fn room<'a>(labels: impl Iterator<Item = &'a str>) -> f64 {
    8.0 + 7.2 * labels.map(display_width).max().unwrap_or(0) as f64
}

pub(super) fn tokens(view: &Tokens) -> String {
    let mut picture = Picture::new();
    let most = view.groups.iter().map(|group| group.bits).fold(1e-9, f64::max);
    let (mut x, mut y) = (MARGIN, TOP);
    for surprise in &view.groups {
        let group = &surprise.group;
        let label = match group.end - group.start {
            1 => &view.tokens[group.start].label,
            _ => &group.label,
        };
        let wide = room(std::iter::once(label.as_str())).max(34.0);
        if x + wide > 900.0 {
            (x, y) = (MARGIN, y + 44.0);
        }
        let ground = magnitude(surprise.bits / most);
        picture.rect([x, y, wide, 22.0], ground);
        picture.text(x + 4.0, y + 15.0, &format!(r#"fill="{}""#, hex(ink(ground))), label);
        picture.text(
            x + 4.0,
            y + 35.0,
            &format!(r#"font-size="10" fill="{SOFT}""#),
            &format!("{:.1}", surprise.bits),
        );
        x += wide + 3.0;
    }
    picture.legend(&format!("{most:.1} bits"));
    let what = format!(
        "surprise in bits: {:.1} in all, {:.3} a byte",
        view.bits, view.bits_per_byte
    );
    picture.finish(&format!("Tokens under {}", view.model), &what)
}

pub(super) fn embedding(view: &Embedding) -> String {
    let mut picture = Picture::new();
    let ends = |of: fn(&foretoken::look::Point) -> f64| {
        view.plane
            .iter()
            .map(of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)))
    };
    let (x, y) = (ends(|point| point.x), ends(|point| point.y));
    let place = |value: f64, (low, high): (f64, f64), room: f64| (value - low) / (high - low).max(1e-12) * room;
    for point in &view.plane {
        let at = (
            MARGIN + place(point.x, x, 640.0),
            TOP + 12.0 + place(-point.y, (-y.1, -y.0), 420.0),
        );
        picture.rect([at.0 - 2.0, at.1 - 2.0, 4.0, 4.0], [0, 114, 178]);
        picture.text(at.0 + 5.0, at.1 + 4.0, "", &point.label);
    }
    let what = format!(
        "the two directions in which these embeddings differ most: {:.0}% of it all",
        100.0 * view.shown
    );
    picture.finish(&format!("Embeddings of {}", view.model), &what)
}

pub(super) fn attention(view: &Attention) -> String {
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

pub(super) fn head(view: &HeadView) -> String {
    let mut picture = Picture::new();
    let n = view.groups.len();
    let label = |group: usize| match view.groups[group].end - view.groups[group].start {
        1 => short_label(&view.tokens[view.groups[group].start]),
        _ => cut(&view.groups[group].label, 12),
    };
    let labels: Vec<String> = (0..n).map(label).collect();
    let size = (720.0 / n as f64).clamp(4.0, 26.0);
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
        for j in 0..=i {
            let weight = view.weights[i * n + j];
            let part = f64::from(weight / most);
            let ground = if weight < 0.0 { signed(part) } else { magnitude(part) };
            let at = [from + size * j as f64, below + size * i as f64];
            picture.rect([at[0], at[1], size - 0.5, size - 0.5], ground);
            if size >= 22.0 && view.weighing == foretoken::lens::Weighing::Weight && weight >= 0.05 {
                let style = format!(r#"font-size="9" fill="{}""#, hex(ink(ground)));
                picture.text(
                    at[0] + 4.0,
                    at[1] + size / 2.0 + 3.0,
                    &style,
                    &format!("{:.0}", 100.0 * weight),
                );
            }
        }
    }
    picture.legend(&format!("{most:.2}"));
    let what = format!("{}; rows look at columns", kind(view));
    picture.finish(&format!("Head {}.{} of {}", view.layer, view.head, view.model), &what)
}

pub(super) fn stream(view: &Stream) -> String {
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

pub(super) fn why(view: &Why) -> String {
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

pub(super) fn next(view: &Next) -> String {
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
