//! Adapters: what PEFT made gives the same logits here, what is malformed is refused by name, and runs that begin from a model
//! leave what opens again.

use foretoken::formats::dtype::Dtype;
use foretoken::formats::safetensors::{Safetensors, Tensor, write};
use foretoken::kernels::Pool;
use foretoken::model::{adapter, decode_scored};
use foretoken::text::Tokenizer;
use foretoken::train::{Run, RunConfig};
use foretoken::{ConvertOptions, Error, Gpt, convert, open};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/adapters");
const ADAPTERS: [&str; 3] = ["gpt2-patterns", "llama-rslora", "llama-plain"];

/// The fixtures in a directory of their own, each base with a tokeniser of bytes.
fn fixtures() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(FIXTURES).unwrap() {
        let from = entry.unwrap().path();
        let to = tmp.path().join(from.file_name().unwrap());
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(&from).unwrap() {
            let file = file.unwrap().path();
            std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
        if to.join("config.json").exists() {
            std::fs::write(to.join("tokenizer.json"), Tokenizer::byte().to_json()).unwrap();
        }
    }
    tmp
}

fn logits(gpt: &Gpt, ids: &[u32]) -> Vec<f32> {
    let (model, mut all) = (gpt.model(), Vec::new());
    let mut state = model.decode_state(ids.len(), gpt.weights().cache_type()).unwrap();
    decode_scored(model, gpt.pool(), gpt.weights(), &mut state, ids, 0, |_, rows| {
        all.extend_from_slice(rows)
    });
    all
}

