//! The peak that the size report predicts, against what the system counts. Alone in its binary, so that no other test's
//! memory is counted.
#![cfg(target_os = "linux")]

use foretoken_kernels::{AdamW, Pool, adamw};
use foretoken_model::{Arena, Batch, Model, Pass, Recompute, init, registry, sizes};

/// A size of this process in bytes, from the system.
fn process(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says how large a process is");
    let line = status.lines().find(|line| line.starts_with(key)).expect("a line a key");
    let kib = line.split_whitespace().nth(1).expect("a number");
    1024 * kib.parse::<u64>().expect("a number")
}

fn close(what: &str, measured: u64, predicted: u64) {
    let ratio = measured as f64 / predicted as f64;
    eprintln!("{what}: predicted {predicted} bytes, measured {measured}, {ratio:.3} of it");
    assert!(
        (0.95..1.05).contains(&ratio),
        "{what}: predicted {predicted} bytes, measured {measured}"
    );
}

#[test]
fn predicted_peaks_are_the_measured_ones() {
    let (b, t, threads) = (2, 256, 2);
    let model = registry::from_config(&serde_json::json!({
        "model_type": "gpt2", "vocab_size": 8192, "n_positions": 256, "n_embd": 256, "n_layer": 4, "n_head": 4,
    }))
    .unwrap();
    let report = |recompute| {
        let options = sizes::Options {
            threads,
            recompute,
            ..sizes::Options::default()
        };
        sizes::report(&*model, b, t, &options).unwrap()
    };
    let pool = Pool::new(threads).unwrap();

    // The least first: the peak never goes down again.
    let before = process("VmRSS:");
    let weights = generate(&*model, &pool, t);
    close(
        "generation",
        process("VmHWM:") - before,
        report(Recompute::Block).generation.bytes,
    );
    drop(weights);
    drop(pool);

    for recompute in [Recompute::Block, Recompute::Selective, Recompute::None] {
        let pool = Pool::new(threads).unwrap();
        let before = process("VmRSS:");
        train(&*model, &pool, b, t, recompute);
        let predicted = report(recompute).training.bytes;
        close(
            &format!("training, {recompute:?}"),
            process("VmHWM:") - before,
            predicted,
        );
    }
}

fn generate(model: &dyn Model, pool: &Pool, t: usize) -> impl Sized + use<> {
    let weights = init(model.params(), 1).unwrap();
    let mut state = model.decode_state(t).unwrap();
    let mut logits = vec![0.0; model.dims().vocab_size];
    let prompt: Vec<u32> = (0..t as u32 - 1).collect();
    model.decode(pool, &weights, &mut state, &prompt, &mut logits);
    model.decode(pool, &weights, &mut state, &[7], &mut logits);
    assert!(logits.iter().all(|x| x.is_finite()));
    weights
}

fn train(model: &dyn Model, pool: &Pool, b: usize, t: usize, recompute: Recompute) {
    let table = model.params();
    let mut weights = init(table, 1).unwrap();
    let mut gradients = table.zeros("gradients").unwrap();
    let (mut m, mut v) = (table.zeros("m").unwrap(), table.zeros("v").unwrap());
    let mut arena = Arena::new(model.activations(b, t, Pass::Train(recompute))).unwrap();
    let ids: Vec<u32> = (0..(b * t) as u32).collect();
    let targets: Vec<i32> = ids.iter().map(|&id| id as i32 + 1).collect();
    let batch = Batch {
        b,
        t,
        ids: &ids,
        targets: &targets,
    };
    let mut losses = vec![0.0; b * t];
    model.losses_and_gradients(
        pool,
        &weights,
        &mut gradients,
        &mut arena,
        &batch,
        1e-3,
        None,
        &mut losses,
    );
    let options = AdamW {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 1,
        grad_scale: 1.0,
    };
    adamw(pool, &mut weights, &mut m, &mut v, &gradients, &options);
    assert!(weights.iter().all(|x| x.is_finite()));
}
