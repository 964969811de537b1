use super::*;
use foretoken_model::{OptimizerKind, StateDtype};

#[test]
fn a_log_that_cannot_be_read_is_no_missing_run() {
    let tmp = tempfile::tempdir().unwrap();
    let (pool, dir) = (Pool::new(1).unwrap(), tmp.path().join("run"));
    let run = Run::start(RunConfig::tiny(1), &dir, &tmp.path().join("cache"), &pool, &mut |_| {}).unwrap();
    assert_eq!(run.metrics().unwrap(), []);
    std::fs::write(dir.join(METRICS), b"\xff\n").unwrap();
    let error = run.metrics().unwrap_err();
    assert!(
        matches!(&error, Error::Read { path, .. } if path.ends_with(METRICS)),
        "{error}"
    );
    assert!(error.to_string().contains("UTF-8"), "{error}");
    std::fs::remove_file(dir.join(METRICS)).unwrap();
    assert!(matches!(run.metrics(), Err(Error::NoRun { .. })));
}

#[test]
fn going_on_with_other_instructions_is_told_where_the_bits_differ() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, cache) = (tmp.path().join("run"), tmp.path().join("cache"));
    let warnings = |run: &mut Run, pool: &Pool| {
        let mut told = Vec::new();
        run.train(pool, &AtomicBool::new(false), &mut |event| {
            if let Event::Warning(message) = event {
                told.push(message);
            }
        })
        .unwrap();
        told
    };
    let mut before = Isa::Portable;
    let pool = Pool::with_isa(1, before);
    let mut run = Run::start(RunConfig::tiny(1), &dir, &cache, &pool, &mut |_| {}).unwrap();
    assert_eq!(warnings(&mut run, &pool), [""; 0]);
    drop(run);
    // Portable, AVX2, AVX-512, as far as the machine has them, and back.
    let sets = Isa::available().into_iter().chain([Isa::Portable]);
    for (isa, steps) in sets.zip(2..) {
        let pool = Pool::with_isa(1, isa);
        let config = Run::config(&dir).unwrap();
        let mut run = Run::resume(&dir, RunConfig { steps, ..config }, &cache, &pool, &mut |_| {}).unwrap();
        let told = warnings(&mut run, &pool);
        if (isa == Isa::Portable) == (before == Isa::Portable) {
            assert_eq!(told, [""; 0], "{before:?}, {isa:?}");
        } else {
            assert_eq!(told.len(), 1, "{before:?}, {isa:?}");
            assert!(
                told[0].contains("not bit for bit") && told[0].contains(before.name()),
                "{}",
                told[0]
            );
        }
        before = isa;
    }

    let mut state = checkpoint::newest(&dir).unwrap().state;
    for (then, now, differ) in [
        ("portable", "avx2", true),
        ("avx512", "portable", true),
        ("avx2", "avx512", false),
        ("avx512vnni", "avx512", false),
        ("portable", "portable", false),
    ] {
        state.isa = then.into();
        assert_eq!(other_bits(&state, now).is_some(), differ, "{then}, {now}");
    }
}

/// Moments in bf16 cost little of the loss, with either optimizer, and every run learns.
#[test]
fn moments_in_bf16_train_about_as_well() {
    let tmp = tempfile::tempdir().unwrap();
    let (pool, cache) = (Pool::new(2).unwrap(), tmp.path().join("cache"));
    let loss = |optimizer: OptimizerKind, optimizer_state: StateDtype| {
        let config = RunConfig {
            optimizer,
            optimizer_state,
            n_embd: Some(24),
            batch_size: Some(8),
            lr: Some(4e-3),
            eval_batches: 20,
            eval_every: Some(0),
            checkpoint_every: Some(0),
            ..RunConfig::tiny(300)
        };
        let dir = tmp.path().join(format!("{optimizer:?}-{optimizer_state:?}"));
        let mut run = Run::start(config, &dir, &cache, &pool, &mut |_| {}).unwrap();
        run.train(&pool, &AtomicBool::new(false), &mut |_| {}).unwrap();
        run.best().unwrap().0
    };
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Muon] {
        let [f32, bf16] = [StateDtype::F32, StateDtype::Bf16].map(|state| loss(optimizer, state));
        eprintln!("{optimizer:?}: {f32:.4} in f32, {bf16:.4} in bf16");
        assert!(f32 < 2.8, "{optimizer:?} learns: {f32}");
        assert!(
            (bf16 / f32 - 1.0).abs() < 0.01,
            "{optimizer:?}: {f32} in f32, {bf16} in bf16"
        );
    }
}

/// A limit that was measured while the machine was busy: no step is said to be faster than the machine.
#[test]
fn a_limit_that_a_step_beats_is_measured_again() {
    let tmp = tempfile::tempdir().unwrap();
    let pool = Pool::new(1).unwrap();
    let (dir, cache) = (tmp.path().join("run"), tmp.path().join("cache"));
    let mut run = Run::start(RunConfig::tiny(2), &dir, &cache, &pool, &mut |_| {}).unwrap();
    run.set_limit(1.0);
    let mut shares = Vec::new();
    let mut listen = |event: Event<'_>| {
        if let Event::Step(metrics) = event {
            shares.push(metrics.share_of_limit.unwrap());
        }
    };
    run.train(&pool, &AtomicBool::new(false), &mut listen).unwrap();
    assert!(
        !shares.is_empty() && shares.iter().all(|&share| share > 0.0 && share <= 1.0),
        "{shares:?}"
    );
}
