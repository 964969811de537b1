//! The losses of a run in the terminal: a small plot, and a line of blocks.

use anstyle::{Ansi256Color, Color, Style};
use foretoken::train::Metrics;
use foretoken::train::chart::{Losses, Point, Scale};

/// Blue, orange and grey of the 256 colours: told apart by every colour vision, on light and on dark.
const TRAIN: Style = ink(33);
const VAL: Style = ink(208);
const FAINT: Style = ink(245);

const fn ink(index: u8) -> Style {
    Style::new().fg_color(Some(Color::Ansi256(Ansi256Color(index))))
}

/// Smallest plot that says anything, in cells; below, a line of blocks stands for it.
const LEAST: (usize, usize) = (12, 3);
/// Lines around the plot: a legend above, the axis and its labels below.
const AROUND: usize = 3;
/// Cells from a validation point to the next at least, so that the training line is still seen; the last is always there.
const APART: usize = 4;

/// Dots of a braille cell, `[row][column]`, as bits.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Training loss (a braille line, smoothed), validation loss (points) and the `floor`, nats per token, over steps, in at
/// most `height` lines of at most `width` columns. Where that is too small for axes, the training loss as one line of
/// blocks. Empty where there are no losses.
pub(crate) fn loss_plot(metrics: &[Metrics], floor: Option<f64>, width: usize, height: usize, color: bool) -> String {
    let rows = height.saturating_sub(AROUND);
    // The labels left of the axis decide the width that is left; they depend on the y axis alone.
    let losses = Losses::new(metrics, floor, width);
    if losses.train.values() + losses.val.values() == 0 || height == 0 {
        return String::new();
    }
    let gutter = gutter(&losses, rows);
    let margin = gutter
        .iter()
        .map(|label| label.chars().count())
        .fold("step".len(), usize::max);
    let cells = width.saturating_sub(margin + 2);
    if cells < LEAST.0 || rows < LEAST.1 {
        let line: Vec<f64> = losses.train.smooth().concat().iter().map(|point| point.1).collect();
        return sparkline(&line, width) + "\n";
    }
    let losses = Losses::new(metrics, floor, 2 * cells);
    // Powers of ten have short labels.
    let room = if losses.x.scale == Scale::LogSteps { 6 } else { 12 };
    let ticks: Vec<(usize, String)> = (losses.x.ticks((cells / room).clamp(2, 8)).into_iter())
        .map(|tick| (nearest(losses.x.place(tick.value), cells), tick.label))
        .collect();
    let mut lines = vec![legend(&losses, width)];
    for (label, cells) in gutter.iter().zip(plot(metrics, &losses, cells, rows)) {
        let mut line = Line::default();
        line.push(
            &format!("{label:>margin$} {}", if label.is_empty() { '│' } else { '┤' }),
            FAINT,
        );
        line.0.extend(cells);
        lines.push(line);
    }
    let axis = (0..cells).map(|cell| {
        if ticks.iter().any(|tick| tick.0 == cell) {
            '┬'
        } else {
            '─'
        }
    });
    lines.push(Line::default());
    let last = lines.last_mut().expect("just pushed");
    last.push(&format!("{:margin$} └{}", "", axis.collect::<String>()), FAINT);
    lines.push(steps(&ticks, margin, width));
    lines.iter().map(|line| line.write(color) + "\n").collect()
}

