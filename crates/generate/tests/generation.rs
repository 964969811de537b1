//! Generation over a small model with random weights, against the full forward and against itself.

use foretoken_generate::{Constraint, Error, Finish, Generator, Options, Sampling, Token, TokenSet};
use foretoken_kernels::{Buffer, CacheType, IGNORE_INDEX, Pool};
use foretoken_model::{Arena, Batch, Model, Pass, decode, init, registry};

/// A model of odd sizes, its weights drawn ten times wider than at the start of training: attention and logits are sharp.
fn model(n_positions: usize) -> (Box<dyn Model>, Buffer) {
    let model = registry::from_config(&serde_json::json!({
        "model_type": "gpt2", "vocab_size": 61, "n_positions": n_positions, "n_embd": 36, "n_layer": 2, "n_head": 3,
    }))
    .unwrap();
    let mut weights = init(model.params(), 9).unwrap();
    let decayed = model.params().decayed();
    weights[decayed].iter_mut().for_each(|w| *w *= 10.0);
    (model, weights)
}

fn some_ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 17 + i / 7 * 5) % 61).collect()
}

fn options(sampling: Sampling, seed: u64, max_tokens: usize) -> Options {
    Options {
        sampling,
        seed,
        max_tokens,
        end: vec![],
        vocab_size: usize::MAX,
        speculate: 0,
    }
}

fn tokens(generator: &mut Generator<'_>, options: &Options, index: u32) -> Vec<Token> {
    generator.sample(options, index).unwrap().map(Result::unwrap).collect()
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.id).collect()
}

/// Logits that follow the last of `ids`, by the forward of training.
fn full_forward(model: &dyn Model, pool: &Pool, weights: &[f32], ids: &[u32]) -> Vec<f32> {
    let v = model.dims().vocab_size;
    let mut logits = vec![0.0; ids.len() * v];
    let batch = Batch {
        b: 1,
        t: ids.len(),
        ids,
        targets: &vec![IGNORE_INDEX; ids.len()],
        documents: &[],
    };
    let mut arena = Arena::new(model.activations(1, ids.len(), Pass::Score)).unwrap();
    model.logits(pool, weights, &mut arena, &batch, &mut logits);
    logits.split_off((ids.len() - 1) * v)
}

/// The likeliest token, and by how much.
fn likeliest(logits: &[f32]) -> (u32, f32) {
    let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    let others = logits.iter().enumerate().filter(|(i, _)| *i != best);
    (
        best as u32,
        logits[best] - others.fold(f32::MIN, |max, (_, &x)| max.max(x)),
    )
}

fn log_softmax(logits: &[f32], id: u32) -> f32 {
    let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
    (f64::from(logits[id as usize]) - sum.ln()) as f32
}

/// Invariant: cached decode equals the full forward. Prompts of 1 to 8 tokens take the few-row products, longer ones the
/// packed matmul, more than 256 several chunks.
#[test]
fn memory_that_grows_with_the_text_changes_no_bit_of_it() {
    let (pool, (model, weights)) = (Pool::new(2).unwrap(), model(700));
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    // Room is made before the prompt is read, and again while the text grows.
    for prompt in [5, 250, 300] {
        let prompt = some_ids(prompt);
        generator.prompt(&prompt, None).unwrap();
        let options = options(Sampling::greedy(), 1, 690 - prompt.len());
        let generated = tokens(&mut generator, &options, 0);
        let mut state = model.decode_state(700, CacheType::F32).unwrap();
        let mut logits = vec![0.0; 61];
        decode(&*model, &pool, &weights, &mut state, &prompt, &mut logits);
        for token in generated {
            assert_eq!(token.id, likeliest(&logits).0);
            decode(&*model, &pool, &weights, &mut state, &[token.id], &mut logits);
        }
        assert_eq!(state.len(), 690);
        let cache = generator.prompt_cache().unwrap();
        state.truncate(prompt.len());
        assert_eq!(cache.key_values, state.key_values(&pool));
    }
}

