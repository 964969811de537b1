//! Many texts at once: what a server runs.

mod queue;
mod request;
mod sequence;
mod slots;

use crate::error::Error;
use crate::sampler::{Sampler, check_ids};
use foretoken_kernels::Pool;
use foretoken_model::{DecodeState, Model, Weights, decode_together};
use queue::{Queue, Waiting};
pub use request::{Event, Request, TextId};
use sequence::{Drawn, Sequence};
use slots::{Slot, Slots};
use std::sync::{Mutex, PoisonError};

/// Tokens of prompts that a step reads: one chunk of a long one, or several short ones.
const PREFILL: usize = 256;

/// What an engine has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Tokens of prompts that were read.
    pub prompt_tokens: u64,
    /// Tokens of prompts that had been read for another text.
    pub cached_tokens: u64,
    /// Tokens drawn.
    pub generated_tokens: u64,
    /// Steps taken.
    pub steps: u64,
}

/// Generates many texts together: each step reads the weights once for all that are under way.
///
/// A [`step`](Engine::step) gives waiting texts a place, reads at most 256 tokens of prompts (the prompts take turns, a chunk
/// each, so that a long one stalls nobody), and then appends a token to every text whose prompt was read.
///
/// **A text does not depend on the others.** A prompt is cut into the same chunks whatever else runs, a token's numbers with
/// packed weights are to the bit those it gets alone ([`decode_together`]), and each text draws from its own counter. What two
/// prompts share is read once where not a bit changes by it: whole chunks, or all of the same prompt.
///
/// ```
/// use foretoken_generate::{Engine, Event, Request, Sampling};
/// use foretoken_kernels::Pool;
/// use foretoken_model::{PackedWeights, Source, init, registry};
///
/// let model = registry::from_config(&serde_json::json!({
///     "model_type": "gpt2", "vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3,
/// }))?;
/// let (pool, weights) = (Pool::new(1)?, init(model.params(), 42)?);
/// let weights = PackedWeights::new(&*model, &pool, Source::Arena(&weights), None)?;
/// let mut engine = Engine::new(&*model, &pool, &weights, 2);
/// for flow in 0..3 {
///     let request = Request {
///         prompt: vec![1, 2, 3], sampling: Sampling::default(), seed: flow, index: 0, max_tokens: 5, end: vec![],
///         vocab_size: 11, constraint: None, logprobs: None, score_prompt: false,
///     };
///     engine.submit(flow, request)?;
/// }
/// let mut tokens = 0;
/// while !engine.is_idle() {
///     engine.step(&mut |_, event| tokens += usize::from(matches!(event, Event::Token { .. })));
/// }
/// assert_eq!(tokens, 15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine<'a> {
    model: &'a dyn Model,
    pool: &'a Pool,
    weights: Weights<'a>,
    most: usize,
    queue: Queue,
    /// The first that has something to read reads next, and goes to the end.
    running: Vec<Sequence>,
    slots: Slots<'a>,
    /// The logits (sequences,V) of a step.
    logits: Vec<f32>,
    next: u64,
    stats: EngineStats,
}

impl<'a> Engine<'a> {
    /// An engine that has up to `most` texts under way, at least one. Memory comes with them: see [`Engine::planned_bytes`].
    pub fn new(model: &'a dyn Model, pool: &'a Pool, weights: impl Into<Weights<'a>>, most: usize) -> Self {
        let weights = weights.into();
        Self {
            model,
            pool,
            weights,
            most: most.max(1),
            queue: Queue::default(),
            running: Vec::new(),
            slots: Slots::new(model, weights.cache_type(), most.max(1)),
            logits: Vec::new(),
            next: 0,
            stats: EngineStats::default(),
        }
    }

    /// Bytes that an engine takes beside the weights when `most` texts fill their contexts.
    pub fn planned_bytes(model: &dyn Model, weights: Weights<'_>, most: usize) -> u64 {
        let dims = model.dims();
        let plan = model.decode_plan(dims.n_positions, weights.cache_type());
        // Logits: of the step, of each text, and those kept with its prompt.
        let logits = 4 * 3 * dims.vocab_size as u64;
        (plan
            .cache_bytes()
            .saturating_add(plan.work.bytes())
            .saturating_add(logits))
        .saturating_mul(most as u64)
    }

    /// Takes a text in. Texts of one `flow` wait for each other, those of different ones take turns.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::Token`], [`Error::Sampling`], [`Error::Bias`], and [`Error::Context`] where prompt and
    /// `max_tokens` together do not fit.
    pub fn submit(&mut self, flow: u64, request: Request) -> Result<TextId, Error> {
        let dims = self.model.dims();
        if request.prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        check_ids(&request.prompt, dims.vocab_size)?;
        if request.prompt.len().saturating_add(request.max_tokens) > dims.n_positions {
            return Err(Error::Context {
                prompt: request.prompt.len(),
                max_tokens: request.max_tokens,
                context: dims.n_positions,
            });
        }
        let drawn = request.vocab_size.min(dims.vocab_size);
        if let Some(&(id, _)) = request.sampling.logit_bias.iter().find(|(id, _)| *id as usize >= drawn) {
            return Err(Error::Bias { id, vocab_size: drawn });
        }
        let sampler = Sampler::new(request.sampling.clone(), request.seed, request.index)?;
        let id = TextId(self.next);
        self.next += 1;
        self.queue.push(flow, Waiting { id, request, sampler });
        Ok(id)
    }

