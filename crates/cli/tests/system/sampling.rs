//! `foretoken generate`: how tokens are chosen, the form of the text, guesses.

use crate::common::{Place, object, success};

fn trained() -> Place {
    let place = Place::new();
    place.ok("train --config tiny.toml --out run --quiet");
    place
}

fn generate(place: &Place, args: &[&str]) -> (String, String) {
    let mut command = place.command("generate --model run --seed 3");
    success(&args.join(" "), command.args(args).output().unwrap())
}

/// The exit code and the message.
fn refused(place: &Place, args: &[&str]) -> (Option<i32>, String) {
    let mut command = place.command("generate --model run --max-tokens 5");
    let output = command.args(args).arg("Mina").output().unwrap();
    assert!(!output.status.success(), "{args:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_sampling_flag_reaches_the_sampler() {
    let place = trained();
    let text = |flags: &[&str]| {
        generate(
            &place,
            &[flags, &["--max-tokens", "60", "--temperature", "0.2", "Mina"]].concat(),
        )
        .0
    };
    let plain = text(&[]);
    for flags in [
        &["--typical-p", "0.3"][..],
        &["--presence-penalty", "2"],
        &["--frequency-penalty", "1.5"],
        &["--repetition-penalty", "1.5"],
        &["--dry-multiplier", "5", "--dry-allowed-length", "1"],
        &["--xtc-probability", "1", "--xtc-threshold", "0.01"],
        &["--mirostat-tau", "2"],
        // The space is forbidden.
        &["--logit-bias", "32:-100"],
    ] {
        let changed = text(flags);
        assert_ne!(changed, plain, "{flags:?}");
        assert_eq!(changed, text(flags), "{flags:?}");
    }
    assert!(!text(&["--logit-bias", "32:-100"]).contains(' '));
    // Windows and breakers that leave nothing to penalise.
    for flags in [
        &["--repetition-penalty", "1.5", "--repetition-last-n", "0"][..],
        &["--dry-multiplier", "5", "--dry-penalty-last-n", "0"],
        &["--dry-multiplier", "5", "--dry-base", "2", "--dry-allowed-length", "90"],
        &["--xtc-probability", "1", "--xtc-threshold", "0.9"],
    ] {
        assert_eq!(text(flags), plain, "{flags:?}");
    }
    for (flags, part) in [
        (
            &["--typical-p", "2"][..],
            "`typical_p` is 2: expected a number from 0 to 1",
        ),
        (&["--dry-multiplier", "-1"], "`dry_multiplier` is -1"),
        (&["--mirostat-tau", "0"], "`mirostat_tau` is 0"),
        (&["--logit-bias", "7"], "expected ID:BIAS"),
        (&["--logit-bias", "70000:1"], "token 70000 is not in the vocabulary of"),
        (&["--speculate", "65"], "`speculate` is 65"),
        (
            &["--dry-multiplier", "1", "--dry-sequence-breaker", "끝내"],
            "no token of this model",
        ),
        (&["--json-schema", "{", "--regex", "a"], "cannot be used with"),
    ] {
        let (code, error) = refused(&place, flags);
        assert!(code == Some(2) && error.contains(part), "{flags:?}: {code:?} {error}");
    }
}

#[test]
fn a_schema_a_pattern_and_a_grammar_hold() {
    let place = trained();
    let schema = r#"{"type": "object", "properties": {"name": {"enum": ["민지", "Max"]}, "age": {"type": "integer",
        "minimum": 1, "maximum": 99}}, "required": ["name", "age"], "additionalProperties": false}"#;
    place.write("person.json", schema);
    let whole = |flags: &[&str]| {
        let (out, err) = generate(&place, &[flags, &["--max-tokens", "200", "--json", "Mina: "]].concat());
        assert_eq!(err, "");
        let told = object(&out);
        assert_eq!(told["stopped"], "end_of_text", "{out}");
        told["text"].as_str().unwrap().to_owned()
    };
    let from_file = whole(&["--json-schema", "person.json"]);
    assert_eq!(whole(&["--json-schema", schema]), from_file);
    let person = object(&from_file);
    assert!(person["name"] == "민지" || person["name"] == "Max", "{from_file}");
    assert!((1..100).contains(&person["age"].as_u64().unwrap()));
    assert_eq!(person.len(), 2);
    assert!(["네", "아니요"].contains(&whole(&["--regex", "네|아니요"]).as_str()));
    place.write("sum.lark", "start: NUMBER (\"+\" NUMBER)+\nNUMBER: /[1-9]/\n");
    let sum = whole(&["--grammar", "sum.lark"]);
    assert!(
        sum.split('+').all(|n| n.len() == 1 && n != "0") && sum.len() > 2,
        "{sum}"
    );
    // What does not end in time is said to be no match.
    let (out, err) = generate(&place, &["--regex", "[a-z]{50}", "--max-tokens", "10", "Mina"]);
    assert_eq!(out.len(), "Mina".len() + 11, "{out}");
    assert!(
        err.contains("warning: the text ended before it matched (max_tokens)"),
        "{err}"
    );
    place.write("broken.json", "{\"type\": ");
    for (flags, part) in [
        (["--regex", "(a"], "the regular expression cannot be used"),
        (
            ["--json-schema", r#"{"type": "thing"}"#],
            "the JSON schema cannot be used: Invalid type: thing",
        ),
        (["--json-schema", "broken.json"], "broken.json"),
        (["--json-schema", "{\"type\": "], "--json-schema"),
        (["--grammar", "missing.lark"], "missing.lark"),
    ] {
        let (_, error) = refused(&place, &flags);
        assert!(error.contains(part), "{flags:?}: {error}");
    }
}

