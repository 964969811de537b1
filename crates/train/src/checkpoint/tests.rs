use super::*;
use crate::config::RunConfig;
use crate::run::Run;
use foretoken_kernels::Pool;
use std::sync::atomic::AtomicBool;

#[test]
fn what_is_there_stays_only_where_it_is_what_would_be_written() {
    let tmp = tempfile::tempdir().unwrap();
    let (pool, dir) = (Pool::new(1).unwrap(), tmp.path().join("run"));
    let mut run = Run::start(RunConfig::tiny(1), &dir, &tmp.path().join("cache"), &pool, &mut |_| {}).unwrap();
    run.train(&pool, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let Checkpoint { path, mut state, .. } = newest(&dir).unwrap();
    let mark = path.join("mark");
    let kept = |state: &TrainState, run: &Run| {
        std::fs::write(&mark, "").unwrap();
        assert_eq!(save(&dir, &run.trainer, &run.data, state, false).unwrap(), path);
        let found = newest(&dir).unwrap();
        assert_eq!((&found.state, found.damaged.len()), (state, 0));
        assert_eq!(
            std::fs::canonicalize(dir.join("latest")).unwrap(),
            path.canonicalize().unwrap()
        );
        mark.exists()
    };
    assert!(kept(&state, &run));
    // Whole, but of another run: its weights would pass for this one's.
    state.data = "other text".into();
    let weight = run.trainer.weights[0] + 1.0;
    run.trainer.weights[0] = weight;
    assert!(!kept(&state, &run));
    newest(&dir).unwrap().restore(&mut run.trainer, &pool).unwrap();
    assert_eq!(run.trainer.weights[0], weight);
    // The same, but damaged.
    std::fs::write(path.join("config.json"), "{}").unwrap();
    assert!(!kept(&state, &run));
    assert!(kept(&state, &run));
}

#[test]
fn numbers_that_are_not_finite_are_never_saved() {
    let tmp = tempfile::tempdir().unwrap();
    let (pool, dir) = (Pool::new(1).unwrap(), tmp.path().join("run"));
    let mut run = Run::start(RunConfig::tiny(1), &dir, &tmp.path().join("cache"), &pool, &mut |_| {}).unwrap();
    run.train(&pool, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let mut state = newest(&dir).unwrap().state;
    state.step = 2;
    let at = run.trainer.model.params().specs().last().unwrap().range.start;
    for poison in [f32::NAN, f32::INFINITY] {
        for (arena, says) in [(0, "ln_f"), (1, "AdamW's m of "), (2, "AdamW's v of ")] {
            let put = |run: &mut Run, x: f32| match arena {
                0 => std::mem::replace(&mut run.trainer.weights[at], x),
                1 => run.trainer.optimizer.m.replace(at, x),
                _ => run.trainer.optimizer.v.replace(at, x),
            };
            let before = put(&mut run, poison);
            let error = save(&dir, &run.trainer, &run.data, &state, false).unwrap_err();
            assert!(
                matches!(error, Error::Diverged { .. }) && error.to_string().starts_with(says),
                "{error}"
            );
            put(&mut run, before);
        }
    }
    assert_eq!(checkpoints(&dir).len(), 1);
    save(&dir, &run.trainer, &run.data, &state, false).unwrap();
}

/// Every optimizer, kept either way: what it saves has its names and types, and N + M steps are N steps, a stop, M steps.
#[test]
fn every_optimizer_goes_on_as_if_it_had_never_stopped() {
    let tmp = tempfile::tempdir().unwrap();
    let cache = tmp.path().join("cache");
    let mut seen = Vec::new();
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Muon] {
        for optimizer_state in [StateDtype::F32, StateDtype::Bf16] {
            let config = RunConfig {
                optimizer,
                optimizer_state,
                checkpoint_every: Some(0),
                ..RunConfig::tiny(7)
            };
            let train = |name: &str, threads: usize, until: u64, resume: bool| {
                let (dir, pool) = (tmp.path().join(name), Pool::new(threads).unwrap());
                let mut run = match resume {
                    false => Run::start(config.clone(), &dir, &cache, &pool, &mut |_| {}).unwrap(),
                    true => Run::resume(&dir, Run::config(&dir).unwrap(), &cache, &pool, &mut |_| {}).unwrap(),
                };
                let stop = AtomicBool::new(false);
                let listen = &mut |event: crate::Event<'_>| {
                    if let crate::Event::Step(metrics) = event {
                        stop.store(metrics.step == until, std::sync::atomic::Ordering::Relaxed);
                    }
                };
                run.train(&pool, &stop, listen).unwrap();
                let latest = newest(&dir).unwrap().path;
                ["model.safetensors", OPTIMIZER].map(|file| std::fs::read(latest.join(file)).unwrap())
            };
            let id = format!("{}-{}", optimizer.name(), optimizer_state.name());
            let whole = train(&format!("{id}-whole"), 1, 0, false);
            train(&id, 2, 3, false);
            let dir = tmp.path().join(&id);
            assert_eq!(newest(&dir).unwrap().state.step, 3);
            let other = RunConfig {
                optimizer_state: StateDtype::Bf16,
                optimizer: match optimizer {
                    OptimizerKind::AdamW => OptimizerKind::Muon,
                    OptimizerKind::Muon => OptimizerKind::AdamW,
                },
                ..Run::config(&dir).unwrap()
            };
            let error = Run::resume(&dir, other, &cache, &Pool::new(1).unwrap(), &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains("the optimizer changed"), "{error}");
            assert!(train(&id, 2, 0, true) == whole, "{id}");

            let file = Safetensors::open(newest(&dir).unwrap().path.join(OPTIMIZER)).unwrap();
            let dtype = match optimizer_state {
                StateDtype::F32 => safetensors::Dtype::F32,
                StateDtype::Bf16 => safetensors::Dtype::BF16,
            };
            assert!(file.tensors().all(|tensor| tensor.dtype == dtype), "{id}");
            let has = |name| file.tensor(name).is_some();
            assert!(has("m.h.0.mlp.c_fc.weight") && has("v.wte.weight") && has("v.ln_f.bias"));
            assert_eq!(has("v.h.0.mlp.c_fc.weight"), optimizer == OptimizerKind::AdamW);
            seen.push(whole);
        }
    }
    let distinct = (0..4).all(|i| (0..i).all(|j| seen[i] != seen[j]));
    assert!(distinct, "every one of them trains otherwise");
}
