//! `foretoken generate`.

use crate::common::{Object, Place, object, success};

fn trained(place: &Place) {
    place.ok("train --config tiny.toml --out run --quiet");
}

fn json(place: &Place, args: &str, prompt: &str) -> Vec<Object> {
    let mut command = place.command(&format!("generate --model run --json {args}"));
    let (out, err) = success(args, command.arg(prompt).output().unwrap());
    assert_eq!(err, "", "{args}");
    out.lines().map(object).collect()
}

#[test]
fn the_same_seed_the_same_text() {
    let place = Place::new();
    trained(&place);
    let text = |flags: &str| place.ok(&format!("generate --model run --max-tokens 40 {flags} Mina"));
    let first = text("");
    assert_eq!(first, text("--threads 1"));
    assert_ne!(first, text("--seed 7"));
    assert!(first.starts_with("Mina") && first.ends_with('\n') && !first.contains('\u{1b}'));
    assert_eq!(
        text("--temperature 0"),
        text("--temperature 0 --seed 7"),
        "greedy draws nothing"
    );
    assert_eq!(text("--temperature 0"), text("--top-k 1"));
    assert_eq!(place.ok("generate --model run --max-tokens 0 Mina"), "Mina\n");
    // The checkpoint, the run and its latest are one model.
    let direct = place.ok("generate --model run/checkpoints/step-00000012 --max-tokens 40 Mina");
    assert_eq!(first, direct);
}

#[test]
fn several_texts() {
    let place = Place::new();
    trained(&place);
    let three = json(&place, "-n 3 --max-tokens 30", "Mina");
    let texts: Vec<&str> = three.iter().map(|text| text["text"].as_str().unwrap()).collect();
    assert_eq!(
        three
            .iter()
            .map(|text| text["index"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    // How many are asked for changes none of them.
    assert_eq!(json(&place, "--max-tokens 30", "Mina")[0]["text"], texts[0]);
    let out = place.ok("generate --model run -n 3 --max-tokens 30 Mina");
    assert_eq!(out.matches("────").count() / 10, 2, "{out}");
    for text in texts {
        assert!(out.contains(&format!("Mina{text}")), "{out}");
    }
}

#[test]
fn stop_strings_and_sliding() {
    let place = Place::new();
    trained(&place);
    let free = json(&place, "--max-tokens 100 --seed 3", "The");
    let (text, ids) = (free[0]["text"].as_str().unwrap(), free[0]["ids"].as_array().unwrap());
    // The model sees 32 tokens: beyond, the context slides.
    assert!(ids.len() == 100 || free[0]["stopped"] == "end_of_text", "{free:?}");
    assert!(ids.len() > 32, "another seed is needed for this test");
    // A string of the text, found again.
    let stop: String = text.chars().skip(20).take(2).collect();
    let mut command = place.command("generate --model run --json --max-tokens 100 --seed 3 --stop");
    let stopped = object(&success("stop", command.args([&stop, "The"]).output().unwrap()).0);
    let at = text.find(&stop).unwrap();
    assert_eq!(
        (stopped["text"].as_str(), &stopped["stopped"]),
        (Some(&text[..at]), &"stop_string".into())
    );
    // A prompt longer than the context: its end counts, and it is said.
    let long = "a".repeat(50);
    let output = place
        .command("generate --model run --max-tokens 2")
        .arg(&long)
        .output()
        .unwrap();
    let (out, err) = success("long", output);
    assert!(out.starts_with(&long), "{out}");
    assert!(
        err.contains("warning: the prompt is longer than the context of 32 tokens"),
        "{err}"
    );
}

#[test]
fn prompts() {
    let place = Place::new();
    trained(&place);
    let korean = "옛날 어느 마을에";
    let output = place
        .command("generate --model run --max-tokens 5")
        .arg(korean)
        .output()
        .unwrap();
    let direct = success("korean", output).0;
    assert!(direct.starts_with(korean));
    // From a pipe, with the newline that `echo` adds.
    for input in [korean.to_owned(), format!("{korean}\n")] {
        let piped = success(
            "pipe",
            place.fed("generate --model run --max-tokens 5", input.as_bytes()),
        )
        .0;
        assert_eq!(piped, direct);
    }
    let object = &json(&place, "--max-tokens 5", korean)[0];
    assert_eq!(
        (object["prompt"].as_str(), object["prompt_tokens"].as_u64()),
        (Some(korean), Some(23))
    );
    assert_eq!(
        object["tokens"].as_u64().unwrap() as usize,
        object["ids"].as_array().unwrap().len()
    );
    // None at all: a text from its beginning.
    assert!(
        success("none", place.fed("generate --model run --max-tokens 5", b""))
            .0
            .len()
            > 1
    );
}

#[test]
fn the_latest_run() {
    let place = Place::new();
    place.ok("train --config tiny.toml --quiet");
    place.ok("train --config tiny.toml --seed 2 --quiet");
    assert_eq!(place.names("runs"), ["001-tiny", "002-tiny"]);
    let (latest, err) = success("latest", place.output("generate --max-tokens 20 x"));
    assert_eq!(err, "runs/002-tiny\n");
    assert_eq!(latest, place.ok("generate --model runs/002-tiny --max-tokens 20 x"));
    place.ok("train --resume --quiet --out runs/001-tiny --steps 13");
    assert_eq!(latest_of(&place), "runs/001-tiny\n");
    // A run that was killed before its first checkpoint is the one to resume, though there is nothing to generate from.
    std::fs::create_dir(place.path("runs/003-tiny")).unwrap();
    std::fs::copy(
        place.path("runs/002-tiny/run.toml"),
        place.path("runs/003-tiny/run.toml"),
    )
    .unwrap();
    place.write("runs/003-tiny/metrics.jsonl", "");
    assert_eq!(latest_of(&place), "runs/001-tiny\n");
    place.ok("train --resume --quiet");
    assert_eq!(latest_of(&place), "runs/003-tiny\n");
    place
        .bits("runs/002-tiny")
        .assert_same(&place.bits("runs/003-tiny"), "from the start");
}

fn latest_of(place: &Place) -> String {
    success("latest", place.output("generate --max-tokens 1 x")).1
}
