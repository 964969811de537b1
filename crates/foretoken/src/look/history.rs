//! What training changed: two models side by side, and probes over the checkpoints of a run.

use super::Look;
use crate::error::Error;
use crate::gpt::Gpt;
use crate::write::GenerateOptions;
use foretoken_generate::Sampling;
use foretoken_lens::{HeadMap, TensorChange, compare_weights};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Tokens that a probe shows of what could come next.
const TOP: usize = 5;
/// Cells of a head's small map.
const SIDE: usize = 8;

/// Two models of one architecture and size.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Difference {
    /// `difference`.
    #[schemars(extend("const" = "difference"))]
    pub view: &'static str,
    /// The first and the second.
    pub models: [String; 2],
    /// How far every tensor went.
    pub tensors: Vec<TensorChange>,
    /// The same prompts under each.
    pub probes: Vec<[Probed; 2]>,
}

/// What a model does with a fixed prompt.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Probed {
    /// The prompt.
    pub prompt: String,
    /// What it writes after it, the likeliest token each time.
    pub sample: String,
    /// What could come next: label and probability.
    pub top: Vec<(String, f64)>,
    /// How unsure it is, in bits.
    pub entropy: f64,
    /// Bits that it needs for the prompt.
    pub bits: f64,
    /// Every head on the prompt.
    pub heads: Vec<HeadMap>,
}

/// A model of a comparison: what it is called, and what it does with each prompt.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Side {
    /// The checkpoint.
    pub path: PathBuf,
    /// Its step.
    pub step: u64,
    /// In the order of the prompts.
    pub probes: Vec<Probed>,
    /// How far each tensor went since the checkpoint before; empty for the first.
    pub tensors: Vec<TensorChange>,
}

/// The checkpoints of a run.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct History {
    /// `history`.
    #[schemars(extend("const" = "history"))]
    pub view: &'static str,
    /// Where the run is.
    pub run: PathBuf,
    /// The oldest first.
    pub checkpoints: Vec<Side>,
}

/// Probes every checkpoint of a run, and measures how far its tensors went since the one before. Two models are open at a time;
/// `open` says how.
///
/// # Errors
/// [`Error::NoModel`] where there is no checkpoint; those of `open`; as [`probe`].
pub fn history<E: From<Error>>(
    run: &Path,
    open: impl Fn(&Path) -> Result<Gpt, E>,
    prompts: &[String],
    max_tokens: usize,
) -> Result<History, E> {
    let (mut checkpoints, mut before): (Vec<Side>, Option<Gpt>) = (Vec::new(), None);
    for (step, path) in foretoken_train::checkpoints(run) {
        let gpt = open(&path)?;
        let probes: Result<_, Error> = prompts.iter().map(|prompt| probe(&gpt, prompt, max_tokens)).collect();
        let compared = |before: &Gpt| compare_weights(gpt.model(), before.weights(), gpt.weights());
        checkpoints.push(Side {
            path,
            step,
            probes: probes?,
            tensors: before.as_ref().map(compared).unwrap_or_default(),
        });
        before = Some(gpt);
    }
    if checkpoints.is_empty() {
        return Err(Error::NoModel { path: run.to_owned() }.into());
    }
    Ok(History {
        view: "history",
        run: run.to_owned(),
        checkpoints,
    })
}

/// Runs a fixed prompt: nothing is drawn, so that two checkpoints compare.
///
/// # Errors
/// As [`Gpt::look`]; no memory.
pub fn probe(gpt: &Gpt, prompt: &str, max_tokens: usize) -> Result<Probed, Error> {
    let probed = probe_while(gpt, prompt, max_tokens, &|| true)?;
    Ok(probed.expect("nobody ends it"))
}

/// [`probe`], which ends with nothing as soon as `wanted` says no.
///
/// # Errors
/// As [`probe`].
pub fn probe_while(
    gpt: &Gpt,
    prompt: &str,
    max_tokens: usize,
    wanted: &dyn Fn() -> bool,
) -> Result<Option<Probed>, Error> {
    let look: Look<'_> = gpt.look(prompt)?;
    let greedy = Sampling {
        temperature: 0.0,
        ..Sampling::default()
    };
    let next = look.next(
        look.ids().len() - 1,
        Sampling {
            temperature: 1.0,
            ..Sampling::default()
        },
        TOP,
    )?;
    let options = GenerateOptions {
        sampling: greedy,
        max_tokens,
        ..Default::default()
    };
    let likeliest = next
        .choices
        .iter()
        .take(TOP)
        .map(|choice| (choice.label.clone(), choice.probability));
    let mut sample = String::new();
    gpt.stream(prompt, &options, |part| {
        sample.push_str(part);
        wanted()
    })?;
    if !wanted() {
        return Ok(None);
    }
    Ok(Some(Probed {
        prompt: prompt.to_owned(),
        sample,
        top: likeliest.collect(),
        entropy: next.entropy,
        bits: gpt.score(prompt)?.nats() / std::f64::consts::LN_2,
        heads: look.attention(SIDE)?.heads,
    }))
}

/// Compares the tensors of two models, and what they do with some prompts.
///
/// # Errors
/// [`Error::OtherModel`] where architecture or sizes differ; as [`probe`].
pub fn difference(before: &Gpt, after: &Gpt, prompts: &[String], max_tokens: usize) -> Result<Difference, Error> {
    let shapes = |gpt: &Gpt| -> Vec<(String, Vec<usize>)> {
        gpt.model()
            .params()
            .specs()
            .iter()
            .map(|spec| (spec.name.clone(), spec.shape.clone()))
            .collect()
    };
    if shapes(before) != shapes(after) {
        return Err(Error::OtherModel {
            path: after.path().to_owned(),
            other: before.path().to_owned(),
        });
    }
    let both = |prompt: &String| Ok([probe(before, prompt, max_tokens)?, probe(after, prompt, max_tokens)?]);
    Ok(Difference {
        view: "difference",
        models: [before, after].map(super::model_name),
        tensors: compare_weights(before.model(), before.weights(), after.weights()),
        probes: prompts.iter().map(both).collect::<Result<_, Error>>()?,
    })
}
