//! What was measured: lines for one model, tables for several, an object for programs.

use super::Row;
use crate::terminal::{FAINT, STRONG, grouped, paint, short, stdout_color, width};
use foretoken::eval::{ChoiceScore, Mean, TextScore};
use foretoken::model::human_bytes;
use textwrap::core::display_width;

/// For people.
pub(super) fn page(rows: &[Row], text: &str, choices: Option<&str>) -> String {
    match rows {
        [one] => single(one, text, choices.unwrap_or_default()),
        _ => several(rows, text, choices.unwrap_or_default()),
    }
}

fn single(row: &Row, text: &str, choices: &str) -> String {
    let mut out = String::new();
    let mut line = |label: &str, value: String| {
        out += &format!("{} {value}\n", paint(&format!("{label:<10}"), STRONG, stdout_color()));
    };
    line(
        "model",
        format!(
            "{}: {} of {} parameters, {} of {} ({:.1} bits a weight)",
            row.name,
            row.model_type,
            grouped(row.held.parameters),
            human_bytes(row.held.bytes),
            row.held.dtype,
            row.held.bits_per_weight()
        ),
    );
    if let Some(score) = &row.text {
        line("text", what(score, text));
        line("windows", windows(score));
        line("loss", format!("{} nats a token", with_error(score.loss, 4)));
        line("perplexity", number(score.perplexity()));
        let floor = score.floor_bits_per_byte;
        let floor = floor.map_or_else(String::new, |bits| format!("; the floor of these stories is {bits:.4}"));
        line("bits/byte", format!("{:.4}{floor}", score.bits_per_byte()));
        line("speed", format!("{} tokens/s", short(score.tokens_per_s())));
    }
    if let Some(score) = &row.choices {
        line("questions", asked(score, choices));
        line(
            "acc",
            format!("{}{}", with_error(score.accuracy, 4), ties(score.ties[0])),
        );
        let norm = with_error(score.accuracy_norm, 4);
        line("acc_norm", format!("{norm} by byte{}", ties(score.ties[1])));
    }
    out
}

fn several(rows: &[Row], text: &str, choices: &str) -> String {
    let mut out = String::new();
    let scores: Vec<&TextScore> = rows.iter().filter_map(|row| row.text.as_ref()).collect();
    if let [first, ..] = &scores[..] {
        out += &format!("{}\n{}\n\n", what(first, text), windows(first));
        let head = [
            "model",
            "type",
            "size",
            "bits/w",
            "loss",
            "± ",
            "Δloss",
            "± ",
            "Δppl",
            "bits/byte",
            "tok/s",
        ];
        let cells = rows
            .iter()
            .zip(&scores)
            .map(|(row, score)| text_cells(row, score))
            .collect();
        out += &table(&head, cells);
        out += &notes(rows, &scores);
    }
    let scores: Vec<&ChoiceScore> = rows.iter().filter_map(|row| row.choices.as_ref()).collect();
    if let [first, ..] = &scores[..] {
        if !out.is_empty() {
            out += "\n";
        }
        out += &format!("{}\n\n", asked(first, choices));
        let head = [
            "model",
            "type",
            "size",
            "acc",
            "± ",
            "Δacc",
            "± ",
            "acc_norm",
            "± ",
            "Δacc_norm",
            "± ",
        ];
        let cells = rows
            .iter()
            .zip(&scores)
            .map(|(row, score)| choice_cells(row, score))
            .collect();
        out += &table(&head, cells);
        for (row, score) in rows.iter().zip(&scores) {
            let ties = [ties(score.ties[0]), ties(score.ties[1])];
            for (name, ties) in ["acc", "acc_norm"]
                .iter()
                .zip(ties)
                .filter(|(_, ties)| !ties.is_empty())
            {
                out += &faint(&format!("{}: {name}{ties}", row.name));
            }
        }
    }
    out
}

