//! `foretoken eval`.

use crate::common::{Object, Place, object, success};
use serde_json::Value;

const QUESTIONS: &str = r#"{"question": "연은 누가 가지고 있나요?", "choices": ["민지", "유진이"], "answer": "유진이"}
{"ctx": "Then the cat went to", "endings": [" the park.", " of of.", " the."], "label": "0"}
{"query": "", "choices": ["One", "One"], "gold": 1}
"#;

fn place() -> Place {
    let place = Place::new();
    place.ok("train --config tiny.toml --out one --quiet");
    place.ok("train --config tiny.toml --seed 7 --out two --quiet");
    place.write("text.txt", "옛날 어느 마을에 Mina lived. 연을 날렸어요!\n".repeat(4));
    place.write("rows.csv", "Q,A\n왜?,그냥\nwhy?,because\n");
    place.write("questions.jsonl", QUESTIONS);
    place
}

/// The one object of `eval --json`, and the objects of its models.
fn json(place: &Place, args: &str) -> (Object, Vec<Value>) {
    let (out, err) = success(args, place.output(&format!("eval --json {args}")));
    assert_eq!((err.as_str(), out.lines().count()), ("", 1), "{args}");
    let told = object(&out);
    let models = told["models"].as_array().unwrap().clone();
    (told, models)
}

fn without_clock(mut model: Value) -> Value {
    for part in ["text", "choices"] {
        if let Some(part) = model[part].as_object_mut() {
            part.retain(|key, _| !["time_s", "tokens_per_s"].contains(&key.as_str()));
        }
    }
    model
}

#[test]
fn one_model() {
    let place = place();
    let (told, models) = json(&place, "--model one --file text.txt");
    assert_eq!(
        (told["text"].as_str(), &told["choices"]),
        (Some("text.txt"), &Value::Null)
    );
    let [model] = &models[..] else { panic!("{models:?}") };
    let text = &model["text"];
    let bytes = std::fs::metadata(place.path("text.txt")).unwrap().len();
    // A tokeniser of bytes: as many tokens.
    assert_eq!(
        (text["bytes"].as_u64(), text["tokens"].as_u64()),
        (Some(bytes), Some(bytes))
    );
    assert_eq!(
        (text["context"].as_u64(), text["stride"].as_u64()),
        (Some(32), Some(16))
    );
    let loss = text["loss"]["mean"].as_f64().unwrap();
    assert!((text["perplexity"].as_f64().unwrap() - loss.exp()).abs() < 1e-9 * loss.exp());
    assert!((text["bits_per_byte"].as_f64().unwrap() - loss / 2f64.ln()).abs() < 1e-12);
    assert_eq!(
        (model["dtype"].as_str(), model["bytes"].as_u64()),
        (Some("f32"), Some(4 * (7936 + 15 * 16))) // rows are padded to 16
    );
    // The same bits from a pipe, on one thread, and by the latest run's checkpoint.
    let text = std::fs::read(place.path("text.txt")).unwrap();
    let piped = success("pipe", place.fed("eval --json --model one --file - --threads 1", &text)).0;
    let piped = object(&piped)["models"][0].clone();
    assert_eq!(without_clock(piped), without_clock(model.clone()));
    // For people, the same numbers and no colour in a pipe.
    let page = place.ok("eval --model one --file text.txt");
    assert!(
        page.contains(&format!("loss       {loss:.4} ± ")) && !page.contains('\u{1b}'),
        "{page}"
    );
    assert!(page.contains("windows    32 tokens, 16 apart"), "{page}");
    // More to see is less to wonder at, or at least another number; each token counts once whatever the stride.
    for stride in [1, 7, 32] {
        let (_, models) = json(&place, &format!("--model one --file text.txt --stride {stride}"));
        assert_eq!(models[0]["text"]["tokens"].as_u64(), Some(bytes));
        assert_ne!(models[0]["text"]["loss"]["mean"].as_f64(), Some(loss));
    }
    let limited = json(&place, "--model one --file text.txt --limit-tokens 9").1;
    assert_eq!(limited[0]["text"]["tokens"], 9);
}

#[test]
fn documents_and_stories() {
    let place = place();
    let rows = &json(&place, "--model one --data rows.csv --text-field Q,A").1[0]["text"];
    // "왜?\n그냥" and "why?\nbecause" as bytes, and an end each.
    assert_eq!(
        (rows["documents"].as_u64(), rows["end_tokens"].as_u64()),
        (Some(2), Some(2))
    );
    assert_eq!(
        (rows["bytes"].as_u64(), rows["tokens"].as_u64()),
        (Some(11 + 12), Some(11 + 12 + 2))
    );
    assert_eq!(rows["floor_bits_per_byte"], Value::Null);
    let stories = &json(&place, "--model one --data corpus:4").1[0]["text"];
    assert_eq!(
        (stories["documents"].as_u64(), stories["end_tokens"].as_u64()),
        (Some(4), Some(4))
    );
    assert!(stories["floor_bits_per_byte"].as_f64().unwrap() < stories["bits_per_byte"].as_f64().unwrap());
    assert!(
        place
            .ok("eval --model one --data corpus:4")
            .contains("; the floor of these stories is 0.")
    );
}

