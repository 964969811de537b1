//! Many texts together: each is the text it is alone.

use foretoken_generate::{
    Constraint, Engine, Error, Event, Finish, Generator, Options, Request, Sampling, TextId, Thought, TokenSet,
};
use foretoken_kernels::{PackedType, Pool};
use foretoken_model::{Model, PackedWeights, Source, init, registry};
use std::collections::BTreeMap;

const V: usize = 61;

fn model(n_positions: usize) -> Box<dyn Model> {
    let config = serde_json::json!({
        "model_type": "gpt2", "vocab_size": V, "n_positions": n_positions, "n_embd": 64, "n_layer": 2, "n_head": 2,
    });
    registry::from_config(&config).unwrap()
}

fn llama(n_positions: usize) -> Box<dyn Model> {
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": V, "max_position_embeddings": n_positions, "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true,
    });
    registry::from_config(&config).unwrap()
}

/// Weights ten times wider than at the start of training: attention and logits are sharp.
fn weights(model: &dyn Model, pool: &Pool, kind: Option<PackedType>) -> PackedWeights {
    let mut weights = init(model.params(), 9).unwrap();
    let decayed = model.params().decayed();
    weights[decayed].iter_mut().for_each(|w| *w *= 10.0);
    PackedWeights::new(model, pool, Source::Arena(&weights), kind).unwrap()
}

fn some_ids(n: usize, salt: u32) -> Vec<u32> {
    (0..n as u32)
        .map(|i| (i * 17 + i / 7 * 5 + salt * 3) % V as u32)
        .collect()
}

fn request(prompt: Vec<u32>, seed: u64, max_tokens: usize) -> Request {
    Request {
        prompt,
        sampling: Sampling::default(),
        seed,
        index: 0,
        max_tokens,
        end: vec![],
        vocab_size: V,
        constraint: None,
        logprobs: None,
        score_prompt: false,
    }
}

#[derive(Debug, Default, PartialEq)]
struct Text {
    cached: usize,
    scored: Vec<Thought>,
    ids: Vec<u32>,
    thoughts: Vec<Thought>,
    finish: Option<Finish>,
    error: Option<String>,
}

fn take(texts: &mut BTreeMap<TextId, Text>, id: TextId, event: Event) {
    let text = texts.entry(id).or_default();
    assert!(
        text.finish.is_none() && text.error.is_none(),
        "nothing comes after the end"
    );
    match event {
        Event::Admitted { cached } => text.cached = cached,
        Event::Scored(thoughts) => text.scored.extend(thoughts),
        Event::Token { id, thought } => {
            text.ids.push(id);
            text.thoughts.extend(thought);
        }
        Event::Finished { finish, end } => {
            text.thoughts.extend(end);
            text.finish = Some(finish);
        }
        Event::Failed(error) => text.error = Some(error.to_string()),
    }
}

fn run(engine: &mut Engine<'_>) -> BTreeMap<TextId, Text> {
    let mut texts = BTreeMap::new();
    while !engine.is_idle() {
        engine.step(&mut |id, event| take(&mut texts, id, event));
    }
    texts
}

fn alone(engine: &mut Engine<'_>, request: Request) -> Text {
    let id = engine.submit(0, request).unwrap();
    run(engine).remove(&id).unwrap()
}

/// Prompts of all kinds: short, of several chunks, with a beginning in common, the same twice.
fn mixed() -> Vec<Request> {
    let mut all = Vec::new();
    for i in 0..16u32 {
        let length = [1, 5, 17, 300, 256, 8, 257, 64][i as usize % 8];
        let mut one = request(some_ids(length, i % 3), 100 + u64::from(i / 2), 3 + i as usize * 2);
        one.index = i % 2;
        one.sampling.temperature = [0.0, 1.0, 0.7][i as usize % 3];
        one.sampling.top_k = [0, 5][i as usize % 2];
        one.logprobs = [None, Some(0), Some(3)][i as usize % 3];
        one.score_prompt = i % 5 == 4;
        one.end = vec![7];
        all.push(one);
    }
    all
}

#[test]
fn a_text_alone_is_the_text_in_a_batch_to_the_bit() {
    for (model, threads, kind) in [
        (model(600), 1, None),
        (model(600), 2, Some(PackedType::Q8_0)),
        (model(600), 2, Some(PackedType::F16)),
        (llama(600), 2, Some(PackedType::Q8_0)),
    ] {
        let pool = Pool::new(threads).unwrap();
        let weights = weights(&*model, &pool, kind);
        let engine = |most| Engine::new(&*model, &pool, &weights, most);
        let want: Vec<Text> = mixed().into_iter().map(|one| alone(&mut engine(1), one)).collect();
        for most in [1, 3, 32] {
            let mut engine = engine(most);
            // Twice: the second time prefixes are there.
            for round in 0..2 {
                let ids: Vec<TextId> = (mixed().into_iter().enumerate())
                    .map(|(i, one)| engine.submit(i as u64 % 4, one).unwrap())
                    .collect();
                let mut got = run(&mut engine);
                for (id, want) in ids.iter().zip(&want) {
                    let mut got = got.remove(id).unwrap();
                    got.cached = want.cached;
                    assert_eq!(&got, want, "{} {most} {round} {kind:?}", model.model_type());
                }
            }
            // Else nothing was said about what is used again. Which slots are given up depends on who ends when.
            let stats = engine.stats();
            assert!(most < 32 || stats.cached_tokens >= 256, "{stats:?}");
        }
    }
}

