//! `convert`: a run into every form, and every form back.

use crate::common::{Place, object};
use std::fs;

#[test]
fn a_run_becomes_gguf_and_a_directory_and_writes_the_same_text() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 2 --out run --quiet");
    let text = |model: &str| {
        place.ok(&format!(
            "generate --model {model} --max-tokens 12 --temperature 0 Mina"
        ))
    };
    let table = place.ok("convert run model.gguf");
    assert!(
        table.contains("F32 as it is") && table.trim_end().ends_with("model.gguf"),
        "{table}"
    );
    place.ok("convert model.gguf hf");
    let read = |path: &str| fs::read(place.path(path)).unwrap();
    for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(
            read(&format!("run/latest/{name}")),
            read(&format!("hf/{name}")),
            "{name}"
        );
    }
    assert_eq!(text("run"), text("model.gguf"));
    assert_eq!(text("run"), text("hf"));
    let ids = |model: &str| place.ok(&format!("tokenizer encode --model {model} Mina"));
    assert_eq!(ids("run"), ids("model.gguf"));
    let sizes = object(&place.ok("size --model model.gguf --json --batch-size 1"));
    assert_eq!(sizes["parameters"]["count"], 7936);

    let told = object(&place.ok("convert run half.gguf --dtype F16 --json"));
    assert_eq!((&told["weights"], &told["path"]), (&7936.into(), &"half.gguf".into()));
    let tensors = told["tensors"].as_array().unwrap();
    let find = |name: &str| tensors.iter().find(|tensor| tensor["name"] == name).unwrap();
    assert_eq!(find("blk.0.ffn_up.weight")["to"], "F16");
    let norm = find("output_norm.bias");
    assert!(norm["to"] == "F32" && norm["reason"].as_str().unwrap().contains("stay F32"));
    assert!(read("half.gguf").len() < read("model.gguf").len());
    // d = 16: no row is a whole number of blocks but those of 64.
    let table = place.ok("convert run q8.gguf --dtype q8_0");
    assert!(table.contains("F32 -> Q8_0") && table.contains("F32 -> F16"), "{table}");
    place.ok("generate --model q8.gguf --max-tokens 3 Mina");
}

#[test]
fn what_cannot_be_converted_is_said_and_nothing_is_left() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 1 --out run --quiet");
    let refused = |args: &str, code: i32, says: &str| {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(code), "{args}");
        let error = place.error(args);
        assert!(error.contains(says), "{args}: {error}");
    };
    place.write("mine.gguf", "mine");
    refused("convert run mine.gguf", 1, "already exists");
    refused("convert mine.gguf out", 1, "starts with");
    refused("convert nothing out", 1, "foretoken pull nothing");
    refused("convert run out --dtype q8_0", 2, "Q8_0 is for a .gguf file");
    refused("convert run run/latest --force", 2, "that is converted is there");
    assert_eq!(place.output("convert run out.gguf --dtype q2_k").status.code(), Some(2));
    assert_eq!(place.names("."), ["cache", "mine.gguf", "run", "tiny.toml"]);
    place.ok("convert run mine.gguf --force");
    place.ok("generate --model mine.gguf --max-tokens 1 x");
}
