//! Models through every form and back.

mod models;

use foretoken::formats::dtype::Dtype;
use foretoken::formats::gguf::{Gguf, Value, Writer};
use foretoken::formats::safetensors::open_model_dir;
use foretoken::model::registry::{self, Arch};
use foretoken::model::{gguf_rows, load, load_gguf};
use foretoken::text::Kind;
use foretoken::{ConvertOptions, GenerateOptions, Kept, convert};
use models::{Change, changed, hf, texts, tokenizer};
use std::path::{Path, PathBuf};

const FORCE: ConvertOptions = ConvertOptions {
    dtype: None,
    force: true,
    without_heads: Vec::new(),
};

fn to(dtype: Dtype) -> ConvertOptions {
    ConvertOptions {
        dtype: Some(dtype),
        ..Default::default()
    }
}

fn go(from: &Path, to: PathBuf, options: &ConvertOptions) -> PathBuf {
    convert(from, &to, options, &mut |_| true).unwrap();
    to
}

fn bytes(path: &Path, name: &str) -> Vec<u8> {
    std::fs::read(path.join(name)).unwrap()
}

#[test]
fn nothing_changes_on_the_way_there_and_back() {
    for (arch, kind) in [
        (Arch::Gpt2, Kind::Bpe),
        (Arch::Llama, Kind::Bpe),
        (Arch::Gpt2, Kind::Char),
        (Arch::Llama, Kind::Byte),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let tokenizer = tokenizer(kind);
        // 4 heads of 12: no multiple of a tile.
        let hf = hf(dir.path(), arch, &tokenizer, 48);
        let gguf = go(&hf, path("a.gguf"), &Default::default());
        let back = go(&gguf, path("back"), &Default::default());
        assert_eq!(
            bytes(&hf, "model.safetensors"),
            bytes(&back, "model.safetensors"),
            "{arch:?}"
        );
        assert_eq!(bytes(&hf, "tokenizer.json"), bytes(&back, "tokenizer.json"), "{kind}");
        assert_eq!(
            bytes(&hf, "tokenizer_config.json"),
            bytes(&back, "tokenizer_config.json"),
            "{kind}"
        );
        let again = go(&gguf, path("b.gguf"), &Default::default());
        assert_eq!(std::fs::read(&gguf).unwrap(), std::fs::read(again).unwrap(), "{arch:?}");

        let [a, b] = [&hf, &gguf].map(|path| foretoken::open(path).unwrap());
        assert_eq!(a.weights(), b.weights());
        assert_eq!(a.tokenizer().fingerprint(), b.tokenizer().fingerprint());
        assert_eq!(
            (a.tokenizer().eos_id(), a.model().dims()),
            (b.tokenizer().eos_id(), b.model().dims())
        );
        let options = GenerateOptions {
            max_tokens: 8,
            ..Default::default()
        };
        let prompt = "미나 went 12";
        assert_eq!(
            a.generate(prompt, &options).unwrap(),
            b.generate(prompt, &options).unwrap()
        );
    }
}

#[test]
fn halves_come_back_to_the_bit() {
    for dtype in [Dtype::F16, Dtype::BF16] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let hf = hf(dir.path(), Arch::Llama, &tokenizer(Kind::Byte), 32);
        let half = go(&hf, path("half"), &to(dtype));
        let gguf = go(&half, path("a.gguf"), &Default::default());
        let back = go(&gguf, path("back"), &to(dtype));
        assert_eq!(
            bytes(&half, "model.safetensors"),
            bytes(&back, "model.safetensors"),
            "{dtype}"
        );
        let name = if dtype == Dtype::F16 { "float16" } else { "bfloat16" };
        for dir in [&half, &back] {
            let config: serde_json::Value = serde_json::from_slice(&bytes(dir, "config.json")).unwrap();
            assert_eq!(config["torch_dtype"], name);
        }
        let [a, b] = [&half, &gguf].map(|path| foretoken::open(path).unwrap());
        assert_eq!(a.weights(), b.weights());
    }
}

