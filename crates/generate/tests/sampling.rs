//! Every step of sampling against a reference in f64, written from the definitions, and against `transformers`.

use foretoken_generate::{Context, Dry, Mirostat, Sampler, Sampling, TokenSet, Xtc};
use foretoken_kernels::Pool;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Two numbers nearer than this are a coin toss between f32 and f64: such cases say nothing.
const CLOSE: f64 = 1e-5;

/// (id, probability) in the order of likelihood. `mu` is mirostat's bound; `None` where a decision is too close to call.
fn reference(s: &Sampling, logits: &[f32], context: &Context<'_>, mu: Option<f64>) -> Option<Vec<(u32, f64)>> {
    let mut x: Vec<f64> = logits.iter().map(|&x| x.into()).collect();
    if let Some(allowed) = context.allowed {
        (0..x.len())
            .filter(|&i| !allowed.contains(i as u32))
            .for_each(|i| x[i] = f64::NEG_INFINITY);
    }
    for &(id, bias) in &s.logit_bias {
        x[id as usize] += if bias <= -100.0 { f64::NEG_INFINITY } else { bias.into() };
    }
    let ids = context.ids;
    let last = |n: usize| ids.iter().rev().take(n).copied().collect::<Vec<u32>>();
    for id in last(s.repetition_last_n).into_iter().collect::<BTreeSet<u32>>() {
        let (x, penalty) = (&mut x[id as usize], f64::from(s.repetition_penalty));
        *x = if *x < 0.0 { *x * penalty } else { *x / penalty };
    }
    let mut counts = BTreeMap::new();
    for id in last(context.generated) {
        *counts.entry(id).or_insert(0) += 1;
    }
    for (id, count) in counts {
        x[id as usize] -= f64::from(s.presence_penalty) + f64::from(count) * f64::from(s.frequency_penalty);
    }
    if let Some(dry) = &s.dry {
        for (id, length) in repetitions(&ids[ids.len().saturating_sub(dry.penalty_last_n)..], dry) {
            let excess = (length - dry.allowed_length) as i32;
            x[id as usize] -= f64::from(dry.multiplier) * f64::from(dry.base).powi(excess);
        }
    }
    let mut ids_left: Vec<usize> = (0..x.len()).filter(|&i| x[i] > f64::NEG_INFINITY).collect();
    if ids_left.is_empty() {
        return None;
    }
    if s.temperature == 0.0 {
        ids_left.sort_by(|&a, &b| x[b].total_cmp(&x[a]));
        ids_left.windows(2).take(1).try_for_each(|w| apart(x[w[0]], x[w[1]]))?;
        return Some(vec![(ids_left[0] as u32, 1.0)]);
    }
    let mut left: Vec<(u32, f64)> = ids_left
        .into_iter()
        .map(|i| (i as u32, x[i] / f64::from(s.temperature)))
        .collect();
    // To probabilities, the likeliest first; the sort is stable.
    let max = left.iter().fold(f64::NEG_INFINITY, |max, t| max.max(t.1));
    left.iter_mut().for_each(|t| t.1 = (t.1 - max).exp());
    left.sort_by(|a, b| b.1.total_cmp(&a.1));
    normalise(&mut left);
    if s.top_k > 0 && s.top_k < left.len() {
        apart(left[s.top_k - 1].1 / left[s.top_k].1, 1.0)?;
        left.truncate(s.top_k);
        normalise(&mut left);
    }
    if s.top_p < 1.0 {
        left.truncate(shortest(&left, s.top_p.into())?);
        normalise(&mut left);
    }
    if s.min_p > 0.0 {
        let floor = left[0].1 * f64::from(s.min_p);
        left.iter().skip(1).try_for_each(|t| apart(t.1 / floor, 1.0))?;
        left.retain(|t| t.1 >= floor);
        normalise(&mut left);
    }
    if s.typical_p < 1.0 {
        let entropy: f64 = left.iter().map(|t| -t.1 * t.1.ln()).sum();
        let shift = |t: &(u32, f64)| (-t.1.ln() - entropy).abs();
        left.sort_by(|a, b| shift(a).total_cmp(&shift(b)));
        left.windows(2).try_for_each(|w| apart(shift(&w[0]), shift(&w[1])))?;
        left.truncate(shortest(&left, s.typical_p.into())?);
        left.sort_by(|a, b| b.1.total_cmp(&a.1));
        normalise(&mut left);
    }
    if let Some(xtc) = s.xtc {
        assert!(xtc.probability == 1.0 || xtc.probability == 0.0, "no luck in this test");
        let threshold = f64::from(xtc.threshold);
        left.iter().try_for_each(|t| apart(t.1, threshold))?;
        let top = left.iter().filter(|t| t.1 >= threshold).count();
        if xtc.probability == 1.0 && top >= 2 {
            left.windows(2)
                .take(top)
                .try_for_each(|w| apart(w[0].1 / w[1].1, 1.0))?;
            left.drain(..top - 1);
        }
        normalise(&mut left);
    }
    if let Some(mu) = mu {
        left.iter().skip(1).try_for_each(|t| apart(-t.1.log2(), mu))?;
        let likeliest = left[0].0;
        left.retain(|t| -t.1.log2() <= mu || t.0 == likeliest);
        normalise(&mut left);
    }
    Some(left)
}

