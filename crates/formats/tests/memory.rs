//! Malformed files take no more memory than twice their size and 64 MiB.
#![cfg(target_os = "linux")]

use foretoken_formats::gguf::{Gguf, MAX_METADATA, MAX_TENSORS};
use foretoken_formats::safetensors::{INDEX, Safetensors, open_model_dir};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

/// Tells the child process what to open.
const CHILD: &str = "FORETOKEN_MEMORY_TEST";

/// Most resident memory of this process until now.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// A header of about 24 MiB: `head`, then `item` again and again (with `#` as a running number), then `tail`.
fn header(head: &str, item: &str, tail: &str) -> String {
    let size = 24 * MIB as usize;
    let mut text = String::from(head);
    let parts: Vec<&str> = item.split('#').collect();
    for i in 0.. {
        for (n, part) in parts.iter().enumerate() {
            if n > 0 {
                write!(text, "{i}").unwrap();
            }
            text.push_str(part);
        }
        if text.len() >= size {
            break;
        }
    }
    text + tail
}

#[test]
fn memory_of_malformed_files_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let tensor = |name: &str| format!(r#""{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},"#);
    if let Some(path) = std::env::var_os(CHILD) {
        return open_and_tell(path.as_ref());
    }
    for (what, text) in [
        ("tensors", header("{", &tensor("#"), "}")),
        ("tensors of one name", header("{", &tensor("a"), "}")),
        ("metadata", header(r#"{"__metadata__":{"#, r##""#":"","##, "}}")),
        ("shape", header(r#"{"a":{"shape":["#, "0,", "]}}")),
        ("offsets", header(r#"{"a":{"data_offsets":["#, "0,", "]}}")),
        ("unknown list", header(r#"{"a":{"x":["#, "0,", "]}}")),
        ("unknown keys", header(r#"{"a":{"#, r##""#":0,"##, "}}")),
        ("deep", header("{\"a\":", "[", "")),
        ("one string", header("{\"", "x", "\":1}")),
        ("escaped string", header("{\"a\":{\"dtype\":\"", "\\u0061", "\"}}")),
        ("wrong type", header("{\"a\":{\"shape\":\"", "xxxxxxxx", "\"}}")),
        ("number", header("{\"a\":{\"x\":", "9", "}}")),
    ] {
        let bytes = [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        std::fs::write(&path, &bytes).unwrap();
        assert_bounded(what, bytes.len() as u64, &path);
    }
    std::fs::remove_file(&path).unwrap();
    for (what, text) in [
        ("index", header(r#"{"weight_map":{"#, r##""#":"x","##, "}}")),
        ("shards", header(r#"{"weight_map":{"#, r##""#":"#","##, "}}")),
        ("other keys", header("{", r##""#":"#","##, "}")),
    ] {
        std::fs::write(dir.path().join(INDEX), &text).unwrap();
        assert_bounded(what, text.len() as u64, dir.path());
    }
    let path = dir.path().join("model.gguf");
    for (what, bytes) in malformed_gguf() {
        std::fs::write(&path, &bytes).unwrap();
        assert_bounded(what, bytes.len() as u64, &path);
        std::fs::remove_file(&path).unwrap();
    }
}

/// GGUF files of about 24 MiB whose mistake comes last.
fn malformed_gguf() -> Vec<(&'static str, Vec<u8>)> {
    let size = 24 * MIB as usize;
    let string = |text: &[u8]| [&(text.len() as u64).to_le_bytes(), text].concat();
    let head = |tensors: usize, keys: usize| {
        let counts = [tensors as u64, keys as u64].map(u64::to_le_bytes).concat();
        [b"GGUF\x03\0\0\0", &counts[..]].concat()
    };
    // One key whose value is an array of `element`: `item` again and again, then `last`.
    let array = |element: u32, item: &[u8], last: &[u8]| {
        let len = (size / item.len()) as u64 + 1;
        let begin = [9_u32.to_le_bytes(), element.to_le_bytes()].concat();
        [
            &head(0, 1),
            &string(b"k"),
            &begin,
            &len.to_le_bytes()[..],
            &item.repeat(len as usize - 1),
            last,
        ]
        .concat()
    };
    let mut tensors = head(MAX_TENSORS, 0);
    for i in 0..MAX_TENSORS {
        tensors.extend(string(format!("{i:0>64}").as_bytes()));
        tensors.extend([[1, 0, 0, 0], [1, 0, 0, 0], [0; 4], [0; 4], [1, 0, 0, 0], [0; 4]].concat()); // all at offset 0
    }
    let mut metadata = head(0, MAX_METADATA);
    for i in 0..MAX_METADATA - 1 {
        metadata.extend(string(format!("{i:0>300}").as_bytes()));
        metadata.extend([8, 0, 0, 0]);
        metadata.extend(string(&[b'x'; 64]));
    }
    metadata.extend([0xff; 8]);
    vec![
        ("gguf tensors", tensors),
        ("gguf metadata", metadata),
        ("gguf strings", array(8, &[0; 8], &[0xff; 8])),
        ("gguf arrays", array(9, &[0; 12], &[0xff; 12])),
        ("gguf truth values", array(7, &[1], &[2])),
        ("gguf text", array(8, &string(&vec![b'x'; size - 8]), &string(&[0xff]))),
    ]
}

/// Opens `path` in a process of its own, where nothing was allocated and freed before, and looks at its memory.
fn assert_bounded(what: &str, size: u64, path: &Path) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory_of_malformed_files_is_bounded", "--nocapture"])
        .env(CHILD, path)
        .output()
        .unwrap();
    let output = String::from_utf8(child.stdout).unwrap();
    let told = output
        .lines()
        .find_map(|line| line.split_once("taken "))
        .expect(&output)
        .1;
    let (taken, error) = told.split_once(' ').unwrap();
    let (taken, limit) = (taken.parse::<u64>().unwrap() / MIB, 2 * size / MIB + 64);
    println!("{what}: {taken} MiB of {limit} MiB, {error}");
    assert!(taken <= limit, "{what}: {taken} MiB of {limit} MiB");
    // It was read: the mapped pages, or the text of the index.
    assert!(taken >= 1, "{what}: {taken} MiB were measured");
}

fn open_and_tell(path: &Path) {
    let before = peak();
    let error = if path.is_dir() {
        open_model_dir(path).map(drop)
    } else if path.extension().is_some_and(|extension| extension == "gguf") {
        Gguf::open(path).map(drop)
    } else {
        Safetensors::open(path).map(drop)
    };
    println!("taken {} {}", peak() - before, error.expect_err("it is malformed"));
}