    /// Forgets a text, waiting or under way, and gives its place to the next; whether it was there.
    pub fn cancel(&mut self, id: TextId) -> bool {
        match self.running.iter().position(|sequence| sequence.id == id) {
            Some(at) => {
                self.slots.give(self.running.remove(at).slot);
                true
            }
            None => self.queue.remove(id),
        }
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.queue.len() == 0
    }

    /// Texts under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Texts that wait for a place.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What was done so far.
    pub fn stats(&self) -> EngineStats {
        self.stats
    }

    /// Goes one token on with every text whose prompt was read, after some tokens of prompts; tells `on_event` what happened.
    pub fn step(&mut self, on_event: &mut dyn FnMut(TextId, Event)) {
        self.stats.steps += 1;
        self.admit(on_event);
        self.read_prompts(on_event);
        self.decode();
        self.draw(on_event);
    }

    fn admit(&mut self, on_event: &mut dyn FnMut(TextId, Event)) {
        while self.running.len() < self.most {
            let Some(Waiting { id, request, sampler }) = self.queue.pop() else {
                return;
            };
            let tokens = request.prompt.len() + request.max_tokens;
            let shareable: &[u32] = if request.score_prompt { &[] } else { &request.prompt };
            let busy: Vec<&Slot> = self.running.iter().map(|sequence| &sequence.slot).collect();
            match self.slots.take(shareable, tokens, &busy) {
                Ok(slot) => {
                    let cached = slot.state.len();
                    self.stats.cached_tokens += cached as u64;
                    on_event(id, Event::Admitted { cached });
                    self.running.push(Sequence::new(id, request, slot, sampler));
                }
                Err(error) => on_event(id, Event::Failed(error)),
            }
        }
    }

    fn read_prompts(&mut self, on_event: &mut dyn FnMut(TextId, Event)) {
        let mut left = PREFILL;
        while let Some(at) = self.running.iter().position(|sequence| sequence.unread() > 0) {
            let sequence = &mut self.running[at];
            let chunk = sequence.unread().min(sequence.slot.state.rows());
            // The first chunk of a step is read whatever its size; a short one is not put off for the sake of a rest.
            if left < PREFILL && chunk > left {
                return;
            }
            let (read, event) = sequence.read_chunk(self.model, self.pool, self.weights);
            left = left.saturating_sub(read);
            self.stats.prompt_tokens += read as u64;
            if let Some(event) = event {
                on_event(sequence.id, event);
            }
            let sequence = self.running.remove(at);
            self.running.push(sequence);
        }
    }

    fn decode(&mut self) {
        let v = self.model.dims().vocab_size;
        let mut decoding: Vec<&mut Sequence> = self.running.iter_mut().filter(|sequence| sequence.decodes()).collect();
        if decoding.is_empty() {
            return;
        }
        self.logits.resize(decoding.len() * v, 0.0);
        let ids: Vec<u32> = decoding.iter().map(|sequence| sequence.last()).collect();
        let mut states: Vec<&mut DecodeState> = decoding.iter_mut().map(|sequence| &mut sequence.slot.state).collect();
        decode_together(self.model, self.pool, self.weights, &mut states, &ids, &mut self.logits);
        for (sequence, logits) in decoding.iter_mut().zip(self.logits.chunks_exact(v)) {
            sequence.follow(logits);
        }
    }

    fn draw(&mut self, on_event: &mut dyn FnMut(TextId, Event)) {
        let context = self.model.dims().n_positions;
        let ready: Vec<Mutex<&mut Sequence>> = self
            .running
            .iter_mut()
            .filter(|sequence| sequence.is_ready())
            .map(Mutex::new)
            .collect();
        // Texts share nothing of a draw, which is one thread's work.
        self.pool.run(ready.len(), |i| {
            let mut sequence = ready[i].lock().unwrap_or_else(PoisonError::into_inner);
            sequence.draw(self.pool, context);
        });
        let mut at = 0;
        while at < self.running.len() {
            let sequence = &mut self.running[at];
            let Some(drawn) = sequence.drawn.take() else {
                at += 1;
                continue;
            };
            let id = sequence.id;
            let last = match drawn {
                Ok(Drawn::Goes(event)) => {
                    self.stats.generated_tokens += 1;
                    on_event(id, event);
                    sequence.finish().map(|finish| Event::Finished { finish, end: None })
                }
                Ok(Drawn::Ended(event)) => Some(event),
                Err(error) => Some(Event::Failed(error)),
            };
            match last {
                None => at += 1,
                Some(event) => {
                    self.slots.give(self.running.remove(at).slot);
                    on_event(id, event);
                }
            }
        }
    }
}
