//! Texts of models with random weights, held to grammars: what such a model writes is right only where it is held to it.

use foretoken::generate::Sampling;
use foretoken::kernels::{Buffer, Pool};
use foretoken::model::{Model, init, registry};
use foretoken::text::{Kind, Tokenizer, Trainer};
use foretoken::{GenerateOptions, Grammar, Stopped, Text, Writer};
use serde_json::{Value, json};

struct Random {
    model: Box<dyn Model>,
    weights: Buffer,
    tokenizer: Tokenizer,
    pool: Pool,
}

impl Random {
    fn new(tokenizer: Tokenizer) -> Self {
        let config = json!({
            "model_type": "gpt2", "vocab_size": tokenizer.vocab_size(), "n_positions": 64, "n_embd": 16, "n_layer": 1,
            "n_head": 2,
        });
        let model = registry::from_config(&config).unwrap();
        let weights = init(model.params(), 3).unwrap();
        Self {
            model,
            weights,
            tokenizer,
            pool: Pool::new(1).unwrap(),
        }
    }

    fn write(&self, grammar: Grammar, seed: u64, max_tokens: usize) -> Result<(String, Text), foretoken::Error> {
        let mut writer = Writer::new(
            (&*self.model, (&self.weights).into()),
            &self.tokenizer,
            &self.pool,
            &self.tokenizer.encode("답: "),
        )?;
        let options = GenerateOptions {
            sampling: Sampling::default(),
            seed,
            max_tokens,
            grammar: Some(grammar),
            ..Default::default()
        };
        let mut written = String::new();
        let text = writer.write(&options, |part| {
            written.push_str(part);
            true
        })?;
        Ok((written, text))
    }
}

/// Bytes; characters of which some are Korean; and pieces that reach over JSON's punctuation.
fn models() -> Vec<Random> {
    let feed = r#"{"name": "민지", "city": "서울"} {"name": "하준", "age": 7} 가나다라마바사 1234567890 true false"#;
    let trained = |kind, vocabulary| {
        let mut trainer = Trainer::new(kind, vocabulary).unwrap();
        trainer.feed(&format!("{feed}\n").repeat(5));
        trainer.finish()
    };
    [Tokenizer::byte(), trained(Kind::Char, 400), trained(Kind::Bpe, 320)]
        .into_iter()
        .map(Random::new)
        .collect()
}

#[test]
fn a_json_schema_holds() {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[가-힣]{2,4}$"},
            "city": {"enum": ["서울", "부산", "New \"York\""]},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
            "note": {"$ref": "#/$defs/note"},
        },
        "required": ["name", "city", "age", "tags", "note"],
        "additionalProperties": false,
        "$defs": {"note": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 5}]}},
    });
    let mut texts = Vec::new();
    for model in models() {
        for seed in 0..6 {
            let (text, told) = model.write(Grammar::JsonSchema(schema.clone()), seed, 600).unwrap();
            assert_eq!(told.stopped, Stopped::EndOfText, "{text}");
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
            assert_eq!(keys.len(), 5, "{text}");
            let name = value["name"].as_str().unwrap();
            assert!((2..=4).contains(&name.chars().count()) && name.chars().all(|c| ('가'..='힣').contains(&c)));
            assert!(["서울", "부산", "New \"York\""].contains(&value["city"].as_str().unwrap()));
            assert!(value["age"].as_u64().unwrap() <= 150);
            let tags = value["tags"].as_array().unwrap();
            assert!((1..=3).contains(&tags.len()) && tags.iter().all(Value::is_boolean));
            let note = &value["note"];
            assert!(note.is_null() || note.as_str().unwrap().chars().count() <= 5);
            texts.push(text);
        }
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 18, "the model chooses what the schema leaves open");
}

#[test]
fn a_regular_expression_holds_and_the_end_comes_where_it_may() {
    for model in models() {
        let mut lengths = Vec::new();
        for seed in 0..20 {
            let (text, told) = model
                .write(Grammar::Regex("(아니요?|네|yes){2,6}".into()), seed, 300)
                .unwrap();
            assert_eq!(told.stopped, Stopped::EndOfText, "{text}");
            let mut rest = text.as_str();
            let mut count = 0;
            while !rest.is_empty() {
                let word = ["아니요", "아니", "네", "yes"]
                    .into_iter()
                    .find(|word| rest.starts_with(word));
                rest = &rest[word.unwrap_or_else(|| panic!("{text}")).len()..];
                count += 1;
            }
            assert!((2..=6).contains(&count), "{text}");
            lengths.push(count);
        }
        // Where it may end and may go on, the model decides.
        assert!(lengths.iter().any(|&n| n != lengths[0]), "{lengths:?}");
    }
}

