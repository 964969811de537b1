//! Views as pictures: SVG without scripts or fonts of its own, on a light ground.

mod attention;
mod stream;
mod table;
mod text;
mod training;

pub(super) use attention::{attention, head};
pub(super) use stream::{next, stream, why};
pub(super) use table::table;
pub(super) use text::{embedding, tokens};
pub(super) use training::history;

use super::color::{Rgb, hex, magnitude};
use crate::report::escape;
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

    /// A line through points, each marked.
    fn line(&mut self, points: &[(f64, f64)]) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            self.body,
            r##"<polyline points="{}" fill="none" stroke="#0072b2" stroke-width="1.5"/>"##,
            path.join(" ")
        )
        .expect("a string takes all");
        for &(x, y) in points {
            self.rect([x - 1.5, y - 1.5, 3.0, 3.0], [0, 114, 178]);
        }
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

/// Columns of labels, in pixels.
fn room<'a>(labels: impl Iterator<Item = &'a str>) -> f64 {
    8.0 + 7.2 * labels.map(display_width).max().unwrap_or(0) as f64
}
