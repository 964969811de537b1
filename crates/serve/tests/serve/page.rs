//! The page's files.

use crate::common::{Answer, Running};
use foretoken_serve::{Keys, Options};
use serde_json::json;

fn asked(running: &Running, method: &str, path: &str, headers: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    running.connect().asks(&format!("{head}{headers}\r\n"))
}

fn header(answer: &Answer, name: &str) -> String {
    let prefix = format!("{name}: ");
    let value = answer.headers.iter().find_map(|header| header.strip_prefix(&prefix));
    value
        .unwrap_or_else(|| panic!("no {name}: {:?}", answer.headers))
        .to_owned()
}

#[test]
fn a_browser_gets_the_page_and_is_told_to_load_nothing_from_elsewhere() {
    let running = Running::start(Options::default());
    for (path, content_type, has) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/page/index.html", "text/html; charset=utf-8", "<!doctype html>"),
        ("/page/page.js", "text/javascript; charset=utf-8", "import "),
        ("/page/lib/words.js", "text/javascript; charset=utf-8", "export "),
        ("/page/style.css", "text/css; charset=utf-8", ":root"),
        ("/page/icon.svg", "image/svg+xml", "<svg"),
    ] {
        let whole = running.get(path);
        assert_eq!(
            (whole.status, header(&whole, "content-type").as_str()),
            (200, content_type)
        );
        assert!(whole.body.contains(has), "{path}");
        assert!(header(&whole, "content-security-policy").starts_with("default-src 'self';"));
        assert_eq!(header(&whole, "x-content-type-options"), "nosniff");
        assert_eq!(header(&whole, "referrer-policy"), "no-referrer");
        assert_eq!(header(&whole, "cache-control"), "no-cache");
        let head = asked(&running, "HEAD", path, "");
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(header(&head, "content-length"), whole.body.len().to_string());
        let tag = header(&whole, "etag");
        for known in [tag.clone(), format!("\"x\", {tag}"), format!("W/{tag}"), "*".into()] {
            let again = asked(&running, "GET", path, &format!("If-None-Match: {known}\r\n"));
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
            assert_eq!(header(&again, "etag"), tag);
        }
        assert_eq!(asked(&running, "GET", path, "If-None-Match: \"x\"\r\n").status, 200);
        assert_eq!(running.post(path, &json!({})).status, 405);
    }
    for path in [
        "/page/",
        "/page/nothing.js",
        "/page/../src/page.rs",
        "/page/lib",
        "/page/%2e%2e/Cargo.toml",
        "/page",
    ] {
        assert_eq!(running.get(path).status, 404, "{path}");
    }
}

#[test]
fn the_page_needs_no_key_and_answers_to_our_own_names_alone() {
    let running = Running::start(Options {
        keys: Keys::new(["k"]),
        ..Options::default()
    });
    assert_eq!(
        (running.get("/").status, running.get("/page/page.js").status),
        (200, 200)
    );
    assert_eq!(running.get("/page/nothing.js").status, 404);
    assert_eq!(running.get("/v1/models").status, 401);
    let foreign = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(running.connect().asks(foreign).status, 403);
    let origin = "Origin: http://evil.example\r\n";
    assert_eq!(asked(&running, "GET", "/page/page.js", origin).status, 403);
}

#[test]
fn a_report_by_token_has_ids_and_bytes_and_the_end() {
    let running = Running::start(Options::default());
    // The only token that may come is the end, 256.
    let body =
        json!({ "prompt": [236, 149], "top_logprobs": 3, "max_tokens": 4, "echo": true, "logit_bias": { "256": 100 } });
    let answer = running.ok("/v1/completions", &body);
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    let content = choice["logprobs"]["content"].as_array().unwrap();
    let ids: Vec<_> = content.iter().map(|token| token["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [236, 149, 256]);
    assert_eq!(
        (&content[1]["bytes"], &content[0]["logprob"]),
        (&json!([149]), &json!(null))
    );
    for token in &content[1..] {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        let logprobs: Vec<f64> = top.iter().map(|top| top["logprob"].as_f64().unwrap()).collect();
        assert!(logprobs.windows(2).all(|pair| pair[0] >= pair[1]) && logprobs[0] <= 0.0);
        assert!(top.iter().all(|top| top["id"].is_u64() && top["bytes"].is_array()));
    }
    // Without the echo the end alone is left.
    let alone = running.ok(
        "/v1/completions",
        &json!({
            "prompt": [236, 149], "top_logprobs": 0, "max_tokens": 4, "logit_bias": { "256": 100 },
        }),
    );
    assert_eq!(alone["choices"][0]["logprobs"]["content"][0]["id"], 256);
    let both = json!({ "prompt": "a", "logprobs": 1, "top_logprobs": 1 });
    let refused = running.post("/v1/completions", &both);
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &json!("top_logprobs"))
    );
}
