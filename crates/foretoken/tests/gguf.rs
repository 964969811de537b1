//! GGUF files that are whole and make no model: each gives the typed error that names what is wrong.

mod hostile;
mod models;

use foretoken::formats::dtype::Dtype;
use foretoken::formats::gguf::{Gguf, Value};
use foretoken::model::registry::Arch;
use foretoken::text::Kind;
use models::{Change, changed, hf, texts, tokenizer};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A whole file, and what opening it gives after a change.
struct Whole {
    dir: TempDir,
    path: PathBuf,
}

impl Whole {
    fn new(arch: Arch, kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hf = hf(dir.path(), arch, &tokenizer(kind), 32);
        let path = dir.path().join("whole.gguf");
        foretoken::convert(&hf, &path, &Default::default(), &mut |_| true).unwrap();
        foretoken::open(&path).unwrap();
        Self { dir, path }
    }

    fn open(&self, change: &Change<'_>) -> Result<foretoken::Gpt, foretoken::Error> {
        let path = self.dir.path().join("changed.gguf");
        changed(&self.path, &path, change);
        foretoken::open(&path)
    }

    #[track_caller]
    fn refuses(&self, change: &Change<'_>, says: &[&str]) {
        let message = self.open(change).unwrap_err().to_string();
        for part in says {
            assert!(message.contains(part), "{message}: nothing of {part}");
        }
        assert!(message.len() < 600, "{message}");
    }

    #[track_caller]
    fn refuses_key(&self, key: &str, value: Option<Value<'_>>, says: &[&str]) {
        let keys = vec![(key, value)];
        self.refuses(
            &Change {
                keys,
                ..Default::default()
            },
            says,
        );
    }

    #[track_caller]
    fn refuses_tensor(&self, name: &str, new: Option<(Vec<usize>, Dtype)>, says: &[&str]) {
        let zeros = |shape: &[usize], dtype: Dtype| vec![0; dtype.bytes(shape.iter().product()).unwrap()];
        let new = new.map(|(shape, dtype)| (shape.clone(), dtype, zeros(&shape, dtype)));
        let tensors = vec![(name, new)];
        self.refuses(
            &Change {
                tensors,
                ..Default::default()
            },
            says,
        );
    }

    #[track_caller]
    fn refuses_texts(&self, key: &str, change: impl FnOnce(&mut Vec<String>), says: &[&str]) {
        let mut list = texts(&self.path, key);
        change(&mut list);
        let texts = vec![(key, list)];
        self.refuses(
            &Change {
                texts,
                ..Default::default()
            },
            says,
        );
    }
}

fn gpt2() -> Whole {
    Whole::new(Arch::Gpt2, Kind::Bpe)
}

