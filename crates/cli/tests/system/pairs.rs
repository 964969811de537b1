//! Training on questions and answers, and asking what was learned.

use crate::common::{Place, object};

/// Forty pairs; the first answers hold syllables of three bytes each, and every field a comma.
fn place() -> Place {
    let place = Place::new();
    let mut csv = String::from("\u{feff}Q,A,label\r\n");
    for i in 0..40 {
        let who = ["미나", "하늘", "Ada", "Tom"][i % 4];
        csv += &format!("\"{who}, {i}?\",\"{who}, 네.\",{}\r\n", i % 3);
    }
    place.write("pairs.csv", csv);
    place
}

const TRAIN: &str =
    "train --config tiny.toml --data pairs.csv --tokenizer byte --n-positions 48 --val-fraction 0.2 --grad-accum 2";

#[test]
fn pairs_are_guessed_shown_and_trained_to_the_same_bits() {
    let place = place();
    let report = place.ok(&format!("{TRAIN} --out whole --threads 2"));
    for part in [
        "questions and answers",
        "packing ",
        "loss on answers and the tokens that end them",
        // The first that is not held out.
        "A·d·a·,·␣·2·?·⏎·␣·A·d·a·,·␣·네(3)·.·<|endoftext|>·",
        "^ ^ ^ ^ ^ ^ ^^^^^ ^ ^^^^^^^^^^^^^",
        "foretoken chat --model whole",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    let run = std::fs::read_to_string(place.path("whole/run.toml")).unwrap();
    assert!(run.contains("format = \"qa\""), "{run}");
    let config = std::fs::read_to_string(place.path("whole/latest/tokenizer_config.json")).unwrap();
    assert!(config.contains("chat_template"), "{config}");
    place.ok(&format!("{TRAIN} --out parts --threads 1 --steps 6 --quiet"));
    place.ok("train --resume --out parts --steps 12 --quiet");
    place.bits("whole").assert_same(&place.bits("parts"), "6 + 6 steps");
    // The same pairs in another form; another loss is another run.
    place.ok(&format!("{TRAIN} --out all --loss-on all --quiet"));
    assert!(place.bits("all") != place.bits("whole"));
}

#[test]
fn what_was_kept_is_asked() {
    let place = place();
    place.ok(&format!("{TRAIN} --out run --quiet"));
    let all = object(place.ok("eval --model run --answers --json --max-tokens 8").trim_end());
    let answers = &all["models"][0]["answers"];
    let each = answers["each"].as_array().unwrap();
    assert!((3..20).contains(&each.len()), "a fifth of forty: {}", each.len());
    for answered in each {
        let (question, expected) = (
            answered["question"].as_str().unwrap(),
            answered["expected"].as_str().unwrap(),
        );
        assert_eq!(question.split(',').next(), expected.split(',').next());
    }
    // The loss that training measured on them, by another way: packed rows then, each alone now.
    let last = place.metrics("run").pop().unwrap();
    let (then, now) = (
        last["val_loss"].as_f64().unwrap(),
        answers["loss"]["mean"].as_f64().unwrap(),
    );
    assert!((then - now).abs() < 1e-4, "{then} and {now}");
    let page = place.ok("eval --model run --answers pairs.csv --limit-questions 6 --max-tokens 8 --worst 2");
    for part in [
        "pairs.csv: 6 questions",
        "exact",
        "F1",
        "answers that agree least",
        "  = ",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let corpus = place.ok("eval --model run --answers corpus:40 --max-tokens 4");
    assert!(corpus.contains("Korean") && corpus.contains("English"), "{corpus}");
}

#[test]
fn what_is_wrong_with_pairs_is_said() {
    let place = place();
    place.write("gap.csv", "Q,A\n안녕,반가워\n\"여러\n줄\",\n");
    place.write("columns.csv", "frage,antwort\na,b\n");
    place.write("book.txt", "Once upon a time.");
    place.write("long.csv", format!("Q,A\n{},{}\n", "q".repeat(300), "a".repeat(300)));
    for (args, parts) in [
        ("--data gap.csv", &["gap.csv:3: the answer, field `A`, is empty"][..]),
        (
            "--data columns.csv --format qa",
            &["columns.csv", "frage", "--question-field"],
        ),
        ("--data pairs.csv --question-field Frage", &["pairs.csv", "Frage"]),
        ("--data book.txt --format qa", &["book.txt"]),
    ] {
        let error = place.error(&format!("train --config tiny.toml --out bad --quiet {args}"));
        for part in parts {
            assert!(error.contains(part), "{args}: {part} in {error}");
        }
        assert!(!place.exists("bad"), "{args}");
    }
    let report = place.ok("train --config tiny.toml --data long.csv --val-fraction 0 --out cut --steps 1");
    assert!(report.contains("1 are longer than --seq-len 32"), "{report}");
    let error = place.error("eval --model cut --answers");
    assert!(error.contains("val-fraction"), "{error}");
}
