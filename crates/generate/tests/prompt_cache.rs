//! A prompt out of a cache is, to the bit, the prompt that was read.

use foretoken_generate::{Generator, Options, Sampling, Token};
use foretoken_kernels::{Buffer, Pool};
use foretoken_model::{Model, init, registry};

fn model() -> (Box<dyn Model>, Buffer) {
    let model = registry::from_config(&serde_json::json!({
        "model_type": "gpt2", "vocab_size": 61, "n_positions": 600, "n_embd": 36, "n_layer": 2, "n_head": 3,
    }))
    .unwrap();
    let mut weights = init(model.params(), 9).unwrap();
    let decayed = model.params().decayed();
    weights[decayed].iter_mut().for_each(|w| *w *= 10.0);
    (model, weights)
}

fn text(generator: &mut Generator<'_>) -> Vec<(u32, u32)> {
    let options = Options {
        sampling: Sampling::default(),
        seed: 1,
        max_tokens: 12,
        end: vec![],
        vocab_size: 61,
        speculate: 0,
    };
    let tokens = generator.sample(&options, 0).unwrap().map(Result::unwrap);
    tokens.map(|Token { id, logprob }| (id, logprob.to_bits())).collect()
}

#[test]
fn what_is_shared_is_not_read_again_and_no_bit_differs() {
    let (model, weights) = model();
    let pool = Pool::new(2).unwrap();
    let ids: Vec<u32> = (0..600u32).map(|i| (i * 17 + i / 7 * 5) % 61).collect();
    let other = |from: usize, n: usize| -> Vec<u32> {
        let mut other = ids[..n].to_vec();
        other[from..].iter_mut().for_each(|id| *id = (*id + 1) % 61);
        other
    };
    let mut reader = Generator::new(&*model, &pool, &weights).unwrap();
    assert!(reader.prompt_cache().is_none());
    // The cache's prompt, the new prompt, and how much of it comes from the cache.
    for (kept, new, cached) in [
        (ids[..300].to_vec(), ids[..300].to_vec(), 300),
        (ids[..1].to_vec(), ids[..1].to_vec(), 1),
        (ids[..300].to_vec(), ids[..600].to_vec(), 256),
        (ids[..600].to_vec(), other(550, 580), 512),
        (ids[..600].to_vec(), ids[..520].to_vec(), 512),
        (ids[..600].to_vec(), ids[..512].to_vec(), 256),
        (ids[..300].to_vec(), other(255, 300), 0),
        (ids[..300].to_vec(), other(256, 257), 256),
        (ids[..100].to_vec(), ids[..200].to_vec(), 0),
    ] {
        reader.prompt(&kept, None).unwrap();
        // A text after it leaves the prompt's cache what it is, unless it slides past the context.
        if kept.len() < 500 {
            text(&mut reader);
        }
        let cache = reader.prompt_cache().unwrap();
        let [heads, tokens, dh] = reader.cache_shape(kept.len());
        assert_eq!((heads, tokens, dh), (6, kept.len(), 12));
        assert_eq!((&cache.ids, cache.key_values.keys.len()), (&kept, heads * tokens * dh));
        let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
        let prompt = generator.prompt_from(&new, None, Some(&cache)).unwrap();
        assert_eq!((prompt.used, prompt.cached), (new.len(), cached));
        assert_eq!(generator.tokens_read(), (new.len() - cached) as u64);
        let again = generator.prompt_cache().unwrap();
        reader.prompt(&new, None).unwrap();
        let read = reader.prompt_cache().unwrap();
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&again.key_values.keys), bits(&read.key_values.keys), "{cached}");
        assert_eq!(
            bits(&again.key_values.values),
            bits(&read.key_values.values),
            "{cached}"
        );
        assert_eq!(bits(&again.logits), bits(&read.logits), "{cached}");
        assert_eq!(text(&mut generator), text(&mut reader), "{cached}");
    }
    reader.prompt(&ids, None).unwrap();
    text(&mut reader);
    assert!(reader.prompt_cache().is_none());
}
