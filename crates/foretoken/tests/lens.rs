//! The lens against hooks in `transformers`: attention, the stream at every step, attribution, ablation.

use foretoken::kernels::{CacheType, Pool};
use foretoken::lens::{Change, Keep, Subject, Trace, Weighing, With, attribute, head_sources, pattern};
use foretoken::model::{
    Arena, Batch, Model, PackedWeights, Pass, Probe, Site, Source, Weights, decode, decode_probed, init, load, registry,
};
use foretoken_formats::json;
use foretoken_formats::safetensors::{Safetensors, open_model_dir};
use std::path::{Path, PathBuf};

/// The tokens of the difference of logits that is explained.
const TOKENS: (u32, u32) = (3, 5);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

struct Expected(Safetensors);

impl Expected {
    fn floats(&self, name: &str) -> Vec<f32> {
        let tensor = self.0.tensor(name).unwrap();
        let mut out = vec![0.0; tensor.elements()];
        tensor.read_f32(&mut out).unwrap();
        out
    }
}

fn model_of(dir: &Path) -> (Box<dyn Model>, foretoken::kernels::Buffer) {
    let config: serde_json::Value = json::read_bounded(dir.join("config.json"), 1 << 20).unwrap();
    let model = registry::from_config(&config).unwrap();
    let weights = load(model.params(), &open_model_dir(dir).unwrap()).unwrap();
    (model, weights)
}

#[track_caller]
fn near(what: &str, got: &[f64], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - f64::from(*want)).abs() < 1e-4, "{what} {i}: {got} for {want}");
    }
}

fn wide(floats: &[f32]) -> Vec<f64> {
    floats.iter().map(|&x| x.into()).collect()
}

fn check(name: &str, packed: bool) {
    let dir = fixture(name);
    let (model, arena) = model_of(&dir);
    let pool = Pool::new(2).unwrap();
    let packed = packed.then(|| PackedWeights::new(&*model, &pool, Source::Arena(&arena), None).unwrap());
    let weights: Weights<'_> = packed.as_ref().map_or((&arena).into(), Into::into);
    let subject = Subject {
        model: &*model,
        pool: &pool,
        weights,
    };
    let want = Expected(Safetensors::open(dir.join("lens.safetensors")).unwrap());
    let ids: Vec<u32> = want.floats("ids").iter().map(|&id| id as u32).collect();
    let (l, h) = (model.dims().n_layer, model.dims().n_head);
    let heads = || (0..l).flat_map(|layer| (0..h).map(move |head| (layer, head)));

    let trace = Trace::record(subject, &ids, Keep::ALL, &[]).unwrap();
    near("stream", &wide(&trace.stream), &want.floats("stream"));
    let weights: Vec<f32> = heads()
        .flat_map(|(layer, head)| pattern(subject, &trace, layer, head, Weighing::Weight).weights)
        .collect();
    near("attention", &wide(&weights), &want.floats("attention"));

    let (last, (token, against)) = (ids.len() - 1, TOKENS);
    let why = attribute(subject, &trace, last, token, Some(against));
    near("logit", &[why.logit], &want.floats("logit"));
    assert!((why.sum() - why.logit).abs() < 1e-4, "{why:?}");
    let by_head: Vec<f64> = why.heads.iter().flatten().copied().collect();
    near("heads", &by_head, &want.floats("heads"));
    // Where positions are learnt, they and the token made the first part together.
    let mut parts: Vec<f64> = why.parts.iter().map(|(_, added)| *added).collect();
    let learnt = model.anatomy().positions.is_some();
    if learnt {
        let position = parts.remove(1);
        parts[0] += position;
        parts.pop();
    }
    near("parts", &parts, &want.floats("parts"));
    for (layer, head) in heads() {
        let sources = head_sources(subject, &trace, (layer, head), last, token, Some(against));
        let sum: f64 = sources.iter().map(|source| source.added).sum();
        assert!(
            (sum - why.heads[layer][head]).abs() < 1e-4,
            "{layer}.{head}: {sources:?}"
        );
    }

    let dh = model.dims().head_dim();
    let without = heads().map(|(layer, head)| {
        let columns = head * dh..(head + 1) * dh;
        let change = Change {
            layer,
            site: Site::Heads,
            columns,
            positions: 0..ids.len(),
            with: With::Zero,
        };
        let trace = Trace::record(subject, &ids, Keep::STREAM, &[change]).unwrap();
        let x = trace.at(2 * l, last);
        let mut logits = vec![0.0; model.dims().vocab_size];
        model.unembed(&pool, subject.weights, x, &mut logits);
        f64::from(logits[token as usize]) - f64::from(logits[against as usize])
    });
    near("ablated", &without.collect::<Vec<_>>(), &want.floats("ablated"));
}