fn text_cells(row: &Row, score: &TextScore) -> Vec<String> {
    let difference = |cell: &dyn Fn(Mean) -> String| score.difference.map_or_else(|| "-".into(), cell);
    vec![
        row.name.clone(),
        row.held.dtype.clone(),
        human_bytes(row.held.bytes),
        format!("{:.2}", row.held.bits_per_weight()),
        format!("{:.4}", score.loss.mean()),
        error(score.loss, 4),
        difference(&|difference| format!("{:+.5}", difference.mean())),
        difference(&|difference| error(difference, 5)),
        score
            .perplexity_ratio()
            .map_or_else(|| "-".into(), |ratio| format!("{:+.2}%", 100.0 * (ratio - 1.0))),
        format!("{:.4}", score.bits_per_byte()),
        short(score.tokens_per_s()),
    ]
}

fn choice_cells(row: &Row, score: &ChoiceScore) -> Vec<String> {
    let mut cells = vec![row.name.clone(), row.held.dtype.clone(), human_bytes(row.held.bytes)];
    for (by, accuracy) in [score.accuracy, score.accuracy_norm].into_iter().enumerate() {
        let difference = score.difference.map(|difference| difference[by]);
        cells.extend([
            format!("{:.4}", accuracy.mean()),
            error(accuracy, 4),
            difference.map_or_else(|| "-".into(), |difference| format!("{:+.4}", difference.mean())),
            difference.map_or_else(|| "-".into(), |difference| error(difference, 4)),
        ]);
    }
    cells
}

/// What somebody who reads the table must know.
fn notes(rows: &[Row], scores: &[&TextScore]) -> String {
    let mut out = String::new();
    if scores[1..].iter().any(|score| score.difference.is_some()) {
        out += &faint("Δ against the first model, token by token; Δppl = e^Δloss - 1");
    }
    for (row, score) in rows.iter().zip(scores) {
        if !row.same_tokenizer {
            out += &faint(&format!(
                "{}: another tokenizer ({} tokens): only bits/byte compare",
                row.name,
                grouped(score.tokens)
            ));
        }
        if (score.context, score.stride) != (scores[0].context, scores[0].stride) {
            out += &faint(&format!(
                "{}: {}; give --context and --stride for all",
                row.name,
                windows(score)
            ));
        }
    }
    if let Some(bits) = scores[0].floor_bits_per_byte {
        out += &faint(&format!("the floor of these stories is {bits:.4} bits/byte"));
    }
    out
}

pub(super) fn faint(line: &str) -> String {
    paint(line, FAINT, stdout_color()) + "\n"
}

fn what(score: &TextScore, name: &str) -> String {
    let name = if name == "-" { "standard input" } else { name };
    format!(
        "{name}: {}, {}, {} ({:.2} bytes a token)",
        counted(score.documents, "document"),
        human_bytes(score.bytes),
        counted(score.tokens, "token"),
        score.bytes as f64 / score.tokens as f64
    )
}

fn windows(score: &TextScore) -> String {
    let (context, stride) = (score.context, score.stride);
    let seen = match context - stride {
        0 => "the first of each sees only the token before".into(),
        seen => format!("each token sees at least the {seen} before it"),
    };
    format!(
        "{} tokens, {} apart: {seen}",
        grouped(context as u64),
        grouped(stride as u64)
    )
}

fn asked(score: &ChoiceScore, name: &str) -> String {
    let name = if name == "-" { "standard input" } else { name };
    let cut = match score.cut {
        0 => String::new(),
        cut => format!("; of {} the beginning did not fit", grouped(cut)),
    };
    format!(
        "{name}: {}, {:.1} choices each{cut}",
        counted(score.questions, "question"),
        score.choices as f64 / score.questions as f64
    )
}

fn ties(ties: u64) -> String {
    match ties {
        0 => String::new(),
        _ => format!(", with a tie for the first place in {}", counted(ties, "question")),
    }
}

pub(super) fn error(mean: Mean, digits: usize) -> String {
    mean.standard_error()
        .map_or_else(|| "-".into(), |error| format!("{error:.digits$}"))
}

pub(super) fn with_error(mean: Mean, digits: usize) -> String {
    let error = mean
        .standard_error()
        .map_or_else(String::new, |error| format!(" ± {error:.digits$}"));
    format!("{:.digits$}{error}", mean.mean())
}

/// A number of things.
pub(super) fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// A perplexity: from below 2 to beyond any vocabulary.
fn number(x: f64) -> String {
    match x {
        ..100.0 => format!("{x:.4}"),
        ..1e6 => format!("{x:.2}"),
        _ => format!("{x:.4e}"),
    }
}

