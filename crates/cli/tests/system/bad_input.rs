//! Whatever is wrong, one line says what was found, what was expected and what to do; nothing is left behind or lost.

use crate::common::{Place, TINY, copy_dir, failure};
use std::fs;

/// Fails with a line that holds all of `says`, and leaves no run.
#[track_caller]
fn refused(place: &Place, args: &str, code: i32, says: &[&str]) {
    let output = place.output(args);
    let found = output.status.code();
    let error = failure(args, output);
    for part in says {
        assert!(error.contains(part), "{args}: {error}");
    }
    assert_eq!(found, Some(code), "{args}: {error}");
    assert!(!place.exists("out"), "{args}: a directory is left");
}

#[test]
fn data() {
    let place = Place::new();
    place.write("empty.txt", "");
    place.write("blank.csv", "text\n\n");
    place.write("binary.txt", b"MZ\0\x01\x02");
    place.write("cp949.txt", b"\xbe\xc8\xb3\xe7\xc7\xcf\xbc\xbc\xbf\xe4");
    place.write("short.txt", "짧다");
    place.write("table.csv", "title,body\nwhy,because\n");
    place.write("broken.csv", "text\n\"never closed\n");
    place.write("ragged.csv", "text,more\na,b\nc\n");
    place.write("broken.jsonl", "{\"text\":\"a\"}\n{\"text\":\n");
    place.write("number.jsonl", "{\"text\":3}\n");
    place.write("word.docx", "x");
    fs::create_dir(place.path("folder")).unwrap();
    place.write("folder/LICENSE", "not text by its name");
    for (data, says) in [
        ("empty.txt", &["empty.txt: empty"][..]),
        ("blank.csv", &["blank.csv: empty"]),
        ("missing.txt", &["missing.txt: No such file"]),
        (
            "missing/*.txt",
            &["missing/*.txt: no text found", "give a file, a folder or a pattern"],
        ),
        ("folder", &["folder: no text found"]),
        ("binary.txt", &["binary.txt: NUL byte at byte 2"]),
        ("cp949.txt", &["cp949.txt: not UTF-8 at byte 0", "iconv"]),
        (
            "table.csv",
            &["table.csv:1: no field `text`", "`title`, `body`", "--text-field"],
        ),
        ("ragged.csv", &["ragged.csv:3: 1 columns, the first line has 2"]),
        ("broken.jsonl", &["broken.jsonl:2: expected a JSON object on one line"]),
        (
            "number.jsonl",
            &["number.jsonl:1: field `text` is a number, expected a string"],
        ),
        ("word.docx", &["word.docx: unknown kind of file", ".jsonl"]),
        (
            "short.txt --val-fraction 0",
            &["training data have 7 tokens", "--seq-len 32 needs 33", "give more text"],
        ),
        ("tiny.toml", &["unknown kind of file"]),
    ] {
        refused(
            &place,
            &format!("train --config tiny.toml --out out --data {data}"),
            1,
            says,
        );
    }
    // A split that leaves too little on one side.
    place.write("some.txt", "한 글자 더 쓴다. ".repeat(10));
    let args = "train --config tiny.toml --out out --data some.txt --val-fraction 0.01";
    refused(&place, args, 1, &["validation", "--val-fraction"]);
    for (data, says) in [
        ("corpus:0", "corpus:STORIES"),
        ("corpus:many", "corpus:STORIES"),
        ("strangers:0", "strangers:STORIES"),
        ("corpus some.txt", "`corpus` alone"),
    ] {
        refused(
            &place,
            &format!("train --config tiny.toml --out out --data {data}"),
            2,
            &[says],
        );
    }
    // Whatever failed left no half-made token file either.
    let cache = place.names("cache");
    assert!(cache.iter().all(|name| !name.contains(".tmp-")), "{cache:?}");
}

#[test]
fn standard_input() {
    let place = Place::new();
    for (input, says) in [(&b""[..], "empty"), (b"\xff\xfe\x00", "UTF-8"), (b"short", "tokens")] {
        let output = place.fed("train --config tiny.toml --out new/out --data -", input);
        let error = failure("train", output);
        assert!(error.contains(says), "{error}");
        assert!(!place.exists("new"));
    }
    let both = place.fed("train --config tiny.toml --out out --data - --val-data -", b"text");
    assert!(failure("both", both).contains("--val-data is -"));
    place.ok("train --config tiny.toml --steps 1 --out run --quiet");
    for args in [
        "generate --model run",
        "tokenizer encode --model run",
        "tokenizer decode --model run",
    ] {
        let output = place.fed(args, b"\xff\xfe");
        assert_eq!(output.status.code(), Some(2));
        let error = failure(args, output);
        assert!(error.contains("standard input is not UTF-8 text"), "{args}: {error}");
    }
    let words = failure("decode", place.fed("tokenizer decode --model run", b"1 two"));
    assert!(words.contains("`two` is not a token id"), "{words}");
}

