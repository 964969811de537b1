//! Training steps here and in PyTorch.

use super::super::Bench;
use super::super::out::Out;
use super::{OURS, summary, version};
use crate::Usage;
use crate::profile_table::{duration, threads};
use crate::terminal::{FAINT, STRONG, paint};
use anyhow::Context;
use foretoken::bench::median;
use foretoken::kernels::Isa;
use foretoken::model::{Model, gpt2::Gpt2, human_bytes};
use serde_json::{Value, json};
use std::process::Command;

/// The peer's program, part of the binary so that an installed one has it. The paths leave this package: one that is
/// published needs the two files inside it.
const PROGRAM: [(&str, &str); 2] = [
    (
        "torch_train.py",
        include_str!("../../../../../benches/peers/torch_train.py"),
    ),
    ("gpt.py", include_str!("../../../../../benches/peers/gpt.py")),
];

/// What people call the other side.
const THEIRS: &str = "PyTorch";

/// Runs both sides `--rounds` times and says how they compare.
pub(in super::super) fn torch(bench: &Bench, model: &Gpt2, t: usize) -> anyhow::Result<()> {
    let version = version(&bench.python, "torch", "torch")?;
    let isa = Isa::detect().map_err(Usage)?.name();
    let out = Out::new(bench.json);
    let (theirs, compiled) = match bench.torch_compile {
        true => (format!("PyTorch {version} compiled"), true),
        false => (format!("PyTorch {version}"), false),
    };
    let cores = bench.threads.filter(|&n| n > 0).unwrap_or_else(crate::train::cores);
    out.text(&bench.title(
        model,
        t,
        &format!("{} each, ours on {isa}, in turn with {theirs}", threads(cores)),
    ))?;
    let dir = tempfile::tempdir().context("no temporary directory for the peer's program")?;
    for (name, text) in PROGRAM {
        std::fs::write(dir.path().join(name), text).with_context(|| format!("{}", dir.path().join(name).display()))?;
    }
    let common = [
        ("--preset", bench.preset.clone()),
        ("--vocab-size", model.dims().vocab_size.to_string()),
        ("--batch-size", bench.batch_size.to_string()),
        ("--seq-len", t.to_string()),
        ("--steps", bench.steps.to_string()),
        ("--threads", cores.to_string()),
    ];
    let flags = || common.iter().flat_map(|(flag, value)| [*flag, value.as_str()]);
    let us = std::env::current_exe().context("where this program lies")?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let mut command = Command::new(&us);
        let recompute = bench.recompute.name();
        command
            .args(["bench", "--only", "train", "--json", "--recompute", recompute])
            .args(flags());
        out.phase(&format!("foretoken, round {round} of {}", bench.rounds));
        ours.push(side(&out, OURS, round, command)?);
        let mut command = Command::new(&bench.python);
        command.arg(dir.path().join(PROGRAM[0].0)).arg("--json").args(flags());
        if compiled {
            command.arg("--compile");
        }
        out.phase(&format!("{theirs}, round {round} of {}", bench.rounds));
        peers.push(side(&out, THEIRS, round, command)?);
    }
    out.end();
    let ratio = Sides {
        ours: &ours,
        theirs: &peers,
    };
    out.text(&ratio.text(out.color))?;
    if bench.json {
        let mut object = ratio.json();
        for (key, value) in [
            ("event", json!("against")),
            ("peer", json!("torch")),
            ("version", json!(version)),
            ("compile", json!(compiled)),
            ("preset", json!(bench.preset)),
            ("batch_size", json!(bench.batch_size)),
            ("seq_len", json!(t)),
            ("steps", json!(bench.steps)),
            ("isa", json!(isa)),
            ("threads", json!(cores)),
        ] {
            object[key] = value;
        }
        out.write(&format!("{object}\n"))?;
    }
    Ok(())
}

/// What one run of one side measured.
struct Turn {
    tokens_per_s: f64,
    step_seconds: f64,
    peak_memory: Option<u64>,
    isa: Option<String>,
}