#[test]
fn blocks_are_those_of_the_matrix_and_small_things_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let hf = hf(dir.path(), Arch::Gpt2, &tokenizer(Kind::Bpe), 64);
    for dtype in [Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4_1] {
        let out = dir.path().join(format!("{dtype}.gguf"));
        let mut told = Vec::new();
        let converted = convert(&hf, &out, &to(dtype), &mut |progress| {
            told.push(progress);
            true
        })
        .unwrap();
        assert_eq!(told.last().map(|told| told.done), Some(converted.bytes_out()));
        assert!(told.is_sorted_by_key(|told| told.done) && told.len() == converted.tensors.len());
        let bits = 8.0 * dtype.block_bytes() as f64 / dtype.block_len() as f64;
        assert!(converted.bits_a_weight() > bits && converted.bits_a_weight() < bits + 5.0);
        for tensor in &converted.tensors {
            let expected = match &*tensor.name {
                "position_embd.weight" => (Dtype::F32, Some(Kept::Small)),
                _ if tensor.shape.len() == 1 => (Dtype::F32, Some(Kept::Small)),
                "token_embd.weight" if dtype != Dtype::Q8_0 => (Dtype::Q8_0, Some(Kept::Head)),
                _ => (dtype, None),
            };
            assert_eq!((tensor.to, tensor.kept), expected, "{dtype} {}", tensor.name);
        }
        // Row 0 of ffn_up is column 0 of c_fc, rounded.
        let weights = open_model_dir(&hf).unwrap();
        let mut c_fc = vec![0.0; 64 * 256];
        weights
            .require("h.0.mlp.c_fc.weight")
            .unwrap()
            .read_f32(&mut c_fc)
            .unwrap();
        let column: Vec<f32> = c_fc.iter().step_by(256).copied().collect();
        let mut row = vec![0; dtype.bytes(64).unwrap()];
        dtype.encode(&column, &mut row);
        let file = Gguf::open(&out).unwrap();
        assert_eq!(
            file.require_tensor("blk.0.ffn_up.weight").unwrap().bytes[..row.len()],
            row
        );
        let kept = go(
            &out,
            dir.path().join(format!("{dtype}-again.gguf")),
            &Default::default(),
        );
        assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(kept).unwrap());
        // In a directory what is quantised becomes the floats it stands for.
        let back = go(&out, dir.path().join(format!("{dtype}-hf")), &Default::default());
        let model = foretoken::open_model(&out).unwrap();
        let a = load_gguf(&*model, &file).unwrap();
        let b = load(model.params(), &open_model_dir(&back).unwrap()).unwrap();
        assert!(a[..] == b[..], "{dtype}");
    }
}

#[test]
fn rows_that_are_no_whole_blocks_become_f16() {
    let dir = tempfile::tempdir().unwrap();
    let hf = hf(dir.path(), Arch::Gpt2, &tokenizer(Kind::Byte), 48);
    let converted = convert(&hf, &dir.path().join("a.gguf"), &to(Dtype::Q4_0), &mut |_| true).unwrap();
    let fate = |name: &str| {
        let tensor = converted.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        (tensor.to, tensor.kept)
    };
    assert_eq!(fate("blk.0.attn_qkv.weight"), (Dtype::F16, Some(Kept::Rows)));
    assert_eq!(fate("blk.0.ffn_down.weight"), (Dtype::Q4_0, None)); // rows of 192
    foretoken::open(dir.path().join("a.gguf")).unwrap();
}

/// The tensors of `transformers`' own files, with its prefixes: the arena is the same by way of GGUF.
#[test]
fn pytorch_models_are_the_same_in_gguf() {
    for name in ["gpt2", "llama", "llama-untied"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let config = serde_json::from_slice(&bytes(&dir, "config.json")).unwrap();
        let model = registry::from_config(&config).unwrap();
        let weights = load(model.params(), &open_model_dir(&dir).unwrap()).unwrap();
        let mut writer = Writer::new();
        model
            .gguf_metadata()
            .into_iter()
            .for_each(|(key, value)| writer.value(key, value));
        let (specs, names) = (model.params().specs(), model.gguf_tensors());
        for (spec, gguf) in specs.iter().zip(&names) {
            writer.tensor(&gguf.name, &gguf.layout.gguf_shape(&spec.shape), Dtype::F32);
        }
        let mut file = Vec::new();
        let mut parts = specs.iter().zip(&names);
        let written = writer.write(&mut file, |_, w| {
            let (spec, gguf) = parts.next().unwrap();
            gguf_rows(gguf.layout, &spec.shape, &weights[spec.range.clone()], |x| {
                Dtype::F32.write(x, w)
            })
        });
        written.unwrap();
        let file = Gguf::parse(&file).unwrap();
        let again = registry::from_gguf(&file).unwrap();
        assert_eq!(again.params(), model.params(), "{name}");
        assert_eq!(load_gguf(&*again, &file).unwrap()[..], weights[..], "{name}");
    }
}

