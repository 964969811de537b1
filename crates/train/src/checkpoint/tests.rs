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
        assert_eq!(
            save(&dir, &run.trainer, &run.data.tokenizer, state, false).unwrap(),
            path
        );
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
    newest(&dir).unwrap().restore(&mut run.trainer).unwrap();
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
            let trainer = &mut run.trainer;
            let arenas = [&mut trainer.weights, &mut trainer.optimizer.m, &mut trainer.optimizer.v];
            let before = std::mem::replace(&mut arenas.into_iter().nth(arena).unwrap()[at], poison);
            let error = save(&dir, &run.trainer, &run.data.tokenizer, &state, false).unwrap_err();
            assert!(
                matches!(error, Error::Diverged { .. }) && error.to_string().starts_with(says),
                "{error}"
            );
            let trainer = &mut run.trainer;
            let arenas = [&mut trainer.weights, &mut trainer.optimizer.m, &mut trainer.optimizer.v];
            arenas.into_iter().nth(arena).unwrap()[at] = before;
        }
    }
    assert_eq!(list(&dir).len(), 1);
    save(&dir, &run.trainer, &run.data.tokenizer, &state, false).unwrap();
}
