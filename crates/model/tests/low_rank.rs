//! What does not learn costs no gradient, and a pair of low rank gets the projections of the full one.

use foretoken_kernels::{Buffer, Pool};
use foretoken_model::{
    Arena, Batch, Gradient, Lanes, LowRank, Model, Pass, Rank, Recompute, Trainable, init, registry,
};
use std::cell::RefCell;

const RANK: usize = 3;
const SCALE: f32 = 2.0;

fn models() -> [Box<dyn Model>; 2] {
    let gpt2 = serde_json::json!({
        "model_type": "gpt2", "vocab_size": 53, "n_positions": 40, "n_embd": 20, "n_layer": 2, "n_head": 2,
    });
    let llama = serde_json::json!({
        "model_type": "llama", "vocab_size": 53, "max_position_embeddings": 40, "hidden_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 40,
        "tie_word_embeddings": false,
    });
    [gpt2, llama].map(|config| registry::from_config(&config).unwrap())
}

/// Losses of a fixed batch, with gradients wherever the caller wants them.
fn run(model: &dyn Model, threads: usize, gradients: Vec<Gradient<'_>>) -> Vec<f32> {
    let (b, t) = (2, 37);
    let ids: Vec<u32> = (0..(b * t) as u32).map(|i| i * 7 % 53).collect();
    let targets: Vec<i32> = ids.iter().map(|&id| (id as i32 * 3 + 1) % 53).collect();
    let (ids, targets) = (&ids[..], &targets[..]);
    let batch = Batch {
        b,
        t,
        ids,
        targets,
        documents: &[],
    };
    let (pool, weights) = (Pool::new(threads).unwrap(), init(model.params(), 5).unwrap());
    let mut arena = Arena::new(model.activations(b, t, Pass::Train(Recompute::Selective))).unwrap();
    let mut losses = vec![0.0; b * t];
    model.losses_and_some_gradients(&pool, &weights, gradients, &mut arena, &batch, 0.1, None, &mut losses);
    losses
}

/// Every gradient in full, tensor by tensor.
fn full(model: &dyn Model) -> (Vec<f32>, Vec<Vec<f32>>) {
    let mut arena = model.params().zeros("gradients").unwrap();
    let losses = run(model, 2, model.params().gradients(&mut arena));
    let parts = model
        .params()
        .specs()
        .iter()
        .map(|spec| arena[spec.range.clone()].to_vec());
    (losses, parts.collect())
}

#[test]
fn what_learns_beside_frozen_tensors_has_the_same_bits() {
    for model in models() {
        let (losses, want) = full(&*model);
        // Each in turn is the only one that learns, and the only one that does not.
        for chosen in 0..want.len() {
            for alone in [true, false] {
                let mut got: Vec<Vec<f32>> = want.iter().map(|part| vec![9.0; part.len()]).collect();
                let learns = |i: usize| (i == chosen) == alone;
                let sinks = got.iter_mut().enumerate().map(|(i, part)| match learns(i) {
                    true => Gradient::Full(part),
                    false => Gradient::Frozen,
                });
                assert_eq!(run(&*model, 1, sinks.collect()), losses);
                for (i, spec) in model.params().specs().iter().enumerate().filter(|(i, _)| learns(*i)) {
                    assert!(
                        got[i] == want[i],
                        "{} of {}, alone: {alone}",
                        spec.name,
                        model.model_type()
                    );
                }
            }
        }
    }
}

