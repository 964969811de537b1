use super::*;

/// A run of a moment.
fn tiny(steps: u64) -> RunConfig {
    RunConfig {
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
        ..RunConfig::default()
    }
}

#[test]
fn a_log_that_cannot_be_read_is_no_missing_run() {
    let tmp = tempfile::tempdir().unwrap();
    let (pool, dir) = (Pool::new(1).unwrap(), tmp.path().join("run"));
    let run = Run::start(tiny(1), &dir, &tmp.path().join("cache"), &pool, &mut |_| {}).unwrap();
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
