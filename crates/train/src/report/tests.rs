//! Logs as they are found.

use super::*;

fn read(text: impl AsRef<[u8]>) -> Result<Log, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    std::fs::write(&path, text).unwrap();
    read_metrics(&path)
}

fn row(step: u64, train: f64, val: Option<f64>) -> Metrics {
    Metrics {
        step,
        tokens: 10 * step,
        time_s: step as f64,
        train_loss: Some(train),
        val_loss: val,
        tokens_per_s: 100.0,
        ..Metrics::default()
    }
}

fn run(metrics: Vec<Metrics>) -> RunReport {
    RunReport {
        name: "run".into(),
        path: "run".into(),
        config: RunConfig::default(),
        data: None,
        metrics,
        torn: false,
        samples: Vec::new(),
        parameters: None,
        vocab_size: None,
        running: false,
    }
}

#[test]
fn a_log_is_read_while_it_grows() {
    let (one, two) = (row(1, 3.0, None), row(2, 2.0, Some(2.5)));
    let whole = format!("{}\n{}\n", one.to_line(), two.to_line());
    let log = read(&whole).unwrap();
    assert_eq!((log.metrics, log.torn), (vec![one.clone(), two], false));
    let log = read(&whole[..whole.len() - 20]).unwrap();
    assert_eq!((log.metrics, log.torn), (vec![one], true));
    assert_eq!(read("").unwrap(), Log::default());
    let nothing = read_metrics(Path::new("there/is/none.jsonl")).unwrap();
    assert_eq!(nothing, Log::default());
}

#[test]
fn what_is_no_number_is_missing() {
    let log = read("{\"step\":1,\"train_loss\":NaN,\"lr\":null,\"grad_norm\":-Infinity}\n").unwrap();
    let row = &log.metrics[0];
    assert_eq!((row.step, row.train_loss, row.grad_norm), (1, None, None));
    assert!(row.lr.is_nan() && row.tokens_per_s.is_nan() && row.time_s.is_nan());
    let run = run(log.metrics);
    let summary = run.summary();
    assert_eq!((summary.time_s, summary.tokens_per_s, summary.best), (None, None, None));
    let json = serde_json::to_string(&(summary, run.curves())).unwrap();
    assert!(!json.contains("NaN"));
}

#[test]
fn damage_is_named_by_its_line() {
    let good = row(1, 3.0, None).to_line();
    for (second, says) in [
        ("{}".into(), "missing field `step`"),
        ("7".into(), "an object with the fields of a step"),
        ("[1]".into(), "an object with the fields of a step"),
        ("\u{1b}[2J".into(), "expected value"),
        (good.clone(), "step 1 after step 1"),
        (
            format!("{{\"step\":2,\"lr\":{}", "[".repeat(200_000)),
            "invalid type: sequence",
        ),
        ("x".repeat(2 << 20), "longer than 1048576 bytes"),
    ] {
        let error = read(format!("{good}\n{second}\n{good}\n")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("metrics.jsonl, line 2: "),
            "{}",
            &text[..200.min(text.len())]
        );
        assert!(text.contains(says), "{says}: {text}");
        assert!(!text.contains('\u{1b}'));
    }
    assert!(matches!(read(b"\xff\n"), Err(Error::LogLine { line: 1, .. })));
}

#[test]
fn buckets_hide_nothing() {
    let metrics: Vec<Metrics> = (1..=10_007)
        .map(|step| match step {
            5_000 => row(step, 99.0, None),
            7_000 => row(step, -99.0, None),
            8_000 => row(step, f64::NAN, None),
            _ => row(step, 1.0, None),
        })
        .collect();
    let buckets = bands(&metrics, 400, |row| row.train_loss);
    assert_eq!(buckets.len(), 400);
    assert_eq!(buckets.iter().map(|b| b.n).sum::<u64>(), 10_006);
    assert_eq!(buckets.last().unwrap().step, 10_007);
    let (low, high) = (
        buckets.iter().map(|b| b.min).fold(0.0, f64::min),
        buckets.iter().map(|b| b.max).fold(0.0, f64::max),
    );
    assert_eq!((low, high), (-99.0, 99.0));
    assert!(buckets.iter().all(|b| b.min <= b.mean && b.mean <= b.max));
    assert!(bands(&[], 400, |row| row.train_loss).is_empty());
}

/// A run whose validation loss goes through these values, its training loss falling or not.
fn trend(val: &[f64], falling: bool) -> Trend {
    let metrics = (0..val.len() * 20).map(|i| {
        let train = if falling { 4.0 - 0.01 * i as f64 } else { 3.0 };
        row(i as u64 + 1, train, (i % 20 == 19).then(|| val[i / 20]))
    });
    run(metrics.collect()).summary().trend
}