#[test]
fn a_pair_gets_the_projections_of_the_full_gradient() {
    for model in models() {
        let (losses, full) = full(&*model);
        let out_in = model.model_type() == "llama";
        let specs = model.params().specs();
        let value = |i: usize| (i as f32 * 0.7).sin();
        for (spec, full) in specs.iter().zip(&full).filter(|(spec, _)| spec.hidden.is_some()) {
            let (rows, cols) = (spec.shape[0], spec.shape[1]);
            let (outputs, inputs) = if out_in { (rows, cols) } else { (cols, rows) };
            let a: Vec<f32> = (0..RANK * inputs).map(value).collect();
            let b: Vec<f32> = (0..outputs * RANK).map(|i| value(i + 31)).collect();
            let pair = |threads| {
                let (mut da, mut db) = (vec![9.0; a.len()], vec![9.0; b.len()]);
                let thin = RefCell::new(Buffer::zeroed(2 * 37 * RANK));
                let mut pair = Some(LowRank {
                    rank: RANK,
                    scale: SCALE,
                    a: &a,
                    b: &b,
                    da: &mut da,
                    db: &mut db,
                    thin: &thin,
                });
                let sinks = specs.iter().map(|other| match other.name == spec.name {
                    true => Gradient::LowRank(pair.take().expect("names differ")),
                    false => Gradient::Frozen,
                });
                assert_eq!(run(&*model, threads, sinks.collect()), losses);
                (da, db)
            };
            let (da, db) = pair(1);
            assert!(pair(2) == (da.clone(), db.clone()), "{}: threads show", spec.name);
            let dw = |o: usize, i: usize| f64::from(if out_in { full[o * cols + i] } else { full[i * cols + o] });
            let scale = f64::from(SCALE);
            let close = |got: f32, want: f64| {
                let error = (f64::from(got) - want).abs();
                assert!(error < 1e-5 * (1.0 + want.abs()), "{}: {got}, want {want}", spec.name);
            };
            for r in 0..RANK {
                for i in 0..inputs {
                    let sum: f64 = (0..outputs).map(|o| f64::from(b[o * RANK + r]) * dw(o, i)).sum();
                    close(da[r * inputs + i], scale * sum);
                }
                for o in 0..outputs {
                    let sum: f64 = (0..inputs).map(|i| dw(o, i) * f64::from(a[r * inputs + i])).sum();
                    close(db[o * RANK + r], scale * sum);
                }
            }
            assert!(
                da.iter().chain(&db).any(|x| x.abs() > 1e-4),
                "{}: something is there",
                spec.name
            );
        }
    }
}

/// Merged weights are W + s B A, a walk over them gives every pair its gradients, and the base comes back with B = 0.
#[test]
fn pairs_of_a_whole_model_are_merged_and_learn_in_lanes() {
    for model in models() {
        let table = model.params();
        let rank = Rank {
            rank: RANK,
            scale: SCALE,
        };
        let trainable = Trainable::low_rank(table, |spec| spec.hidden.map(|_| rank));
        assert!(trainable.is_low_rank() && !trainable.is_all());
        let (mut weights, mut pairs) = (init(table, 5).unwrap(), init(trainable.table(), 6).unwrap());
        let fresh = weights.to_vec();
        let mut base = vec![0.0; trainable.base_floats(table)];
        let mut scratch = vec![0.0; trainable.merge_scratch(table)];
        trainable.keep_base(table, &weights, &mut base);
        let pool = Pool::new(2).unwrap();
        trainable.merge(&pool, table, &mut weights, &base, &pairs, &mut scratch);
        assert!(weights[..] == fresh[..], "B begins at zero");
        pairs
            .iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x += (i as f32 * 0.3).cos() * 0.1);
        trainable.merge(&pool, table, &mut weights, &base, &pairs, &mut scratch);
        let out_in = model.model_type() == "llama";
        for (i, (spec, _)) in trainable.targets(table).enumerate() {
            let [a, b] = [2 * i, 2 * i + 1].map(|i| &trainable.table().specs()[i]);
            let module = spec.name.strip_suffix(".weight").unwrap();
            assert_eq!(
                [&a.name, &b.name],
                [&format!("{module}.lora_A.weight"), &format!("{module}.lora_B.weight")]
            );
            let (inputs, outputs) = (a.shape[1], b.shape[0]);
            let (a, b) = (&pairs[a.range.clone()], &pairs[b.range.clone()]);
            for (o, i) in [(0, 0), (outputs - 1, 1), (2, inputs - 1)] {
                let at = if out_in { o * inputs + i } else { i * outputs + o };
                let product: f32 = (0..RANK).map(|r| b[o * RANK + r] * a[r * inputs + i]).sum();
                let (got, want) = (
                    weights[spec.range.start + at],
                    fresh[spec.range.start + at] + SCALE * product,
                );
                assert!(
                    (got - want).abs() < 1e-6,
                    "{} at {o},{i}: {got}, want {want}",
                    spec.name
                );
            }
        }
        // Two lanes, on one thread and on two: the same bits.
        let (b, t) = (2, 19);
        let ids: Vec<u32> = (0..(b * t) as u32).map(|i| i * 7 % 53).collect();
        let targets: Vec<i32> = ids.iter().map(|&id| (id as i32 * 3 + 1) % 53).collect();
        let batch = Batch {
            b,
            t,
            ids: &ids,
            targets: &targets,
            documents: &[],
        };
        let pass = Pass::Train(Recompute::Selective);
        let run = |threads| {
            let mut lanes = Lanes::with_rank(&*model, b, t, pass, trainable.rank()).unwrap();
            let mut gradients: Vec<Vec<f32>> = (0..lanes.count())
                .map(|_| vec![0.0; trainable.table().floats()])
                .collect();
            let mut losses = vec![0.0; b * t];
            lanes.losses_and_some_gradients(
                &Pool::new(threads).unwrap(),
                &*model,
                &weights,
                gradients.iter_mut().map(|gradient| &mut gradient[..]),
                (&trainable, &pairs),
                &batch,
                0.1,
                None,
                &mut losses,
            );
            (gradients, losses)
        };
        let (gradients, losses) = run(1);
        assert!((gradients.clone(), losses) == run(2));
        for spec in trainable.table().specs() {
            let moves = gradients
                .iter()
                .any(|g| g[spec.range.clone()].iter().any(|x| *x != 0.0));
            assert!(moves, "{}", spec.name);
        }
    }
}