#[test]
fn several_models() {
    let place = place();
    let (_, models) = json(
        &place,
        "--model one --model two --model one --file text.txt --choices questions.jsonl",
    );
    let [first, second, again] = &models[..] else {
        panic!("{models:?}")
    };
    assert!(first["text"]["difference"].is_null() && first["choices"]["difference"].is_null());
    let loss = |model: &Value| model["text"]["loss"]["mean"].as_f64().unwrap();
    let difference = &second["text"]["difference"];
    assert!((difference["mean"].as_f64().unwrap() - (loss(second) - loss(first))).abs() < 1e-12);
    assert!(difference["standard_error"].as_f64().unwrap() > 0.0);
    assert_eq!(
        again["text"]["difference"],
        serde_json::json!({"mean": 0.0, "standard_error": 0.0})
    );
    assert_eq!(again["text"]["perplexity_ratio"], 1.0);
    // Measured beside others or alone, a model is what it is.
    let alone = &json(&place, "--model one --file text.txt --choices questions.jsonl").1[0];
    assert_eq!(without_clock(alone.clone()), without_clock(first.clone()));

    // Of another tokeniser only bits per byte compare, over the same bytes.
    place.ok("train --config tiny.toml --tokenizer bpe:300 --out three --quiet");
    let (_, models) = json(&place, "--model one --model three --file text.txt --limit-tokens 50");
    let [first, third] = &models[..] else {
        panic!("{models:?}")
    };
    assert_eq!(
        (&third["same_tokenizer"], &third["text"]["difference"]),
        (&false.into(), &Value::Null)
    );
    let bytes = |model: &Value| model["text"]["bytes"].as_u64().unwrap();
    assert!(
        bytes(first) == 50 && bytes(third) <= 50 && bytes(third) > 46,
        "{models:?}"
    );
    let page = place.ok("eval --model one --model two --model three --file text.txt");
    let lines: Vec<&str> = page.lines().collect();
    assert!(
        lines.iter().any(|line| line.starts_with("two ") && line.contains('%')),
        "{page}"
    );
    assert!(
        page.contains("three: another tokenizer") && page.contains("only bits/byte compare"),
        "{page}"
    );
}

#[test]
fn choices() {
    let place = place();
    let scored = &json(&place, "--model one --choices questions.jsonl").1[0]["choices"];
    assert_eq!(
        (scored["questions"].as_u64(), scored["choices"].as_u64()),
        (Some(3), Some(7))
    );
    // The last question has the same choice twice: half a point, and not a whole one for the first that comes.
    assert_eq!(scored["ties"], serde_json::json!({"acc": 1, "acc_norm": 1}));
    let thirds = 6.0 * scored["acc"]["mean"].as_f64().unwrap();
    assert!(
        (thirds - thirds.round()).abs() < 1e-9 && thirds.round() as u64 % 2 == 1,
        "{scored}"
    );
    // The question in Korean does not fit into 32 bytes.
    assert_eq!(scored["cut"], 1);
    let page = place.ok("eval --model one --choices questions.jsonl");
    assert!(
        page.contains("3 questions, 2.3 choices each; of 1 the beginning did not fit"),
        "{page}"
    );
    assert!(page.contains("with a tie for the first place in 1 question"), "{page}");
    let piped = success(
        "pipe",
        place.fed("eval --json --model one --choices -", QUESTIONS.as_bytes()),
    )
    .0;
    assert_eq!(object(&piped)["models"][0]["choices"]["acc"], scored["acc"]);
}

#[test]
fn what_cannot_be_measured() {
    let place = place();
    place.write("empty.txt", "");
    place.write("bad.jsonl", format!("{QUESTIONS}{{\"question\": 1}}\n"));
    place.write(
        "long.jsonl",
        r#"{"prompt": "", "choices": ["a", "아주 긴 대답은 자리가 없어요"], "answer": 0}"#,
    );
    for (args, code, says) in [
        (
            "--model one",
            2,
            "nothing to measure: give a text with --file or --data",
        ),
        ("--model one --file - --choices -", 2, "standard input is both"),
        ("--model one --file text.txt --context 33", 2, "n_positions of 32"),
        (
            "--model one --file text.txt --context 8 --stride 9",
            2,
            "a context of 8 tokens with a stride of 9",
        ),
        (
            "--model one --choices questions.jsonl --context 0",
            2,
            "a context of 0 tokens",
        ),
        ("--model one --data corpus:none", 2, "corpus:STORIES"),
        ("--model one --data strangers:-1", 2, "strangers:STORIES"),
        ("--model one --data corpus text.txt", 2, "`corpus` alone"),
        ("--model one --file empty.txt", 1, "the text is empty"),
        ("--model one --file -", 1, "the text is empty"),
        ("--model one --file nosuch", 1, "nosuch: No such file"),
        ("--model one --data rows.csv", 1, "--text-field"),
        (
            "--model one --choices bad.jsonl",
            1,
            "bad.jsonl:4: field `question` is 1, expected a string",
        ),
        ("--model one --choices empty.txt", 1, "empty.txt: no question"),
        (
            "--model one --choices long.jsonl",
            1,
            "long.jsonl:1: choice 1 (counted from 0)",
        ),
        ("--model one --model nosuch --file text.txt", 1, "foretoken pull nosuch"),
    ] {
        let output = place.output(&format!("eval {args}"));
        assert_eq!(output.status.code(), Some(code), "{args}");
        let error = crate::common::failure(args, output);
        assert!(error.contains(says), "{args}: {error}");
    }
    // Of several models it is said which one.
    let error = place.error("eval --model two --model one --file text.txt --context 33");
    assert!(error.starts_with("error: two: "), "{error}");
}