#[test]
fn cached_logits_equal_the_full_forward_at_every_step() {
    let (model, weights) = model(320);
    let pool = Pool::new(1).unwrap();
    for n in [1, 2, 3, 7, 8, 9, 63, 64, 65, 256, 257, 300] {
        let mut text = some_ids(n);
        let mut state = model.decode_state(320, CacheType::F32).unwrap();
        let mut logits = vec![0.0; 61];
        decode(&*model, &pool, &weights, &mut state, &text, &mut logits);
        for step in 0..12 {
            let full = full_forward(&*model, &pool, &weights, &text);
            for (cached, full) in logits.iter().zip(&full) {
                assert!(
                    (cached - full).abs() < 1e-4,
                    "prompt {n}, step {step}: {cached} and {full}"
                );
            }
            let (next, _) = likeliest(&full);
            text.push(next);
            decode(&*model, &pool, &weights, &mut state, &[next], &mut logits);
        }
    }
}

#[test]
fn greedy_takes_the_full_forwards_likeliest_token_with_its_log_probability() {
    let (model, weights) = model(320);
    let pool = Pool::new(1).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    for n in [1, 2, 8, 9, 64, 300] {
        let mut text = some_ids(n);
        generator.prompt(&text, None).unwrap();
        for token in tokens(&mut generator, &options(Sampling::greedy(), 0, 16), 0) {
            let full = full_forward(&*model, &pool, &weights, &text);
            let (want, margin) = likeliest(&full);
            assert!(margin > 2e-4, "prompt {n}: a tie says nothing, take other weights");
            assert_eq!(token.id, want, "prompt {n}");
            assert!((token.logprob - log_softmax(&full, want)).abs() < 1e-4);
            text.push(want);
        }
        assert_eq!(text.len(), n + 16);
    }
}

#[test]
fn past_the_context_the_newest_half_is_read_again() {
    let n_positions = 24;
    let (model, weights) = model(n_positions);
    let pool = Pool::new(1).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    let prompt = generator.prompt(&some_ids(20), None).unwrap();
    assert_eq!((prompt.used, prompt.dropped), (20, 0));
    let found = tokens(&mut generator, &options(Sampling::greedy(), 0, 100), 0);
    // What the model sees, by the rule of the doc comment.
    let mut window = some_ids(20);
    for (i, token) in found.iter().enumerate() {
        let full = full_forward(&*model, &pool, &weights, &window);
        let (want, margin) = likeliest(&full);
        assert!(margin > 2e-4, "step {i}: a tie says nothing");
        assert_eq!(token.id, want, "step {i}");
        assert!((token.logprob - log_softmax(&full, want)).abs() < 1e-4, "step {i}");
        window.push(want);
        if window.len() > n_positions {
            window.drain(..window.len() - n_positions / 2);
        }
    }
    assert_eq!(found.len(), 100);
}

#[test]
fn contexts_of_one_and_two_tokens_slide_too() {
    for n_positions in [1, 2, 3] {
        let (model, weights) = model(n_positions);
        let pool = Pool::new(1).unwrap();
        let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
        generator.prompt(&some_ids(9), None).unwrap();
        let found = tokens(&mut generator, &options(Sampling::default(), 1, 30), 0);
        assert!(found.len() == 30 && found.iter().all(|t| t.logprob.is_finite()));
    }
}

#[test]
fn a_long_prompt_keeps_its_last_part_and_an_empty_one_begins_with_the_begin_token() {
    let (model, weights) = model(16);
    let pool = Pool::new(1).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    let o = options(Sampling::default(), 5, 8);
    let long = some_ids(50);
    let prompt = generator.prompt(&long, None).unwrap();
    assert_eq!((prompt.used, prompt.dropped), (16, 34));
    let found = tokens(&mut generator, &o, 0);
    generator.prompt(&long[34..], None).unwrap();
    assert_eq!(tokens(&mut generator, &o, 0), found);
    let prompt = generator.prompt(&[], Some(60)).unwrap();
    assert_eq!((prompt.used, prompt.dropped), (1, 0));
    let found = tokens(&mut generator, &o, 0);
    generator.prompt(&[60], Some(3)).unwrap();
    assert_eq!(tokens(&mut generator, &o, 0), found);
}

