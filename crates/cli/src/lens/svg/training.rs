//! A run over its checkpoints: small multiples, one a prompt's figure or a tensor, all over the same steps.

use super::{MARGIN, Picture, SOFT, TOP};
use crate::lens::table::cut;
use crate::terminal::grouped;
use foretoken::lens::HeadMap;
use foretoken::look::{History, Probed};

/// A panel, and what lies between two.
const PANEL: (f64, f64) = (150.0, 64.0);
const GAP: (f64, f64) = (26.0, 46.0);
const ACROSS: usize = 6;

/// What is followed of a prompt.
type Figure = (&'static str, fn(&Probed) -> Option<f64>);
const FIGURES: [Figure; 4] = [
    ("bits of the prompt", |probed| Some(probed.bits)),
    ("entropy of the next, bits", |probed| Some(probed.entropy)),
    ("best previous-token head", |probed| {
        best(probed, |map| map.badges.previous)
    }),
    ("best induction head", |probed| best(probed, |map| map.badges.induction)),
];

fn best(probed: &Probed, score: fn(&HeadMap) -> Option<f64>) -> Option<f64> {
    probed.heads.iter().filter_map(score).max_by(f64::total_cmp)
}

pub(in crate::lens) fn history(view: &History) -> String {
    let mut picture = Picture::new();
    let steps: Vec<f64> = view.checkpoints.iter().map(|side| side.step as f64).collect();
    let mut y = TOP;
    let prompts = view.checkpoints.first().map_or(0, |side| side.probes.len());
    for i in 0..prompts {
        let prompt = cut(&view.checkpoints[0].probes[i].prompt.replace('\n', "⏎"), 100);
        picture.text(MARGIN, y + 14.0, r#"font-weight="600""#, &prompt);
        y += 30.0;
        for (column, (name, figure)) in FIGURES.iter().enumerate() {
            let values = view
                .checkpoints
                .iter()
                .map(|side| figure(&side.probes[i]))
                .collect::<Vec<_>>();
            panel(&mut picture, (column, y), name, &steps, &values);
        }
        y += PANEL.1 + GAP.1;
    }
    let tensors = view.checkpoints.last().map_or(&[][..], |side| &side.tensors);
    if !tensors.is_empty() {
        let what = "How far each tensor went since the checkpoint before, as a part of its length";
        picture.text(MARGIN, y + 14.0, r#"font-weight="600""#, what);
        y += 30.0;
    }
    for (i, tensor) in tensors.iter().enumerate() {
        let values: Vec<Option<f64>> = view
            .checkpoints
            .iter()
            .map(|side| side.tensors.get(i).map(|tensor| tensor.relative))
            .collect();
        let at = (i % ACROSS, y + (PANEL.1 + GAP.1) * (i / ACROSS) as f64);
        panel(&mut picture, at, &tensor.name, &steps, &values);
    }
    let ends = [steps.first(), steps.last()].map(|step| grouped(step.map_or(0, |&step| step as u64)));
    picture.finish(
        &format!("History of {}", view.run.display()),
        &format!(
            "checkpoints from step {} to step {}; under each panel its least and its greatest value",
            ends[0], ends[1]
        ),
    )
}

/// One line over the steps, between its least and its greatest value.
fn panel(picture: &mut Picture, (column, y): (usize, f64), name: &str, steps: &[f64], values: &[Option<f64>]) {
    let x = MARGIN + (PANEL.0 + GAP.0) * column as f64;
    let (wide, high) = PANEL;
    let small = format!(r#"font-size="10" fill="{SOFT}""#);
    picture.text(x, y, r#"font-size="10""#, &cut(name, 27));
    picture.rect([x, y + 6.0, wide, high], [246, 248, 250]);
    let known = |value: &Option<f64>| value.filter(|value| value.is_finite());
    let points: Vec<(f64, f64)> = steps
        .iter()
        .zip(values)
        .filter_map(|(&step, value)| Some((step, known(value)?)))
        .collect();
    if points.is_empty() {
        picture.text(x, y + high + 18.0, &small, "none");
        return;
    }
    let ends = |of: fn(&(f64, f64)) -> f64| {
        let all = points.iter().map(of);
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, most), v| {
            (low.min(v), most.max(v))
        })
    };
    let (least, most) = ends(|point| point.1);
    // All panels share the steps, also those a figure lacks.
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    let place = |(step, value): (f64, f64)| {
        (
            x + 4.0 + (step - first) / (last - first).max(1.0) * (wide - 8.0),
            y + 2.0 + high - (value - least) / (most - least).max(1e-12) * (high - 8.0),
        )
    };
    picture.line(&points.iter().copied().map(place).collect::<Vec<_>>());
    picture.text(x, y + high + 18.0, &small, &format!("{least:.3}"));
    let right = format!(r#"text-anchor="end" {small}"#);
    picture.text(x + wide, y + high + 18.0, &right, &format!("{most:.3}"));
}
