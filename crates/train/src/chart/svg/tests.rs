//! The SVG read back: its XML, its geometry, its words.

use super::*;
use roxmltree::{Document, Node};

/// A run that falls as a power of the steps, with noise that is the same every time.
fn run(steps: u64, every: u64) -> Vec<Metrics> {
    let row = |step: u64| {
        let noise = (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24) - 0.5;
        let loss = 2.0 + 6.0 * (step as f64).powf(-0.3);
        Metrics {
            step,
            tokens: step * 4096,
            train_loss: Some(loss + 0.4 * noise),
            val_loss: (step % every == 0).then_some(loss + 0.1),
            val_bits_per_byte: (step % every == 0).then_some(loss / 3.0),
            ..Metrics::default()
        }
    };
    (1..=steps).map(row).collect()
}

/// Every number of the geometry: finite, and on the picture.
fn check_geometry(svg: &str) {
    let document = Document::parse(svg).expect("it is XML");
    let inside = |x: f64, bound: f64| x.is_finite() && (-0.1..=bound + 0.1).contains(&x);
    for node in document.descendants() {
        for (name, bound) in [("x", WIDTH), ("cx", WIDTH), ("y", HEIGHT), ("cy", HEIGHT)] {
            if let Some(value) = node.attribute(name) {
                assert!(inside(value.parse().expect("a number"), bound), "{name}={value}");
            }
        }
        for (x, y) in points(node) {
            assert!(inside(x, WIDTH) && inside(y, HEIGHT), "{x} {y}");
        }
    }
    for word in ["NaN", "inf"] {
        assert!(!svg.replace("sans-serif", "").contains(word), "{word}");
    }
}

/// The absolute points of a path.
fn points(node: Node<'_, '_>) -> Vec<(f64, f64)> {
    let number = |text: &str| text.parse().expect("a number");
    node.attribute("d")
        .unwrap_or("")
        .split(['M', 'L'])
        .filter(|part| !part.is_empty())
        .filter_map(|part| {
            let (x, rest) = part.split_once(' ')?;
            Some((number(x), number(rest.split(|c: char| c.is_alphabetic()).next()?)))
        })
        .collect()
}

fn by_id<'a>(document: &'a Document<'_>, id: &str) -> Option<Node<'a, 'a>> {
    document.descendants().find(|node| node.attribute("id") == Some(id))
}

fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).expect("it is XML");
    document
        .descendants()
        .filter(|n| n.has_tag_name("text"))
        .filter_map(|n| n.text().map(Into::into))
        .collect()
}

#[test]
fn any_length_is_drawn_and_small() {
    for steps in [0, 1, 2, 30, 1000, 4999, 5000, 1_000_000] {
        for floor in [None, Some(1.9)] {
            let svg = loss_svg(&run(steps, 10), floor);
            check_geometry(&svg);
            assert!(svg.len() < 100_000, "{} bytes of {steps} steps", svg.len());
        }
    }
}

#[test]
fn hostile_figures_stay_on_the_picture() {
    let mut metrics = run(200, 10);
    metrics[3].train_loss = Some(f64::MAX);
    metrics[4].train_loss = Some(-f64::MAX);
    metrics[5].train_loss = Some(f64::NAN);
    metrics[6].val_loss = Some(f64::INFINITY);
    metrics[7].step = u64::MAX;
    metrics[8].step = 0;
    metrics[9].tokens = u64::MAX;
    check_geometry(&loss_svg(&metrics, Some(f64::NAN)));
    check_geometry(&loss_svg(&metrics[7..8], Some(1e300)));
    metrics
        .iter_mut()
        .for_each(|row| (row.train_loss, row.val_loss) = (None, None));
    check_geometry(&loss_svg(&metrics, Some(2.0)));
}

#[test]
fn the_floor_is_there_where_it_is_known() {
    let metrics = run(100, 10);
    let is_floor = |text: &String| text.starts_with("entropy floor 1.900");
    let with = loss_svg(&metrics, Some(1.9));
    assert_eq!(texts(&with).iter().filter(|text| is_floor(text)).count(), 1);
    assert!(by_id(&Document::parse(&with).expect("XML"), "floor").is_some());
    let without = loss_svg(&metrics, None);
    assert!(!without.contains("floor"));
}

#[test]
fn figures_and_axes_are_written_out() {
    let texts = texts(&loss_svg(&run(1000, 100), Some(1.9)));
    assert_eq!(texts[0], "Loss over 1,000 steps, 4.1M tokens");
    assert!(
        texts[1].contains("validation 2.855 = 0.918 bits per byte · 0.955 above the entropy floor"),
        "{}",
        texts[1]
    );
    for label in [
        "step",
        "tokens",
        "1,000",
        "819k",
        "loss, nats per token",
        "training, smoothed",
    ] {
        assert!(texts.iter().any(|text| text == label), "{label} in {texts:?}");
    }
}

#[test]
fn a_long_run_is_thinned_and_keeps_lowest_and_highest() {
    let mut metrics = run(100_000, 1000);
    metrics[54_321].train_loss = Some(9.5);
    metrics[76_543].train_loss = Some(0.7);
    let losses = Losses::new(&metrics, None, 852);
    let svg = loss_svg(&metrics, None);
    let document = Document::parse(&svg).expect("XML");
    let drawn = points(by_id(&document, "steps").expect("the band"));
    assert!(drawn.len() < 4 * 852);
    for (row, loss) in [(54_321, 9.5), (76_543, 0.7)] {
        let (x, y) = (at_x(losses.x.place(metrics[row].step as f64)), at_y(&losses, loss));
        let kept = drawn.iter().any(|p| (p.0 - x).abs() < 0.06 && (p.1 - y).abs() < 0.06);
        assert!(kept, "{loss} at {x} {y}");
    }
}

#[test]
fn skipped_steps_are_gaps_and_marks() {
    let mut metrics = run(30, 10);
    metrics[9].train_loss = None;
    metrics[10].train_loss = Some(f64::NAN);
    let svg = loss_svg(&metrics, None);
    let document = Document::parse(&svg).expect("XML");
    let line = by_id(&document, "training")
        .expect("the line")
        .attribute("d")
        .expect("d");
    assert_eq!(line.matches('M').count(), 2);
    assert_eq!(
        document
            .descendants()
            .filter(|node| node.attribute("class") == Some("lost"))
            .count(),
        2
    );
    assert!(texts(&svg).contains(&"loss not finite: 2 steps".to_owned()));
}

#[test]
fn a_spike_does_not_flatten_the_rest() {
    let mut metrics = run(1000, 100);
    metrics[500].train_loss = Some(1e6);
    let svg = loss_svg(&metrics, None);
    assert!(texts(&svg).contains(&"off the top: 1 step".to_owned()));
    assert!(Losses::new(&metrics, None, 10).y.hi < 13.0);
    // A run that went wrong for good is shown as it is.
    metrics[500..].iter_mut().for_each(|row| row.train_loss = Some(50.0));
    assert!(Losses::new(&metrics, None, 10).y.hi > 50.0);
}

#[test]
fn text_is_escaped() {
    assert_eq!(escape(r#"a<b & "c">"#), "a&lt;b &amp; &quot;c&quot;&gt;");
}
