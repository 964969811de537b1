//! Ours and another program in turn: A B A B …, each in a process of its own.
//!
//! A machine drifts by more than most differences worth having, so what is quotable is the ratio of medians taken in turn.

mod llama;
mod torch;

pub(super) use llama::llama;
pub(super) use torch::torch;

use anyhow::{Context, bail};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// What people call our side.
const OURS: &str = "foretoken";

/// The version of a package that a Python imports; `install` is what pip calls it.
fn version(python: &Path, package: &str, install: &str) -> anyhow::Result<String> {
    let asked = Command::new(python)
        .args(["-c", &format!("import {package}; print({package}.__version__)")])
        .stdin(Stdio::null())
        .output();
    let name = python.display();
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => bail!("{name} does not start ({error}): name a Python that has {package} with --python"),
    };
    if !answer.status.success() {
        let said = last_line(&answer.stderr);
        bail!(
            "{name} cannot import {package} ({said}): install it there (`{name} -m pip install {install}`, best in a virtual \
             environment), or name a Python that has it with --python"
        );
    }
    Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

/// Runs a side and gives the last object on its standard output that has a number called `key`.
fn summary(name: &str, command: &mut Command, key: &str) -> anyhow::Result<Value> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} does not start"))?;
    if !done.status.success() {
        bail!("{name} failed ({}): {}", done.status, last_line(&done.stderr));
    }
    let printed = String::from_utf8_lossy(&done.stdout);
    let mut objects = printed
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = objects.find(|object| object.get(key).is_some_and(Value::is_number));
    found.with_context(|| format!("{name} printed no object with {key}"))
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("it said nothing").trim().to_owned()
}
