//! A model as requests see it.

use crate::fault::Fault;
use crate::metrics::ModelMetrics;
use crate::worker::Work;
use foretoken::text::ChatTemplate;
use foretoken::{Gpt, Grammar, GrammarConstraint, Grammars};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// A model's name, and the way to its thread.
pub(crate) struct Model {
    pub(crate) name: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) shared: Arc<Shared>,
    work: Sender<Work>,
    /// Texts that may be waiting or under way.
    pub(crate) places: Arc<Semaphore>,
}

/// What requests and the model's thread both see.
#[derive(Default)]
pub(crate) struct Shared {
    loaded: OnceLock<Arc<Loaded>>,
    pub(crate) metrics: ModelMetrics,
    /// Whether texts under way are to be ended.
    pub(crate) stopping: AtomicBool,
}

impl Shared {
    /// From now on it can be asked.
    pub(crate) fn open(&self, loaded: Arc<Loaded>) {
        let _ = self.loaded.set(loaded);
    }
}

/// A model that is open.
pub(crate) struct Loaded {
    pub(crate) gpt: Gpt,
    pub(crate) template: ChatTemplate,
    /// Made when the first grammar comes.
    grammars: OnceLock<Grammars>,
}

impl Loaded {
    pub(crate) fn new(gpt: Gpt) -> Result<Self, foretoken::Error> {
        Ok(Self {
            template: gpt.chat_template()?,
            gpt,
            grammars: OnceLock::new(),
        })
    }

    /// A constraint for one text.
    pub(crate) fn constraint(&self, grammar: &Grammar) -> Result<GrammarConstraint, foretoken::Error> {
        let grammars = match self.grammars.get() {
            Some(grammars) => grammars,
            None => {
                let made = Grammars::new(self.gpt.tokenizer())?;
                self.grammars.get_or_init(|| made)
            }
        };
        grammars.constraint(grammar)
    }

    /// n_positions.
    pub(crate) fn context(&self) -> usize {
        self.gpt.model().dims().n_positions
    }
}

impl Model {
    pub(crate) fn new(name: String, work: Sender<Work>, places: usize) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            name,
            created: now.map_or(0, |now| now.as_secs()),
            shared: Arc::default(),
            work,
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// The open model.
    pub(crate) fn loaded(&self) -> Result<Arc<Loaded>, Fault> {
        let loading = || Fault::unavailable(format!("the model {} is being opened", self.name));
        self.shared.loaded.get().cloned().ok_or_else(loading)
    }

    /// Whether it can be asked.
    pub(crate) fn is_loaded(&self) -> bool {
        self.shared.loaded.get().is_some()
    }

    /// Gives its thread something to do.
    pub(crate) fn send(&self, work: Work) -> Result<(), Fault> {
        let gone = |_| Fault::server(format!("the thread of the model {} has ended", self.name));
        self.work.send(work).map_err(gone)
    }
}
