use super::*;
use crate::contract::Pass;
use crate::gpt2::{Config, Gpt2};
use crate::lanes::lanes_of;
use crate::registry::Preset;
use crate::walk::{Part, Shortcut, Stored};
use foretoken_kernels::CacheType;
use std::collections::HashMap;

fn preset(name: &str) -> Gpt2 {
    Gpt2::new(Preset::find(name).unwrap().config()).unwrap()
}

fn odd() -> Gpt2 {
    let config = Config {
        vocab_size: 101,
        n_positions: 40,
        n_embd: 60,
        n_layer: 3,
        n_head: 4,
        n_inner: Some(100),
        resid_pdrop: 0.1,
        ..Config::default()
    };
    Gpt2::new(config).unwrap()
}

fn of(model: &Gpt2, b: usize, t: usize) -> Report {
    report(model, b, t, &Options::default()).unwrap()
}

#[test]
fn parameters_are_the_published_counts() {
    assert_eq!(of(&preset("gpt2"), 1, 1).parameters.count, 124_439_808);
    // Vd + n_positions d + L (12 d² + 13 d) + 2 d, at V = 50257.
    let gpt3 = of(&preset("gpt3-175b"), 1, 2048).parameters;
    assert_eq!(
        gpt3.count,
        50_257 * 12_288 + 2048 * 12_288 + 96 * (12 * 12_288 * 12_288 + 13 * 12_288) + 2 * 12_288
    );
    assert!((gpt3.count as f64 / 174.6e9 - 1.0).abs() < 1e-3, "{}", gpt3.count);
}

#[test]
fn parts_and_tensors_sum_to_the_table() {
    for model in [preset("gpt2"), preset("nano"), odd()] {
        let parameters = of(&model, 2, 8).parameters;
        let count = model.params().count();
        assert_eq!(parameters.count, count);
        assert_eq!(parameters.parts.iter().map(|part| part.count).sum::<u64>(), count);
        assert_eq!(parameters.tensors.iter().map(|tensor| tensor.count).sum::<u64>(), count);
        assert!((parameters.parts.iter().map(|part| part.share).sum::<f64>() - 1.0).abs() < 1e-12);
        let copies: usize = parameters.tensors.iter().map(|tensor| tensor.copies).sum();
        assert_eq!(copies, model.params().specs().len(), "every tensor once");
    }
    let parts = of(&preset("gpt2"), 1, 1).parameters.parts;
    let count = |part| parts.iter().find(|row| row.part == part).unwrap().count;
    assert_eq!(count(Part::TokenEmbedding), 50_257 * 768);
    assert_eq!(count(Part::PositionEmbedding), 1024 * 768);
    assert_eq!(count(Part::Attention), 12 * (4 * 768 * 768 + 4 * 768));
    assert_eq!(count(Part::Mlp), 12 * (8 * 768 * 768 + 5 * 768));
    assert_eq!(count(Part::Norm), 25 * 2 * 768);
    let head = parts.iter().find(|row| row.part == Part::Head).unwrap();
    assert_eq!((head.count, head.tied), (0, Some("wte.weight")));
}

/// The letters beside a shape say the same as its numbers, in the walk as in the parameters.
#[test]
fn letters_and_numbers_agree() {
    for model in [preset("gpt3-175b"), odd()] {
        let report = of(&model, 2, 8);
        let mut value: HashMap<String, usize> = report
            .letters
            .iter()
            .map(|letter| (letter.letter.to_owned(), letter.value))
            .collect();
        value.insert("3d".into(), 3 * value["d"]);
        for tensor in &report.parameters.tensors {
            let shape: Vec<usize> = tensor.letters.split(' ').map(|letter| value[letter]).collect();
            assert_eq!(shape, tensor.shape, "{}", tensor.name);
            assert_eq!(tensor.each, shape.iter().product::<usize>() as u64);
        }
        for row in &report.walk {
            for (letter, n) in &row.step.shape {
                assert_eq!(*n, value[*letter], "{}", row.step.name);
            }
        }
    }
}

