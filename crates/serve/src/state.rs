//! What all requests share.

use crate::event::Event;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::options::Options;
use crate::runs::Runs;
use hyper::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What all requests share.
pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) models: Vec<Arc<Model>>,
    pub(crate) runs: Runs,
    pub(crate) metrics: Metrics,
    pub(crate) on_event: Box<dyn Fn(Event) + Send + Sync>,
    /// Bytes of bodies that are in memory.
    pub(crate) body_bytes: AtomicUsize,
    /// Whether the server was told to stop.
    pub(crate) draining: AtomicBool,
    /// Makes ids of this server differ from those of the next.
    pub(crate) nonce: u64,
    pub(crate) serial: AtomicU64,
}

impl State {
    /// A number that no other request has.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Texts of one request at most: else it could never be taken in.
    pub(crate) fn most_texts(&self) -> usize {
        self.options.max_queue + self.options.max_concurrent
    }

    /// The model that a request names; it need not where there is but one.
    pub(crate) fn model(&self, fields: &Fields<'_>) -> Result<Arc<Model>, Fault> {
        match fields.string("model")? {
            Some(name) => self.named(name),
            None if self.models.len() == 1 => Ok(self.models[0].clone()),
            None if self.models.is_empty() => Err(none()),
            None => Err(Fault::field(
                "model",
                "`model` is missing, and several are served: see /v1/models",
            )),
        }
    }

    /// The model of a name, or the first.
    pub(crate) fn named_or_first(&self, name: Option<&str>) -> Result<Arc<Model>, Fault> {
        match name {
            Some(name) => self.named(name),
            None => self.models.first().cloned().ok_or_else(none),
        }
    }

    /// A model by its name.
    pub(crate) fn named(&self, name: &str) -> Result<Arc<Model>, Fault> {
        let found = self.models.iter().find(|model| model.name == name);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
            if names.is_empty() {
                return none();
            }
            let message = format!("there is no such model: expected {}", names.join(" or "));
            Fault::request(StatusCode::NOT_FOUND, "model_not_found", message).at("model")
        })
    }
}

/// A server of runs alone.
fn none() -> Fault {
    let message = "no model is served here, only runs are shown";
    Fault::request(StatusCode::NOT_FOUND, "model_not_found", message).at("model")
}
