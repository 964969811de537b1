//! The picture of a run as an SVG: no scripts, no fonts but the viewer's, its own light background.

use super::axis::{grouped, short};
use super::{Losses, Point, Scale};
use crate::metrics::Metrics;
use std::fmt::{Display, Write};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = WIDTH - 30.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = HEIGHT - 66.0;

// Blue and orange of Okabe and Ito, which readers of every colour vision tell apart, and greys.
const TRAIN: &str = "#0072b2";
const TRAIN_LIGHT: &str = "#a6cfe8";
const VAL: &str = "#d55e00";
const INK: &str = "#1f2328";
const SOFT: &str = "#57606a";
const LINE: &str = "#8c959f";
const FAINT: &str = "#6e7781";
const GRID: &str = "#e4e8ec";
const PAPER: &str = "#ffffff";

/// Steps up to which each is a dot: a band has nothing to be made of.
const DOTS: u64 = 80;
/// Pixels between validation points at least: nearer ones would run together.
const APART: f64 = 9.0;

/// An SVG of training and validation loss over steps, with the source's entropy `floor` (nats per token) where it is
/// known. Its size does not depend on the number of steps: below 100 kB.
pub fn loss_svg(metrics: &[Metrics], floor: Option<f64>) -> String {
    // A column a pixel.
    let losses = Losses::new(metrics, floor, (RIGHT - LEFT) as usize);
    let mut svg = Svg { out: String::new() };
    svg.open(&title(metrics), &figures(&losses));
    svg.axes(metrics, &losses);
    svg.floor(&losses);
    svg.curves(metrics, &losses);
    svg.marks(&losses);
    svg.legend(&losses);
    svg.out.push_str("</g>\n</svg>\n");
    svg.out
}

fn title(metrics: &[Metrics]) -> String {
    match metrics.last() {
        None => "Loss: no steps yet".into(),
        Some(last) => {
            let s = if last.step == 1 { "" } else { "s" };
            format!(
                "Loss over {} step{s}, {} tokens",
                grouped(last.step),
                short(last.tokens as f64)
            )
        }
    }
}

/// Where the losses are at the end of the run.
fn figures(losses: &Losses) -> String {
    let mut parts = Vec::new();
    if let Some(&(_, loss)) = losses.train.smooth().last().and_then(|line| line.last()) {
        parts.push(format!("training {loss:.3}"));
    }
    if let (Some(last), Some((best, step))) = (losses.last_val, losses.best_val) {
        let best = if best < last {
            format!(" (best {best:.3} at step {})", grouped(step))
        } else {
            String::new()
        };
        let bits = losses
            .last_val_bits
            .map_or(String::new(), |bits| format!(" = {bits:.3} bits per byte"));
        parts.push(format!("validation {last:.3}{bits}{best}"));
        if let Some(floor) = losses.floor {
            let (gap, side) = ((last - floor).abs(), if last < floor { "below" } else { "above" });
            parts.push(format!("{gap:.3} {side} the entropy floor"));
        }
    }
    parts.join(" · ")
}

struct Svg {
    out: String,
}

