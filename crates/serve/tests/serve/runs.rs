//! Runs that are watched, and their checkpoints.

use crate::common::{Running, model, posted, wait};
use foretoken::train::Metrics;
use foretoken::train::report::{RunReport, Sample};
use foretoken_serve::{Keys, Options};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder with a copy of the model's run, called `one`.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let tmp = tempfile::tempdir().unwrap();
    let run = tmp.path().join("runs/one");
    copy(&model(), &run);
    (tmp, run)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if let Ok(target) = std::fs::read_link(&path) {
            link(&target, &to);
        } else if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

#[cfg(unix)]
fn link(target: &Path, at: &Path) {
    std::os::unix::fs::symlink(target, at).unwrap();
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) {}

fn watching(folder: &tempfile::TempDir, names: &[&str]) -> Running {
    let options = Options {
        runs: Some(folder.path().join("runs")),
        ..Options::default()
    };
    let running = Running::of(options, names);
    running.ready();
    running
}

fn written(value: &impl serde::Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

#[test]
fn a_run_says_what_a_report_says() {
    let (folder, run) = folder();
    std::fs::create_dir(folder.path().join("runs/broken")).unwrap();
    std::fs::write(folder.path().join("runs/broken/run.toml"), "steps = \"many\"").unwrap();
    let running = watching(&folder, &["tiny"]);
    let list = running.get("/runs").json();
    let named = |name: &str| {
        let runs = list["runs"].as_array().unwrap();
        runs.iter().find(|run| run["name"] == name).unwrap().clone()
    };
    assert_eq!(list["left_out"], 0);
    assert_eq!(
        (&named("tiny")["model"], &named("one")["model"]),
        (&json!("tiny"), &Value::Null)
    );
    assert!(named("broken")["error"].as_str().unwrap().contains("steps"));
    assert!(named("one")["age_s"].as_f64().is_some());
    let report = RunReport::read(&run).unwrap();
    assert_eq!(named("one")["summary"], written(&report.summary()));
    let one = running.get("/runs/one").json();
    assert_eq!(one["summary"], written(&report.summary()));
    assert_eq!(one["curves"], written(&report.curves()));
    assert_eq!(one["levels"]["floor"], json!(report.floor()));
    let checkpoints = one["checkpoints"].as_array().unwrap();
    let steps: Vec<_> = checkpoints.iter().map(|one| one["step"].as_u64().unwrap()).collect();
    let kept = foretoken::train::checkpoints(&run);
    assert_eq!(steps, kept.iter().map(|(step, _)| *step).collect::<Vec<_>>());
    assert_eq!(
        checkpoints.last().unwrap(),
        &json!({ "step": 3, "latest": true, "best": true })
    );
    let field = |name: &str| {
        let config = one["config"].as_array().unwrap();
        config.iter().find(|row| row["field"] == name).unwrap()["value"].clone()
    };
    assert_eq!((field("steps"), field("n_embd")), (json!("3"), json!("16")));
    assert_eq!(running.get("/runs/broken").status, 500);
    assert_eq!(running.get("/runs/none").status, 404);
}

#[test]
fn what_is_new_comes_while_a_run_goes_on() {
    let (folder, run) = folder();
    let running = watching(&folder, &[]);
    let steps = |from: &str| {
        let answer = running.get(&format!("/runs/one/steps?from={from}")).json();
        let rows = answer["rows"].as_array().unwrap().clone();
        let steps: Vec<u64> = rows.iter().map(|row| row["step"].as_u64().unwrap()).collect();
        (steps, answer)
    };
    let append = |text: &str| {
        let mut log = std::fs::File::options()
            .append(true)
            .open(run.join("metrics.jsonl"))
            .unwrap();
        log.write_all(text.as_bytes()).unwrap();
    };
    assert_eq!(steps("0").0, [1, 2, 3]);
    assert_eq!(steps("3").0, [3]);
    let line = |step| {
        Metrics {
            step,
            val_loss: Some(1.5),
            lr: f64::NAN,
            ..Metrics::default()
        }
        .to_line()
    };
    append(&(line(4) + "\n" + &line(5)[..10]));
    let (new, answer) = steps("3");
    assert_eq!(
        (new, &answer["torn"], &answer["summary"]["step"]),
        (vec![3, 4], &json!(true), &json!(4))
    );
    assert_eq!(
        (&answer["rows"][1]["val_loss"], &answer["rows"][1]["lr"]),
        (&json!(1.5), &Value::Null)
    );
    append(&(line(5)[10..].to_owned() + "\n"));
    assert_eq!(steps("4").0, [4, 5]);
    // A run that is resumed cuts it back.
    std::fs::write(run.join("metrics.jsonl"), line(1) + "\n").unwrap();
    assert_eq!(steps("5").0, [0; 0]);
    assert_eq!(steps("0").0, [1]);
    append(&(2..=3000).map(|step| line(step) + "\n").collect::<String>());
    let (many, answer) = steps("0");
    assert_eq!((many.len(), &answer["left_out"]), (2048, &json!(952)));
    let sample = |step| Sample {
        step,
        prompt: "오늘은".into(),
        text: "비가 온다. ".repeat(2000),
    };
    let lines = (1..=500).map(|step| serde_json::to_string(&sample(step)).unwrap() + "\n");
    std::fs::write(run.join("samples.jsonl"), lines.collect::<String>()).unwrap();
    let samples = running.get("/runs/one/samples").json();
    let shown = samples["samples"].as_array().unwrap();
    assert_eq!((shown.len(), &samples["left_out"]), (120, &json!(380)));
    assert_eq!((&shown[0]["step"], &shown[119]["step"]), (&json!(1), &json!(500)));
    assert!(shown[0]["text"].as_str().unwrap().ends_with('…'));
    for wrong in ["-1", "x", "1.5", ""] {
        let answer = running.get(&format!("/runs/one/steps?from={wrong}"));
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!("from")),
            "{wrong}"
        );
    }
}

