//! The same run gives the same bits: on any number of threads, on any instruction set, and after any stop.

use crate::common::{Place, success};
use std::io::{BufRead, BufReader};
use std::time::Duration;

/// A run in which everything draws random numbers and folds gradients.
const HARD: &str = "--config tiny.toml --dropout 0.2 --grad-accum 3";

#[test]
fn any_number_of_threads() {
    let place = Place::new();
    for threads in [1, 2, 3] {
        place.ok(&format!("train {HARD} --threads {threads} --out t{threads} --quiet"));
    }
    for threads in [2, 3] {
        place
            .bits("t1")
            .assert_same(&place.bits(&format!("t{threads}")), &format!("{threads} threads"));
    }
    // The test can fail: another seed is another run.
    place.ok(&format!("train {HARD} --seed 7 --out other --quiet"));
    assert!(place.bits("other") != place.bits("t1"));
}

#[test]
fn avx2_and_avx512() {
    let place = Place::new();
    let mut runs = Vec::new();
    for isa in ["avx2", "avx512"] {
        let mut command = place.command(&format!("train {HARD} --out {isa} --quiet"));
        let output = command.env("FORETOKEN_ISA", isa).output().expect("the binary starts");
        if output.status.success() {
            runs.push(isa);
        } else {
            let error = crate::common::failure(isa, output);
            assert!(error.contains("FORETOKEN_ISA"), "{error}");
            eprintln!("skipped: {error}");
        }
    }
    if let [one, other] = runs[..] {
        place.bits(one).assert_same(&place.bits(other), "two instruction sets");
    }
}

#[test]
fn more_steps_after_the_end() {
    let place = Place::new();
    place.ok(&format!("train {HARD} --out whole --quiet"));
    place.ok(&format!("train {HARD} --out parts --steps 6 --quiet"));
    place.ok("train --resume --out parts --steps 12 --quiet --threads 1");
    place.bits("whole").assert_same(&place.bits("parts"), "6 + 6 steps");
    // Nothing left to do is no fault, and changes nothing.
    place.ok("train --resume --out parts --quiet");
    place
        .bits("whole")
        .assert_same(&place.bits("parts"), "resumed at the end");
}

/// Another kind of model: trained on any number of threads, stopped, gone on with, and made to write.
#[test]
fn a_llama() {
    let place = Place::new();
    let llama = format!("{HARD} --arch llama --n-kv-head 1");
    place.ok(&format!("train {llama} --out whole --quiet --threads 1"));
    place.ok(&format!("train {llama} --out parts --steps 6 --quiet --threads 2"));
    place.ok("train --resume --out parts --steps 12 --quiet --recompute block");
    place
        .bits("whole")
        .assert_same(&place.bits("parts"), "6 + 6 steps of a llama");
    place.ok(&format!("train {HARD} --out gpt2 --quiet"));
    assert!(place.bits("gpt2") != place.bits("whole"));
    for changed in ["--arch gpt2", "--n-kv-head 2"] {
        let error = place.error(&format!("train --resume --out parts --steps 20 --quiet {changed}"));
        assert!(
            error.contains("the model changed") || error.contains("only a llama's"),
            "{error}"
        );
    }
    let text = place.ok("generate --model whole --max-tokens 50 --seed 1 --temperature 0 --json abc");
    assert!(text.contains("\"text\""), "{text}");
    place.ok("size --model whole");
    let error = place.error(&format!("train {HARD} --n-kv-head 1 --out no"));
    assert!(error.contains("--arch llama"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_signal_in_the_middle() {
    let place = Place::new();
    let flags = format!("{HARD} --steps 400 --eval-every 100 --checkpoint-every 100");
    place.ok(&format!("train {flags} --out whole --quiet"));
    for (name, step) in [("TERM", 5), ("INT", 11)] {
        let mut child = place.spawn(&format!("train {flags} --out {name} --json"));
        // The pipe holds some 250 lines, so the run is not over before it is stopped.
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        lines.nth(step - 1).expect("a line").expect("text");
        crate::common::signal(&child, name);
        let rest = lines.count();
        let (_, err) = success(name, child.wait_with_output().expect("it ends"));
        assert!(err.contains("everything is saved"), "{err}");
        let stopped = place.metrics(name).len();
        assert_eq!(stopped, step + rest);
        assert!(stopped < 400, "{name} came too late to stop anything");
        place.ok(&format!("train --resume --out {name} --quiet"));
        place.bits("whole").assert_same(&place.bits(name), name);
    }
}

/// Killed over and over, in the start, in a step, in a checkpoint, in the start of a resume.
#[test]
fn kill_9_at_any_moment() {
    const KILLS: u64 = 12;
    let place = Place::new();
    place.ok(&format!("train {HARD} --steps 150 --out whole --quiet"));
    let seed = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .subsec_nanos()
        .into();
    let mut random = Random(seed);
    let mut killed = 0;
    for attempt in 0..KILLS {
        let args = match place.exists("parts/run.toml") {
            true => "train --resume --out parts --quiet".into(),
            false => format!("train {HARD} --steps 150 --out parts --quiet"),
        };
        let mut child = place.spawn(&args);
        // Longer and longer, so that it comes on even where the machine is slow.
        std::thread::sleep(Duration::from_millis(random.below(100 + 40 * attempt)));
        killed += u64::from(child.try_wait().expect("a state").is_none());
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }
    assert!(killed > 0, "every attempt ended before it was killed");
    match place.exists("parts/run.toml") {
        true => place.ok("train --resume --out parts --quiet"),
        false => place.ok(&format!("train {HARD} --steps 150 --out parts --quiet")),
    };
    place
        .bits("whole")
        .assert_same(&place.bits("parts"), &format!("{killed} kills, seed {seed}"));
    let left = place.names("parts").into_iter().chain(place.names("parts/checkpoints"));
    assert!(left.into_iter().all(|name| !name.contains(".tmp-")));
}

/// A splitmix64: moments to kill at.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}
