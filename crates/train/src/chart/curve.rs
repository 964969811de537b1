//! A curve of any length in a fixed number of columns: its extremes, and a smooth line through it.

/// A place on the x axis, 0 to 1, and a loss.
pub type Point = (f64, f64);

/// A place on the x axis, 0 to 1, with the lowest and the highest value there.
pub type Span = (f64, f64, f64);

/// Half of the smoothing window, as a part of the x axis: 40 of 1,000 steps.
const WINDOW: f64 = 0.04;

/// Values that the window takes in at least, however far apart: a short run, the first steps on a log axis.
const NEAREST: u64 = 6;

/// Values over the x axis, gathered column by column: memory depends on the columns only.
#[derive(Clone, Debug)]
pub struct Curve {
    columns: Vec<Column>,
    values: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Column {
    /// Values, of which `n` are part of the smooth line; `sum` is theirs.
    values: u64,
    n: u64,
    sum: Point,
    first: Point,
    low: Point,
    high: Point,
    last: Point,
    gap: bool,
}

/// The mean of a column's values.
struct Mean {
    x: f64,
    y: f64,
    n: u64,
}

impl Column {
    fn mean(&self) -> Option<Mean> {
        let n = self.n as f64;
        (self.n > 0).then(|| Mean {
            x: self.sum.0 / n,
            y: self.sum.1 / n,
            n: self.n,
        })
    }
}

impl Curve {
    /// An empty curve of at least one column.
    pub fn new(columns: usize) -> Self {
        Self {
            columns: vec![Column::default(); columns.max(1)],
            values: 0,
        }
    }

    /// Adds a value; `x` is 0 to 1, both are finite.
    pub fn push(&mut self, x: f64, y: f64) {
        self.push_cut(x, y);
        let column = self.column(x);
        column.n += 1;
        column.sum = (column.sum.0 + x, column.sum.1 + y);
    }

    /// Adds a value that was cut to `y`: the smooth line, which it would bend by an amount without meaning, passes by.
    pub fn push_cut(&mut self, x: f64, y: f64) {
        let point = (x, y);
        self.values += 1;
        let column = self.column(x);
        if column.values == 0 {
            (column.first, column.low, column.high) = (point, point, point);
        }
        if y < column.low.1 {
            column.low = point;
        }
        if y > column.high.1 {
            column.high = point;
        }
        column.values += 1;
        column.last = point;
    }

    /// Notes that a value is missing at `x`: no line is drawn through a column that has nothing else.
    pub fn push_gap(&mut self, x: f64) {
        self.column(x).gap = true;
    }

    /// Values so far.
    pub fn values(&self) -> u64 {
        self.values
    }

    /// The curve in at most four points a column (first, lowest, highest, last, in their order), cut at gaps: drawn as
    /// wide as it has columns, it looks as the line through all values does (Jugel et al., M4, VLDB 2014).
    pub fn extremes(&self) -> Vec<Vec<Point>> {
        self.lines(|column, line| {
            let mut points = [column.first, column.low, column.high, column.last];
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            line.extend(points);
            line.dedup();
        })
    }

    /// The lowest and the highest value of each column, cut at gaps: what the smooth line hides.
    pub fn band(&self) -> Vec<Vec<Span>> {
        self.lines(|column, line| {
            let middle = (column.first.0 + column.last.0) / 2.0;
            line.push((middle, column.low.1, column.high.1));
        })
    }

    /// A smooth line, a point a column, cut at gaps: at each column's mean place the value there of a straight line
    /// fitted to what lies within the window, near values weighing more (Cleveland 1979). A running mean would lag, and
    /// start too low where the loss falls steeply; this does not.
    pub fn smooth(&self) -> Vec<Vec<Point>> {
        let means: Vec<Mean> = self.columns.iter().filter_map(Column::mean).collect();
        let mut i = 0;
        self.lines(|column, line| {
            if column.n > 0 {
                line.push((means[i].x, fit(&means, i)));
                i += 1;
            }
        })
    }

    fn column(&mut self, x: f64) -> &mut Column {
        let last = self.columns.len() - 1;
        &mut self.columns[((x * (last + 1) as f64) as usize).min(last)]
    }