#[test]
fn the_same_seed_gives_the_same_text_on_any_number_of_threads() {
    let (model, weights) = model(64);
    let o = options(
        Sampling {
            temperature: 1.3,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.001,
            repetition_penalty: 1.1,
            ..Sampling::default()
        },
        11,
        120,
    );
    let run = |threads, prompt: &[u32]| {
        let pool = Pool::new(threads).unwrap();
        let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
        generator.prompt(prompt, None).unwrap();
        (tokens(&mut generator, &o, 0), tokens(&mut generator, &o, 1))
    };
    for n in [3, 40] {
        let (first, second) = run(1, &some_ids(n));
        assert_eq!(run(2, &some_ids(n)), (first.clone(), second.clone()));
        assert_eq!(run(3, &some_ids(n)), (first.clone(), second.clone()));
        assert_ne!(ids(&first), ids(&second));
    }
    let pool = Pool::new(1).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    generator.prompt(&some_ids(3), None).unwrap();
    let other = options(o.sampling.clone(), 12, 120);
    assert_ne!(
        ids(&tokens(&mut generator, &other, 0)),
        ids(&tokens(&mut generator, &o, 0))
    );
}

/// Text `i` of several is text `i` alone, whether the texts before it stayed in the context, slid past it, or were
/// dropped half way.
#[test]
fn a_text_does_not_depend_on_those_before_it() {
    let (model, weights) = model(32);
    let pool = Pool::new(1).unwrap();
    for max_tokens in [10, 70] {
        let o = options(Sampling::default(), 3, max_tokens);
        let mut all = Generator::new(&*model, &pool, &weights).unwrap();
        all.prompt(&some_ids(12), None).unwrap();
        for index in 0..4 {
            let mut alone = Generator::new(&*model, &pool, &weights).unwrap();
            alone.prompt(&some_ids(12), None).unwrap();
            let found = tokens(&mut all, &o, index);
            assert_eq!(
                found,
                tokens(&mut alone, &o, index),
                "text {index} of {max_tokens} tokens"
            );
            assert_eq!(all.sample(&o, 9).unwrap().take(5).count(), 5);
        }
    }
}

#[test]
fn an_end_token_ends_the_text_and_is_not_part_of_it() {
    let (model, weights) = model(64);
    let pool = Pool::new(1).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    generator.prompt(&some_ids(5), None).unwrap();
    let mut o = options(Sampling::default(), 2, 40);
    let whole = ids(&tokens(&mut generator, &o, 0));
    let end = whole[25];
    let first = whole.iter().position(|&id| id == end).unwrap();
    o.end = vec![60_000, end];
    let mut text = generator.sample(&o, 0).unwrap();
    assert_eq!(text.finish(), None);
    let found: Vec<Token> = text.by_ref().map(Result::unwrap).collect();
    assert_eq!(text.finish(), Some(Finish::End(end)));
    assert!(text.next().is_none());
    assert_eq!(ids(&found), whole[..first]);
    o.end = vec![];
    o.max_tokens = 0;
    let mut text = generator.sample(&o, 0).unwrap();
    assert!(text.next().is_none() && text.finish() == Some(Finish::MaxTokens));
}