#[test]
fn flops_of_the_walk_are_the_contract_s() {
    for (model, b, t) in [
        (preset("gpt2"), 4, 1024),
        (preset("gpt3-175b"), 1, 2048),
        (preset("nano"), 3, 17),
        (odd(), 2, 40),
    ] {
        let steps: f64 = model
            .walk(b, t, Recompute::Selective)
            .iter()
            .map(|step| step.runs() as f64 * (step.forward_flops + step.backward_flops))
            .sum();
        let want = model.training_flops(b, t);
        assert!((steps / want - 1.0).abs() < 1e-12, "{steps} and {want}");
        let options = Options {
            micro_batches: 5,
            ..Options::default()
        };
        let flops = report(&model, b, t, &options).unwrap().flops;
        assert!((flops.step_training / (5.0 * want) - 1.0).abs() < 1e-12);
        assert!((flops.token_training_weights / (6.0 * flops.weights as f64) - 1.0).abs() < 1e-9);
        assert!((flops.token_forward_weights / (2.0 * flops.weights as f64) - 1.0).abs() < 1e-9);
    }
    // 12 (4 d² + 2 d f) + V d, and 2 L d (T + 1) forward.
    let flops = of(&preset("gpt2"), 4, 1024).flops;
    assert_eq!(flops.weights, 12 * 12 * 768 * 768 + 50_257 * 768);
    assert_eq!(flops.token_forward_attention, 2.0 * 12.0 * 768.0 * 1025.0);
    assert_eq!(flops.token_training_attention, 7.0 * 12.0 * 768.0 * 1025.0);
}

#[test]
fn activations_sum_to_the_arena_and_the_walk_names_its_slots() {
    for (model, b, t) in [(preset("gpt2"), 4, 1024), (preset("tiny"), 3, 19), (odd(), 2, 7)] {
        let report = of(&model, b, t);
        let plan = model.activations(b, t, Pass::Train(Recompute::Selective));
        let lanes = lanes_of(model.params(), b).into_iter();
        assert_eq!(
            report.training.activations.iter().map(|row| row.bytes).sum::<u64>(),
            lanes
                .map(|sequences| model
                    .activations(sequences.len(), t, Pass::Train(Recompute::Selective))
                    .bytes())
                .sum::<u64>()
        );
        let kept_layers = report.training.activations.iter().filter(|row| row.copies > 1);
        assert!(kept_layers.clone().count() == 10 && kept_layers.clone().all(|row| row.kept));
        for row in &report.walk {
            for name in &row.step.slots {
                let slots: Vec<_> = plan
                    .slots()
                    .iter()
                    .filter(|slot| slot.name == *name && !slot.is_empty())
                    .collect();
                assert!(!slots.is_empty(), "{name} of {}", row.step.name);
                if row.step.stored == Stored::Kept {
                    assert!(slots.iter().all(|slot| slot.shape == row.step.shape), "{name}");
                    assert_eq!(slots.len(), row.step.runs(), "{name}");
                }
            }
        }
        // What no step fills are the gradients on their way back.
        let named = |slot: &str| report.walk.iter().any(|row| row.step.slots.contains(&slot));
        let rest: Vec<_> = report
            .training
            .activations
            .iter()
            .map(|row| row.slot)
            .filter(|slot| !named(slot))
            .collect();
        let narrow = model.dims().n_inner < 3 * model.dims().n_embd;
        let want = ["ln_f mean", "ln_f rstd", "dx", "d_qkv"];
        assert_eq!(rest, want[..if narrow { 4 } else { 3 }]);
    }
}

