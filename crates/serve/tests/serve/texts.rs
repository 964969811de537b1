//! What is answered.

use crate::common::{CONTEXT, END, Running, model};
use foretoken_serve::{Options, Served, Server};
use serde_json::{Value, json};

fn prompt(length: usize) -> String {
    "Mina went to the forest. ".chars().cycle().take(length).collect()
}

#[test]
fn a_text_is_the_same_alone_and_among_many_and_that_of_the_library() {
    let running = Running::start(Options {
        max_concurrent: 32,
        ..Options::default()
    });
    let asked = |i: usize| json!({ "prompt": prompt(3 + 37 * (i % 20)), "max_tokens": 24, "seed": i, "temperature": 0.9, "model": "tiny" });
    let alone: Vec<String> = (0..32).map(|i| running.text(&asked(i))).collect();
    let together: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..32)
            .map(|i| (i, &running))
            .map(|(i, running)| scope.spawn(move || running.text(&asked(i))))
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
    let gpt = foretoken::open(model()).unwrap();
    for i in [0, 7, 31] {
        let mut options = foretoken::GenerateOptions {
            max_tokens: 24,
            seed: i as u64,
            ..Default::default()
        };
        options.sampling.temperature = 0.9;
        assert_eq!(gpt.generate(&prompt(3 + 37 * (i % 20)), &options).unwrap(), alone[i]);
    }
    // Several prompts in one request, and several texts of each: none knows of the others.
    let many = running.ok(
        "/v1/completions",
        &json!({ "prompt": [prompt(50), prompt(60)], "n": 3, "seed": 5, "max_tokens": 8 }),
    );
    let second = running.ok(
        "/v1/completions",
        &json!({ "prompt": prompt(60), "n": 3, "seed": 5, "max_tokens": 8 }),
    );
    let texts = |answer: &Value| -> Vec<Value> {
        answer["choices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|choice| choice["text"].clone())
            .collect()
    };
    assert_eq!(texts(&many)[3..], texts(&second)[..]);
    assert_eq!(many["usage"]["prompt_tokens"], 110);
    assert_eq!(running.metric("foretoken_texts_running{model=\"tiny\"}"), 0.0);
}

