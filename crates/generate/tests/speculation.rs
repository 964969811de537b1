//! Guessed tokens change nothing: not a bit of a logit, not a token of a text.

use foretoken_generate::{
    Dry, Error, Finish, Generator, MAX_SPECULATE, Mirostat, Options, Sampling, Speculated, Token, Xtc,
};
use foretoken_kernels::{Buffer, CacheType, Isa, Pool};
use foretoken_model::{Model, decode, decode_each, init, registry};

const V: usize = 61;

fn model(n_positions: usize) -> (Box<dyn Model>, Buffer) {
    let model = registry::from_config(&serde_json::json!({
        "model_type": "gpt2", "vocab_size": V, "n_positions": n_positions, "n_embd": 84, "n_layer": 2, "n_head": 3,
    }))
    .unwrap();
    let mut weights = init(model.params(), 9).unwrap();
    let decayed = model.params().decayed();
    weights[decayed].iter_mut().for_each(|w| *w *= 6.0);
    (model, weights)
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn tokens_read_together_get_the_bits_they_get_one_by_one() {
    let (model, weights) = model(320);
    let ids: Vec<u32> = (0..320u32).map(|i| (i * 17 + i / 7 * 5) % V as u32).collect();
    for isa in Isa::available() {
        for threads in [1, 3] {
            let pool = Pool::with_isa(threads, isa);
            let mut alone = model.decode_state(320, CacheType::F32).unwrap();
            let mut together = model.decode_state(320, CacheType::F32).unwrap();
            let (mut want, mut found) = (vec![0.0; V], Vec::new());
            for (past, t) in [(0, 5), (1, 7), (13, 8), (63, 20), (250, 64), (300, 15), (300, 1)] {
                for state in [&mut alone, &mut together] {
                    state.truncate(0);
                    if past > 0 {
                        decode(&*model, &pool, &weights, state, &ids[..past], &mut want);
                    }
                }
                found.resize(t * V, 0.0);
                decode_each(
                    &*model,
                    &pool,
                    &weights,
                    &mut together,
                    &ids[past..past + t],
                    &mut found,
                );
                for (i, found) in found.chunks(V).enumerate() {
                    decode(&*model, &pool, &weights, &mut alone, &ids[past + i..][..1], &mut want);
                    assert_eq!(bits(found), bits(&want), "{isa:?}: token {i} of {t} after {past}");
                }
                // What the cache holds is the same too: it shows in what follows.
                let mut next = vec![0.0; V];
                decode(&*model, &pool, &weights, &mut together, &[3], &mut next);
                decode(&*model, &pool, &weights, &mut alone, &[3], &mut want);
                assert_eq!(bits(&next), bits(&want));
            }
        }
    }
}

fn run(generator: &mut Generator<'_>, options: &Options) -> (Vec<Token>, Option<Finish>, Speculated) {
    let mut text = generator.sample(options, 0).unwrap();
    let tokens = text.by_ref().map(Result::unwrap).collect();
    (tokens, text.finish(), text.speculated())
}

fn all_on() -> Sampling {
    Sampling {
        temperature: 0.7,
        top_k: 40,
        typical_p: 0.95,
        presence_penalty: 0.1,
        frequency_penalty: -0.3,
        logit_bias: vec![(3, 1.0), (4, -100.0)],
        dry: Some(Dry::default()),
        xtc: Some(Xtc {
            probability: 0.2,
            threshold: 0.1,
        }),
        mirostat: Some(Mirostat::default()),
        ..Sampling::default()
    }
}

/// Greedy, drawn, and with every step of sampling; repetitive prompts and others; within the context of 48 and far past it.
#[test]
fn no_text_changes() {
    let (model, weights) = model(48);
    let pool = Pool::new(2).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    let bold = Sampling {
        temperature: 0.3,
        ..Sampling::default()
    };
    let mut total = Speculated::default();
    for prompt in 0..12u32 {
        let period = 1 + prompt % 6;
        let ids: Vec<u32> = match prompt % 3 {
            0 => (0..30).map(|i| i % period * 7 % V as u32).collect(),
            1 => (0..3 + prompt).map(|i| (i * i * 13 + prompt) % V as u32).collect(),
            _ => (0..44).map(|i| (i % 11 * prompt) % V as u32).collect(),
        };
        generator.prompt(&ids, None).unwrap();
        for (sampling, max_tokens) in [
            (Sampling::greedy(), 140),
            (Sampling::greedy(), 5),
            (bold.clone(), 60),
            (all_on(), 60),
        ] {
            let mut options = Options {
                sampling,
                seed: prompt.into(),
                max_tokens,
                end: vec![],
                vocab_size: V,
                speculate: 0,
            };
            let plain = run(&mut generator, &options);
            assert_eq!(plain.2, Speculated::default());
            for speculate in [1, 3, 10, MAX_SPECULATE] {
                options.speculate = speculate;
                let guessed = run(&mut generator, &options);
                assert_eq!((&guessed.0, guessed.1), (&plain.0, plain.1), "{prompt} {options:?}");
                assert!(guessed.2.accepted <= guessed.2.proposed);
                total.proposed += guessed.2.proposed;
                total.accepted += guessed.2.accepted;
            }
            // An end token among the guesses ends the text where it ends without them.
            options.end = vec![plain.0[plain.0.len() / 2].id];
            let ended = run(&mut generator, &options);
            options.speculate = 0;
            let plain = run(&mut generator, &options);
            assert_eq!((ended.0, ended.1), (plain.0, plain.1));
        }
    }
    assert!(total.accepted > 1000 && total.proposed > total.accepted, "{total:?}");
}

/// A text that repeats itself is read in few steps: that is what it is for.
#[test]
fn repetition_is_read_in_few_steps() {
    let (model, weights) = model(256);
    let pool = Pool::new(1).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    generator.prompt(&[1, 2, 3], None).unwrap();
    // All but 5, 6, 7 are forbidden, and what was said is welcome: a loop.
    let sampling = Sampling {
        logit_bias: (0..V as u32)
            .filter(|id| !(5..8).contains(id))
            .map(|id| (id, -100.0))
            .collect(),
        frequency_penalty: -50.0,
        ..Sampling::greedy()
    };
    let mut options = Options {
        sampling,
        seed: 0,
        max_tokens: 200,
        end: vec![],
        vocab_size: V,
        speculate: 10,
    };
    let (tokens, _, speculated) = run(&mut generator, &options);
    assert_eq!(tokens.len(), 200);
    assert!(speculated.accepted > 170 && speculated.proposed < 200, "{speculated:?}");
    options.speculate = MAX_SPECULATE + 1;
    assert!(matches!(
        generator.sample(&options, 0),
        Err(Error::Sampling { field: "speculate", .. })
    ));
}