#[test]
fn its_text_is_the_generator_s() {
    let model = model(600);
    let pool = Pool::new(1).unwrap();
    let weights = weights(&*model, &pool, None);
    for length in [3, 300] {
        let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
        generator.prompt(&some_ids(length, 0), None).unwrap();
        let options = Options {
            sampling: Sampling::default(),
            seed: 5,
            max_tokens: 40,
            end: vec![],
            vocab_size: V,
            speculate: 0,
        };
        let want: Vec<u32> = generator.sample(&options, 2).unwrap().map(|t| t.unwrap().id).collect();
        let mut one = request(some_ids(length, 0), 5, 40);
        one.index = 2;
        assert_eq!(alone(&mut Engine::new(&*model, &pool, &weights, 4), one).ids, want);
    }
}

#[test]
fn a_cancelled_text_is_gone_at_once_and_the_others_are_as_they_were() {
    let model = model(600);
    let pool = Pool::new(1).unwrap();
    let weights = weights(&*model, &pool, None);
    let mut engine = Engine::new(&*model, &pool, &weights, 3);
    let want = alone(
        &mut Engine::new(&*model, &pool, &weights, 1),
        request(some_ids(9, 1), 3, 30),
    );
    // One that stays, one that reads, one that writes, and one that waits.
    let mut submit = |flow, prompt, seed| engine.submit(flow, request(prompt, seed, 30)).unwrap();
    let stays = submit(0, some_ids(9, 1), 3);
    let reads = submit(1, some_ids(500, 2), 4);
    let writes = submit(2, some_ids(4, 3), 4);
    let waits = submit(3, some_ids(4, 2), 4);
    let mut texts = BTreeMap::new();
    let mut step = |engine: &mut Engine<'_>| engine.step(&mut |id, event| take(&mut texts, id, event));
    step(&mut engine);
    step(&mut engine);
    assert_eq!((engine.running(), engine.waiting()), (3, 1));
    assert!(engine.cancel(reads) && engine.cancel(waits) && !engine.cancel(waits));
    assert_eq!((engine.running(), engine.waiting()), (2, 0));
    step(&mut engine);
    assert!(engine.cancel(writes));
    while !engine.is_idle() {
        step(&mut engine);
    }
    assert_eq!(texts[&stays], want);
    assert!(texts[&reads].ids.is_empty() && !texts.contains_key(&waits) && texts[&writes].ids.len() == 1);
    // What was half read serves whoever comes next, with the same bits.
    let again = alone(&mut engine, request(some_ids(500, 2), 4, 30));
    let fresh = alone(
        &mut Engine::new(&*model, &pool, &weights, 1),
        request(some_ids(500, 2), 4, 30),
    );
    assert_eq!((again.ids, again.cached), (fresh.ids, 256));
}

#[test]
fn a_long_prompt_stalls_nobody_and_who_asks_for_much_waits_for_himself() {
    let model = model(2048);
    let pool = Pool::new(1).unwrap();
    let weights = weights(&*model, &pool, None);
    let mut engine = Engine::new(&*model, &pool, &weights, 3);
    let writes = engine.submit(0, request(some_ids(4, 0), 1, 40)).unwrap();
    engine.step(&mut |_, _| {});
    engine.submit(1, request(some_ids(2000, 1), 1, 2)).unwrap();
    let short = engine.submit(2, request(some_ids(5, 2), 1, 3)).unwrap();
    let mut texts = BTreeMap::new();
    for step in 1..=8 {
        let read = engine.stats().prompt_tokens;
        engine.step(&mut |id, event| take(&mut texts, id, event));
        assert_eq!(texts[&writes].ids.len(), step, "a token a step, whatever is read");
        assert!(engine.stats().prompt_tokens - read <= 256);
    }
    assert_eq!(
        texts[&short].ids.len(),
        3,
        "it was read between two chunks of the long one"
    );
    run(&mut engine);
    // Ten of one, then one of another: with one place, the other is second.
    let mut engine = Engine::new(&*model, &pool, &weights, 1);
    for _ in 0..10 {
        engine.submit(7, request(some_ids(3, 0), 1, 2)).unwrap();
    }
    let other = engine.submit(8, request(some_ids(3, 0), 1, 2)).unwrap();
    let mut ends = Vec::new();
    while !engine.is_idle() {
        engine.step(&mut |id, event| ends.extend(matches!(event, Event::Finished { .. }).then_some(id)));
    }
    assert_eq!((ends.len(), ends.iter().position(|id| *id == other)), (11, Some(1)));
}

