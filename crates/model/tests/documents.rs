//! Documents packed into rows against the same documents alone, for every variant.

use foretoken_kernels::{IGNORE_INDEX, Pool};
use foretoken_model::{Arena, Batch, Lanes, Model, Pass, Recompute, init, registry};

const T: usize = 100;
const V: u32 = 53;
/// Two rows of T: around a tile of 64, single tokens, a whole row.
const DOCUMENTS: [usize; 8] = [1, 65, 2, 17, 15, 63, 30, 7];
const SCALE: f32 = 0.01;

fn models() -> [Box<dyn Model>; 2] {
    let gpt2 = serde_json::json!({
        "model_type": "gpt2", "vocab_size": V, "n_positions": T, "n_embd": 20, "n_layer": 3, "n_head": 2, "n_inner": 80,
    });
    let llama = serde_json::json!({
        "model_type": "llama", "vocab_size": V, "max_position_embeddings": T, "hidden_size": 24,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
        "tie_word_embeddings": true,
    });
    [gpt2, llama].map(|config| registry::from_config(&config).unwrap())
}

/// Every third token has no loss.
fn tokens() -> (Vec<u32>, Vec<i32>) {
    let ids: Vec<u32> = (0..2 * T as u32).map(|i| i * i * 7 % V).collect();
    let target = |(i, &id): (usize, &u32)| {
        if i % 3 == 0 {
            IGNORE_INDEX
        } else {
            (id as i32 * 3 + 1) % V as i32
        }
    };
    let targets = ids.iter().enumerate().map(target).collect();
    (ids, targets)
}

/// Losses and the gradients of all lanes added up.
fn run(model: &dyn Model, batch: &Batch<'_>, recompute: Recompute, threads: usize) -> (Vec<f32>, Vec<f32>) {
    let (pool, weights) = (Pool::new(threads).unwrap(), init(model.params(), 5).unwrap());
    let mut lanes = Lanes::new(model, batch.b, batch.t, Pass::Train(recompute)).unwrap();
    let mut gradients = vec![vec![0.0; model.params().floats()]; lanes.count()];
    let mut losses = vec![0.0; batch.ids.len()];
    let each = gradients.iter_mut().map(|lane| &mut lane[..]);
    lanes.losses_and_gradients(&pool, model, &weights, each, batch, SCALE, None, &mut losses);
    let mut scored = vec![0.0; batch.ids.len()];
    let mut arena = Arena::new(model.activations(batch.b, batch.t, Pass::Score)).unwrap();
    model.losses(&pool, &weights, &mut arena, batch, &mut scored);
    assert_eq!(losses, scored, "scoring gives the losses of training");
    let sum = |i: usize| gradients.iter().map(|lane| lane[i]).sum();
    (losses, (0..model.params().floats()).map(sum).collect())
}

#[test]
fn a_packed_batch_gives_the_losses_and_gradients_of_each_document_alone() {
    let (ids, targets) = tokens();
    for model in models() {
        let model = &*model;
        let packed = Batch {
            b: 2,
            t: T,
            ids: &ids,
            targets: &targets,
            documents: &DOCUMENTS,
        };
        let (losses, gradients) = run(model, &packed, Recompute::Selective, 2);
        let (mut first, mut sum) = (0, vec![0.0f64; gradients.len()]);
        for len in DOCUMENTS {
            let at = first..first + len;
            first += len;
            let alone = Batch {
                b: 1,
                t: len,
                ids: &ids[at.clone()],
                targets: &targets[at.clone()],
                documents: &[],
            };
            let (want, gradients) = run(model, &alone, Recompute::Selective, 1);
            for (i, (got, want)) in losses[at].iter().zip(&want).enumerate() {
                assert!(
                    (got - want).abs() < 1e-5,
                    "{} token {i} of {len}: {got}, want {want}",
                    model.model_type()
                );
            }
            sum.iter_mut().zip(gradients).for_each(|(sum, g)| *sum += f64::from(g));
        }
        let largest = sum.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        for (i, (got, want)) in gradients.iter().zip(&sum).enumerate() {
            let error = (f64::from(*got) - want).abs();
            assert!(
                error <= 1e-5 * largest,
                "{} gradient {i}: {got}, want {want}",
                model.model_type()
            );
        }
    }
}

#[test]
fn recomputation_and_threads_are_in_no_bit_and_documents_matter() {
    let (ids, targets) = tokens();
    for model in models() {
        let model = &*model;
        let of = |documents| Batch {
            b: 2,
            t: T,
            ids: &ids,
            targets: &targets,
            documents,
        };
        let packed = run(model, &of(&DOCUMENTS), Recompute::None, 1);
        for recompute in Recompute::ALL {
            for threads in [1, 2, 3] {
                assert!(
                    run(model, &of(&DOCUMENTS), recompute, threads) == packed,
                    "{recompute:?}, {threads} threads"
                );
            }
        }
        let whole = run(model, &of(&[]), Recompute::None, 2);
        assert!(whole == run(model, &of(&[T, T]), Recompute::None, 2));
        assert!(whole.0 != packed.0);
    }
}

#[test]
#[should_panic(expected = "a document of 101 tokens begins at 0 of a sequence of 100")]
fn no_document_crosses_a_row() {
    let (ids, targets) = tokens();
    let documents = &[101, 99];
    let batch = Batch {
        b: 2,
        t: T,
        ids: &ids,
        targets: &targets,
        documents,
    };
    run(&*models()[0], &batch, Recompute::Selective, 1);
}
