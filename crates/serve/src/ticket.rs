//! What is written down of a request: once, however it ends.

use crate::event::{Event, Record};
use crate::model::Model;
use crate::state::State;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The status of a request whose client has left, as nginx has it.
const LEFT: u16 = 499;

/// A request under way. When it is dropped, the request has ended.
pub(crate) struct Ticket {
    state: Arc<State>,
    begun: Instant,
    record: Record,
}

impl Ticket {
    pub(crate) fn new(state: Arc<State>, peer: SocketAddr, method: &str, path: &'static str) -> Self {
        state.metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            state,
            begun: Instant::now(),
            record: Record {
                peer,
                method: method.to_owned(),
                path,
                // Until an answer is there, only the client can have ended it.
                status: LEFT,
                model: None,
                prompt_tokens: 0,
                generated_tokens: 0,
                first_token: None,
                took: Duration::ZERO,
            },
        }
    }

    /// How it is answered.
    pub(crate) fn status(&mut self, status: u16) {
        self.record.status = status;
    }

    /// What it asks for.
    pub(crate) fn asks(&mut self, model: &Model, prompt_tokens: usize) {
        self.record.model = Some(model.name.clone());
        self.record.prompt_tokens = prompt_tokens;
    }

    /// A token came.
    pub(crate) fn token(&mut self, model: &Model) {
        self.record.generated_tokens += 1;
        if self.record.first_token.is_none() {
            let took = self.begun.elapsed();
            self.record.first_token = Some(took);
            model.shared.metrics.first_token.record(took);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.record.took = self.begun.elapsed();
        let metrics = &self.state.metrics;
        metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        metrics.end(self.record.path, self.record.status, self.record.took);
        (self.state.on_event)(Event::Request(self.record.clone()));
    }
}
