//! A drawing gives back what it was made of.

use super::super::axes::Along;
use super::super::panel::panels;
use super::*;
use foretoken::train::report::RunReport;
use foretoken::train::{Metrics, RunConfig};

fn run(metrics: Vec<Metrics>) -> RunReport {
    RunReport {
        name: "run".into(),
        path: "run".into(),
        config: RunConfig::default(),
        data: None,
        metrics,
        torn: false,
        samples: Vec::new(),
        parameters: None,
        vocab_size: None,
        running: false,
    }
}

/// The values of the line of a drawing, as the page's script reads them.
fn read(drawing: &Drawing<'_, '_>) -> Vec<(f64, f64)> {
    let (_, line) = drawing.svg.split_once(r#"data-name="run" d="M"#).expect("a line");
    let (line, _) = line.split_once('"').expect("an end");
    let numbers = line
        .split(['l', ' '])
        .map(|number| number.parse::<f64>().expect("a number"));
    let numbers: Vec<f64> = numbers.collect();
    let (across, up) = (drawing.across.axis, drawing.up);
    let mut at = (0.0, 0.0);
    let mut values = Vec::new();
    for step in numbers.chunks(2) {
        at = (at.0 + step[0], at.1 + step[1]);
        let (x, y) = (at.0 / WIDE, 1.0 - at.1 / HIGH);
        let back = |axis: Axis, place: f64, log: bool| match log {
            true => axis.lo * (axis.hi / axis.lo).powf(place),
            false => axis.lo + (axis.hi - axis.lo) * place,
        };
        values.push((back(across, x, is_log(drawing.across)), back(up, y, drawing.log_y)));
    }
    values
}

#[test]
fn values_are_read_back_from_every_choice_of_axes() {
    let row = |step: u64| Metrics {
        step,
        tokens: 100 * step,
        time_s: 2.0 * step as f64,
        lr: 0.5 / step as f64,
        ..Metrics::default()
    };
    let rows: Vec<Metrics> = (1..=100).map(row).collect();
    let runs = [run(rows.clone())];
    let all = panels(&runs);
    let panel = all.iter().find(|panel| panel.id == "lr").expect("a learning rate");
    for along in Along::ALL {
        for (log_x, log_y) in [(false, false), (true, false), (true, true)] {
            let across = Across::new(&runs, along, log_x).expect("steps");
            let drawing = Drawing::new(panel, &across, Drawing::upright(panel, log_y), 1);
            let read = read(&drawing);
            let (found, known) = (read.iter(), rows.iter());
            assert_eq!(read.len(), rows.len(), "{along:?}");
            for ((x, y), row) in found.zip(known) {
                let place = along.of(row).expect("a place") / across.divisor;
                let near = |a: f64, b: f64| (a - b).abs() < 2e-3 * b.max(0.1 * across.axis.hi.min(1.0));
                assert!((x - place).abs() < 2e-3 * across.axis.hi, "{along:?}: {x} {place}");
                assert!(near(*y, row.lr), "{along:?}: {y} {}", row.lr);
            }
        }
    }
}

#[test]
fn a_lone_value_is_a_dot_and_a_missing_one_a_mark() {
    let lost = Metrics {
        step: 2,
        lr: 0.1,
        ..Metrics::default()
    };
    let one = Metrics {
        step: 1,
        train_loss: Some(3.0),
        ..lost.clone()
    };
    let runs = [run(vec![one, lost])];
    let all = panels(&runs);
    let across = Across::new(&runs, Along::Step, false).expect("steps");
    let drawing = Drawing::new(&all[0], &across, Drawing::upright(&all[0], false), 1);
    assert!(drawing.svg.contains("h0\"/>"), "{}", drawing.svg);
    assert!(
        drawing.svg.contains(r#"class="lost c0 g0" d="M3000 10000h0""#),
        "{}",
        drawing.svg
    );
    assert_eq!(notes(&all[0])[1], "1 step was without a finite loss (marks below).");
}
