//! Decode against the full forward, of every variant: the same numbers, whatever pieces a text comes in.

use foretoken_kernels::Pool;
use foretoken_model::{Arena, Batch, Model, Pass, init, registry};

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
    };
    let mut logits = vec![0.0; t * V];
    model.logits(pool, weights, &mut arena, &batch, &mut logits);
    logits
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
            let mut state = model.decode_state(300).unwrap();
            let (mut at, mut got) = (0, vec![0.0; V]);
            for piece in pieces {
                model.decode(&pool, &weights, &mut state, &ids[at..at + piece], &mut got);
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
        let (mut one, mut many) = (model.decode_state(40).unwrap(), model.decode_state(40).unwrap());
        let mut single = vec![0.0; 40 * V];
        for (id, logits) in ids.iter().zip(single.chunks_exact_mut(V)) {
            model.decode(&pool, &weights, &mut one, &[*id], logits);
        }
        let mut each = vec![0.0; 40 * V];
        model.decode_each(&pool, &weights, &mut many, &ids, &mut each);
        assert!(single == each, "{model:?}");
    }
}
