//! Clients that leave, dribble, wait too long or are too many, and a server that goes.

use crate::common::{CONTEXT, Running, posted, wait};
use foretoken_serve::Options;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The longest texts there are.
fn long(stream: bool) -> Value {
    json!({ "prompt": "a", "max_tokens": CONTEXT - 1, "n": 8, "stream": stream, "logit_bias": { "256": -100 } })
}

const RUNNING: &str = "foretoken_texts_running{model=\"tiny\"}";
const WAITING: &str = "foretoken_texts_waiting{model=\"tiny\"}";
const GENERATED: &str = "foretoken_generated_tokens_total{model=\"tiny\"}";

#[test]
fn whoever_leaves_ends_their_own_work_and_nobody_elses() {
    let running = Running::start(Options {
        max_concurrent: 9,
        ..Options::default()
    });
    let mut stays = running.connect();
    stays.send(posted(
        "/v1/completions",
        &json!({ "prompt": "b", "max_tokens": 2000, "stream": true, "seed": 1, "logit_bias": { "256": -100 } })
            .to_string(),
    ));
    for stream in [true, false] {
        let mut leaves = running.connect();
        leaves.send(posted("/v1/completions", &long(stream).to_string()));
        wait("a place", || running.metric(RUNNING) >= 2.0);
        if stream {
            wait("a token", || {
                leaves.line().is_some_and(|line| line.starts_with("data: "))
            });
        }
        let records = || {
            running
                .records
                .lock()
                .unwrap()
                .iter()
                .filter(|record| record.status == 499)
                .count()
        };
        let before = records();
        drop(leaves);
        wait("the end of its texts", || running.metric(RUNNING) <= 1.0);
        wait("its line", || records() == before + 1);
    }
    let stayed = stays.answer();
    let (parts, done) = stayed.parts();
    assert!(done && parts.last().unwrap()["choices"][0]["finish_reason"] == "length");
    // Two times eight texts of the whole context would be far more.
    assert!(running.metric(GENERATED) < (2 * 8 * CONTEXT) as f64);
    assert_eq!(running.metric("foretoken_requests_in_flight"), 1.0, "the one that asks");
}

#[test]
fn who_waits_and_leaves_is_forgotten_and_who_comes_too_many_is_told_to_come_again() {
    let running = Running::start(Options {
        max_concurrent: 1,
        max_queue: 8,
        ..Options::default()
    });
    let mut first = running.connect();
    first.send(posted("/v1/completions", &long(false).to_string()));
    wait("the queue", || running.metric(WAITING) == 7.0);
    let mut waits = running.connect();
    waits.send(posted("/v1/completions", "{\"prompt\": \"a\"}"));
    wait("the queue", || running.metric(WAITING) == 8.0);
    let refused = running.post("/v1/completions", &json!({ "prompt": "a" }));
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(refused.headers.contains(&"retry-after: 1".into()));
    drop(waits);
    wait("its place", || running.metric(WAITING) == 7.0);
    drop(first);
    wait("all places", || {
        running.metric(WAITING) + running.metric(RUNNING) == 0.0
    });
    running.ok("/v1/completions", &json!({ "prompt": "a" }));
}

#[test]
fn what_takes_too_long_ends_with_an_error_whole_or_in_a_stream() {
    let running = Running::start(Options {
        timeout: Duration::from_millis(30),
        ..Options::default()
    });
    let answer = running.post("/v1/completions", &long(false));
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (504, &json!("timeout"))
    );
    let (parts, done) = running.post("/v1/completions", &long(true)).parts();
    assert!(!done && parts.last().unwrap()["error"]["code"] == "timeout");
    wait("their end", || running.metric(RUNNING) == 0.0);
}

#[test]
fn clients_that_dribble_are_let_go_and_others_do_not_wait_for_them() {
    let running = Running::start(Options {
        header_timeout: Duration::from_secs(2),
        body_timeout: Duration::from_secs(2),
        ..Options::default()
    });
    let request = posted(
        "/v1/completions",
        &json!({ "prompt": "a", "max_tokens": 1 }).to_string(),
    );
    let head = request.find('{').unwrap();
    let begun = Instant::now();
    let dribbling: Vec<_> = (0..700)
        .map(|i| {
            let mut client = running.connect();
            // Some within their headers, some within their bodies.
            client.send(&request[..if i % 2 == 0 { 9 } else { head + 1 }]);
            client
        })
        .collect();
    for _ in 0..5 {
        running.ok("/v1/completions", &json!({ "prompt": "a", "max_tokens": 1 }));
    }
    for (i, client) in dribbling.into_iter().enumerate() {
        let status = client.answer().status;
        assert!(
            if i % 2 == 0 {
                [0, 408].contains(&status)
            } else {
                status == 408
            },
            "{i}: {status}"
        );
    }
    assert!(begun.elapsed() > Duration::from_secs(2));
}

#[test]
fn a_server_that_is_stopped_answers_what_it_took_in() {
    let mut running = Running::start(Options::default());
    let mut streams: Vec<_> = (0..4).map(|_| running.connect()).collect();
    let body = json!({ "prompt": "a", "max_tokens": 300, "stream": true, "logit_bias": { "256": -100 } });
    for client in &mut streams {
        client.send(posted("/v1/completions", &body.to_string()));
    }
    let idle = running.connect();
    // Taken in, which its first line says; how far each has come does not matter.
    for client in &mut streams {
        assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 OK"));
    }
    running.stop().unwrap();
    for client in streams {
        let answer = client.rest(200);
        let (parts, done) = answer.parts();
        assert!(done && parts.len() > 1, "{} {}", answer.status, answer.body);
    }
    assert!(idle.answer().status == 0 && std::net::TcpStream::connect(running.address).is_err());
}

#[test]
fn a_server_in_a_hurry_says_so_to_whoever_it_leaves() {
    let mut running = Running::start(Options {
        drain: Duration::from_millis(10),
        max_concurrent: 8,
        ..Options::default()
    });
    let (mut whole, mut stream, mut queued) = (running.connect(), running.connect(), running.connect());
    whole.send(posted("/v1/completions", &long(false).to_string()));
    stream.send(posted("/v1/completions", &long(true).to_string()));
    queued.send(posted("/v1/completions", &long(false).to_string()));
    wait("their places", || {
        running.metric(RUNNING) + running.metric(WAITING) == 24.0
    });
    running.stop().unwrap();
    for answer in [whole.answer(), queued.answer()] {
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (503, &json!("unavailable"))
        );
    }
    let (parts, done) = stream.answer().parts();
    assert!(!done && parts.last().unwrap()["error"]["code"] == "unavailable");
    let records = running.records.lock().unwrap();
    assert_eq!(
        records.iter().filter(|record| record.path == "/v1/completions").count(),
        3
    );
}
