//! What a training run prints, keeps and survives.

use crate::common::{Place, failure, object, success};
use std::fs;
use std::io::{BufRead, BufReader};

#[test]
fn json_is_objects_and_nothing_else() {
    let place = Place::new();
    let out = place.ok("train --config tiny.toml --out run --json --sample-every 4");
    let lines: Vec<_> = out.lines().map(object).collect();
    assert_eq!(lines.len(), 12);
    for (index, line) in lines.iter().enumerate() {
        let step = index as u64 + 1;
        assert_eq!(
            (line["step"].as_u64(), line["tokens"].as_u64()),
            (Some(step), Some(step * 64))
        );
        for key in ["time_s", "train_loss", "lr", "grad_norm", "tokens_per_s"] {
            assert!(line[key].as_f64().is_some_and(|x| x > 0.0), "{key} in {line:?}");
        }
        assert_eq!(line["val_loss"].is_f64(), step % 3 == 0, "{line:?}");
    }
    assert_eq!(lines, place.metrics("run"), "the same as in metrics.jsonl");
    assert!(lines[11]["train_loss"].as_f64() < lines[0]["train_loss"].as_f64());
}

#[test]
fn no_escape_codes_in_pipes_and_quiet_is_quiet() {
    let place = Place::new();
    let (out, err) = success(
        "train",
        place.output("train --config tiny.toml --out run --sample-every 6"),
    );
    assert!(
        !out.contains('\u{1b}') && !out.contains('\r') && err.is_empty(),
        "{out}{err}"
    );
    for word in [
        "data",
        "tokenizer",
        "model",
        "parameters",
        "memory",
        "val",
        "foretoken generate --model run",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let (out, err) = success("quiet", place.output("train --config tiny.toml --out quiet --quiet"));
    assert_eq!((out.as_str(), err.as_str()), ("", ""));
    let (out, err) = success("resume", place.output("train --resume --out quiet --quiet --steps 14"));
    assert_eq!((out.as_str(), err.as_str()), ("", ""));
    for file in [
        "loss.svg",
        "run.toml",
        "metrics.jsonl",
        "latest/model.safetensors",
        "best/model.safetensors",
    ] {
        assert!(
            fs::metadata(place.path("quiet").join(file)).is_ok_and(|data| data.len() > 0),
            "{file}"
        );
    }
    let svg = fs::read_to_string(place.path("run/loss.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    // Whoever reads the progress may go.
    let mut command = place.command("train --config tiny.toml --steps 30 --eval-every 1 --out head");
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    success("head", child.wait_with_output().unwrap());
    assert_eq!(place.metrics("head").len(), 30);
}

/// In a terminal there is colour, with NO_COLOR there is none.
#[cfg(target_os = "linux")]
#[test]
fn no_color() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 1 --out run --quiet");
    let in_terminal = |no_color: &str| {
        let foretoken = env!("CARGO_BIN_EXE_foretoken");
        let commands = format!(
            "{foretoken} train --config tiny.toml --steps 3 --sample-every 1 --out tty{no_color}; {foretoken} size nano; \
             {foretoken} generate --model nosuch; {foretoken} --help; {foretoken} nosuch"
        );
        let mut script = std::process::Command::new("script");
        script
            .args(["-qec", &commands, "/dev/null"])
            .current_dir(place.path("."));
        script
            .env("FORETOKEN_CACHE", place.path("cache"))
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color);
        script.stdin(std::process::Stdio::null());
        Some(String::from_utf8_lossy(&script.output().ok()?.stdout).into_owned())
    };
    let (Some(with), Some(without)) = (in_terminal(""), in_terminal("1")) else {
        return eprintln!("skipped: there is no `script` to make a terminal with");
    };
    // A code that sets a colour or a weight ends in `m`; the live line moves the cursor with others.
    let styled = |text: &str| {
        let codes = text.split("\u{1b}[").skip(1);
        codes
            .filter(|code| {
                code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
                    .starts_with('m')
            })
            .count()
    };
    assert!(styled(&with) > 50, "{with}");
    assert_eq!(styled(&without), 0, "{without}");
    assert!(without.contains("error: nosuch is no path here"), "{without}");
}

#[test]
fn checkpoints_that_are_kept() {
    let place = Place::new();
    let pointer = |run: &str, name: &str| {
        let target = fs::read_link(place.path(run).join(name)).unwrap();
        target.file_name().unwrap().to_str().unwrap().to_owned()
    };
    place.ok("train --config tiny.toml --checkpoint-every 1 --keep 2 --out keep --quiet");
    assert_eq!(place.names("keep/checkpoints"), ["step-00000011", "step-00000012"]);
    place.ok("train --config tiny.toml --checkpoint-every 5 --eval-every 0 --keep 0 --out all --quiet");
    assert_eq!(
        place.names("all/checkpoints"),
        ["step-00000005", "step-00000010", "step-00000012"]
    );
    // The best stays, however old: with a rate this high the loss soon rises.
    place.ok("train --config tiny.toml --steps 40 --lr 0.5 --grad-clip 0 --keep 1 --out best --quiet");
    let metrics = place.metrics("best");
    let losses = || {
        metrics
            .iter()
            .filter_map(|line| Some((line["val_loss"].as_f64()?, line["step"].as_u64()?)))
    };
    let (_, best) = losses().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert!(best < 40, "the loss was to rise");
    assert_eq!(
        place.names("best/checkpoints"),
        [format!("step-{best:08}"), "step-00000040".into()]
    );
    assert_eq!(
        (pointer("best", "best"), pointer("best", "latest")),
        (format!("step-{best:08}"), "step-00000040".into())
    );
}

#[test]
fn patience_ends_early_and_says_so() {
    let place = Place::new();
    let flags = "--steps 200 --lr 0.5 --grad-clip 0 --eval-every 2 --patience 3 --out run";
    let out = place.ok(&format!("train --config tiny.toml {flags}"));
    assert!(out.contains("the validation loss did not improve any more"), "{out}");
    assert!(
        out.contains("foretoken train --resume --out run --patience 6\n"),
        "{out}"
    );
    let metrics = place.metrics("run");
    let losses: Vec<f64> = metrics.iter().filter_map(|line| line["val_loss"].as_f64()).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let since = losses.iter().rev().position(|&loss| loss == best).unwrap();
    assert_eq!(since, 3, "{losses:?}");
    assert!(metrics.len() < 200);
    place.ok("generate --model run/best --max-tokens 1 x");
}

#[test]
fn gradients_that_are_not_finite() {
    let place = Place::new();
    let args = "train --config tiny.toml --steps 500 --lr 1e30 --grad-clip 0 --val-fraction 0 --out run --quiet";
    let output = place.output(args);
    let err = String::from_utf8(output.stderr.clone()).unwrap();
    let error = failure(args, output);
    assert!(error.contains("not finite") && error.contains("lower --lr"), "{error}");
    let warnings: Vec<&str> = err
        .lines()
        .filter(|line| line.contains("the gradient is not finite"))
        .collect();
    assert!(
        !warnings.is_empty() && warnings.iter().all(|line| line.starts_with("warning: step ")),
        "{err}"
    );
    let metrics = place.metrics("run");
    let last = metrics.last().unwrap();
    assert_eq!(
        last["skipped"].as_u64().unwrap() as usize,
        warnings.len(),
        "every skipped step is counted and said"
    );
    assert!(
        last["grad_norm"].is_null() && last["skipped"].as_u64() >= Some(50),
        "{last:?}"
    );
    // Whatever was saved holds numbers.
    for name in place.names("run/checkpoints") {
        for file in ["model.safetensors", "optimizer.safetensors"] {
            let bytes = fs::read(place.path("run/checkpoints").join(&name).join(file)).unwrap();
            let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let mut floats = bytes[8 + header..]
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes(four.try_into().unwrap()));
            assert!(floats.all(f32::is_finite), "{name}/{file}");
        }
    }
}