/// The first column to the left, the others to the right; names too long for the terminal lose their beginning.
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|cell| cell.trim_end().to_string()).collect()];
    lines.extend(rows);
    let columns = head.len();
    let mut widths: Vec<usize> = (0..columns)
        .map(|column| lines.iter().map(|line| display_width(&line[column])).max().unwrap_or(0))
        .collect();
    let others: usize = widths[1..].iter().map(|width| width + 2).sum();
    widths[0] = widths[0].min(width().saturating_sub(others).max(16));
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let name = end(&line[0], widths[0]);
        let mut text = format!("{name}{}", " ".repeat(widths[0] - display_width(&name)));
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            text += &format!("  {}{cell}", " ".repeat(width - display_width(cell)));
        }
        out += &match index {
            0 => paint(&text, FAINT, stdout_color()),
            _ => text,
        };
        out += "\n";
    }
    out
}

/// The end of a name in so many columns: paths differ there.
pub(super) fn end(name: &str, columns: usize) -> String {
    if display_width(name) <= columns {
        return name.to_owned();
    }
    let starts = name.char_indices().map(|(at, _)| &name[at..]);
    let fitting = starts.into_iter().find(|rest| display_width(rest) < columns);
    format!("…{}", fitting.unwrap_or_default())
}

/// For programs.
pub(super) fn json(rows: &[Row], text: &str, choices: Option<&str>, answers: Option<&str>) -> String {
    let models: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "model": row.name,
                "model_type": row.model_type,
                "parameters": row.held.parameters,
                "bytes": row.held.bytes,
                "dtype": row.held.dtype,
                "bits_per_weight": row.held.bits_per_weight(),
                "same_tokenizer": row.same_tokenizer,
                "text": row.text.as_ref().map(text_object),
                "choices": row.choices.as_ref().map(choices_object),
                "answers": row.answers.as_ref().map(super::answers::object),
            })
        })
        .collect();
    let scored = rows.iter().any(|row| row.text.is_some());
    let object = serde_json::json!({
        "text": scored.then_some(text),
        "choices": choices,
        "answers": answers,
        "models": models,
    });
    format!("{object}\n")
}

pub(super) fn mean_object(mean: Mean) -> serde_json::Value {
    serde_json::json!({ "mean": mean.mean(), "standard_error": mean.standard_error() })
}

fn text_object(score: &TextScore) -> serde_json::Value {
    serde_json::json!({
        "context": score.context,
        "stride": score.stride,
        "documents": score.documents,
        "tokens": score.tokens,
        "end_tokens": score.ends,
        "bytes": score.bytes,
        "loss": mean_object(score.loss),
        "perplexity": score.perplexity(),
        "bits_per_byte": score.bits_per_byte(),
        "floor_bits_per_byte": score.floor_bits_per_byte,
        "difference": score.difference.map(mean_object),
        "perplexity_ratio": score.perplexity_ratio(),
        "time_s": score.time.as_secs_f64(),
        "tokens_per_s": score.tokens_per_s(),
    })
}

fn choices_object(score: &ChoiceScore) -> serde_json::Value {
    serde_json::json!({
        "questions": score.questions,
        "choices": score.choices,
        "cut": score.cut,
        "acc": mean_object(score.accuracy),
        "acc_norm": mean_object(score.accuracy_norm),
        "ties": { "acc": score.ties[0], "acc_norm": score.ties[1] },
        "difference": score.difference.map(|[by_sum, by_byte]| serde_json::json!({
            "acc": mean_object(by_sum),
            "acc_norm": mean_object(by_byte),
        })),
        "time_s": score.time.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_in_two_scripts() {
        let cells = |name: &str, cell: &str| vec![name.to_owned(), cell.to_owned(), "1".into()];
        let text = table(
            &["model", "type", "± "],
            vec![cells("실험/둘", "f32"), cells("runs/a", "q8_0")],
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["model    type  ±", "실험/둘   f32  1", "runs/a   q8_0  1"]);
        assert_eq!(end("runs/실험", 9), "runs/실험");
        assert_eq!(end("runs/실험", 8), "…ns/실험");
        assert_eq!(end("runs/실험", 4), "…험");
        assert_eq!((number(1.5), number(2.5e7)), ("1.5000".into(), "2.5000e7".into()));
    }
}