#[test]
fn sizes_and_rates() {
    let place = Place::new();
    for (flags, says) in [
        (
            "--n-head 3",
            &["`n_head` is 3", "a divisor of n_embd = 16: 1, 2, 4, 8, 16"][..],
        ),
        ("--n-head 0", &["`n_head` is 0", "at least 1"]),
        ("--n-layer 0", &["`n_layer` is 0", "1 to 4096"]),
        ("--n-embd 0", &["`n_embd` is 0"]),
        ("--seq-len 33", &["--seq-len is 33", "1 to n_positions = 32"]),
        ("--seq-len 0", &["--seq-len is 0"]),
        ("--batch-size 0", &["--batch-size is 0"]),
        ("--batch-size 9999999", &["--batch-size is 9999999", "1 to 1048576"]),
        ("--grad-accum 0", &["--grad-accum is 0"]),
        ("--steps 0", &["--steps is 0", "at least 1"]),
        ("--lr 0", &["--lr is 0", "above 0"]),
        ("--lr -1", &["--lr is -1"]),
        ("--lr NaN", &["--lr is NaN"]),
        ("--lr 1e60", &["--lr is 1"]),
        ("--min-lr 1", &["--min-lr is 1", "0 to lr"]),
        ("--beta1 1", &["--beta1 is 1"]),
        ("--beta2 -0.5", &["--beta2 is -0.5"]),
        ("--dropout 1", &["--dropout is 1"]),
        ("--weight-decay inf", &["--weight-decay is inf"]),
        ("--grad-clip NaN", &["--grad-clip is NaN"]),
        ("--val-fraction 1", &["--val-fraction is 1"]),
        ("--eval-batches 0", &["--eval-batches is 0"]),
        (
            "--vocab-size 256",
            &["--vocab-size is 256", "at least the tokeniser's 257"],
        ),
        ("--preset gpt5", &["--preset is gpt5", "gpt2-xl"]),
        ("--threads 5000", &["--threads is 5000", "at most 1024"]),
    ] {
        refused(&place, &format!("train --config tiny.toml --out out {flags}"), 2, says);
    }
}

/// What the parser refuses: its own lines, with the usage.
#[test]
fn flags_that_are_no_numbers() {
    let place = Place::new();
    for args in [
        "train --steps many --out out",
        "train --n-layer -1 --out out",
        "train --seed 18446744073709551615 --out out",
        "train --resume --config tiny.toml",
        "train --nosuch",
        "generate --min-p x",
        "generate -n -1",
        "size --memory 8apples",
        "completions nosuch",
        "nosuch",
    ] {
        let output = place.output(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args}: {error}");
        assert!(
            error.starts_with("error: ") && output.stdout.is_empty(),
            "{args}: {error}"
        );
        assert!(!place.exists("out"));
    }
}

/// Refused before it is taken, and before any text is read.
#[test]
fn memory() {
    let place = Place::new();
    for flags in [
        "--preset gpt3-175b --tokenizer byte",
        "--preset gpt3-175b --data missing.txt",
        "--config tiny.toml --n-embd 768 --n-head 12 --n-layer 48 --n-positions 512 --batch-size 10000",
    ] {
        let says = [
            "this run needs about",
            "iB are free",
            "lower --batch-size",
            "foretoken size --memory",
        ];
        refused(&place, &format!("train --out out {flags}"), 1, &says);
    }
    let args = "train --config tiny.toml --out out --n-positions 1024 --batch-size 100000";
    refused(
        &place,
        args,
        2,
        &[
            "a batch of 100000 sequences of 1024 tokens",
            "at most 16777216 tokens in all",
        ],
    );
    assert!(!place.exists("cache"));
}

