//! Time of a GPT-2 training step: forward, backward, clipping, AdamW, on ids that mean nothing.
//!
//! `cargo run --release -p foretoken --example train_speed -- [--preset gpt2 | --match DIR] [--batch-size 4]
//! [--seq-len 1024] [--steps 6] [--threads N]` prints a JSON object a step and a summary. It is the pair of
//! `benches/peers/torch_train.py`, with the same flags, ids and hyperparameters: with `--match`, both start from the weights
//! of a GPT-2 in Hugging Face's layout, and losses are comparable step by step.

use foretoken::formats::{json, safetensors};
use foretoken::kernels::Pool;
use foretoken::model::{Batch, Lanes, Model, OptimizerKind, Pass, StateDtype, gpt2::Gpt2, init, load, registry};
use foretoken::train::{GradientTree, Hyperparameters, Optimizer, resident_memory};
use std::collections::HashMap;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

const LR: f64 = 3e-4;
const ADAMW: Hyperparameters = Hyperparameters {
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weight_decay: 0.1,
    grad_clip: 1.0,
    seed: 1337,
};
const FLAGS: [&str; 6] = [
    "--preset",
    "--match",
    "--batch-size",
    "--seq-len",
    "--steps",
    "--threads",
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
    if steps < 2 || b == 0 || t == 0 || threads == 0 {
        return Err("--steps is at least 2 (the first is not counted), all else at least 1".into());
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
    let dims = *model.dims();
    if t > dims.n_positions {
        return Err(format!("--seq-len {t}: the model has n_positions = {}", dims.n_positions).into());
    }
    let mut weights = match &matched {
        Some(dir) => load(model.params(), &safetensors::open_model_dir(dir)?)?,
        None => init(model.params(), 1337)?,
    };
    let pool = Pool::new(threads)?;
    let (table, mut losses) = (model.params(), vec![0.0; b * t]);
    let mut optimizer = Optimizer::new(table, OptimizerKind::AdamW, StateDtype::F32)?;
    let mut lanes = Lanes::new(&*model, b, t, Pass::Train)?;
    let mut gradients = GradientTree::new(table, lanes.count())?;
    let (mut seconds, mut loss) = (Vec::new(), 0.0);
    for step in 0..steps {
        let (ids, targets) = window(step, b, t, dims.vocab_size);
        let batch = Batch {
            b,
            t,
            ids: &ids,
            targets: &targets,
        };
        let begun = Instant::now();
        gradients.add(&pool, lanes.count(), |gradients| {
            let scale = 1.0 / (b * t) as f32;
            let gradients = gradients.iter_mut().map(|gradients| &mut gradients[..]);
            lanes.losses_and_gradients(&pool, &*model, &weights, gradients, &batch, scale, None, &mut losses);
        });
        gradients.finish(&pool, |gradient| {
            optimizer.step(&pool, table, &mut weights, gradient, LR, &ADAMW);
        });
        let took = begun.elapsed().as_secs_f64();
        loss = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / (b * t) as f64;
        println!(
            "{}",
            serde_json::json!({"step": step + 1, "seconds": took, "loss": loss})
        );
        seconds.push(took);
    }
    let median = median(&mut seconds[1..]);
    let summary = serde_json::json!({
        "model": matched.map_or(preset.into(), |dir| dir.display().to_string()),
        "tokens_per_s": (b * t) as f64 / median,
        "step_seconds": median,
        "gflop_per_s": model.training_flops(b, t) / median / 1e9,
        "peak_memory": resident_memory().map(|(_, peak)| peak),
        "loss": loss,
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

/// Ids and targets (B,T) of a step: a hash of their place in an endless stream, as `torch_train.py` makes them.
fn window(step: usize, b: usize, t: usize, vocab_size: usize) -> (Vec<u32>, Vec<i32>) {
    let id = |place: usize| {
        let mixed = (place as u32).wrapping_mul(2_654_435_761);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(73_244_475);
        (mixed ^ (mixed >> 16)) % vocab_size as u32
    };
    let row = |row: usize| (step * b + row) * (t + 1);
    let places = |first: usize| (0..b).flat_map(move |r| (0..t).map(move |i| row(r) + i + first));
    (
        places(0).map(id).collect(),
        places(1).map(|place| id(place) as i32).collect(),
    )
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
