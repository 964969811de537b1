//! A damaged checkpoint: the one before it, and the same bits; and what a resumed run must not change.

use crate::common::{Place, copy_dir, success};
use std::fs;
use std::path::Path;

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// A way to damage a checkpoint.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 7] = [
    ("a flipped bit in the weights", |dir| {
        flip(&dir.join("model.safetensors"))
    }),
    ("a flipped bit in the moments", |dir| {
        flip(&dir.join("optimizer.safetensors"))
    }),
    ("a flipped bit in the manifest", |dir| flip(&dir.join("manifest.json"))),
    ("a file cut short", |dir| {
        let path = dir.join("optimizer.safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 3]).unwrap();
    }),
    ("a missing file", |dir| {
        fs::remove_file(dir.join("train_state.json")).unwrap()
    }),
    ("no manifest", |dir| fs::remove_file(dir.join("manifest.json")).unwrap()),
    ("an empty directory", |dir| {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
    }),
];

#[test]
fn the_one_before_is_used_and_the_bits_are_the_same() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 9 --out nine --keep 2 --quiet");
    assert_eq!(place.names("nine/checkpoints"), ["step-00000006", "step-00000009"]);
    copy_dir(&place.path("nine"), &place.path("whole"));
    place.ok("train --resume --out whole --steps 12 --quiet");
    for (what, damage) in DAMAGES {
        let _ = fs::remove_dir_all(place.path("run"));
        copy_dir(&place.path("nine"), &place.path("run"));
        damage(&place.path("run/checkpoints/step-00000009"));
        // Half-written, as a killed process leaves it.
        copy_dir(
            &place.path("nine/latest"),
            &place.path("run/checkpoints/step-00000010.tmp-77-0"),
        );
        let args = "train --resume --out run --steps 12 --quiet";
        let (_, err) = success(what, place.output(args));
        assert!(
            err.starts_with("warning: ") && err.contains("damaged") && err.contains("step-00000009"),
            "{what}: {err}"
        );
        assert_eq!(err.lines().count(), 1, "{what}: {err}");
        place.bits("whole").assert_same(&place.bits("run"), what);
        assert_eq!(
            place.names("run/checkpoints"),
            ["step-00000009", "step-00000012"],
            "{what}"
        );
        place.ok("generate --model run/checkpoints/step-00000009 --max-tokens 1 a");
    }
}

/// The last good one is not pruned in favour of a newer, damaged one, and is what `latest` leads to.
#[test]
fn a_damaged_one_does_not_count_among_those_that_are_kept() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 9 --eval-every 0 --val-fraction 0 --out run --keep 2 --quiet");
    flip(&place.path("run/checkpoints/step-00000009/model.safetensors"));
    let error = place.error("generate --model run a");
    assert!(
        error.contains("model.safetensors is damaged") && error.contains("another checkpoint"),
        "{error}"
    );
    // Nothing to train: the pointer comes back all the same.
    place.ok("train --resume --out run --steps 6 --quiet");
    place.ok("generate --model run --max-tokens 1 a");
    place.ok("train --resume --out run --steps 7 --keep 1 --quiet");
    assert_eq!(place.names("run/checkpoints"), ["step-00000007", "step-00000009"]);
    place.ok("train --resume --out run --steps 9 --quiet");
    assert_eq!(place.names("run/checkpoints"), ["step-00000009"]);
    place.ok("generate --model run --max-tokens 1 a");
}

#[test]
fn none_whole_is_one_clear_error() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 6 --out run --quiet");
    for step in ["step-00000003", "step-00000006"] {
        flip(&place.path("run/checkpoints").join(step).join("model.safetensors"));
    }
    let before = place.metrics("run");
    let error = place.error("train --resume --out run --steps 12 --quiet");
    assert!(error.contains("no checkpoint in run is whole"), "{error}");
    assert!(
        error.contains("step-00000003") && error.contains("step-00000006"),
        "{error}"
    );
    assert_eq!(place.metrics("run"), before);
}

#[test]
fn another_model_or_other_data_are_named() {
    let place = Place::new();
    place.ok("train --config tiny.toml --out run --quiet");
    let before = fs::read_to_string(place.path("run/run.toml")).unwrap();
    for (flags, says) in [
        ("--n-embd 32", "the model changed: now n_embd = 32, then n_embd = 16"),
        ("--n-head 4", "the model changed: now n_head = 4, then n_head = 2"),
        (
            "--n-layer 2 --n-positions 64",
            "now n_layer = 2, n_positions = 64, then n_layer = 1, n_positions = 32",
        ),
        ("--vocab-size 300", "now vocab_size = 300, then vocab_size = 257"),
        ("--preset nano", "the model changed"),
        ("--tokenizer char", "the tokenizer changed: now char ("),
        ("--data corpus:201", "the data changed: now corpus:201"),
        (
            "--val-fraction 0.2",
            "the data changed: now corpus:200, --val-fraction 0.2",
        ),
    ] {
        let error = place.error(&format!("train --resume --out run --steps 20 --quiet {flags}"));
        let found = error.replace(" since run/checkpoints/step-00000012 was saved", "");
        assert!(
            found.contains(says) && error.contains("start a new run"),
            "{flags}: {error}"
        );
        assert_eq!(
            fs::read_to_string(place.path("run/run.toml")).unwrap(),
            before,
            "{flags}"
        );
    }
    // What may change, may.
    place.ok("train --resume --out run --steps 13 --quiet --lr 1e-4 --batch-size 1 --seq-len 16 --dropout 0.1");
}