#[test]
fn a_stream_is_the_whole_answer_in_parts() {
    let running = Running::start(Options::default());
    for (path, extra) in [
        (
            "/v1/completions",
            json!({ "prompt": "안녕", "logprobs": 2, "echo": true, "n": 2 }),
        ),
        (
            "/v1/completions",
            json!({ "prompt": "Mina", "logprobs": 0, "stop": ["e", "th", "a"] }),
        ),
        (
            "/v1/completions",
            json!({ "prompt": "안녕", "top_logprobs": 4, "n": 2 }),
        ),
        ("/v1/completions", json!({ "prompt": "", "n": 3 })),
        (
            "/v1/chat/completions",
            json!({ "messages": [{ "role": "user", "content": "Hi" }], "logprobs": true, "top_logprobs": 3 }),
        ),
    ] {
        let mut body = json!({ "max_tokens": 40, "seed": 3, "temperature": 1.2 });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let whole = running.ok(path, &body);
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": true });
        let answer = running.post(path, &body);
        assert!(
            answer
                .headers
                .iter()
                .any(|header| header.starts_with("content-type: text/event-stream"))
        );
        let (parts, done) = answer.parts();
        assert!(done, "{}", answer.body);
        assert_eq!(
            parts.last().unwrap()["usage"]["total_tokens"],
            whole["usage"]["total_tokens"]
        );
        for choice in whole["choices"].as_array().unwrap() {
            let of = |part: &&Value| part["choices"][0]["index"] == choice["index"];
            let own: Vec<&Value> = parts
                .iter()
                .filter(|part| !part["choices"].as_array().unwrap().is_empty())
                .filter(of)
                .collect();
            let chat = path.contains("chat");
            let told = |part: &&Value| {
                let choice = &part["choices"][0];
                let text = if chat {
                    &choice["delta"]["content"]
                } else {
                    &choice["text"]
                };
                text.as_str().unwrap_or_default().to_owned()
            };
            let text = if chat {
                &choice["message"]["content"]
            } else {
                &choice["text"]
            };
            assert_eq!(&own.iter().map(told).collect::<String>(), text.as_str().unwrap());
            assert_eq!(
                own.last().unwrap()["choices"][0]["finish_reason"],
                choice["finish_reason"]
            );
            if chat {
                assert_eq!(own[0]["choices"][0]["delta"]["role"], "assistant");
            }
            let by_token = chat || body.get("top_logprobs").is_some();
            let list = |choice: &Value| match by_token {
                true => choice["logprobs"]["content"].as_array().cloned().unwrap_or_default(),
                false => choice["logprobs"]["token_logprobs"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            };
            let streamed: Vec<Value> = own.iter().flat_map(|part| list(&part["choices"][0])).collect();
            assert_eq!(streamed, list(choice), "{path}");
            if by_token || body.get("logprobs").is_some() {
                assert!(!streamed.is_empty());
            }
        }
    }
}

#[test]
fn an_answer_begins_with_its_first_word_whole_and_as_a_stream() {
    let running = Running::start(Options::default());
    let mut body = json!({
        "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 12,
        "response_format": { "type": "regex", "pattern": "  yes, yes" },
    });
    let whole = running.ok("/v1/chat/completions", &body);
    assert_eq!(whole["choices"][0]["message"]["content"], "yes, yes");
    body["stream"] = true.into();
    let (parts, done) = running.post("/v1/chat/completions", &body).parts();
    let told = parts
        .iter()
        .filter_map(|part| part["choices"][0]["delta"]["content"].as_str());
    assert_eq!((told.collect::<String>().as_str(), done), ("yes, yes", true));
    // A text that goes on keeps its white space: it is part of it.
    let asked = json!({ "prompt": "Hi", "max_tokens": 12, "response_format": body["response_format"] });
    assert_eq!(running.text(&asked), "  yes, yes");
}

#[test]
fn prompts_are_scored_as_evaluations_ask_even_where_the_text_ends_at_once() {
    let running = Running::start(Options::default());
    let prompts = [vec![77u32, 105, 110], (0..300).map(|i| i % 256).collect()];
    let ask = |bias: i32, max_tokens: usize| {
        running.ok(
            "/v1/completions",
            &json!({
                "model": "tiny", "prompt": prompts, "temperature": 0, "max_tokens": max_tokens, "logprobs": 1, "seed": 1234,
                "echo": true, "logit_bias": { END.to_string(): bias },
            }),
        )
    };
    let gpt = foretoken::open(model()).unwrap();
    // With the bias the end token is all that is drawn.
    for (bias, max_tokens) in [(100, 1), (0, 1), (0, 0)] {
        let answer = ask(bias, max_tokens);
        for (choice, prompt) in answer["choices"].as_array().unwrap().iter().zip(&prompts) {
            let list = |name: &str| choice["logprobs"][name].as_array().unwrap().clone();
            let logprobs = list("token_logprobs");
            for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                assert_eq!(
                    list(name).len(),
                    prompt.len() + max_tokens,
                    "{name} {bias} {max_tokens}"
                );
            }
            assert!(logprobs[0].is_null() && list("top_logprobs")[0].is_null());
            let scored = gpt.score(&gpt.tokenizer().decode(&prompt[..3]).unwrap()).unwrap();
            assert!(scored.bits_per_byte() > 0.0);
            for (logprob, top) in logprobs.iter().zip(list("top_logprobs")).skip(1) {
                let top: Vec<f64> = top.as_object().unwrap().values().map(|x| x.as_f64().unwrap()).collect();
                let best = top.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                assert!(logprob.as_f64().unwrap() <= best && best < 0.0);
            }
            assert_eq!(choice["finish_reason"], if bias == 100 { "stop" } else { "length" });
        }
    }
    // What is greedily chosen has the maximum itself, to the bit.
    let greedy = running.ok(
        "/v1/completions",
        &json!({ "prompt": "Mina", "temperature": 0, "max_tokens": 30, "logprobs": 1 }),
    );
    let logprobs = &greedy["choices"][0]["logprobs"];
    for (own, top) in logprobs["token_logprobs"]
        .as_array()
        .unwrap()
        .iter()
        .zip(logprobs["top_logprobs"].as_array().unwrap())
    {
        assert_eq!(top.as_object().unwrap().values().collect::<Vec<_>>(), [own]);
    }
}

