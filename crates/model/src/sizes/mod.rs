//! The sizes of everything, worked out before anything is allocated: the walk, parameters, memory, flops, and what fits.
//!
//! A report adds up the same tables and plans that allocation uses, so it cannot drift from what happens; the peak it
//! predicts for training is held against a measured one in `tests/memory.rs`.
//!
//! ```
//! use foretoken_model::{registry, sizes};
//! let model = registry::from_config(&serde_json::json!({"model_type": "gpt2"}))?;
//! let report = sizes::report(&*model, 4, 1024, &sizes::Options::default())?;
//! assert_eq!(report.parameters.count, 124_439_808);
//! let scores = report.walk.iter().find(|step| step.step.name == "scores").unwrap();
//! assert_eq!(scores.bytes, 4 * 12 * 1024 * 1024 * 4); // in every layer, had they been stored
//! # Ok::<(), foretoken_model::Error>(())
//! ```

mod fit;
mod memory;
mod parameters;

pub use fit::{Answer, Answers, Bound, Context, Fit, fit, fit_of};
pub use memory::{ActivationRow, Generation, Item, Training};
pub use parameters::{Parameters, PartRow, TensorRow};

use crate::contract::{Model, Recompute};
use crate::error::Error;
use crate::optimizer::{OptimizerKind, OptimizerPlan, StateDtype};
use crate::trainable::Trainable;
use crate::walk::Step;
use serde::Serialize;

/// Tokens in a batch up to which sizes are worked out; far above every memory there is, and nothing overflows below it.
pub const MAX_TOKENS: usize = 1 << 24;

/// What sizes depend on beside the model and the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Options {
    /// Threads: each has scratch memory of its own.
    pub threads: usize,
    /// Batches of B sequences whose gradients make up one step of the optimiser.
    pub micro_batches: usize,
    /// Sequences that are generated at the same time.
    pub sequences: usize,
    /// What training keeps.
    pub recompute: Recompute,
    /// What updates the weights.
    pub optimizer: OptimizerKind,
    /// How it keeps its moments.
    pub optimizer_state: StateDtype,
}

impl Default for Options {
    /// One of each, and what training does unless told otherwise.
    fn default() -> Self {
        Self {
            threads: 1,
            micro_batches: 1,
            sequences: 1,
            recompute: Recompute::default(),
            optimizer: OptimizerKind::AdamW,
            optimizer_state: StateDtype::F32,
        }
    }
}

/// A letter, what it stands for, and its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// As the walk's shapes have it.
    pub letter: &'static str,
    /// In words.
    pub name: &'static str,
    /// The number.
    pub value: usize,
}

/// A step of the walk with what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WalkRow {
    /// What the variant says.
    #[serde(flatten)]
    pub step: Step,
    /// Bytes of the output in one layer, as if it were stored.
    pub bytes: u64,
    /// Learnt numbers it reads in one layer.
    pub parameters: u64,
}

/// Multiplications and additions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flops {
    /// How they are counted.
    pub convention: &'static str,
    /// N of "6 N a token": weights that every token meets in a product, the head included, the embeddings not.
    pub weights: u64,
    /// Forward, a token: 2 N.
    pub token_forward_weights: f64,
    /// Forward, a token on average: queries against keys, and weights against values.
    pub token_forward_attention: f64,
    /// Forward and backward, a token: 6 N.
    pub token_training_weights: f64,
    /// Forward and backward, a token on average: seven products for the forward's two.
    pub token_training_attention: f64,
    /// Forward and backward of a token, all of it.
    pub token_training: f64,
    /// A step of the optimiser: forward and backward of all its micro-batches.
    pub step_training: f64,
    /// What Muon's orthogonalisation adds to a step, however many tokens it has; 0 with AdamW.
    pub step_optimizer: f64,
}

impl Flops {
    /// Tokens a step from which on Muon's orthogonalisation is at most a tenth of forward and backward; 0 with AdamW.
    pub fn muon_pays_from(&self) -> f64 {
        10.0 * self.step_optimizer / self.token_training
    }
}

const CONVENTION: &str = "a multiplication and an addition are two; attention is counted causally, the triangle with \
    its diagonal; norms, softmax, GELU and other work element by element are not counted";

/// Everything. Plain data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The variant.
    pub model_type: &'static str,
    /// What the letters stand for.
    pub letters: Vec<Letter>,
    /// What else was assumed.
    pub options: Options,
    /// Step after step.
    pub walk: Vec<WalkRow>,
    /// What the model holds.
    pub parameters: Parameters,
    /// Numbers that training updates: all of them, unless some are frozen or pairs of low rank learn in their stead.
    pub learns: u64,
    /// Peak memory of training.
    pub training: Training,
    /// Peak memory of generating.
    pub generation: Generation,
    /// Work.
    pub flops: Flops,
}

