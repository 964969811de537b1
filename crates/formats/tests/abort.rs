//! The process aborted at every step in turn: what is left on the disk is the old state or the new one.

use foretoken_formats::durable::{AppendLog, DurableDir, remove_leftovers, verify_dir, write_bytes};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// Tells the child process where to write.
const CHILD: &str = "FORETOKEN_ABORT_TEST";

/// What a training run writes: a line of metrics, a checkpoint, the pointer to it.
fn save(dir: &Path) {
    let mut log = AppendLog::open(dir.join("metrics.jsonl"), |line| line == "1").unwrap();
    log.append("2").unwrap();
    log.sync().unwrap();
    let mut checkpoint = DurableDir::create(dir.join("step-2")).unwrap();
    checkpoint.file("model", |w| w.write_all(&[2; 10_000])).unwrap();
    checkpoint.commit(serde_json::Map::new()).unwrap();
    write_bytes(dir.join("latest"), b"step-2").unwrap();
}

fn save_in_child(dir: &Path, failpoint: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_abort_at_any_step_leaves_a_loadable_state"])
        .env(CHILD, dir)
        .env("FORETOKEN_FAILPOINT", failpoint)
        .output()
        .unwrap()
        .status
}

fn state() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = DurableDir::create(dir.path().join("step-1")).unwrap();
    checkpoint.file("model", |w| w.write_all(&[1; 10_000])).unwrap();
    checkpoint.commit(serde_json::Map::new()).unwrap();
    write_bytes(dir.path().join("latest"), b"step-1").unwrap();
    fs::write(dir.path().join("metrics.jsonl"), "1\n2\n").unwrap();
    dir
}

#[test]
fn an_abort_at_any_step_leaves_a_loadable_state() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return save(dir.as_ref());
    }
    for n in 1.. {
        let dir = state();
        let status = save_in_child(dir.path(), &format!("any:{n}"));
        let latest = fs::read_to_string(dir.path().join("latest")).unwrap();
        verify_dir(dir.path().join(&latest)).unwrap();
        let metrics = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
        assert!(metrics.starts_with("1\n"), "step {n}: {metrics:?}");
        if status.success() {
            assert_eq!((n, latest.as_str(), metrics.as_str()), (22, "step-2", "1\n2\n"));
            break;
        }
        assert_eq!(latest, if n >= 21 { "step-2" } else { "step-1" }, "step {n}");
        // Restarted, as a trainer would: without leftovers and without the checkpoint that `latest` does not name.
        let leftovers = remove_leftovers(dir.path()).unwrap();
        assert!(leftovers.len() <= 1, "step {n}: {leftovers:?}");
        if latest == "step-1" && dir.path().join("step-2").exists() {
            verify_dir(dir.path().join("step-2")).unwrap();
            fs::remove_dir_all(dir.path().join("step-2")).unwrap();
        }
        if latest == "step-1" {
            save(dir.path());
            verify_dir(dir.path().join("step-2")).unwrap();
        }
    }
    // By name: the second rename is that of the pointer.
    let dir = state();
    assert!(!save_in_child(dir.path(), "rename:2").success());
    assert!(dir.path().join("step-2").exists());
    assert_eq!(fs::read_to_string(dir.path().join("latest")).unwrap(), "step-1");
}
