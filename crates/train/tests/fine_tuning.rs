//! A run that begins from a model: what is frozen stays, pairs learn, and the bits are the same on any threads and after a stop.

use foretoken_formats::safetensors::{Safetensors, open_model_dir};
use foretoken_kernels::Pool;
use foretoken_model::{OptimizerKind, StateDtype, adapter, init, load, registry};
use foretoken_text::Tokenizer;
use foretoken_train::{Error, Init, Run, RunConfig};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const GPT2: &str =
    r#"{"model_type": "gpt2", "vocab_size": 257, "n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 2}"#;
const LLAMA: &str = r#"{"model_type": "llama", "vocab_size": 257, "max_position_embeddings": 24, "hidden_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24,
    "tie_word_embeddings": true}"#;

fn base(config: &str) -> Init {
    let model = registry::from_config(&serde_json::from_str(config).unwrap()).unwrap();
    Init {
        weights: init(model.params(), 3).unwrap(),
        model,
        tokenizer: Tokenizer::byte(),
        template: None,
        files: vec![
            ("config.json".into(), config.into()),
            ("tokenizer.json".into(), Tokenizer::byte().to_json()),
        ],
        fingerprint: "0123456789abcdef".into(),
        base: "somewhere".into(),
        revision: None,
    }
}

fn config(steps: u64) -> RunConfig {
    RunConfig {
        data: vec!["corpus:60".into()],
        init: Some("somewhere".into()),
        seq_len: Some(12),
        batch_size: Some(3),
        grad_accum: 2,
        steps,
        lr: Some(1e-2),
        min_lr: Some(1e-3),
        warmup: Some(0),
        eval_batches: 1,
        eval_every: Some(2),
        sample_every: Some(0),
        ..RunConfig::default()
    }
}

fn pairs(steps: u64) -> RunConfig {
    RunConfig {
        lora_rank: Some(2),
        ..config(steps)
    }
}

/// Trains, and gives the run's directory.
fn train(tmp: &Path, name: &str, model: &str, config: RunConfig, threads: usize) -> PathBuf {
    let (dir, cache, pool) = (tmp.join(name), tmp.join("cache"), Pool::new(threads).unwrap());
    let mut run = Run::start_from(config, Some(base(model)), &dir, &cache, &pool, &mut |_| {}).unwrap();
    run.train(&pool, &AtomicBool::new(false), &mut |_| {}).unwrap();
    dir
}

fn resume(tmp: &Path, dir: &Path, config: RunConfig, init: Init) -> Result<(), Error> {
    let pool = Pool::new(1).unwrap();
    let mut run = Run::resume_from(dir, config, Some(init), &tmp.join("cache"), &pool, &mut |_| {})?;
    run.train(&pool, &AtomicBool::new(false), &mut |_| {}).map(|_| ())
}

fn files(dir: &Path) -> Vec<Vec<u8>> {
    let names = ["model.safetensors", adapter::WEIGHTS, "optimizer.safetensors"];
    let found = names
        .iter()
        .filter_map(|name| std::fs::read(dir.join("latest").join(name)).ok());
    found.collect()
}

#[test]
fn pairs_learn_and_leave_the_base_alone() {
    let tmp = tempfile::tempdir().unwrap();
    for (name, model) in [("gpt2", GPT2), ("llama", LLAMA)] {
        let dir = train(tmp.path(), name, model, pairs(6), 2);
        let latest = dir.join("latest");
        assert!(!latest.join("model.safetensors").exists() && !latest.join("config.json").exists());
        assert!(latest.join("tokenizer.json").exists());
        let file = Safetensors::open(latest.join(adapter::WEIGHTS)).unwrap();
        let model = base(model).model;
        let targets = if name == "gpt2" { 2 } else { 4 };
        assert_eq!(file.names().len(), 2 * targets);
        let first = match name {
            "gpt2" => "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight",
            _ => "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
        };
        let b = file.tensor(first).unwrap();
        let mut numbers = vec![0.0; b.elements()];
        b.read_f32(&mut numbers).unwrap();
        assert!(numbers.iter().all(|x| *x != 0.0), "B moves from zero");
        let config = adapter::AdapterConfig::read(&latest).unwrap();
        assert_eq!(
            (config.rank, config.alpha, config.base.as_deref()),
            (2, 4.0, Some("somewhere"))
        );
        let (trainable, _) = adapter::read(&*model, &config, &file).unwrap();
        assert_eq!(trainable.targets(model.params()).count(), targets);
        // The loss falls: what learns is what the forward reads.
        let log = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
        let losses: Vec<f64> = log
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["val_loss"].as_f64())
            .collect();
        assert!(losses.last() < losses.first(), "{losses:?}");
    }
}

#[test]
fn threads_and_stops_do_not_show() {
    let tmp = tempfile::tempdir().unwrap();
    let frozen = |steps| RunConfig {
        freeze: vec!["*wte*".into(), "*h.0.*".into()],
        ..config(steps)
    };
    let frozen_muon = |steps| RunConfig {
        optimizer: OptimizerKind::Muon,
        optimizer_state: StateDtype::Bf16,
        ..frozen(steps)
    };
    let whole = |steps| config(steps);
    let cases: [(&str, &dyn Fn(u64) -> RunConfig); 4] = [
        ("pairs", &pairs),
        ("frozen", &frozen),
        ("muon", &frozen_muon),
        ("whole", &whole),
    ];
    for (name, config) in cases {
        let one = train(tmp.path(), &format!("{name}-one"), GPT2, config(6), 1);
        let want = files(&one);
        assert_eq!(want.len(), 2);
        let two = train(tmp.path(), &format!("{name}-two"), GPT2, config(6), 2);
        assert!(files(&two) == want, "{name}: threads");
        // The schedule is that of six steps from the beginning.
        let dir = tmp.path().join(format!("{name}-stopped"));
        let (cache, pool) = (tmp.path().join("cache"), Pool::new(2).unwrap());
        let mut run = Run::start_from(config(6), Some(base(GPT2)), &dir, &cache, &pool, &mut |_| {}).unwrap();
        let stop = AtomicBool::new(true);
        for _ in 0..3 {
            run.train(&pool, &stop, &mut |_| {}).unwrap();
        }
        drop(run);
        resume(tmp.path(), &dir, Run::config(&dir).unwrap(), base(GPT2)).unwrap();
        assert!(files(&dir) == want, "{name}: a stop");
    }
}