    fn lines<P>(&self, mut add: impl FnMut(&Column, &mut Vec<P>)) -> Vec<Vec<P>> {
        let mut lines: Vec<Vec<P>> = vec![Vec::new()];
        for column in &self.columns {
            if column.values > 0 {
                add(column, lines.last_mut().expect("one at least"));
            } else if column.gap {
                lines.push(Vec::new());
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }
}

/// The value at the place of mean `i` of a line fitted to the means around it.
fn fit(means: &[Mean], i: usize) -> f64 {
    let x0 = means[i].x;
    let (mut start, mut end) = (i, i + 1);
    let (mut n, mut window) = (means[i].n, WINDOW);
    // Nearest first, until the window is full and holds enough.
    loop {
        let left = start.checked_sub(1).map_or(f64::INFINITY, |left| x0 - means[left].x);
        let right = means.get(end).map_or(f64::INFINITY, |right| right.x - x0);
        let distance = left.min(right);
        if distance == f64::INFINITY || (distance >= window && n >= NEAREST) {
            break;
        }
        window = window.max(distance);
        let taken = if left <= right { start - 1 } else { end };
        (start, end) = (start.min(taken), end.max(taken + 1));
        n += means[taken].n;
    }
    // Sums of weight times 1, x, x², y, xy, with x seen from x0 in windows.
    let [mut w, mut wx, mut wxx, mut wy, mut wxy] = [0.0; 5];
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for mean in &means[start..end] {
        let x = (mean.x - x0) / window;
        let weight = mean.n as f64 * (1.0 - x.abs().powi(3)).powi(3);
        w += weight;
        wx += weight * x;
        wxx += weight * x * x;
        wy += weight * mean.y;
        wxy += weight * x * mean.y;
        low = low.min(mean.y);
        high = high.max(mean.y);
    }
    // A slope needs two places; the line never leaves what it was fitted to.
    let spread = w * wxx - wx * wx;
    let y = if spread > 1e-9 * w * w {
        (wxx * wy - wx * wxy) / spread
    } else {
        wy / w
    };
    y.clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_keep_lowest_and_highest() {
        let n = 1_000_000;
        let mut curve = Curve::new(500);
        for i in 0..n {
            let y = match i {
                123_456 => 9.0,
                654_321 => -9.0,
                _ => (f64::from(i) * 0.7).sin(),
            };
            curve.push(f64::from(i) / f64::from(n), y);
        }
        let lines = curve.extremes();
        assert_eq!((lines.len(), curve.values()), (1, 1_000_000));
        assert!(lines[0].len() <= 2000);
        assert!(lines[0].contains(&(0.123_456, 9.0)) && lines[0].contains(&(0.654_321, -9.0)));
        assert_eq!((lines[0][0].0, lines[0].last().expect("last").0), (0.0, 0.999_999));
        assert!(lines[0].is_sorted_by(|a, b| a.0 <= b.0));
        let [band] = &curve.band()[..] else { panic!("one band") };
        let (low, high) = band
            .iter()
            .fold((0.0, 0.0), |all: Point, span| (all.0.min(span.1), all.1.max(span.2)));
        assert_eq!((band.len(), low, high), (500, -9.0, 9.0));
    }

    #[test]
    fn smooth_follows_a_slope_to_both_ends() {
        let mut curve = Curve::new(300);
        for i in 0..=1000 {
            let noise = if i % 2 == 0 { 0.1 } else { -0.1 };
            curve.push(f64::from(i) / 1000.0, 5.0 - 4.0 * f64::from(i) / 1000.0 + noise);
        }
        let [line] = &curve.smooth()[..] else {
            panic!("one line")
        };
        assert_eq!(line.len(), 300);
        for (x, y) in line {
            assert!((y - (5.0 - 4.0 * x)).abs() < 0.04, "{y} at {x}");
        }
    }

    #[test]
    fn gaps_cut_only_where_nothing_else_is() {
        let mut curve = Curve::new(10);
        for i in 0..10 {
            let x = f64::from(i) / 10.0 + 0.05;
            if i == 4 { curve.push_gap(x) } else { curve.push(x, 1.0) }
        }
        curve.push_gap(0.76);
        let lengths = |lines: Vec<Vec<Point>>| lines.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(curve.smooth()), [4, 5]);
        assert_eq!(lengths(curve.extremes()), [4, 5]);
    }

    #[test]
    fn the_smooth_line_passes_what_was_cut() {
        let mut curve = Curve::new(50);
        for i in 0..50 {
            let x = f64::from(i) / 50.0 + 0.01;
            if i == 20 {
                curve.push_cut(x, 9.0)
            } else {
                curve.push(x, 2.0)
            }
        }
        let [line] = &curve.smooth()[..] else {
            panic!("one line")
        };
        assert!(line.len() == 49 && line.iter().all(|&(_, y)| y == 2.0));
        assert!(curve.extremes()[0].iter().any(|&(_, y)| y == 9.0));
    }

    #[test]
    fn nothing_and_one() {
        assert!(Curve::new(0).smooth().is_empty());
        let mut curve = Curve::new(8);
        curve.push(1.0, 3.0);
        assert_eq!(curve.smooth(), [[(1.0, 3.0)]]);
        assert_eq!(curve.extremes(), [[(1.0, 3.0)]]);
    }
}
