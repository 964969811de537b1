//! `foretoken train`

mod example;
mod flags;
pub(crate) use flags::Recompute;
mod init;
pub(crate) use init::Learns;
mod progress;
mod report;

use crate::Usage;
use crate::terminal::say_error;
use anyhow::Context;
use clap::Args;
use flags::Flags;
use foretoken::kernels::{Limits, Pool, peak_flops};
use foretoken::train::{Error, Event, Outcome, Run, RunConfig};
use progress::Progress;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where runs are kept unless `--out` says otherwise.
pub(crate) const RUNS: &str = "runs";

/// Cores of the machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// A pool of so many threads, one a core unless given.
pub(crate) fn pool(threads: Option<usize>) -> anyhow::Result<Pool> {
    let threads = threads.filter(|&n| n > 0).unwrap_or_else(cores);
    if threads > 1024 {
        return Err(Usage(format!("--threads is {threads}: expected at most 1024")).into());
    }
    Pool::new(threads).map_err(|message| Usage(message).into())
}

/// Where token files are kept between runs.
fn cache() -> PathBuf {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("FORETOKEN_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("foretoken")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache").join("foretoken")))
        .unwrap_or_else(|| PathBuf::from(RUNS).join("cache"))
}

/// Trains a model on text: yours, or the built-in stories.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  foretoken train                                         the built-in stories, in two minutes
  foretoken train --data book.txt                         your own text
  foretoken train --data qa.csv --dropout 0.2 --patience 3 --out runs/qa   questions and answers
  foretoken train --optimizer muon --grad-accum 16        large steps, with Muon for the hidden matrices
  foretoken train --resume --out runs/qa --steps 4000     go on, with more steps
  foretoken train --init openai-community/gpt2 --data qa.csv --lora-rank 8    an adapter for a model
  foretoken train --preset nano --steps 50 --profile      where the time of a step goes

The values in brackets are the defaults. SIGINT and SIGTERM finish the step, save, and exit with 0;
a second signal leaves at once. `transformers` opens the directory DIR/latest as it is."
)]
pub(crate) struct Train {
    #[command(flatten)]
    flags: Flags,
    /// Directory of the run; runs/NNN-PRESET unless given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in --out, or with the latest
    #[arg(long)]
    resume: bool,
    /// Take what flags do not say from a TOML file, or from the run.toml of another run: what was
    /// chosen there; what followed from those choices follows anew
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Say at the end which kernel took which part of a step, and how far it is from the machine's limit
    #[arg(long)]
    profile: bool,
    /// Say only what went wrong
    #[arg(long)]
    quiet: bool,
    /// One JSON object a step on standard output, as in metrics.jsonl, nothing else
    #[arg(long)]
    json: bool,
}

impl Train {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut progress = Progress::new(self.quiet, self.json);
        let flags = toml::Table::try_from(&self.flags).map_err(|error| Usage(format!("the flags: {error}")))?;
        let run = if self.resume {
            self.open(flags, &mut progress)
        } else {
            self.begin(flags, &mut progress)
        };
        let (mut run, pool) = run?;
        let limit = peak_flops(&pool);
        run.set_limit(limit);
        if self.profile {
            run.set_profile();
        }
        progress.say(&report::before(&run, &pool, limit));
        let steps = run.trainer.config().steps;
        if run.step() >= steps {
            progress.say(&format!(
                "All {steps} steps are done. Give more with --steps to go on.\n"
            ));
            return Ok(());
        }
        // Until here a signal ends the process at once: nothing is half-written, and nothing is trained to lose.
        let stop = on_signal("step")?;
        progress.start(&run);
        let tokenizer = run.data.tokenizer.clone();
        let outcome = run.train(&pool, &stop, &mut |event| match event {
            Event::Step(metrics) => progress.step(metrics),
            Event::Sample(trainer) => progress.sample(trainer, &tokenizer, &pool),
            Event::Warning(message) => progress.warn(&message),
            _ => {}
        });
        progress.end();
        let outcome = outcome?;
        progress.say(&report::after(&run, outcome)?);
        if let Some(profile) = run.profile() {
            // The same limit that the steps were measured against.
            let limits = Limits {
                flops_per_s: limit,
                ..foretoken::bench::limits(&pool)
            };
            progress.profile(profile, &limits, &pool);
        }
        Ok(())
    }

    fn begin(&self, flags: toml::Table, progress: &mut Progress) -> anyhow::Result<(Run, Pool)> {
        let config = match &self.config {
            None => RunConfig::default().overlay(flags)?,
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("--config {}", path.display()))?;
                // What was derived there is derived anew, from what the flags change.
                let config = RunConfig::from_toml(&text, &path.display().to_string())?;
                init::check(&config, &flags)?;
                config.repeat(flags)?
            }
        };
        let pool = pool(Some(config.threads))?;
        loop {
            let dir = self.out.clone().unwrap_or_else(|| next_run(&init::name(&config)));
            progress.open(config.init.as_deref());
            let model = foretoken::init(&config)?;
            let mut prepare = |preparing| progress.prepare(preparing);
            match Run::start_from(config.clone(), model, &dir, &cache(), &pool, &mut prepare) {
                // Another process took the name meanwhile: the next one is free.
                Err(Error::RunExists { .. } | Error::InUse { .. }) if self.out.is_none() => {}
                run => return Ok((run?, pool)),
            }
        }
    }

    fn open(&self, flags: toml::Table, progress: &mut Progress) -> anyhow::Result<(Run, Pool)> {
        let dir = match &self.out {
            Some(dir) => dir.clone(),
            None => foretoken::last_run(Path::new(RUNS))
                .with_context(|| format!("there is no run in {RUNS} to resume: name one with --out, or start one"))?,
        };
        let saved = Run::config(&dir)?;
        init::check(&saved, &flags)?;
        let config = saved.overlay(flags)?;
        let pool = pool(Some(config.threads))?;
        progress.open(config.init.as_deref());
        let model = foretoken::init_to_resume(&config, &dir)?;
        let run = Run::resume_from(&dir, config, model, &cache(), &pool, &mut |preparing| {
            progress.prepare(preparing)
        })?;
        for reason in run.resumed.iter().flat_map(|checkpoint| &checkpoint.damaged) {
            progress.warn(&format!("a checkpoint is damaged, the one before it is used: {reason}"));
        }
        Ok((run, pool))
    }
}

/// The first free `runs/NNN-NAME`.
fn next_run(name: &str) -> PathBuf {
    let number = |name: &str| name.split_once('-').and_then(|(number, _)| number.parse::<u32>().ok());
    let taken = std::fs::read_dir(RUNS)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| number(entry.file_name().to_str()?))
        .max()
        .unwrap_or(0);
    Path::new(RUNS).join(format!("{:03}-{name}", taken + 1))
}

/// A flag that the first SIGINT or SIGTERM raises; the second leaves at once, with nothing half-written in place.
/// What is being waited for is told.
pub(crate) fn on_signal(after: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        say_error(&format!("\nStopping after this {after}; once more leaves at once."));
    })?;
    Ok(stop)
}

/// What a run ended in, as a sentence.
fn ending(outcome: Outcome, step: u64, steps: u64) -> String {
    match outcome {
        Outcome::Finished => format!("All {steps} steps are done."),
        Outcome::Interrupted => format!("Stopped at step {step} of {steps}; everything is saved."),
        Outcome::Patience => {
            format!("Stopped at step {step} of {steps}: the validation loss did not improve any more.")
        }
    }
}