#[test]
fn shortcuts_leave_and_return_in_turn() {
    let turns: Vec<_> = preset("gpt2")
        .walk(1, 8, Recompute::Selective)
        .iter()
        .filter_map(|step| step.shortcut)
        .collect();
    assert_eq!(
        turns,
        [Shortcut::Leaves, Shortcut::Returns, Shortcut::Leaves, Shortcut::Returns]
    );
}

/// gpt2, B = 4, T = 1024, by hand.
#[test]
fn the_walk_by_hand() {
    let report = of(&preset("gpt2"), 4, 1024);
    let bytes = |name: &str| report.walk.iter().find(|row| row.step.name == name).unwrap().bytes;
    assert_eq!(bytes("ids"), 16_384);
    assert_eq!(bytes("+ wpe = x"), 4 * 1024 * 768 * 4);
    assert_eq!(bytes("c_attn"), 4 * 1024 * 2304 * 4);
    assert_eq!(bytes("q, k, v"), 4 * 12 * 1024 * 64 * 4);
    assert_eq!(bytes("scores"), 192 << 20);
    assert_eq!(bytes("c_fc"), 48 << 20);
    assert_eq!(bytes("logits"), 4 * 1024 * 50_257 * 4);
    let step = |name: &str| &report.walk.iter().find(|row| row.step.name == name).unwrap().step;
    assert_eq!(step("c_attn").forward_flops, 2.0 * 4096.0 * 768.0 * 2304.0);
    assert_eq!(step("scores").forward_flops, 4096.0 * 1025.0 * 768.0);
    let kept: u64 = report
        .training
        .activations
        .iter()
        .filter(|row| row.kept)
        .map(|row| row.bytes)
        .sum();
    // x and ln_f once; 10 N d, lse and two numbers a token of each layernorm a layer.
    let nd = 4096 * 768 * 4;
    assert_eq!(kept, 2 * nd + 12 * (10 * nd + 4 * 12 * 1024 * 4 + 4 * 4096 * 4));
    let item = |name: &str| {
        report
            .training
            .items
            .iter()
            .find(|item| item.name == name)
            .unwrap()
            .bytes
    };
    assert_eq!(
        item("weights"),
        124_439_808 * 4,
        "every tensor of gpt2 ends at a cache line"
    );
    assert_eq!(item("AdamW: m") + item("AdamW: v"), 2 * item("weights"));
    assert_eq!(
        report.training.bytes,
        report.training.items.iter().map(|item| item.bytes).sum::<u64>()
    );
    assert_eq!(report.generation.cache_a_token, 2 * 12 * 768 * 4);
    let cache = report
        .generation
        .items
        .iter()
        .find(|item| item.name == "key/value cache")
        .unwrap();
    assert_eq!(cache.bytes, 72 << 20);
}

#[test]
fn micro_batches_threads_and_sequences_cost_what_they_hold() {
    let model = preset("tiny");
    let with = |options: Options| report(&model, 2, 64, &options).unwrap();
    let one = with(Options::default());
    let arena = 4 * model.params().floats() as u64;
    for (micro_batches, waiting) in [(1, 0), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (64, 6)] {
        let many = with(Options {
            micro_batches,
            ..Options::default()
        });
        assert_eq!(
            many.training.bytes,
            one.training.bytes + waiting * arena,
            "{micro_batches}"
        );
    }
    let threads = with(Options {
        threads: 3,
        ..Options::default()
    });
    let scratch = 4 * model.scratch(2, 64, Pass::Train(Recompute::Selective)).a_thread as u64;
    assert_eq!(threads.training.bytes, one.training.bytes + 2 * scratch);
    let two = with(Options {
        sequences: 2,
        ..Options::default()
    });
    let plan = model.decode_plan(64, CacheType::F32);
    let logits = 4 * model.dims().vocab_size as u64;
    assert_eq!(
        two.generation.bytes,
        one.generation.bytes + plan.cache.bytes() + plan.work.bytes() + logits
    );
}

