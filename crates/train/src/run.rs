//! A run: its directory, and the loop.

use crate::chart;
use crate::checkpoint::{self, Checkpoint, TrainState};
use crate::claim::Claim;
use crate::config::RunConfig;
use crate::error::Error;
use crate::init::Init;
use crate::metrics::{Metrics, available_memory, resident_memory};
use crate::prepare::{Prepared, Preparing, prepare, tokenizer_kind};
use crate::profile::StepProfile;
use crate::trainer::Trainer;
use foretoken_formats::durable::{self, AppendLog};
use foretoken_kernels::{ISA_VARIABLE, Isa, Pool, peak_flops};
use foretoken_model::{Model, sizes};
use foretoken_text::{DataFormat, Tokenizer};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CONFIG: &str = "run.toml";
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const DATA: &str = "data.json";
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
    /// Whether the last line did not reach the log.
    log_failed: bool,
    _claim: Claim,
    /// The machine's limit, floating-point operations a second.
    limit: Option<f64>,
    /// Whether steps are profiled, and those that were.
    profile: Option<StepProfile>,
    /// Steps of this sitting.
    taken: u64,
}

impl Run {
    /// Begins a run in a directory that holds none yet. Where data, sizes or memory are not good, nothing is left there.
    ///
    /// # Errors
    /// The config, the data, the memory, the disk; another process that trains there.
    pub fn start(
        config: RunConfig,
        dir: &Path,
        cache: &Path,
        pool: &Pool,
        listen: &mut dyn FnMut(Preparing),
    ) -> Result<Self, Error> {
        Self::start_from(config, None, dir, cache, pool, listen)
    }

    /// [`Run::start`] from the model that [`RunConfig::init`] names, where it names one.
    ///
    /// # Errors
    /// As [`Run::start`]; flags that contradict the model.
    pub fn start_from(
        config: RunConfig,
        init: Option<Init>,
        dir: &Path,
        cache: &Path,
        pool: &Pool,
        listen: &mut dyn FnMut(Preparing),
    ) -> Result<Self, Error> {
        let config = resolve(config, init.as_ref())?;
        fits(&config, init.as_ref(), pool)?;
        // No component of the path may be a file.
        if let Some(file) = dir.ancestors().find(|path| path.exists()).filter(|path| !path.is_dir()) {
            return Err(Error::NotADirectory { path: file.into() });
        }
        let exists = || Error::RunExists { path: dir.into() };
        if dir.join(CONFIG).exists() {
            return Err(exists());
        }
        let mut claim = Claim::make(dir, &[STDIN])?;
        // Another process may have started, and ended, since.
        if dir.join(CONFIG).exists() {
            claim.keep();
            return Err(exists());
        }
        checkpoint::tidy(dir)?;
        save_stdin(&config, dir)?;
        let (data, trainer) = build(&config, init, dir, cache, pool, listen)?;
        // What was guessed is what the run is from now on.
        let config = RunConfig {
            format: Some(data.summary.format),
            ..config
        };
        durable::write_bytes(dir.join(CONFIG), config.to_toml().as_bytes())?;
        claim.keep();
        Self::assemble(dir, claim, data, trainer, None, pool)
    }

    /// Goes on with a run from its newest whole checkpoint. `config` is [`Run::config`], perhaps with changes that leave
    /// model and data as they are: steps, rates, intervals.
    ///
    /// # Errors
    /// No run, no whole checkpoint, data or sizes that changed; another process that trains there.
    pub fn resume(
        dir: &Path,
        config: RunConfig,
        cache: &Path,
        pool: &Pool,
        listen: &mut dyn FnMut(Preparing),
    ) -> Result<Self, Error> {
        Self::resume_from(dir, config, None, cache, pool, listen)
    }

