//! Peak memory, as the sum of what will be allocated.

use super::Options;
use crate::contract::{Model, Pass, Recompute, Scratch};
use crate::lanes::lanes_of;
use crate::optimizer::OptimizerPlan;
use crate::trainable::Trainable;
use crate::walk::{Step, Stored};
use foretoken_kernels::CacheType;
use serde::Serialize;

/// A line of a sum of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is.
    pub name: &'static str,
    /// How its size comes about.
    pub what: String,
    /// Bytes.
    pub bytes: u64,
}

/// Peak memory of training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Training {
    /// What it is made of.
    pub items: Vec<Item>,
    /// The sum. The program itself, its threads' stacks and the text come on top: a few MB.
    pub bytes: u64,
    /// The activations among it, one after another.
    pub activations: Vec<ActivationRow>,
}

/// An activation, or one a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActivationRow {
    /// Its slot of the arena.
    pub slot: &'static str,
    /// Shape of one: letter and number.
    pub shape: Vec<(&'static str, usize)>,
    /// How many there are.
    pub copies: usize,
    /// Bytes of all, padding included.
    pub bytes: u64,
    /// Whether the backward reads it; else it is working memory.
    pub kept: bool,
}

/// Peak memory of generating.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Generation {
    /// What it is made of.
    pub items: Vec<Item>,
    /// The sum.
    pub bytes: u64,
    /// Bytes that one more token takes in the key/value cache of one sequence.
    pub cache_a_token: u64,
}

fn sum(items: &[Item]) -> u64 {
    items.iter().fold(0, |sum, item| item.bytes.saturating_add(sum))
}

fn scratch_item(scratch: Scratch, threads: usize) -> Item {
    let a_thread = 4 * scratch.a_thread as u64;
    Item {
        name: "kernels' scratch",
        what: format!(
            "packing, {threads} thread{} tiles",
            if threads == 1 { "'s" } else { "s'" }
        ),
        bytes: a_thread
            .saturating_mul(threads as u64)
            .saturating_add(4 * scratch.shared as u64),
    }
}

pub(super) fn training(
    (model, trainable): (&dyn Model, &Trainable),
    steps: &[Step],
    b: usize,
    t: usize,
    options: &Options,
) -> Training {
    let activations = activations(model, steps, b, t, options.recompute);
    let of = |kept| {
        activations
            .iter()
            .filter(|row| row.kept == kept)
            .map(|row| row.bytes)
            .sum()
    };
    let floats = |floats: usize| 4 * floats as u64;
    let arena = floats(trainable.table().floats());
    // Sums of 1, 2, 4, … gradients wait for their like: a binary counter.
    let lanes = lanes_of(model.params(), b).len();
    let waiting = u64::from((options.micro_batches * lanes).ilog2());
    let mut items = Vec::new();
    let mut item = |name, what: String, bytes| items.push(Item { name, what, bytes });
    item("weights", "f32".into(), floats(model.params().floats()));
    if trainable.is_low_rank() {
        item("pairs", "A and B of low rank".into(), arena);
        let base = trainable.base_floats(model.params()) + trainable.merge_scratch(model.params());
        item("base", "the matrices that pairs are merged into".into(), floats(base));
        let what = "x A and dY B of a matrix".into();
        item("thin products", what, floats(b * t * trainable.rank()));
    }
    item("gradients", "f32".into(), arena);
    if waiting > 0 {
        let of = if lanes == 1 {
            "micro-batches"
        } else {
            "half micro-batches"
        };
        let what = format!(
            "{waiting} more to sum {} {of} in a fixed order",
            options.micro_batches * lanes
        );
        item("gradients waiting", what, waiting * arena);
    }
    let plan = OptimizerPlan::new(trainable.table(), options.optimizer, options.optimizer_state);
    let (dtype, adamw) = (plan.dtype.name(), plan.v.clone());
    let moment = |floats: usize| plan.dtype.bytes() * floats as u64;
    if !plan.muon.is_empty() {
        item(
            "Muon: m",
            format!("running mean of hidden matrices' gradients, {dtype}"),
            moment(plan.muon.len()),
        );
        item(
            "Muon: scratch",
            "a matrix, the next, their products".into(),
            4 * plan.scratch as u64,
        );
    }
    item(
        "AdamW: m",
        format!("running mean of the gradient, {dtype}"),
        moment(adamw.len()),
    );
    item(
        "AdamW: v",
        format!("running mean of its square, {dtype}"),
        moment(adamw.len()),
    );
    item("activations", "kept for the backward".into(), of(true));
    item("working memory", "used again by every layer".into(), of(false));
    item("batch", "ids, targets and losses".into(), 12 * (b * t) as u64);
    let mut scratch = training_scratch(model, b, t, options.recompute);
    scratch.a_thread = scratch.a_thread.max(plan.thread_scratch);
    items.push(scratch_item(scratch, options.threads));
    Training {
        bytes: sum(&items),
        items,
        activations,
    }
}

