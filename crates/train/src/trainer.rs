//! The state of a run, and one step of it.

use crate::config::RunConfig;
use crate::error::Error;
use crate::gradients::GradientTree;
use crate::optimizer::{Optimizer, Update};
use crate::tokens::{Data, Window};
use foretoken_kernels::{Buffer, Pool};
use foretoken_model::{DropoutSeed, Lanes, Model, Pass, init};

/// What changes while a model trains. Everything else is the [`RunConfig`] and the data.
#[derive(Debug)]
pub struct Trainer {
    /// The architecture.
    pub model: Box<dyn Model>,
    /// Parameters: an arena of the model's table.
    pub weights: Buffer,
    /// Moments.
    pub optimizer: Optimizer,
    /// Steps done.
    pub step: u64,
    /// Steps skipped because the gradient was not finite.
    pub skipped: u64,
    /// Of those, the last in a row.
    pub skipped_in_a_row: u64,
    config: RunConfig,
    gradients: GradientTree,
    lanes: Lanes,
    /// The batches of a step.
    windows: Vec<Window>,
    losses: Vec<f32>,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub struct StepOutcome {
    /// Mean loss in nats before the update.
    pub train_loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Gradient norm, and whether the weights moved.
    pub update: Update,
}

impl Trainer {
    /// A fresh model of a resolved run.
    ///
    /// # Errors
    /// The allocator refuses.
    pub fn new(config: RunConfig, model: Box<dyn Model>) -> Result<Self, Error> {
        let table = model.params();
        let weights = init(table, config.seed)?;
        let optimizer = Optimizer::new(table, config.optimizer, config.optimizer_state)?;
        let lanes = Lanes::new(&*model, config.b(), config.t(), Pass::Train(config.recompute))?;
        let gradients = GradientTree::new(table, config.grad_accum * lanes.count())?;
        let losses = vec![0.0; config.b() * config.t()];
        let windows = vec![Window::default(); config.grad_accum];
        Ok(Self {
            model,
            weights,
            optimizer,
            step: 0,
            skipped: 0,
            skipped_in_a_row: 0,
            config,
            gradients,
            lanes,
            windows,
            losses,
        })
    }

    /// One step: every micro-batch forward and backward, one update. The loss is the mean over all tokens of the step that
    /// carry loss, whichever micro-batch they are in.
    ///
    /// # Errors
    /// A file of the data is damaged.
    pub fn step(&mut self, pool: &Pool, data: &Data) -> Result<StepOutcome, Error> {
        let (shape, accum) = ((self.config.b(), self.config.t()), self.config.grad_accum as u64);
        let first = self.step * accum;
        let mut count = 0;
        for (window, index) in self.windows.iter_mut().zip(first..) {
            count += window.train(data, shape, self.config.seed, index)?;
        }
        let mut total = 0.0;
        for (window, index) in self.windows.iter().zip(first..) {
            let batch = window.batch(shape);
            let dropout = Some(DropoutSeed {
                seed: self.config.seed,
                micro_batch: index,
            });
            let (model, weights, lanes, losses) = (&*self.model, &self.weights, &mut self.lanes, &mut self.losses);
            self.gradients.add(pool, lanes.count(), |gradients| {
                let scale = (1.0 / count as f64) as f32;
                let gradients = gradients.iter_mut().map(|gradients| &mut gradients[..]);
                lanes.losses_and_gradients(pool, model, weights, gradients, &batch, scale, dropout, losses);
            });
            total += sum(&self.losses);
        }
        let lr = self.config.learning_rate().at(self.step);
        let (model, weights, optimizer) = (&self.model, &mut self.weights, &mut self.optimizer);
        let options = self.config.hyperparameters();
        let mut update = None;
        self.gradients.finish(pool, |gradient| {
            update = Some(optimizer.step(pool, model.params(), weights, gradient, lr, &options));
        });
        let update = update.expect("finish calls its argument");
        self.step += 1;
        if update.applied {
            self.skipped_in_a_row = 0;
        } else {
            self.skipped += 1;
            self.skipped_in_a_row += 1;
        }
        Ok(StepOutcome {
            train_loss: total / count as f64,
            lr,
            update,
        })
    }

    /// Mean loss in nats over `eval_batches` batches, the same at every call; of examples, over no more than all of them.
    ///
    /// # Errors
    /// A file of the data is damaged.
    pub fn evaluate(&mut self, pool: &Pool, data: &Data) -> Result<f64, Error> {
        let shape = (self.config.b(), self.config.t());
        let batches = match data {
            Data::Text(_) => self.config.eval_batches,
            Data::Examples(packed) => self.config.eval_batches.min(packed.batches(shape.0)),
        };
        let (mut total, mut count) = (0.0, 0);
        let window = &mut self.windows[0];
        for index in 0..batches as u64 {
            count += window.eval(data, shape, self.config.seed, index)?;
            let batch = window.batch(shape);
            self.lanes
                .losses(pool, &*self.model, &self.weights, &batch, &mut self.losses);
            total += sum(&self.losses);
        }
        Ok(total / count as f64)
    }

    /// Multiplications and additions of a step: forward and backward of every micro-batch, and Muon's orthogonalisation.
    pub fn step_flops(&self) -> f64 {
        let micro_batch = self.model.training_flops(self.config.b(), self.config.t());
        micro_batch * self.config.grad_accum as f64 + self.optimizer.plan().flops
    }

    /// The resolved run.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }
}

/// In order, in f64.
fn sum(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum()
}