#[test]
fn a_decode_plan_is_what_a_decode_state_takes() {
    for capacity in [1, 7, 40] {
        let (model, plan) = (odd(), odd().decode_plan(capacity, CacheType::F32));
        let state = model.decode_state(capacity, CacheType::F32).unwrap();
        assert_eq!(plan.cache.slots()[0].len(), state.keys.len());
        assert_eq!(plan.cache.slots()[1].len(), state.values.len());
        assert_eq!(plan.work, *state.work.plan());
    }
}

#[test]
fn impossible_batches_are_named() {
    let model = preset("gpt2");
    let error = |b, t| report(&model, b, t, &Options::default()).unwrap_err().to_string();
    assert!(error(0, 8).contains("at least one"));
    assert!(error(1, 1025).contains("n_positions"));
    assert!(error(usize::MAX, 2).contains("in all"));
    assert!(error(1 << 20, 1024).contains("in all"));
    let none = Options {
        sequences: 0,
        ..Options::default()
    };
    assert!(report(&model, 1, 8, &none).is_err());
}

/// One more never fits, the answer does, and its bytes are the report's.
#[test]
fn what_fits_is_the_largest_that_fits() {
    let model = preset("tiny");
    let options = Options {
        threads: 2,
        ..Options::default()
    };
    for memory in [60 << 20, 100 << 20, 1 << 30] {
        let fit = fit(Context::Trained(&model), 2, 100, memory, &options).unwrap();
        let train = |b, t| report(&model, b, t, &options).unwrap().training.bytes;
        let write = |sequences, t| {
            report(&model, 1, t, &Options { sequences, ..options })
                .unwrap()
                .generation
                .bytes
        };
        for (answers, bytes, b, t) in [
            (fit.training, &train as &dyn Fn(usize, usize) -> u64, 2, 100),
            (fit.generation, &write, 1, 100),
        ] {
            let (longest, widest) = (answers.longest, answers.widest);
            assert_eq!((answers.b, answers.t), (b, t));
            if widest.largest == 0 {
                assert!(bytes(1, t) > memory && widest.bytes == bytes(1, t));
            } else {
                assert_eq!(widest.bytes, bytes(widest.largest, t));
                assert!(widest.bytes <= memory);
                match widest.bound {
                    Bound::Memory => assert!(bytes(widest.largest + 1, t) > memory),
                    bound => assert_eq!((bound, widest.largest), (Bound::Limit, MAX_TOKENS / t)),
                }
            }
            if longest.largest > 0 {
                assert_eq!(longest.bytes, bytes(b, longest.largest));
                match longest.bound {
                    Bound::Memory => assert!(bytes(b, longest.largest + 1) > memory && longest.bytes <= memory),
                    bound => assert_eq!((bound, longest.largest), (Bound::Positions, 256)),
                }
            }
        }
    }
}

#[test]
fn a_question_about_shapes_goes_past_the_positions_and_too_little_says_what_is_needed() {
    let make = |n_positions| -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(Gpt2::new(Config {
            n_positions,
            ..Preset::find("gpt2").unwrap().config()
        })?))
    };
    let options = Options::default();
    let context = Context::Shape(&make);
    let trained = fit(Context::Trained(&preset("gpt2")), 1, 1024, 8 << 30, &options).unwrap();
    let shape = fit(context, 1, 1024, 8 << 30, &options).unwrap();
    assert_eq!(
        (trained.training.longest.largest, trained.training.longest.bound),
        (1024, Bound::Positions)
    );
    assert!(shape.training.longest.largest > 8192, "{shape:?}");
    assert_eq!(shape.training.longest.bound, Bound::Memory);
    assert_eq!(
        trained.training.widest, shape.training.widest,
        "at n_positions it is the same model"
    );
    let too_little = fit(context, 1, 1024, 1 << 20, &options).unwrap();
    for answer in [
        too_little.training.longest,
        too_little.training.widest,
        too_little.generation.longest,
    ] {
        assert_eq!(answer.largest, 0);
        assert!(answer.bytes > 1 << 20);
    }
}

