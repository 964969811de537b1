//! A run: its directory, and the loop.

use crate::chart;
use crate::checkpoint::{self, Checkpoint, TrainState};
use crate::config::RunConfig;
use crate::error::Error;
use crate::metrics::{Metrics, available_memory, resident_memory};
use crate::prepare::{Prepared, Preparing, prepare};
use crate::trainer::Trainer;
use foretoken_formats::durable::{self, AppendLog};
use foretoken_kernels::Pool;
use foretoken_model::{Model, gpt2::Gpt2, sizes};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CONFIG: &str = "run.toml";
const METRICS: &str = "metrics.jsonl";
const CHART: &str = "loss.svg";
const STDIN: &str = "stdin.txt";

/// Steps in a row whose gradient was not finite, after which nothing is to be hoped for.
const HOPELESS: u64 = 50;

/// What a run tells while it goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Every step.
    Step(&'a Metrics),
    /// It is time for a sample text.
    Sample(&'a Trainer),
    /// A checkpoint was written.
    Checkpoint {
        /// Its directory.
        path: &'a Path,
        /// Whether it has the lowest validation loss so far.
        best: bool,
    },
    /// Something is wrong, and training goes on.
    Warning(String),
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// It was asked to stop.
    Interrupted,
    /// The validation loss did not improve for as long as `--patience` says.
    Patience,
}

/// A run that is ready to go.
#[derive(Debug)]
pub struct Run {
    /// Its directory.
    pub dir: PathBuf,
    /// Data.
    pub data: Prepared,
    /// State.
    pub trainer: Trainer,
    /// The checkpoint it goes on from.
    pub resumed: Option<Checkpoint>,
    state: TrainState,
    log: AppendLog,
    /// The machine's limit, floating-point operations a second.
    limit: Option<f64>,
}

impl Run {
    /// Begins a run in a directory that holds none yet. Nothing is written before data and sizes are found to be good.
    ///
    /// # Errors
    /// The config, the data, the memory, the disk.
    pub fn start(
        config: RunConfig,
        dir: &Path,
        cache: &Path,
        pool: &Pool,
        listen: &mut dyn FnMut(Preparing),
    ) -> Result<Self, Error> {
        if dir.join(CONFIG).exists() {
            return Err(Error::RunExists { path: dir.into() });
        }
        let mut config = config.resolve()?;
        save_stdin(&mut config, dir)?;
        let (data, trainer) = build(&config, cache, pool, listen)?;
        durable::create_dir_all(dir)?;
        durable::write_bytes(dir.join(CONFIG), config.to_toml().as_bytes())?;
        Self::assemble(dir, data, trainer, None, pool)
    }

    /// Goes on with a run from its newest whole checkpoint. `config` is [`Run::config`], perhaps with changes that leave
    /// model and data as they are: steps, rates, intervals.
    ///
    /// # Errors
    /// No run, no whole checkpoint, data or sizes that changed.
    pub fn resume(
        dir: &Path,
        config: RunConfig,
        cache: &Path,
        pool: &Pool,
        listen: &mut dyn FnMut(Preparing),
    ) -> Result<Self, Error> {
        let saved = Self::config(dir)?;
        let config = config.resolve()?;
        let checkpoint = match checkpoint::newest(dir) {
            // Killed before its first checkpoint: from the start.
            Err(Error::NoRun { .. }) => None,
            found => Some(found?),
        };
        let (data, mut trainer) = build(&config, cache, pool, listen)?;
        if let Some(checkpoint) = &checkpoint {
            same(
                "the training data",
                checkpoint,
                &data.fingerprint,
                &checkpoint.state.data,
            )?;
            let tokenizer = data.tokenizer.fingerprint().to_string();
            same("the tokenizer", checkpoint, &tokenizer, &checkpoint.state.tokenizer)?;
            checkpoint.restore(&mut trainer)?;
        }
        if config != saved {
            durable::write_bytes(dir.join(CONFIG), config.to_toml().as_bytes())?;
        }
        Self::assemble(dir, data, trainer, checkpoint, pool)
    }

    /// The config of the run in a directory.
    ///
    /// # Errors
    /// There is none, or it does not parse.
    pub fn config(dir: &Path) -> Result<RunConfig, Error> {
        let path = dir.join(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(|_| Error::NoRun {
            path: dir.into(),
            expected: "a file run.toml, as `foretoken train` writes it",
        })?;
        RunConfig::from_toml(&text, &path.display().to_string())
    }

    fn assemble(
        dir: &Path,
        data: Prepared,
        trainer: Trainer,
        resumed: Option<Checkpoint>,
        pool: &Pool,
    ) -> Result<Self, Error> {
        let state = match &resumed {
            Some(checkpoint) => checkpoint.state.clone(),
            None => TrainState {
                step: 0,
                updates: 0,
                skipped: 0,
                skipped_in_a_row: 0,
                tokens: 0,
                time_s: 0.0,
                best: None,
                evaluations_without_better: 0,
                data: data.fingerprint.clone(),
                tokenizer: data.tokenizer.fingerprint().to_string(),
                isa: pool.isa().name().into(),
                foretoken: env!("CARGO_PKG_VERSION").into(),
            },
        };
        // What was logged after the checkpoint happens again.
        let log = AppendLog::open(dir.join(METRICS), |line| {
            serde_json::from_str::<Metrics>(line).is_ok_and(|metrics| metrics.step <= state.step)
        })?;
        Ok(Self {
            dir: dir.into(),
            data,
            trainer,
            resumed,
            state,
            log,
            limit: None,
        })
    }

    /// The machine's limit, against which every step is measured.
    pub fn set_limit(&mut self, flops_per_s: f64) {
        self.limit = Some(flops_per_s);
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// The lowest validation loss so far, and its step.
    pub fn best(&self) -> Option<(f64, u64)> {
        self.state.best
    }

    /// Trains until the last step, until `stop`, or until patience ends, and leaves a checkpoint and the picture.
    ///
    /// # Errors
    /// A damaged token file, a gradient that is never finite, a disk that does not take the last checkpoint. Where the
    /// disk refuses an earlier one, a warning is told and training goes on.
    pub fn train(
        &mut self,
        pool: &Pool,
        stop: &AtomicBool,
        listen: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, Error> {
        let config = self.trainer.config().clone();
        let clock = Clock {
            begun: Instant::now(),
            before: self.state.time_s,
        };
        let due = |every: Option<u64>, step: u64| every.is_some_and(|every| every > 0 && step % every == 0);
        let mut outcome = Outcome::Finished;
        let mut saved = self.resumed.is_some();
        while self.state.step < config.steps {
            let mut metrics = self.one_step(pool, &config)?;
            let step = self.state.step;
            let last = step == config.steps;
            let mut is_best = false;
            if last || due(config.eval_every, step) {
                is_best = self.evaluate(pool, &mut metrics)?;
            }
            metrics.time_s = clock.now();
            self.state.time_s = metrics.time_s;
            metrics.memory = resident_memory().map(|(now, _)| now);
            if let Err(error) = self.log.append(&metrics.to_line()) {
                listen(Event::Warning(format!(
                    "{error}; training goes on, this step is missing in {METRICS}"
                )));
            }
            listen(Event::Step(&metrics));
            if self.state.skipped_in_a_row > 0 {
                let message = format!(
                    "step {step}: the gradient is not finite; the step is skipped ({} so far)",
                    self.state.skipped
                );
                listen(Event::Warning(message));
                if self.state.skipped_in_a_row >= HOPELESS {
                    return Err(Error::NotFinite {
                        step,
                        skipped: HOPELESS,
                    });
                }
            }
            if due(config.sample_every, step) || (last && config.sample_every != Some(0)) {
                listen(Event::Sample(&self.trainer));
            }
            let impatient = config.patience > 0 && self.state.evaluations_without_better >= config.patience;
            let asked = stop.load(Ordering::Relaxed);
            saved = false;
            if is_best || last || impatient || asked || due(config.checkpoint_every, step) {
                match self.save(is_best, listen) {
                    Ok(()) => saved = true,
                    Err(error) if !last && !asked && !impatient => {
                        let message = format!(
                            "no checkpoint at step {step}: {error}; older ones are untouched, training goes on"
                        );
                        listen(Event::Warning(message));
                    }
                    Err(error) => return Err(error),
                }
            }
            if asked && !last {
                outcome = Outcome::Interrupted;
                break;
            }
            if impatient && !last {
                outcome = Outcome::Patience;
                break;
            }
        }
        if !saved {
            self.save(false, listen)?;
        }
        self.log.sync()?;
        self.draw(listen);
        Ok(outcome)
    }

    fn one_step(&mut self, pool: &Pool, config: &RunConfig) -> Result<Metrics, Error> {
        let begun = Instant::now();
        let outcome = self.trainer.step(pool, &self.data.train)?;
        let seconds = begun.elapsed().as_secs_f64();
        self.state.step = self.trainer.step;
        self.state.updates = self.trainer.optimizer.updates;
        self.state.skipped = self.trainer.skipped;
        self.state.skipped_in_a_row = self.trainer.skipped_in_a_row;
        self.state.tokens += config.tokens_a_step();
        let flops = self.trainer.model.training_flops(config.b(), config.t()) * config.grad_accum as f64;
        Ok(Metrics {
            step: self.state.step,
            tokens: self.state.tokens,
            train_loss: outcome.train_loss.is_finite().then_some(outcome.train_loss),
            lr: outcome.lr,
            grad_norm: outcome.update.grad_norm.is_finite().then_some(outcome.update.grad_norm),
            tokens_per_s: config.tokens_a_step() as f64 / seconds,
            share_of_limit: self.limit.map(|limit| flops / seconds / limit),
            skipped: self.state.skipped,
            ..Metrics::default()
        })
    }

    /// Fills in the validation loss; true where it is the lowest so far.
    fn evaluate(&mut self, pool: &Pool, metrics: &mut Metrics) -> Result<bool, Error> {
        let Some(val) = &self.data.val else { return Ok(false) };
        let loss = self.trainer.evaluate(pool, val)?;
        metrics.val_loss = loss.is_finite().then_some(loss);
        metrics.val_bits_per_byte = metrics.val_loss.and_then(|loss| self.data.summary.bits_per_byte(loss));
        if self.state.best.is_none_or(|(best, _)| loss < best) && loss.is_finite() {
            self.state.best = Some((loss, self.state.step));
            self.state.evaluations_without_better = 0;
            return Ok(true);
        }
        self.state.evaluations_without_better += 1;
        Ok(false)
    }

    fn save(&mut self, is_best: bool, listen: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        // The log first: a checkpoint never knows of a step that the log forgot.
        self.log.sync()?;
        let path = checkpoint::save(&self.dir, &self.trainer, &self.data.tokenizer, &self.state, is_best)?;
        checkpoint::prune(
            &self.dir,
            self.trainer.config().keep,
            self.state.best.map(|(_, step)| step),
        );
        listen(Event::Checkpoint {
            path: &path,
            best: is_best,
        });
        Ok(())
    }

    /// Writes the picture of the losses; a run is not lost over it.
    fn draw(&self, listen: &mut dyn FnMut(Event<'_>)) {
        let drawn = self.metrics().and_then(|metrics| {
            let svg = chart::loss_svg(&metrics, self.data.summary.floor_loss());
            Ok(durable::write_bytes(self.dir.join(CHART), svg.as_bytes())?)
        });
        if let Err(error) = drawn {
            listen(Event::Warning(format!("no {CHART}: {error}")));
        }
    }

    /// Every step's metrics so far.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn metrics(&self) -> Result<Vec<Metrics>, Error> {
        let path = self.dir.join(METRICS);
        let text = std::fs::read_to_string(&path).map_err(|_| Error::NoRun {
            path,
            expected: "the log of a run",
        })?;
        Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}

/// Seconds over all sittings.
struct Clock {
    begun: Instant,
    before: f64,
}

impl Clock {
    fn now(&self) -> f64 {
        self.before + self.begun.elapsed().max(Duration::ZERO).as_secs_f64()
    }
}

fn build(
    config: &RunConfig,
    cache: &Path,
    pool: &Pool,
    listen: &mut dyn FnMut(Preparing),
) -> Result<(Prepared, Trainer), Error> {
    let data = prepare(config, cache, pool.threads(), listen)?;
    let model = Gpt2::new(config.model_config(data.tokenizer.vocab_size(), data.tokenizer.eos_id())?)?;
    let model: Box<dyn Model> = Box::new(model);
    let options = sizes::Options {
        threads: pool.threads(),
        micro_batches: config.grad_accum,
        ..Default::default()
    };
    let needed = sizes::report(&*model, config.b(), config.t(), &options)?.training.bytes;
    if let Some(available) = available_memory().filter(|&available| available < needed) {
        let help = "lower --batch-size (and raise --grad-accum), --seq-len or the model's sizes; \
                    `foretoken size --memory` tells what fits";
        return Err(Error::Memory {
            needed: foretoken_model::human_bytes(needed),
            available: foretoken_model::human_bytes(available),
            help,
        });
    }
    let trainer = Trainer::new(config.clone(), model)?;
    Ok((data, trainer))
}

fn same(what: &'static str, checkpoint: &Checkpoint, found: &str, expected: &str) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Changed {
        what,
        checkpoint: checkpoint.path.clone(),
        found: found.into(),
        expected: expected.into(),
        help: "restore what the run was started with, or start a new run",
    })
}

/// Standard input can be read once only: it is kept beside the run, and the run reads it from there.
fn save_stdin(config: &mut RunConfig, dir: &Path) -> Result<(), Error> {
    if !config.data.iter().any(|path| path == "-") {
        return Ok(());
    }
    durable::create_dir_all(dir)?;
    let path = dir.join(STDIN);
    durable::write_file(&path, |w| std::io::copy(&mut std::io::stdin().lock(), w).map(|_| ()))?;
    let path = path.display().to_string();
    config
        .data
        .iter_mut()
        .filter(|name| *name == "-")
        .for_each(|name| name.clone_from(&path));
    Ok(())
}
