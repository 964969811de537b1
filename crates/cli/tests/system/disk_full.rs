//! A disk that takes no more: training goes on and says so, and what was good stays.
#![cfg(target_os = "linux")]

use crate::common::{Place, failure, object, success};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Command;

/// A small disk of its own, gone again at the end.
struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount: the test is then skipped, and says so.
    fn mount(path: PathBuf, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&path)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        eprintln!("skipped: this user may not mount a small disk");
        None
    }

    /// Leaves nothing.
    fn fill(&self) {
        let mut filler = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.0.join("filler"))
            .unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        while filler.write_all(&[1]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_at_a_checkpoint() {
    let place = Place::new();
    let Some(disk) = Disk::mount(place.path("disk"), 24) else {
        return;
    };
    let flags = "--config tiny.toml --steps 400 --eval-every 100";
    place.ok(&format!("train {flags} --checkpoint-every 100 --out whole --quiet"));
    let mut child = place.spawn(&format!("train {flags} --checkpoint-every 5 --out disk/run --json"));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The line of step 6 comes after the checkpoint of step 5. The pipe holds some 250 lines, so the run is not over.
    let sixth = lines.nth(5).unwrap().unwrap();
    assert_eq!(object(&sixth)["step"], 6);
    disk.fill();
    // A checkpoint that was being written gives its room back.
    lines.nth(10).unwrap().unwrap();
    disk.fill();
    let rest = lines.map(|line| object(&line.unwrap()));
    assert_eq!(rest.last().unwrap()["step"], 400, "training goes on to the end");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    let warnings = err
        .lines()
        .filter(|line| line.starts_with("warning: no checkpoint at step "))
        .count();
    assert!(warnings > 0 && err.contains("disk full"), "{err}");
    assert!(err.lines().last().unwrap().starts_with("error: disk full"), "{err}");
    // Said once, not at each of hundreds of steps.
    let missing = err.matches("are missing in metrics.jsonl").count();
    assert!((1..=3).contains(&missing), "{err}");

    place.ok("generate --model disk/run --max-tokens 1 x");
    let error = place.error("train --resume --out disk/run --quiet");
    assert!(error.contains("disk full"), "{error}");
    place.ok("generate --model disk/run --max-tokens 1 x");
    // Room again: the same run, the same bits.
    std::fs::remove_file(place.path("disk/filler")).unwrap();
    place.ok("train --resume --out disk/run --checkpoint-every 100 --quiet");
    place
        .bits("whole")
        .assert_same(&place.bits("disk/run"), "after the disk was full");
}

#[test]
fn a_full_disk_at_the_start() {
    let place = Place::new();
    let Some(disk) = Disk::mount(place.path("disk"), 2) else {
        return;
    };
    disk.fill();
    for args in [
        "train --config tiny.toml --out disk/run --quiet",
        "train --config tiny.toml --out run --quiet",
    ] {
        let mut command = place.command(args);
        if args.contains("--out run") {
            command.env("FORETOKEN_CACHE", place.path("disk/cache"));
        }
        let output = command.output().unwrap();
        let error = failure(args, output);
        assert!(
            error.contains("disk full") || error.contains("No space left"),
            "{error}"
        );
        assert!(!place.exists("disk/run") && !place.exists("run"), "{args}");
    }
}

/// The same where the system refuses large files: no mount is needed for that.
#[test]
fn a_disk_that_refuses_a_checkpoint() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 3 --out run --quiet");
    place.ok("train --config tiny.toml --steps 6 --out whole --quiet");
    let limited = |args: &str| {
        let mut command = Command::new("sh");
        // 16 KiB, with the signal that comes with it ignored: writes fail.
        let script = format!("ulimit -f 32; trap '' XFSZ; exec \"$0\" {args}");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_foretoken")]);
        command
            .current_dir(place.path("."))
            .env("FORETOKEN_CACHE", place.path("cache"));
        command.output().unwrap()
    };
    let args = "train --resume --out run --steps 6 --checkpoint-every 1 --quiet";
    let output = limited(args);
    let err = String::from_utf8(output.stderr.clone()).unwrap();
    for step in [4, 5] {
        assert!(
            err.contains(&format!("warning: no checkpoint at step {step}: ")),
            "{err}"
        );
    }
    let error = failure(args, output);
    assert!(error.contains("model.safetensors"), "{error}");
    assert_eq!(place.names("run/checkpoints"), ["step-00000003"]);
    place.ok("generate --model run --max-tokens 1 x");
    success("resume", place.output("train --resume --out run --quiet"));
    place
        .bits("whole")
        .assert_same(&place.bits("run"), "after the disk refused");
}
