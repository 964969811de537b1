//! A chart as HTML. Only lines are SVG, stretched to whatever width the page has; words and numbers stand beside it as HTML and
//! keep their size, also on a phone.

use super::axes::{Across, Spread, upright};
use super::html::escape;
use super::panel::{COLORS, Kind, Level, Panel, Series};
use foretoken::train::chart::{Axis, Curve, Point};
use std::fmt::Write;

/// Units of a drawing; `script.js` reads values by them.
const WIDE: f64 = 3000.0;
const HIGH: f64 = 10_000.0;
/// Columns of a curve, and the fewest where there are many curves: what a page may weigh.
const COLUMNS: (usize, usize) = (300, 100);
/// Columns of all runs together.
const ALL_COLUMNS: usize = 900;
/// Units between points at least: nearer ones would run together.
const APART: i64 = 45;

/// All drawings of a panel: one for each choice of axes.
pub(super) fn panel(panel: &Panel<'_>, across: &[(Across, bool)], runs: usize) -> String {
    let mut out = String::new();
    let upright = [false, true].map(|log| Drawing::upright(panel, log));
    for (across, log_x) in across {
        let spreads: &[(Spread, &str)] = match (log_x, panel.log) {
            (false, _) => &[(Spread::Linear, "s-linear")],
            (true, true) => &[(Spread::LogX, "s-logx"), (Spread::LogLog, "s-loglog")],
            (true, false) => &[(Spread::LogX, "s-logx s-loglog")],
        };
        for (spread, class) in spreads {
            let drawing = Drawing::new(panel, across, upright[usize::from(*spread == Spread::LogLog)], runs);
            writeln!(
                out,
                r#"<div class="v x-{} {class}">{}</div>"#,
                across.along.id(),
                drawing.html()
            )
            .expect("a string takes all");
        }
    }
    out
}

/// What a panel says below: marks that need words.
pub(super) fn notes(panel: &Panel<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let smooth = panel.series.iter().any(|series| series.kind == Kind::Smooth);
    if smooth {
        notes.push("Band: lowest to highest value of each column. Line: smoothed.".to_owned());
    }
    if panel.series.iter().any(|series| series.kind == Kind::Points) {
        notes.push("Points: evaluations; a ring is the lowest.".into());
    }
    let each = || panel.series.iter().filter(|series| series.kind != Kind::Points);
    for series in each() {
        let Some(missing) = panel.missing else { break };
        let lost = series.values(1.0).filter(|(_, value)| value.is_none()).count();
        if lost > 0 {
            let of = match each().count() {
                1 => String::new(),
                _ => format!("{}: ", series.name),
            };
            let were = if lost == 1 { " was" } else { "s were" };
            notes.push(format!("{of}{lost} step{were} {missing} (marks below)."));
        }
    }
    let (axis, _) = Drawing::upright(panel, false);
    let above = |series: &Series<'_>| {
        let values = series.values(panel.divisor).filter_map(|(_, value)| value);
        values.filter(|&value| value > axis.hi).count()
    };
    let above: usize = panel.series.iter().map(above).sum();
    if above > 0 {
        let s = if above == 1 { " is" } else { "s are" };
        notes.push(format!(
            "{above} value{s} off the top of the linear axis (marks above)."
        ));
    }
    notes
}

struct Drawing<'p, 'a> {
    panel: &'p Panel<'a>,
    across: &'p Across,
    up: Axis,
    log_y: bool,
    columns: usize,
    svg: String,
}

impl<'p, 'a> Drawing<'p, 'a> {
    fn new(panel: &'p Panel<'a>, across: &'p Across, (up, log_y): (Axis, bool), runs: usize) -> Self {
        let mut drawing = Self {
            panel,
            across,
            up,
            log_y,
            columns: (ALL_COLUMNS / runs.max(1)).clamp(COLUMNS.1, COLUMNS.0),
            svg: String::new(),
        };
        drawing.grid();
        let curves: Vec<Curve> = panel.series.iter().map(|series| drawing.curve(series)).collect();
        // All bands below all lines.
        for (series, curve) in panel.series.iter().zip(&curves) {
            if series.kind == Kind::Smooth {
                drawing.band(series, curve);
            }
        }
        drawing.levels();
        for (series, curve) in panel.series.iter().zip(&curves) {
            match series.kind {
                Kind::Smooth => drawing.line(series, &curve.smooth()),
                Kind::Exact => drawing.line(series, &curve.extremes()),
                Kind::Points => {
                    drawing.line(series, &curve.extremes());
                    drawing.points(series);
                }
            }
            drawing.marks(series);
        }
        drawing
    }