/// The largest difference from what PEFT computes.
fn error(gpt: &Gpt, adapter: &Path) -> f32 {
    let file = Safetensors::open(adapter.join("expected.safetensors")).unwrap();
    let ids = file.tensor("ids").unwrap();
    let ids: Vec<u32> = ids
        .bytes
        .chunks(8)
        .map(|id| u64::from_le_bytes(id.try_into().unwrap()) as u32)
        .collect();
    let view = file.tensor("logits").unwrap();
    let mut want = vec![0.0; view.elements()];
    view.read_f32(&mut want).unwrap();
    let got = logits(gpt, &ids);
    assert_eq!(got.len(), want.len());
    got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_are_those_of_peft_open_and_converted() {
    let tmp = fixtures();
    for name in ADAPTERS {
        let adapter = tmp.path().join(name);
        let gpt = open(&adapter).unwrap();
        assert_eq!(gpt.path(), adapter.canonicalize().unwrap());
        let off = error(&gpt, &adapter);
        assert!(off < 1e-4, "{name}: {off}");
        // It matters: the base alone is far away.
        let base = if name.starts_with("gpt2") {
            "base-gpt2"
        } else {
            "base-llama"
        };
        assert!(error(&open(tmp.path().join(base)).unwrap(), &adapter) > 0.05, "{name}");
        for out in ["merged", "merged.gguf"] {
            let to = tmp.path().join(format!("{name}-{out}"));
            convert(&adapter, &to, &ConvertOptions::default(), &mut |_| true).unwrap();
            let gpt = open(&to).unwrap();
            let off = error(&gpt, &adapter);
            assert!(off < 1e-4, "{name} as {out}: {off}");
        }
    }
}

/// A GGUF file as the base, quantised too: the matrices that have no pair stay as they are there.
#[test]
fn a_base_may_be_a_gguf_file() {
    let tmp = fixtures();
    for name in ADAPTERS {
        let (adapter, base) = (tmp.path().join(name), tmp.path().join(format!("{name}.gguf")));
        let kind = if name.starts_with("gpt2") {
            "base-gpt2"
        } else {
            "base-llama"
        };
        for (dtype, most) in [(Dtype::F32, 1e-4), (Dtype::BF16, 0.2)] {
            let options = ConvertOptions {
                dtype: Some(dtype),
                force: true,
                ..Default::default()
            };
            convert(&tmp.path().join(kind), &base, &options, &mut |_| true).unwrap();
            edit(&adapter, |config| config["base_model_name_or_path"] = json!(base));
            let gpt = open(&adapter).unwrap();
            assert!(
                error(&gpt, &adapter) < most,
                "{name} on {dtype}: {}",
                error(&gpt, &adapter)
            );
            let merged = tmp.path().join(format!("{name}-{dtype}-merged.gguf"));
            convert(&adapter, &merged, &ConvertOptions::default(), &mut |_| true).unwrap();
            assert!(
                error(&open(&merged).unwrap(), &adapter) < most,
                "{name} on {dtype}, merged"
            );
        }
    }
}

/// Changes an adapter's config.
fn edit(adapter: &Path, change: impl FnOnce(&mut Value)) {
    let path = adapter.join(adapter::CONFIG);
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

/// Writes an adapter's tensors anew: `change` gives the name and shape of each, or leaves it out.
fn rewrite(adapter: &Path, change: impl Fn(&str, &[usize]) -> Option<(String, Vec<usize>)>) {
    let path = adapter.join(adapter::WEIGHTS);
    let file = Safetensors::open(&path).unwrap();
    let changed: Vec<(String, Vec<usize>)> = file
        .names()
        .filter_map(|name| change(name, file.tensor(name).unwrap().shape))
        .collect();
    let data: Vec<Vec<f32>> = changed
        .iter()
        .map(|(_, shape)| vec![0.5; shape.iter().product()])
        .collect();
    let tensors: Vec<Tensor<'_>> = changed
        .iter()
        .zip(&data)
        .map(|((name, shape), data)| Tensor::f32(name, shape, data))
        .collect();
    let mut bytes = Vec::new();
    write(&mut bytes, &tensors, &[]).unwrap();
    drop(file);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn every_malformed_adapter_is_refused_by_name() {
    let keep = |name: &str, shape: &[usize]| Some((name.to_owned(), shape.to_vec()));
    let is_first_b = |name: &str| name.contains("layers.0.self_attn.q_proj.lora_B");
    type Spoil<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Spoil<'_>); 16] = [
        ("the rank is 3", &|dir| edit(dir, |config| config["r"] = json!(3))),
        ("has no partner: model.layers.0.self_attn.q_proj.lora_B", &|dir| {
            rewrite(dir, |name, shape| keep(name, shape).filter(|_| !is_first_b(name)));
        }),
        ("is of `model.layers.9.self_attn.q_proj`", &|dir| {
            rewrite(dir, |name, shape| keep(&name.replace("layers.0", "layers.9"), shape));
        }),
        ("beside an embedding", &|dir| {
            rewrite(dir, |name, shape| {
                keep(&name.replace("layers.0.self_attn.q_proj", "embed_tokens"), shape)
            });
        }),
        ("has shape [17, 2]", &|dir| {
            rewrite(dir, |name, shape| match is_first_b(name) {
                true => keep(name, &[17, 2]),
                false => keep(name, shape),
            });
        }),
        ("of a kind that is not computed here", &|dir| {
            rewrite(dir, |name, shape| {
                keep(&name.replace("lora_B.weight", "lora_magnitude_vector"), shape)
            });
        }),
        ("is missing for every matrix", &|dir| rewrite(dir, |_, _| None)),
        ("`use_dora` is true", &|dir| {
            edit(dir, |config| config["use_dora"] = json!(true))
        }),
        ("`bias` is all", &|dir| {
            edit(dir, |config| config["bias"] = json!("all"))
        }),
        ("`modules_to_save`", &|dir| {
            edit(dir, |config| config["modules_to_save"] = json!(["lm_head"]))
        }),
        ("`peft_type` is PREFIX_TUNING", &|dir| {
            edit(dir, |config| config["peft_type"] = json!("PREFIX_TUNING"))
        }),
        ("it is no path here", &|dir| {
            edit(dir, |config| {
                config["base_model_name_or_path"] = json!("nobody/nothing-of-this-name")
            });
        }),
        ("it names none", &|dir| {
            edit(dir, |config| config["base_model_name_or_path"] = json!(null))
        }),
        ("it is an adapter itself", &|dir| {
            edit(dir, |config| {
                config["base_model_name_or_path"] = json!("../llama-rslora")
            });
        }),
        ("adapter_model.safetensors", &|dir| {
            std::fs::remove_file(dir.join(adapter::WEIGHTS)).unwrap()
        }),
        ("is not read: save the adapter with safe_serialization=True", &|dir| {
            std::fs::rename(dir.join(adapter::WEIGHTS), dir.join("adapter_model.bin")).unwrap();
        }),
    ];
    for (says, spoil) in cases {
        let tmp = fixtures();
        let adapter = tmp.path().join("llama-plain");
        spoil(&adapter);
        let error = open(&adapter).unwrap_err();
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert!(
            convert(
                &adapter,
                &tmp.path().join("out"),
                &ConvertOptions::default(),
                &mut |_| true
            )
            .is_err()
        );
        assert!(!tmp.path().join("out").exists());
    }
    // The adapter of another architecture.
    let tmp = fixtures();
    let adapter = tmp.path().join("llama-plain");
    edit(&adapter, |config| {
        config["base_model_name_or_path"] = json!("../base-gpt2")
    });
    let error = open(&adapter).unwrap_err().to_string();
    assert!(
        error.contains("which a gpt2 of this size has not") && error.contains("another base"),
        "{error}"
    );
}

fn tune(tmp: &Path, name: &str, change: impl FnOnce(&mut RunConfig)) -> Result<PathBuf, Error> {
    let mut config = RunConfig {
        data: vec!["corpus:60".into()],
        steps: 3,
        seq_len: Some(8),
        batch_size: Some(2),
        eval_batches: 1,
        sample_every: Some(0),
        lr: Some(1e-2),
        ..RunConfig::default()
    };
    change(&mut config);
    let (dir, cache, pool) = (tmp.join(name), tmp.join("cache"), Pool::new(1).unwrap());
    let init = foretoken::init(&config)?;
    let mut run = Run::start_from(config, init, &dir, &cache, &pool, &mut |_| {})?;
    run.train(&pool, &AtomicBool::new(false), &mut |_| {})?;
    Ok(dir)
}

/// What trains sees the weights that are opened again, and goes on where the base is gone.
#[test]
fn runs_begin_from_whatever_opens() {
    let tmp = fixtures();
    let path = |name: &str| tmp.path().join(name).display().to_string();
    let options = ConvertOptions {
        dtype: Some(Dtype::Q8_0),
        ..Default::default()
    };
    convert(
        Path::new(&path("base-llama")),
        Path::new(&path("q.gguf")),
        &options,
        &mut |_| true,
    )
    .unwrap();
    for (i, from) in ["base-gpt2", "base-llama", "q.gguf", "gpt2-patterns"]
        .into_iter()
        .enumerate()
    {
        let dir = tune(tmp.path(), &format!("whole-{i}"), |run| run.init = Some(path(from))).unwrap();
        let tuned = open(&dir).unwrap();
        assert_eq!(tuned.tokenizer().vocab_size(), 257, "{from}");
        assert!(dir.join("latest/config.json").exists() && dir.join("latest/model.safetensors").exists());
        let pairs = tune(tmp.path(), &format!("pairs-{i}"), |run| {
            run.init = Some(path(from));
            run.lora_rank = Some(2);
        });
        if from == "gpt2-patterns" {
            let error = pairs.unwrap_err().to_string();
            assert!(error.contains("merge it first"), "{error}");
            continue;
        }
        let run = pairs.unwrap();
        assert!(!run.join("latest/model.safetensors").exists());
        let (tuned, base) = (open(&run).unwrap(), open(path(from)).unwrap());
        let ids = [65, 66, 67];
        let (a, b) = (logits(&tuned, &ids), logits(&base, &ids));
        let moved = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(moved > 1e-4, "{from}: {moved}");
        // Merged as a whole it is the same.
        let merged = tmp.path().join(format!("merged-{i}"));
        convert(&run, &merged, &ConvertOptions::default(), &mut |_| true).unwrap();
        if from != "q.gguf" {
            assert!(logits(&open(&merged).unwrap(), &ids) == a, "{from}");
        }
    }
    // All of a model is in its checkpoints, of pairs only they.
    let resume = |dir: &Path| {
        let config = RunConfig {
            steps: 5,
            ..Run::config(dir).unwrap()
        };
        let init = foretoken::init_to_resume(&config, dir)?;
        let pool = Pool::new(1).unwrap();
        let mut run = Run::resume_from(dir, config, init, &tmp.path().join("cache"), &pool, &mut |_| {})?;
        run.train(&pool, &AtomicBool::new(false), &mut |_| {})?;
        Ok::<_, Error>(run.step())
    };
    std::fs::rename(path("base-gpt2"), path("gone")).unwrap();
    assert_eq!(resume(&tmp.path().join("whole-0")).unwrap(), 5);
    assert!(
        resume(&tmp.path().join("pairs-0"))
            .unwrap_err()
            .to_string()
            .contains("base-gpt2")
    );
    let error = open(tmp.path().join("pairs-0")).unwrap_err();
    assert!(
        matches!(&error, Error::AdapterBase { base, .. } if base.ends_with("base-gpt2")),
        "{error}"
    );
    std::fs::rename(path("base-llama"), path("base-gpt2")).unwrap();
    let error = resume(&tmp.path().join("pairs-0")).unwrap_err().to_string();
    assert!(
        error.contains("instead of") || error.contains("--n-"),
        "another base: {error}"
    );
    std::fs::remove_dir_all(path("base-gpt2")).unwrap();
    std::fs::rename(path("gone"), path("base-gpt2")).unwrap();
    assert_eq!(resume(&tmp.path().join("pairs-0")).unwrap(), 5);
}

#[test]
fn new_tokens_get_rows_and_places_in_every_file() {
    let tmp = fixtures();
    let path = |name: &str| tmp.path().join(name).display().to_string();
    // As someone else's GPT-2 may come: three files that list special tokens beside tokenizer.json.
    let listed = json!({"eos_token": "<|endoftext|>", "added_tokens_decoder": {"256": {"content": "<|endoftext|>"}}});
    std::fs::write(path("base-gpt2/tokenizer_config.json"), listed.to_string()).unwrap();
    std::fs::write(
        path("base-gpt2/special_tokens_map.json"),
        r#"{"eos_token": "<|endoftext|>"}"#,
    )
    .unwrap();
    // Room for two more tokens than there are.
    let padded = tune(tmp.path(), "padded", |run| {
        run.tokenizer = "byte".into();
        (run.n_layer, run.n_head, run.n_embd, run.n_positions) = (Some(1), Some(2), Some(8), Some(16));
        run.vocab_size = Some(259);
    })
    .unwrap();
    for (i, (from, new, vocab_size)) in [
        (path("base-gpt2"), "<|user|>,<|end|>", 259),
        (path("base-llama"), "<|user|>", 258),
        (padded.display().to_string(), "<|user|>", 259),
        (padded.display().to_string(), "<|a|>,<|b|>,<|c|>", 260),
    ]
    .into_iter()
    .enumerate()
    {
        let new: Vec<String> = new.split(',').map(str::to_owned).collect();
        let dir = tune(tmp.path(), &format!("new-{i}"), |run| {
            run.init = Some(from.clone());
            run.add_tokens = new.clone();
        })
        .unwrap();
        let gpt = open(&dir).unwrap();
        assert_eq!(gpt.model().dims().vocab_size, vocab_size);
        let text = format!("A{}", new.concat());
        let want: Vec<u32> = std::iter::once(65).chain(257..257 + new.len() as u32).collect();
        assert_eq!(gpt.tokenizer().encode_with_special(&text), want);
        let config: Value = serde_json::from_slice(&std::fs::read(dir.join("latest/config.json")).unwrap()).unwrap();
        assert_eq!(config["vocab_size"], vocab_size);
        if i == 0 {
            let read = |name: &str| -> Value {
                serde_json::from_slice(&std::fs::read(dir.join("latest").join(name)).unwrap()).unwrap()
            };
            let (config, map) = (read("tokenizer_config.json"), read("special_tokens_map.json"));
            assert_eq!(config["added_tokens_decoder"]["258"]["content"], "<|end|>");
            for file in [config, map] {
                assert_eq!(file["additional_special_tokens"], json!(["<|user|>", "<|end|>"]));
                assert_eq!(file["eos_token"], "<|endoftext|>");
            }
        }
        // Going on adds nothing twice.
        let config = RunConfig {
            steps: 4,
            ..Run::config(&dir).unwrap()
        };
        let init = foretoken::init_to_resume(&config, &dir).unwrap().unwrap();
        assert_eq!(
            (init.tokenizer.vocab_size(), init.model.dims().vocab_size),
            (257 + new.len(), vocab_size)
        );
        let pool = Pool::new(1).unwrap();
        Run::resume_from(&dir, config, Some(init), &tmp.path().join("cache"), &pool, &mut |_| {}).unwrap();
    }
    // Names that are there: special ones are taken as they are, others are refused.
    let init = |names: &[&str]| {
        foretoken::init(&RunConfig {
            init: Some(path("base-gpt2")),
            add_tokens: names.iter().map(|&name| name.to_owned()).collect(),
            ..RunConfig::default()
        })
    };
    assert_eq!(init(&["<|endoftext|>"]).unwrap().unwrap().tokenizer.vocab_size(), 257);
    assert!(init(&["A"]).unwrap_err().to_string().contains("A is a token already"));
    assert!(init(&[""]).is_err());
}
