//! Training aborted just before every write, fsync, rename and removal in turn, and resumed to the same bits.

use crate::common::{Bits, Place, copy_dir};
use std::fs;

/// Aborts a command at its first step, then at its second, until it ends by itself. `prepare` makes the state before,
/// `check` looks at what an abort left. Gives the number of steps.
fn at_every_step(place: &Place, args: &str, prepare: impl Fn(), check: impl Fn(u32)) -> u32 {
    for n in 1.. {
        prepare();
        let output = place
            .command(args)
            .env("FORETOKEN_FAILPOINT", format!("any:{n}"))
            .output()
            .unwrap();
        if output.status.success() {
            eprintln!("`{args}` was aborted at each of its {} steps", n - 1);
            return n - 1;
        }
        assert_eq!(
            output.status.code(),
            None,
            "step {n} aborts: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        check(n);
    }
    unreachable!()
}

/// No temporary is left, and there is nothing but whole checkpoints.
fn assert_tidy(place: &Place, n: u32) {
    for dir in ["run", "run/checkpoints"] {
        let names = place.names(dir);
        assert!(names.iter().all(|name| !name.contains(".tmp-")), "step {n}: {names:?}");
    }
}

/// A checkpoint, the pointers to it, the removal of an older one: everything that a run does over and over.
#[test]
fn a_run_that_goes_on() {
    let place = Place::new();
    let flags = "--checkpoint-every 1 --eval-every 1 --keep 1 --dropout 0.1";
    place.ok(&format!("train --config tiny.toml {flags} --steps 2 --out two --quiet"));
    copy_dir(&place.path("two"), &place.path("whole"));
    let args = "train --resume --steps 3 --quiet --out";
    place.ok(&format!("{args} whole"));
    let whole: Bits = place.bits("whole");
    let steps = at_every_step(
        &place,
        &format!("{args} run"),
        || {
            let _ = fs::remove_dir_all(place.path("run"));
            copy_dir(&place.path("two"), &place.path("run"));
        },
        |n| {
            // Whenever it died there is a whole model to be found under the run's name.
            place.ok("generate --model run --max-tokens 1 x");
            place.ok(&format!("{args} run"));
            whole.assert_same(&place.bits("run"), &format!("step {n}"));
            assert_tidy(&place, n);
        },
    );
    assert!(steps > 40, "{steps} steps: not all went through failpoints");
}

/// From nothing: the token files, run.toml, the log, the first checkpoint.
#[test]
fn a_run_that_starts() {
    let place = Place::new();
    let args = "train --config tiny.toml --steps 1 --quiet --out";
    place.ok(&format!("{args} whole"));
    let whole = place.bits("whole");
    let steps = at_every_step(
        &place,
        &format!("{args} run"),
        || {
            for dir in ["run", "cache"] {
                let _ = fs::remove_dir_all(place.path(dir));
            }
        },
        |n| {
            // Without run.toml nothing has begun.
            match place.exists("run/run.toml") {
                true => place.ok("train --resume --quiet --out run"),
                false => place.ok(&format!("{args} run")),
            };
            whole.assert_same(&place.bits("run"), &format!("step {n}"));
            assert_tidy(&place, n);
            let cache = place.names("cache");
            assert_eq!(
                cache.len(),
                2,
                "step {n}: an entry and the lock, no leftovers: {cache:?}"
            );
        },
    );
    assert!(steps > 60, "{steps} steps: not all went through failpoints");
}
