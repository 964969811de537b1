//! Requests that nobody should send: each is answered, none with a 500, and the server goes on.

use crate::common::{Running, posted};
use foretoken_serve::{Keys, Options};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn every_bad_value_is_a_400_that_names_its_field() {
    let running = Running::start(Options::default());
    let chat = "/v1/chat/completions";
    let texts = "/v1/completions";
    let user = json!([{ "role": "user", "content": "a" }]);
    let (long, schema) = (
        "a".repeat(5000),
        json!({ "type": "json_schema", "json_schema": { "schema": 5 } }),
    );
    let stops: Vec<String> = (0..257).map(|i| i.to_string()).collect();
    let cases: Vec<(&str, Value, &str)> = vec![
        (texts, json!({}), "prompt"),
        (texts, json!({ "prompt": null }), "prompt"),
        (texts, json!({ "prompt": 5 }), "prompt"),
        (texts, json!({ "prompt": [] }), "prompt"),
        (texts, json!({ "prompt": [[]] }), "prompt[0]"),
        (texts, json!({ "prompt": ["a", 5] }), "prompt[1]"),
        (texts, json!({ "prompt": [1, "a"] }), "prompt[1]"),
        (texts, json!({ "prompt": [-1] }), "prompt[0]"),
        (texts, json!({ "prompt": [[1, 257]] }), "prompt[0][1]"),
        (texts, json!({ "prompt": [1.5] }), "prompt[0]"),
        (texts, json!({ "prompt": [4294967296u64] }), "prompt[0]"),
        (texts, json!({ "prompt": long }), "prompt"),
        (texts, json!({ "prompt": vec!["a"; 300] }), "prompt"),
        (texts, json!({ "prompt": "a", "model": "none" }), "model"),
        (texts, json!({ "prompt": "a", "model": 5 }), "model"),
        (texts, json!({ "prompt": "a", "n": 1_000_000 }), "n"),
        (texts, json!({ "prompt": "a", "n": 0 }), "n"),
        (texts, json!({ "prompt": "a", "n": 3, "best_of": 2 }), "best_of"),
        (texts, json!({ "prompt": "a", "best_of": 2, "stream": true }), "best_of"),
        (texts, json!({ "prompt": "a", "max_tokens": -1 }), "max_tokens"),
        (texts, json!({ "prompt": "a", "max_tokens": 1e30 }), "max_tokens"),
        (texts, json!({ "prompt": "a", "max_tokens": u64::MAX }), "max_tokens"),
        (texts, json!({ "prompt": "a", "max_tokens": 4096 }), "max_tokens"),
        (texts, json!({ "prompt": "a", "max_tokens": "many" }), "max_tokens"),
        (texts, json!({ "prompt": "a", "logprobs": 6 }), "logprobs"),
        (texts, json!({ "prompt": "a", "temperature": -0.1 }), "temperature"),
        (texts, json!({ "prompt": "a", "temperature": 1e-40 }), "temperature"),
        (texts, json!({ "prompt": "a", "temperature": "hot" }), "temperature"),
        (texts, json!({ "prompt": "a", "top_p": 1.1 }), "top_p"),
        (texts, json!({ "prompt": "a", "top_k": -1 }), "top_k"),
        (texts, json!({ "prompt": "a", "seed": 0.5 }), "seed"),
        (texts, json!({ "prompt": "a", "stop": [5] }), "stop"),
        (texts, json!({ "prompt": "a", "stop": stops }), "stop"),
        (texts, json!({ "prompt": "a", "stop": "s".repeat(1025) }), "stop"),
        (
            texts,
            json!({ "prompt": "a", "logit_bias": { "257": 1 } }),
            "logit_bias",
        ),
        (texts, json!({ "prompt": "a", "logit_bias": { "x": 1 } }), "logit_bias"),
        (
            texts,
            json!({ "prompt": "a", "logit_bias": { "1": 101 } }),
            "logit_bias",
        ),
        (texts, json!({ "prompt": "a", "stream_options": {} }), "stream_options"),
        (texts, json!({ "prompt": "a", "suffix": "b" }), "suffix"),
        (
            texts,
            json!({ "prompt": "a", "response_format": { "type": "xml" } }),
            "response_format.type",
        ),
        (
            texts,
            json!({ "prompt": "a", "response_format": {} }),
            "response_format.type",
        ),
        (
            texts,
            json!({ "prompt": "a", "response_format": schema }),
            "response_format.json_schema.schema",
        ),
        (
            texts,
            json!({ "prompt": "a", "response_format": { "type": "regex", "pattern": "(" } }),
            "response_format",
        ),
        (
            texts,
            json!({ "prompt": "a", "response_format": { "type": "lark", "grammar": "start: x" } }),
            "response_format",
        ),
        (chat, json!({ "messages": [] }), "messages"),
        (chat, json!({ "messages": "hi" }), "messages"),
        (chat, json!({ "messages": ["hi"] }), "messages[0]"),
        (chat, json!({ "messages": [{ "role": "user" }] }), "messages[0].content"),
        (
            chat,
            json!({ "messages": [{ "role": "tool", "content": "a" }] }),
            "messages[0].role",
        ),
        (
            chat,
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] }),
            "messages[0].content[0].type",
        ),
        (
            chat,
            json!({ "messages": [{ "role": "user", "content": long }] }),
            "messages",
        ),
        (
            chat,
            json!({ "messages": user, "top_logprobs": 1_000_000, "logprobs": true }),
            "top_logprobs",
        ),
        (chat, json!({ "messages": user, "top_logprobs": 2 }), "top_logprobs"),
        (chat, json!({ "messages": user, "max_tokens": 0 }), "max_tokens"),
        (
            chat,
            json!({ "messages": user, "tools": [{ "type": "function" }] }),
            "tools",
        ),
        ("/tokenize", json!({}), "prompt"),
        ("/detokenize", json!({ "tokens": [999] }), "tokens[0]"),
        ("/detokenize", json!({ "tokens": "a" }), "tokens"),
    ];
    for (path, body, param) in cases {
        let answer = running.post(path, &body);
        let error = answer.json()["error"].clone();
        let expected = if param == "model" && body["model"] == "none" {
            404
        } else {
            400
        };
        assert_eq!(
            (answer.status, &error["param"]),
            (expected, &json!(param)),
            "{path} {body}: {}",
            answer.body
        );
        for field in ["message", "type", "code"] {
            assert!(error[field].is_string(), "{}", answer.body);
        }
    }
    // A field that OpenAI has and these models need not is no reason to refuse.
    running.ok(chat, &json!({ "messages": user, "user": "me", "store": false, "tools": [], "max_tokens": 1, "parallel_tool_calls": 5 }));
    // Compiled within the limits or refused: never for long.
    let begun = Instant::now();
    for pattern in [
        "((a{1,9999}){1,9999})",
        "(((a{1,999}){1,999}){1,999}){1,999}",
        "(a|a|aa)*{500}",
    ] {
        let format = json!({ "type": "regex", "pattern": pattern });
        let answer = running.post(
            texts,
            &json!({ "prompt": "a", "max_tokens": 3, "response_format": format }),
        );
        assert!([200, 400].contains(&answer.status), "{pattern}: {}", answer.body);
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn bodies_and_headers_are_bounded_and_no_json_is_said_to_be_none() {
    let running = Running::start(Options::default());
    let status = |request: String| running.connect().asks(&request).status;
    let texts = |body: &str| status(posted("/v1/completions", body));
    for body in [
        "",
        "{",
        "[]",
        "\"a\"",
        "{\"prompt\": \"a\", \"temperature\": NaN}",
        "{\"prompt\": \"\\ud800\"}",
        "{\"temperature\": 1e999}",
    ] {
        assert_eq!(texts(body), 400, "{body}");
    }
    assert_eq!(texts(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), 400);
    assert_eq!(texts(&format!("{{\"x\":{}", "{\"x\":".repeat(100_000))), 400);
    // Said to be too large, and found to be.
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    assert_eq!(status(format!("{head}Content-Length: 99999999999\r\n\r\n")), 413);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    assert_eq!(
        status(format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(17))),
        413
    );
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
    ] {
        assert_eq!(status(format!("{head}{lengths}\r\n\r\nabcdef")), 400, "{lengths}");
    }
    // Where a length stands beside chunks, the chunks count, and nothing behind them is taken for a second request.
    let both = format!("{head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    assert_eq!(status(both), 400);
    let header = |size: usize| {
        status(format!(
            "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: {}\r\n\r\n",
            "x".repeat(size)
        ))
    };
    assert_eq!((header(8 << 10), header(32 << 10), header(10 << 20)), (200, 431, 431));
    assert_eq!(status("GARBAGE\r\n\r\n".into()), 400);
    assert_eq!(status("GET /health HTTP/1.1\r\nConnection: close\r\n\r\n".into()), 400);
    assert_eq!(
        status("GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".into()),
        403
    );
    assert_eq!(
        status("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nConnection: close\r\n\r\n".into()),
        403
    );
    // No other page's script reads anything.
    let answer = running.connect().asks(
        "OPTIONS /v1/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nAccess-Control-Request-Method: POST\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.status == 405 && !answer.headers.iter().any(|header| header.starts_with("access-control")));
    assert_eq!(running.get("/health").status, 200);
}

#[test]
fn without_a_key_there_is_health_and_nothing_else() {
    let running = Running::start(Options {
        keys: Keys::new(["k1", "k2"]),
        ..Options::default()
    });
    for path in ["/v1/models", "/metrics", "/openapi.json", "/tokenizer_info", "/nothing"] {
        let answer = running.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.headers.contains(&"www-authenticate: bearer".into()));
    }
    assert_eq!(running.post("/v1/completions", &json!({ "prompt": "a" })).status, 401);
    assert_eq!(running.get("/health").status, 200);
    let with = |key: &str| {
        let head = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        running
            .connect()
            .asks(&format!("{head}Authorization: Bearer {key}\r\n\r\n"))
            .status
    };
    assert_eq!((with("k1"), with("k2"), with("k")), (200, 200, 401));
}