#[test]
fn a_grammar_holds_and_special_tokens_are_no_text() {
    let grammar = r#"
        start: sum "="
        sum: NUMBER | sum "+" sum | "(" sum ")"
        NUMBER: /[1-9][0-9]{0,2}/
    "#;
    for model in models() {
        let (mut whole, mut cut) = (0, 0);
        for seed in 0..10 {
            let (text, told) = model.write(Grammar::Lark(grammar.into()), seed, 200).unwrap();
            let depth = text.chars().fold(0i32, |depth, c| match c {
                '(' => depth + 1,
                ')' => depth - 1,
                _ => depth,
            });
            assert!(text.chars().all(|c| "()+=".contains(c) || c.is_ascii_digit()), "{text}");
            match told.stopped {
                Stopped::EndOfText => {
                    assert!(depth == 0 && text.ends_with('='), "{text}");
                    whole += 1;
                }
                _ => {
                    assert_eq!((told.stopped, told.ids.len()), (Stopped::MaxTokens, 200));
                    cut += 1;
                }
            }
        }
        assert!(whole > 0, "{cut} cut");
    }
}

#[test]
fn what_no_text_can_match_is_an_error_that_says_so() {
    let model = Random::new(Tokenizer::byte());
    let error = |grammar: Grammar| model.write(grammar, 0, 10).unwrap_err().to_string();
    for (schema, part) in [
        (json!({"type": "number", "minimum": 3, "maximum": 2}), "minimum"),
        (json!({"type": "nothing"}), "nothing"),
        (json!({"type": "string", "pattern": "(a"}), "unclosed group"),
        (json!({"$ref": "http://example.com/schema.json"}), "ref"),
        (json!(false), "nsatisfiable"),
        (json!(7), "schema"),
        (json!({"x-guidance": {"unknown": 1}}), "unknown"),
    ] {
        let error = error(Grammar::JsonSchema(schema));
        assert!(error.starts_with("the JSON schema cannot be used: "), "{error}");
        assert!(
            error.contains(part) && !error.contains('\n') && error.len() < 300,
            "{error}"
        );
    }
    let unclosed = error(Grammar::Regex("(a".into()));
    assert!(unclosed.starts_with("the regular expression cannot be used: "));
    assert!(unclosed.contains("unclosed group"), "{unclosed}");
    for (grammar, part) in [
        ("", ""),
        ("begin: \"a\"", "start"),
        ("start: missing", "missing"),
        ("start: \"a", ""),
    ] {
        let error = error(Grammar::Lark(grammar.into()));
        assert!(error.starts_with("the grammar cannot be used: "), "{error}");
        assert!(error.contains(part) && error.len() < 300, "{error}");
    }
}

/// Patterns that blow up elsewhere: right texts or an error, in bounded time.
#[test]
fn a_hostile_pattern_ends_in_bounded_time() {
    let model = Random::new(Tokenizer::byte());
    let begun = std::time::Instant::now();
    let run = |pattern: &str| model.write(Grammar::Regex(pattern.into()), 0, 40);
    for (pattern, letters) in [
        ("((a{1,9999}){1,9999}){1,9999}", "a"),
        ("(a+)+b", "ab"),
        ("((ab|c{1,999}){1,999}d){1,999}", "abcd"),
        ("[ab]*a[ab]{400}c", "abc"),
    ] {
        let (text, _) = run(pattern).unwrap();
        assert!(
            !text.is_empty() && text.chars().all(|c| letters.contains(c)),
            "{pattern}: {text}"
        );
    }
    let words: Vec<String> = (0..60_000).map(|i| format!("w{i:x}.*{i}[a-f]{{1,90}}")).collect();
    let error = run(&words.join("|")).unwrap_err().to_string();
    assert!(error.contains("too big") && error.len() < 500, "{error}");
    assert!(begun.elapsed().as_secs() < 20);
}
