//! What a checkpoint does with a text: `foretoken lens history`, one checkpoint at a time.

use super::folder::Found;
use crate::fault::Fault;
use crate::fields::Fields;
use foretoken::Error;
use foretoken::kernels::Pool;
use foretoken::look::{Probed, probe_while};
use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The longest text in bytes, and how many tokens are written after it at most and unless said.
const LONGEST: usize = 4 << 10;
const MOST: u64 = 128;
const WRITTEN: u64 = 24;

/// What is answered. It is written at once: within a [`Value`] the numbers of heads' maps would become long decimals of f64.
#[derive(Serialize)]
struct Answer<'a> {
    step: u64,
    probe: &'a Probed,
}

/// Says when its client has left: then it is dropped.
#[derive(Debug, Default)]
pub(super) struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// Whether the answer is still wanted.
    pub(super) fn wanted(&self) -> impl Fn() -> bool + Send + 'static {
        let left = self.0.clone();
        move || !left.load(Ordering::Relaxed)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Opens a checkpoint and lets it go on from a text. One thread does it: trainings and texts under way have the others.
pub(super) fn probe(run: &Found, body: &Value, wanted: &dyn Fn() -> bool) -> Result<String, Fault> {
    let fields = Fields::top(body)?;
    let text = fields.required("text")?;
    let text = text.as_str().ok_or_else(|| fields.wrong("text", "a string"))?;
    if text.len() > LONGEST {
        let message = format!("the text has {} bytes: expected at most {LONGEST}", text.len());
        return Err(Fault::field("text", message));
    }
    let step = fields.whole("step", 0..=u64::MAX)?;
    let max_tokens = fields.whole("max_tokens", 0..=MOST)?.unwrap_or(WRITTEN);
    let checkpoints = run.checkpoints();
    let found = checkpoints.iter().rfind(|(at, _)| step.is_none_or(|step| step == *at));
    let (step, path) = found.ok_or_else(|| gone(step))?;
    if !wanted() {
        return Err(left());
    }
    let pool = Pool::new(1).map_err(|error| Fault::server(error.to_string()))?;
    let gpt = foretoken::open_with(path, pool).map_err(|error| match path.exists() {
        true => Fault::server(error.to_string()),
        // A run keeps its newest only.
        false => gone(Some(*step)),
    })?;
    if !wanted() {
        return Err(left());
    }
    let probed = probe_while(&gpt, text, max_tokens as usize, wanted).map_err(|error| match error {
        Error::TooLong { .. } | Error::Empty => Fault::field("text", error.to_string()),
        error => Fault::server(error.to_string()),
    })?;
    let probed = probed.ok_or_else(left)?;
    let answer = Answer {
        step: *step,
        probe: &probed,
    };
    serde_json::to_string(&answer).map_err(|error| Fault::server(error.to_string()))
}

fn gone(step: Option<u64>) -> Fault {
    let message = match step {
        Some(step) => format!("the run has no checkpoint of step {step} (any more)"),
        None => "the run has no checkpoint yet".into(),
    };
    Fault::request(StatusCode::NOT_FOUND, "checkpoint_not_found", message).at("step")
}

/// Nobody hears it.
fn left() -> Fault {
    Fault::unavailable("the client has left")
}