fn llama() -> Whole {
    Whole::new(Arch::Llama, Kind::Bpe)
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";

#[test]
fn block_count_513() {
    gpt2().refuses_key("gpt2.block_count", Some(Value::U32(513)), &["blk.2.attn_norm.weight"]);
    llama().refuses_key(
        "llama.block_count",
        Some(Value::U32(0)),
        &["llama.block_count", "1 to 4096"],
    );
    let whole = llama();
    whole.refuses_key("llama.block_count", Some(Value::U64(u64::MAX)), &["llama.block_count"]);
    // One fewer than there are: its tensors belong to nothing.
    whole.refuses_key("llama.block_count", Some(Value::U32(1)), &["blk.1.", "llama"]);
}

#[test]
fn heads_of_no_number() {
    let whole = gpt2();
    for heads in [0, 5, u32::MAX] {
        whole.refuses_key(
            "gpt2.attention.head_count",
            Some(Value::U32(heads)),
            &["gpt2.attention.head_count"],
        );
    }
    let whole = llama();
    for heads in [0, 5, 32] {
        whole.refuses_key(
            "llama.attention.head_count",
            Some(Value::U32(heads)),
            &["llama.attention.head_count"],
        );
    }
    for heads in [0, 3] {
        let key = "llama.attention.head_count_kv";
        whole.refuses_key(key, Some(Value::U32(heads)), &[key, "a divisor of"]);
    }
}

#[test]
fn keys_missing_and_of_another_type() {
    for (whole, arch) in [(gpt2(), "gpt2"), (llama(), "llama")] {
        for name in [
            "block_count",
            "context_length",
            "embedding_length",
            "attention.head_count",
        ] {
            let key = format!("{arch}.{name}");
            whole.refuses_key(&key, None, &[&key, "a whole number"]);
            whole.refuses_key(&key, Some(Value::String("4")), &[&key, "a whole number"]);
            whole.refuses_key(&key, Some(Value::I32(-1)), &[&key, "a whole number"]);
            whole.refuses_key(&key, Some(Value::F32(4.0)), &[&key, "a whole number"]);
        }
        whole.refuses_key("general.architecture", None, &["general.architecture"]);
        whole.refuses_key("general.architecture", Some(Value::U32(1)), &["general.architecture"]);
        whole.refuses_key(
            "general.architecture",
            Some(Value::String("mamba")),
            &["mamba", "gpt2, llama"],
        );
        whole.refuses_key("split.count", Some(Value::U32(3)), &["split.count", "join"]);
    }
}

#[test]
fn eps_and_bases_no_model_has() {
    let key = "gpt2.attention.layer_norm_epsilon";
    for eps in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        gpt2().refuses_key(key, Some(Value::F32(eps)), &[key]);
    }
    let whole = llama();
    let key = "llama.attention.layer_norm_rms_epsilon";
    whole.refuses_key(key, Some(Value::F32(f32::NAN)), &[key]);
    whole.refuses_key("llama.rope.freq_base", Some(Value::F32(0.0)), &["llama.rope.freq_base"]);
}

#[test]
fn what_is_not_computed_here() {
    let whole = llama();
    for (key, value) in [
        ("llama.expert_count", Value::U32(8)),
        ("llama.attention.sliding_window", Value::U32(4096)),
        ("llama.rope.scaling.type", Value::String("yarn")),
        ("llama.rope.scaling.factor", Value::F32(8.0)),
        ("llama.logit_scale", Value::F32(0.5)),
        ("llama.attention.causal", Value::Bool(false)),
        ("llama.rope.dimension_count", Value::U32(4)),
        ("llama.attention.key_length", Value::U32(64)),
        ("llama.vocab_size", Value::U32(7)),
    ] {
        whole.refuses_key(key, Some(value), &[key]);
    }
    // What says nothing of the kind is no reason.
    let keys = vec![
        ("llama.expert_count", Some(Value::U32(0))),
        ("llama.rope.scaling.type", Some(Value::String("none"))),
        ("llama.attention.causal", Some(Value::Bool(true))),
        ("general.something", Some(Value::I32(-3))),
    ];
    whole
        .open(&Change {
            keys,
            ..Default::default()
        })
        .unwrap();
    gpt2().refuses_key("gpt2.attention.head_count_kv", Some(Value::U32(1)), &["head_count_kv"]);
}

#[test]
fn tensors_missing_of_another_shape_and_unknown() {
    let whole = gpt2();
    whole.refuses_tensor("blk.1.ffn_up.bias", None, &["blk.1.ffn_up.bias", "[128]"]);
    whole.refuses_tensor("token_embd.weight", None, &["token_embd.weight"]);
    let turned = Some((vec![32, 96], Dtype::F32));
    whole.refuses_tensor(
        "blk.0.attn_qkv.weight",
        turned,
        &["blk.0.attn_qkv.weight", "[32, 96]", "[96, 32]"],
    );
    whole.refuses_tensor(
        "position_embd.weight",
        Some((vec![31, 32], Dtype::F32)),
        &["position_embd.weight"],
    );
    whole.refuses_tensor(
        "output_norm.weight",
        Some((vec![], Dtype::F32)),
        &["output_norm.weight", "[]"],
    );
    whole.refuses_tensor("token_embd.weight", Some((vec![], Dtype::F32)), &["token_embd.weight"]);
    let whole = llama();
    whole.refuses_tensor(
        "blk.0.attn_q.bias",
        Some((vec![32], Dtype::F32)),
        &["blk.0.attn_q.bias", "biases"],
    );
    whole.refuses_tensor("rope_freqs.weight", Some((vec![4], Dtype::F32)), &["rope_freqs.weight"]);
    whole.refuses_tensor(
        "output_norm.weight",
        Some((vec![2, 16], Dtype::F32)),
        &["output_norm.weight"],
    );
}