#[test]
fn a_chat_template_and_another_end_go_along() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let hf = hf(dir.path(), Arch::Llama, &tokenizer(Kind::Bpe), 32);
    let plain = go(&hf, path("plain.gguf"), &Default::default());
    let mut tokens = texts(&plain, "tokenizer.ggml.tokens");
    let end = 299;
    tokens[end - 1] = "<|end|>".into();
    tokens[end] = "<|im_end|>".into();
    let mut merges = texts(&plain, "tokenizer.ggml.merges");
    let used = |token: &String, merges: &[String]| merges.iter().any(|line| line.replace(' ', "") == *token);
    merges.retain(|line| tokens.contains(&line.replace(' ', "")));
    assert!(!used(&tokens[end], &merges));
    // Special by its type, and by being the end.
    let template = "{{ messages }}\n'quoted' \"숲\"";
    let change = Change {
        keys: vec![
            ("tokenizer.ggml.eos_token_id", Some(Value::U32(end as u32))),
            ("tokenizer.ggml.token_type", None),
            ("tokenizer.chat_template", Some(Value::String(template))),
        ],
        texts: vec![("tokenizer.ggml.tokens", tokens), ("tokenizer.ggml.merges", merges)],
        ..Default::default()
    };
    let gguf = path("a.gguf");
    changed(&plain, &gguf, &change);
    let back = go(&gguf, path("back"), &Default::default());
    let config: serde_json::Value = serde_json::from_slice(&bytes(&back, "tokenizer_config.json")).unwrap();
    assert_eq!(
        (&config["chat_template"], &config["eos_token"]),
        (&template.into(), &"<|im_end|>".into())
    );
    let gpt = foretoken::open(&back).unwrap();
    assert_eq!(gpt.tokenizer().eos_id() as usize, end);
    let again = go(&back, path("b.gguf"), &Default::default());
    let file = Gguf::open(&again).unwrap();
    assert_eq!(file.get("tokenizer.chat_template").unwrap().as_str(), Some(template));
    assert_eq!(
        file.get("tokenizer.ggml.eos_token_id").unwrap().as_u64(),
        Some(end as u64)
    );
    assert_eq!(foretoken::open(&again).unwrap().weights(), gpt.weights());
}

#[test]
fn rows_without_a_token_are_padded_with_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer(Kind::Byte);
    let hf = hf(dir.path(), Arch::Gpt2, &tokenizer, 32);
    let gguf = go(&hf, dir.path().join("a.gguf"), &Default::default());
    let tokens = texts(&gguf, "tokenizer.ggml.tokens");
    assert_eq!(
        (tokens.len(), &*tokens[257], &*tokens[319]),
        (320, "[PAD257]", "[PAD319]")
    );
    let gpt = foretoken::open(&gguf).unwrap();
    assert_eq!(
        (gpt.tokenizer().vocab_size(), gpt.model().dims().vocab_size),
        (257, 320)
    );
}

#[test]
fn what_is_there_stays_unless_it_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let hf = hf(dir.path(), Arch::Gpt2, &tokenizer(Kind::Byte), 32);
    let error = |to: PathBuf, options: &ConvertOptions| {
        let error = convert(&hf, &to, options, &mut |_| true).unwrap_err().to_string();
        assert!(!error.is_empty());
        error
    };
    std::fs::write(path("a.gguf"), "mine").unwrap();
    assert!(error(path("a.gguf"), &Default::default()).contains("already exists"));
    assert_eq!(std::fs::read(path("a.gguf")).unwrap(), b"mine");
    go(&hf, path("a.gguf"), &FORCE);
    foretoken::open(path("a.gguf")).unwrap();

    std::fs::create_dir(path("pictures")).unwrap();
    assert!(error(path("pictures"), &Default::default()).contains("already exists"));
    assert!(error(path("pictures"), &FORCE).contains("did not make"));
    assert!(error(hf.clone(), &FORCE).contains("that is converted"));
    assert!(error(dir.path().to_owned(), &FORCE).contains("that is converted"));
    assert!(error(path("b"), &to(Dtype::Q8_0)).contains("Q8_0 is for a .gguf file"));
    assert!(error(path("b.gguf"), &to(Dtype::Q6_K)).contains("only read"));
    assert!(!path("b").exists() && !path("b.gguf").exists());

    let copy = go(&hf, path("copy"), &to(Dtype::F16));
    let half = bytes(&copy, "model.safetensors").len();
    go(&hf, copy.clone(), &FORCE);
    assert!(bytes(&copy, "model.safetensors").len() > half * 3 / 2);
    assert_eq!(
        foretoken::open(&copy).unwrap().weights(),
        foretoken::open(&hf).unwrap().weights()
    );
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|name| !name.to_string_lossy().contains(".tmp-")),
        "{left:?}"
    );
}

