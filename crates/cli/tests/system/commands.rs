//! `size`, `tokenizer`, `completions`, `--help`: what they print, and that a closed pipe is no fault.

use crate::common::{Place, object, success};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const PRESETS: [&str; 16] = [
    "nano",
    "tiny",
    "mini",
    "small",
    "gpt2",
    "gpt2-medium",
    "gpt2-large",
    "gpt2-xl",
    "gpt3-small",
    "gpt3-medium",
    "gpt3-large",
    "gpt3-xl",
    "gpt3-2.7b",
    "gpt3-6.7b",
    "gpt3-13b",
    "gpt3-175b",
];

#[test]
fn size_of_every_preset() {
    let place = Place::new();
    let list = place.ok("size list");
    let listed: Vec<&str> = list
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(listed, PRESETS);
    let objects: Vec<_> = place.ok("size list --json").lines().map(object).collect();
    let names: Vec<&str> = objects.iter().map(|preset| preset["name"].as_str().unwrap()).collect();
    assert_eq!(names, PRESETS);
    for (preset, line) in objects.iter().zip(list.lines()) {
        let sizes = ["n_layer", "n_head", "n_embd", "n_positions"];
        let shown = ["L=", "h=", "d=", "n_positions="];
        for (word, said) in line.split_whitespace().skip(1).zip(sizes.into_iter().zip(shown)) {
            assert_eq!(word, format!("{}{}", said.1, preset[said.0]), "{line}");
        }
        assert_eq!(preset["vocab_size"], 50257, "{line}");
    }
    for preset in PRESETS {
        let page = place.ok(&format!("size {preset}"));
        let sizes = object(&place.ok(&format!("size --preset {preset} --json --memory 8GiB")));
        let count = sizes["parameters"]["count"].as_u64().unwrap();
        let listed = objects.iter().find(|object| object["name"] == preset).unwrap();
        assert_eq!(listed["parameters"], count, "{preset}");
        let grouped = count
            .to_string()
            .as_bytes()
            .rchunks(3)
            .rev()
            .map(String::from_utf8_lossy)
            .collect::<Vec<_>>()
            .join(",");
        assert!(
            page.contains(&format!("{preset}  {grouped} parameters")),
            "{preset}: {page}"
        );
        assert!(
            sizes["training"]["bytes"].as_u64().unwrap() > 16 * count,
            "{preset}: weights, gradients, two moments"
        );
        assert!(!sizes["fit"].is_null() && !page.contains('\u{1b}'), "{preset}");
    }
    assert!(place.ok("size gpt2").contains("124,439,808"));
    assert!(place.ok("size gpt2 --memory 2GiB").contains("WHAT FITS  into 2.00 GiB"));
}

#[test]
fn size_of_a_run_is_what_training_says() {
    let place = Place::new();
    let said = place.ok("train --config tiny.toml --steps 1 --out run");
    let line = |start: &str| said.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    let sizes = object(&place.ok("size --model run --batch-size 2 --json"));
    assert_eq!(sizes["parameters"]["count"], 7936);
    assert!(line("parameters").contains("7,936"), "{said}");
    let bytes = sizes["training"]["bytes"].as_f64().unwrap();
    assert!(
        line("memory").contains(&format!("{:.1} KiB predicted", bytes / 1024.0)),
        "{said}\n{bytes}"
    );
}

