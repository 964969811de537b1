//! Evaluation against `transformers`' recipe for perplexity and lm-eval's rule for choices, both in torch; `fixtures/make_eval.py`
//! makes the cases. And what a comparison, a limit and a poisoned model give.

use foretoken::eval::{
    Limit, Mean, Question, TextOptions, TextScore, Texts, read_questions, score_choices, score_texts,
};
use foretoken::kernels::Pool;
use foretoken::{Error, Gpt};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval")
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixture().join("expected.json")).unwrap()).unwrap()
}

fn open(path: &Path, threads: usize) -> Gpt {
    foretoken::open_with(path, Pool::new(threads).unwrap()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[track_caller]
fn close(found: f64, want: &Value) {
    let want = number(want);
    assert!((found - want).abs() < 1e-5 * (1.0 + want.abs()), "{found}, want {want}");
}

fn close_mean(found: Mean, want: &Value) {
    close(found.mean(), &want["mean"]);
    close(found.standard_error().unwrap(), &want["standard_error"]);
}

fn score(gpt: &Gpt, texts: &Texts, options: &TextOptions) -> TextScore {
    score_texts(gpt, texts, options, None, &mut |_| {}).unwrap()
}

fn windows(context: usize, stride: usize) -> TextOptions {
    TextOptions {
        context: Some(context),
        stride: Some(stride),
        ..Default::default()
    }
}

/// A text and documents, as files.
fn files(dir: &Path) -> (Texts, Texts) {
    let expected = expected();
    let (text, documents) = (dir.join("text.txt"), dir.join("documents.jsonl"));
    std::fs::write(&text, expected["text"].as_str().unwrap()).unwrap();
    let rows = expected["documents"].as_array().unwrap().iter();
    let rows: Vec<String> = rows.map(|text| serde_json::json!({"t": text}).to_string()).collect();
    std::fs::write(&documents, rows.join("\n")).unwrap();
    let name = |path: PathBuf| path.to_str().unwrap().to_owned();
    (
        Texts::file(&name(text)).unwrap(),
        Texts::data(&[name(documents)], "t").unwrap(),
    )
}

#[test]
fn texts_as_the_recipe_of_transformers_has_them() {
    let (dir, expected) = (tempfile::tempdir().unwrap(), expected());
    let (text, documents) = files(dir.path());
    let gpt = open(&fixture(), 2);
    for (texts, scores, ends) in [(&text, "text_scores", 0), (&documents, "document_scores", 5)] {
        for want in expected[scores].as_array().unwrap() {
            let [context, stride, tokens, bytes] =
                ["context", "stride", "tokens", "bytes"].map(|key| want[key].as_u64().unwrap());
            let found = score(&gpt, texts, &windows(context as usize, stride as usize));
            assert_eq!((found.tokens, found.bytes, found.ends), (tokens, bytes, ends), "{want}");
            close(found.loss.mean(), &want["loss"]);
            close(found.loss.standard_error().unwrap(), &want["standard_error"]);
            close(found.perplexity(), &want["perplexity"]);
            close(found.bits_per_byte(), &want["bits_per_byte"]);
            assert_eq!(found.floor_bits_per_byte, None);
        }
    }
    // Half the context is the default of the stride, and n_positions that of the context.
    let usual = score(&gpt, &text, &TextOptions::default());
    close(usual.loss.mean(), &expected["text_scores"][0]["loss"]);
    // Pieces that do not overlap are what `Gpt::score` has.
    let apart = gpt.score(expected["text"].as_str().unwrap()).unwrap();
    let found = score(&gpt, &text, &windows(40, 40));
    assert!((found.loss.mean() - apart.loss()).abs() < 1e-12);
    assert!((found.bits_per_byte() - apart.bits_per_byte()).abs() < 1e-12);
}

#[test]
fn choices_as_lm_eval_has_them() {
    let expected = expected();
    let lines: Vec<String> = expected["questions"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    let questions = read_questions("questions", lines.join("\n").as_bytes()).unwrap();
    let one = |gpt: &Gpt| score_choices(gpt, ("questions", &questions), " ", None, None, &mut |_| {}).unwrap();
    let gpt = open(&fixture(), 1);
    let found = one(&gpt);
    assert_eq!(
        (found.questions, found.choices, found.cut, found.ties),
        (7, 21, 1, [1, 1])
    );
    close_mean(found.accuracy, &expected["accuracy"]);
    close_mean(found.accuracy_norm, &expected["accuracy_norm"]);
    // Each sum, by way of the losses of its continuation.
    for (question, want) in questions.iter().zip(expected["questions"].as_array().unwrap()) {
        let mut scorer = gpt.scorer(40).unwrap();
        if question.prompt.len() > 100 || question.prompt.ends_with(char::is_whitespace) {
            continue;
        }
        for (choice, want) in question.choices.iter().zip(want["sums"].as_array().unwrap()) {
            let delimiter = if question.prompt.is_empty() || choice.starts_with(' ') {
                ""
            } else {
                " "
            };
            let (mut begun, rest) = (gpt.tokenizer().encode(&question.prompt), delimiter.to_owned() + choice);
            if begun.is_empty() {
                begun.push(gpt.tokenizer().eos_id());
            }
            // No token of this tokeniser reaches over a space before it.
            let ids = gpt.tokenizer().encode(&rest);
            let mut losses = vec![0.0; ids.len()];
            scorer.begin(&begun).unwrap();
            scorer.continuation_losses(&ids, &mut losses).unwrap();
            close(-losses.iter().map(|&loss| f64::from(loss)).sum::<f64>(), want);
        }
    }
    // The same bits on other threads, and nothing to tell from itself.
    let others = open(&fixture(), 3);
    let again = score_choices(
        &others,
        ("questions", &questions),
        " ",
        None,
        Some(&found.credits),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(again.credits, found.credits);
    let [by_sum, by_byte] = again.difference.unwrap();
    assert_eq!(
        (by_sum.mean(), by_sum.standard_error(), by_byte.mean()),
        (0.0, Some(0.0), 0.0)
    );
}

#[test]
fn a_choice_too_long_is_an_error_with_its_line() {
    let question = Question {
        prompt: "x".into(),
        choices: vec!["y".into(), "z ".repeat(40)],
        answer: 0,
        line: 12,
    };
    let gpt = open(&fixture(), 1);
    let error = score_choices(&gpt, ("q.jsonl", &[question]), " ", None, None, &mut |_| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("q.jsonl:12: choice 1 (counted from 0) has "),
        "{error}"
    );
}

#[test]
fn threads_change_no_bit_and_differences_are_paired() {
    let dir = tempfile::tempdir().unwrap();
    let (text, documents) = files(dir.path());
    // Another model with the same tokeniser: one weight in its embedding is another.
    let other = dir.path().join("other");
    copy(&fixture(), &other);
    poison(&other, 0.5);
    for texts in [&text, &documents] {
        let options = TextOptions {
            keep: true,
            ..windows(16, 5)
        };
        let [mut one, mut three] = [1, 3].map(|threads| score(&open(&fixture(), threads), texts, &options));
        (one.time, three.time) = Default::default();
        assert_eq!(one, three);
        assert_eq!(one.losses.len() as u64, one.tokens);
        let itself = score_texts(&open(&fixture(), 2), texts, &options, Some(&one.losses), &mut |_| {}).unwrap();
        let difference = itself.difference.unwrap();
        assert_eq!((difference.mean(), difference.standard_error()), (0.0, Some(0.0)));
        assert_eq!(itself.perplexity_ratio(), Some(1.0));

        for others in [&one.losses[1..], &[&one.losses[..], &[1.0]].concat()] {
            let told = score_texts(&open(&fixture(), 2), texts, &options, Some(others), &mut |_| {});
            assert!(matches!(told, Err(Error::TextChanged)));
        }

        let second = score_texts(&open(&other, 2), texts, &options, Some(&one.losses), &mut |_| {}).unwrap();
        let difference = second.difference.unwrap();
        assert!(difference.mean() != 0.0);
        assert!((difference.mean() - (second.loss.mean() - one.loss.mean())).abs() < 1e-12);
        let pairs = second.losses.iter().zip(&one.losses);
        let each: Vec<f64> = pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)).collect();
        let spread: f64 = each.iter().map(|x| (x - difference.mean()).powi(2)).sum();
        let n = each.len() as f64;
        assert!((difference.standard_error().unwrap() - (spread / (n - 1.0) / n).sqrt()).abs() < 1e-12);
        // That is what pairing is for.
        assert!(difference.standard_error() < second.loss.standard_error());
        let ratio = second.perplexity() / one.perplexity();
        assert!((second.perplexity_ratio().unwrap() - ratio).abs() < 1e-9);
    }
}

#[test]
fn a_limit_cuts_after_a_token_or_before_a_character() {
    let dir = tempfile::tempdir().unwrap();
    let (text, documents) = files(dir.path());
    let gpt = open(&fixture(), 1);
    let limited = |texts: &Texts, limit| {
        let options = TextOptions {
            limit: Some(limit),
            keep: true,
            ..windows(8, 3)
        };
        score(&gpt, texts, &options)
    };
    let whole = limited(&documents, Limit::Tokens(u64::MAX));
    let ids: Vec<Vec<u32>> = {
        let texts = expected()["documents"].as_array().unwrap().clone();
        texts
            .iter()
            .map(|text| gpt.tokenizer().encode(text.as_str().unwrap()))
            .collect()
    };
    let first = ids[0].len() as u64;
    for limit in 1..=whole.tokens + 2 {
        let found = limited(&documents, Limit::Tokens(limit));
        assert_eq!(found.tokens, limit.min(whole.tokens));
        // What comes later changes no loss before it.
        let same = found
            .losses
            .iter()
            .zip(&whole.losses)
            .all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(same && found.bytes <= whole.bytes, "{limit}");
        // The end token of the first document is one more token of it, without a byte.
        if limit == first + 1 {
            assert_eq!((found.documents, found.ends), (1, 1));
            assert_eq!(found.bytes, limited(&documents, Limit::Tokens(first)).bytes);
        }
    }
    assert_eq!((whole.documents, whole.ends), (5, 5));
    for limit in 1..=whole.bytes {
        let found = limited(&documents, Limit::Bytes(limit));
        assert!(
            found.bytes <= limit && limit - found.bytes < 3,
            "{} of {limit}",
            found.bytes
        );
    }
    assert_eq!(limited(&text, Limit::Tokens(3)).tokens, 3);
}

#[test]
fn the_built_in_stories_bring_their_floor() {
    let gpt = open(&fixture(), 2);
    let stories = Texts::data(&["corpus:3".into()], "text").unwrap();
    let found = score(&gpt, &stories, &windows(40, 40));
    assert_eq!(
        (found.documents, found.ends, Some(found.bytes)),
        (3, 3, stories.bytes())
    );
    let floor = found.floor_bits_per_byte.unwrap();
    assert!(
        floor > 0.05 && floor < 0.5 && found.bits_per_byte() > floor,
        "{found:?}"
    );
    // A story that is cut has no floor that is known; whole ones have, though others follow.
    let limited = |tokens| {
        let options = TextOptions {
            limit: Some(Limit::Tokens(tokens)),
            ..windows(40, 40)
        };
        score(&gpt, &stories, &options)
    };
    let cut = limited(found.tokens - 1);
    assert_eq!((cut.documents, cut.ends, cut.floor_bits_per_byte), (3, 2, None));
    assert_eq!(limited(found.tokens).floor_bits_per_byte, Some(floor));
}

#[test]
fn no_text_and_no_numbers_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let gpt = open(&fixture(), 1);
    let error = |gpt: &Gpt, texts: &Texts, options: &TextOptions| {
        score_texts(gpt, texts, options, None, &mut |_| {}).unwrap_err()
    };
    let usual = TextOptions::default();
    let empty = Texts::file(&at("empty.txt", "")).unwrap();
    assert!(matches!(error(&gpt, &empty, &usual), Error::Empty));
    let empty = Texts::data(&[at("empty.jsonl", "{\"text\": \"\"}\n\n")], "text").unwrap();
    assert!(matches!(error(&gpt, &empty, &usual), Error::Empty));
    let folder = Texts::file(dir.path().to_str().unwrap()).unwrap_err().to_string();
    assert!(folder.to_lowercase().contains("directory"), "{folder}");
    assert!(Texts::file("no/such/file").is_err() && Texts::file("*.txt").is_err());

    // Shorter than the context: one window, a single token, too.
    let short = Texts::file(&at("short.txt", "끝")).unwrap();
    let found = score(&gpt, &short, &usual);
    assert_eq!((found.bytes, found.documents), (3, 1));
    let single = Texts::file(&at("single.txt", "!")).unwrap();
    let found = score(&gpt, &single, &usual);
    assert_eq!((found.tokens, found.loss.standard_error()), (1, None));
    for (context, stride) in [(41, 1), (40, 41), (40, 0), (1, 2)] {
        let error = error(&gpt, &short, &windows(context, stride));
        assert!(matches!(error, Error::Windows { .. }), "{error}");
    }
    assert!(matches!(
        error(
            &gpt,
            &short,
            &TextOptions {
                context: Some(0),
                ..usual
            }
        ),
        Error::Windows { .. }
    ));

    let lines = "{\"prompt\":\"x\",\"choices\":[\"y\",\"z\"],\"answer\":0}";
    let questions = read_questions("q", lines.as_bytes()).unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::MAX] {
        let broken = dir.path().join(format!("broken-{value}"));
        copy(&fixture(), &broken);
        match value.is_finite() {
            true => overwhelm(&broken, value),
            false => poison(&broken, value),
        }
        let gpt = open(&broken, 1);
        let told = score_choices(&gpt, ("q", &questions), " ", None, None, &mut |_| {}).unwrap_err();
        // Here, in the last norm, a NaN does come through.
        assert!(matches!(gpt.score("끝"), Err(Error::NoLoss { .. })), "{value}");
        for told in [error(&gpt, &short, &usual), told] {
            // A number far too large is one, and what it leads to is none.
            let (name, says) = match told {
                Error::NotFinite { .. } => ("weight", "the tensor ln_f.weight holds"),
                Error::NoLoss { .. } => ("loss", "a loss that is not a number"),
                _ => panic!("{told}"),
            };
            assert_eq!(name == "weight", !value.is_finite(), "{value}: {told}");
            assert!(told.to_string().contains(says), "{told}");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Makes a number the first weight of the last norm, which every token passes.
fn poison(model: &Path, value: f32) {
    change(model, |header, data| {
        let at = header["transformer.ln_f.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
        data[at..][..4].copy_from_slice(&value.to_le_bytes());
    });
}

/// Makes a number of every weight.
fn overwhelm(model: &Path, value: f32) {
    change(model, |_, data| {
        let weights = data.chunks_exact_mut(4);
        weights.for_each(|weight| weight.copy_from_slice(&value.to_le_bytes()));
    });
}

fn change(model: &Path, change: impl FnOnce(&Value, &mut [u8])) {
    let path = model.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at_mut(length);
    change(&serde_json::from_slice(header).unwrap(), data);
    std::fs::write(&path, bytes).unwrap();
}