#[test]
fn tokenizers() {
    let place = Place::new();
    place.write("garbage.json", "garbage");
    place.write("other.json", r#"{"model":{"type":"Unigram","vocab":[]}}"#);
    for (tokenizer, code, says) in [
        (
            "nosuch",
            2,
            &[
                "--tokenizer is nosuch",
                "byte, char, bpe, bpe:SIZE, or a tokenizer.json",
            ][..],
        ),
        ("bpe:x", 2, &["--tokenizer is bpe:x", "bpe:4096"]),
        ("bpe:3", 2, &["vocabulary of 3 tokens", "257"]),
        ("garbage.json", 1, &["garbage.json is no tokenizer", "line 1 column 1"]),
        ("other.json", 1, &["other.json is no tokenizer"]),
        ("tiny.toml", 1, &["tiny.toml is no tokenizer"]),
    ] {
        refused(
            &place,
            &format!("train --config tiny.toml --out out --tokenizer {tokenizer}"),
            code,
            says,
        );
    }
    place.write("empty.txt", "");
    refused(
        &place,
        "tokenizer train --data empty.txt --out out",
        1,
        &["empty.txt: empty"],
    );
    place.write("text.txt", "text");
    refused(
        &place,
        "tokenizer train --data text.txt --tokenizer word --out out",
        2,
        &["--tokenizer is word"],
    );
    refused(
        &place,
        "tokenizer train --data text.txt --out out/tokenizer.json",
        1,
        &["cannot create out"],
    );
    refused(
        &place,
        "tokenizer encode --model garbage.json x",
        1,
        &["garbage.json is no tokenizer"],
    );
    refused(
        &place,
        "tokenizer encode --model nosuch x",
        1,
        &["nosuch is no path here", "foretoken pull nosuch"],
    );
    place.ok("tokenizer train --data text.txt --tokenizer byte --out byte.json");
    refused(
        &place,
        "tokenizer decode --model byte.json 300",
        1,
        &["token id 300", "0 to 256"],
    );
}

#[test]
fn run_files() {
    let place = Place::new();
    place.write("version.toml", "version = 9\nnew_key = 1\n");
    place.write("key.toml", "steps = 3\nbatchsize = 3\n");
    place.write("type.toml", "\nsteps = \"many\"\n");
    place.write("cut.toml", "steps = \n");
    place.write("latin.toml", b"# \xe9\n");
    for (file, code, says) in [
        (
            "version.toml",
            1,
            &["version.toml is of version 9", "reads version 1"][..],
        ),
        (
            "key.toml",
            2,
            &[
                "key.toml: line 2, column 1 (`batchsize = 3`): unknown field `batchsize`",
                "`batch_size`",
            ],
        ),
        (
            "type.toml",
            2,
            &["type.toml: line 2, column 9 (`steps = \"many\"`)", "\"many\""],
        ),
        ("cut.toml", 2, &["cut.toml: line 1"]),
        ("latin.toml", 1, &["latin.toml", "UTF-8"]),
        ("missing.toml", 1, &["--config missing.toml", "No such file"]),
        (".", 1, &["--config .", "directory"]),
    ] {
        refused(&place, &format!("train --config {file} --out out"), code, says);
    }
    fs::create_dir(place.path("run")).unwrap();
    for (file, says) in [
        ("version.toml", "of version 9"),
        ("key.toml", "batchsize"),
        ("latin.toml", "UTF-8"),
    ] {
        fs::copy(place.path(file), place.path("run/run.toml")).unwrap();
        let error = place.error("train --resume --out run");
        assert!(error.contains("run/run.toml") && error.contains(says), "{error}");
        assert_eq!(place.names("run"), ["run.toml"]);
    }
}

#[test]
fn places() {
    let place = Place::new();
    refused(
        &place,
        "train --resume --out out",
        1,
        &["out holds no run to resume", "run.toml"],
    );
    refused(&place, "train --resume", 1, &["no run in runs to resume", "--out"]);
    refused(&place, "generate", 1, &["no run in runs", "foretoken train"]);
    let holds_none = |path: &str| format!("{path} holds no model");
    for (path, says) in [
        (
            "nosuch",
            "nosuch is no path here, and no model of that name was pulled".to_owned(),
        ),
        ("runs/nosuch", "`foretoken pull runs/nosuch`".into()),
        ("./nosuch", holds_none("./nosuch")),
        ("tiny.toml", holds_none("tiny.toml")),
        (".", holds_none(".")),
    ] {
        let says = [&says[..], "a run, a checkpoint, a directory with config.json"];
        refused(&place, &format!("generate --model {path}"), 1, &says);
        refused(&place, &format!("size --model {path}"), 1, &says);
    }
    for path in ["tiny.toml", "tiny.toml/run"] {
        let args = format!("train --config tiny.toml --out {path}");
        refused(&place, &args, 1, &["tiny.toml is a file", "a directory for the run"]);
    }
    assert_eq!(fs::read_to_string(place.path("tiny.toml")).unwrap(), TINY);

    place.ok("train --config tiny.toml --out run --quiet");
    let before = place.bits("run");
    let args = "train --config tiny.toml --seed 3 --out run";
    refused(
        &place,
        args,
        2,
        &["run already holds a run", "--resume --out run", "another --out"],
    );
    before.assert_same(&place.bits("run"), "the run that was there");
}

#[test]
fn generate_flags() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 1 --out run --quiet");
    for (flags, says) in [
        (
            "--temperature NaN",
            &["`temperature` is NaN", "0 (greedy) or a positive number"][..],
        ),
        ("--temperature -1", &["`temperature` is -1"]),
        ("--temperature inf", &["`temperature` is inf"]),
        ("--top-p 1.5", &["`top_p` is 1.5", "from 0 to 1"]),
        ("--top-p -0.1", &["`top_p` is -0.1"]),
        ("--min-p NaN", &["`min_p` is NaN"]),
        ("--repetition-penalty 0", &["`repetition_penalty` is 0"]),
        ("-n 0", &["-n is 0", "at least 1"]),
        ("--threads 9999", &["--threads is 9999"]),
    ] {
        refused(&place, &format!("generate --model run {flags} hello"), 2, says);
        refused(&place, &format!("generate --model run --json {flags} hello"), 2, says);
    }
}

