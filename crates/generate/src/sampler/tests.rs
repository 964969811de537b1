//! Hand-worked numbers, and what draws must hold.

use super::*;
use crate::sampling::{Mirostat, Xtc};

fn pool() -> Pool {
    Pool::new(1).unwrap()
}

/// Logits of the probabilities 0.4, 0.1, 0.3, 0.2.
fn logits() -> [f32; 4] {
    [0.4f32, 0.1, 0.3, 0.2].map(|p| p.ln() + 1.5)
}

fn kept(sampling: Sampling, logits: &[f32], history: &[u32]) -> Vec<(u32, f32)> {
    let mut sampler = Sampler::new(sampling, 0, 0).unwrap();
    let candidates = sampler.candidates(&pool(), logits, &Context::prompt(history)).unwrap();
    candidates.iter().map(|c| (c.token.id, c.probability)).collect()
}

#[track_caller]
fn check(sampling: Sampling, history: &[u32], want: &[(u32, f32)]) {
    let found = kept(sampling, &logits(), history);
    let near = |(a, b): (&(u32, f32), &(u32, f32))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-6;
    assert!(
        found.len() == want.len() && found.iter().zip(want).all(near),
        "{found:?}, want {want:?}"
    );
}

#[test]
fn each_filter_keeps_what_a_hand_would() {
    let d = Sampling::default;
    check(d(), &[], &[(0, 0.4), (1, 0.1), (2, 0.3), (3, 0.2)]);
    check(Sampling { top_k: 2, ..d() }, &[], &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)]);
    // 0.4 + 0.3 are the fewest that reach 0.6; 0.75 takes the third.
    check(Sampling { top_p: 0.6, ..d() }, &[], &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)]);
    check(
        Sampling { top_p: 0.75, ..d() },
        &[],
        &[(0, 4.0 / 9.0), (2, 3.0 / 9.0), (3, 2.0 / 9.0)],
    );
    check(Sampling { top_p: 0.0, ..d() }, &[], &[(0, 1.0)]);
    // At least 0.6 * 0.4 = 0.24.
    check(Sampling { min_p: 0.6, ..d() }, &[], &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)]);
    check(Sampling { min_p: 1.0, ..d() }, &[], &[(0, 1.0)]);
    // Squares of the probabilities: 16, 1, 9, 4 of 30.
    check(
        Sampling {
            temperature: 0.5,
            ..d()
        },
        &[],
        &[(0, 16.0 / 30.0), (1, 1.0 / 30.0), (2, 9.0 / 30.0), (3, 4.0 / 30.0)],
    );
    check(Sampling::greedy(), &[], &[(0, 1.0)]);
}

#[test]
fn filters_run_one_after_another() {
    let d = Sampling::default;
    // Top-k leaves 4/7 and 3/7, so 0.5 is reached by the first alone; of the whole it is 0.4.
    check(
        Sampling {
            top_k: 2,
            top_p: 0.5,
            ..d()
        },
        &[],
        &[(0, 1.0)],
    );
    // Tempered, the first holds 16/30 > 0.5.
    check(
        Sampling {
            temperature: 0.5,
            top_p: 0.5,
            ..d()
        },
        &[],
        &[(0, 1.0)],
    );
    // Top-p counts what min-p would drop: 0.6 needs two of the whole, and min-p then keeps both.
    check(
        Sampling {
            top_p: 0.6,
            min_p: 0.7,
            ..d()
        },
        &[],
        &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)],
    );
}

#[test]
fn the_penalty_divides_positive_logits_and_multiplies_negative_ones_once() {
    let sampling = Sampling {
        repetition_penalty: 2.0,
        ..Sampling::default()
    };
    let found = kept(sampling, &[2.0, -1.0, 0.0, 3.0], &[0, 1, 0, 0]);
    let weights = [1.0f32, -2.0, 0.0, 3.0].map(f32::exp);
    let total: f32 = weights.iter().sum();
    for (&(_, p), w) in found.iter().zip(weights) {
        assert!((p - w / total).abs() < 1e-6, "{found:?}");
    }
    // Greedy is penalised too, and the log-probability stays the model's own.
    let greedy = Sampling {
        repetition_penalty: 2.0,
        ..Sampling::greedy()
    };
    let mut sampler = Sampler::new(greedy, 0, 0).unwrap();
    let token = sampler.sample(&pool(), &[2.0, 3.0], &Context::prompt(&[1])).unwrap();
    assert_eq!(token.id, 0);
    assert!((token.logprob + 1.313_261_7).abs() < 1e-6, "{token:?}"); // -ln(1 + e)
    let big = Sampling {
        repetition_penalty: 0.01,
        ..Sampling::default()
    };
    assert_eq!(kept(big, &[f32::MAX, 0.0], &[0]), [(0, 1.0)]);
    let small = Sampling {
        repetition_penalty: 100.0,
        ..Sampling::default()
    };
    assert_eq!(kept(small, &[f32::MIN, f32::NEG_INFINITY], &[0, 1]), [(0, 1.0)]);
}