/// A vector may be quantised: nothing forbids it, and it is read.
#[test]
fn a_quantised_vector() {
    let norm = (vec![32], Dtype::Q8_0, vec![0; 34]);
    let tensors = vec![("output_norm.weight", Some(norm))];
    let gpt = gpt2()
        .open(&Change {
            tensors,
            ..Default::default()
        })
        .unwrap();
    // The last norm's gain is zero, and so are its bias and every logit.
    let losses = gpt.score("ab").unwrap();
    let uniform = (gpt.model().dims().vocab_size as f32).ln();
    assert!(
        losses.tokens.iter().all(|token| (token.loss - uniform).abs() < 1e-5),
        "{losses:?}"
    );
}

/// Older readers of a GPT-2 ask for a head: a copy of the embedding, perhaps in another precision.
#[test]
fn a_head_beside_the_embedding() {
    let whole = gpt2();
    let file = Gguf::open(&whole.path).unwrap();
    let embedding = file.require_tensor("token_embd.weight").unwrap();
    let mut x = vec![0.0; embedding.elements()];
    embedding.read_f32(&mut x).unwrap();
    let copy = |dtype: Dtype, x: &[f32]| {
        let mut bytes = vec![0; dtype.bytes(x.len()).unwrap()];
        dtype.encode(x, &mut bytes);
        let head = (embedding.shape.to_vec(), dtype, bytes);
        whole.open(&Change {
            tensors: vec![("output.weight", Some(head))],
            ..Default::default()
        })
    };
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Q8_0, Dtype::Q4_0] {
        copy(dtype, &x).unwrap();
    }
    x[0] += 1.0;
    assert!(copy(Dtype::F32, &x).unwrap_err().to_string().contains("output.weight"));
    x.rotate_left(1);
    assert!(
        copy(Dtype::F16, &x)
            .unwrap_err()
            .to_string()
            .contains("a head of its own")
    );
}

#[test]
fn tokenizers_of_another_kind() {
    let whole = gpt2();
    let model = "tokenizer.ggml.model";
    whole.refuses_key(model, None, &[model]);
    whole.refuses_key(model, Some(Value::String("bert")), &[model, "bert", "gpt2"]);
    whole.refuses_key(model, Some(Value::String("llama")), &[model, "SentencePiece"]);
    whole.refuses_key(
        "tokenizer.ggml.pre",
        Some(Value::String("qwen2")),
        &["qwen2", "gpt-2, phi-2, smollm"],
    );
    whole.refuses_key(
        "tokenizer.ggml.add_bos_token",
        Some(Value::Bool(true)),
        &["add_bos_token"],
    );
    whole.refuses_key("tokenizer.ggml.add_bos_token", Some(Value::U32(0)), &["add_bos_token"]);
    // A GPT-2 needs not name its pattern, a llama does.
    let keys = || vec![("tokenizer.ggml.pre", None)];
    whole
        .open(&Change {
            keys: keys(),
            ..Default::default()
        })
        .unwrap();
    llama().refuses(
        &Change {
            keys: keys(),
            ..Default::default()
        },
        &["tokenizer.ggml.pre", "missing"],
    );
    let chars = Whole::new(Arch::Gpt2, Kind::Char);
    chars.refuses_key(
        "tokenizer.ggml.add_space_prefix",
        None,
        &["SentencePiece", "adds a space"],
    );
    chars.refuses_texts(TOKENS, |tokens| tokens[0] = "ab".into(), &["SentencePiece", "\"ab\""]);
    chars.refuses_texts(TOKENS, |tokens| tokens[3] = tokens[7].clone(), &["twice"]);
}