/// Directories that hold something else than a whole model.
#[test]
fn models() {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 1 --out run --quiet");
    let fresh = |manifest: bool| {
        let _ = fs::remove_dir_all(place.path("hf"));
        copy_dir(&place.path("run/latest"), &place.path("hf"));
        if !manifest {
            fs::remove_file(place.path("hf/manifest.json")).unwrap();
        }
    };
    let generate = |says: &[&str]| refused(&place, "generate --model hf x", 1, says);
    place.write(
        "hangul.txt",
        (0xAC00..0xB000).filter_map(char::from_u32).collect::<String>(),
    );
    place.ok("tokenizer train --data hangul.txt --tokenizer char --out char.json");
    let swap = || fs::copy(place.path("char.json"), place.path("hf/tokenizer.json")).unwrap();

    fresh(true);
    swap();
    generate(&["hf/tokenizer.json", "the manifest says"]);
    fresh(false);
    place.ok("generate --model hf --max-tokens 1 x");
    swap();
    generate(&["tokenizer in ", "vocab_size is 257", "do not belong together"]);
    place.write("hf/tokenizer.json", "{");
    generate(&["hf/tokenizer.json is no tokenizer"]);
    fs::remove_file(place.path("hf/tokenizer.json")).unwrap();
    generate(&["holds no tokenizer", "tokenizer.json, or vocab.json and merges.txt"]);

    let weights = fs::read(place.path("run/latest/model.safetensors")).unwrap();
    for manifest in [true, false] {
        for (len, says) in [(0, "0 bytes"), (7, "7 bytes"), (700, ""), (weights.len() - 1, "")] {
            fresh(manifest);
            place.write("hf/model.safetensors", &weights[..len]);
            generate(&["hf/model.safetensors", says]);
        }
        fresh(manifest);
        fs::remove_file(place.path("hf/model.safetensors")).unwrap();
        generate(&["hf", "model.safetensors"]);
    }
    fresh(true);
    let mut flipped = weights.clone();
    *flipped.last_mut().unwrap() ^= 1;
    place.write("hf/model.safetensors", flipped);
    generate(&["model.safetensors is damaged", "use another checkpoint"]);

    fresh(false);
    let config = fs::read_to_string(place.path("hf/config.json")).unwrap();
    for (from, to, says) in [
        (
            "\"n_embd\": 16",
            "\"n_embd\": 32",
            &["`wte.weight`", "[257, 16]", "[257, 32]"][..],
        ),
        ("\"n_layer\": 1", "\"n_layer\": 2", &["`h.1.", "not in"]),
        ("\"n_head\": 2", "\"n_head\": 5", &["`n_head` is 5", "a divisor"]),
        (
            "\"n_layer\": 1",
            "\"n_layer\": 1e999",
            &["hf/config.json:", "out of range"],
        ),
        ("\"gpt2\"", "\"mamba\"", &["`mamba`", "gpt2"]),
        ("{", "", &["hf/config.json:"]),
    ] {
        assert!(config.contains(from), "{config}");
        place.write("hf/config.json", config.replacen(from, to, 1));
        generate(says);
    }
    // Weights that are no numbers any more.
    fresh(false);
    let mut poisoned = weights;
    let end = poisoned.len();
    poisoned[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("hf/model.safetensors", poisoned);
    let output = place.output("generate --model hf --max-tokens 1 --json x");
    let error = failure("NaN", output);
    assert!(error.contains("logit") && error.contains("NaN"), "{error}");
}

#[test]
fn sizes() {
    let place = Place::new();
    for (flags, says) in [
        ("nosuch", &["no preset nosuch", "gpt2-xl"][..]),
        ("--batch-size 0", &["a batch of 0 sequences"]),
        ("--seq-len 0", &["of 0 tokens"]),
        ("--grad-accum 0", &["--grad-accum is 0"]),
        ("--n-head 7", &["`n_head` is 7", "a divisor of n_embd = 768"]),
        ("--n-layer 1000000000", &["`n_layer` is 1000000000"]),
        ("--batch-size 99999999999", &["at most 16777216 tokens in all"]),
        ("--n-positions 99999999999", &["`n_positions` is 99999999999"]),
    ] {
        refused(&place, &format!("size {flags}"), 2, says);
    }
}
