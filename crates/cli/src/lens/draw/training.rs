//! Neurons, and what training changed.

use super::{Page, names, percent};
use crate::lens::color::magnitude;
use crate::lens::table::{Cell, cut, left, on, right};
use crate::terminal::{STRONG, grouped, paint};
use foretoken::lens::{HeadMap, TensorChange};
use foretoken::look::{Difference, History, Neuron, Neurons, Probed};

/// What the view of neurons shows.
pub(in crate::lens) fn neurons_what(view: &Neurons) -> String {
    format!(
        "layer {}: the neurons whose largest activation stands out most, and where",
        view.layer
    )
}

fn about(neuron: &Neuron) -> String {
    format!(
        "mean {:.3}, the largest {:.1} deviations above",
        neuron.mean, neuron.sharpness
    )
}

pub(in crate::lens) fn neurons(view: &Neurons, page: Page) -> String {
    let mut out = page.head(&view.model, &neurons_what(view));
    for neuron in &view.neurons {
        out += &page.head(&format!("neuron {}", neuron.neuron), &about(neuron));
        for context in &neuron.contexts {
            let token = paint(&format!("[{}]", context.token), STRONG, page.color);
            let value = context.activation;
            out += &format!("  {value:>8.2}  {}{token}{}\n", context.before, context.after);
        }
    }
    out
}

/// The same as a table: the token a neuron fires on stands in the colour of how much it does.
pub(in crate::lens) fn neuron_rows(view: &Neurons) -> Vec<Vec<Cell>> {
    let mut rows = vec![names(&["neuron", "activation", "before", "token", "after"])];
    for neuron in &view.neurons {
        let most = neuron
            .contexts
            .iter()
            .map(|context| context.activation)
            .fold(1e-9, f32::max);
        for (i, context) in neuron.contexts.iter().enumerate() {
            let name = if i == 0 {
                neuron.neuron.to_string()
            } else {
                String::new()
            };
            rows.push(vec![
                right(name),
                right(format!("{:.2}", context.activation)),
                right(context.before.clone()),
                on(magnitude((context.activation / most).into()), context.token.clone()),
                left(context.after.clone()),
            ]);
        }
    }
    rows
}

/// How far tensors went, under their heads.
pub(in crate::lens) fn change_rows(tensors: &[TensorChange]) -> Vec<Vec<Cell>> {
    let mut rows = vec![names(&["tensor", "shape", "rms", "after", "change", "cosine", ""])];
    let most = tensors
        .iter()
        .map(|t| t.relative)
        .filter(|r| r.is_finite())
        .fold(1e-12, f64::max);
    for tensor in tensors {
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        let part = (tensor.relative / most).min(1.0);
        rows.push(vec![
            left(tensor.name.clone()),
            left(shape.join(" x ")),
            right(format!("{:.4}", tensor.rms)),
            right(format!("{:.4}", tensor.rms_after)),
            right(percent(tensor.relative)),
            right(format!("{:.3}", tensor.cosine)),
            left("█".repeat((20.0 * part).round() as usize)),
        ]);
    }
    rows
}

fn probed(name: &str, probe: &Probed) -> Vec<Cell> {
    let top: Vec<String> = probe
        .top
        .iter()
        .map(|(label, p)| format!("{} {}", cut(label, 8), percent(*p)))
        .collect();
    let best = |of: &dyn Fn(&HeadMap) -> Option<f64>| {
        let scores = probe.heads.iter().filter_map(|map| Some((of(map)?, map)));
        let best = scores.max_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or("-".into(), |(score, map)| {
            format!("{}.{} {score:.2}", map.layer, map.head)
        })
    };
    vec![
        left(name),
        right(format!("{:.1}", probe.bits)),
        right(format!("{:.2}", probe.entropy)),
        left(best(&|map| map.badges.previous)),
        left(best(&|map| map.badges.induction)),
        left(cut(&top.join(" "), 44)),
        left(cut(&probe.sample.replace('\n', "⏎"), 60)),
    ]
}

const PROBED: [&str; 7] = [
    "",
    "bits",
    "entropy",
    "previous",
    "induction",
    "what could be next",
    "what it writes",
];

pub(in crate::lens) fn difference(view: &Difference, page: Page) -> String {
    let [before, after] = &view.models;
    let mut out = page.head(before, &format!("and {after}: how far each tensor went"));
    out += &page.rows(&change_rows(&view.tensors));
    for pair in &view.probes {
        out += &format!("\n{}", page.head(&pair[0].prompt, "as each goes on"));
        out += &page.rows(&[names(&PROBED), probed("before", &pair[0]), probed("after", &pair[1])]);
    }
    out
}

pub(in crate::lens) fn history(view: &History, page: Page) -> String {
    let mut out = page.head(
        &view.run.display().to_string(),
        "how far tensors went from checkpoint to checkpoint",
    );
    let mut rows = Vec::new();
    let steps: Vec<&_> = view
        .checkpoints
        .iter()
        .filter(|side| !side.tensors.is_empty())
        .collect();
    if let Some(first) = steps.first() {
        rows.push(
            std::iter::once(left("step"))
                .chain(steps.iter().map(|side| right(grouped(side.step))))
                .collect::<Vec<_>>(),
        );
        for (i, tensor) in first.tensors.iter().enumerate() {
            let parts = steps.iter().map(|side| {
                let relative = side.tensors[i].relative;
                Cell {
                    ground: Some(magnitude(relative)),
                    ..right(percent(relative))
                }
            });
            rows.push(std::iter::once(left(tensor.name.clone())).chain(parts).collect());
        }
    }
    out += &page.rows(&rows);
    let prompts = view.checkpoints.first().map_or(0, |side| side.probes.len());
    for i in 0..prompts {
        out += &format!(
            "\n{}",
            page.head(&view.checkpoints[0].probes[i].prompt, "at each checkpoint")
        );
        let mut rows = vec![names(&PROBED)];
        rows.extend(
            view.checkpoints
                .iter()
                .map(|side| probed(&grouped(side.step), &side.probes[i])),
        );
        out += &page.rows(&rows);
    }
    out
}
