//! `foretoken report`.

use crate::common::{Place, TINY, object, success};
use serde_json::Value;
use std::io::Read;
use std::time::Duration;

/// A page that is well-formed, and asks nothing of any network.
#[track_caller]
fn checked(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let document = roxmltree::Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}"));
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            let from_elsewhere = ["src", "srcset", "action", "background", "data", "poster"].contains(&name);
            assert!(!from_elsewhere && !name.starts_with("on"), "{name}={value}");
            assert!(name != "href" || value == "data:,", "{name}={value}");
        }
    }
    // The namespaces of HTML are names, not addresses.
    let addresses = page.replace("http://www.w3.org/1999/xhtml", "");
    for address in ["http:", "https:", "url(", "@import", "fetch("] {
        assert!(!addresses.contains(address), "{address}");
    }
    document
}

/// The texts of all elements of a class.
fn texts<'d>(document: &'d roxmltree::Document<'_>, class: &str) -> Vec<String> {
    let has = |node: &roxmltree::Node<'d, '_>| {
        let classes = node.attribute("class").unwrap_or_default();
        classes.split_whitespace().any(|one| one == class)
    };
    let text = |node: roxmltree::Node<'d, '_>| node.descendants().filter_map(|node| node.text()).collect();
    document.descendants().filter(has).map(text).collect()
}

fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path(name)).unwrap()
}

/// A run that writes samples.
fn train(place: &Place, more: &str) {
    place.ok(&format!("train --config tiny.toml --sample-every 4 --quiet {more}"));
}

#[test]
fn a_page_about_one_run() {
    let place = Place::new();
    train(&place, "--out runs/one");
    let said = place.ok("report");
    assert!(
        said.contains("runs/one/report.html") && said.contains("open it:"),
        "{said}"
    );
    let page = read(&place, "runs/one/report.html");
    let document = checked(&page);
    for id in ["loss", "norm", "lr", "speed", "memory", "figures", "samples", "config"] {
        assert!(
            document.descendants().any(|node| node.attribute("id") == Some(id)),
            "{id}"
        );
    }
    // Every choice of axes has a drawing of the loss with the floor across.
    let levels = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("level g0"));
    let floor = texts(&document, "under").into_iter().chain(texts(&document, "over"));
    assert!(levels.count() >= 9 && floor.into_iter().any(|text| text.starts_with("entropy floor")));
    let told = object(&place.ok("report runs/one --json"));
    let (run, steps) = (&told["runs"][0], 12);
    assert_eq!(run["summary"]["step"], steps);
    assert_eq!(run["curves"]["train_loss"].as_array().unwrap().len(), steps);
    assert_eq!(run["curves"]["val_loss"].as_array().unwrap().len(), 4);
    assert_eq!(run["samples"].as_array().unwrap().len(), 3);
    let best = run["summary"]["best"]["loss"].as_f64().unwrap();
    assert!(page.contains(&format!("Best validation loss: {best:.4} nats per token")));
    assert_eq!(texts(&document, "text").len(), 3);
}

#[test]
fn samples_are_written_again_after_a_stop() {
    let place = Place::new();
    train(&place, "--out whole");
    train(&place, "--out parts --steps 7");
    place.ok("train --resume --out parts --steps 12 --json");
    let at = |run: &str| -> Vec<(u64, String)> {
        let lines = read(&place, &format!("{run}/samples.jsonl"));
        let sample = |line: &str| {
            let sample = object(line);
            (sample["step"].as_u64().unwrap(), sample["text"].to_string())
        };
        lines.lines().map(sample).collect()
    };
    // The end of the first sitting is a sample too.
    let mut parts = at("parts");
    parts.retain(|(step, _)| *step != 7);
    assert_eq!(parts, at("whole"));
}

