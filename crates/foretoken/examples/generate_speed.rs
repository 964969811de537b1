//! Prefill and decode of a GPT-2: f32, greedy, as a generator does it.
//!
//! `cargo run --release -p foretoken --example generate_speed -- DIR|PRESET [PROMPT_TOKENS 512 [TOKENS 64 [ROUNDS 5
//! [THREADS [SPECULATE 0]]]]]` prints a JSON object a round and a summary with medians. `DIR` is a run, a checkpoint or a GPT-2 in Hugging
//! Face's layout, with or without a tokeniser; a preset has random weights. It is the pair of
//! `benches/peers/hf_generate.py` and `llama_cpp_generate.py`: the prompt's ids are 7919 i mod V, and no token ends the text.

use foretoken::formats::{json, safetensors};
use foretoken::generate::{Generator, Options, Sampling, Speculated};
use foretoken::kernels::{Buffer, Pool};
use foretoken::model::{Model, gpt2::Gpt2, init, load, registry};
use foretoken::train::resident_memory;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args
        .first()
        .ok_or("usage: generate_speed DIR|PRESET [PROMPT_TOKENS [TOKENS [ROUNDS [THREADS [SPECULATE]]]]]")?;
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |value| value.parse());
    let (prompt, tokens, rounds) = (number(1, 512)?, number(2, 64)?, number(3, 5)?);
    let threads = number(4, std::thread::available_parallelism()?.get())?;
    let speculate = number(5, 0)?;
    if prompt == 0 || tokens == 0 || rounds == 0 || threads == 0 {
        return Err("every number is at least 1".into());
    }
    let (model, weights) = open(name)?;
    let dims = *model.dims();
    if prompt + tokens > dims.n_positions {
        return Err(format!("the model has n_positions = {}", dims.n_positions).into());
    }
    let pool = Pool::new(threads)?;
    let prompt_ids: Vec<u32> = (0..prompt).map(|i| (i * 7919 % dims.vocab_size) as u32).collect();
    let options = Options {
        sampling: Sampling::greedy(),
        seed: 0,
        max_tokens: tokens + 1,
        end: vec![],
        vocab_size: usize::MAX,
        speculate,
    };
    let mut generator = Generator::new(&*model, &pool, &weights)?;
    let (mut prefill, mut decode, mut ids) = (vec![], vec![], vec![]);
    let mut speculated = Speculated::default();
    for round in 0..=rounds {
        let begun = Instant::now();
        generator.prompt(&prompt_ids, None)?;
        let mut text = generator.sample(&options, 0)?;
        // It comes from the prompt's own logits.
        let first = text.next().ok_or("no token")??.id;
        let read = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        ids = vec![first];
        for token in &mut text {
            ids.push(token?.id);
        }
        speculated = text.speculated();
        let wrote = begun.elapsed().as_secs_f64();
        // The first round is not counted: it is the first to touch the pages of weights and cache.
        if round > 0 {
            let row = (prompt as f64 / read, tokens as f64 / wrote);
            println!(
                "{}",
                serde_json::json!({"round": round, "prefill": row.0, "decode": row.1})
            );
            prefill.push(row.0);
            decode.push(row.1);
        }
    }
    let summary = serde_json::json!({
        "model": name,
        "prefill_tokens_per_s": median(&mut prefill),
        "decode_tokens_per_s": median(&mut decode),
        "ids": ids,
        "proposed_tokens": speculated.proposed,
        "accepted_tokens": speculated.accepted,
        "peak_memory": resident_memory().map(|(_, peak)| peak),
        "threads": threads,
        "isa": pool.isa().name(),
    });
    println!("{summary}");
    Ok(())
}

fn open(name: &str) -> Result<(Box<dyn Model>, Buffer), Error> {
    if let Some(preset) = registry::Preset::find(name) {
        let model = Gpt2::new(preset.config())?;
        let weights = init(model.params(), 1)?;
        return Ok((Box::new(model), weights));
    }
    let dir = foretoken::locate(name.as_ref())?;
    let model = registry::from_config(&json::read_bounded(dir.join("config.json"), 1 << 20)?)?;
    let weights = load(model.params(), &safetensors::open_model_dir(&dir)?)?;
    Ok((model, weights))
}

/// As Python's: the mean of the two in the middle where their number is even.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        values[half]
    } else {
        (values[half - 1] + values[half]) / 2.0
    }
}