fn apart(a: f64, b: f64) -> Option<()> {
    ((a - b).abs() > CLOSE).then_some(())
}

fn normalise(left: &mut [(u32, f64)]) {
    let total: f64 = left.iter().map(|t| t.1).sum();
    left.iter_mut().for_each(|t| t.1 /= total);
}

/// How many of the first reach a share.
fn shortest(left: &[(u32, f64)], share: f64) -> Option<usize> {
    let mut sum = 0.0;
    for (i, t) in left.iter().enumerate() {
        sum += t.1;
        if i + 1 < left.len() {
            apart(sum, share)?;
        }
        if sum >= share {
            return Some(i + 1);
        }
    }
    Some(left.len())
}

/// DRY from its definition: for every place, how far the text before it agrees with the text's end.
fn repetitions(ids: &[u32], dry: &Dry) -> BTreeMap<u32, usize> {
    let breaks = |id: u32| dry.sequence_breakers.contains(&id);
    let n = ids.len();
    let mut longest = BTreeMap::new();
    for place in 0..n.saturating_sub(1) {
        let agree = |k: usize| ids[place - k] == ids[n - 1 - k] && !breaks(ids[n - 1 - k]);
        let length = (0..=place).take_while(|&k| agree(k)).count();
        let next = ids[place + 1];
        if length >= dry.allowed_length && !breaks(next) {
            let entry = longest.entry(next).or_insert(0);
            *entry = length.max(*entry);
        }
    }
    longest
}

fn compare(found: &[(u32, f64)], mut want: Vec<(u32, f64)>) -> Result<(), String> {
    want.sort_by_key(|t| t.0);
    let of = |all: &[(u32, f64)], id: u32| all.iter().find(|t| t.0 == id).map(|t| t.1);
    let agree = |t: &(u32, f64)| of(&want, t.0).is_some_and(|p| (p - t.1).abs() < 1e-5);
    // What rounds to nothing is not drawn, and where that begins is the float's business.
    let there = |t: &(u32, f64)| t.1 <= 1e-30 || of(found, t.0).is_some();
    if found.iter().all(agree) && want.iter().all(there) {
        Ok(())
    } else {
        Err(format!("{found:?}, want {want:?}"))
    }
}

fn candidates(sampler: &mut Sampler, pool: &Pool, logits: &[f32], context: &Context<'_>) -> Vec<(u32, f64)> {
    let found = sampler.candidates(pool, logits, context).unwrap();
    found.iter().map(|c| (c.token.id, c.probability.into())).collect()
}

/// `x` half of the time, otherwise what turns a step off.
fn or_off<T: Clone + std::fmt::Debug + 'static>(
    off: T,
    x: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T> {
    prop_oneof![Just(off), x]
}

