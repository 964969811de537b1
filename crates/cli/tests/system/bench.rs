//! `bench` and `train --profile`: what they measure is told in full; how fast it was is no test's business.

use crate::common::{Object, Place, object, success};

const SMALL: &str = "--preset nano --vocab-size 300 --batch-size 2 --seq-len 16 --steps 3 --repeat 1 --threads 2";

fn of<'a>(objects: &'a [Object], event: &str) -> Vec<&'a Object> {
    objects.iter().filter(|object| object["event"] == event).collect()
}

fn number(object: &Object, key: &str) -> f64 {
    object
        .get(key)
        .and_then(|value| value.as_f64())
        .unwrap_or_else(|| panic!("{key} in {object:?}"))
}

/// A rate or a share: above nothing, and a number.
fn positive(object: &Object, keys: &[&str]) {
    for key in keys {
        let value = number(object, key);
        assert!(value > 0.0 && value.is_finite(), "{key} in {object:?}");
    }
}

/// Ops of a profile: shares that add up with what is outside of kernels, and the ops that a step has.
fn check_profile(profile: &Object, ops: &[&str]) {
    let rows: Vec<Object> = serde_json::from_value(profile["ops"].clone()).unwrap();
    for row in &rows {
        positive(row, &["calls", "seconds", "share", "bytes_per_s", "share_of_limit"]);
        assert!(row["bound"] == "flops" || row["bound"] == "bytes", "{row:?}");
        let products = row["op"].as_str().unwrap().starts_with("matmul_");
        assert_eq!(products, row.contains_key("shape"), "{row:?}");
    }
    let shares: f64 = rows.iter().map(|row| number(row, "share")).sum();
    assert!(
        (shares + number(profile, "outside_of_kernels") - 1.0).abs() < 1e-6,
        "{profile:?}"
    );
    for op in ops {
        assert!(rows.iter().any(|row| row["op"] == *op), "{op} in {rows:?}");
    }
    positive(
        profile,
        &[
            "step_seconds",
            "limit_seconds",
            "limit_flops_per_s",
            "limit_bytes_per_s",
        ],
    );
}

const TRAINING: [&str; 13] = [
    "matmul_nn",
    "matmul_nt",
    "matmul_tn",
    "attention_forward",
    "attention_backward",
    "layernorm_forward",
    "layernorm_backward",
    "bias_backward",
    "cross_entropy",
    "embedding_forward",
    "embedding_backward",
    "sum_of_squares",
    "adamw",
];

#[test]
fn bench_tells_every_section_in_objects() {
    let place = Place::new();
    let objects: Vec<Object> = place.ok(&format!("bench {SMALL} --json")).lines().map(object).collect();
    let isa = foretoken::kernels::Isa::available().last().unwrap().name();
    for object in &objects {
        assert_eq!(object["isa"], isa, "{object:?}");
        assert!(object["threads"] == 2 || object["event"] == "limits", "{object:?}");
    }
    let limits = of(&objects, "limits");
    assert_eq!(
        limits.iter().map(|object| &object["threads"]).collect::<Vec<_>>(),
        [1, 2]
    );
    limits
        .iter()
        .for_each(|object| positive(object, &["flops_per_s", "bytes_per_s"]));
    let kernels = of(&objects, "kernel");
    for kernel in &kernels {
        positive(
            kernel,
            &["seconds", "runs", "flops_per_s", "bytes_per_s", "share_of_limit"],
        );
    }
    let shapes = |name: &str| -> Vec<serde_json::Value> {
        let named = kernels.iter().filter(|kernel| kernel["name"] == name);
        named.map(|kernel| kernel["shape"].clone()).collect()
    };
    // N = B T, and 256.
    assert_eq!(
        shapes("c_attn forward"),
        [serde_json::json!([32, 128, 384]), serde_json::json!([256, 128, 384])]
    );
    assert_eq!(
        shapes("mlp.c_proj dX"),
        [serde_json::json!([32, 128, 512]), serde_json::json!([256, 128, 512])]
    );
    assert_eq!(
        shapes("c_fc dW"),
        [serde_json::json!([128, 32, 512]), serde_json::json!([128, 256, 512])]
    );
    assert_eq!(
        shapes("head forward"),
        [serde_json::json!([32, 128, 300]), serde_json::json!([256, 128, 300])]
    );
    assert_eq!(shapes("attention backward"), [serde_json::json!([2, 16, 4, 32])]);
    for name in [
        "head dX",
        "head dW",
        "loss",
        "layernorm forward",
        "gelu backward",
        "embedding backward",
        "adamw",
    ] {
        assert!(!shapes(name).is_empty(), "{name}");
    }
    assert_eq!(of(&objects, "step").len(), 3);
    let [train] = of(&objects, "train")[..] else {
        panic!("one summary")
    };
    positive(train, &["tokens_per_s", "step_seconds", "share_of_limit", "loss"]);
    assert_eq!(
        (&train["preset"], &train["batch_size"], &train["seq_len"]),
        (&"nano".into(), &2.into(), &16.into())
    );
    let decodes = of(&objects, "decode");
    assert_eq!(
        decodes.iter().map(|object| &object["dtype"]).collect::<Vec<_>>(),
        ["f32", "f16", "q8_0", "q4_0"]
    );
    for decode in &decodes {
        positive(
            decode,
            &[
                "prefill_tokens_per_s",
                "decode_tokens_per_s",
                "share_of_limit",
                "alone_tokens_per_s",
                "together_tokens_per_s",
            ],
        );
        assert_eq!((&decode["prompt_tokens"], &decode["tokens"]), (&32.into(), &31.into()));
    }
    assert!(decodes.is_sorted_by(|a, b| number(a, "bytes_a_token") > number(b, "bytes_a_token")));
    assert_eq!(of(&objects, "round").len(), 2 * 4);
    let profiles = of(&objects, "profile");
    assert_eq!(
        profiles.iter().map(|object| &object["of"]).collect::<Vec<_>>(),
        ["train", "decode", "decode", "decode", "decode"]
    );
    check_profile(profiles[0], &TRAINING);
    assert_eq!(profiles[0]["steps"], 2, "the first is not counted");
    for (profile, linear) in profiles[1..]
        .iter()
        .zip(["linear_f32", "linear_f16", "linear_q8_0", "linear_q4_0"])
    {
        check_profile(profile, &[linear, "attention_cached", "layernorm_forward"]);
    }
    assert!(profiles[1..].iter().all(|profile| profile["steps"] == 31));
}