#[test]
fn a_text_keeps_to_its_form() {
    let running = Running::start(Options::default());
    let schema = json!({
        "type": "object", "properties": { "warm": { "type": "boolean" } }, "required": ["warm"],
        "additionalProperties": false,
    });
    let answer = running.ok(
        "/v1/chat/completions",
        &json!({
            "messages": [{ "role": "user", "content": "Is it warm?" }], "max_tokens": 400, "seed": 2,
            "response_format": { "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } },
        }),
    );
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(
        serde_json::from_str::<Value>(text).unwrap()["warm"].is_boolean(),
        "{text}"
    );
    let format = json!({ "type": "regex", "pattern": "(yes|no), [0-9]{3}" });
    for n in 1..4 {
        let answer = running.ok(
            "/v1/completions",
            &json!({ "prompt": "x", "n": n, "seed": n, "response_format": format }),
        );
        for choice in answer["choices"].as_array().unwrap() {
            let text = choice["text"].as_str().unwrap();
            let rest = text
                .strip_prefix("yes, ")
                .or_else(|| text.strip_prefix("no, "))
                .unwrap_or_else(|| panic!("{text:?}"));
            assert!(
                rest.len() == 3 && rest.bytes().all(|byte| byte.is_ascii_digit()),
                "{text:?}"
            );
            assert_eq!(choice["finish_reason"], "stop");
        }
    }
}

#[test]
fn tokens_and_texts_and_what_is_told_of_them() {
    let running = Running::of(Options::default(), &["tiny", "a/b"]);
    running.ready();
    let named = |body: Value| {
        let mut body = body;
        body["model"] = "a/b".into();
        body
    };
    let tokens = running.ok(
        "/tokenize",
        &named(json!({ "prompt": "hé<|endoftext|>", "return_token_strs": true })),
    );
    assert_eq!(tokens["tokens"], json!([104, 195, 169, END]));
    assert_eq!(
        (&tokens["count"], &tokens["max_model_len"]),
        (&json!(4), &json!(CONTEXT))
    );
    let chat = json!({ "messages": [{ "role": "user", "content": "hi<|endoftext|>" }] });
    let tokens = running.ok("/tokenize", &named(chat))["tokens"].clone();
    assert!(
        !tokens.as_array().unwrap().contains(&json!(END)),
        "a message is never a special token"
    );
    let text = running.ok("/detokenize", &named(json!({ "tokens": tokens })));
    assert_eq!(text["prompt"], "hi<|endoftext|>\n");
    let info = running.get("/tokenizer_info?model=a%2Fb").json();
    assert_eq!(
        (&info["eos_token"], &info["vocab_size"]),
        (&json!("<|endoftext|>"), &json!(257))
    );
    assert!(info["chat_template"].as_str().unwrap().contains("messages"));
    for path in ["/v1/models/a/b", "/v1/models/a%2Fb"] {
        assert_eq!(running.get(path).json()["id"], "a/b");
    }
    assert_eq!(running.get("/v1/models/c").status, 404);
    let missing = running.post("/tokenize", &json!({ "prompt": "a" }));
    assert_eq!(
        (missing.status, &missing.json()["error"]["param"]),
        (400, &json!("model"))
    );
}

#[test]
fn the_document_lists_every_route_and_every_field_is_checked() {
    let running = Running::start(Options::default());
    let document = running.get("/openapi.json").json();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            // A view's own fields are checked by it.
            if path == "/lens/{view}" {
                continue;
            }
            let at = path
                .replace("{model}", "tiny")
                .replace("{file}", "page.js")
                .replace("{run}", "tiny");
            if method == "get" {
                assert_eq!(running.get(&at).status, 200, "{at}");
                assert_eq!(running.post(&at, &json!({})).status, 405, "{at}");
                continue;
            }
            assert_eq!(running.get(&at).status, 405, "{at}");
            let fields = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
            for (field, schema) in fields.as_object().unwrap() {
                // No field has this type.
                let wrong = if schema["type"] == "object" {
                    json!([[]])
                } else {
                    json!({ "x": 1 })
                };
                let mut body = json!({ "stream": true });
                for (name, value) in [
                    ("prompt", json!("a")),
                    ("messages", json!([{ "role": "user", "content": "a" }])),
                    ("tokens", json!([1])),
                    ("text", json!("a")),
                ] {
                    if fields.get(name).is_some() && !(name == "messages" && path == "/tokenize") {
                        body[name] = value;
                    }
                }
                if field == "top_logprobs" && path == "/v1/chat/completions" {
                    body["logprobs"] = true.into();
                }
                body[field] = wrong;
                let answer = running.post(&at, &body);
                assert_eq!(answer.status, 400, "{at} {field}: {}", answer.body);
                assert_eq!(answer.json()["error"]["param"], *field, "{at}: {}", answer.body);
                checked += 1;
            }
        }
    }
    assert!(checked > 45, "{checked}");
    assert_eq!(running.get("/v2").status, 404);
}

