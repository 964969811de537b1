//! A batch in lanes against the same batch whole.

use foretoken_kernels::Pool;
use foretoken_model::{Arena, Batch, DropoutSeed, Lanes, Model, Pass, Recompute, init, lanes_of, registry};

fn model(n_embd: usize, dropout: f32) -> Box<dyn Model> {
    registry::from_config(&serde_json::json!({
        "model_type": "gpt2", "vocab_size": 101, "n_positions": T, "n_embd": n_embd, "n_layer": 2, "n_head": 4,
        "embd_pdrop": dropout, "attn_pdrop": dropout, "resid_pdrop": dropout,
    }))
    .unwrap()
}

const T: usize = 37;

/// Ids and targets of a batch.
fn tokens(b: usize) -> (Vec<u32>, Vec<i32>) {
    let ids: Vec<u32> = (0..(b * T) as u32).map(|i| i * 7 % 101).collect();
    let targets = ids.iter().map(|&id| (id as i32 * 3 + 1) % 101).collect();
    (ids, targets)
}

fn batch<'a>((ids, targets): &'a (Vec<u32>, Vec<i32>)) -> Batch<'a> {
    Batch {
        b: ids.len() / T,
        t: T,
        ids,
        targets,
        documents: &[],
    }
}

/// Losses, and the gradients of the lanes added up, on so many threads.
fn run(model: &dyn Model, b: usize, dropout: Option<DropoutSeed>, threads: usize) -> (Vec<f32>, Vec<f32>) {
    let (t, pool, tokens) = (T, Pool::new(threads).unwrap(), tokens(b));
    let batch = batch(&tokens);
    let weights = init(model.params(), 5).unwrap();
    let mut lanes = Lanes::new(model, b, t, Pass::Train(Recompute::Selective)).unwrap();
    let floats = model.params().floats();
    let mut gradients = vec![vec![0.0; floats]; lanes.count()];
    // What lay there before must not matter, padding aside.
    for lane in &mut gradients {
        let specs = model.params().specs();
        specs.iter().for_each(|spec| lane[spec.range.clone()].fill(9.0));
    }
    let mut losses = vec![0.0; b * t];
    let each = gradients.iter_mut().map(|lane| &mut lane[..]);
    lanes.losses_and_gradients(&pool, model, &weights, each, &batch, 1e-2, dropout, &mut losses);
    let mut again = vec![0.0; b * t];
    lanes.losses(&pool, model, &weights, &batch, &mut again);
    if dropout.is_none() {
        assert_eq!(losses, again, "scoring gives the losses of training");
    }
    let sum = (0..floats)
        .map(|i| gradients.iter().map(|lane| lane[i]).sum())
        .collect();
    (losses, sum)
}

#[test]
fn lanes_give_the_losses_and_gradients_of_the_whole_batch() {
    let model = model(48, 0.0);
    for b in [1, 2, 5] {
        let (losses, gradients) = run(&*model, b, None, 2);
        let (t, tokens) = (T, tokens(b));
        let batch = batch(&tokens);
        let weights = init(model.params(), 5).unwrap();
        let mut arena = Arena::new(model.activations(b, t, Pass::Train(Recompute::Selective))).unwrap();
        let (mut want, mut whole) = (vec![0.0; b * t], vec![0.0; model.params().floats()]);
        let pool = Pool::new(1).unwrap();
        model.losses_and_gradients(&pool, &weights, &mut whole, &mut arena, &batch, 1e-2, None, &mut want);
        assert_eq!(
            losses, want,
            "a token's loss does not depend on its neighbours in the batch"
        );
        let largest = whole.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        for (i, (got, want)) in gradients.iter().zip(&whole).enumerate() {
            assert!((got - want).abs() <= 1e-5 * largest, "B = {b}, {i}: {got}, want {want}");
        }
    }
}

#[test]
fn the_number_of_threads_is_in_no_bit() {
    let dropout = Some(DropoutSeed {
        seed: 3,
        micro_batch: 11,
    });
    for (dropout, p) in [(None, 0.0), (dropout, 0.2)] {
        let model = model(48, p);
        assert_eq!(lanes_of(model.params(), 5), [0..3, 3..5]);
        let one = run(&*model, 5, dropout, 1);
        for threads in 2..=6 {
            assert!(run(&*model, 5, dropout, threads) == one, "{threads} threads");
        }
    }
}

#[test]
fn a_large_model_or_a_single_sequence_has_one_lane() {
    let large = model(448, 0.0);
    assert!(large.params().floats() > 4 << 20);
    assert_eq!(lanes_of(large.params(), 8).len(), 1);
    assert_eq!(lanes_of(model(48, 0.0).params(), 1).len(), 1);
}