#[test]
fn tokens_that_contradict_the_rest() {
    let whole = gpt2();
    whole.refuses_texts(TOKENS, |tokens| tokens.truncate(7), &[TOKENS, "a list of 7", "320"]);
    whole.refuses_texts(TOKENS, |tokens| tokens.push("more".into()), &[TOKENS, "321"]);
    whole.refuses_texts(TOKENS, |tokens| tokens[260] = tokens[259].clone(), &["twice"]);
    whole.refuses_texts(TOKENS, |tokens| tokens[260] = String::new(), &["empty"]);
    whole.refuses_texts(TOKENS, |tokens| tokens[65] = "xyz".into(), &["no token for the byte"]);
    whole.refuses_key(TOKENS, None, &[TOKENS]);
    whole.refuses_key(TOKENS, Some(Value::U32(3)), &[TOKENS]);
    whole.refuses_key(
        "tokenizer.ggml.token_type",
        Some(Value::U32(1)),
        &["token_type", "a list of I32"],
    );
    whole.refuses_key("tokenizer.ggml.eos_token_id", None, &["eos_token_id"]);
    whole.refuses_key("tokenizer.ggml.eos_token_id", Some(Value::U32(320)), &["320"]);
    whole.refuses_key(
        "tokenizer.ggml.eos_token_id",
        Some(Value::U64(1 << 40)),
        &["eos_token_id"],
    );
}

#[test]
fn merges_of_no_tokens() {
    let whole = llama();
    whole.refuses_key(MERGES, None, &[MERGES]);
    whole.refuses_texts(MERGES, |merges| merges.push("zq xq".into()), &["not in the vocabulary"]);
    whole.refuses_texts(
        MERGES,
        |merges| merges.push("a".into()),
        &["two tokens with a space between"],
    );
    whole.refuses_texts(
        MERGES,
        |merges| merges.push("a b c".into()),
        &["two tokens with a space between"],
    );
    whole.refuses_texts(MERGES, |merges| merges.push(merges[0].clone()), &["twice"]);
    whole.refuses_texts(MERGES, |merges| merges.push("a <|endoftext|>".into()), &["special"]);
}

#[test]
fn files_that_are_no_gguf() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        foretoken::open(Path::new(&path)).unwrap_err().to_string()
    };
    assert!(open("a.gguf", b"").contains("GGUF"));
    assert!(open("a.gguf", b"PK\x03\x04").contains("starts with"));
    // Without the name, the bytes say what it is.
    assert!(open("a", b"GGUF").contains("version"));
    assert!(open("b", b"text").contains("holds no model"));
}

/// Whole models, damaged in thousands of ways: they open, or give an error.
#[test]
fn damaged_models() {
    for whole in [gpt2(), llama()] {
        let bytes = std::fs::read(&whole.path).unwrap();
        assert!(hostile::check(&bytes), "it is valid before");
        // Numbers and texts of the header; a small generator, the same in every run.
        let header = bytes.len()
            - Gguf::parse(&bytes)
                .unwrap()
                .tensors()
                .map(|t| t.bytes.len())
                .sum::<usize>();
        let (mut state, mut opened) = (1_u64, 0);
        let mut below = |limit: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % limit
        };
        for _ in 0..1500 {
            let mut damaged = bytes.clone();
            for _ in 0..=below(2) {
                let at = below(header);
                match below(4) {
                    0 => damaged[at] ^= 1 << below(8),
                    1 => damaged[at] = [0, 1, 255, b' ', b'a'][below(5)],
                    2 => damaged.swap(at, at + 1),
                    _ => damaged[at] = damaged[below(header)],
                }
            }
            opened += usize::from(hostile::check(&damaged));
        }
        assert!((20..1480).contains(&opened), "{opened} still open");
    }
}