#[test]
fn a_scored_prompt_says_what_the_model_thought_of_each_place() {
    let model = model(600);
    let pool = Pool::new(1).unwrap();
    let weights = weights(&*model, &pool, None);
    let ids = some_ids(290, 4);
    let scored = |max_tokens| {
        let mut one = request(ids.clone(), 1, max_tokens);
        one.sampling = Sampling::greedy();
        (one.logprobs, one.score_prompt) = (Some(2), true);
        alone(&mut Engine::new(&*model, &pool, &weights, 1), one)
    };
    let text = scored(0);
    assert_eq!(
        (text.scored.len(), text.ids.len(), text.finish),
        (289, 0, Some(Finish::MaxTokens))
    );
    for (thought, id) in text.scored.iter().zip(&ids[1..]) {
        assert_eq!((thought.token.id, thought.top.len()), (*id, 2));
        assert!(thought.top[0].logprob >= thought.token.logprob);
    }
    // The same numbers one place at a time, within the tolerance of cached decoding.
    for at in [1, 64, 289] {
        let mut one = request(ids[..at].to_vec(), 1, 1);
        one.sampling = Sampling::greedy();
        one.sampling.logit_bias = vec![(ids[at], 100.0)];
        one.logprobs = Some(0);
        let next = &alone(&mut Engine::new(&*model, &pool, &weights, 1), one).thoughts[0].token;
        let there = &text.scored[at - 1].token;
        assert_eq!(next.id, there.id);
        assert!((next.logprob - there.logprob).abs() < 1e-4, "{at}: {next:?} {there:?}");
    }
    let one = scored(1);
    assert_eq!((&one.scored, one.ids.len(), one.thoughts.len()), (&text.scored, 1, 1));
    assert_eq!(
        one.thoughts[0].token, one.thoughts[0].top[0],
        "the likeliest is the likeliest to the bit"
    );
}

/// Allows `left` tokens of id 3.
#[derive(Debug)]
struct Threes(usize);

impl Constraint for Threes {
    fn allowed(&mut self, allowed: &mut TokenSet) -> Result<(), Error> {
        *allowed = [3].into_iter().collect();
        Ok(())
    }
    fn accept(&mut self, id: u32) -> Result<(), Error> {
        assert_eq!(id, 3);
        self.0 -= 1;
        match self.0 {
            99 => Err(Error::Constraint("one hundred".into())),
            _ => Ok(()),
        }
    }
    fn is_complete(&mut self) -> bool {
        self.0 == 0
    }
}

#[test]
fn texts_end_each_in_their_own_way() {
    let model = model(64);
    let pool = Pool::new(1).unwrap();
    let weights = weights(&*model, &pool, None);
    let mut engine = Engine::new(&*model, &pool, &weights, 8);
    let mut submit = |change: &dyn Fn(&mut Request)| {
        let mut one = request(some_ids(3, 0), 1, 6);
        change(&mut one);
        engine.submit(0, one)
    };
    let complete = submit(&|one| one.constraint = Some(Box::new(Threes(4)))).unwrap();
    let fails = submit(&|one| one.constraint = Some(Box::new(Threes(100)))).unwrap();
    let limit = submit(&|_| {}).unwrap();
    let end = submit(&|one| (one.end, one.logprobs) = ((0..V as u32).collect(), Some(0))).unwrap();
    let none = submit(&|one| one.max_tokens = 0).unwrap();
    let forbidden = submit(&|one| one.sampling.logit_bias = (0..V as u32).map(|id| (id, -100.0)).collect()).unwrap();
    // What cannot be is refused before it is taken in.
    let error = |result: Result<TextId, Error>| result.unwrap_err().to_string();
    assert!(error(submit(&|one| one.prompt.clear())).contains("empty"));
    assert!(error(submit(&|one| one.prompt[1] = V as u32)).contains("token 61 at position 1"));
    assert!(error(submit(&|one| one.max_tokens = 62)).contains("context of 64"));
    assert!(error(submit(&|one| one.max_tokens = usize::MAX)).contains("context of 64"));
    assert!(error(submit(&|one| one.sampling.temperature = f32::NAN)).contains("temperature"));
    assert!(error(submit(&|one| one.sampling.logit_bias = vec![(V as u32, 1.0)])).contains("logit bias"));
    let texts = run(&mut engine);
    assert_eq!(
        (texts[&complete].ids.as_slice(), texts[&complete].finish),
        (&[3; 4][..], Some(Finish::Complete))
    );
    assert!(
        texts[&fails]
            .error
            .as_ref()
            .is_some_and(|error| error.contains("one hundred"))
    );
    assert_eq!(
        (texts[&limit].ids.len(), texts[&limit].finish),
        (6, Some(Finish::MaxTokens))
    );
    assert!(matches!(texts[&end].finish, Some(Finish::End(_))) && texts[&end].thoughts.len() == 1);
    assert_eq!(
        (texts[&none].ids.len(), texts[&none].finish),
        (0, Some(Finish::MaxTokens))
    );
    assert!(
        texts[&forbidden]
            .error
            .as_ref()
            .is_some_and(|error| error.contains("no token is left"))
    );
    assert_eq!(texts.len(), 6);
}
