//! `foretoken eval --answers`: which questions, and how they were answered.

use super::report::{counted, end, error, faint, mean_object, table, with_error};
use super::{Eval, HELD_OUT, Row};
use crate::Usage;
use crate::terminal::{FAINT, STRONG, paint, stdout_color, width};
use anyhow::Context;
use foretoken::eval::{Agreement, AnswerScore, Answered, Asked};
use foretoken::text::{ConversationOptions, Conversations};
use foretoken::train::{Run, held_out};
use serde_json::json;
use std::borrow::Cow;
use std::path::Path;

/// What is asked.
pub(super) enum Questions {
    /// The same of every model.
    All(Vec<Asked>),
    /// Of each run what it kept for validation.
    HeldOut,
}

pub(super) fn asked(eval: &Eval) -> anyhow::Result<Option<Questions>> {
    let Some(what) = &eval.answers else { return Ok(None) };
    if what == HELD_OUT {
        return Ok(Some(Questions::HeldOut));
    }
    if let Some(asked) = Asked::of_corpus(std::slice::from_ref(what))? {
        return Ok(Some(Questions::All(asked)));
    }
    let options = ConversationOptions {
        question_field: eval.question_field.clone(),
        answer_field: eval.answer_field.clone(),
        format: None,
    };
    let conversations = Conversations::open(&[what], &options)?;
    let asked = conversations.filter_map(|conversation| conversation.map(Asked::last_of).transpose());
    Ok(Some(Questions::All(asked.collect::<Result<_, _>>()?)))
}

impl Questions {
    /// Those for a model, the first `limit` of them.
    pub(super) fn of(&self, model: &Path, limit: Option<u64>) -> anyhow::Result<Vec<Asked>> {
        let mut asked = match self {
            Questions::All(asked) => Cow::Borrowed(asked),
            Questions::HeldOut => Cow::Owned(kept(model)?),
        }
        .into_owned();
        asked.truncate(limit.map_or(usize::MAX, |limit| limit.try_into().unwrap_or(usize::MAX)));
        if asked.is_empty() {
            return Err(Usage("--answers holds no question with an answer".into()).into());
        }
        Ok(asked)
    }
}

/// The conversations that the run of a model kept for validation.
fn kept(model: &Path) -> anyhow::Result<Vec<Asked>> {
    let directories = model.ancestors().take(3);
    let run = directories.into_iter().find(|path| foretoken::is_run(path));
    let run = run.with_context(|| {
        format!(
            "{}: --answers without a value asks what a run kept for validation, and this is no run: name a file",
            model.display()
        )
    })?;
    let config = Run::config(run)?;
    if let Some(asked) = Asked::of_corpus(&config.data)? {
        return Ok(asked);
    }
    Ok(held_out(&config)?.into_iter().filter_map(Asked::last_of).collect())
}

/// For people.
pub(super) fn page(rows: &[Row], asked: &str, worst: usize) -> String {
    let scores: Vec<(&Row, &AnswerScore)> = rows
        .iter()
        .filter_map(|row| Some((row, row.answers.as_ref()?)))
        .collect();
    let mut out = String::new();
    let label = |name: &str| paint(&format!("{name:<10}"), STRONG, stdout_color());
    let Some((_, first)) = scores.first() else { return out };
    let name = if asked == HELD_OUT {
        "kept for validation"
    } else {
        asked
    };
    let cut = match first.cut {
        0 => String::new(),
        cut => format!("; of {} the beginning did not fit", counted(cut, "question")),
    };
    out += &format!(
        "{} {name}: {}{cut}\n",
        label("answers"),
        counted(first.each.len() as u64, "question")
    );
    if let [(_, score)] = scores[..] {
        out += &format!(
            "{} {} nats a token of known answers\n",
            label("loss"),
            with_error(score.loss, 4)
        );
        out += &format!("{} {} of the answers\n", label("exact"), with_error(score.all.exact, 4));
        out += &format!("{} {} of the characters\n", label("F1"), with_error(score.all.f1, 4));
    } else {
        let cells = scores.iter().map(|(row, score)| {
            let mut cells = vec![
                row.name.clone(),
                row.held.dtype.clone(),
                format!("{:.4}", score.loss.mean()),
                error(score.loss, 4),
            ];
            cells.extend(agreement(&score.all));
            cells
        });
        out += &format!(
            "\n{}",
            table(
                &["model", "type", "loss", "± ", "exact", "± ", "F1", "± "],
                cells.collect()
            )
        );
    }
    for (row, score) in &scores {
        if !score.groups.is_empty() {
            let cells = score.groups.iter().map(|(name, group)| {
                let mut cells = vec![name.clone(), group.exact.count().to_string()];
                cells.extend(agreement(group));
                cells
            });
            out += &format!(
                "\n{}",
                table(
                    &[&title(row, &scores, "questions"), "n", "exact", "± ", "F1", "± "],
                    cells.collect()
                )
            );
        }
        let least = score.worst(worst);
        if !least.is_empty() {
            out += &format!(
                "\n{}",
                paint(&title(row, &scores, "answers that agree least"), STRONG, stdout_color())
            );
            out += "\n";
            out += &least.into_iter().map(case).collect::<String>();
        }
    }
    if scores.len() > 1 && asked == HELD_OUT {
        out += &faint(
            "each run is asked what it kept itself: they compare where seed, data and --val-fraction are the same",
        );
    }
    out
}

/// Names the model where there are several.
fn title(row: &Row, scores: &[(&Row, &AnswerScore)], what: &str) -> String {
    if scores.len() > 1 {
        format!("{}: {what}", row.name)
    } else {
        what.to_owned()
    }
}

fn agreement(agreement: &Agreement) -> [String; 4] {
    let Agreement { exact, f1 } = *agreement;
    [
        format!("{:.4}", exact.mean()),
        error(exact, 4),
        format!("{:.4}", f1.mean()),
        error(f1, 4),
    ]
}

/// Three lines: the end of the question, what was expected, what was said.
fn case(answered: &Answered) -> String {
    let room = width().saturating_sub(12);
    let line = |sign: &str, text: &str| format!("  {sign} {}\n", end(&text.replace(char::is_whitespace, " "), room));
    let numbers = format!("    F1 {:.2}, loss {:.2}\n", answered.f1, answered.loss);
    line("?", &answered.question)
        + &line("=", &answered.expected)
        + &line("≠", &answered.answer)
        + &paint(&numbers, FAINT, stdout_color())
}

/// For programs.
pub(super) fn object(score: &AnswerScore) -> serde_json::Value {
    let agreement = |agreement: &Agreement| {
        json!({
            "questions": agreement.exact.count(),
            "exact": mean_object(agreement.exact),
            "f1": mean_object(agreement.f1),
        })
    };
    let groups: serde_json::Map<_, _> = (score.groups.iter())
        .map(|(name, group)| (name.clone(), agreement(group)))
        .collect();
    let each = score.each.iter().map(|answered| {
        json!({
            "question": answered.question,
            "expected": answered.expected,
            "answer": answered.answer,
            "exact": answered.exact,
            "f1": answered.f1,
            "loss": answered.loss,
        })
    });
    json!({
        "loss": mean_object(score.loss),
        "all": agreement(&score.all),
        "groups": groups,
        "cut": score.cut,
        "generated_tokens": score.generated,
        "time_s": score.time.as_secs_f64(),
        "each": each.collect::<Vec<_>>(),
    })
}