#[test]
fn whoever_stops_it_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let hf = hf(dir.path(), Arch::Gpt2, &tokenizer(Kind::Byte), 32);
    for out in ["a.gguf", "a"] {
        let mut calls = 0;
        let error = convert(&hf, &dir.path().join(out), &Default::default(), &mut |_| {
            calls += 1;
            calls < 3
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("stopped before it was whole") && calls == 3, "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_number_too_large_for_f16_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let plain = hf(dir.path(), Arch::Llama, &tokenizer(Kind::Byte), 32);
    let gguf = go(&plain, dir.path().join("a.gguf"), &Default::default());
    let mut up: Vec<u8> = vec![0; 96 * 32 * 4];
    up[8..12].copy_from_slice(&1e5_f32.to_le_bytes());
    let large = dir.path().join("large.gguf");
    let tensors = vec![("blk.1.ffn_up.weight", Some((vec![96, 32], Dtype::F32, up)))];
    changed(
        &gguf,
        &large,
        &Change {
            tensors,
            ..Default::default()
        },
    );
    for out in ["half.gguf", "half"] {
        let out = dir.path().join(out);
        let error = convert(&large, &out, &to(Dtype::F16), &mut |_| true)
            .unwrap_err()
            .to_string();
        assert!(error.contains("100000") && error.contains("bf16"), "{error}");
        assert!(!out.exists());
        go(&large, out, &to(Dtype::BF16));
    }
}

#[test]
fn a_model_without_a_tokenizer_is_only_for_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let hf = hf(dir.path(), Arch::Gpt2, &tokenizer(Kind::Byte), 32);
    std::fs::remove_file(hf.join("tokenizer.json")).unwrap();
    go(&hf, dir.path().join("copy"), &Default::default());
    let error = convert(&hf, &dir.path().join("a.gguf"), &Default::default(), &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("no tokenizer"), "{error}");
}

/// A model without a head is a forward in which that head found nothing.
#[test]
fn heads_are_taken_out() {
    use foretoken::lens::{self, Keep, With};
    for arch in [Arch::Gpt2, Arch::Llama] {
        let tmp = tempfile::tempdir().unwrap();
        let from = hf(tmp.path(), arch, &tokenizer(Kind::Bpe), 32);
        let options = ConvertOptions {
            without_heads: vec![(1, 0), (0, 1)],
            ..Default::default()
        };
        let whole = foretoken::open(&from).unwrap();
        let width = whole.model().anatomy().attention.dh;
        let text = "Mina";
        let look = whole.look(text).unwrap();
        let nothing = |(layer, head): (usize, usize)| lens::Change {
            layer,
            site: foretoken::model::Site::Heads,
            columns: head * width..(head + 1) * width,
            positions: 0..look.ids().len(),
            with: With::Zero,
        };
        let changes: Vec<lens::Change> = options.without_heads.iter().copied().map(nothing).collect();
        let expected = look.trace(Keep::STREAM, &changes).unwrap();
        let last = 2 * expected.layers;
        for name in ["without", "without.gguf"] {
            let gpt = foretoken::open(go(&from, tmp.path().join(name), &options)).unwrap();
            let found = gpt.look(text).unwrap().trace(Keep::STREAM, &[]).unwrap();
            for position in 0..look.ids().len() {
                let pairs = found.at(last, position).iter().zip(expected.at(last, position));
                let far = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(far < 1e-5, "{arch:?}: {far}");
            }
            assert_ne!(
                look.trace(Keep::STREAM, &[]).unwrap().at(last, 1),
                found.at(last, 1),
                "{arch:?}"
            );
        }
        let none = ConvertOptions {
            without_heads: vec![(9, 0)],
            ..Default::default()
        };
        let error = convert(&from, &tmp.path().join("none"), &none, &mut |_| true).unwrap_err();
        assert!(error.to_string().contains("no head 9.0"), "{error}");
    }
}
