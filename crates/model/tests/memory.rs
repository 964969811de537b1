//! The peak that the size report predicts, against what the system counts. Alone in its binary, so that no other test's
//! memory is counted.
#![cfg(target_os = "linux")]

use foretoken_kernels::{
    AdamW, Bf16Buffer, Buffer, CacheType, Pool, Stream, adamw, adamw_bf16, muon, muon_momentum, muon_momentum_bf16,
};
use foretoken_model::{
    Arena, Batch, Model, OptimizerKind, OptimizerPlan, Pass, Recompute, StateDtype, decode, init, registry, sizes,
};

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
    let options = sizes::Options {
        threads,
        ..sizes::Options::default()
    };
    let report = |options| sizes::report(&*model, b, t, &options).unwrap();
    let peak = |what: &str, run: &dyn Fn(&Pool), predicted: u64| {
        let pool = Pool::new(threads).unwrap();
        // The peak so far is forgotten.
        std::fs::write("/proc/self/clear_refs", "5").expect("Linux forgets a peak when it is asked");
        let before = process("VmRSS:");
        run(&pool);
        close(what, process("VmHWM:") - before, predicted);
    };

    let predicted = report(options).generation.bytes;
    peak("generation", &|pool| generate(&*model, pool, t), predicted);
    let train = |options: sizes::Options| {
        let plan = OptimizerPlan::new(model.params(), options.optimizer, options.optimizer_state);
        peak(
            &format!("training with {options:?}"),
            &|pool| train(&*model, pool, (b, t), options.recompute, &plan),
            report(options).training.bytes,
        );
    };
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Muon] {
        for optimizer_state in [StateDtype::F32, StateDtype::Bf16] {
            train(sizes::Options {
                optimizer,
                optimizer_state,
                ..options
            });
        }
    }
    for recompute in [Recompute::None, Recompute::Block] {
        train(sizes::Options { recompute, ..options });
    }
}

fn generate(model: &dyn Model, pool: &Pool, t: usize) {
    let weights = init(model.params(), 1).unwrap();
    let mut state = model.decode_state(t, CacheType::F32).unwrap();
    let mut logits = vec![0.0; model.dims().vocab_size];
    let prompt: Vec<u32> = (0..t as u32 - 1).collect();
    decode(model, pool, &weights, &mut state, &prompt, &mut logits);
    decode(model, pool, &weights, &mut state, &[7], &mut logits);
    assert!(logits.iter().all(|x| x.is_finite()));
}

fn train(model: &dyn Model, pool: &Pool, (b, t): (usize, usize), recompute: Recompute, plan: &OptimizerPlan) {
    let table = model.params();
    let mut weights = init(table, 1).unwrap();
    let mut gradients = table.zeros("gradients").unwrap();
    let mut arena = Arena::new(model.activations(b, t, Pass::Train(recompute))).unwrap();
    let ids: Vec<u32> = (0..(b * t) as u32).collect();
    let targets: Vec<i32> = ids.iter().map(|&id| id as i32 + 1).collect();
    let batch = Batch {
        b,
        t,
        ids: &ids,
        targets: &targets,
        documents: &[],
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
    update(pool, model, plan, &mut weights, &mut gradients);
    assert!(weights.iter().all(|x| x.is_finite()));
}

/// A step as `train` makes it, on moments of the plan's sizes.
fn update(pool: &Pool, model: &dyn Model, plan: &OptimizerPlan, weights: &mut [f32], gradients: &mut [f32]) {
    let stream = Stream {
        seed: 1,
        step: 1,
        purpose: 0,
    };
    let options = AdamW {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 1,
        grad_scale: 1.0,
    };
    let hidden = plan.muon.clone();
    match plan.dtype {
        StateDtype::F32 => {
            let (mut m, mut v) = (Buffer::zeroed(plan.m.len()), Buffer::zeroed(plan.v.len()));
            muon_momentum(pool, &mut m[hidden.clone()], &mut gradients[hidden], 1.0);
            let rest = plan.v.clone();
            adamw(
                pool,
                &mut weights[rest.clone()],
                &mut m[rest.clone()],
                &mut v,
                &gradients[rest],
                &options,
            );
            orthogonalize(pool, model, plan, weights, gradients);
        }
        StateDtype::Bf16 => {
            let (mut m, mut v) = (Bf16Buffer::zeroed(plan.m.len()), Bf16Buffer::zeroed(plan.v.len()));
            muon_momentum_bf16(pool, &mut m[hidden.clone()], &mut gradients[hidden], 1.0, stream);
            let rest = plan.v.clone();
            let m = &mut m[rest.clone()];
            adamw_bf16(
                pool,
                &mut weights[rest.clone()],
                m,
                &mut v,
                &gradients[rest],
                &options,
                stream,
            );
            orthogonalize(pool, model, plan, weights, gradients);
        }
    }
}

fn orthogonalize(pool: &Pool, model: &dyn Model, plan: &OptimizerPlan, weights: &mut [f32], gradients: &[f32]) {
    let mut scratch = Buffer::zeroed(plan.scratch);
    let specs = model.params().specs().iter();
    for spec in specs.filter(|spec| plan.muon.contains(&spec.range.start)) {
        let (weight, update) = (&mut weights[spec.range.clone()], &gradients[spec.range.clone()]);
        let shape = spec.muon_shape().expect("a hidden matrix");
        muon(pool, weight, update, shape, (1e-3, 0.1), &mut scratch);
    }
}