#[test]
fn guesses_change_nothing_and_are_counted() {
    let place = trained();
    let prompt = "Mina went to the forest. Mina went to the forest. Mina went to";
    for sampling in [&["--temperature", "0"][..], &["--temperature", "0.5"]] {
        let told = |speculate: &str| {
            let flags = ["--speculate", speculate, "--max-tokens", "80", "--json", prompt];
            object(&generate(&place, &[sampling, &flags].concat()).0)
        };
        let (plain, guessed) = (told("0"), told("8"));
        assert_eq!(plain["ids"], guessed["ids"]);
        assert_eq!(plain["proposed_tokens"], 0);
        let count = |name: &str| guessed[name].as_u64().unwrap();
        assert!(count("proposed_tokens") > 0 && count("accepted_tokens") <= count("proposed_tokens"));
    }
}

#[test]
fn a_prompt_cache_is_read_the_next_time() {
    let place = trained();
    let told = |flags: &[&str]| {
        let (out, err) = generate(
            &place,
            &[flags, &["--max-tokens", "20", "--json", "Mina went to the"]].concat(),
        );
        (object(&out), err)
    };
    let plain = told(&[]).0;
    let (first, err) = told(&["--prompt-cache", "prompt.bin"]);
    assert_eq!(
        (&first["ids"], &first["cached_tokens"], err.as_str()),
        (&plain["ids"], &0.into(), "")
    );
    let (second, err) = told(&["--prompt-cache", "prompt.bin"]);
    assert_eq!((&second["ids"], err.as_str()), (&plain["ids"], ""));
    assert_eq!(second["cached_tokens"], second["prompt_tokens"]);
    // A run trained further is another model.
    place.ok("train --resume --quiet --out run --steps 14");
    let (third, err) = told(&["--prompt-cache", "prompt.bin"]);
    assert!(
        third["cached_tokens"] == 0 && err.contains("made with another model"),
        "{err}"
    );
    place.write("notes.txt", "mine");
    let (_, err) = told(&["--prompt-cache", "notes.txt"]);
    assert!(err.contains("warning:") && err.contains("notes.txt"), "{err}");
    assert_eq!(std::fs::read(place.path("notes.txt")).unwrap(), b"mine");
}

#[test]
fn beams_give_the_likeliest_texts() {
    let place = trained();
    let (out, err) = generate(&place, &["--max-tokens", "20", "--json", "Mina"]);
    assert!(object(&out).contains_key("seed") && err.is_empty());
    let found = |flags: &str| {
        let command = format!("generate --model run --beams 4 --max-tokens 20 {flags} Mina");
        place.ok(&command)
    };
    let lines: Vec<_> = found("--json -n 4").lines().map(object).collect();
    let scores: Vec<f64> = lines.iter().map(|line| line["score"].as_f64().unwrap()).collect();
    assert!(
        scores.len() == 4 && scores.windows(2).all(|w| w[0] >= w[1]),
        "{scores:?}"
    );
    let best = lines[0]["text"].as_str().unwrap();
    assert_eq!(found(""), format!("Mina{best}\n"));
    assert_eq!(found("--threads 1 --json -n 2").lines().count(), 2);
    for (flags, part) in [
        (&["--beams", "1"][..], "`beams` is 1: expected 2 to 64"),
        (&["--beams", "2", "-n", "3"], "gives at most 2 texts"),
        (&["--beams", "2", "--temperature", "1"], "cannot be used with"),
        (&["--beams", "2", "--regex", "a"], "cannot be used with"),
        (&["--length-penalty", "2"], "--beams"),
    ] {
        let (code, error) = refused(&place, flags);
        assert!(code == Some(2) && error.contains(part), "{flags:?}: {code:?} {error}");
    }
}
