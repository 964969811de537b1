//! Checkpoints: directories that `transformers` opens as they are, with what only training needs beside it.
//!
//! ```text
//! RUN/run.toml  metrics.jsonl  loss.svg  lock  [stdin.txt]  latest -> checkpoints/step-…  best -> checkpoints/step-…
//! RUN/checkpoints/step-00001000/  config.json  model.safetensors  tokenizer.json  tokenizer_config.json
//!                                 generation_config.json  optimizer.safetensors  train_state.json  manifest.json
//! ```

use crate::config::RunConfig;
use crate::error::Error;
use crate::moments::Moments;
use crate::prepare::Prepared;
use crate::trainer::Trainer;
use foretoken_formats::durable::{self, DurableDir};
use foretoken_formats::json;
use foretoken_formats::safetensors::{self, Safetensors};
use foretoken_kernels::{Buffer, Pool};
use foretoken_model::adapter::{self, AdapterConfig};
use foretoken_model::{Model, OptimizerKind, ParamSpec, ParamTable, Product, StateDtype, load, registry, tensors};
use foretoken_text::ChatTemplate;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything of a run that its config, data and tensors do not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Steps done.
    pub step: u64,
    /// Updates the optimizer made.
    pub updates: u64,
    /// Steps skipped because the gradient was not finite.
    pub skipped: u64,
    /// Of those, the last in a row.
    pub skipped_in_a_row: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of training.
    pub time_s: f64,
    /// Lowest validation loss so far, and its step.
    pub best: Option<(f64, u64)>,
    /// Evaluations since.
    pub evaluations_without_better: u64,
    /// What the data, cut into tokens, hash to.
    pub data: String,
    /// What the tokeniser hashes to.
    pub tokenizer: String,
    /// Instruction set of the last sitting: a warning is told where the next one's gives other bits.
    pub isa: String,
    /// Version of foretoken that wrote it.
    pub foretoken: String,
    /// What updated the weights.
    #[serde(default)]
    pub optimizer: OptimizerKind,
    /// How its moments are kept.
    #[serde(default)]
    pub optimizer_state: StateDtype,
}

const STATE: &str = "train_state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE_BYTES: u64 = 1 << 20;

