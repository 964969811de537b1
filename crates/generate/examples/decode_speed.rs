//! Speed of generation with GPT-2 124M (or another preset) and random weights: a prompt of 512 tokens, then 64 tokens.
//!
//! `cargo run --release -p foretoken-generate --example decode_speed [PRESET [THREADS [ROUNDS]]]`
//!
//! A decoded token reads every weight once, so the yardstick is the rate at which the same threads read the same weights
//! and do nothing else. It is measured between the rounds, since machines drift. Medians are printed, and the best
//! of each, which a busy machine disturbs least.

use foretoken_generate::{Context, Generator, Options, Sampler, Sampling};
use foretoken_kernels::{Pool, sum_of_squares};
use foretoken_model::{Model, gpt2::Gpt2, init, registry::Preset};
use std::time::Instant;

const PROMPT: usize = 512;
const TOKENS: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "gpt2".into());
    let threads = match args.next() {
        Some(n) => n.parse()?,
        None => std::thread::available_parallelism()?.get(),
    };
    let rounds: usize = args.next().map_or(Ok(5), |n| n.parse())?;
    let preset = Preset::find(&name).ok_or_else(|| format!("no preset is called {name}"))?;
    let model = Gpt2::new(preset.config())?;
    let weights = init(model.params(), 1)?;
    let pool = Pool::new(threads)?;
    let v = model.dims().vocab_size;
    let dims = *model.dims();
    // Every tensor but the positions, of which a token reads one row; and the cached keys and values, on average.
    let params = 4.0 * (model.params().count() as f64 - (dims.n_positions * dims.n_embd) as f64);
    let cache = 4.0 * (2 * dims.n_layer * dims.n_embd * (PROMPT + TOKENS / 2)) as f64;
    let bytes = params + cache;
    println!(
        "{name}, {pool:?}: a token reads {:.1} MB of weights and {:.1} MB of cache",
        params / 1e6,
        cache / 1e6
    );

    let ids: Vec<u32> = (0..PROMPT as u32).map(|i| i * 7919 % v as u32).collect();
    let options = Options {
        sampling: Sampling::greedy(),
        seed: 0,
        max_tokens: TOKENS + 1,
        end: vec![],
        vocab_size: usize::MAX,
        speculate: 0,
    };
    let mut generator = Generator::new(&model, &pool, &weights)?;
    let (mut prefill, mut decode, mut read) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        prefill.push(time(|| generator.prompt(&ids, None).map(drop))?);
        let mut text = generator.sample(&options, 0)?;
        text.next(); // Comes from the prompt's own logits: no decode.
        decode.push(time(|| text.by_ref().try_for_each(|token| token.map(drop)))? / TOKENS as f64);
        read.push(time(|| {
            std::hint::black_box(sum_of_squares(&pool, &weights));
            Ok(())
        })?);
    }
    let rate = 4.0 * weights.len() as f64 / 1e9;
    for (what, of) in [("median", median as fn(&mut [f64]) -> f64), ("best", best)] {
        let (prefill, decode, read) = (of(&mut prefill), of(&mut decode), of(&mut read));
        println!(
            "{what}: prefill {:.1} tokens/s; decode {:.1} tokens/s, {:.1} GB/s, {:.0}% of the {:.1} GB/s of reading alone",
            PROMPT as f64 / prefill,
            1.0 / decode,
            bytes / decode / 1e9,
            100.0 * bytes / decode / (rate / read) / 1e9,
            rate / read
        );
    }
    let decode = median(&mut decode);
    sampling(&pool, v, &ids, decode)
}

/// Cost of a draw, next to a token's.
fn sampling(pool: &Pool, v: usize, history: &[u32], token: f64) -> Result<(), Box<dyn std::error::Error>> {
    let plain = Sampling::default();
    let usual = Sampling {
        temperature: 0.8,
        top_k: 50,
        top_p: 0.95,
        repetition_penalty: 1.1,
        ..plain.clone()
    };
    let nucleus = Sampling {
        top_p: 0.95,
        ..plain.clone()
    };
    // Logits as a trained model's: a few tokens far above the rest; and as an untrained one's: nearly flat.
    let wave = |scale: f32| -> Vec<f32> { (0..v).map(|i| (i as f32 * 1.7).sin().powi(9) * scale).collect() };
    for (shape, logits) in [("sharp", wave(14.0)), ("flat", wave(0.5))] {
        for (what, sampling) in [
            ("greedy", Sampling::greedy()),
            ("no filter", plain.clone()),
            ("top-k, top-p, penalty", usual.clone()),
            ("top-p alone", nucleus.clone()),
        ] {
            let mut sampler = Sampler::new(sampling, 1, 0)?;
            let mut times = vec![];
            for _ in 0..50 {
                times.push(time(|| {
                    sampler.sample(pool, &logits, &Context::prompt(history)).map(drop)
                })?);
            }
            let median = median(&mut times);
            println!(
                "draw, {shape} logits, {what}: {:.3} ms, {:.2}% of a token",
                median * 1e3,
                100.0 * median / token
            );
        }
    }
    Ok(())
}

fn time(run: impl FnOnce() -> Result<(), foretoken_generate::Error>) -> Result<f64, foretoken_generate::Error> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

fn best(times: &mut [f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