    /// [`Run::resume`] of a run that began from a model: `init` is that model again, or, where it learns as a whole, its
    /// newest checkpoint with the fingerprint of the run.
    ///
    /// # Errors
    /// As [`Run::resume`]; another model than the run began from.
    pub fn resume_from(
        dir: &Path,
        config: RunConfig,
        init: Option<Init>,
        cache: &Path,
        pool: &Pool,
        listen: &mut dyn FnMut(Preparing),
    ) -> Result<Self, Error> {
        let saved = Self::config(dir)?;
        config.same_learning(&saved, dir)?;
        let config = RunConfig {
            // A run from before there was a choice.
            format: config.format.or(Some(DataFormat::Text)),
            ..resolve(config, init.as_ref())?
        };
        let claim = Claim::take(dir)?;
        checkpoint::tidy(dir)?;
        let checkpoint = match checkpoint::newest(dir) {
            // Killed before its first checkpoint: from the start.
            Err(Error::NoRun { .. }) => None,
            found => Some(found?),
        };
        if let Some(done) = checkpoint
            .as_ref()
            .map(|c| c.state.step)
            .filter(|&done| done > config.steps)
        {
            return Err(Error::value(
                "steps",
                &config.steps.to_string(),
                format!("at least the {done} that are done"),
            ));
        }
        let model = fits(&config, init.as_ref(), pool)?;
        if let Some(checkpoint) = &checkpoint {
            if let Some(model) = model {
                checkpoint.same_model(&*model, false)?;
            }
            checkpoint.same_optimizer(&config)?;
        }
        let (data, mut trainer) = build(&config, init, dir, cache, pool, listen)?;
        if let Some(checkpoint) = &checkpoint {
            same_data(checkpoint, &data, &config, &saved)?;
            checkpoint.same_model(&*trainer.model, true)?;
            checkpoint.restore(&mut trainer, pool)?;
            checkpoint.point(dir)?;
        }
        if config != saved {
            durable::write_bytes(dir.join(CONFIG), config.to_toml().as_bytes())?;
        }
        Self::assemble(dir, claim, data, trainer, checkpoint, pool)
    }