#[test]
fn bench_prints_tables_and_only_what_was_asked_for() {
    let place = Place::new();
    let only = |sections: &str| place.ok(&format!("bench {SMALL} --only {sections}"));
    let limits = only("limits");
    assert!(
        limits.starts_with("foretoken ") && limits.contains("nano with L=4"),
        "{limits}"
    );
    assert!(
        limits.contains("1 thread ") && limits.contains("2 threads ") && limits.contains("GFLOP/s"),
        "{limits}"
    );
    assert!(!limits.contains("kernels") && !limits.contains("tokens/s"), "{limits}");
    let train = only("train");
    for text in [
        "training step",
        "tokens/s",
        "of the limit",
        "matmul",
        "A Bᵀ",
        "attention_backward",
        "outside of kernels",
    ] {
        assert!(train.contains(text), "{text}: {train}");
    }
    assert!(!train.contains("decode") && !train.contains('\u{1b}'), "{train}");
    let objects: Vec<Object> = place
        .ok(&format!("bench {SMALL} --only kernels,limits --json"))
        .lines()
        .map(object)
        .collect();
    let events = |event: &str| of(&objects, event).len();
    assert_eq!((events("limits"), events("train"), events("decode")), (2, 0, 0));
    assert!(events("kernel") > 30);
}

#[test]
fn bench_refuses_what_it_cannot_measure() {
    let place = Place::new();
    for (args, says) in [
        ("--preset nosuch", "no preset nosuch: expected one of nano, "),
        ("--preset nano --seq-len 65", "n_positions"),
        ("--preset nano --batch-size 0", "at least one of each"),
        ("--vocab-size 1", "--vocab-size is 1: expected at least 2"),
        ("--steps 1", "--steps is 1: expected at least 2"),
        ("--repeat 0", "--repeat is 0"),
        ("--against torch --rounds 0", "--rounds is 0"),
        ("--threads 5000 --preset nano", "expected at most 1024"),
    ] {
        let output = place.output(&format!("bench {args}"));
        assert_eq!(output.status.code(), Some(2), "{args}");
        let error = place.error(&format!("bench {args}"));
        assert!(error.contains(says), "{args}: {error}");
    }
    #[cfg(target_os = "linux")]
    {
        let error = place.error("bench --preset gpt3-175b --only train --threads 1 --json");
        assert!(
            error.contains("the training benchmark needs about") && error.contains("are free"),
            "{error}"
        );
    }
}

