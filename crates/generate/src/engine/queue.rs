//! Who waits for a place, and who is next.

use super::request::{Request, TextId};
use crate::sampler::Sampler;
use std::collections::VecDeque;

/// A text without a place yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: TextId,
    pub(super) request: Request,
    pub(super) sampler: Sampler,
}

/// Texts that wait, by who asked for them: whoever asked for many does not make others wait for all of them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The next one's first text is the next.
    flows: VecDeque<(u64, VecDeque<Waiting>)>,
}

impl Queue {
    pub(super) fn push(&mut self, flow: u64, waiting: Waiting) {
        match self.flows.iter_mut().find(|(of, _)| *of == flow) {
            Some((_, texts)) => texts.push_back(waiting),
            None => self.flows.push_back((flow, VecDeque::from([waiting]))),
        }
    }

    /// The text whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let (flow, mut texts) = self.flows.pop_front()?;
        let first = texts.pop_front();
        if !texts.is_empty() {
            self.flows.push_back((flow, texts));
        }
        first
    }

    /// Forgets a text; whether it was here.
    pub(super) fn remove(&mut self, id: TextId) -> bool {
        let before = self.len();
        for (_, texts) in &mut self.flows {
            texts.retain(|waiting| waiting.id != id);
        }
        self.flows.retain(|(_, texts)| !texts.is_empty());
        self.len() < before
    }

    pub(super) fn len(&self) -> usize {
        self.flows.iter().map(|(_, texts)| texts.len()).sum()
    }
}
