//! The thread of a model: it alone runs the engine. Texts come through one channel, and what happens to them goes back through
//! each request's own.

use crate::error::Error;
use crate::model::{Loaded, Shared};
use crate::options::{Options, Served};
use crate::server::Notice;
use foretoken::Gpt;
use foretoken::formats::memory::available_memory;
use foretoken::generate::{self, Engine, Request, TextId};
use foretoken::kernels::Pool;
use foretoken::model::human_bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

/// What a model's thread does.
pub(crate) enum Work {
    /// Generates texts.
    Texts(Job),
    /// Looks inside. Texts under way wait for as long as it takes.
    Look(Box<dyn FnOnce(&Gpt) + Send>),
}

/// The texts of one request. It is forgotten as soon as nobody listens to `updates`.
pub(crate) struct Job {
    /// Whose turn it is: see [`Engine::submit`].
    pub(crate) flow: u64,
    pub(crate) requests: Vec<Request>,
    /// Bounded by itself: an update a token, and tokens are bounded by the context.
    pub(crate) updates: UnboundedSender<Update>,
    /// Which of the texts nobody waits for any more.
    pub(crate) ended: Arc<[AtomicBool]>,
    pub(crate) deadline: Instant,
    /// A place in the queue for each text.
    pub(crate) places: OwnedSemaphorePermit,
}

/// What happened to a request.
pub(crate) enum Update {
    /// To one of its texts.
    Text(usize, generate::Event),
    /// Its time is over, and nothing else will come.
    Late,
    /// The server stops, and nothing else will come.
    Stopping,
}

/// A text that the engine holds.
struct Held {
    index: usize,
    updates: UnboundedSender<Update>,
    ended: Arc<[AtomicBool]>,
    deadline: Instant,
    /// Given back when this is dropped.
    _place: Option<OwnedSemaphorePermit>,
}

/// Tells the server if its thread ends otherwise than by being sent home.
struct Alarm {
    name: String,
    notices: UnboundedSender<Notice>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::mem::take(&mut self.name);
            let _ = self.notices.send(Notice::Failed(Error::Thread { name }));
        }
    }
}

/// Opens the model and serves it until nobody can ask any more. Models are opened one after another: `promised` is what those
/// before may still take.
pub(crate) fn run(
    served: Served,
    options: &Options,
    shared: &Shared,
    promised: &Mutex<u64>,
    work: Receiver<Work>,
    notices: UnboundedSender<Notice>,
) {
    let _alarm = Alarm {
        name: served.name.clone(),
        notices: notices.clone(),
    };
    let begun = Instant::now();
    let opened = {
        let mut promised = promised.lock().unwrap_or_else(PoisonError::into_inner);
        open(&served, options, &mut promised)
    };
    let (loaded, cache) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = notices.send(Notice::Failed(error));
            return;
        }
    };
    let loaded = Arc::new(loaded);
    let bytes = [loaded.gpt.weight_bytes(), cache];
    shared.open(loaded.clone());
    let _ = notices.send(Notice::Loaded {
        model: served.name,
        took: begun.elapsed(),
        bytes,
    });
    let gpt = &loaded.gpt;
    let engine = Engine::new(gpt.model(), gpt.pool(), gpt.weights(), options.max_concurrent);
    let mut worker = Worker {
        gpt,
        engine,
        held: HashMap::new(),
    };
    worker.serve(&work, shared);
}

fn open(served: &Served, options: &Options, promised: &mut u64) -> Result<(Loaded, u64), Error> {
    let failed = |source: foretoken::Error| Error::Model {
        name: served.name.clone(),
        source: Box::new(source),
    };
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        threads => threads,
    };
    let pool = Pool::new(threads).map_err(|error| failed(foretoken::Error::Machine(error)))?;
    let gpt = foretoken::open_as(&served.path, pool, served.quantize).map_err(failed)?;
    let planned = |texts| Engine::planned_bytes(gpt.model(), gpt.weights(), texts);
    let cache = planned(options.max_concurrent);
    if let Some(available) = available_memory() {
        let available = available.saturating_sub(*promised);
        if cache > available {
            return Err(Error::Memory {
                name: served.name.clone(),
                max_concurrent: options.max_concurrent,
                needed: human_bytes(cache),
                available: human_bytes(available),
                fitting: (available / planned(1).max(1)) as usize,
            });
        }
    }
    *promised = promised.saturating_add(cache);
    Ok((Loaded::new(gpt).map_err(failed)?, cache))
}

struct Worker<'a> {
    gpt: &'a Gpt,
    engine: Engine<'a>,
    held: HashMap<TextId, Held>,
}

impl Worker<'_> {
    fn serve(&mut self, work: &Receiver<Work>, shared: &Shared) {
        loop {
            if self.engine.is_idle() {
                match work.recv() {
                    Ok(work) => self.take(work),
                    Err(_) => return,
                }
            }
            while let Ok(work) = work.try_recv() {
                self.take(work);
            }
            self.let_go(shared.stopping.load(Ordering::Relaxed));
            if !self.engine.is_idle() {
                self.step();
            }
            shared
                .metrics
                .engine(self.engine.stats(), self.engine.running(), self.engine.waiting());
        }
    }

    fn take(&mut self, work: Work) {
        let mut job = match work {
            Work::Texts(job) => job,
            Work::Look(look) => return look(self.gpt),
        };
        for (index, request) in job.requests.into_iter().enumerate() {
            match self.engine.submit(job.flow, request) {
                Ok(id) => {
                    let held = Held {
                        index,
                        updates: job.updates.clone(),
                        ended: job.ended.clone(),
                        deadline: job.deadline,
                        _place: job.places.split(1),
                    };
                    self.held.insert(id, held);
                }
                Err(error) => {
                    let _ = job.updates.send(Update::Text(index, generate::Event::Failed(error)));
                }
            }
        }
    }

    /// Forgets texts that nobody waits for, that are late, and all of them where the server stops.
    fn let_go(&mut self, stopping: bool) {
        let now = Instant::now();
        let engine = &mut self.engine;
        self.held.retain(|&id, held| {
            let last = match held {
                _ if stopping => Some(Update::Stopping),
                _ if held.deadline <= now => Some(Update::Late),
                _ => None,
            };
            if last.is_none() && !held.updates.is_closed() && !held.ended[held.index].load(Ordering::Relaxed) {
                return true;
            }
            engine.cancel(id);
            if let Some(last) = last {
                let _ = held.updates.send(last);
            }
            false
        });
    }

    fn step(&mut self) {
        let held = &mut self.held;
        self.engine.step(&mut |id, event| {
            let over = matches!(event, generate::Event::Finished { .. } | generate::Event::Failed(_));
            if let Some(text) = held.get(&id) {
                // Who has left is seen before the next step.
                let _ = text.updates.send(Update::Text(text.index, event));
            }
            if over {
                held.remove(&id);
            }
        });
    }
}