#[test]
fn frozen_tensors_do_not_move_and_have_no_moments() {
    let tmp = tempfile::tempdir().unwrap();
    let frozen = ["wte", ".0.", "ln_f"];
    let run = RunConfig {
        freeze: frozen.iter().map(|part| format!("*{part}*")).collect(),
        ..config(3)
    };
    let dir = train(tmp.path(), "run", GPT2, run, 2);
    let Init { model, weights, .. } = base(GPT2);
    let after = load(model.params(), &open_model_dir(dir.join("latest")).unwrap()).unwrap();
    let moments = Safetensors::open(dir.join("latest/optimizer.safetensors")).unwrap();
    for spec in model.params().specs() {
        let stays = frozen.iter().any(|part| spec.name.contains(part));
        let same = after[spec.range.clone()] == weights[spec.range.clone()];
        assert_eq!(same, stays, "{}", spec.name);
        assert_eq!(
            moments.tensor(&format!("m.{}", spec.name)).is_none(),
            stays,
            "{}",
            spec.name
        );
    }
}

#[test]
fn another_base_other_flags_and_sizes_that_contradict_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = train(tmp.path(), "run", GPT2, pairs(2), 1);
    let again = |change: &dyn Fn(&mut RunConfig), init: Init| {
        let mut config = Run::config(&dir).unwrap();
        config.steps = 3;
        change(&mut config);
        resume(tmp.path(), &dir, config, init).map_err(|error| error.to_string())
    };
    let other = Init {
        fingerprint: "fedcba9876543210".into(),
        ..base(GPT2)
    };
    let error = again(&|_| {}, other).unwrap_err();
    assert!(error.contains("fedcba98 instead of 01234567"), "{error}");
    type Change<'a> = &'a dyn Fn(&mut RunConfig);
    let changes: [(&str, Change<'_>); 5] = [
        ("--init", &|run| run.init = Some("elsewhere".into())),
        ("--lora-rank", &|run| run.lora_rank = Some(3)),
        ("--lora-alpha", &|run| run.lora_alpha = Some(3.0)),
        ("--lora-targets", &|run| run.lora_targets = vec!["c_proj".into()]),
        ("--freeze", &|run| run.freeze = vec!["h.0.*".into()]),
    ];
    for (flag, change) in changes {
        let error = again(change, base(GPT2)).unwrap_err();
        assert!(error.starts_with(&format!("{flag} changed")), "{flag}: {error}");
    }
    let error = again(&|run| run.n_layer = Some(3), base(GPT2)).unwrap_err();
    assert!(error.contains("--n-layer is 3: expected 2"), "{error}");
    again(&|_| {}, base(GPT2)).unwrap();

    let start = |config: RunConfig, init: Option<Init>| {
        let (dir, cache, pool) = (tmp.path().join("none"), tmp.path().join("cache"), Pool::new(1).unwrap());
        Run::start_from(config, init, &dir, &cache, &pool, &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    assert!(start(config(1), None).contains("--init is somewhere"));
    let with = |change: &dyn Fn(&mut RunConfig)| {
        let mut config = pairs(1);
        change(&mut config);
        start(config, Some(base(GPT2)))
    };
    assert!(with(&|run| run.optimizer = OptimizerKind::Muon).contains("adamw with --lora-rank"));
    assert!(with(&|run| run.add_tokens = vec!["x".into()]).contains("--add-tokens"));
    assert!(with(&|run| run.seq_len = Some(25)).contains("1 to n_positions = 24"));
    assert!(with(&|run| run.n_kv_head = Some(1)).contains("--n-kv-head"));
    assert!(with(&|run| run.tokenizer = "char".into()).contains("--tokenizer is char"));
    let error = with(&|run| {
        run.lora_rank = None;
        run.lora_targets = vec!["c_attn".into()];
    });
    assert!(error.contains("--lora-targets"), "{error}");
}

#[test]
fn rates_fit_what_learns() {
    let of = |config: RunConfig| {
        let run = base(GPT2).adopt(config).unwrap().resolve().unwrap();
        (run.lr, run.weight_decay, run.beta2, run.lora_alpha)
    };
    let plain = RunConfig {
        init: Some("m".into()),
        ..RunConfig::default()
    };
    assert_eq!(of(plain.clone()), (Some(5e-5), Some(0.01), Some(0.999), None));
    let lora = RunConfig {
        lora_rank: Some(8),
        ..plain.clone()
    };
    assert_eq!(of(lora), (Some(2e-4), Some(0.0), Some(0.999), Some(16.0)));
    let run = base(GPT2).adopt(plain).unwrap().resolve().unwrap();
    assert_eq!(
        (run.seq_len, run.vocab_size, run.tokenizer.as_str()),
        (Some(24), Some(257), "init")
    );
}
