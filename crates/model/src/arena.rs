//! Activations: planned as a list of named slots, then one block of memory cut by the same list.

use crate::contract::Pass;
use crate::error::Error;
use foretoken_kernels::{ALIGNMENT, Buffer};

/// Floats every slot's start is a multiple of.
const ALIGN: usize = ALIGNMENT / 4;

/// One tensor of an arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What it holds; tensors of the same name exist once a layer.
    pub name: &'static str,
    /// The layer it belongs to.
    pub layer: Option<usize>,
    /// Its shape: letter and number.
    pub shape: Vec<(&'static str, usize)>,
}

impl Slot {
    /// Floats it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().map(|(_, n)| n).product()
    }

    /// Whether it holds none (dropout's buffer where nothing is dropped).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes it takes in an arena, padding included.
    pub fn bytes(&self) -> u64 {
        4 * self.len().next_multiple_of(ALIGN) as u64
    }
}

/// A tensor of a layer lies in its own memory or in what all layers share: the one that is not empty.
pub(crate) fn either<'s>(own: &'s mut &mut [f32], shared: &'s mut &mut [f32]) -> &'s mut [f32] {
    if own.is_empty() { shared } else { own }
}

/// All tensors of an arena in the order they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pass: Pass,
    slots: Vec<Slot>,
}

impl Plan {
    pub(crate) fn new(pass: Pass) -> Self {
        Self {
            pass,
            slots: Vec::new(),
        }
    }

    /// What the arena is for.
    pub fn pass(&self) -> Pass {
        self.pass
    }

    pub(crate) fn add(&mut self, slot: Slot) {
        self.slots.push(slot);
    }

    /// The tensors.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Floats of the whole arena, padding included.
    pub fn floats(&self) -> usize {
        self.slots.iter().map(|slot| slot.len().next_multiple_of(ALIGN)).sum()
    }

    /// Bytes of the whole arena.
    pub fn bytes(&self) -> u64 {
        4 * self.floats() as u64
    }
}

/// A plan and its memory. Pages are resident once they are touched.
#[derive(Debug)]
pub struct Arena {
    plan: Plan,
    buffer: Buffer,
}

impl Arena {
    /// Allocates a plan.
    ///
    /// # Errors
    /// [`Error::NoMemory`] where the allocator refuses.
    pub fn new(plan: Plan) -> Result<Self, Error> {
        let buffer = Buffer::try_zeroed(plan.floats()).ok_or(Error::NoMemory {
            what: "activations",
            bytes: plan.bytes(),
        })?;
        Ok(Self { plan, buffer })
    }

    /// The arena itself, leaving one of no use behind: whoever takes it puts it back.
    pub(crate) fn take(&mut self) -> Arena {
        let empty = Arena {
            plan: Plan::new(self.plan.pass),
            buffer: Buffer::zeroed(0),
        };
        std::mem::replace(self, empty)
    }

    /// What was planned.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The memory, cut by `plan`, which must be this arena's own.
    #[track_caller]
    pub(crate) fn cut<'a>(&'a mut self, plan: &Plan) -> impl Iterator<Item = &'a mut [f32]> + use<'a> {
        assert_eq!(
            *plan, self.plan,
            "the arena was planned for another batch or another pass"
        );
        let mut rest = &mut self.buffer[..];
        self.plan.slots.iter().map(move |slot| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(slot.len().next_multiple_of(ALIGN));
            rest = tail;
            &mut head[..slot.len()]
        })
    }
}
