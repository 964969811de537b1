//! Memory is predicted before it is taken.
#![cfg(target_os = "linux")]

use crate::common::Place;
use std::io::Read;
use std::time::Duration;

/// Bytes that a process had at most, as far as it has come, without the pages of files: those of the program itself, 16 MB
/// in a build for tests, are no memory that training takes.
fn peak(id: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |name: &str| -> Option<f64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        Some(1024.0 * line.split_whitespace().nth(1)?.parse::<f64>().ok()?)
    };
    Some(field("VmHWM:")? - field("RssFile:")?)
}

/// A model of some 10M parameters, from the data to the last checkpoint.
#[test]
fn a_run_takes_what_was_predicted() {
    let place = Place::new();
    let sizes = "--n-layer 4 --n-head 4 --n-embd 256 --n-positions 128 --vocab-size 20000 --batch-size 4 --threads 2";
    let args =
        format!("train --data corpus:200 --tokenizer byte --steps 3 --eval-every 0 --eval-batches 2 --out run {sizes}");
    let mut child = place.spawn(&args);
    let mut measured: f64 = 0.0;
    while child.try_wait().expect("a state").is_none() {
        measured = measured.max(peak(child.id()).unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(3));
    }
    let mut text = String::new();
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut text)
        .expect("text");
    assert!(child.wait().expect("it ended").success(), "{text}");
    let said = text
        .lines()
        .find(|line| line.starts_with("memory"))
        .expect("the prediction");
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!((words[2], words[3]), ("MiB", "predicted:"), "{said}");
    let predicted = words[1].parse::<f64>().expect("a number") * f64::from(1 << 20);
    let off = measured / predicted - 1.0;
    eprintln!("predicted {predicted}, measured {measured}: {:+.1}%", 100.0 * off);
    assert!(off.abs() < 0.1, "{said}, measured {measured}: {:+.1}%", 100.0 * off);
}
