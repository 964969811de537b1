//! Whole training steps on ids that mean nothing.

use super::{Event, fits, median};
use crate::error::Error;
use foretoken_kernels::{Buffer, Pool};
use foretoken_model::{Batch, Lanes, Model, OptimizerKind, Pass, Recompute, StateDtype, sizes};
use foretoken_train::{GradientTree, Hyperparameters, Optimizer, StepProfile, resident_memory};
use std::time::Instant;

const LR: f64 = 3e-4;
const ADAMW: Hyperparameters = Hyperparameters {
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weight_decay: 0.1,
    grad_clip: 1.0,
    seed: 1337,
};

/// What training steps took.
#[derive(Clone, Debug)]
pub struct TrainReport {
    /// Median seconds of a step.
    pub step_seconds: f64,
    /// Tokens a second in that time.
    pub tokens_per_s: f64,
    /// Flops of a step, as [`Model::training_flops`] counts them.
    pub step_flops: f64,
    /// Mean loss in nats of the last step, before its update.
    pub loss: f64,
    /// Peak memory of the process in bytes while it ran, where the system tells.
    pub peak_memory: Option<u64>,
    /// The steps that count, op by op.
    pub profile: StepProfile,
}

/// Times `steps` training steps over `(b, t)` ids: forward, backward, clipping, AdamW; each is told as [`Event::Step`], and
/// the first is not counted. `weights`, an arena of the model's parameters, are asked
/// for once there is memory for all. The ids and the hyperparameters are those of `benches/peers/torch_train.py`: from the
/// same weights, the losses are comparable step by step.
///
/// # Errors
/// [`Error::BenchMemory`]; sizes the model cannot have.
///
/// # Panics
/// With fewer than two steps.
pub fn train(
    pool: &Pool,
    model: &dyn Model,
    weights: impl FnOnce() -> Result<Buffer, Error>,
    (b, t): (usize, usize),
    recompute: Recompute,
    steps: usize,
    listen: &mut dyn FnMut(Event<'_>),
) -> Result<TrainReport, Error> {
    assert!(steps >= 2, "{steps} steps: the first is not counted");
    listen(Event::Phase("training steps"));
    let options = sizes::Options {
        threads: pool.threads(),
        recompute,
        ..Default::default()
    };
    let needed = sizes::report(model, b, t, &options)?.training.bytes;
    fits("the training benchmark", needed)?;
    // What ran before may have taken more. Where the system does not forget that, the peak is too high, not too low.
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let mut weights = weights()?;
    let (table, mut losses) = (model.params(), vec![0.0; b * t]);
    let mut optimizer = Optimizer::new(table, OptimizerKind::AdamW, StateDtype::F32)?;
    let mut lanes = Lanes::new(model, b, t, Pass::Train(recompute))?;
    let mut gradients = GradientTree::new(table, lanes.count())?;
    let (mut profile, mut times, mut loss) = (StepProfile::default(), Vec::new(), f64::NAN);
    for step in 0..steps {
        let (ids, targets) = window(step, (b, t), model.dims().vocab_size);
        let batch = Batch {
            b,
            t,
            ids: &ids,
            targets: &targets,
            documents: &[],
        };
        let mut run = || {
            gradients.add(pool, lanes.count(), |gradients| {
                let scale = 1.0 / (b * t) as f32;
                let gradients = gradients.iter_mut().map(|gradients| &mut gradients[..]);
                lanes.losses_and_gradients(pool, model, &weights, gradients, &batch, scale, None, &mut losses);
            });
            gradients.finish(pool, |gradient| {
                optimizer.step(pool, table, &mut weights, gradient, LR, &ADAMW);
            });
        };
        let begun = Instant::now();
        match step {
            0 => run(),
            _ => profile.time(pool, run),
        }
        let seconds = begun.elapsed().as_secs_f64();
        times.push(seconds);
        loss = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / (b * t) as f64;
        listen(Event::Step {
            step: step + 1,
            seconds,
            loss,
        });
    }
    let step_seconds = median(&times[1..]);
    Ok(TrainReport {
        step_seconds,
        tokens_per_s: (b * t) as f64 / step_seconds,
        step_flops: model.training_flops(b, t),
        loss,
        peak_memory: resident_memory().map(|(_, peak)| peak),
        profile,
    })
}

/// Ids and targets (B,T) of a step: a hash of their place in an endless stream, as `torch_train.py` makes them.
fn window(step: usize, (b, t): (usize, usize), vocab_size: usize) -> (Vec<u32>, Vec<i32>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_model::{init, registry};

    /// What `torch_train.py` prints for `window(1, 2, 3, 50257)`.
    #[test]
    fn ids_are_those_of_the_peer() {
        let (ids, targets) = window(1, (2, 3), 50257);
        assert_eq!(ids, [45476, 42969, 6464, 13204, 34435, 42852]);
        assert_eq!(targets, [42969, 6464, 49659, 34435, 42852, 35932]);
    }

    #[test]
    fn steps_learn_and_are_counted_but_for_the_first() {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 11, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2,
        });
        let model = registry::from_config(&config).unwrap();
        let pool = Pool::new(2).unwrap();
        let mut told = Vec::new();
        let weights = || Ok(init(model.params(), 1)?);
        let report = train(&pool, &*model, weights, (2, 8), Recompute::Selective, 4, &mut |event| {
            if let Event::Step { step, loss, .. } = event {
                told.push((step, loss));
            }
        })
        .unwrap();
        assert_eq!(told.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(
            (told[0].1 - 11f64.ln()).abs() < 0.1 && told[3].1 == report.loss,
            "{told:?}"
        );
        assert_eq!(
            (report.profile.steps, report.step_flops),
            (3, model.training_flops(2, 8))
        );
        assert_eq!(report.tokens_per_s, 16.0 / report.step_seconds);
        let error = train(&pool, &*model, weights, (2, 9), Recompute::Selective, 2, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("n_positions"), "{error}");
    }
}
