//! Reading a prompt and writing after it, here and in llama.cpp, from the same GGUF file.

use super::super::Bench;
use super::super::out::Out;
use super::{OURS, summary, version};
use crate::Usage;
use crate::profile_table::threads;
use crate::terminal::{FAINT, STRONG, paint};
use anyhow::Context;
use foretoken::bench::median;
use foretoken::kernels::{Isa, PackedType};
use foretoken::model::gpt2::Gpt2;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The peer's program; see `torch.rs`.
const PROGRAM: (&str, &str) = (
    "llama_cpp_generate.py",
    include_str!("../../../../../benches/peers/llama_cpp_generate.py"),
);

/// What people call the other side.
const THEIRS: &str = "llama.cpp";

/// Tokens a second of one side in one round: the prompt's, and those after it.
type Turn = [f64; 2];

/// What the two rates are called in the programs' objects, and for people.
const RATES: [(&str, &str); 2] = [("prefill_tokens_per_s", "prompt"), ("decode_tokens_per_s", "decode")];

/// Runs both sides `--rounds` times on every file and says how they compare.
pub(in super::super) fn llama(bench: &Bench, model: &Gpt2) -> anyhow::Result<()> {
    let version = version(&bench.python, "llama_cpp", "llama-cpp-python")?;
    let isa = Isa::detect().map_err(Usage)?.name();
    let out = Out::new(bench.json);
    let cores = bench.threads.filter(|&n| n > 0).unwrap_or_else(crate::train::cores);
    let dir = tempfile::tempdir().context("no temporary directory for the peer's program")?;
    let program = dir.path().join(PROGRAM.0);
    std::fs::write(&program, PROGRAM.1).with_context(|| program.display().to_string())?;
    out.text(&format!(
        "foretoken {} on {isa}, in turn with llama.cpp (llama_cpp {version}); {} each\n",
        env!("CARGO_PKG_VERSION"),
        threads(cores)
    ))?;
    for (name, file) in files(bench, model, dir.path(), &out)? {
        let mut turns: [Vec<Turn>; 2] = [Vec::new(), Vec::new()];
        out.heading(&name)?;
        for round in 1..=bench.rounds {
            let (prompt, tokens, repeat) = sizes(bench, &file)?;
            let mut ours = Command::new(std::env::current_exe().context("where this program lies")?);
            ours.args(["bench", "--only", "decode", "--json", "--repeat", &repeat.to_string()])
                .args(["--threads", &cores.to_string(), "--model"])
                .arg(&file);
            let mut theirs = Command::new(&bench.python);
            theirs
                .arg(&program)
                .arg(&file)
                .args([
                    "--json",
                    "--rounds",
                    &repeat.to_string(),
                    "--threads",
                    &cores.to_string(),
                ])
                .args(["--prompt-tokens", &prompt.to_string(), "--tokens", &tokens.to_string()]);
            for ((side, command), turns) in [(OURS, ours), (THEIRS, theirs)].into_iter().zip(&mut turns) {
                out.phase(&format!("{side}, round {round} of {}", bench.rounds));
                turns.push(side_of(&out, (&name, side, round), command)?);
            }
        }
        out.end();
        compare(&out, &name, &turns)?;
    }
    Ok(())
}

/// The files to read: the one that is named, or the preset's with random weights, one a type.
fn files(bench: &Bench, model: &Gpt2, dir: &Path, out: &Out) -> anyhow::Result<Vec<(String, PathBuf)>> {
    if let Some(path) = &bench.model {
        return Ok(vec![(path.display().to_string(), path.clone())]);
    }
    let mut files = Vec::new();
    for &dtype in &bench.dtype {
        let kind = PackedType::from(dtype);
        let name = format!("{} {}", bench.preset, format!("{kind:?}").to_lowercase());
        out.phase(&format!("nothing yet: writing {name}"));
        let file = dir.join(format!("{}.gguf", name.replace(' ', "-")));
        super::super::random::write_gguf(model, dtype, dir, &file)?;
        files.push((name, file));
    }
    Ok(files)
}

/// Tokens of the prompt and after it, and rounds of each process: as [`foretoken::bench::decode`] takes them.
fn sizes(bench: &Bench, file: &Path) -> anyhow::Result<(usize, usize, usize)> {
    let positions = foretoken::open_model(file)?.dims().n_positions;
    let (prompt, tokens) = foretoken::bench::decode_sizes(positions);
    Ok((prompt, tokens, bench.repeat))
}

fn side_of(out: &Out, (name, side, round): (&str, &str, usize), mut command: Command) -> anyhow::Result<Turn> {
    let summary = summary(side, &mut command, RATES[1].0)?;
    let turn = RATES.map(|(key, _)| summary.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN));
    out.text(&format!(
        "round {round}  {side:<10} prompt {:>8.1} tokens/s, decode {:>8.1} tokens/s\n",
        turn[0], turn[1]
    ))?;
    if out.json {
        let object = json!({
            "event": "round", "model": name, "side": side, "round": round, RATES[0].0: turn[0], RATES[1].0: turn[1],
        });
        out.write(&format!("{object}\n"))?;
    }
    Ok(turn)
}

/// Medians of both sides and their ratio.
fn compare(out: &Out, name: &str, turns: &[Vec<Turn>; 2]) -> anyhow::Result<()> {
    let medians = |rate: usize| {
        turns
            .each_ref()
            .map(|turns| median(&turns.iter().map(|turn| turn[rate]).collect::<Vec<_>>()))
    };
    for (rate, (key, what)) in RATES.into_iter().enumerate() {
        let [ours, theirs] = medians(rate);
        let ratio = paint(&format!("{:.2} times as fast", ours / theirs), STRONG, out.color);
        let note = paint(
            &format!("  (ratio of medians, {} turns each)", turns[0].len()),
            FAINT,
            out.color,
        );
        out.text(&format!(
            "median   {what} {ours:>8.1} against {theirs:>8.1} tokens/s: {ratio}{note}\n"
        ))?;
        if out.json {
            let object = json!({
                "event": "against", "peer": "llama.cpp", "model": name, "rate": key,
                "our_median": ours, "their_median": theirs, "ratio": ours / theirs,
            });
            out.write(&format!("{object}\n"))?;
        }
    }
    Ok(())
}