#[test]
fn tokenizer_there_and_back() {
    let place = Place::new();
    let text = "나무가 자란다. The tree grows.\n\n 둘째 줄\tthere — 😀!\n끝";
    place.write("text.txt", text.repeat(30));
    for kind in ["byte", "char", "bpe:400"] {
        place.ok(&format!(
            "tokenizer train --data text.txt --tokenizer {kind} --out t.json"
        ));
        let ids = success("encode", place.fed("tokenizer encode --model t.json", text.as_bytes())).0;
        assert_eq!(ids.lines().count(), 1, "{kind}: {ids}");
        let back = success("decode", place.fed("tokenizer decode --model t.json", ids.as_bytes())).0;
        assert_eq!(back, text, "{kind}");
        let json = success(
            "json",
            place.fed("tokenizer encode --model t.json --json", text.as_bytes()),
        )
        .0;
        let of_json: Vec<u64> = json
            .lines()
            .flat_map(|line| object(line)["ids"].as_array().unwrap().clone())
            .map(|id| id.as_u64().unwrap())
            .collect();
        let of_text: Vec<u64> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(of_json, of_text, "{kind}");
        // The ids are those of the library for the whole text, where tokens reach over the ends of lines.
        let tokenizer = foretoken::text::Tokenizer::from_file(&place.path("t.json")).unwrap();
        let library = |text: &str| tokenizer.encode(text).into_iter().map(u64::from).collect::<Vec<_>>();
        assert_eq!(of_text, library(text), "{kind}");
        let by_lines: Vec<u64> = text.split_inclusive('\n').flat_map(library).collect();
        assert_eq!(of_text == by_lines, !kind.starts_with("bpe"), "{kind}");
        let bytes = text.len();
        assert!(
            if kind == "byte" {
                of_text.len() == bytes
            } else {
                of_text.len() < bytes
            },
            "{kind}"
        );
    }
    let one = place
        .command("tokenizer encode --model t.json")
        .arg("나무")
        .output()
        .unwrap();
    let one = success("one", one).0;
    let back = place.ok(&format!("tokenizer decode --model t.json {one}"));
    assert_eq!(back, "나무\n");
    // A run brings its tokeniser.
    place.ok("train --config tiny.toml --tokenizer t.json --data text.txt --steps 1 --out run --quiet");
    let of_run = place
        .command("tokenizer encode --model run")
        .arg("나무")
        .output()
        .unwrap();
    assert_eq!(success("of the run", of_run).0, one);
    // Text is text: the end of a text is a token only where asked for.
    let special = |flags: &str| {
        let mut command = place.command(&format!("tokenizer encode --model t.json {flags}"));
        success("special", command.arg("<|endoftext|>").output().unwrap()).0
    };
    assert!(special("").split_whitespace().count() > 1 && special("--special").split_whitespace().count() == 1);
}

#[test]
fn completions_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.ok(&format!("completions {shell}"));
        for word in ["foretoken", "checkpoint-every", "top-p", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn every_help_shows_an_example() {
    let place = Place::new();
    for command in [
        "",
        "train",
        "generate",
        "size",
        "bench",
        "tokenizer",
        "tokenizer train",
        "tokenizer encode",
        "tokenizer decode",
        "completions",
    ] {
        let help = place.ok(&format!("{command} --help"));
        let (_, examples) = help
            .split_once("Example")
            .unwrap_or_else(|| panic!("{command}: {help}"));
        assert!(examples.contains(&format!("foretoken {command}")), "{command}: {help}");
        assert!(!help.contains('\u{1b}'), "{command}");
    }
    assert!(place.ok("--version").starts_with("foretoken "));
    let nothing = place.output("");
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("Usage: foretoken"));
}

/// One line is read, then the pipe is closed.
#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 1 --out run --quiet");
    place.write("long.txt", "a line of text\n".repeat(20_000));
    for args in [
        "size gpt3-175b",
        "size list",
        "size list --json",
        "size gpt2 --json",
        "completions zsh",
        "bench --preset nano --vocab-size 300 --seq-len 16",
        "--help",
        "train --help",
        "generate --model run --max-tokens 100000",
        "generate --model run --json -n 100 --max-tokens 50",
        "tokenizer encode --model run",
        "tokenizer encode --model run --json",
    ] {
        let mut command = place.command(args);
        command.stdin(std::fs::File::open(place.path("long.txt")).unwrap());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if args.starts_with("generate") {
            command.stdin(Stdio::null());
        }
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::with_capacity(16, child.stdout.take().unwrap());
        out.read_until(b' ', &mut Vec::new()).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && err.is_empty(),
            "{args}: {} {err}",
            output.status
        );
    }
    // Closed from the start, both of them.
    for args in [
        "size gpt2",
        "size list",
        "generate --model run x",
        "generate --model nosuch",
        "eval --model run --data corpus:2",
        "completions fish",
    ] {
        let script = format!("\"$0\" {args} >&- 2>&-");
        let status = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_foretoken")])
            .current_dir(place.path("."))
            .status()
            .unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "{args}: {status}");
    }
}