/// The values as one line of at most `width` blocks, lowest to highest; the mean of neighbours where there are more
/// values than columns, a blank where a value is not finite.
pub(crate) fn sparkline(values: &[f64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = width.min(values.len());
    let means: Vec<Option<f64>> = (0..columns)
        .map(|i| {
            let bin = &values[i * values.len() / columns..(i + 1) * values.len() / columns];
            let finite: Vec<f64> = bin.iter().copied().filter(|value| value.is_finite()).collect();
            // Divided first: no sum of finite values overflows.
            (!finite.is_empty()).then(|| finite.iter().map(|value| value / finite.len() as f64).sum())
        })
        .collect();
    let known = || means.iter().flatten().copied();
    let (low, high) = (
        known().fold(f64::INFINITY, f64::min),
        known().fold(f64::NEG_INFINITY, f64::max),
    );
    let block = |value: f64| {
        // In halves, for the span of two finite values may not be finite.
        let part = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        if part.is_finite() {
            BLOCKS[(part * 7.0).round() as usize]
        } else {
            BLOCKS[0]
        }
    };
    means.iter().map(|mean| mean.map_or(' ', block)).collect()
}

/// A line of characters, each one column wide, in their styles.
#[derive(Default)]
struct Line(Vec<(char, Style)>);

impl Line {
    fn push(&mut self, text: &str, style: Style) {
        self.0.extend(text.chars().map(|c| (c, style)));
    }

    /// The line as text, without blanks at its end.
    fn write(&self, color: bool) -> String {
        let end = self.0.iter().rposition(|cell| cell.0 != ' ').map_or(0, |last| last + 1);
        let runs = self.0[..end].chunk_by(|a, b| a.1 == b.1);
        runs.map(|run| {
            let text: String = run.iter().map(|cell| cell.0).collect();
            crate::terminal::paint(&text, run[0].1, color && run[0].1 != Style::new())
        })
        .collect()
    }
}

/// What the marks mean, and where the losses are: the parts that fit.
fn legend(losses: &Losses, width: usize) -> Line {
    let train = losses
        .train
        .smooth()
        .last()
        .and_then(|line| line.last())
        .map(|point| point.1);
    let parts = [
        ("⠒⠒", TRAIN, "training", train),
        ("●", VAL, "validation", losses.last_val),
        ("╌╌", FAINT, "floor", losses.floor),
    ];
    let mut line = Line::default();
    line.push("loss", Style::new());
    for (mark, style, name, loss) in parts {
        let Some(loss) = loss else { continue };
        let text = format!(" {name} {loss:.3}");
        if line.0.len() + 2 + mark.chars().count() + text.chars().count() > width {
            break;
        }
        line.push("  ", Style::new());
        line.push(mark, style);
        line.push(&text, Style::new());
    }
    line
}

/// The label of each row: round losses, and the floor's name.
fn gutter(losses: &Losses, rows: usize) -> Vec<String> {
    let mut labels = vec![String::new(); rows];
    if rows > 0 {
        for tick in losses.y.ticks((rows / 2).clamp(1, 6)) {
            labels[row_of(losses, tick.value, rows)] = tick.label;
        }
        if let Some(floor) = losses.floor {
            labels[row_of(losses, floor, rows)] = "floor".into();
        }
    }
    labels
}

/// The labels under the axis, those that fit beside each other.
fn steps(ticks: &[(usize, String)], margin: usize, width: usize) -> Line {
    let mut line = Line::default();
    line.push(&format!("{:>margin$}", "step"), FAINT);
    for (cell, label) in ticks {
        let center = margin + 2 + cell;
        let start = (center - label.len() / 2).min(width - label.len());
        if start > line.0.len() {
            line.push(&" ".repeat(start - line.0.len()), Style::new());
            line.push(label, FAINT);
        }
    }
    line
}

/// The cells of the plot, row by row.
fn plot(metrics: &[Metrics], losses: &Losses, cells: usize, rows: usize) -> Vec<Vec<(char, Style)>> {
    let mut dots = vec![vec![0u8; cells]; rows];
    for line in losses.train.smooth() {
        let places: Vec<(f64, f64)> = line.iter().map(|&point| dot(losses, point, cells, rows)).collect();
        places.iter().for_each(|&place| set(&mut dots, place));
        for pair in places.windows(2) {
            stroke(&mut dots, pair[0], pair[1]);
        }
    }
    let floor = losses.floor.map(|floor| row_of(losses, floor, rows));
    let cell = |row: usize, bits: u8| match bits {
        0 if floor == Some(row) => ('╌', FAINT),
        0 => (' ', Style::new()),
        bits => (
            char::from_u32(0x2800 + u32::from(bits)).expect("a braille pattern"),
            TRAIN,
        ),
    };
    let mut grid: Vec<Vec<_>> = dots
        .iter()
        .enumerate()
        .map(|(row, line)| line.iter().map(|&bits| cell(row, bits)).collect())
        .collect();
    let points: Vec<(usize, usize)> = metrics
        .iter()
        .filter_map(|step| Some((step.step, step.val_loss.filter(|loss| loss.is_finite())?)))
        .map(|(step, loss)| (nearest(losses.x.place(step as f64), cells), row_of(losses, loss, rows)))
        .collect();
    let mut before = None;
    for (i, &(at, row)) in points.iter().enumerate() {
        if before.is_none_or(|before| at >= before + APART) || i + 1 == points.len() {
            grid[row][at] = ('●', VAL);
            before = Some(at);
        }
    }
    grid
}

/// A straight line of dots.
fn stroke(dots: &mut [Vec<u8>], from: (f64, f64), to: (f64, f64)) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.abs().max(dy.abs()).max(1.0);
    for i in 0..=length as usize {
        let part = i as f64 / length;
        set(dots, (from.0 + part * dx, from.1 + part * dy));
    }
}

fn set(dots: &mut [Vec<u8>], (x, y): (f64, f64)) {
    let (x, y) = (x.round() as usize, y.round() as usize);
    dots[y / 4][x / 2] |= DOTS[y % 4][x % 2];
}

/// The place of a point in dots, from the upper left.
fn dot(losses: &Losses, (x, loss): Point, cells: usize, rows: usize) -> (f64, f64) {
    let (width, height) = ((2 * cells - 1) as f64, (4 * rows - 1) as f64);
    ((x * width).round(), ((1.0 - losses.y.place(loss)) * height).round())
}

/// The row of a loss: that of its dot.
fn row_of(losses: &Losses, loss: f64, rows: usize) -> usize {
    dot(losses, (0.0, loss), 1, rows).1 as usize / 4
}