/// As it is read back: an f32 in JSON is its shortest decimal.
fn written<V: serde::Serialize>(view: &V) -> Value {
    serde_json::from_str(&serde_json::to_string(view).unwrap()).unwrap()
}

#[test]
fn every_view_of_the_inside_is_that_of_the_library() {
    let running = Running::start(Options::default());
    let gpt = foretoken::open(model()).unwrap();
    // As clients name it: where it lies on the server is not for them.
    let look = gpt.look("Mina ran.").unwrap().naming_model("tiny");
    let views = [
        ("shape", json!({}), written(&look.shape().unwrap())),
        (
            "tokens",
            json!({}),
            written(&look.tokens(foretoken::look::Granularity::Token).unwrap()),
        ),
        ("embed", json!({ "nearest": 3 }), written(&look.embedding(3))),
        ("attn", json!({}), written(&look.attention(16).unwrap())),
        (
            "stream",
            json!({ "at": [0, -1], "top": 2 }),
            written(&look.stream(&[0, 8], 2).unwrap()),
        ),
        (
            "why",
            json!({ "token": "a" }),
            written(&look.why(8, Some(97), None, 8, false).unwrap()),
        ),
        (
            "neurons",
            json!({ "count": 2 }),
            written(&look.neurons(0, 2, 5).unwrap()),
        ),
    ];
    for (view, extra, expected) in views {
        let mut body = json!({ "text": "Mina ran." });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(running.ok(&format!("/lens/{view}"), &body), expected, "{view}");
    }
    let next = running.ok("/lens/next", &json!({ "text": "Mina", "temperature": 0.5, "top": 4 }));
    assert_eq!((&next["view"], &next["position"]), (&json!("next"), &json!(3)));
    // Behind an earlier token it is what follows the text up to there.
    let behind = json!({ "text": "Mina", "at": 1, "top_k": 3 });
    let alone = json!({ "text": "Mi", "top_k": 3 });
    let choices = |body: &Value| running.ok("/lens/next", body)["choices"].clone();
    let (behind, alone) = (choices(&behind), choices(&alone));
    for (one, other) in behind.as_array().unwrap().iter().zip(alone.as_array().unwrap()) {
        assert_eq!((&one["id"], &one["rank"]), (&other["id"], &other["rank"]));
        let near = |field: &str| (one[field].as_f64().unwrap() - other[field].as_f64().unwrap()).abs() < 1e-5;
        assert!(
            near("probability") && one["drawn"].is_null() == other["drawn"].is_null(),
            "{one} {other}"
        );
    }
    let head = running.ok(
        "/lens/attn",
        &json!({ "text": "Mina", "head": [0, 1], "by": "word", "cells": "score" }),
    );
    assert!(head["view"].is_string());
    for (view, body, param) in [
        ("attn", json!({ "text": "a", "head": [0, 2] }), "head"),
        ("attn", json!({ "text": "a", "head": 3 }), "head"),
        ("tokens", json!({ "text": "a", "by": "line" }), "by"),
        ("tokens", json!({ "text": "" }), "text"),
        ("tokens", json!({ "text": "a".repeat(1025) }), "text"),
        ("tokens", json!({ "text": "a".repeat(5000) }), "text"),
        ("shape", json!({}), "text"),
        ("stream", json!({ "text": "a", "at": [1] }), "at"),
        ("stream", json!({ "text": "a", "at": [] }), "at"),
        ("stream", json!({ "text": "a", "at": vec![0; 65] }), "at"),
        ("why", json!({ "text": "a", "token": "#999" }), "token"),
        ("why", json!({ "text": "a", "token": "a", "not": "a" }), "not"),
        ("why", json!({ "text": "a", "patch": "abc" }), "patch"),
        ("neurons", json!({ "text": "a", "layer": 7 }), "layer"),
        ("next", json!({ "text": "a", "temperature": -1 }), "temperature"),
        ("next", json!({ "text": "a", "at": 1 }), "at"),
    ] {
        let answer = running.post(&format!("/lens/{view}"), &body);
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!(param)),
            "{view} {}",
            answer.body
        );
    }
    assert_eq!(running.post("/lens/nothing", &json!({ "text": "a" })).status, 404);
}