#[test]
fn a_report_is_one_json_object() {
    let json = serde_json::to_value(of(&preset("gpt3-175b"), 1, 2048)).unwrap();
    assert_eq!(json["walk"][6]["name"], "scores");
    assert_eq!(json["walk"][6]["stored"], "never");
    assert_eq!(json["walk"][6]["shape"][1], serde_json::json!(["h", 96]));
    assert_eq!(json["walk"][6]["bytes"], 96u64 * 2048 * 2048 * 4);
    assert_eq!(json["parameters"]["parts"][2]["part"], "attention");
}

/// The moments' lines of the sum are the plan's, and a step of Muon costs what it costs, however many tokens there are.
#[test]
fn an_optimizer_costs_what_its_plan_says() {
    let model = preset("gpt2");
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Muon] {
        for optimizer_state in [StateDtype::F32, StateDtype::Bf16] {
            let options = Options {
                optimizer,
                optimizer_state,
                ..Options::default()
            };
            let plan = OptimizerPlan::new(model.params(), optimizer, optimizer_state);
            let report = report(&model, 4, 1024, &options).unwrap();
            let moments = report
                .training
                .items
                .iter()
                .filter(|item| item.name.ends_with(": m") || item.name.ends_with(": v"));
            assert_eq!(moments.map(|item| item.bytes).sum::<u64>(), plan.moment_bytes());
            let scratch = report.training.items.iter().find(|item| item.name == "Muon: scratch");
            assert_eq!(scratch.map_or(0, |item| item.bytes), 4 * plan.scratch as u64);
            assert_eq!(report.flops.step_optimizer, plan.flops);
            let (from, a_token) = (report.flops.muon_pays_from(), report.flops.token_training);
            assert!((from * a_token * 0.1 - plan.flops).abs() <= 1e-9 * plan.flops);
            assert_eq!(from > 0.0, optimizer == OptimizerKind::Muon);
        }
    }
}

/// Another variant: every parameter belongs to a step, flops and activations add up, slots are named.
#[test]
fn a_llama_adds_up() {
    for (tie, n_inner) in [(true, 64), (false, 24)] {
        let model = crate::llama::Llama::new(crate::llama::Config {
            vocab_size: 77,
            max_position_embeddings: 32,
            hidden_size: 24,
            num_hidden_layers: 3,
            num_attention_heads: 6,
            num_key_value_heads: Some(2),
            intermediate_size: n_inner,
            tie_word_embeddings: tie,
            ..crate::llama::Config::default()
        })
        .unwrap();
        let (b, t) = (3, 19);
        for recompute in Recompute::ALL {
            let options = Options {
                recompute,
                ..Options::default()
            };
            let report = report(&model, b, t, &options).unwrap();
            assert_eq!(report.parameters.count, model.params().count());
            let want = model.training_flops(b, t);
            assert!((report.flops.step_training / want - 1.0).abs() < 1e-12);
            let plans = lanes_of(model.params(), b)
                .into_iter()
                .map(|sequences| model.activations(sequences.len(), t, Pass::Train(recompute)));
            let rows = report.training.activations.iter().map(|row| row.bytes).sum::<u64>();
            assert_eq!(rows, plans.map(|plan| plan.bytes()).sum::<u64>());
            let plan = model.activations(b, t, Pass::Train(recompute));
            for row in report.walk.iter().filter(|row| row.step.stored == Stored::Kept) {
                for name in &row.step.slots {
                    let slots = plan
                        .slots()
                        .iter()
                        .filter(|slot| slot.name == *name && !slot.is_empty());
                    assert_eq!(
                        slots.count(),
                        row.step.runs(),
                        "{name} of {}, {recompute:?}",
                        row.step.name
                    );
                }
            }
        }
    }
}