#[test]
fn standard_input_is_kept_with_the_run() {
    let place = Place::new();
    let text = "사과 하나, 배 둘. An apple and two pears.\n".repeat(200);
    place.write("text.txt", &text);
    let args = "train --config tiny.toml --tokenizer bpe:300 --val-fraction 0.2 --quiet";
    success(
        "stdin",
        place.fed(&format!("{args} --steps 6 --out piped --data -"), text.as_bytes()),
    );
    assert_eq!(fs::read_to_string(place.path("piped/stdin.txt")).unwrap(), text);
    // Resumed without it, from another directory even.
    let run = place.path("piped");
    fs::create_dir(place.path("elsewhere")).unwrap();
    let mut command = place.command("train --resume --quiet --steps 12 --out");
    success(
        "resume",
        command.arg(&run).current_dir(place.path("elsewhere")).output().unwrap(),
    );
    place.ok(&format!("{args} --out file --data text.txt"));
    place
        .bits("file")
        .assert_same(&place.bits("piped"), "from standard input");
    // As validation text only.
    let args = "train --config tiny.toml --data text.txt --val-data - --quiet --out val";
    success("val", place.fed(args, text.as_bytes()));
    assert!(place.metrics("val")[2]["val_loss"].is_f64());
}

#[test]
fn one_process_a_run() {
    let place = Place::new();
    let mut child = place.spawn("train --config tiny.toml --steps 100000 --out run --json");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let error = place.error("train --resume --out run --quiet");
    assert!(
        error.contains("run is in use by another foretoken process") && error.contains("--out"),
        "{error}"
    );
    let error = place.error("train --config tiny.toml --out run --quiet");
    assert!(error.contains("run already holds a run"), "{error}");
    // Looking is free.
    while !place.exists("run/latest") {
        lines.next().unwrap().unwrap();
    }
    place.ok("size --model run");
    child.kill().unwrap();
    child.wait().unwrap();
    // A killed process holds no lock.
    let error = place.error("train --resume --out run --quiet --steps 1");
    assert!(
        error.contains("--steps is 1") && error.contains("that are done"),
        "{error}"
    );
}