/// Every lane has its own.
fn training_scratch(model: &dyn Model, b: usize, t: usize, recompute: Recompute) -> Scratch {
    let lanes = lanes_of(model.params(), b);
    lanes.into_iter().fold(Scratch::default(), |sum, sequences| {
        let lane = model.scratch(sequences.len(), t, Pass::Train(recompute));
        Scratch {
            shared: sum.shared + lane.shared,
            a_thread: sum.a_thread.max(lane.a_thread),
        }
    })
}

fn activations(model: &dyn Model, steps: &[Step], b: usize, t: usize, recompute: Recompute) -> Vec<ActivationRow> {
    let kept_by_step = |name| {
        steps
            .iter()
            .any(|step| step.stored == Stored::Kept && step.slots.contains(&name))
    };
    let mut rows: Vec<ActivationRow> = Vec::new();
    for (lane, sequences) in lanes_of(model.params(), b).into_iter().enumerate() {
        let plan = model.activations(sequences.len(), t, Pass::Train(recompute));
        for slot in plan.slots().iter().filter(|slot| !slot.is_empty()) {
            // Lanes side by side make the whole batch, layer by layer.
            let copies = usize::from(lane == 0);
            match rows.iter_mut().find(|row| row.slot == slot.name) {
                Some(row) => {
                    row.copies += copies;
                    row.bytes += slot.bytes();
                }
                None => rows.push(ActivationRow {
                    slot: slot.name,
                    shape: slot
                        .shape
                        .iter()
                        .map(|&(name, n)| (name, if name == "B" { b } else { n }))
                        .collect(),
                    copies,
                    bytes: slot.bytes(),
                    // What every layer has for itself is there for the backward.
                    kept: slot.layer.is_some() || kept_by_step(slot.name),
                }),
            }
        }
    }
    rows
}

pub(super) fn generation(model: &dyn Model, t: usize, options: &Options) -> Generation {
    let plan = model.decode_plan(t, CacheType::F32);
    let dims = model.dims();
    let each = options.sequences as u64;
    let of = match each {
        1 => String::new(),
        n => format!(", {n} sequences"),
    };
    let cache: usize = plan.cache.slots().iter().map(|slot| slot.len()).sum();
    let mut items = Vec::new();
    let mut item = |name, what: String, bytes| items.push(Item { name, what, bytes });
    item("weights", "f32".into(), 4 * model.params().floats() as u64);
    item(
        "key/value cache",
        format!("keys, values of all tokens{of}"),
        each * plan.cache_bytes(),
    );
    item(
        "working memory",
        format!("a chunk of the prompt{of}"),
        each * plan.work.bytes(),
    );
    item("logits", format!("one row{of}"), each * 4 * dims.vocab_size as u64);
    items.push(scratch_item(plan.scratch, options.threads));
    Generation {
        bytes: sum(&items),
        items,
        cache_a_token: 4 * (cache / t) as u64,
    }
}
