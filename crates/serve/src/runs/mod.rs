//! `/runs`: what `foretoken report` says of runs, while they go on, and what their checkpoints do with a text.

mod folder;
mod kept;
mod probe;

use crate::body::Body;
use crate::fault::Fault;
use crate::options::Served;
use crate::respond::{self, Received};
use crate::state::State;
use folder::{Folder, Found};
use foretoken::train::report::{RunReport, Sample, differences};
use hyper::Response;
use kept::{Kept, age};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Runs of a list; the others are counted.
const LISTED: usize = 200;
/// Steps of an answer: who lacks more reads the curves.
const STEPS: usize = 2048;
/// Samples of an answer, and bytes of each.
const SAMPLES: usize = 120;
const SAMPLE_BYTES: usize = 8 << 10;
/// Probes that may wait.
const WAITING: usize = 16;

/// What is asked about runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    List,
    Run,
    Steps,
    Samples,
}

/// Runs, and who may read them: one at a time, and one at a time may open checkpoints.
pub(crate) struct Runs {
    folder: Folder,
    kept: Mutex<Kept>,
    reading: Arc<Semaphore>,
    probing: Arc<Semaphore>,
    places: Semaphore,
}

impl Runs {
    pub(crate) fn new(dir: Option<PathBuf>, models: &[Served]) -> Self {
        Self {
            folder: Folder::new(dir, models),
            kept: Mutex::default(),
            reading: Arc::new(Semaphore::new(1)),
            probing: Arc::new(Semaphore::new(1)),
            places: Semaphore::new(WAITING),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers what needs no body. `from` is the step from which on steps are wanted.
pub(crate) async fn answer(
    state: &Arc<State>,
    ask: Ask,
    name: String,
    from: Option<String>,
) -> Result<Response<Body>, Fault> {
    let from = match from.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return Err(Fault::field("from", "`from` is no step: expected a whole number")),
    };
    let turn = state.runs.reading.clone().acquire_owned().await;
    let state = state.clone();
    let read = tokio::task::spawn_blocking(move || {
        // It is given back when the reading is over, even if the client has left before.
        let _turn = turn;
        let runs = &state.runs;
        match ask {
            Ask::List => Ok(list(runs)),
            Ask::Run => one(runs, &runs.folder.find(&name)?),
            Ask::Steps => steps(runs, &runs.folder.find(&name)?, from),
            Ask::Samples => samples(runs, &runs.folder.find(&name)?),
        }
    });
    let read = read
        .await
        .map_err(|_| Fault::server("a bug of foretoken: the runs could not be read"))?;
    read.map(respond::written)
}

/// What a checkpoint does with a text, not on any model's thread.
pub(crate) async fn probe(state: &Arc<State>, name: String, body: Received) -> Result<Response<Body>, Fault> {
    let _place = state.runs.places.try_acquire().map_err(|_| Fault::busy())?;
    let turn = state.runs.probing.clone().acquire_owned().await;
    let leaving = probe::Leaving::default();
    let wanted = leaving.wanted();
    let probed = respond::blocking(body, move |state, body| {
        let _turn = turn;
        probe::probe(&state.runs.folder.find(&name)?, body, &wanted)
    });
    probed.await.map(respond::written)
}

/// Every run in a row, the one that was written last first. One that cannot be read says why.
fn list(runs: &Runs) -> String {
    let all = runs.folder.list();
    let mut all: Vec<(f64, Found)> = all
        .into_iter()
        .map(|run| (age(&run.dir).unwrap_or(f64::INFINITY), run))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let left_out = all.len().saturating_sub(LISTED);
    all.truncate(LISTED);
    let rows = runs.with(|kept| {
        let rows: Vec<Value> = all.iter().map(|(age, run)| row(kept, *age, run)).collect();
        kept.only(&all.into_iter().map(|(_, run)| run).collect::<Vec<_>>());
        rows
    });
    json!({ "runs": rows, "left_out": left_out }).to_string()
}

fn row(kept: &mut Kept, age: f64, run: &Found) -> Value {
    let (summary, error) = match kept.summary(run) {
        Ok(summary) => (json!(summary), None),
        Err(fault) => (Value::Null, Some(fault.message)),
    };
    json!({ "name": run.name, "model": run.model, "age_s": age, "summary": summary, "error": error })
}

/// What every answer about one run says.
fn head(run: &Found, report: &RunReport) -> Value {
    let (latest, best) = (run.pointed("latest"), run.pointed("best"));
    let checkpoint = |(step, _)| json!({ "step": step, "latest": latest == Some(step), "best": best == Some(step) });
    json!({
        "name": run.name,
        "model": run.model,
        "age_s": age(&run.dir),
        "summary": report.summary(),
        "torn": report.torn,
        "samples": report.samples.len(),
        "checkpoints": run.checkpoints().into_iter().map(checkpoint).collect::<Vec<_>>(),
    })
}

/// A run with its curves and config.
fn one(runs: &Runs, run: &Found) -> Result<String, Fault> {
    let answer = runs.with(|kept| {
        kept.look(run, |report| {
            let mut answer = head(run, report);
            let (data, config) = (report.data.as_ref(), &report.config);
            answer["curves"] = json!(report.curves());
            answer["data"] = json!(data);
            let clip = f64::from(config.grad_clip);
            answer["levels"] = json!({
                "floor": report.floor(),
                "floor_bits_per_byte": data.and_then(|data| data.floor_bits_per_byte),
                "grad_clip": (clip > 0.0).then_some(clip),
            });
            answer["config"] = differences(std::slice::from_ref(report))
                .into_iter()
                .map(|field| json!({ "field": field.field, "value": field.values[0] }))
                .collect();
            answer
        })
    })?;
    Ok(answer.to_string())
}

/// The steps from one on, itself among them: a client that has it sees whether the log is still the one it knows.
fn steps(runs: &Runs, run: &Found, from: u64) -> Result<String, Fault> {
    let answer = runs.with(|kept| {
        kept.look(run, |report| {
            let mut answer = head(run, report);
            let rows = &report.metrics[report.metrics.partition_point(|row| row.step < from)..];
            answer["left_out"] = json!(rows.len().saturating_sub(STEPS));
            answer["rows"] = json!(&rows[..rows.len().min(STEPS)]);
            answer
        })
    })?;
    Ok(answer.to_string())
}

/// What a run wrote on its way: the first, the last, and what lies evenly between.
fn samples(runs: &Runs, run: &Found) -> Result<String, Fault> {
    let answer = runs.with(|kept| {
        kept.look(run, |report| {
            let all = &report.samples;
            let most = all.len().min(SAMPLES);
            let nth = |i: usize| &all[i * (all.len() - 1) / (most - 1).max(1)];
            let shown: Vec<Sample> = (0..most).map(|i| shortened(nth(i))).collect();
            json!({ "samples": shown, "left_out": all.len() - most })
        })
    })?;
    Ok(answer.to_string())
}

fn shortened(sample: &Sample) -> Sample {
    let cut = |text: &str| {
        let end = text.floor_char_boundary(SAMPLE_BYTES);
        if end < text.len() {
            format!("{}…", &text[..end])
        } else {
            text.to_owned()
        }
    };
    Sample {
        step: sample.step,
        prompt: cut(&sample.prompt),
        text: cut(&sample.text),
    }
}
