//! The comparison, shared by the example and the test.

use foretoken_formats::json;
use foretoken_formats::safetensors::{Safetensors, open_model_dir};
use foretoken_kernels::{CacheType, IGNORE_INDEX, Pool};
use foretoken_model::{Arena, Batch, Model, OptimizerKind, Pass, Recompute, StateDtype, decode, load, registry};
use foretoken_train::{Hyperparameters, Optimizer};
use serde::{Deserialize, Serialize};
use std::path::Path;

type Error = Box<dyn std::error::Error>;

#[derive(Deserialize)]
struct Case {
    /// (10, B, T+1)
    ids: Vec<Vec<Vec<u32>>>,
    loss: f64,
    masked_loss: Masked,
    greedy: Greedy,
    adamw: AdamW,
}

#[derive(Deserialize)]
struct Masked {
    loss: f64,
}

#[derive(Deserialize)]
struct Greedy {
    prompt: usize,
    tokens: Vec<u32>,
}

#[derive(Deserialize)]
struct AdamW {
    lr: f64,
    betas: [f32; 2],
    eps: f32,
    clip: f32,
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
}

/// Largest errors, max abs difference over max abs value.
#[derive(Debug, Serialize)]
pub(crate) struct Errors {
    pub(crate) logits: f64,
    pub(crate) loss: f64,
    pub(crate) masked_loss: f64,
    /// Of the worst tensor.
    pub(crate) grads: f64,
    pub(crate) adamw_losses: f64,
    pub(crate) grad_norms: f64,
    /// Over all parameters as one vector.
    pub(crate) params_after: f64,
    /// Of the worst tensor, the key biases set apart.
    pub(crate) params_after_by_tensor: f64,
    /// Of the worst key bias, against the whole of its `c_attn.bias`. A key bias moves every score of a query alike, so
    /// its gradient is zero and what either side computes is rounding; AdamW divides that by its own size. Two right
    /// implementations differ here by as much as each one moves.
    pub(crate) key_bias_after: f64,
    pub(crate) greedy_equal: bool,
}

/// The largest difference, and the largest value it is held against.
#[derive(Clone, Copy, Default)]
struct Largest {
    difference: f64,
    value: f64,
}

impl Largest {
    fn of(got: &[f32], want: &[f32]) -> Self {
        assert_eq!(got.len(), want.len());
        let mut largest = Self::default();
        for (got, want) in got.iter().zip(want) {
            let difference = (f64::from(*got) - f64::from(*want)).abs();
            largest.difference = if difference.is_nan() {
                f64::INFINITY
            } else {
                largest.difference.max(difference)
            };
            largest.value = largest.value.max(f64::from(want.abs()));
        }
        largest
    }

    fn and(self, other: Self) -> Self {
        Self {
            difference: self.difference.max(other.difference),
            value: self.value.max(other.value),
        }
    }

    fn error(self) -> f64 {
        if self.difference == 0.0 {
            0.0
        } else {
            self.difference / self.value
        }
    }
}

fn relative(got: f64, want: f64) -> f64 {
    (got - want).abs() / want.abs()
}

struct Reference {
    model: Box<dyn Model>,
    pool: Pool,
    b: usize,
    t: usize,
}

impl Reference {
    /// Mean loss over the targets that count, and its gradient.
    fn loss(&self, weights: &[f32], arena: &mut Arena, ids: &[Vec<u32>], masked: bool, gradients: &mut [f32]) -> f64 {
        let (b, t) = (self.b, self.t);
        let input: Vec<u32> = ids.iter().flat_map(|row| row[..t].to_vec()).collect();
        let mut targets: Vec<i32> = ids
            .iter()
            .flat_map(|row| row[1..].iter().map(|&id| id as i32))
            .collect();
        if masked {
            // Targets of row 0, and every third position from 0 in the others.
            let hidden = |i: &usize| i / t == 0 || i % t % 3 == 0;
            (0..b * t).filter(hidden).for_each(|i| targets[i] = IGNORE_INDEX);
        }
        let count = targets.iter().filter(|&&target| target != IGNORE_INDEX).count();
        let batch = Batch {
            b,
            t,
            ids: &input,
            targets: &targets,
            documents: &[],
        };
        let mut losses = vec![0.0; b * t];
        let scale = (1.0 / count as f64) as f32;
        self.model
            .losses_and_gradients(&self.pool, weights, gradients, arena, &batch, scale, None, &mut losses);
        losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / count as f64
    }