#[test]
fn trends_are_told_apart() {
    assert_eq!(trend(&[4.0, 3.0, 2.5, 2.2], true), Trend::Falling);
    assert_eq!(trend(&[4.0, 3.0, 2.5, 2.501, 2.499, 2.5], true), Trend::Flat);
    assert_eq!(trend(&[4.0, 3.0, 2.5, 2.7, 2.9], true), Trend::Overfitting);
    assert_eq!(trend(&[4.0, 3.0, 2.5, 2.7, 2.9], false), Trend::Rising);
    assert_eq!(trend(&[4.0, 3.0], true), Trend::Unknown);
}

#[test]
fn configs_are_compared_field_by_field() {
    let (mut one, mut two) = (run(Vec::new()), run(Vec::new()));
    one.config.lr = Some(1e-3);
    two.config.seed = 7;
    two.config.dropout = 0.2;
    let rows = differences(&[one, two]);
    let differing: Vec<_> = rows.iter().filter(|row| row.differs).collect();
    assert_eq!(differing.len(), 3, "{differing:?}");
    assert_eq!(
        (&*differing[0].field, &differing[0].values),
        ("dropout", &vec![Some("0.0".into()), Some("0.2".into())])
    );
    assert_eq!(
        (&*differing[1].field, &differing[1].values),
        ("lr", &vec![Some("0.001".into()), None])
    );
    assert_eq!(differing[2].field, "seed");
    assert_eq!(rows[0].field, "version");
}

#[test]
fn samples_of_a_future_that_did_not_happen_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let sample = |step| Sample {
        step,
        prompt: String::new(),
        text: format!("글 {step}\n"),
    };
    let mut log = SampleLog::open(dir.path(), 0).unwrap();
    for step in [10, 20, 30] {
        log.append(&sample(step)).unwrap();
    }
    drop(log);
    assert_eq!(
        samples::Kept::default().read(dir.path(), 20).unwrap(),
        [sample(10), sample(20)]
    );
    let mut log = SampleLog::open(dir.path(), 10).unwrap();
    log.append(&sample(20)).unwrap();
    assert_eq!(
        samples::Kept::default().read(dir.path(), 99).unwrap(),
        [sample(10), sample(20)]
    );
    std::fs::write(dir.path().join("samples.jsonl"), "{}\n").unwrap();
    assert!(
        samples::Kept::default()
            .read(dir.path(), 99)
            .unwrap_err()
            .to_string()
            .contains("samples.jsonl, line 1")
    );
}

#[test]
fn what_is_watched_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (run, log) = (dir.path(), dir.path().join("metrics.jsonl"));
    std::fs::write(run.join("run.toml"), RunConfig::default().to_toml()).unwrap();
    let line = |step: u64, loss: f64| row(step, loss, None).to_line() + "\n";
    let lines =
        |steps: std::ops::RangeInclusive<u64>, loss: f64| steps.map(|step| line(step, loss)).collect::<String>();
    let mut watched = Watched::open(run).unwrap();
    let mut holds = |text: &str| {
        std::fs::write(&log, text).unwrap();
        let seen = watched.refresh().unwrap();
        let read = RunReport::read(run).unwrap();
        assert_eq!((&seen.metrics, seen.torn), (&read.metrics, read.torn), "{text}");
        seen.metrics.len()
    };
    assert_eq!(holds(""), 0);
    // It begins within a line, grows, is cut back by a resumed run, and grows beyond where it was.
    assert_eq!(holds(&line(1, 3.0)[..20]), 0);
    assert_eq!(holds(&lines(1..=5, 3.0)), 5);
    assert_eq!(holds(&(lines(1..=5, 3.0) + &line(6, 2.0)[..9])), 5);
    assert_eq!(holds(&lines(1..=9, 3.0)), 9);
    assert_eq!(holds(&lines(1..=4, 3.0)), 4);
    assert_eq!(holds(&lines(1..=2, 3.0)), 2);
    assert_eq!(holds(&(lines(1..=2, 3.0) + &lines(3..=9, 2.0))), 9);
    assert_eq!(holds(&(lines(1..=2, 3.0) + &lines(3..=12, 1.0))), 12);
    // Damage is told each time, and forgotten when it is gone.
    std::fs::write(&log, lines(1..=3, 1.0) + "{}\n").unwrap();
    for _ in 0..2 {
        let error = watched.refresh().unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl, line 4"), "{error}");
    }
    std::fs::write(&log, lines(1..=4, 1.0)).unwrap();
    assert_eq!(watched.refresh().unwrap().metrics.len(), 4);
    std::fs::remove_file(&log).unwrap();
    assert_eq!(watched.refresh().unwrap().metrics.len(), 0);
}
