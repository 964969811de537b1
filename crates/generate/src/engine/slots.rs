//! Keys and values of sequences, used again by the next ones.

use crate::error::Error;
use foretoken_kernels::CacheType;
use foretoken_model::{DecodeState, Model};

/// Tokens that the smallest state has room for: a model's chunk, so that every state cuts a prompt at the same places.
const LEAST_ROOM: usize = 256;

/// A sequence's keys and values, and what of them others may use.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: DecodeState,
    /// The beginning of the prompt whose keys and values the state begins with.
    pub(super) read: Vec<u32>,
    /// The logits (V) that follow the last of `read`, where it is a whole prompt.
    pub(super) logits: Option<Vec<f32>>,
    /// When it was used last.
    used: u64,
}

impl Slot {
    /// How many of a prompt's tokens this one may give to another state without a bit of it being different, and whether the
    /// logits that follow are there, too.
    fn shared(&self, prompt: &[u32], into: &DecodeState) -> (usize, bool) {
        if self.logits.is_some() && self.read == prompt {
            return (prompt.len(), true);
        }
        let common = self.read.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        // The logits of the last token are not among what is kept.
        (into.resumable(common.min(prompt.len().saturating_sub(1))), false)
    }
}

/// Slots that no sequence has.
#[derive(Debug)]
pub(super) struct Slots<'a> {
    model: &'a dyn Model,
    cache_type: CacheType,
    /// Slots that may exist at once.
    most: usize,
    free: Vec<Slot>,
    clock: u64,
}

impl<'a> Slots<'a> {
    pub(super) fn new(model: &'a dyn Model, cache_type: CacheType, most: usize) -> Self {
        Self {
            model,
            cache_type,
            most,
            free: Vec::new(),
            clock: 0,
        }
    }

    /// A slot with room for `tokens` that holds as much of the prompt as a free slot, or one of `busy`, can give. Of free
    /// ones, that with most of the prompt is taken, then the one that was used longest ago.
    pub(super) fn take(&mut self, prompt: &[u32], tokens: usize, busy: &[&Slot]) -> Result<Slot, Error> {
        let room = self.room(tokens);
        let best = |slot: &Slot| (slot.shared(prompt, &slot.state), std::cmp::Reverse(slot.used));
        let fitting = (0..self.free.len()).filter(|&i| self.free[i].state.capacity() >= room);
        let mut slot = match fitting.max_by_key(|&i| best(&self.free[i])) {
            Some(i) => self.free.swap_remove(i),
            None => {
                // Never more slots than sequences: the oldest goes.
                if self.free.len() + busy.len() >= self.most
                    && let Some(oldest) = (0..self.free.len()).min_by_key(|&i| self.free[i].used)
                {
                    self.free.swap_remove(oldest);
                }
                Slot {
                    state: self.model.decode_state(room, self.cache_type)?,
                    read: Vec::new(),
                    logits: None,
                    used: 0,
                }
            }
        };
        let own = slot.shared(prompt, &slot.state);
        let others = self.free.iter().chain(busy.iter().copied());
        let other = others.max_by_key(|other| other.shared(prompt, &slot.state));
        if let Some(other) = other.filter(|other| other.shared(prompt, &slot.state) > own) {
            let (len, whole) = other.shared(prompt, &slot.state);
            slot.state.copy_first(&other.state, len);
            slot.logits = if whole { other.logits.clone() } else { None };
        } else {
            slot.state.truncate(own.0);
            if !own.1 {
                slot.logits = None;
            }
        }
        slot.read.clear();
        slot.read.extend_from_slice(&prompt[..slot.state.len()]);
        Ok(slot)
    }

    /// Takes a slot back, with what it holds.
    pub(super) fn give(&mut self, mut slot: Slot) {
        self.clock += 1;
        slot.used = self.clock;
        slot.state.truncate(slot.read.len());
        self.free.push(slot);
    }

    fn room(&self, tokens: usize) -> usize {
        let context = self.model.dims().n_positions;
        tokens.max(LEAST_ROOM).next_power_of_two().min(context)
    }
}