/// A Python that is not there, and one that has no PyTorch.
#[cfg(unix)]
#[test]
fn against_torch_without_torch_says_what_to_install() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let error = place.error("bench --against torch --python ./nosuch");
    assert!(
        error.contains("./nosuch does not start") && error.contains("--python"),
        "{error}"
    );
    place.write(
        "python",
        "#!/bin/sh\necho 'Traceback' >&2\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1\n",
    );
    std::fs::set_permissions(place.path("python"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = place.error("bench --against torch --python ./python");
    for text in [
        "./python cannot import torch",
        "No module named 'torch'",
        "./python -m pip install torch",
        "--python",
    ] {
        assert!(error.contains(text), "{text}: {error}");
    }
}

/// A peer that prints what the real one prints: both sides run in turn, and their medians are compared.
#[cfg(unix)]
#[test]
fn against_torch_runs_both_sides_in_turn() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let peer = r#"#!/bin/sh
if [ "$1" = -c ]; then echo 9.9; exit; fi
grep -q 'def window' "$1" && grep -q 'class GPT' "$(dirname "$1")/gpt.py" || exit 3
echo "$@" >> calls
echo '{"step": 1, "seconds": 1.0, "loss": 2.0}'
echo '{"tokens_per_s": 2.5, "step_seconds": 4.0, "peak_memory": 1000000, "threads": 2}'
"#;
    place.write("python", peer);
    std::fs::set_permissions(place.path("python"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let args = format!("bench {SMALL} --against torch --python ./python --rounds 2 --torch-compile --json");
    let objects: Vec<Object> = place.ok(&args).lines().map(object).collect();
    let sides: Vec<_> = of(&objects, "round")
        .iter()
        .map(|round| round["side"].clone())
        .collect();
    assert_eq!(sides, ["foretoken", "torch", "foretoken", "torch"]);
    let [summary] = of(&objects, "against")[..] else {
        panic!("{objects:?}")
    };
    assert_eq!(
        (&summary["version"], &summary["compile"], &summary["threads"]),
        (&"9.9".into(), &true.into(), &2.into())
    );
    assert_eq!(summary["theirs"], serde_json::json!([2.5, 2.5]));
    assert!(summary["isa"].is_string());
    let ours: Vec<f64> = serde_json::from_value(summary["ours"].clone()).unwrap();
    assert_eq!(number(summary, "ratio"), (ours[0] + ours[1]) / 2.0 / 2.5);
    let calls = std::fs::read_to_string(place.path("calls")).unwrap();
    assert_eq!(calls.lines().count(), 2);
    for flag in [
        "--preset nano",
        "--vocab-size 300",
        "--batch-size 2",
        "--seq-len 16",
        "--steps 3",
        "--threads 2",
        "--compile",
    ] {
        assert!(calls.lines().all(|call| call.contains(flag)), "{flag}: {calls}");
    }
    // The program it ran is gone again.
    let program = calls.split_whitespace().next().unwrap();
    assert!(
        program.ends_with("torch_train.py") && !std::path::Path::new(program).exists(),
        "{program}"
    );
    let text = place.ok(&args.replace(" --json", ""));
    assert!(
        text.contains("PyTorch 9.9 compiled") && text.contains("times as fast"),
        "{text}"
    );
    place.write("python", peer.replace("echo \"$@\"", "echo broken >&2; exit 7 #"));
    let output = place.output(&args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && error.contains("PyTorch failed") && error.contains("broken"),
        "{error}"
    );
}

#[test]
fn train_profile_tells_where_a_step_s_time_went() {
    let place = Place::new();
    let text = place.ok("train --config tiny.toml --steps 4 --out run --profile");
    for part in [
        "3 steps of ",
        "matmul",
        "A Bᵀ",
        "attention_backward",
        "adamw",
        "the step",
        "of limit:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // It is how a run is shown, not what it is.
    let toml = std::fs::read_to_string(place.path("run/run.toml")).unwrap();
    assert!(!toml.contains("profile"), "{toml}");
    let (out, _) = success(
        "json",
        place.output("train --config tiny.toml --steps 4 --out json --profile --json"),
    );
    let objects: Vec<Object> = out.lines().map(object).collect();
    assert_eq!(objects.len(), 5);
    assert!(objects[..4].iter().all(|step| !step.contains_key("event")));
    assert_eq!(
        (&objects[4]["event"], &objects[4]["of"], &objects[4]["steps"]),
        (&"profile".into(), &"train".into(), &3.into())
    );
    assert!(objects[4]["isa"].is_string() && objects[4]["threads"].is_u64());
    check_profile(&objects[4], &TRAINING);
    // The same bits as without.
    place.ok("train --config tiny.toml --steps 4 --out plain --quiet");
    place.bits("plain").assert_same(&place.bits("run"), "profiled");
    let text = place.ok("train --config tiny.toml --steps 1 --out one --profile");
    assert!(
        text.contains("no step was profiled: the first is not counted"),
        "{text}"
    );
}
