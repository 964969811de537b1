//! Time of a GPT-2 training step, from random weights or from those of a model in Hugging Face's layout.
//!
//! `cargo run --release -p foretoken --example train_speed -- [--preset gpt2 | --match DIR] [--batch-size 4]
//! [--seq-len 1024] [--steps 6] [--threads N] [--recompute selective]` prints a JSON object a step and a summary. With
//! `--match` the losses are those of `benches/peers/torch_train.py --match`, step by step; without it, `foretoken bench
//! --only train` says more.

use foretoken::bench::{self, Event};
use foretoken::formats::{json, safetensors};
use foretoken::kernels::Pool;
use foretoken::model::{Model, Recompute, gpt2::Gpt2, init, load, registry};
use std::collections::HashMap;

type Error = Box<dyn std::error::Error>;

const FLAGS: [&str; 7] = [
    "--preset",
    "--match",
    "--batch-size",
    "--seq-len",
    "--steps",
    "--threads",
    "--recompute",
];

fn main() -> Result<(), Error> {
    let flags = flags(std::env::args().skip(1))?;
    let number = |flag: &str, default: usize| flags.get(flag).map_or(Ok(default), |value| value.parse());
    let (b, t, steps) = (
        number("--batch-size", 4)?,
        number("--seq-len", 1024)?,
        number("--steps", 6)?,
    );
    let threads = number("--threads", std::thread::available_parallelism()?.get())?;
    if steps < 2 {
        return Err("--steps is at least 2: the first is not counted".into());
    }
    let matched = flags
        .get("--match")
        .map(|dir| foretoken::locate(dir.as_ref()))
        .transpose()?;
    let preset = flags.get("--preset").map_or("gpt2", String::as_str);
    let model: Box<dyn Model> = match &matched {
        Some(dir) => registry::from_config(&json::read_bounded(dir.join("config.json"), 1 << 20)?)?,
        None => {
            let found = registry::Preset::find(preset).ok_or_else(|| format!("no preset is called {preset}"))?;
            Box::new(Gpt2::new(found.config())?)
        }
    };
    let pool = Pool::new(threads)?;
    let weights = || match &matched {
        Some(dir) => Ok(load(model.params(), &safetensors::open_model_dir(dir)?)?),
        None => Ok(init(model.params(), 1337)?),
    };
    let recompute = match flags.get("--recompute") {
        Some(name) => serde_json::from_value::<Recompute>(name.as_str().into())?,
        None => Recompute::default(),
    };
    let report = bench::train(&pool, &*model, weights, (b, t), recompute, steps, &mut |event| {
        if let Event::Step { step, seconds, loss } = event {
            println!(
                "{}",
                serde_json::json!({"step": step, "seconds": seconds, "loss": loss})
            );
        }
    })?;
    let summary = serde_json::json!({
        "model": matched.as_ref().map_or(preset.into(), |dir| dir.display().to_string()),
        "tokens_per_s": report.tokens_per_s,
        "step_seconds": report.step_seconds,
        "gflop_per_s": report.step_flops / report.step_seconds / 1e9,
        "peak_memory": report.peak_memory,
        "loss": report.loss,
        "threads": threads,
        "isa": pool.isa().name(),
    });
    println!("{summary}");
    Ok(())
}

fn flags(args: impl Iterator<Item = String>) -> Result<HashMap<String, String>, Error> {
    let args: Vec<String> = args.collect();
    let mut flags = HashMap::new();
    for pair in args.chunks(2) {
        match pair {
            [flag, value] if FLAGS.contains(&flag.as_str()) => flags.insert(flag.clone(), value.clone()),
            _ => return Err(format!("{}: expected {} with a value", pair.join(" "), FLAGS.join(", ")).into()),
        };
    }
    Ok(flags)
}