    fn greedy(&self, weights: &[f32], greedy: &Greedy) -> Result<bool, Error> {
        let mut state = self.model.decode_state(self.model.dims().n_positions, CacheType::F32)?;
        let mut logits = vec![0.0f32; self.model.dims().vocab_size];
        let (mut seen, mut next) = (0, greedy.prompt);
        while next < greedy.tokens.len() {
            let ids = &greedy.tokens[seen..next];
            decode(&*self.model, &self.pool, weights, &mut state, ids, &mut logits);
            let best = (0..logits.len())
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
                .expect("a vocabulary");
            if best as u32 != greedy.tokens[next] {
                return Ok(false);
            }
            (seen, next) = (next, next + 1);
        }
        Ok(true)
    }
}

/// Runs the whole case.
pub(crate) fn compare(dir: &Path) -> Result<Errors, Error> {
    let case: Case = json::read_bounded(dir.join("case.json"), 1 << 28)?;
    let expected = Safetensors::open(dir.join("expected.safetensors"))?;
    let read = |name: &str| -> Result<Vec<f32>, Error> {
        let tensor = expected
            .tensor(name)
            .ok_or_else(|| format!("expected.safetensors has no {name}"))?;
        let mut out = vec![0.0; tensor.elements()];
        tensor.read_f32(&mut out)?;
        Ok(out)
    };
    let model = registry::from_config(&json::read_bounded(dir.join("config.json"), 1 << 20)?)?;
    let (b, t) = (case.ids[0].len(), case.ids[0][0].len() - 1);
    let reference = Reference {
        model,
        pool: Pool::new(2)?,
        b,
        t,
    };
    let (model, pool) = (&reference.model, &reference.pool);
    let table = model.params();
    let mut weights = load(table, &open_model_dir(dir)?)?;
    let mut arena = Arena::new(model.activations(b, t, Pass::Train(Recompute::Selective)))?;

    let greedy_equal = reference.greedy(&weights, &case.greedy)?;

    let ids: Vec<u32> = case.ids[0].iter().flat_map(|row| row[..t].to_vec()).collect();
    let mut logits = vec![0.0; b * t * model.dims().vocab_size];
    let batch = Batch {
        b,
        t,
        ids: &ids,
        targets: &vec![0; b * t],
        documents: &[],
    };
    model.logits(pool, &weights, &mut arena, &batch, &mut logits);

    let mut gradients = table.zeros("gradients")?;
    let loss = reference.loss(&weights, &mut arena, &case.ids[0], false, &mut gradients);
    let mut grads = 0.0f64;
    for spec in table.specs() {
        let of_tensor = Largest::of(&gradients[spec.range.clone()], &read(&format!("grad.{}", spec.name))?);
        grads = grads.max(of_tensor.error());
    }
    let masked_loss = reference.loss(&weights, &mut arena, &case.ids[0], true, &mut gradients);

    let options = Hyperparameters {
        beta1: case.adamw.betas[0],
        beta2: case.adamw.betas[1],
        eps: case.adamw.eps,
        weight_decay: 0.1,
        grad_clip: case.adamw.clip,
        seed: 0,
    };
    let mut optimizer = Optimizer::new(table, OptimizerKind::AdamW, StateDtype::F32)?;
    let (mut adamw_losses, mut grad_norms) = (0.0f64, 0.0f64);
    for (step, ids) in case.ids.iter().enumerate() {
        gradients.fill(0.0);
        let loss = reference.loss(&weights, &mut arena, ids, false, &mut gradients);
        adamw_losses = adamw_losses.max(relative(loss, case.adamw.losses[step]));
        let update = optimizer.step(pool, table, &mut weights, &mut gradients, case.adamw.lr, &options);
        grad_norms = grad_norms.max(relative(update.grad_norm, case.adamw.grad_norms[step]));
    }
    let (mut all, mut by_tensor, mut key_bias) = (Largest::default(), 0.0f64, 0.0f64);
    for spec in table.specs() {
        let (got, want) = (&weights[spec.range.clone()], read(&format!("after10.{}", spec.name))?);
        let whole = Largest::of(got, &want);
        all = all.and(whole);
        if spec.name.ends_with("c_attn.bias") {
            let d = got.len() / 3;
            let rest = Largest::of(&got[..d], &want[..d]).and(Largest::of(&got[2 * d..], &want[2 * d..]));
            by_tensor = by_tensor.max(rest.error());
            let keys = Largest::of(&got[d..2 * d], &want[d..2 * d]);
            key_bias = key_bias.max(
                Largest {
                    value: whole.value,
                    ..keys
                }
                .error(),
            );
        } else {
            by_tensor = by_tensor.max(whole.error());
        }
    }
    Ok(Errors {
        logits: Largest::of(&logits, &read("logits")?).error(),
        loss: relative(loss, case.loss),
        masked_loss: relative(masked_loss, case.masked_loss.loss),
        grads,
        adamw_losses,
        grad_norms,
        params_after: all.error(),
        params_after_by_tensor: by_tensor,
        key_bias_after: key_bias,
        greedy_equal,
    })
}
