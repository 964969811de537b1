//! What is made again is what was there: every choice of recomputation gives the same bits.

use foretoken_kernels::Pool;
use foretoken_model::{Arena, Batch, DropoutSeed, Pass, Recompute, init, registry};

/// Losses and gradients of a model whose MLP is `f` wide.
fn run(model_type: &str, f: usize, dropout: f32, recompute: Recompute, threads: usize) -> (Vec<u32>, Vec<u32>, u64) {
    let gpt2 = serde_json::json!({
        "model_type": "gpt2", "vocab_size": 53, "n_positions": 40, "n_embd": 20, "n_layer": 3, "n_head": 2, "n_inner": f,
        "embd_pdrop": dropout, "attn_pdrop": dropout, "resid_pdrop": dropout,
    });
    let llama = serde_json::json!({
        "model_type": "llama", "vocab_size": 53, "max_position_embeddings": 40, "hidden_size": 24,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": f,
        "attention_dropout": dropout, "tie_word_embeddings": dropout == 0.0,
    });
    let config = if model_type == "llama" { llama } else { gpt2 };
    let model = registry::from_config(&config).unwrap();
    let (b, t) = (2, 37);
    let ids: Vec<u32> = (0..(b * t) as u32).map(|i| i * 7 % 53).collect();
    let targets: Vec<i32> = ids.iter().map(|&id| (id as i32 * 3 + 1) % 53).collect();
    let batch = Batch {
        b,
        t,
        ids: &ids,
        targets: &targets,
        documents: &[],
    };
    let (pool, weights) = (Pool::new(threads).unwrap(), init(model.params(), 5).unwrap());
    let mut arena = Arena::new(model.activations(b, t, Pass::Train(recompute))).unwrap();
    let mut gradients = model.params().zeros("gradients").unwrap();
    let mut losses = vec![0.0; b * t];
    let dropout = (dropout > 0.0).then_some(DropoutSeed {
        seed: 3,
        micro_batch: 9,
    });
    // Twice: what the first step left in the arena must not matter to the second.
    for _ in 0..2 {
        model.losses_and_gradients(
            &pool,
            &weights,
            &mut gradients,
            &mut arena,
            &batch,
            0.1,
            dropout,
            &mut losses,
        );
    }
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect();
    (bits(&losses), bits(&gradients), arena.plan().bytes())
}

#[test]
fn every_choice_gives_the_same_bits_in_less_and_less_memory() {
    // Narrow, so that the gradient of qkv needs memory of its own; and as these models have it.
    for (model_type, f) in [("gpt2", 24), ("gpt2", 80), ("llama", 24), ("llama", 64)] {
        for dropout in [0.0, 0.2] {
            let all = run(model_type, f, dropout, Recompute::None, 2);
            let mut bytes = all.2;
            assert!(all.1.iter().any(|&bits| bits != 0));
            for recompute in [Recompute::Selective, Recompute::Block] {
                let less = run(model_type, f, dropout, recompute, 1);
                assert!(
                    less.0 == all.0 && less.1 == all.1,
                    "{model_type}: {recompute:?}, f = {f}, dropout {dropout}"
                );
                assert!(less.2 < bytes, "{recompute:?}: {} bytes, {bytes} before", less.2);
                bytes = less.2;
            }
        }
    }
}