#[test]
fn a_gpt2_is_seen_as_hooks_see_it() {
    check("gpt2", false);
    check("gpt2", true);
}

#[test]
fn llamas_are_seen_as_hooks_see_them() {
    for name in ["llama", "llama-untied"] {
        check(name, false);
        check(name, true);
    }
}

/// Who listens and changes nothing changes no bit.
#[test]
fn a_probe_changes_no_bit() {
    struct Counts(usize);
    impl Probe for Counts {
        fn visit(&mut self, _: foretoken::model::At, values: &mut [f32]) {
            self.0 += values.len();
        }
    }
    for name in ["gpt2", "llama"] {
        let (model, arena) = model_of(&fixture(name));
        let (pool, ids) = (Pool::new(2).unwrap(), [1, 4, 2, 8, 5, 7]);
        let mut bits = Vec::new();
        for listens in [false, true] {
            let mut state = model.decode_state(8, CacheType::F32).unwrap();
            let mut counts = Counts(0);
            match listens {
                true => decode_probed(&*model, &pool, &arena, &mut state, &ids, &mut counts),
                false => {
                    let mut logits = vec![0.0; model.dims().vocab_size];
                    decode(&*model, &pool, &arena, &mut state, &ids, &mut logits);
                }
            }
            assert_eq!(counts.0 > 0, listens);
            let mut logits = vec![0.0; model.dims().vocab_size];
            decode(&*model, &pool, &arena, &mut state, &[3], &mut logits);
            bits.push(logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
        assert_eq!(bits[0], bits[1], "{name}");
    }
}

/// A text longer than what goes through the layers together is written down where it belongs.
#[test]
fn a_long_text_is_one_trace() {
    let model = registry::from_config(&serde_json::json!({
        "model_type": "gpt2", "vocab_size": 31, "n_positions": 600, "n_embd": 24, "n_layer": 2, "n_head": 3,
    }))
    .unwrap();
    let (pool, weights) = (Pool::new(2).unwrap(), init(model.params(), 5).unwrap());
    let subject = Subject {
        model: &*model,
        pool: &pool,
        weights: (&weights).into(),
    };
    let ids: Vec<u32> = (0..600u32).map(|i| i * i % 31).collect();
    let trace = Trace::record(subject, &ids, Keep::ALL, &[]).unwrap();
    let mut seen = vec![0.0; ids.len() * 31];
    model.unembed(&pool, subject.weights, &trace.stream[4 * 600 * 24..], &mut seen);
    let batch = Batch {
        b: 1,
        t: 600,
        ids: &ids,
        targets: &vec![0; 600],
        documents: &[],
    };
    let mut arena = Arena::new(model.activations(1, 600, Pass::Score)).unwrap();
    let mut logits = vec![0.0; seen.len()];
    model.logits(&pool, &weights, &mut arena, &batch, &mut logits);
    near("logits", &wide(&seen), &logits);
    // What heads found is what their weights say of the values, far behind the first piece too.
    let (position, dh, row) = (599, 8, 3 * 24);
    let weights = pattern(subject, &trace, 1, 2, Weighing::Weight).weights;
    let found = (0..dh).map(|i| {
        let value = |j: usize| f64::from(trace.qkv(1)[j * row + 2 * 24 + 2 * dh + i]);
        (0..600)
            .map(|j| f64::from(weights[position * 600 + j]) * value(j))
            .sum()
    });
    near("heads", &found.collect::<Vec<_>>(), &trace.heads(1, position)[2 * dh..]);
}
