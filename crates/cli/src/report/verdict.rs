//! How runs went, in plain words.

use super::html::figure;
use crate::terminal::{duration, grouped, short};
use foretoken::train::report::{Difference, RunReport, Summary, Trend};

/// Differences that are told in the sentence; the table has all.
const TOLD: usize = 8;

/// Whether losses by the token can be compared: the runs have one vocabulary as far as is known.
pub(super) fn same_tokens(runs: &[RunReport]) -> bool {
    let one = |run: &RunReport| (run.config.tokenizer.clone(), run.config.init.clone(), run.vocab_size);
    runs.windows(2).all(|pair| one(&pair[0]) == one(&pair[1]))
}

/// Whether the runs were measured on one text.
fn same_text(runs: &[RunReport]) -> bool {
    let one = |run: &RunReport| {
        let config = &run.config;
        let kept = config.val_data.is_empty().then_some(config.val_fraction.to_bits());
        (config.data.clone(), config.val_data.clone(), kept, config.format)
    };
    runs.windows(2).all(|pair| one(&pair[0]) == one(&pair[1]))
}

/// Several runs: which is best, and in what they differ.
pub(super) fn of_all(runs: &[RunReport], rows: &[Summary], differences: &[Difference]) -> Vec<String> {
    let mut words = Vec::new();
    let bits = !same_tokens(runs);
    let measure = |row: &Summary| {
        let best = row.best?;
        let measured = if bits { best.bits_per_byte } else { Some(best.loss) };
        measured.filter(|value| value.is_finite())
    };
    let unit = if bits { "bits per byte" } else { "nats per token" };
    let mut ranked: Vec<(f64, &Summary)> = rows.iter().filter_map(|row| Some((measure(row)?, row))).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    if bits {
        words.push("Their tokens differ, so losses by the token say little: compare bits per byte.".to_owned());
    }
    if !same_text(runs) {
        words.push("They were validated on different texts: a difference may be the texts'.".into());
    }
    match &ranked[..] {
        [(best, first), (next, second), ..] => {
            let of = match ranked.len() {
                n if n < rows.len() => format!(" of the {n} runs that have one"),
                _ => String::new(),
            };
            words.push(format!(
                "Lowest validation loss{of}: {} with {best:.4} {unit}, {:.4} below {}.",
                first.name,
                next - best,
                second.name
            ));
        }
        _ => words.push(format!(
            "There are not two runs with a validation loss in {unit} to compare."
        )),
    }
    let differing: Vec<String> = differences
        .iter()
        .filter(|difference| difference.differs)
        .map(|difference| {
            let values = difference.values.iter().map(|value| value.as_deref().unwrap_or("–"));
            format!("{} ({})", difference.field, values.collect::<Vec<_>>().join(" / "))
        })
        .collect();
    words.push(match differing.len() {
        0 => "Their configs are the same.".into(),
        n if n <= TOLD => format!("They differ in {}.", differing.join(", ")),
        n => format!(
            "They differ in {} and {} more; see the configs.",
            differing[..TOLD].join(", "),
            n - TOLD
        ),
    });
    words
}

/// One run.
pub(super) fn of_one(run: &RunReport, row: &Summary) -> Vec<String> {
    let mut words = vec![progress(run, row)];
    words.extend(best(row));
    words.extend(ending(row));
    if row.skipped > 0 {
        let s = if row.skipped == 1 { " was" } else { "s were" };
        words.push(format!(
            "{} step{s} skipped because the gradient was not finite: a lower learning rate may help.",
            grouped(row.skipped)
        ));
    }
    if run.torn {
        words.push("The last line of its log is cut off and left out.".into());
    }
    words
}

fn progress(run: &RunReport, row: &Summary) -> String {
    if run.metrics.is_empty() {
        let now = if row.running { "It begins just now: no" } else { "No" };
        return format!("{now} step is logged yet, of {} asked for.", grouped(row.steps));
    }
    let steps = format!("{} of {} steps", grouped(row.step), grouped(row.steps));
    let mut text = match (row.running, row.step >= row.steps) {
        (true, _) => format!("Training goes on: {steps} so far"),
        (false, true) => format!("It did all {} steps", grouped(row.step)),
        (false, false) => format!("It stopped after {steps}"),
    };
    if let Some(time) = row.time_s {
        text += &format!(" in {}", duration(time));
    }
    text += &format!(", {} tokens", short(row.tokens as f64));
    if let Some(speed) = row.tokens_per_s {
        text += &format!(" at {} a second", short(speed));
    }
    if let Some(share) = row.share_of_limit {
        text += &format!(", {:.0}% of the machine's limit", 100.0 * share);
    }
    if let Some(parameters) = row.parameters {
        text += &format!(". The model has {} parameters", grouped(parameters));
        if let Some(v) = row.vocab_size {
            text += &format!(" and {} tokens in its vocabulary", grouped(v));
        }
    }
    text + "."
}

fn best(row: &Summary) -> Option<String> {
    let Some(best) = row.best else {
        let loss = row.train_loss?;
        return Some(format!(
            "It was not validated; its training loss at the end is {} nats per token.",
            figure(loss)
        ));
    };
    let mut text = format!("Best validation loss: {:.4} nats per token", best.loss);
    if let Some(bits) = best.bits_per_byte {
        text += &format!(", {bits:.3} bits per byte");
    }
    text += &format!(", at step {}", grouped(best.step));
    if let Some(floor) = row.floor {
        let gap = best.loss - floor;
        let side = if gap < 0.0 { "below" } else { "above" };
        text += &format!("; {:.3} {side} the entropy of its text's source", gap.abs());
    }
    Some(text + ".")
}

fn ending(row: &Summary) -> Option<String> {
    let text = match row.trend {
        Trend::Falling => "It was still falling at the end: a longer run would very likely end lower.",
        Trend::Flat => {
            "Over the last third of the evaluations it moved by less than 1%: more of the same brings little."
        }
        Trend::Overfitting => {
            "Since then it rose while the training loss fell on, which is overfitting: more data, dropout, a smaller \
             model or fewer steps would help, and the best checkpoint is the one to use."
        }
        Trend::Rising => {
            "Since then it rose, and the training loss did not fall either: the learning rate may be too high."
        }
        Trend::Unknown => return None,
    };
    Some(text.into())
}