impl Svg {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.out.write_fmt(line).expect("a string takes all");
        self.out.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, attributes: &str, content: impl Display) {
        let content = escape(&content.to_string());
        self.line(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{content}</text>"#
        ));
    }

    fn open(&mut self, title: &str, figures: &str) {
        self.line(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">"#
        ));
        self.line(format_args!("<title>{}</title>", escape(title)));
        self.line(format_args!("<desc>{}</desc>", escape(figures)));
        // The edge keeps the picture a picture on a dark page.
        self.line(format_args!(
            r##"<rect x="0.5" y="0.5" width="{}" height="{}" rx="6" fill="{PAPER}" stroke="#d0d7de"/>"##,
            WIDTH - 1.0,
            HEIGHT - 1.0
        ));
        self.line(format_args!(
            r#"<g font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans', sans-serif" font-size="13" fill="{SOFT}">"#
        ));
        self.text(
            LEFT,
            34.0,
            &format!(r#"font-size="19" font-weight="600" fill="{INK}""#),
            title,
        );
        self.text(LEFT, 58.0, r#"font-size="14""#, figures);
    }

    fn axes(&mut self, metrics: &[Metrics], losses: &Losses) {
        let middle = (TOP + BOTTOM) / 2.0;
        let turned = format!(r#"text-anchor="middle" transform="rotate(-90 22 {middle})""#);
        self.text(22.0, middle, &turned, "loss, nats per token");
        for tick in losses.y.ticks(7) {
            let y = at_y(losses, tick.value);
            self.line(format_args!(r#"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="{GRID}"/>"#));
            self.text(LEFT - 9.0, y + 4.5, r#"text-anchor="end""#, tick.label);
        }
        for value in losses.x.minor_ticks() {
            let x = at_x(losses.x.place(value));
            self.line(format_args!(r#"<path d="M{x:.1} {BOTTOM}v3" stroke="{LINE}"/>"#));
        }
        for tick in losses.x.ticks(if losses.x.scale == Scale::LogSteps { 8 } else { 6 }) {
            let x = at_x(losses.x.place(tick.value));
            let (steps, tokens) = (BOTTOM + 22.0, BOTTOM + 41.0);
            self.line(format_args!(r#"<path d="M{x:.1} {TOP}V{BOTTOM}" stroke="{GRID}"/>"#));
            self.line(format_args!(r#"<path d="M{x:.1} {BOTTOM}v6" stroke="{LINE}"/>"#));
            self.text(x, steps, r#"text-anchor="middle""#, tick.label);
            let count = short(tokens_at(metrics, tick.value).round());
            self.text(
                x,
                tokens,
                &format!(r#"text-anchor="middle" font-size="12" fill="{FAINT}""#),
                count,
            );
        }
        // Left of the labels, so that a row reads "step 0 200 400 …".
        self.text(14.0, BOTTOM + 22.0, "", "step");
        self.text(
            14.0,
            BOTTOM + 41.0,
            &format!(r#"font-size="12" fill="{FAINT}""#),
            "tokens",
        );
        self.line(format_args!(r#"<path d="M{LEFT} {BOTTOM}H{RIGHT}" stroke="{LINE}"/>"#));
    }

    fn floor(&mut self, losses: &Losses) {
        let Some(floor) = losses.floor else { return };
        let y = at_y(losses, floor);
        self.line(format_args!(
            r#"<path id="floor" d="M{LEFT} {y:.1}H{RIGHT}" fill="none" stroke="{SOFT}" stroke-width="1.5" stroke-dasharray="7 5"/>"#
        ));
        // Below the line, where curves rarely go; above where there is no room.
        let label = if y + 20.0 < BOTTOM { y + 16.0 } else { y - 7.0 };
        let content = format!("entropy floor {floor:.3}: no model does better on average");
        self.text(RIGHT - 6.0, label, &format!(r#"text-anchor="end" {}"#, halo()), content);
    }

    fn curves(&mut self, metrics: &[Metrics], losses: &Losses) {
        if losses.train.values() <= DOTS {
            let dots: Vec<_> = losses
                .train
                .extremes()
                .concat()
                .into_iter()
                .map(|point| vec![point])
                .collect();
            self.path("steps", losses, &dots, TRAIN_LIGHT, 6.0);
        } else {
            self.path("steps", losses, &losses.train.extremes(), TRAIN_LIGHT, 1.0);
        }
        self.path("training", losses, &losses.train.smooth(), TRAIN, 2.2);
        self.path("validation", losses, &losses.val.extremes(), VAL, 1.8);
        self.points(metrics, losses);
    }

    /// The validation losses as points that show their figures under the mouse; the lowest is a ring, drawn last.
    fn points(&mut self, metrics: &[Metrics], losses: &Losses) {
        let best = losses.best_val.map(|(_, step)| step);
        let points = || {
            metrics
                .iter()
                .filter_map(|row| Some((row.step, row.val_loss.and_then(super::finite)?)))
        };
        let mut before = f64::NEG_INFINITY;
        for (step, loss) in points() {
            let x = at_x(losses.x.place(step as f64));
            if x - before >= APART && best != Some(step) {
                self.point(x, step, loss, losses, 3.2, VAL);
                before = x;
            }
        }
        if let Some((loss, step)) = losses.best_val {
            self.point(at_x(losses.x.place(step as f64)), step, loss, losses, 5.0, PAPER);
        }
    }

    fn point(&mut self, x: f64, step: u64, loss: f64, losses: &Losses, radius: f64, fill: &str) {
        let y = at_y(losses, loss);
        let lowest = if fill == PAPER { ", the lowest" } else { "" };
        self.line(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}" stroke="{VAL}" stroke-width="1.8"><title>step {}: validation {loss:.4}{lowest}</title></circle>"#,
            grouped(step)
        ));
    }

    /// Lines through points, one path for all; a line of one point is a dot.
    fn path(&mut self, id: &str, losses: &Losses, lines: &[Vec<Point>], color: &str, width: f64) {
        if lines.is_empty() {
            return;
        }
        write!(self.out, r#"<path id="{id}" d=""#).expect("a string takes all");
        for line in lines {
            for (i, &(x, y)) in line.iter().enumerate() {
                let command = if i == 0 { 'M' } else { 'L' };
                write!(self.out, "{command}{:.1} {:.1}", at_x(x), at_y(losses, y)).expect("a string takes all");
            }
            if line.len() == 1 {
                self.out.push_str("h0");
            }
        }
        self.line(format_args!(
            r#"" fill="none" stroke="{color}" stroke-width="{width}" stroke-linejoin="round" stroke-linecap="round"/>"#
        ));
    }

    /// Steps without a finite loss under the axis, steps off the top along the top.
    fn marks(&mut self, losses: &Losses) {
        for &at in &losses.lost.at {
            self.line(format_args!(
                r#"<path class="lost" d="{}" fill="{INK}"/>"#,
                triangle(at_x(at), BOTTOM + 1.0)
            ));
        }
        for &at in &losses.above.at {
            self.line(format_args!(
                r#"<path class="above" d="{}" fill="{TRAIN}"/>"#,
                triangle(at_x(at), TOP)
            ));
        }
    }

    /// Upper right, where a falling curve has left.
    fn legend(&mut self, losses: &Losses) {
        let steps = |n: u64| format!("{} step{}", grouped(n), if n == 1 { "" } else { "s" });
        let (x, mut y) = (RIGHT - 205.0, TOP + 18.0);
        let mut entry = |svg: &mut Self, draw: &dyn Fn(&mut Self, f64), label: &str| {
            draw(svg, y - 4.5);
            svg.text(x + 36.0, y, &format!(r#"fill="{INK}" {}"#, halo()), label);
            y += 21.0;
        };
        let stroke = |color: &'static str, width: f64, from: f64, to: f64| {
            move |svg: &mut Self, y: f64| {
                svg.line(format_args!(
                    r#"<path d="M{:.1} {y:.1}h{:.1}" stroke="{color}" stroke-width="{width}" stroke-linecap="round"/>"#,
                    x + from,
                    to - from
                ));
            }
        };
        if losses.train.values() > 0 {
            if losses.train.values() <= DOTS {
                entry(self, &stroke(TRAIN_LIGHT, 6.0, 14.0, 14.0), "training, each step");
            } else {
                entry(self, &stroke(TRAIN_LIGHT, 9.0, 5.0, 23.0), "training, each step");
            }
            entry(self, &stroke(TRAIN, 2.2, 2.0, 26.0), "training, smoothed");
        }
        if losses.val.values() > 0 {
            let with_point = |svg: &mut Self, y: f64| {
                stroke(VAL, 1.8, 2.0, 26.0)(svg, y);
                svg.line(format_args!(
                    r#"<circle cx="{:.1}" cy="{y:.1}" r="4" fill="{VAL}"/>"#,
                    x + 14.0
                ));
            };
            entry(self, &with_point, "validation (ring: lowest)");
        }
        if losses.lost.steps > 0 {
            let mark = |svg: &mut Self, y: f64| {
                svg.line(format_args!(
                    r#"<path d="{}" fill="{INK}"/>"#,
                    triangle(x + 14.0, y - 4.5)
                ));
            };
            entry(self, &mark, &format!("loss not finite: {}", steps(losses.lost.steps)));
        }
        if losses.above.steps > 0 {
            let mark = |svg: &mut Self, y: f64| {
                svg.line(format_args!(
                    r#"<path d="{}" fill="{TRAIN}"/>"#,
                    triangle(x + 14.0, y - 4.5)
                ));
            };
            entry(self, &mark, &format!("off the top: {}", steps(losses.above.steps)));
        }
    }
}

/// Attributes that keep text readable over lines.
fn halo() -> String {
    format!(r#"stroke="{PAPER}" stroke-width="4" stroke-linejoin="round" paint-order="stroke""#)
}

/// A triangle that points up to (x, y).
fn triangle(x: f64, y: f64) -> String {
    format!("M{x:.1} {y:.1}l-4 9h8z")
}

fn at_x(place: f64) -> f64 {
    LEFT + place * (RIGHT - LEFT)
}

fn at_y(losses: &Losses, loss: f64) -> f64 {
    BOTTOM - losses.y.place(loss) * (BOTTOM - TOP)
}

/// Tokens after so many steps: between two known steps, evenly.
fn tokens_at(metrics: &[Metrics], step: f64) -> f64 {
    let after = metrics.partition_point(|row| (row.step as f64) < step);
    let known = |i: usize| metrics.get(i).map(|row| (row.step as f64, row.tokens as f64));
    let (s0, t0) = after.checked_sub(1).and_then(known).unwrap_or((0.0, 0.0));
    let Some((s1, t1)) = known(after) else { return t0 };
    if s1 > s0 {
        t0 + (t1 - t0) * (step - s0) / (s1 - s0)
    } else {
        t1
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
