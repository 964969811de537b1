use super::*;

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
        ("portable", "portable", false),
    ] {
        state.isa = then.into();
        assert_eq!(other_bits(&state, now).is_some(), differ, "{then}, {now}");
    }
}