fn any_sampling() -> impl Strategy<Value = Sampling> {
    let logits = (
        or_off(1.0, 0.5f32..2.0),
        prop_oneof![Just(usize::MAX), 0usize..40],
        or_off(0.0, -1.0f32..1.0),
        or_off(0.0, -1.0f32..1.0),
        or_off(
            vec![],
            prop::collection::vec((0u32..20, prop_oneof![Just(-100.0f32), -9.0f32..9.0]), 0..5),
        ),
        or_off(
            None,
            (0.1f32..2.0, 1.0f32..2.0, 1usize..4, 0usize..60, 0u32..20).prop_map(|(m, base, length, n, breaker)| {
                Some(Dry {
                    multiplier: m,
                    base,
                    allowed_length: length,
                    penalty_last_n: n,
                    sequence_breakers: vec![breaker],
                })
            }),
        ),
    );
    let filters = (
        prop_oneof![Just(0.0f32), Just(1.0), 0.2f32..3.0],
        or_off(0, 1usize..25),
        or_off(1.0, 0.05f32..1.0),
        or_off(0.0, 0.0f32..0.5),
        or_off(1.0, 0.05f32..1.0),
        or_off(
            None,
            (any::<bool>(), 0.0f32..0.4).prop_map(|(on, threshold)| {
                Some(Xtc {
                    probability: f32::from(u8::from(on)),
                    threshold,
                })
            }),
        ),
        or_off(
            None,
            (0.2f32..4.0, 0.0f32..1.0).prop_map(|(tau, eta)| Some(Mirostat { tau, eta })),
        ),
    );
    (logits, filters).prop_map(
        |((penalty, last_n, presence, frequency, bias, dry), (temperature, k, p, min, typical, xtc, mirostat))| {
            Sampling {
                temperature,
                top_k: k,
                top_p: p,
                min_p: min,
                typical_p: typical,
                repetition_penalty: penalty,
                repetition_last_n: last_n,
                presence_penalty: presence,
                frequency_penalty: frequency,
                logit_bias: bias,
                dry,
                xtc,
                mirostat,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// All steps in all combinations, 12 tokens one after another, so that mirostat moves.
    #[test]
    fn every_step_agrees_with_the_reference(
        seed: u64,
        sampling in any_sampling(),
        v in 20usize..60,
        // Few tokens, so that sequences repeat.
        history in prop::collection::vec(0u32..4, 0..50),
        generated in 0usize..50,
        allowed in or_off(None, prop::collection::btree_set(0u32..60, 8..40).prop_map(Some)),
    ) {
        let pool = Pool::new(1).unwrap();
        let allowed: Option<TokenSet> = allowed.map(|ids| ids.into_iter().collect());
        let mut sampler = Sampler::new(sampling.clone(), seed, 3).unwrap();
        let mut mu = sampling.mirostat.map(|m| 2.0 * f64::from(m.tau));
        let (mut ids, first) = (history.clone(), history.len());
        for step in 0..12 {
            let logits: Vec<f32> = (0..v)
                .map(|i| (((i * 37 + step * 101) as f32 + (seed % 1009) as f32) * 0.7391).sin() * 5.0)
                .collect();
            let generated = (generated.min(first) + ids.len() - first).min(ids.len());
            let context = Context { ids: &ids, generated, allowed: allowed.as_ref() };
            let want = reference(&sampling, &logits, &context, mu);
            // All forbidden, or too close to call: the next case.
            let Ok(found) = sampler.candidates(&pool, &logits, &context) else { return Ok(()) };
            let found: Vec<(u32, f64)> = found.iter().map(|c| (c.token.id, c.probability.into())).collect();
            let Some(want) = want else { return Ok(()) };
            if let Err(message) = compare(&found, want) {
                return Err(TestCaseError::fail(format!("step {step}: {message}")));
            }
            let without_bound = reference(&sampling, &logits, &context, None);
            let token = sampler.sample(&pool, &logits, &context).unwrap();
            if let (Some(mu), Some(m), Some(all)) = (&mut mu, sampling.mirostat, without_bound)
                && sampling.temperature > 0.0
            {
                let p = all.iter().find(|t| t.0 == token.id).unwrap().1;
                *mu -= f64::from(m.eta) * (-p.log2() - f64::from(m.tau));
            }
            ids.push(token.id);
        }
    }
}

#[test]
fn the_processors_of_transformers_leave_the_same() {
    let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("fixtures/sampling.json")).unwrap();
    let pool = Pool::new(1).unwrap();
    for case in &cases {
        let number = |name: &str, off: f32| case[name].as_f64().map_or(off, |x| x as f32);
        let pairs = case["logit_bias"].as_array().into_iter().flatten();
        let sampling = Sampling {
            temperature: number("temperature", 1.0),
            top_k: number("top_k", 0.0) as usize,
            top_p: number("top_p", 1.0),
            min_p: number("min_p", 0.0),
            typical_p: number("typical_p", 1.0),
            repetition_penalty: number("repetition_penalty", 1.0),
            logit_bias: pairs
                .map(|pair| (pair[0].as_u64().unwrap() as u32, pair[1].as_f64().unwrap() as f32))
                .collect(),
            ..Sampling::default()
        };
        let numbers = |name: &str| case[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap());
        let logits: Vec<f32> = numbers("logits").map(|x| x as f32).collect();
        let history: Vec<u32> = numbers("history").map(|x| x as u32).collect();
        let want = (0..).zip(numbers("want")).filter(|t| t.1 > 0.0).collect();
        let mut sampler = Sampler::new(sampling, 0, 0).unwrap();
        let found = candidates(&mut sampler, &pool, &logits, &Context::prompt(&history));
        compare(&found, want).unwrap_or_else(|message| panic!("{case}: {message}"));
    }
    assert_eq!(cases.len(), 12);
}

/// The draw of a place takes the number of that place, whatever else is on.
#[test]
fn what_removes_nothing_changes_no_text() {
    let pool = Pool::new(1).unwrap();
    let draw = |sampling: Sampling| -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, 5, 0).unwrap();
        let logits = |i: usize| (0..50).map(move |j| ((i * 50 + j) as f32 * 0.37).sin() * 2.0);
        (0..200)
            .map(|i| {
                let logits: Vec<f32> = logits(i).collect();
                sampler.sample(&pool, &logits, &Context::default()).unwrap().id
            })
            .collect()
    };
    let plain = draw(Sampling::default());
    let idle = Sampling {
        top_k: 50,
        typical_p: 0.999_999,
        xtc: Some(Xtc {
            probability: 0.5,
            threshold: 0.6,
        }),
        mirostat: Some(Mirostat { tau: 50.0, eta: 0.0 }),
        dry: Some(Dry::default()),
        logit_bias: vec![(3, 0.0)],
        ..Sampling::default()
    };
    assert_eq!(draw(idle), plain);
}