/// Two at once, without --out: each finds its own name.
#[test]
fn two_processes_take_two_names() {
    let place = Place::new();
    let children: Vec<_> = (0..3)
        .map(|_| place.spawn("train --config tiny.toml --quiet"))
        .collect();
    for child in children {
        success("train", child.wait_with_output().unwrap());
    }
    assert_eq!(place.names("runs"), ["001-tiny", "002-tiny", "003-tiny"]);
    place
        .bits("runs/001-tiny")
        .assert_same(&place.bits("runs/003-tiny"), "side by side");
}

/// A configuration is a run's run.toml, and the flags go over it.
#[test]
fn a_run_from_the_run_file_of_another() {
    let place = Place::new();
    place.ok("train --config tiny.toml --out one --dropout 0.1 --quiet");
    place.ok("train --config one/run.toml --out two --quiet");
    place.bits("one").assert_same(&place.bits("two"), "run.toml");
    place.ok("train --config one/run.toml --out three --steps 3 --quiet");
    assert_eq!(place.metrics("three").len(), 3);
    // What followed from the steps of one follows from those of the other.
    place.ok("train --config tiny.toml --steps 40 --out long --quiet");
    place.ok("train --config long/run.toml --steps 3 --out short --quiet");
    place.ok("train --config tiny.toml --steps 3 --out fresh --quiet");
    let file = |run: &str| std::fs::read_to_string(place.path(run).join("run.toml")).expect("a run file");
    assert!(file("long").contains("warmup = 2\n") && file("short").contains("warmup = 0\n"));
    assert_eq!(file("short"), file("fresh"));
}