    /// The y axis, and whether it is logarithmic: nothing below 0 can be.
    fn upright(panel: &Panel<'_>, log: bool) -> (Axis, bool) {
        let all = panel.series.iter().map(|series| {
            let values = series.values(panel.divisor).filter_map(|(_, value)| value);
            values.collect::<Vec<f64>>()
        });
        let all: Vec<Vec<f64>> = all.collect();
        let first = all
            .iter()
            .filter_map(|values| values.first())
            .copied()
            .fold(0.0, f64::max);
        let values = all.concat();
        let log = log && values.iter().any(|&value| value > 0.0);
        let levels = panel.levels.iter().map(|level| level.value / panel.divisor);
        let levels: Vec<f64> = levels.filter(|&level| !log || level > 0.0).collect();
        (upright(values, first, &levels, log, panel.zero), log)
    }

    fn curve(&self, series: &Series<'_>) -> Curve {
        let mut curve = Curve::new(self.columns);
        for (row, value) in series.values(self.panel.divisor) {
            let Some(x) = self.across.place(row) else { continue };
            match value {
                Some(value) if value > self.up.hi => curve.push_cut(x, self.up.hi),
                Some(value) if self.log_y && value < self.up.lo => curve.push_cut(x, self.up.lo),
                Some(value) => curve.push(x, value),
                // Between evaluations nothing is missing.
                None if series.kind != Kind::Points => curve.push_gap(x),
                None => {}
            }
        }
        curve
    }

    fn x(&self, place: f64) -> i64 {
        (place * WIDE).round() as i64
    }

    fn y(&self, value: f64) -> i64 {
        ((1.0 - self.up.place(value)) * HIGH).round() as i64
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(text).expect("a string takes all");
    }