#[test]
fn what_learns_is_found_where_it_lies() {
    for model in models() {
        let table = model.params();
        let all = Trainable::all(table);
        assert!(all.is_all() && all.table() == table);
        assert_eq!(all.runs(), [(0..table.floats(), 0)]);
        let frozen = |name: &str| name.contains(".0.") || name.ends_with("ln_2.bias");
        let some = Trainable::unfrozen(table, |spec| frozen(&spec.name));
        assert!(!some.is_all() && some.table().count() < table.count());
        for spec in some.table().specs() {
            let (run, at) = some
                .runs()
                .iter()
                .find(|(run, _)| run.contains(&spec.range.start))
                .unwrap();
            let start = at + spec.range.start - run.start;
            assert_eq!(start, table.get(&spec.name).unwrap().range.start, "{}", spec.name);
            assert!(spec.range.end <= run.end);
        }
        assert!(some.runs().len() < some.table().specs().len(), "neighbours are one run");
    }
}

/// Flops fall with what is not computed: nothing below the first layer that learns, thin products instead of full ones.
#[test]
fn a_backward_costs_what_learns() {
    for model in models() {
        let (table, n) = (model.params(), 37);
        let steps = model.walk(1, n, Recompute::Selective);
        let cost = |trainable: &Trainable| -> f64 {
            let each = steps
                .iter()
                .flat_map(|step| (0..step.runs()).map(move |layer| (step, layer)));
            each.map(|(step, layer)| step.forward_flops + trainable.backward_flops(table, step, layer, n))
                .sum()
        };
        let full = model.training_flops(1, n);
        assert!((cost(&Trainable::all(table)) / full - 1.0).abs() < 1e-12);
        let weights: f64 = table
            .specs()
            .iter()
            .filter(|spec| spec.product.is_some() && spec.name != "model.embed_tokens.weight")
            .map(|spec| spec.len() as f64)
            .sum();
        // Only a head's or an embedding's gradient is left of those of weights.
        let embedding = &table.specs()[0].name;
        let only = Trainable::unfrozen(table, |spec| spec.name != *embedding);
        let tied = if table.get("lm_head.weight").is_some() {
            0.0
        } else {
            2.0 * n as f64 * (53 * 20) as f64
        };
        assert!((cost(&only) - (full - 2.0 * n as f64 * weights + tied)).abs() < 1.0);
        let rank = Rank { rank: 2, scale: 1.0 };
        let targets = |spec: &foretoken_model::ParamSpec| spec.hidden.is_some() && spec.name.contains(".1.");
        let top = Trainable::low_rank(table, |spec| targets(spec).then_some(rank));
        let sides: usize = table
            .specs()
            .iter()
            .filter(|spec| targets(spec))
            .map(|s| s.shape[0] + s.shape[1])
            .sum();
        // Of two layers one has a backward: dX alone of its matrices, all of its attention.
        let hidden: f64 = table
            .specs()
            .iter()
            .filter(|spec| spec.hidden.is_some())
            .map(|spec| spec.len() as f64)
            .sum();
        let (products, attention) = (2.0 * n as f64, (full - 6.0 * n as f64 * weights) / 3.5);
        let forward = products * weights + attention;
        let backward = products * (weights - hidden) + products * hidden / 2.0 + 2.5 * attention / 2.0;
        let want = forward + backward + (4 * n * 2 * sides) as f64;
        assert!((cost(&top) / want - 1.0).abs() < 1e-12, "{}, want {want}", cost(&top));
    }
}
