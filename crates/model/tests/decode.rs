//! Decode against the full forward, of every variant: the same numbers, whatever pieces a text comes in.

use foretoken_kernels::{CacheType, PackedType, Pool};
use foretoken_model::{
    Arena, Batch, DecodeState, Model, PackedWeights, Pass, Source, decode, decode_each, decode_scored, decode_together,
    init, registry,
};

const V: usize = 61;

fn models() -> Vec<Box<dyn Model>> {
    let gpt2 = serde_json::json!({
        "model_type": "gpt2", "vocab_size": V, "n_positions": 320, "n_embd": 24, "n_layer": 2, "n_head": 4,
    });
    let llama = |tied: bool, kv: usize| {
        serde_json::json!({
            "model_type": "llama", "vocab_size": V, "max_position_embeddings": 320, "hidden_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": kv, "intermediate_size": 40, "tie_word_embeddings": tied,
        })
    };
    let configs = [gpt2, llama(true, 4), llama(false, 2), llama(true, 1)];
    configs
        .iter()
        .map(|config| registry::from_config(config).unwrap())
        .collect()
}

fn ids(t: usize) -> Vec<u32> {
    (0..t as u32).map(|i| i * i * 7 % V as u32).collect()
}

/// (T,V), by one forward.
fn logits(model: &dyn Model, pool: &Pool, weights: &[f32], ids: &[u32]) -> Vec<f32> {
    let (t, targets) = (ids.len(), vec![0; ids.len()]);
    let mut arena = Arena::new(model.activations(1, t, Pass::Score)).unwrap();
    let batch = Batch {
        b: 1,
        t,
        ids,
        targets: &targets,
        documents: &[],
    };
    let mut logits = vec![0.0; t * V];
    model.logits(pool, weights, &mut arena, &batch, &mut logits);
    logits
}

fn state(model: &dyn Model, capacity: usize) -> DecodeState {
    model.decode_state(capacity, CacheType::F32).unwrap()
}

fn close(got: &[f32], want: &[f32], what: &str) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() < 2e-5 * (1.0 + want.abs()),
            "{what}, {i}: {got}, want {want}"
        );
    }
}

#[test]
fn pieces_of_any_length_give_the_logits_of_the_whole() {
    let pool = Pool::new(2).unwrap();
    // Past a chunk of 256.
    let ids = ids(300);
    for model in models() {
        let weights: Vec<f32> = init(model.params(), 3).unwrap().iter().map(|w| 5.0 * w).collect();
        let want = logits(&*model, &pool, &weights, &ids);
        for pieces in [vec![300], vec![1, 2, 9, 60, 228], vec![260, 1, 1, 7, 31]] {
            let mut state = model.decode_state(300, CacheType::F32).unwrap();
            let (mut at, mut got) = (0, vec![0.0; V]);
            for piece in pieces {
                decode(&*model, &pool, &weights[..], &mut state, &ids[at..at + piece], &mut got);
                at += piece;
                close(&got, &want[(at - 1) * V..at * V], &format!("{model:?} after {at}"));
            }
        }
    }
}

#[test]
fn logits_of_each_token_are_those_of_single_steps_to_the_bit() {
    let pool = Pool::new(2).unwrap();
    let ids = ids(40);
    for model in models() {
        let weights = init(model.params(), 3).unwrap();
        let (mut one, mut many) = (state(&*model, 40), state(&*model, 40));
        let mut single = vec![0.0; 40 * V];
        for (id, logits) in ids.iter().zip(single.chunks_exact_mut(V)) {
            decode(&*model, &pool, &weights, &mut one, &[*id], logits);
        }
        let mut each = vec![0.0; 40 * V];
        decode_each(&*model, &pool, &weights, &mut many, &ids, &mut each);
        assert!(single == each, "{model:?}");
    }
}

fn packed(model: &dyn Model, pool: &Pool, weights: &[f32], kind: PackedType) -> PackedWeights {
    PackedWeights::new(model, pool, Source::Arena(weights), Some(kind)).unwrap()
}