/// Runs a side and tells what it measured: the last object on its standard output that has a rate.
fn side(out: &Out, name: &str, round: usize, mut command: Command) -> anyhow::Result<Turn> {
    let summary = summary(name, &mut command, "tokens_per_s")?;
    let number = |object: &Value, key: &str| object.get(key).and_then(Value::as_f64);
    let turn = Turn {
        tokens_per_s: number(&summary, "tokens_per_s").unwrap_or(f64::NAN),
        step_seconds: number(&summary, "step_seconds").unwrap_or(f64::NAN),
        peak_memory: summary.get("peak_memory").and_then(Value::as_u64),
        isa: summary.get("isa").and_then(Value::as_str).map(str::to_owned),
    };
    out.text(&format!(
        "round {round}  {name:<10} {:>10.1} tokens/s  {:>9} a step{}\n",
        turn.tokens_per_s,
        duration(turn.step_seconds),
        turn.peak_memory
            .map_or(String::new(), |peak| format!("  {:>10}", human_bytes(peak))),
    ))?;
    if out.json {
        let object = json!({
            "event": "round",
            "side": if name == OURS { "foretoken" } else { "torch" },
            "round": round,
            "tokens_per_s": turn.tokens_per_s,
            "step_seconds": turn.step_seconds,
            "peak_memory": turn.peak_memory,
            "isa": turn.isa,
            "threads": summary.get("threads"),
        });
        out.write(&format!("{object}\n"))?;
    }
    Ok(turn)
}

/// All turns of both sides.
struct Sides<'a> {
    ours: &'a [Turn],
    theirs: &'a [Turn],
}

impl Sides<'_> {
    /// Medians of a measurement: ours, theirs. `None` where a turn lacks it.
    fn medians(&self, of: impl Fn(&Turn) -> Option<f64>) -> Option<(f64, f64)> {
        let side = |turns: &[Turn]| Some(median(&turns.iter().map(&of).collect::<Option<Vec<f64>>>()?));
        Some((side(self.ours)?, side(self.theirs)?))
    }

    fn text(&self, color: bool) -> String {
        let (ours, theirs) = self
            .medians(|turn| Some(turn.tokens_per_s))
            .unwrap_or((f64::NAN, f64::NAN));
        let mut out =
            format!("\nmedian   foretoken  {ours:>10.1} tokens/s\n         PyTorch    {theirs:>10.1} tokens/s\n");
        let ratio = format!("foretoken trains {:.2} times as fast", ours / theirs);
        out += &paint(&ratio, STRONG, color);
        if let Some((ours, theirs)) = self.medians(|turn| turn.peak_memory.map(|peak| peak as f64)) {
            out += &format!(", in {:.2} times the memory", ours / theirs);
        }
        out += &paint(
            &format!("  (ratio of medians, {} turns each)\n", self.ours.len()),
            FAINT,
            color,
        );
        out
    }

    fn json(&self) -> Value {
        let rates = |turns: &[Turn]| turns.iter().map(|turn| turn.tokens_per_s).collect::<Vec<_>>();
        let medians = self.medians(|turn| Some(turn.tokens_per_s));
        let memory = self.medians(|turn| turn.peak_memory.map(|peak| peak as f64));
        json!({
            "ours": rates(self.ours),
            "theirs": rates(self.theirs),
            "our_median": medians.map(|(ours, _)| ours),
            "their_median": medians.map(|(_, theirs)| theirs),
            "ratio": medians.map(|(ours, theirs)| ours / theirs),
            "memory_ratio": memory.map(|(ours, theirs)| ours / theirs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_medians() {
        let turn = |tokens_per_s: f64, peak_memory: Option<u64>| Turn {
            tokens_per_s,
            step_seconds: 1.0 / tokens_per_s,
            peak_memory,
            isa: None,
        };
        let ours = [turn(30.0, Some(1)), turn(10.0, Some(2)), turn(20.0, Some(3))];
        let theirs = [turn(5.0, Some(4)), turn(50.0, Some(4)), turn(8.0, Some(4))];
        let sides = Sides {
            ours: &ours,
            theirs: &theirs,
        };
        let json = sides.json();
        assert_eq!(
            (json["ratio"].as_f64(), json["memory_ratio"].as_f64()),
            (Some(2.5), Some(0.5))
        );
        let text = sides.text(false);
        assert!(
            text.contains("trains 2.50 times as fast, in 0.50 times the memory"),
            "{text}"
        );
        // A system that does not tell its memory.
        let unknown = [turn(5.0, None)];
        let sides = Sides {
            ours: &ours,
            theirs: &unknown,
        };
        assert!(sides.json()["memory_ratio"].is_null() && !sides.text(false).contains("memory"));
    }

    /// The peer knows the presets that this program has, at the same sizes.
    #[test]
    fn the_peer_has_every_preset() {
        for preset in foretoken::model::registry::PRESETS {
            let row = format!(
                "    \"{}\": ({}, {}, {}, {}),\n",
                preset.name, preset.n_layer, preset.n_head, preset.n_embd, preset.n_positions
            );
            assert!(PROGRAM[1].1.contains(&row), "{row}");
        }
    }
}