#[test]
fn xtc_takes_its_turn_as_often_as_it_should_and_mirostat_holds_the_surprise() {
    let pool = Pool::new(1).unwrap();
    let xtc = Sampling {
        xtc: Some(Xtc {
            probability: 0.3,
            threshold: 0.2,
        }),
        ..Sampling::default()
    };
    // 0.5 0.25 0.15 0.1: the first is out whenever it is XTC's turn.
    let logits = [0.5f32, 0.25, 0.15, 0.1].map(f32::ln);
    let mut sampler = Sampler::new(xtc, 1, 0).unwrap();
    let (mut turns, draws) = (0, 20_000);
    for _ in 0..draws {
        let left = candidates(&mut sampler, &pool, &logits, &Context::default());
        assert!(left.len() == 4 || left.iter().map(|t| t.0).eq([1, 2, 3]));
        turns += usize::from(left.len() == 3);
        sampler.sample(&pool, &logits, &Context::default()).unwrap();
    }
    // Six standard deviations.
    let (mean, deviation) = (0.3 * draws as f64, (0.21 * draws as f64).sqrt());
    assert!((turns as f64 - mean).abs() < 6.0 * deviation, "{turns}");

    // After Zipf's law (3.2 bits for the likeliest), the surprise of what is drawn comes to tau.
    let logits: Vec<f32> = (1..5000).map(|i| -(i as f32).ln()).collect();
    for tau in [4.0, 5.0, 6.0] {
        let mut sampler = Sampler::new(
            Sampling {
                mirostat: Some(Mirostat { tau, eta: 0.1 }),
                ..Sampling::default()
            },
            1,
            0,
        )
        .unwrap();
        let mut bits = || {
            let token = sampler.sample(&pool, &logits, &Context::default()).unwrap();
            -f64::from(token.logprob) / std::f64::consts::LN_2
        };
        (0..200).map(|_| bits()).for_each(|bits| assert!(bits > 0.0));
        let mean = (0..1000).map(|_| bits()).sum::<f64>() / 1000.0;
        assert!((mean - f64::from(tau)).abs() < 0.1, "{mean} bits of {tau}");
    }
}