    /// The config of the run in a directory.
    ///
    /// # Errors
    /// There is none, or it does not parse.
    pub fn config(dir: &Path) -> Result<RunConfig, Error> {
        let path = dir.join(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Error::NoRun {
                path: dir.into(),
                expected: "a file run.toml, as `foretoken train` writes it",
            },
            _ => Error::Read {
                path: path.clone(),
                source,
            },
        })?;
        RunConfig::from_toml(&text, &path.display().to_string())
    }

    fn assemble(
        dir: &Path,
        claim: Claim,
        data: Prepared,
        trainer: Trainer,
        resumed: Option<Checkpoint>,
        pool: &Pool,
    ) -> Result<Self, Error> {
        let patience = trainer.config().patience;
        let state = match &resumed {
            Some(Checkpoint { state, .. }) => TrainState {
                // A run that ended by patience is given as much again.
                evaluations_without_better: match state.evaluations_without_better {
                    n if patience > 0 && n >= patience => 0,
                    n => n,
                },
                isa: pool.isa().name().into(),
                ..state.clone()
            },
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
                optimizer: trainer.config().optimizer,
                optimizer_state: trainer.config().optimizer_state,
            },
        };
        tell_data(dir, &data);
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
            log_failed: false,
            _claim: claim,
            limit: None,
            profile: None,
            taken: 0,
        })
    }

    /// The machine's limit, against which every step is measured. Where a step is faster, the machine was busy with other things
    /// when it was measured, and it is measured again.
    pub fn set_limit(&mut self, flops_per_s: f64) {
        self.limit = Some(flops_per_s);
    }

    /// From now on, every step but the first of this sitting is profiled: that one meets memory nobody has touched.
    pub fn set_profile(&mut self) {
        self.profile = Some(StepProfile::default());
    }

    /// The steps that were profiled, where [`Run::set_profile`] asked for it. Evaluations, samples and checkpoints are no
    /// part of them.
    pub fn profile(&self) -> Option<&StepProfile> {
        self.profile.as_ref()
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
        if let Some(warning) = self
            .resumed
            .as_ref()
            .and_then(|from| other_bits(&from.state, pool.isa().name()))
        {
            listen(Event::Warning(warning));
        }
        let due = |every: Option<u64>, step: u64| every.is_some_and(|every| every > 0 && step % every == 0);
        let mut outcome = Outcome::Finished;
        while self.state.step < config.steps {
            let mut metrics = self.one_step(pool, &config)?;
            let step = self.state.step;
            let last = step == config.steps;
            let best_before = self.state.best;
            let evaluated = last || due(config.eval_every, step);
            let is_best = evaluated && self.evaluate(pool, &mut metrics)?;
            metrics.time_s = clock.now();
            self.state.time_s = metrics.time_s;
            metrics.memory = resident_memory().map(|(now, _)| now);
            let logged = self.log.append(&metrics.to_line());
            // A full disk is told once, not at every step.
            if let Err(error) = &logged
                && !self.log_failed
            {
                listen(Event::Warning(format!(
                    "{error}; training goes on, steps from {step} on are missing in {METRICS}"
                )));
            }
            self.log_failed = logged.is_err();
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
            let impatient =
                evaluated && config.patience > 0 && self.state.evaluations_without_better >= config.patience;
            let asked = stop.load(Ordering::Relaxed);
            if is_best || last || impatient || asked || due(config.checkpoint_every, step) {
                match self.save(is_best, listen) {
                    Ok(()) => {}
                    Err(error) if !last && !asked && !impatient => {
                        let message = format!(
                            "no checkpoint at step {step}: {error}; older ones are untouched, training goes on"
                        );
                        listen(Event::Warning(message));
                        // What is not on the disk is not the best: `best` and what is pruned follow it.
                        self.state.best = best_before;
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
        self.log.sync()?;
        self.draw(listen);
        Ok(outcome)
    }

    fn one_step(&mut self, pool: &Pool, config: &RunConfig) -> Result<Metrics, Error> {
        let begun = Instant::now();
        let (trainer, tokens) = (&mut self.trainer, &self.data.train);
        let outcome = match &mut self.profile {
            Some(profile) if self.taken > 0 => profile.time(pool, || trainer.step(pool, tokens)),
            _ => trainer.step(pool, tokens),
        }?;
        self.taken += 1;
        let seconds = begun.elapsed().as_secs_f64();
        self.state.step = self.trainer.step;
        self.state.updates = self.trainer.optimizer.updates;
        self.state.skipped = self.trainer.skipped;
        self.state.skipped_in_a_row = self.trainer.skipped_in_a_row;
        self.state.tokens += config.tokens_a_step();
        let flops_per_s = self.trainer.step_flops(&self.data.train) / seconds;
        if let Some(limit) = self.limit.as_mut().filter(|limit| flops_per_s > **limit) {
            *limit = peak_flops(pool).max(flops_per_s);
        }
        Ok(Metrics {
            step: self.state.step,
            tokens: self.state.tokens,
            train_loss: outcome.train_loss.is_finite().then_some(outcome.train_loss),
            lr: outcome.lr,
            grad_norm: outcome.update.grad_norm.is_finite().then_some(outcome.update.grad_norm),
            tokens_per_s: config.tokens_a_step() as f64 / seconds,
            share_of_limit: self.limit.map(|limit| flops_per_s / limit),
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
        let path = checkpoint::save(&self.dir, &self.trainer, &self.data, &self.state, is_best)?;
        checkpoint::prune(
            &self.dir,
            self.state.step,
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
    /// [`Error::NoRun`] where there is no log, [`Error::Read`] where it cannot be read.
    pub fn metrics(&self) -> Result<Vec<Metrics>, Error> {
        let path = self.dir.join(METRICS);
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NoRun {
                path,
                expected: "the log of a run",
            },
            _ => Error::Read { path, source },
        })?;
        Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}

/// Leaves the data in numbers beside the run, for whoever reports on it: the floor is known nowhere else. Nothing in training
/// reads them, so a disk that takes no more is no reason to stop here.
fn tell_data(dir: &Path, data: &Prepared) {
    let path = dir.join(DATA);
    let bytes = serde_json::to_vec_pretty(&data.summary).expect("plain fields");
    if std::fs::read(&path).is_ok_and(|found| found == bytes) {
        return;
    }
    let _ = durable::write_bytes(path, &bytes);
}

/// A warning where the steps so far were computed by instructions that round otherwise than those of now. All vector
/// sets give the same bits.
fn other_bits(state: &TrainState, now: &str) -> Option<String> {
    let portable = |isa: &str| isa == Isa::Portable.name();
    let TrainState { step, isa: then, .. } = state;
    (portable(then) != portable(now)).then(|| {
        format!(
            "the run came to step {step} on {then} and goes on on {now}, which rounds otherwise: from here it is not bit \
             for bit what it would have been; {ISA_VARIABLE}={then} goes on as before where the machine has it"
        )
    })
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

/// The model of a run, where there is memory for it. Before the tokeniser is known its vocabulary counts as nothing: a
/// model that is too large or impossible without it is known to be so before any text is read.
fn model(config: &RunConfig, tokenizer: Option<&Tokenizer>, pool: &Pool) -> Result<Box<dyn Model>, Error> {
    let (vocab_size, eos) = tokenizer.map_or((1, 0), |tokenizer| (tokenizer.vocab_size(), tokenizer.eos_id()));
    let model: Box<dyn Model> = config.model(vocab_size, eos)?;
    check_memory(config, &*model, pool, 0)?;
    Ok(model)
}

/// Fails where there is no memory for a run; `taken` bytes of what it needs are taken already.
fn check_memory(config: &RunConfig, model: &dyn Model, pool: &Pool, taken: u64) -> Result<(), Error> {
    let options = config.size_options(pool.threads());
    let trainable = config.learning().of(model)?;
    let report = sizes::report_of(model, &trainable, config.b(), config.t(), &options)?;
    let needed = report.training.bytes.saturating_sub(taken);
    if let Some(available) = available_memory().filter(|&available| available < needed) {
        let human = foretoken_model::human_bytes;
        return Err(Error::Memory {
            needed: human(needed),
            available: human(available),
            help: "lower --batch-size (and raise --grad-accum), --seq-len or the model's sizes; \
                   --optimizer-state bf16 halves the moments; `foretoken size --memory` tells what fits",
        });
    }
    Ok(())
}

/// The config with everything filled in: from the model that the run begins from, where it does.
fn resolve(config: RunConfig, init: Option<&Init>) -> Result<RunConfig, Error> {
    match (init, &config.init) {
        (Some(init), _) => init.adopt(config)?.resolve(),
        (None, None) => config.resolve(),
        (None, Some(path)) => {
            let expected = "a model that is handed over with the config (`foretoken::init` opens it)".into();
            Err(Error::value("init", path, expected))
        }
    }
}

/// Whether there is memory for a run, before its data are read; the model that it makes, where it begins from none.
fn fits(config: &RunConfig, init: Option<&Init>, pool: &Pool) -> Result<Option<Box<dyn Model>>, Error> {
    match init {
        Some(init) => {
            check_memory(config, &*init.model, pool, 4 * init.weights.len() as u64)?;
            Ok(None)
        }
        None => model(config, None, pool).map(Some),
    }
}

fn build(
    config: &RunConfig,
    init: Option<Init>,
    dir: &Path,
    cache: &Path,
    pool: &Pool,
    listen: &mut dyn FnMut(Preparing),
) -> Result<(Prepared, Trainer), Error> {
    let mut found = config.clone();
    for name in found.data.iter_mut().chain(&mut found.val_data) {
        if name == "-" {
            *name = dir.join(STDIN).display().to_string();
        }
    }
    let begun = init.as_ref().map(|init| (&init.tokenizer, init.template.as_ref()));
    let data = prepare(&found, begun, cache, pool.threads(), listen)?;
    let trainer = match init {
        Some(mut init) => {
            if let Some(template) = &data.template {
                init.tell_template(template);
            }
            Trainer::from_init(config.clone(), init)?
        }
        None => Trainer::new(config.clone(), model(config, Some(&data.tokenizer), pool)?)?,
    };
    Ok((data, trainer))
}

/// Fails where the ids or the tokeniser are not those of the checkpoint.
fn same_data(checkpoint: &Checkpoint, data: &Prepared, config: &RunConfig, saved: &RunConfig) -> Result<(), Error> {
    let (tokenizer, state) = (data.tokenizer.fingerprint().to_string(), &checkpoint.state);
    let changed = |what, [(found, found_sum), (expected, expected_sum)]: [(String, &str); 2]| Error::Changed {
        what,
        checkpoint: checkpoint.path.clone(),
        found: format!("{found} ({})", &found_sum[..found_sum.len().min(8)]),
        expected: format!("{expected} ({})", &expected_sum[..expected_sum.len().min(8)]),
        help: "restore what the run was started with, or start a new run",
    };
    // A tokeniser that is learned changes with the text it learns from.
    let named = config.tokenizer != saved.tokenizer || tokenizer_kind(&config.tokenizer)?.is_none();
    if tokenizer != state.tokenizer && named {
        let pair = [
            (config.tokenizer.clone(), &*tokenizer),
            (saved.tokenizer.clone(), &*state.tokenizer),
        ];
        return Err(changed("the tokenizer", pair));
    }
    if data.fingerprint != state.data || tokenizer != state.tokenizer {
        let names = |config: &RunConfig| match &config.val_data[..] {
            [] => format!("{}, --val-fraction {}", config.data.join(" "), config.val_fraction),
            val => format!("{}, --val-data {}", config.data.join(" "), val.join(" ")),
        };
        let pair = [(names(config), &*data.fingerprint), (names(saved), &*state.data)];
        return Err(changed("the data", pair));
    }
    Ok(())
}

/// Standard input can be read once only: it is kept beside the run, and the run reads it from there.
fn save_stdin(config: &RunConfig, dir: &Path) -> Result<(), Error> {
    let asks = |paths: &[String]| paths.iter().any(|path| path == "-");
    match (asks(&config.data), asks(&config.val_data)) {
        (false, false) => Ok(()),
        (true, true) => Err(Error::value(
            "val-data",
            "-",
            "a file, for standard input is --data already".into(),
        )),
        _ if dir.join(STDIN).exists() => Err(Error::value(
            "data",
            "-",
            format!("an --out without a {STDIN}, which standard input is kept in"),
        )),
        _ => {
            let mut input = std::io::stdin().lock();
            durable::write_file(dir.join(STDIN), |w| std::io::copy(&mut input, w).map(|_| ()))?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