/// Models whose rows are whole blocks of 32.
fn blocky() -> Vec<Box<dyn Model>> {
    let gpt2 = serde_json::json!({
        "model_type": "gpt2", "vocab_size": V, "n_positions": 320, "n_embd": 64, "n_layer": 2, "n_head": 4,
    });
    let llama = serde_json::json!({
        "model_type": "llama", "vocab_size": V, "max_position_embeddings": 320, "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96, "tie_word_embeddings": false,
    });
    [gpt2, llama]
        .iter()
        .map(|config| registry::from_config(config).unwrap())
        .collect()
}

#[test]
fn packed_weights_give_the_logits_of_the_arena_as_far_as_their_type_allows() {
    let pool = Pool::new(2).unwrap();
    let ids = ids(300);
    for model in models().into_iter().chain(blocky()) {
        let weights: Vec<f32> = init(model.params(), 3).unwrap().iter().map(|w| 3.0 * w).collect();
        let want = &logits(&*model, &pool, &weights, &ids)[299 * V..];
        let size = want.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (kind, bound) in [
            (PackedType::F32, 1e-5),
            (PackedType::F16, 3e-3),
            (PackedType::BF16, 2e-2),
            (PackedType::Q8_0, 3e-2),
            (PackedType::Q4_1, 0.8),
            (PackedType::Q4_0, 0.8),
        ] {
            let packed = packed(&*model, &pool, &weights, kind);
            let mut state = model
                .decode_state(300, foretoken_model::Weights::from(&packed).cache_type())
                .unwrap();
            let mut got = vec![0.0; V];
            decode(&*model, &pool, &packed, &mut state, &ids, &mut got);
            let error = got.iter().zip(want).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt() / size;
            assert!(error < bound, "{} {kind:?}: {error}", model.model_type());
            assert!(kind == PackedType::F32 || error > 1e-6, "{kind:?} rounds: {error}");
        }
    }
}

#[test]
fn a_sequence_gets_the_same_bits_alone_and_in_company() {
    let pool = Pool::new(2).unwrap();
    for model in blocky() {
        let weights = init(model.params(), 3).unwrap();
        for kind in PackedType::ALL {
            let packed = packed(&*model, &pool, &weights, kind);
            let cache = foretoken_model::Weights::from(&packed).cache_type();
            let mut alone = vec![0.0; V];
            let mut together = vec![0.0; 19 * V];
            let mut states: Vec<DecodeState> = (0..19).map(|_| model.decode_state(40, cache).unwrap()).collect();
            let text = ids(40);
            let prompt = |i: usize| &text[i..2 * i + 1];
            for (i, state) in states.iter_mut().enumerate() {
                decode(&*model, &pool, &packed, state, prompt(i), &mut alone);
            }
            let next: Vec<u32> = (0..19).collect();
            let mut all: Vec<&mut DecodeState> = states.iter_mut().collect();
            decode_together(&*model, &pool, &packed, &mut all, &next, &mut together);
            decode_together(&*model, &pool, &packed, &mut all, &next, &mut together);
            for (i, together) in together.chunks_exact(V).enumerate() {
                let mut state = model.decode_state(40, cache).unwrap();
                decode(&*model, &pool, &packed, &mut state, prompt(i), &mut alone);
                for _ in 0..2 {
                    decode(&*model, &pool, &packed, &mut state, &[i as u32], &mut alone);
                }
                assert!(alone == together, "{model:?} {kind:?}, sequence {i}");
            }
        }
    }
}

#[test]
fn scored_logits_are_those_that_follow_each_token() {
    let pool = Pool::new(2).unwrap();
    let ids = ids(150);
    for model in models() {
        let weights = init(model.params(), 3).unwrap();
        let want = logits(&*model, &pool, &weights, &ids);
        let mut state = state(&*model, 150);
        let mut got = Vec::new();
        decode_scored(&*model, &pool, &weights, &mut state, &ids, 21, |first, logits| {
            assert_eq!((first - 21) * V, got.len());
            got.extend_from_slice(logits);
        });
        close(&got, &want[21 * V..], &format!("{model:?}"));
    }
}