#[test]
#[cfg(unix)]
fn no_name_leads_out_and_nobody_reads_without_a_key() {
    let (folder, run) = folder();
    let secret = folder.path().join("secret");
    copy(&run, &secret);
    link(&secret, &folder.path().join("runs/link"));
    let running = watching(&folder, &[]);
    for name in [
        "..",
        "%2e%2e",
        "..%2Fsecret",
        "../secret",
        "one/../../secret",
        "one%2F..%2F..%2Fsecret",
        "link",
        "%2Fetc",
        "one%00",
        "%ff",
        ".",
        "one/",
        "one%2F",
    ] {
        for rest in ["", "/steps", "/samples"] {
            let answer = running.get(&format!("/runs/{name}{rest}"));
            assert_eq!(answer.status, 404, "{name}{rest}: {}", answer.body);
        }
        let answer = running.post(&format!("/runs/{name}/probe"), &json!({ "text": "a" }));
        assert!(
            matches!(answer.status, 404 | 405),
            "{name}: {} {}",
            answer.status,
            answer.body
        );
    }
    std::fs::write(secret.join("metrics.jsonl"), "secret\n").unwrap();
    std::fs::remove_file(run.join("metrics.jsonl")).unwrap();
    link(&secret.join("metrics.jsonl"), &run.join("metrics.jsonl"));
    let answer = running.get("/runs/one");
    assert_eq!(answer.status, 403);
    assert!(!answer.body.contains("secret") && !running.get("/runs").body.contains("secret"));
    let guarded = Running::of(
        Options {
            keys: Keys::new(["right"]),
            runs: Some(folder.path().join("runs")),
            ..Options::default()
        },
        &[],
    );
    for path in ["/runs", "/runs/one", "/runs/one/steps", "/runs/one/samples"] {
        assert_eq!(guarded.get(path).status, 401, "{path}");
    }
    assert_eq!(guarded.post("/runs/one/probe", &json!({ "text": "a" })).status, 401);
    let foreign = "GET /runs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(running.connect().asks(foreign).status, 403);
}

#[test]
fn a_checkpoint_goes_on_from_a_text_as_the_library_has_it() {
    let (folder, run) = folder();
    let running = watching(&folder, &[]);
    let gpt = foretoken::open(run).unwrap();
    let expected = foretoken::look::probe(&gpt, "Mina ran", 7).unwrap();
    let body = json!({ "text": "Mina ran", "step": 3, "max_tokens": 7 });
    let answer = running.ok("/runs/one/probe", &body);
    assert_eq!((&answer["step"], &answer["probe"]), (&json!(3), &written(&expected)));
    for (body, status, param) in [
        (json!({ "text": "" }), 400, "text"),
        (json!({ "text": "a".repeat(5000) }), 400, "text"),
        (json!({ "text": "a", "max_tokens": 129 }), 400, "max_tokens"),
        (json!({ "text": "a", "step": 9 }), 404, "step"),
    ] {
        let answer = running.post("/runs/one/probe", &body);
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (status, &json!(param)),
            "{}",
            answer.body
        );
    }
}

#[test]
fn probes_wait_for_one_another_and_those_whose_clients_left_are_not_made() {
    let (folder, _) = folder();
    let running = watching(&folder, &[]);
    let slow = posted(
        "/runs/one/probe",
        &json!({ "text": "a".repeat(3500), "max_tokens": 128 }).to_string(),
    );
    let leaving: Vec<_> = (0..40)
        .map(|_| {
            let mut client = running.connect();
            client.send(&slow);
            client
        })
        .collect();
    // Sixteen have a place at most; the others are told to come again.
    let ended = |status: u16| {
        running
            .records
            .lock()
            .unwrap()
            .iter()
            .filter(|record| record.path == "/runs/{run}/probe" && record.status == status)
            .count()
    };
    // What has not been read when its client leaves is never a request. What ends meanwhile is counted once at most.
    wait("all of them", || {
        let over = ended(429) + ended(200);
        over + running.metric("foretoken_requests_in_flight") as usize > 40
    });
    assert!(ended(429) >= 20, "{}", ended(429));
    drop(leaving);
    wait("those who left", || {
        ended(429) + ended(200) + ended(499) == 40 && ended(499) > 0
    });
    // Nothing of theirs is in the way.
    wait("a place", || {
        running.post("/runs/one/probe", &json!({ "text": "a" })).status == 200
    });
}

#[test]
fn a_server_of_runs_alone_says_that_it_has_no_model() {
    let (folder, _) = folder();
    let running = watching(&folder, &[]);
    assert_eq!(running.get("/v1/models").json()["data"], json!([]));
    for answer in [
        running.get("/tokenizer_info"),
        running.get("/v1/models/tiny"),
        running.post("/v1/completions", &json!({ "prompt": "a" })),
        running.post("/lens/shape", &json!({ "text": "a", "model": "tiny" })),
    ] {
        assert_eq!(answer.status, 404, "{}", answer.body);
        assert!(answer.body.contains("no model is served"), "{}", answer.body);
    }
}
