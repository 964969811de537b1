//! The state of a run, and one step of it.

use crate::adapter::Adapter;
use crate::config::RunConfig;
use crate::error::Error;
use crate::gradients::GradientTree;
use crate::init::Init;
use crate::optimizer::{Optimizer, Update};
use crate::tokens::{Data, Window};
use foretoken_kernels::{Buffer, Pool};
use foretoken_model::{DropoutSeed, Lanes, Model, Pass, Trainable, init};

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
    pub(crate) trainable: Trainable,
    /// Pairs of low rank, where they learn instead; `weights` are then merged with them.
    pub(crate) adapter: Option<Adapter>,
    /// Where the model came from, if it did not begin here.
    pub(crate) origin: Option<Origin>,
    config: RunConfig,
    /// Flops of a micro-batch.
    flops: f64,
    /// Those of the head in it, which tokens without loss do not meet.
    head_flops: f64,
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

/// What a checkpoint says of the model that a run began from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Files beside the weights: names and contents.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// The model as an adapter names its base, and its revision.
    pub(crate) base: (String, Option<String>),
}

impl Trainer {
    /// A fresh model of a resolved run.
    ///
    /// # Errors
    /// What is to learn is not there; the allocator refuses.
    pub fn new(config: RunConfig, model: Box<dyn Model>) -> Result<Self, Error> {
        let weights = init(model.params(), config.seed)?;
        Self::assemble(config, model, weights, None)
    }

    /// The model that a resolved run begins from.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn from_init(config: RunConfig, init: Init) -> Result<Self, Error> {
        let origin = Origin {
            files: init.files,
            base: (init.base, init.revision),
        };
        Self::assemble(config, init.model, init.weights, Some(origin))
    }

    fn assemble(
        config: RunConfig,
        model: Box<dyn Model>,
        weights: Buffer,
        origin: Option<Origin>,
    ) -> Result<Self, Error> {
        let trainable = config.learning().of(&*model)?;
        let (b, t) = (config.b(), config.t());
        let optimizer = Optimizer::of(&trainable, config.optimizer, config.optimizer_state)?;
        let lanes = Lanes::with_rank(&*model, b, t, Pass::Train(config.recompute), trainable.rank())?;
        let gradients = GradientTree::new(trainable.table(), config.grad_accum * lanes.count())?;
        let adapter = match trainable.is_low_rank() {
            true => Some(Adapter::new(&trainable, model.params(), &weights, config.seed)?),
            false => None,
        };
        let losses = vec![0.0; b * t];
        let flops = trainable.training_flops(&*model, b, t, config.recompute);
        let head = model
            .walk(b, t, config.recompute)
            .into_iter()
            .find(|step| step.name == "logits");
        let head = head.map_or(0.0, |step| {
            step.forward_flops + trainable.backward_flops(model.params(), &step, 0, b * t)
        });
        let windows = vec![Window::default(); config.grad_accum];
        Ok(Self {
            model,
            weights,
            trainable,
            adapter,
            origin,
            flops,
            head_flops: head,
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
            let pairs: &[f32] = self.adapter.as_ref().map_or(&[], |adapter| &adapter.pairs);
            let learns = (&self.trainable, pairs);
            self.gradients.add(pool, lanes.count(), |gradients| {
                let scale = (1.0 / count as f64) as f32;
                let gradients = gradients.iter_mut().map(|gradients| &mut gradients[..]);
                lanes
                    .losses_and_some_gradients(pool, model, weights, gradients, learns, &batch, scale, dropout, losses);
            });
            total += sum(&self.losses);
        }
        let lr = self.config.learning_rate().at(self.step);
        let (table, optimizer) = (self.trainable.table(), &mut self.optimizer);
        let updated: &mut [f32] = match &mut self.adapter {
            Some(adapter) => &mut adapter.pairs,
            None => &mut self.weights,
        };
        let options = self.config.hyperparameters();
        let mut update = None;
        self.gradients.finish(pool, |gradient| {
            update = Some(optimizer.step(pool, table, updated, gradient, lr, &options));
        });
        let update = update.expect("finish calls its argument");
        if update.applied {
            self.merge(pool);
        }
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

    /// Multiplications and additions of a step on these data: forward and backward of every micro-batch, and Muon's
    /// orthogonalisation. Attention counts as if every row were one document.
    pub fn step_flops(&self, data: &Data) -> f64 {
        let without_loss = match data {
            Data::Text(_) => 0.0,
            Data::Examples(packed) => {
                let tokens = packed.report.rows * self.config.t();
                1.0 - packed.report.targets as f64 / tokens.max(1) as f64
            }
        };
        let micro_batch = self.flops - without_loss * self.head_flops;
        micro_batch * self.config.grad_accum as f64 + self.optimizer.plan().flops
    }

    /// What of the model learns.
    pub fn trainable(&self) -> &Trainable {
        &self.trainable
    }

    /// Puts pairs of low rank into the weights, where some learn.
    pub(crate) fn merge(&mut self, pool: &Pool) {
        if let Some(adapter) = &mut self.adapter {
            adapter.merge(pool, &self.trainable, self.model.params(), &mut self.weights);
        }
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