#[test]
fn what_the_world_gets_wrong_is_an_error_that_says_so() {
    let (model, mut weights) = model(16);
    let pool = Pool::new(1).unwrap();
    let o = options(Sampling::default(), 0, 5);
    {
        let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
        assert!(matches!(generator.sample(&o, 0), Err(Error::EmptyPrompt)));
        assert!(matches!(generator.prompt(&[], None), Err(Error::EmptyPrompt)));
        let error = generator.prompt(&[1, 61, 2], None).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Token {
                    id: 61,
                    position: 1,
                    vocab_size: 61
                }
            ),
            "{error}"
        );
        assert!(generator.prompt(&[], Some(u32::MAX)).is_err());
        generator.prompt(&[1], None).unwrap();
        let bad = options(
            Sampling {
                top_p: 1.5,
                ..Sampling::default()
            },
            0,
            5,
        );
        assert!(matches!(
            generator.sample(&bad, 0),
            Err(Error::Sampling { field: "top_p", .. })
        ));
    }
    // A diverged model: one error, then the end.
    weights.fill(f32::NAN);
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    generator.prompt(&[1, 2], None).unwrap();
    let mut text = generator.sample(&o, 0).unwrap();
    assert!(matches!(text.next(), Some(Err(Error::NotFinite { .. }))));
    assert!(text.next().is_none() && text.finish().is_none());
}

#[test]
fn a_padded_vocabularys_tail_is_never_drawn() {
    let (model, weights) = model(64);
    let pool = Pool::new(1).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    generator.prompt(&some_ids(5), None).unwrap();
    let hot = Sampling {
        temperature: 5.0,
        ..Sampling::default()
    };
    let whole = tokens(&mut generator, &options(hot.clone(), 3, 200), 0);
    assert!(
        whole.iter().any(|token| token.id >= 40),
        "the tail is drawn where nothing forbids it"
    );
    generator.prompt(&[1, 2, 3], None).unwrap();
    let padded = Options {
        vocab_size: 40,
        ..options(hot, 3, 200)
    };
    assert!(tokens(&mut generator, &padded, 0).iter().all(|token| token.id < 40));
}

/// Ids that rise by one to three, up to a highest; then the text is whole.
#[derive(Debug)]
struct Rising {
    last: u32,
    highest: u32,
}

impl Constraint for Rising {
    fn allowed(&mut self, allowed: &mut TokenSet) -> Result<(), Error> {
        *allowed = (self.last + 1..=(self.last + 3).min(self.highest)).collect();
        Ok(())
    }

    fn accept(&mut self, id: u32) -> Result<(), Error> {
        if !(self.last + 1..=self.last + 3).contains(&id) {
            return Err(Error::Constraint(format!("{id} after {}", self.last)));
        }
        self.last = id;
        Ok(())
    }

    fn is_complete(&mut self) -> bool {
        self.last == self.highest
    }
}

#[test]
fn a_constraint_holds_for_every_token_and_ends_the_text() {
    let (model, weights) = model(16);
    let pool = Pool::new(1).unwrap();
    let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
    generator.prompt(&some_ids(5), None).unwrap();
    let hot = Sampling {
        temperature: 3.0,
        ..Sampling::default()
    };
    for sampling in [hot, Sampling::greedy()] {
        let mut o = options(sampling, 4, 100);
        let mut rising = Rising { last: 0, highest: 50 };
        let mut text = generator.sample(&o, 0).unwrap().constrained(&mut rising);
        let found: Vec<u32> = text.by_ref().map(|token| token.unwrap().id).collect();
        assert_eq!(text.finish(), Some(Finish::Complete));
        assert!(found.last() == Some(&50) && found[0] <= 3);
        assert!(found.windows(2).all(|w| (1..=3).contains(&(w[1] - w[0]))), "{found:?}");
        // A limit comes first, and what the bias forbids stays forbidden.
        o.max_tokens = 3;
        let mut rising = Rising { last: 0, highest: 50 };
        let mut text = generator.sample(&o, 0).unwrap().constrained(&mut rising);
        assert_eq!(text.by_ref().count(), 3);
        assert_eq!(text.finish(), Some(Finish::MaxTokens));
        o.sampling.logit_bias = (1..4).map(|id| (id, -100.0)).collect();
        let mut rising = Rising { last: 0, highest: 50 };
        let mut text = generator.sample(&o, 0).unwrap().constrained(&mut rising);
        assert!(matches!(text.next(), Some(Err(Error::NoCandidate { .. }))));
        assert!(text.next().is_none() && text.finish().is_none());
    }
}
