use super::*;

impl RunConfig {
    /// A run of a moment.
    pub(crate) fn tiny(steps: u64) -> Self {
        Self {
            data: vec!["corpus:100".into()],
            tokenizer: "byte".into(),
            n_layer: Some(1),
            n_head: Some(1),
            n_embd: Some(8),
            seq_len: Some(16),
            batch_size: Some(1),
            eval_batches: 1,
            sample_every: Some(0),
            steps,
            ..Self::default()
        }
    }
}

#[test]
fn a_run_survives_its_file() {
    let run = RunConfig {
        preset: "gpt2".into(),
        lr: Some(6e-4),
        ..RunConfig::default()
    }
    .resolve()
    .unwrap();
    assert_eq!(RunConfig::from_toml(&run.to_toml(), "run.toml").unwrap(), run);
    assert_eq!(run.clone().resolve().unwrap(), run);
    assert_eq!((run.b(), run.t(), run.min_lr), (2, 1024, Some(6e-4 / 10.0)));
}

#[test]
fn a_new_rate_brings_its_minimum_unless_one_was_given() {
    let min_lr = |min_lr| {
        let given = RunConfig {
            lr: Some(1e-3),
            min_lr,
            ..RunConfig::default()
        };
        let flags = "lr = 1e-5".parse().unwrap();
        let run = given.resolve().unwrap().overlay(flags).unwrap().resolve();
        run.map(|run| run.min_lr.unwrap())
    };
    assert_eq!(min_lr(None).unwrap(), 1e-5 / 10.0);
    assert_eq!(min_lr(Some(1e-6)).unwrap(), 1e-6);
    assert!(
        min_lr(Some(2e-4))
            .unwrap_err()
            .to_string()
            .contains("--min-lr is 0.0002")
    );
}

#[test]
fn unknown_keys_other_versions_and_impossible_values_are_named() {
    let error = |text: &str| RunConfig::from_toml(text, "run.toml").unwrap_err().to_string();
    assert!(error("batchsize = 3").contains("line 1, column 1 (`batchsize = 3`): unknown field `batchsize`"));
    assert!(error("seed = 1\nsteps =").contains("line 2"));
    assert!(error("steps = \"many\"").contains("steps"));
    assert!(error("version = 9\nnew_key = 1").contains("version 9"));
    let resolve = |edit: fn(&mut RunConfig)| {
        let mut run = RunConfig::default();
        edit(&mut run);
        run.resolve().unwrap_err().to_string()
    };
    assert!(resolve(|r| r.preset = "huge".into()).contains("gpt2-xl"));
    assert!(resolve(|r| (r.seq_len, r.n_positions) = (Some(65), Some(64))).contains("seq-len"));
    assert!(resolve(|r| r.lr = Some(f64::NAN)).contains("lr"));
    assert!(resolve(|r| r.dropout = 1.0).contains("dropout"));
    assert!(resolve(|r| r.steps = 0).contains("steps"));
    let too_large = "--seed is 18446744073709551615: expected at most 9223372036854775807";
    assert!(resolve(|r| r.seed = u64::MAX).starts_with(too_large));
    assert!(resolve(|r| r.steps = 1 << 63).starts_with("--steps is 9223372036854775808"));
    assert!(resolve(|r| r.keep = usize::MAX).starts_with("--keep is"));
    assert!(resolve(|r| r.warmup = Some(u64::MAX)).starts_with("--warmup is"));
    let run = RunConfig {
        seed: u64::MAX,
        ..RunConfig::default()
    };
    assert!(run.overlay(toml::Table::new()).is_err() && run.repeat(toml::Table::new()).is_err());
    let largest = RunConfig {
        seed: MOST,
        steps: MOST,
        ..RunConfig::default()
    }
    .resolve()
    .unwrap();
    assert_eq!(RunConfig::from_toml(&largest.to_toml(), "run.toml").unwrap(), largest);
    let run = RunConfig {
        vocab_size: Some(10),
        ..RunConfig::default()
    }
    .resolve()
    .unwrap();
    assert!(run.model(11, 10).unwrap_err().to_string().contains("vocab-size"));
}

/// `run` resolved, written, read through `--config` beside `flags`, and resolved.
fn repeated(run: RunConfig, flags: &str) -> RunConfig {
    let file = RunConfig::from_toml(&run.resolve().unwrap().to_toml(), "run.toml").unwrap();
    let run = file.repeat(flags.parse().unwrap()).unwrap();
    run.resolve().unwrap()
}

#[test]
fn what_was_derived_for_another_run_is_derived_anew() {
    // Every field that resolving fills in is left out again.
    assert_eq!(
        RunConfig::default()
            .resolve()
            .unwrap()
            .repeat(toml::Table::new())
            .unwrap(),
        RunConfig::default()
    );
    let run = repeated(RunConfig::default(), "steps = 4000");
    assert_eq!(
        (run.warmup, run.eval_every, run.sample_every),
        (Some(200), Some(400), Some(400))
    );
    assert_eq!(run.checkpoint_every, Some(400));
    let fresh = |preset: &str| RunConfig {
        preset: preset.into(),
        ..RunConfig::default()
    };
    assert_eq!(
        repeated(fresh("tiny"), "preset = 'gpt2'"),
        fresh("gpt2").resolve().unwrap()
    );
    let run = repeated(RunConfig::default(), "n_positions = 64\nn_embd = 768");
    assert_eq!((run.t(), run.b()), (64, 32));
    assert_eq!((run.lr, run.min_lr), (Some(6e-4), Some(6e-4 / 10.0)));
}

#[test]
fn what_was_chosen_in_another_run_stays() {
    let chosen = RunConfig {
        n_layer: Some(3),
        seq_len: Some(32),
        batch_size: Some(5),
        lr: Some(7e-4),
        min_lr: Some(1e-6),
        warmup: Some(11),
        eval_every: Some(13),
        sample_every: Some(0),
        checkpoint_every: Some(17),
        ..RunConfig::default()
    };
    assert_eq!(
        chosen.clone().resolve().unwrap().repeat(toml::Table::new()).unwrap(),
        chosen
    );
    let expected = RunConfig {
        preset: "gpt2".into(),
        steps: 4000,
        ..chosen.clone()
    };
    assert_eq!(
        repeated(chosen, "preset = 'gpt2'\nsteps = 4000"),
        expected.resolve().unwrap()
    );
}

#[test]
fn a_resumed_run_keeps_what_it_was_resolved_to() {
    let run = RunConfig::default().resolve().unwrap();
    let longer = run.overlay("steps = 4000".parse().unwrap()).unwrap().resolve().unwrap();
    assert_eq!(longer, RunConfig { steps: 4000, ..run });
}
