//! `train --init`: the whole of a model, some of it, or an adapter beside it.

use crate::common::{Place, object};
use std::collections::BTreeMap;
use std::fs;

const TUNE: &str = "train --config tiny.toml --init base --lr 1e-2 --steps 4";

fn place() -> Place {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 3 --out base --quiet");
    place
}

fn text(place: &Place, model: &str) -> String {
    place.ok(&format!(
        "generate --model {model} --max-tokens 12 --temperature 0 Mina"
    ))
}

#[test]
fn an_adapter_is_trained_told_opened_and_merged() {
    let place = place();
    let told = place.ok(&format!("{TUNE} --lora-rank 2 --out run"));
    for says in [
        "begins     from base (weights ",
        "learns     128 of 7,936 parameters (1.61%): pairs of rank 2, alpha 4, beside 1 of its matrices: c_attn",
        "pairs ",
        "as PEFT opens it",
        "foretoken convert run merged",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    let names = place.names("run/latest");
    assert!(names.contains(&"adapter_config.json".into()) && names.contains(&"adapter_model.safetensors".into()));
    assert!(!names.contains(&"model.safetensors".into()) && !names.contains(&"config.json".into()));
    assert_ne!(text(&place, "run"), "");
    place.ok("convert run merged");
    place.ok("convert run merged.gguf");
    assert_eq!(text(&place, "run"), text(&place, "merged"));
    assert_eq!(text(&place, "run"), text(&place, "merged.gguf"));
    let loss = |model: &str| {
        let told = object(&place.ok(&format!("eval --model {model} --file tiny.toml --json")));
        told["models"][0]["text"]["loss"]["mean"].as_f64().unwrap()
    };
    assert_eq!(loss("run"), loss("merged"));
    assert_ne!(loss("run"), loss("base"));
    let ids = |model: &str| place.ok(&format!("tokenizer encode --model {model} Mina"));
    assert_eq!(ids("run"), ids("base"));
    let chat = place.fed("chat --model run --max-tokens 4", b"hello\n");
    assert!(chat.status.success(), "{chat:?}");
    assert!(place.ok("size --model run").contains("7,936 parameters"));

    // The same bits on other threads, and after a stop.
    let adapter = |run: &str| fs::read(place.path(run).join("latest/adapter_model.safetensors")).unwrap();
    place.ok(&format!("{TUNE} --lora-rank 2 --out one --threads 1 --quiet"));
    assert!(adapter("one") == adapter("run"));
    place.ok("train --resume --out run --steps 6 --quiet");
    let six = TUNE.replace("--steps 4", "--steps 6");
    place.ok(&format!("{six} --lora-rank 2 --out six --quiet"));
    assert!(adapter("six") == adapter("run"));

    // Without its base an adapter is nothing, and says so.
    fs::rename(place.path("base"), place.path("moved")).unwrap();
    for args in [
        "generate --model run Mina",
        "convert run out",
        "train --resume --out run --steps 9",
    ] {
        let error = place.error(args);
        assert!(
            error.contains("base") && error.contains("is no path here"),
            "{args}: {error}"
        );
    }
}

#[test]
fn frozen_tensors_are_counted_and_cost_nothing() {
    let place = place();
    let told = place.ok(&format!("{TUNE} --freeze *wte*,*wpe* --out run"));
    assert!(
        told.contains("learns     3,312 of 7,936 parameters (41.73%): 2 tensors are frozen"),
        "{told}"
    );
    assert!(told.contains("as `transformers` opens it"), "{told}");
    assert_ne!(text(&place, "run"), "");
    let size = |flags: &str| object(&place.ok(&format!("size --model base --batch-size 1 --json {flags}")));
    let moments = |report: &BTreeMap<String, serde_json::Value>| -> u64 {
        let items = report["training"]["items"].as_array().unwrap().iter();
        let moments = items.filter(|item| item["name"].as_str().unwrap().starts_with("AdamW"));
        moments.map(|item| item["bytes"].as_u64().unwrap()).sum()
    };
    let [all, frozen, pairs] = ["", "--freeze *wte*,*wpe*", "--lora-rank 2"].map(size);
    assert_eq!(
        (&all["learns"], &frozen["learns"], &pairs["learns"]),
        (&7936.into(), &3312.into(), &128.into())
    );
    assert_eq!(
        (moments(&all), moments(&frozen), moments(&pairs)),
        (8 * 7936, 8 * 3312, 8 * 128)
    );
    let training = |report: &BTreeMap<String, serde_json::Value>| report["flops"]["step_training"].as_f64().unwrap();
    assert!(training(&pairs) < training(&all) && training(&frozen) < training(&all));
    assert!(
        place
            .ok("size --model base --lora-rank 2")
            .contains("128 learn (1.61%)")
    );
}

#[test]
fn new_tokens_are_written_with_the_model() {
    let place = place();
    place.ok(&format!("{TUNE} --add-tokens <|user|>,<|assistant|> --out run --quiet"));
    assert_eq!(
        place
            .ok("tokenizer encode --special --model run <|user|>A<|assistant|>")
            .trim(),
        "257 65 258"
    );
    let config = fs::read_to_string(place.path("run/latest/config.json")).unwrap();
    assert!(config.contains("\"vocab_size\": 259"), "{config}");
    let tokenizer = fs::read_to_string(place.path("run/latest/tokenizer_config.json")).unwrap();
    assert!(tokenizer.contains("<|assistant|>"), "{tokenizer}");
    // The model is in its checkpoints: what it began from may go.
    fs::remove_dir_all(place.path("base")).unwrap();
    place.ok("train --resume --out run --steps 6 --quiet");
}

#[test]
fn what_contradicts_or_is_not_there_is_said() {
    let place = place();
    let refused = |args: &str, code: i32, says: &[&str]| {
        let output = place.output(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args}: {error}");
        assert!(says.iter().all(|says| error.contains(says)), "{args}: {error}");
        assert!(!place.exists("out"), "{args}");
    };
    for (flags, code, says) in [
        (
            "--n-layer 3",
            2,
            &["--n-layer is 3: expected 1, as the model of --init has it"][..],
        ),
        (
            "--preset tiny",
            2,
            &["--init <PATH>", "cannot be used with", "--preset"],
        ),
        ("--tokenizer byte", 2, &["cannot be used with", "--tokenizer"]),
        ("--seq-len 33", 2, &["--seq-len is 33", "1 to n_positions = 32"]),
        ("--lora-rank 17", 2, &["--lora-rank is 17", "1 to 16"]),
        ("--lora-rank 0", 2, &["--lora-rank is 0", "1 or more"]),
        (
            "--lora-rank 2 --lora-targets q_proj",
            2,
            &[
                "--lora-targets is q_proj",
                "all-linear, or some of c_attn, c_fc, c_proj",
            ],
        ),
        ("--lora-rank 2 --optimizer muon", 2, &["--optimizer is muon", "adamw"]),
        (
            "--lora-rank 2 --add-tokens <|x|>",
            2,
            &["--add-tokens is <|x|>", "--lora-rank"],
        ),
        ("--lora-alpha 3", 2, &["--lora-alpha is 3", "--lora-rank"]),
        ("--freeze *q_proj*", 2, &["--freeze is *q_proj*", "near are", "c_proj"]),
        ("--freeze *", 2, &["--freeze is *", "something to learn"]),
        ("--add-tokens A", 1, &["A is a token already"]),
    ] {
        refused(&format!("{TUNE} --out out {flags}"), code, says);
    }
    refused(
        "train --config tiny.toml --lora-rank 2 --out out",
        2,
        &["--lora-rank is 2", "--init"],
    );
    refused("train --config tiny.toml --init nowhere --out out", 1, &["nowhere"]);
    // A run goes on as what it is.
    place.ok(&format!("{TUNE} --lora-rank 2 --out run --quiet"));
    let error = place.error("train --resume --out run --lora-rank 3");
    assert!(
        error.contains("--lora-rank changed") && error.contains("now 3, then 2"),
        "{error}"
    );
    let error = place.error("train --resume --out run --arch llama");
    assert!(error.contains("--arch: the run begins from base"), "{error}");
    place.ok("train --config tiny.toml --steps 1 --seed 5 --out other --quiet");
    fs::remove_dir_all(place.path("base")).unwrap();
    fs::rename(place.path("other"), place.path("base")).unwrap();
    let error = place.error("train --resume --out run --steps 9");
    assert!(error.contains("the weights of base are others"), "{error}");
}