#[test]
fn two_runs_are_compared() {
    let place = Place::new();
    train(&place, "--out a/run");
    train(&place, "--out b/run --lr 0.02");
    place.ok("report a/run b/run --out both.html");
    let page = read(&place, "both.html");
    let document = checked(&page);
    let differing = texts(&document, "differs");
    assert!(differing.iter().any(|text| text.starts_with("lr")), "{differing:?}");
    assert!(!differing.iter().any(|text| text.starts_with("steps")), "{differing:?}");
    assert!(page.contains("They differ in lr ("), "the difference comes first");
    assert!(page.contains("run-2, validation") && page.contains("Lowest validation loss: "));
    // Bits per byte stand beside losses of different tokens.
    assert!(!page.contains(r#"<section id="bits""#));
    train(&place, "--out c --tokenizer char");
    place.ok("report a/run c --out tokens.html");
    let page = read(&place, "tokens.html");
    checked(&page);
    assert!(page.contains(r#"<section id="bits""#) && page.contains("compare bits per byte"));
}

#[test]
fn hostile_text_is_only_text() {
    let place = Place::new();
    place.write("tiny.toml", TINY.replace("corpus:200", "corpus:100"));
    let name = "a<img src=x onerror=alert(1)>";
    train(&place, "--out run");
    std::fs::rename(place.path("run"), place.path("tmp")).unwrap();
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)> ]]> & \u{0} \u{1b} 안녕 \u{202e}";
    let line = serde_json::json!({ "step": 4, "prompt": hostile, "text": hostile });
    place.write("tmp/samples.jsonl", format!("{line}\n"));
    std::fs::rename(place.path("tmp"), place.path("renamed")).unwrap();
    let mut command = place.command("report --out page.html");
    std::fs::rename(place.path("renamed"), place.path(name)).unwrap();
    success("report", command.arg(name).output().unwrap());
    let page = read(&place, "page.html");
    let document = checked(&page);
    let elements = |tag: &str| {
        document
            .descendants()
            .filter(|node| node.has_tag_name(("http://www.w3.org/1999/xhtml", tag)))
            .count()
    };
    assert_eq!((elements("script"), elements("img")), (1, 0));
    let [sample] = &texts(&document, "text")[..] else {
        panic!("one sample")
    };
    assert!(
        sample.contains("</script><script>alert(1)") && sample.contains("안녕"),
        "{sample}"
    );
    let korean = document
        .descendants()
        .find(|node| node.attribute("class") == Some("text"));
    assert_eq!(korean.and_then(|node| node.attribute("lang")), Some("ko"));
    assert!(page.contains("<h1>Training report: a&lt;img src=x"));
}

#[test]
fn unfinished_and_poor_logs() {
    let place = Place::new();
    train(&place, "--out run --val-fraction 0");
    let whole = read(&place, "run/metrics.jsonl");
    let lines: Vec<&str> = whole.lines().collect();
    let nan = lines[1].replace("\"grad_norm\":", "\"grad_norm\":NaN,\"old\":");
    let nan = nan.replace("\"train_loss\":", "\"train_loss\":NaN,\"older\":");
    let logs = [
        (String::new(), "No step is logged yet"),
        (format!("{}\n", lines[0]), "It stopped after 1 of 12 steps"),
        (format!("{}\n{nan}\n{}", lines[0], &lines[2][..40]), "cut off"),
        (format!("{}\n{nan}\n", lines[0]), "1 step was without a finite loss"),
        (
            "{\"step\":1,\"train_loss\":1e308,\"lr\":1e-320}\n{\"step\":9,\"train_loss\":-1e308}\n".into(),
            "9 of 12",
        ),
    ];
    for (log, says) in logs {
        place.write("run/metrics.jsonl", &log);
        place.ok("report run");
        let page = read(&place, "run/report.html");
        checked(&page);
        assert!(page.contains(says), "{says}: {log}");
        assert!(!page.contains("NaN\"") && !page.contains("inf "), "{log}");
    }
    for (log, says) in [
        (format!("{}\nnonsense\n", lines[0]), "line 2"),
        ("[]\n".to_owned(), "line 1"),
        (format!("{}\n{}\n", lines[1], lines[0]), "line 2"),
        ("{\"step\":\"</script>\"}\n".into(), "line 1"),
    ] {
        place.write("run/metrics.jsonl", &log);
        let error = place.error("report run");
        assert!(error.contains(says) && error.contains("metrics.jsonl"), "{error}");
    }
}

#[test]
fn a_page_has_a_bounded_size() {
    let place = Place::new();
    train(&place, "--out run");
    let mut log = String::new();
    for step in 1..=100_000_u64 {
        let noise = (step * 7919 % 1000) as f64 / 1000.0;
        let val = if step % 100 == 0 {
            format!("{}", 3.0 + noise)
        } else {
            "null".into()
        };
        log += &format!(
            "{{\"step\":{step},\"tokens\":{},\"time_s\":{},\"train_loss\":{},\"val_loss\":{val},\"lr\":0.001,\"grad_norm\":{},\
             \"tokens_per_s\":{},\"share_of_limit\":{noise},\"memory\":{}}}\n",
            step * 64,
            step as f64 * 0.1,
            2.0 + noise,
            1.0 + noise,
            1e4 + 1e3 * noise,
            1_000_000 + step,
        );
    }
    place.write("run/metrics.jsonl", log);
    let sample = serde_json::json!({ "step": 1, "prompt": "", "text": "가".repeat(3000) });
    place.write("run/samples.jsonl", format!("{sample}\n").repeat(200));
    let page = place.ok("report run --out -");
    checked(&page);
    assert!(page.len() < 1_200_000, "{} bytes", page.len());
}

#[test]
fn a_run_that_still_goes_on() {
    let place = Place::new();
    let mut child = place.spawn("train --config tiny.toml --steps 1000000 --out run --json");
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    // It writes a line a step: the pipe fills, and it waits there, holding the run.
    std::thread::sleep(Duration::from_millis(300));
    let page = place.ok("report run --out -");
    child.kill().unwrap();
    child.wait().unwrap();
    checked(&page);
    assert!(
        page.contains("Training goes on: ") || page.contains("It begins just now"),
        "it is seen to run"
    );
}

#[test]
fn tensorboard_gets_a_folder_a_run() {
    let place = Place::new();
    train(&place, "--out one");
    train(&place, "--out two --seed 7");
    let said = place.ok("report one two --tensorboard events");
    assert!(said.contains("tensorboard --logdir events"), "{said}");
    assert!(!place.exists("report.html") && !place.exists("one/report.html"));
    for run in ["one", "two"] {
        let names = place.names(&format!("events/{run}"));
        assert!(names.len() == 1 && names[0].contains("tfevents"), "{names:?}");
        let bytes = std::fs::read(place.path(&format!("events/{run}/{}", names[0]))).unwrap();
        for tag in ["train/loss", "val/loss", "sample", "run.toml"] {
            assert!(bytes.windows(tag.len()).any(|window| window == tag.as_bytes()), "{tag}");
        }
    }
}

#[test]
fn wrong_usage() {
    let place = Place::new();
    assert!(place.error("report").contains("there is no run"), "no run at all");
    assert!(place.error("report nowhere").contains("nowhere"));
    train(&place, "--out run");
    assert!(place.error("report run --json --out -").contains("--json"));
    assert!(
        place
            .error("report run --out no/such/folder/page.html")
            .contains("page.html")
    );
    assert_eq!(
        object(&place.ok("report run run --json"))["differences"][0]["differs"],
        Value::Bool(false)
    );
}