/// The directory of a run's checkpoints.
pub(crate) fn checkpoints_dir(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

fn name(step: u64) -> String {
    format!("step-{step:08}")
}

/// The whole checkpoints' directories of a run with their steps, the oldest first; none where `run` is no run.
pub fn checkpoints(run: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(checkpoints_dir(run)) else {
        return Vec::new();
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
            Some((step, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// Writes what a reader of the model needs into `dir`: config, weights, tokeniser; or an adapter in PEFT's form, whose base
/// stays where it is.
fn write_model(dir: &mut DurableDir, trainer: &Trainer, data: &Prepared) -> Result<(), Error> {
    let model = &*trainer.model;
    match &trainer.origin {
        Some(origin) => {
            let of_base = |name: &str| trainer.adapter.is_some() && name == "config.json";
            for (name, bytes) in origin.files.iter().filter(|(name, _)| !of_base(name)) {
                dir.file(name, |w| w.write_all(bytes))?;
            }
        }
        None => write_texts(dir, model, data)?,
    }
    if let (Some(learnt), Some(origin)) = (&trainer.adapter, &trainer.origin) {
        let (base, revision) = origin.base.clone();
        let learning = trainer.config().learning();
        let config = AdapterConfig {
            base: Some(base),
            revision,
            rank: trainer.trainable.rank(),
            alpha: learning.alpha(),
            use_rslora: false,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            target_modules: adapter::target_modules(model, &trainer.trainable),
        };
        let in_out = |spec: &ParamSpec| spec.product == Some(Product::InOut);
        let transposed = trainer.trainable.targets(model.params()).any(|(spec, _)| in_out(spec));
        dir.file(adapter::CONFIG, |w| w.write_all(&config.to_json(transposed)))?;
        let names = adapter::names(model, &trainer.trainable);
        let list = adapter::tensors(&trainer.trainable, &names, &learnt.pairs);
        dir.file(adapter::WEIGHTS, |w| safetensors::write(w, &list, &[("format", "pt")]))?;
        return Ok(());
    }
    let list = tensors(model.params(), &trainer.weights);
    dir.file("model.safetensors", |w| {
        safetensors::write(w, &list, &[("format", "pt")])
    })?;
    Ok(())
}

/// Config and tokeniser of a model that began here.
fn write_texts(dir: &mut DurableDir, model: &dyn Model, data: &Prepared) -> Result<(), Error> {
    let tokenizer = &data.tokenizer;
    let config = model.config();
    let generation = serde_json::json!({
        "bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"], "do_sample": true,
    });
    let pretty = |value: &serde_json::Value| serde_json::to_vec_pretty(value).expect("plain values");
    dir.file("config.json", |w| w.write_all(&pretty(&config)))?;
    dir.file("generation_config.json", |w| w.write_all(&pretty(&generation)))?;
    dir.file("tokenizer.json", |w| w.write_all(&tokenizer.to_json()))?;
    let limit = model.dims().n_positions;
    let template = data.template.as_ref().map(ChatTemplate::source);
    dir.file("tokenizer_config.json", |w| {
        w.write_all(&tokenizer.tokenizer_config_json(limit, template))
    })?;
    Ok(())
}

/// Writes a checkpoint, whole or not at all, and points `latest` (and `best`) at it.
///
/// # Errors
/// The disk, in particular where it is full: nothing older was touched then.
pub(crate) fn save(
    run: &Path,
    trainer: &Trainer,
    data: &Prepared,
    state: &TrainState,
    is_best: bool,
) -> Result<PathBuf, Error> {
    let table = trainer.trainable.table();
    finite(trainer, state.step)?;
    let target = checkpoints_dir(run).join(name(state.step));
    durable::create_dir_all(checkpoints_dir(run))?;
    if target.exists() {
        // A step is a function of the run: what is whole and of the same sitting is what would be written. Anything else
        // is damaged, or was left by another run.
        if read(&target).is_ok_and(|there| there == *state) {
            point(run, &target, is_best)?;
            return Ok(target);
        }
        durable::remove_dir(&target)?;
    }
    let plan = trainer.optimizer.plan();
    // Weights and moments, and a little.
    let stored = match trainer.adapter {
        Some(_) => table.count(),
        None => trainer.model.params().count(),
    };
    durable::check_space(&target, 4 * stored + plan.moment_bytes() + (16 << 20))?;
    let mut dir = DurableDir::create(&target)?;
    write_model(&mut dir, trainer, data)?;
    let moment_names: Vec<(String, String)> = table
        .specs()
        .iter()
        .map(|spec| (format!("m.{}", spec.name), format!("v.{}", spec.name)))
        .collect();
    let optimizer = &trainer.optimizer;
    let mut moments = Vec::with_capacity(2 * moment_names.len());
    for (spec, (m_name, v_name)) in table.specs().iter().zip(&moment_names) {
        moments.extend(optimizer.m.tensor(m_name, spec));
        moments.extend(optimizer.v.tensor(v_name, spec));
    }
    dir.file(OPTIMIZER, |w| safetensors::write(w, &moments, &[]))?;
    dir.file(STATE, |w| {
        w.write_all(&serde_json::to_vec_pretty(state).expect("plain fields"))
    })?;
    let mut extra = serde_json::Map::new();
    extra.insert("step".into(), state.step.into());
    dir.commit(extra)?;
    point(run, &target, is_best)?;
    Ok(target)
}

/// A checkpoint with a NaN in it would be whole, and worth nothing.
fn finite(trainer: &Trainer, step: u64) -> Result<(), Error> {
    let optimizer = &trainer.optimizer;
    let check = |finite: bool, what: &str, spec: &ParamSpec| match finite {
        true => Ok(()),
        false => Err(Error::Diverged {
            tensor: format!("{what}{}", spec.name),
            step,
        }),
    };
    for spec in trainer.model.params().specs() {
        let weights = &trainer.weights[spec.range.clone()];
        check(weights.iter().all(|x| x.is_finite()), "", spec)?;
    }
    for spec in trainer.trainable.table().specs() {
        let by = if optimizer.v.has(spec) { "AdamW" } else { "Muon" };
        let moments = |moments: &Moments| moments.values(&spec.range).all(f32::is_finite);
        if let Some(adapter) = &trainer.adapter {
            check(
                adapter.pairs[spec.range.clone()].iter().all(|x| x.is_finite()),
                "",
                spec,
            )?;
        }
        check(moments(&optimizer.m), &format!("{by}'s m of "), spec)?;
        check(moments(&optimizer.v), &format!("{by}'s v of "), spec)?;
    }
    Ok(())
}

/// Removes all but the newest `keep` checkpoints up to `step` and the best; `keep` of 0 removes none. Later ones are
/// damaged, else the run would be there: they do not count, and are written anew when it comes to them.
pub(crate) fn prune(run: &Path, step: u64, keep: usize, best: Option<u64>) {
    let mut all = checkpoints(run);
    all.retain(|&(other, _)| other <= step);
    if keep == 0 || all.len() <= keep {
        return;
    }
    let linked = std::fs::read_link(run.join("best")).ok();
    let linked = linked.as_ref().and_then(|target| target.file_name());
    for (step, path) in &all[..all.len() - keep] {
        if Some(*step) != best && path.file_name() != linked {
            // Failing to make room is no reason to stop training.
            let _ = durable::remove_dir(path);
        }
    }
}

fn point(run: &Path, target: &Path, is_best: bool) -> Result<(), Error> {
    let relative = Path::new("checkpoints").join(target.file_name().expect("a checkpoint has a name"));
    for pointer in if is_best { &["latest", "best"][..] } else { &["latest"] } {
        durable::point(run.join(pointer), &relative)?;
    }
    Ok(())
}

/// Clears away what a killed process left in a run's directories.
pub(crate) fn tidy(run: &Path) -> Result<(), Error> {
    for dir in [run.to_owned(), checkpoints_dir(run)] {
        if dir.is_dir() {
            durable::remove_leftovers(dir)?;
        }
    }
    Ok(())
}

/// A checkpoint read back.
#[derive(Debug)]
pub struct Checkpoint {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says.
    pub state: TrainState,
    /// The newer ones that were not whole, and why.
    pub damaged: Vec<String>,
}

/// What a checkpoint says, where it is whole.
fn read(path: &Path) -> Result<TrainState, foretoken_formats::Error> {
    durable::verify_dir(path)?;
    json::read_bounded(path.join(STATE), STATE_BYTES)
}

/// The newest checkpoint of a run that is whole.
///
/// # Errors
/// [`Error::NoRun`] where there is none, [`Error::NoCheckpoint`] where none is whole.
pub fn newest(run: &Path) -> Result<Checkpoint, Error> {
    let all = checkpoints(run);
    if all.is_empty() {
        return Err(Error::NoRun {
            path: run.into(),
            expected: "a directory `checkpoints` with a checkpoint",
        });
    }
    let mut damaged = Vec::new();
    for (step, path) in all.into_iter().rev() {
        match read(&path) {
            Ok(state) if state.step == step => return Ok(Checkpoint { path, state, damaged }),
            Ok(state) => damaged.push(format!("{} holds step {}", path.display(), state.step)),
            Err(error) => damaged.push(error.to_string()),
        }
    }
    Err(Error::NoCheckpoint {
        path: run.into(),
        reasons: damaged,
    })
}

impl Checkpoint {
    /// Points `latest` (and `best`) of its run here where they do not yet: after a fall-back, or where a process was
    /// killed between the checkpoint and its pointers.
    pub(crate) fn point(&self, run: &Path) -> Result<(), Error> {
        let best = self.state.best.map(|(_, step)| checkpoints_dir(run).join(name(step)));
        for (pointer, wanted) in [("latest", Some(&self.path)), ("best", best.as_ref())] {
            let link = run.join(pointer);
            let leads_to = std::fs::read_link(&link).ok();
            match wanted.filter(|path| path.is_dir()).and_then(|path| path.file_name()) {
                Some(name) if leads_to.as_ref().and_then(|target| target.file_name()) == Some(name) => {}
                Some(name) => durable::point(link, Path::new("checkpoints").join(name))?,
                // A best that is gone: the next one takes its place.
                None if leads_to.is_some() => drop(std::fs::remove_file(link)),
                None => {}
            }
        }
        Ok(())
    }

    /// Fails where the model in this checkpoint is of another kind or of other sizes. The vocabulary is compared once the
    /// tokeniser is known.
    pub(crate) fn same_model(&self, model: &dyn Model, tokenizer_known: bool) -> Result<(), Error> {
        if self.path.join(adapter::CONFIG).exists() {
            // The base is not here, and was compared by its weights.
            return Ok(());
        }
        let saved = registry::from_config(&json::read_bounded(self.path.join("config.json"), STATE_BYTES)?)?;
        let facts = |model: &dyn Model| {
            let dims = model.dims();
            let mut facts = vec![
                ("arch", model.model_type().to_owned()),
                ("n_layer", dims.n_layer.to_string()),
                ("n_head", dims.n_head.to_string()),
                ("n_embd", dims.n_embd.to_string()),
                ("n_positions", dims.n_positions.to_string()),
            ];
            // The one size that not every kind has, by the name that Hugging Face has for it.
            facts.extend(
                model
                    .config()
                    .get("num_key_value_heads")
                    .map(|n| ("n_kv_head", n.to_string())),
            );
            facts.extend(tokenizer_known.then(|| ("vocab_size", dims.vocab_size.to_string())));
            facts
        };
        let (now, then) = (facts(model), facts(&*saved));
        let differing = |ours: &[(&str, String)], theirs: &[(&str, String)]| {
            let changed = ours.iter().filter(|fact| !theirs.contains(fact));
            changed
                .map(|(name, value)| format!("{name} = {value}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        if now == then {
            return Ok(());
        }
        Err(Error::Changed {
            what: "the model",
            checkpoint: self.path.clone(),
            found: differing(&now, &then),
            expected: differing(&then, &now),
            help: "leave the sizes as they were, or start a new run",
        })
    }

    /// Fails where the moments in this checkpoint are another optimizer's, or kept otherwise.
    pub(crate) fn same_optimizer(&self, config: &RunConfig) -> Result<(), Error> {
        let now = (config.optimizer, config.optimizer_state);
        let then = (self.state.optimizer, self.state.optimizer_state);
        let named = |(kind, state): (OptimizerKind, StateDtype)| format!("{} in {}", kind.name(), state.name());
        if now == then {
            return Ok(());
        }
        Err(Error::Changed {
            what: "the optimizer",
            checkpoint: self.path.clone(),
            found: named(now),
            expected: named(then),
            help: "leave --optimizer and --optimizer-state as they were, or start a new run",
        })
    }

    /// Puts weights, moments and counters into a fresh trainer.
    ///
    /// # Errors
    /// A tensor is missing or has another shape: the config changed.
    pub fn restore(&self, trainer: &mut Trainer, pool: &Pool) -> Result<(), Error> {
        if trainer.adapter.is_some() {
            self.restore_pairs(trainer, pool)?;
        } else {
            // The fresh ones go first, so that there are never two.
            trainer.weights = Buffer::zeroed(0);
            trainer.weights = load(trainer.model.params(), &safetensors::open_model_dir(&self.path)?)?;
        }
        let table = trainer.trainable.table();
        let file = Safetensors::open(self.path.join(OPTIMIZER))?;
        read_moments(&mut trainer.optimizer.m, table, &file, "m")?;
        read_moments(&mut trainer.optimizer.v, table, &file, "v")?;
        trainer.optimizer.updates = self.state.updates;
        trainer.step = self.state.step;
        trainer.skipped = self.state.skipped;
        trainer.skipped_in_a_row = self.state.skipped_in_a_row;
        Ok(())
    }

    fn restore_pairs(&self, trainer: &mut Trainer, pool: &Pool) -> Result<(), Error> {
        let config = AdapterConfig::read(&self.path)?;
        let file = Safetensors::open(self.path.join(adapter::WEIGHTS))?;
        let (trainable, pairs) = adapter::read(&*trainer.model, &config, &file)?;
        if trainable != trainer.trainable {
            return Err(Error::Changed {
                what: "the pairs of low rank",
                checkpoint: self.path.clone(),
                found: adapter::target_modules(&*trainer.model, &trainer.trainable).join(", "),
                expected: adapter::target_modules(&*trainer.model, &trainable).join(", "),
                help: "leave --lora-rank, --lora-alpha, --lora-targets and --freeze as they were, or start a new run",
            });
        }
        trainer.adapter.as_mut().expect("there are pairs").pairs = pairs;
        trainer.merge(pool);
        Ok(())
    }
}

fn read_moments(moments: &mut Moments, table: &ParamTable, file: &Safetensors, which: &str) -> Result<(), Error> {
    for spec in table.specs() {
        if !moments.has(spec) {
            continue;
        }
        let name = format!("{which}.{}", spec.name);
        let tensor = file
            .tensor(&name)
            .ok_or_else(|| foretoken_formats::Error::MissingTensor {
                path: file.path().into(),
                tensor: name.clone(),
            })?;
        moments.read(spec, &tensor)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