/// Works out the sizes of a model over B sequences of T tokens. Allocates nothing of the model's size.
///
/// # Errors
/// [`Error::Batch`] where there is no sequence or token, T exceeds n_positions, or there are more than [`MAX_TOKENS`].
pub fn report(model: &dyn Model, b: usize, t: usize, options: &Options) -> Result<Report, Error> {
    report_of(model, &Trainable::all(model.params()), b, t, options)
}

/// [`report`] of a model of which not everything learns.
///
/// # Errors
/// As [`report`].
pub fn report_of(
    model: &dyn Model,
    trainable: &Trainable,
    b: usize,
    t: usize,
    options: &Options,
) -> Result<Report, Error> {
    check(model, b, t)?;
    check(model, options.sequences, t)?;
    let options = Options {
        threads: options.threads.max(1),
        micro_batches: options.micro_batches.max(1),
        ..*options
    };
    let steps = model.walk(b, t, options.recompute);
    let (parameters, counts) = parameters::parameters(model, &steps);
    let plan = OptimizerPlan::new(trainable.table(), options.optimizer, options.optimizer_state);
    let flops = Flops {
        step_optimizer: plan.flops,
        ..flops((model, trainable), &steps, b * t, options.micro_batches)
    };
    let training = memory::training((model, trainable), &steps, b, t, &options);
    Ok(Report {
        model_type: model.model_type(),
        letters: letters(model, b, t),
        options,
        walk: steps
            .into_iter()
            .zip(counts)
            .map(|(step, parameters)| WalkRow {
                bytes: step.bytes(),
                step,
                parameters,
            })
            .collect(),
        parameters,
        learns: trainable.table().count(),
        training,
        generation: memory::generation(model, t, &options),
        flops,
    })
}

fn check(model: &dyn Model, b: usize, t: usize) -> Result<(), Error> {
    let refuse = |expected| Err(Error::Batch { b, t, expected });
    let positions = model.dims().n_positions;
    match b.checked_mul(t) {
        Some(0) => refuse("at least one of each".into()),
        _ if t > positions => refuse(format!(
            "at most {positions} tokens a sequence, the model's n_positions"
        )),
        Some(n) if n <= MAX_TOKENS => Ok(()),
        _ => refuse(format!("at most {MAX_TOKENS} tokens in all")),
    }
}

fn letters(model: &dyn Model, b: usize, t: usize) -> Vec<Letter> {
    let dims = model.dims();
    [
        ("B", "sequences in a batch", b),
        ("T", "tokens in a sequence", t),
        ("d", "width of the stream", dims.n_embd),
        ("h", "heads", dims.n_head),
        ("dh", "width of a head", dims.head_dim()),
        ("f", "width of the MLP", dims.n_inner),
        ("L", "layers", dims.n_layer),
        ("V", "vocabulary", dims.vocab_size),
        ("n_positions", "longest context", dims.n_positions),
    ]
    .into_iter()
    .map(|(letter, name, value)| Letter { letter, name, value })
    .collect()
}

fn flops((model, trainable): (&dyn Model, &Trainable), steps: &[Step], n: usize, micro_batches: usize) -> Flops {
    // A product has parameters, or borrows some; attention's own two have none.
    let total = |weights: bool, of: &dyn Fn(&Step) -> f64| -> f64 {
        let has_weights = |step: &&Step| !step.params.is_empty() || step.tied.is_some();
        let products = steps.iter().filter(|step| weights == has_weights(step));
        products.map(of).sum::<f64>() / n as f64
    };
    let all = trainable.is_all();
    let forward = |step: &Step| step.runs() as f64 * step.forward_flops;
    let backward = |step: &Step| match all {
        true => step.runs() as f64 * step.backward_flops,
        false => (0..step.runs())
            .map(|layer| trainable.backward_flops(model.params(), step, layer, n))
            .sum(),
    };
    let token_forward_weights = total(true, &forward);
    let token_forward_attention = total(false, &forward);
    let token_training_weights = token_forward_weights + total(true, &backward);
    let token_training_attention = token_forward_attention + total(false, &backward);
    let token_training = token_training_weights + token_training_attention;
    Flops {
        convention: CONVENTION,
        weights: (token_forward_weights / 2.0) as u64,
        token_forward_weights,
        token_forward_attention,
        token_training_weights,
        token_training_attention,
        token_training,
        step_training: token_training * n as f64 * micro_batches as f64,
        step_optimizer: 0.0,
    }
}

#[cfg(test)]
mod tests;