#[test]
fn sizes_are_those_of_the_plans_that_allocate() {
    use foretoken::model::{gpt2, sizes};
    let running = Running::start(Options::default());
    let options = sizes::Options {
        threads: 3,
        ..Default::default()
    };
    let served = foretoken::open_model(&model()).unwrap();
    let report = written(&sizes::report(&*served, 2, 8, &options).unwrap());
    let own = running.ok("/size", &json!({ "batch_size": 2, "seq_len": 8, "threads": 3 }));
    assert_eq!(own["name"], "tiny");
    assert!(own["fit"].is_null());
    for field in ["walk", "parameters", "training", "generation", "flops", "letters"] {
        assert_eq!(own[field], report[field], "{field}");
    }
    let config = gpt2::Config {
        n_layer: 2,
        n_head: 3,
        n_embd: 48,
        vocab_size: 500,
        n_positions: 2000,
        ..Default::default()
    };
    let model = gpt2::Gpt2::new(config).unwrap();
    let report = written(&sizes::report(&model, 1, 2000, &options).unwrap());
    let shape = json!({
        "n_layer": 2, "n_head": 3, "n_embd": 48, "vocab_size": 500, "seq_len": 2000, "threads": 3, "memory": 1 << 30,
    });
    let asked = running.ok("/size", &shape);
    assert_eq!(asked["parameters"], report["parameters"]);
    assert_eq!(asked["training"], report["training"]);
    // What is said to fit fits, and one more does not.
    let most = asked["fit"]["training"]["longest"]["largest"].as_u64().unwrap();
    let bytes = |t: u64| {
        let mut body = shape.clone();
        body["seq_len"] = t.into();
        running.ok("/size", &body)["training"]["bytes"].as_u64().unwrap()
    };
    assert!(bytes(most) <= 1 << 30 && bytes(most + 1) > 1 << 30, "{most}");
    for (body, param) in [
        (json!({ "n_embd": 10, "n_head": 3 }), "n_head"),
        (json!({ "n_layer": 1 << 20 }), "n_layer"),
        (json!({ "n_embd": 0 }), "n_embd"),
        (json!({ "n_positions": 4, "seq_len": 5 }), "seq_len"),
        (json!({ "batch_size": 1 << 24, "seq_len": 2 }), "seq_len"),
        (json!({ "seq_len": 1 << 20 }), "seq_len"),
        (json!({ "memory": 0 }), "memory"),
    ] {
        let answer = running.post("/size", &body);
        let found = (answer.status, answer.json()["error"]["param"].clone());
        assert_eq!(found, (400, json!(param)), "{body} {}", answer.body);
    }
    assert_eq!(running.post("/size", &json!({ "model": "other" })).status, 404);
}

#[test]
fn a_server_that_would_be_unsafe_or_too_large_does_not_start() {
    let served = || Served {
        name: "tiny".into(),
        path: model(),
        quantize: None,
    };
    let open = Options {
        host: "0.0.0.0".parse().unwrap(),
        port: 0,
        ..Options::default()
    };
    let error = Server::bind(open, vec![served()]).unwrap_err().to_string();
    assert!(error.contains("--api-key-file"), "{error}");
    let local = || Options {
        port: 0,
        threads: 1,
        ..Options::default()
    };
    assert!(
        Server::bind(local(), vec![served(), served()])
            .unwrap_err()
            .to_string()
            .contains("NAME=PATH")
    );
    assert!(Server::bind(local(), vec![]).is_err());
    let large = Options {
        max_concurrent: 1 << 40,
        ..local()
    };
    // Places for so many cannot be counted, either.
    let large = Options {
        max_concurrent: large.max_concurrent.min(1 << 28),
        ..large
    };
    let error = Server::bind(large, vec![served()])
        .unwrap()
        .run(|_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("--max-concurrent"), "{error}");
    let missing = Served {
        path: "/nowhere/at/all".into(),
        ..served()
    };
    assert!(Server::bind(local(), vec![missing]).unwrap().run(|_| {}).is_err());
}