#[test]
fn presence_and_frequency_count_what_was_generated_and_the_window_is_the_newest() {
    let sampling = Sampling {
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        ..Sampling::greedy()
    };
    let likeliest = |logits: &[f32], sampling: &Sampling, generated: usize| {
        let context = Context {
            ids: &[2, 2, 0, 0, 1],
            generated,
            allowed: None,
        };
        let mut sampler = Sampler::new(sampling.clone(), 0, 0).unwrap();
        sampler.sample(&pool(), logits, &context).unwrap().id
    };
    // 0 was generated twice and costs 1, 1 once and costs 0.75; 2 stands in the prompt and costs nothing.
    assert_eq!(likeliest(&[1.7, 1.5, 0.74], &sampling, 3), 1);
    assert_eq!(likeliest(&[1.8, 1.5, 0.74], &sampling, 3), 0);
    assert_eq!(likeliest(&[1.7, 1.5, 0.76], &sampling, 3), 2);
    assert_eq!(likeliest(&[1.7, 1.5, 1.6], &sampling, 0), 0);
    let window = |repetition_last_n| Sampling {
        repetition_penalty: 2.0,
        repetition_last_n,
        ..Sampling::greedy()
    };
    assert_eq!(likeliest(&[1.0, 1.9, 0.0], &window(0), 3), 1);
    assert_eq!(likeliest(&[1.0, 1.9, 0.0], &window(1), 3), 0);
    assert_eq!(likeliest(&[1.0, 1.9, 0.8], &window(3), 3), 1);
    assert_eq!(likeliest(&[1.0, 1.9, 0.96], &window(3), 3), 2);
}

#[test]
fn typical_xtc_mirostat_bias_and_a_constraint_keep_what_a_hand_would() {
    // Surprises 0.92, 2.30, 1.20, 1.61 at an entropy of 1.28: the order is 2, 3, 0, 1.
    let typical = |typical_p| Sampling {
        typical_p,
        ..Sampling::default()
    };
    check(typical(0.0), &[], &[(2, 1.0)]);
    check(typical(0.29), &[], &[(2, 1.0)]);
    check(typical(0.4), &[], &[(2, 0.6), (3, 0.4)]);
    check(typical(0.6), &[], &[(0, 4.0 / 9.0), (2, 3.0 / 9.0), (3, 2.0 / 9.0)]);
    let xtc = |threshold| Sampling {
        xtc: Some(Xtc {
            probability: 1.0,
            threshold,
        }),
        ..Sampling::default()
    };
    check(xtc(0.25), &[], &[(1, 1.0 / 6.0), (2, 0.5), (3, 2.0 / 6.0)]);
    check(xtc(0.0), &[], &[(1, 1.0)]);
    check(xtc(0.35), &[], &[(0, 0.4), (1, 0.1), (2, 0.3), (3, 0.2)]);
    // Bounds of 2, 1.6 and 0.2 bits: a quarter, a third, more than the likeliest has.
    let mirostat = |tau| Sampling {
        mirostat: Some(Mirostat { tau, eta: 0.0 }),
        ..Sampling::default()
    };
    check(mirostat(1.0), &[], &[(0, 4.0 / 7.0), (2, 3.0 / 7.0)]);
    check(mirostat(0.8), &[], &[(0, 1.0)]);
    check(mirostat(0.1), &[], &[(0, 1.0)]);
    let bias = Sampling {
        logit_bias: vec![(0, -100.0), (1, f32::NEG_INFINITY), (3, 1.5f32.ln())],
        ..Sampling::default()
    };
    check(bias.clone(), &[], &[(2, 0.5), (3, 0.5)]);
    let allowed: TokenSet = [0, 3].into_iter().collect();
    let context = Context {
        allowed: Some(&allowed),
        ..Context::default()
    };
    let mut sampler = Sampler::new(bias, 0, 0).unwrap();
    let only = sampler.candidates(&pool(), &logits(), &context).unwrap();
    assert!(only.len() == 1 && only[0].token.id == 3);
    // The log-probability stays the model's own.
    assert!((only[0].token.logprob - 0.2f32.ln()).abs() < 1e-6);
    // Greedy is held to a constraint, and asks neither XTC nor mirostat.
    let greedy = Sampling {
        temperature: 0.0,
        ..xtc(0.0)
    };
    let mut sampler = Sampler::new(greedy, 0, 0).unwrap();
    assert_eq!(sampler.sample(&pool(), &logits(), &context).unwrap().id, 0);
}

