//! `foretoken convert`

use crate::terminal::{FAINT, STRONG, grouped, paint, say_error, stderr_color, stdout_color};
use clap::Args;
use foretoken::formats::dtype::Dtype;
use foretoken::model::human_bytes;
use foretoken::{ConvertOptions, Converted, ConvertedTensor, Kept};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Converts a model between Hugging Face's layout and GGUF.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foretoken convert runs/001-tiny model.gguf                 for llama.cpp, as it is
  foretoken convert runs/001-tiny small.gguf --dtype q8_0    a quarter of the size
  foretoken convert model.gguf hf                            a directory that transformers opens
  foretoken convert hf half --dtype bf16
  foretoken convert runs/001-tiny no-induction --without-heads 1.0
                                        to measure what is worse without them

Without --dtype every tensor keeps its type where the target can hold it: what
is quantised becomes f32 in a directory. In a GGUF file norms, biases and
positions are always f32, the head of a q4_0 or q4_1 file is q8_0, and a matrix
whose rows are no multiple of 32 numbers becomes f16 instead of blocks; the
table says so. Ctrl-C leaves nothing behind.")]
pub(crate) struct Convert {
    /// A run, a checkpoint, a directory in Hugging Face's layout, or a GGUF file
    #[arg(value_name = "IN")]
    from: PathBuf,
    /// A GGUF file where it ends in .gguf, else a directory in Hugging Face's layout
    #[arg(value_name = "OUT")]
    to: PathBuf,
    /// The type of the weights; as they are unless given
    #[arg(long, value_enum, ignore_case = true, value_name = "TYPE")]
    dtype: Option<crate::dtype::Dtype>,
    /// Take heads out, as 1.0,2.3 for head 0 of layer 1 and head 3 of layer 2: nothing of what they find reaches the stream.
    /// What mixes their layer's heads becomes f32 unless --dtype is given
    #[arg(long, value_name = "HEADS", value_delimiter = ',', value_parser = crate::lens::layer_head)]
    without_heads: Vec<(usize, usize)>,
    /// Replace what is at OUT, once the new model is whole
    #[arg(long)]
    force: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Convert {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let options = ConvertOptions {
            dtype: self.dtype.map(Dtype::from),
            force: self.force,
            without_heads: self.without_heads,
        };
        let bar = bar();
        let begun = Instant::now();
        let stop = crate::train::on_signal("tensor")?;
        let result = foretoken::convert(&self.from, &self.to, &options, &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            !stop.load(Ordering::SeqCst)
        });
        bar.finish_and_clear();
        let converted = result?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", object(&converted))?;
        } else {
            write!(out, "{}", table(&converted, stdout_color()))?;
        }
        out.flush()?;
        if !self.json && std::io::stderr().is_terminal() {
            let note = format!("{:.1} s", begun.elapsed().as_secs_f64());
            say_error(&paint(&note, FAINT, stderr_color()));
        }
        Ok(())
    }
}

fn bar() -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr_with_hz(8),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let template = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    bar.with_style(ProgressStyle::with_template(template).expect("a fixed template"))
}

/// Tensors that went from one type to one other, for one reason.
struct Group {
    from: Dtype,
    to: Dtype,
    kept: Option<Kept>,
    tensors: usize,
    elements: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// The groups in the order in which they first come.
fn groups(tensors: &[ConvertedTensor]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for tensor in tensors {
        let is_its = |group: &&mut Group| (group.from, group.to, group.kept) == (tensor.from, tensor.to, tensor.kept);
        let group = match groups.iter_mut().find(is_its) {
            Some(group) => group,
            None => groups.push_mut(Group {
                from: tensor.from,
                to: tensor.to,
                kept: tensor.kept,
                tensors: 0,
                elements: 0,
                bytes_in: 0,
                bytes_out: 0,
            }),
        };
        group.tensors += 1;
        group.elements += tensor.elements();
        group.bytes_in += tensor.bytes_in();
        group.bytes_out += tensor.bytes_out();
    }
    groups
}

/// Why a group has its type, where it is not the one asked for.
fn reason(kept: Option<Kept>) -> &'static str {
    match kept {
        None => "",
        Some(Kept::Small) => "norms, biases and positions stay F32",
        Some(Kept::Head) => "the head keeps 8 bits",
        Some(Kept::Rows) => "rows are no multiple of 32",
    }
}

fn table(converted: &Converted, color: bool) -> String {
    let heads = ["", "tensors", "weights", "bytes in", "bytes out", "bits a weight"];
    let line = |cells: [String; 6], note: &str| {
        let [what, tensors, elements, bytes_in, bytes_out, bits] = cells;
        let line = format!("{what:<14}{tensors:>8}{elements:>16}{bytes_in:>12}{bytes_out:>12}{bits:>15}  {note}");
        line.trim_end().to_owned() + "\n"
    };
    let bits = |bytes: u64, elements: u64| format!("{:.2}", 8.0 * bytes as f64 / elements as f64);
    let mut out = paint(&line(heads.map(str::to_owned), ""), FAINT, color);
    for group in groups(&converted.tensors) {
        let what = match group.from == group.to {
            true => format!("{} as it is", group.from),
            false => format!("{} -> {}", group.from, group.to),
        };
        let cells = [
            what,
            group.tensors.to_string(),
            grouped(group.elements),
            human_bytes(group.bytes_in),
            human_bytes(group.bytes_out),
            bits(group.bytes_out, group.elements),
        ];
        out += &line(cells, reason(group.kept));
    }
    let cells = [
        "all".into(),
        converted.tensors.len().to_string(),
        grouped(converted.elements()),
        human_bytes(converted.bytes_in()),
        human_bytes(converted.bytes_out()),
        bits(converted.bytes_out(), converted.elements()),
    ];
    out += &line(cells, "");
    out + &paint(&converted.path.display().to_string(), STRONG, color) + "\n"
}

fn object(converted: &Converted) -> serde_json::Value {
    let tensor = |tensor: &ConvertedTensor| {
        serde_json::json!({
            "name": tensor.name,
            "shape": tensor.shape,
            "from": tensor.from.name(),
            "to": tensor.to.name(),
            "bytes_in": tensor.bytes_in(),
            "bytes_out": tensor.bytes_out(),
            "reason": tensor.kept.map(|kept| reason(Some(kept))),
        })
    };
    serde_json::json!({
        "path": converted.path,
        "weights": converted.elements(),
        "bytes_in": converted.bytes_in(),
        "bytes_out": converted.bytes_out(),
        "bits_a_weight": converted.bits_a_weight(),
        "tensors": converted.tensors.iter().map(tensor).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_one_fate_are_one_line() {
        let tensor = |name: &str, shape: &[usize], to, kept| ConvertedTensor {
            name: name.into(),
            shape: shape.into(),
            from: Dtype::F32,
            to,
            kept,
        };
        let converted = Converted {
            path: "out.gguf".into(),
            tensors: vec![
                tensor("a", &[64, 32], Dtype::Q8_0, None),
                tensor("b", &[32], Dtype::F32, Some(Kept::Small)),
                tensor("c", &[32, 64], Dtype::Q8_0, None),
            ],
        };
        let table = table(&converted, false);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 5, "{table}");
        assert_eq!(lines[1][..5], ["F32", "->", "Q8_0", "2", "4,096"]);
        assert_eq!(lines[1].last(), Some(&"8.50"));
        assert_eq!(lines[2][..5], ["F32", "as", "it", "is", "1"]);
        assert_eq!(lines[3][..3], ["all", "3", "4,128"]);
        assert_eq!(lines[4], ["out.gguf"]);
    }
}