/// The cell of a place from 0 to 1: that of its dot.
fn nearest(place: f64, cells: usize) -> usize {
    (place * (2 * cells - 1) as f64).round() as usize / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(train: impl Fn(u64) -> Option<f64>, val: impl Fn(u64) -> Option<f64>, steps: u64) -> Vec<Metrics> {
        (1..=steps)
            .map(|step| Metrics {
                step,
                tokens: step * 100,
                train_loss: train(step),
                val_loss: val(step),
                ..Metrics::default()
            })
            .collect()
    }

    fn falling(step: u64) -> f64 {
        2.0 + 6.0 * (step as f64).powf(-0.3)
    }

    /// Losses 7, 6, 5, none, 3, 2, 1; validation 1.5 at the end.
    fn seven() -> Vec<Metrics> {
        run(
            |step| (step != 4).then_some(8.0 - step as f64),
            |step| (step == 7).then_some(1.5),
            7,
        )
    }

    #[test]
    fn a_tiny_run_dot_by_dot() {
        let want = "\
loss  ⠒⠒ training 1.000  ● validation 1.500
      │⠒⠢⠤⠤⢄⣀⣀⡀
    5 ┤       ⠈⠉⠉⠑⠒⠂
      │                        ⠐⠒⠤⠤⠤⣀⣀⣀
floor ┤╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌⠉⠉⠉⠒●
      └──────┬───────────┬───────────┬──────
 step        2           4           6
";
        assert_eq!(loss_plot(&seven(), Some(0.5), 44, 7, false), want);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let want = "\
loss  ⠒⠒ training 1.000
      │⠒⠤⢄⡀
    5 ┤   ⠈⠑⠢
      │           ⡀
      │           ⠈⠑⠢⠤⣀●
floor ┤╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌⠉
      └───────────┬─────
 step             5
";
        assert_eq!(loss_plot(&seven(), Some(0.5), 24, 8, false), want);
    }

    #[test]
    fn a_long_run_is_logarithmic() {
        let metrics = run(
            |step| Some(falling(step)),
            |step| (step % 1000 == 0).then(|| falling(step) + 0.1),
            10_000,
        );
        let text = loss_plot(&metrics, None, 40, 8, false);
        let last = text.lines().last().expect("labels");
        assert_eq!(
            last.split_whitespace().collect::<Vec<_>>(),
            ["step", "1", "10", "100", "1k", "10k"]
        );
    }

    #[test]
    fn never_wider_never_higher() {
        let long = run(
            |step| Some(falling(step)),
            |step| (step % 7 == 0).then(|| falling(step)),
            6000,
        );
        let wild = run(
            |step| Some(if step == 9 { f64::MAX } else { -(step as f64) }),
            |_| Some(f64::NAN),
            20,
        );
        for metrics in [&long[..], &long[..999], &long[..2], &long[..1], &wild, &seven(), &[]] {
            for floor in [None, Some(1.234_567), Some(-1e300), Some(f64::NAN)] {
                for (width, height) in (0..70).flat_map(|width| [0, 1, 5, 6, 7, 24].map(|height| (width, height))) {
                    let text = loss_plot(metrics, floor, width, height, false);
                    assert!(text.lines().count() <= height, "{height} lines\n{text}");
                    for line in text.lines() {
                        assert!(line.chars().count() <= width, "{width} columns\n{text}");
                        assert_eq!(line.trim_end(), line);
                    }
                }
            }
        }
    }

    #[test]
    fn colour_adds_codes_and_nothing_else() {
        let plain = loss_plot(&seven(), Some(0.5), 44, 9, false);
        let colored = loss_plot(&seven(), Some(0.5), 44, 9, true);
        assert!(!plain.contains('\u{1b}') && colored.contains("\u{1b}[38;5;208m●\u{1b}[0m"));
        let mut stripped = String::new();
        for (i, part) in colored.split('\u{1b}').enumerate() {
            stripped += if i == 0 {
                part
            } else {
                part.split_once('m').expect("the end of a code").1
            };
        }
        assert_eq!(stripped, plain);
    }

    #[test]
    fn nothing_to_draw() {
        assert_eq!(loss_plot(&[], Some(2.0), 80, 12, false), "");
        assert_eq!(loss_plot(&run(|_| None, |_| None, 5), None, 80, 12, false), "");
        assert_eq!(loss_plot(&seven(), None, 80, 0, false), "");
    }

    #[test]
    fn too_small_for_axes() {
        assert_eq!(loss_plot(&seven(), None, 10, 12, false), "█▇▆▃▂▁\n");
        assert_eq!(loss_plot(&seven(), None, 80, 2, false).lines().count(), 1);
    }

    #[test]
    fn sparklines() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[0.0, 2.0, 14.0, 14.0, 6.0, 8.0], 3), "▁█▄");
        assert_eq!(sparkline(&[3.0, f64::NAN, 1.0], 9), "█ ▁");
        assert_eq!(sparkline(&[5.0, 5.0], 9), "▁▁");
        assert_eq!(sparkline(&[f64::MAX, -f64::MAX], 2), "█▁");
        assert_eq!(
            (sparkline(&[], 9), sparkline(&[1.0], 0)),
            (String::new(), String::new())
        );
    }
}