#[test]
fn a_bias_past_the_vocabulary_and_one_that_forbids_all_are_errors() {
    for temperature in [0.0, 1.0] {
        let error = |logit_bias: Vec<(u32, f32)>| {
            let sampling = Sampling {
                temperature,
                logit_bias,
                ..Sampling::default()
            };
            let mut sampler = Sampler::new(sampling, 0, 0).unwrap();
            let error = sampler.sample(&pool(), &logits(), &Context::default()).unwrap_err();
            error.to_string()
        };
        assert!(error(vec![(4, 1.0)]).contains("token 4 is not in the vocabulary of 4"));
        assert!(error((0..4).map(|id| (id, -100.0)).collect()).contains("no token is left"));
    }
}

#[test]
fn equal_logits_rank_by_the_lower_id() {
    let flat = [1.0; 5];
    assert_eq!(kept(Sampling::greedy(), &flat, &[]), [(0, 1.0)]);
    let ids = |sampling| -> Vec<u32> { kept(sampling, &flat, &[]).iter().map(|c| c.0).collect() };
    assert_eq!(
        ids(Sampling {
            top_k: 3,
            ..Sampling::default()
        }),
        [0, 1, 2]
    );
    assert_eq!(
        ids(Sampling {
            top_p: 0.5,
            ..Sampling::default()
        }),
        [0, 1, 2]
    );
    assert_eq!(
        ids(Sampling {
            min_p: 1.0,
            ..Sampling::default()
        }),
        [0, 1, 2, 3, 4]
    );
    assert_eq!(kept(Sampling::greedy(), &[-0.0, 0.0], &[]), [(0, 1.0)]);
}

#[test]
fn broken_logits_are_errors_and_forbidden_tokens_are_never_drawn() {
    let mut sampler = Sampler::new(Sampling::default(), 0, 0).unwrap();
    let mut error = |logits: &[f32], history: &[u32]| {
        sampler
            .sample(&pool(), logits, &Context::prompt(history))
            .unwrap_err()
            .to_string()
    };
    assert!(error(&[f32::NAN; 3], &[]).contains("token 0 is NaN"));
    assert!(error(&[0.0, f32::INFINITY], &[]).contains("token 1 is inf"));
    assert!(error(&[f32::NEG_INFINITY; 3], &[]).contains("all 3 logits"));
    assert!(error(&[], &[]).contains("all 0 logits"));
    assert!(error(&[0.0; 3], &[2, 3]).contains("token 3 at position 1"));
    for i in 0..200 {
        let logits = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 1.0];
        let sampling = Sampling {
            top_k: [0, 3][i % 2],
            ..Sampling::default()
        };
        let mut sampler = Sampler::new(sampling, i as u64, 0).unwrap();
        let token = sampler.sample(&pool(), &logits, &Context::default()).unwrap();
        assert!(token.id % 2 == 1 && token.logprob < 0.0);
    }
}

/// 20,000 draws against the filtered distribution: chi-square below its 1 - 1e-6 quantile (Wilson and Hilferty).
#[test]
fn draws_follow_the_distribution() {
    let logits: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin() * 2.0).collect();
    let pool = pool();
    let d = Sampling::default;
    for sampling in [
        d(),
        Sampling {
            temperature: 0.6,
            top_p: 0.9,
            ..d()
        },
        Sampling {
            temperature: 1.7,
            top_k: 20,
            min_p: 0.05,
            repetition_penalty: 1.3,
            ..d()
        },
    ] {
        let mut sampler = Sampler::new(sampling.clone(), 7, 3).unwrap();
        let expected = sampler
            .candidates(&pool, &logits, &Context::prompt(&[1, 2, 3]))
            .unwrap()
            .to_vec();
        let draws = 20_000;
        let mut counts = vec![0u32; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(&pool, &logits, &Context::prompt(&[1, 2, 3])).unwrap().id as usize] += 1;
        }
        assert_eq!(counts.iter().filter(|&&c| c > 0).count(), expected.len());
        let chi: f64 = expected
            .iter()
            .map(|c| {
                let want = f64::from(c.probability) * f64::from(draws);
                assert!(want > 5.0, "a cell too small for chi-square");
                (f64::from(counts[c.token.id as usize]) - want).powi(2) / want
            })
            .sum();
        let freedom = (expected.len() - 1) as f64;
        let spread = 2.0 / (9.0 * freedom);
        let limit = freedom * (1.0 - spread + 4.75 * spread.sqrt()).powi(3);
        assert!(chi < limit, "{sampling:?}: {chi} of {limit}");
    }
}