    fn grid(&mut self) {
        let mut d = String::new();
        for tick in self.up.ticks(5) {
            write!(d, "M0 {}h{WIDE}", self.y(tick.value)).expect("a string takes all");
        }
        for tick in self.across.axis.ticks(6) {
            write!(d, "M{} 0v{HIGH}", self.x(self.across.axis.place(tick.value))).expect("a string takes all");
        }
        self.put(format_args!(r#"<path class="grid" d="{d}"/>"#));
        let minor = self.across.axis.minor_ticks().into_iter();
        let minor = minor.map(|value| format!("M{} {HIGH}v-200", self.x(self.across.axis.place(value))));
        let d: String = minor.collect();
        if !d.is_empty() {
            self.put(format_args!(r#"<path class="minor" d="{d}"/>"#));
        }
    }

    fn band(&mut self, series: &Series<'_>, curve: &Curve) {
        let mut d = String::new();
        for line in curve.band() {
            let there = line.iter().map(|&(x, _, high)| (self.x(x), self.y(high)));
            let back = line.iter().rev().map(|&(x, low, _)| (self.x(x), self.y(low)));
            polyline(&mut d, there.chain(back));
            d.push('z');
        }
        if !d.is_empty() {
            self.put(format_args!(
                r#"<path class="band c{} g{}" d="{d}"/>"#,
                series.color, series.of
            ));
        }
    }

    fn line(&mut self, series: &Series<'_>, lines: &[Vec<Point>]) {
        let mut d = String::new();
        for line in lines {
            polyline(&mut d, line.iter().map(|&(x, value)| (self.x(x), self.y(value))));
        }
        if d.is_empty() {
            return;
        }
        let name = escape(&series.name);
        let (class, color, of) = (class(series), series.color, series.of);
        self.put(format_args!(
            r#"<path class="line {class} c{color} g{of}" data-name="{name}" d="{d}"/>"#
        ));
    }

    /// Every evaluation as a dot, the lowest as a ring around nothing.
    fn points(&mut self, series: &Series<'_>) {
        let values = || {
            series
                .values(self.panel.divisor)
                .filter_map(|(row, value)| Some((row, value?)))
        };
        let best = values().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| row.step);
        let (mut d, mut ring, mut before) = (String::new(), String::new(), i64::MIN / 2);
        for (row, value) in values() {
            let Some(x) = self.across.place(row).map(|x| self.x(x)) else {
                continue;
            };
            let dot = |d: &mut String| write!(d, "M{x} {}h0", self.y(value)).expect("a string takes all");
            if best == Some(row.step) {
                dot(&mut ring);
            } else if x - before >= APART {
                dot(&mut d);
                before = x;
            }
        }
        let (color, of) = (series.color, series.of);
        self.put(format_args!(r#"<path class="dots c{color} g{of}" d="{d}"/>"#));
        if !ring.is_empty() {
            self.put(format_args!(
                r#"<path class="ring c{color} g{of}" d="{ring}"/><path class="hole g{of}" d="{ring}"/>"#
            ));
        }
    }

    /// Steps without a value along the bottom, steps off the top along the top; about one a column.
    fn marks(&mut self, series: &Series<'_>) {
        let (mut below, mut above) = (Vec::new(), Vec::new());
        for (row, value) in series.values(self.panel.divisor) {
            let Some(x) = self.across.place(row).map(|x| self.x(x)) else {
                continue;
            };
            let (marks, y) = match value {
                None if self.panel.missing.is_some() && series.kind != Kind::Points => (&mut below, HIGH as i64),
                Some(value) if value > self.up.hi => (&mut above, 0),
                _ => continue,
            };
            if marks.last().is_none_or(|&(last, _): &(i64, i64)| x - last >= 10) {
                marks.push((x, y));
            }
        }
        for (marks, class) in [(below, "lost"), (above, "above")] {
            let d: String = marks.iter().map(|(x, y)| format!("M{x} {y}h0")).collect();
            if !d.is_empty() {
                self.put(format_args!(
                    r#"<path class="{class} c{} g{}" d="{d}"/>"#,
                    series.color, series.of
                ));
            }
        }
    }

    fn levels(&mut self) {
        for level in &self.panel.levels {
            let y = self.y(level.value / self.panel.divisor);
            let class = self.of_level(level);
            self.put(format_args!(r#"<path class="level {class}" d="M0 {y}h{WIDE}"/>"#));
        }
    }

    /// A line that only one run has is hidden with it, and where there are several lines each has its run's colour.
    fn of_level(&self, level: &Level) -> String {
        match (&level.of[..], self.panel.levels.len()) {
            ([run], 1) => format!("g{run}"),
            ([run], _) => format!("g{run} c{}", run % COLORS),
            _ => String::new(),
        }
    }

    fn html(&self) -> String {
        let (panel, across) = (self.panel, self.across);
        let percent = |y: i64| y as f64 / HIGH * 100.0;
        let mut up = String::new();
        for tick in self.up.ticks(5) {
            write!(
                up,
                r#"<span style="top:{:.1}%">{}</span>"#,
                percent(self.y(tick.value)),
                tick.label
            )
            .expect("a string takes all");
        }
        let mut over = String::new();
        for tick in across.axis.ticks(6) {
            let left = across.axis.place(tick.value) * 100.0;
            write!(over, r#"<span style="left:{left:.1}%">{}</span>"#, tick.label).expect("a string takes all");
        }
        let mut words = String::new();
        let mut labelled: Vec<f64> = Vec::new();
        for level in &panel.levels {
            let top = percent(self.y(level.value / panel.divisor));
            // Words over words help nobody.
            if labelled.iter().any(|other| (other - top).abs() < 6.0) {
                continue;
            }
            labelled.push(top);
            let side = if top > 88.0 { "over" } else { "under" };
            let (class, label) = (self.of_level(level), escape(&level.label));
            write!(
                words,
                r#"<span class="{side} {class}" style="top:{top:.1}%">{label}</span>"#
            )
            .expect("a string takes all");
        }
        let y_unit = if panel.unit.is_empty() { panel.title } else { panel.unit };
        let label = format!(
            "{} ({y_unit}) over {}; the table below has its values",
            panel.title, across.unit
        );
        format!(
            r#"<div class="yt">{unit}</div><div class="plot"><div class="yl" aria-hidden="true">{up}</div><div class="area" tabindex="0" role="group" aria-label="{label}" data-x="{x0} {x1} {lx}" data-y="{y0} {y1} {ly}" data-unit="{xu}"><svg viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img" aria-label="{label}">{svg}</svg>{words}</div><div class="xl" aria-hidden="true">{over}</div></div><div class="xt">{xu}</div>"#,
            unit = escape(panel.unit),
            label = escape(&label),
            x0 = across.axis.lo,
            x1 = across.axis.hi,
            lx = u8::from(is_log(across)),
            y0 = self.up.lo,
            y1 = self.up.hi,
            ly = u8::from(self.log_y),
            xu = across.unit,
            svg = self.svg,
        )
    }
}

fn is_log(across: &Across) -> bool {
    use foretoken::train::chart::Scale;
    matches!(across.axis.scale, Scale::Log | Scale::LogSteps)
}

fn class(series: &Series<'_>) -> &'static str {
    match series.kind {
        Kind::Smooth => "smooth",
        Kind::Exact => "exact",
        Kind::Points => "val",
    }
}

/// A line through points, in steps from one to the next: half as long as places would be.
fn polyline(d: &mut String, points: impl Iterator<Item = (i64, i64)>) {
    let mut before: Option<(i64, i64)> = None;
    let mut moved = false;
    for (x, y) in points {
        let written = match before {
            None => write!(d, "M{x} {y}"),
            Some((x0, y0)) if (x, y) == (x0, y0) => continue,
            Some((x0, y0)) => {
                let between = if moved { " " } else { "l" };
                moved = true;
                write!(d, "{between}{} {}", x - x0, y - y0)
            }
        };
        written.expect("a string takes all");
        before = Some((x, y));
    }
    if before.is_some() && !moved {
        d.push_str("h0");
    }
}

#[cfg(test)]
mod tests;
