//! What of a model learns: all of it, some of its tensors, or pairs of low rank beside some of its matrices.
//!
//! Whatever learns has a parameter table of its own, over which gradients, moments and checkpoints lie; the model's weights
//! stay the arena of the model's table.

use crate::contract::{Model, Recompute};
use crate::gradient::{Gradient, LowRank, merge_pair};
use crate::params::{Init, ParamSpec, ParamTable, Product, Tensor};
use crate::walk::Step;
use foretoken_kernels::{Buffer, Pool};
use std::cell::RefCell;
use std::ops::Range;

/// What a matrix of the model gets beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rank {
    /// r.
    pub rank: usize,
    /// s = alpha / r, or what else the pair is scaled with.
    pub scale: f32,
}

/// What becomes of a tensor of the model.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Frozen,
    /// It learns: its place in the table of what learns.
    Full(usize),
    /// A and B learn in its stead: theirs.
    Pair {
        a: usize,
        b: usize,
        rank: Rank,
    },
}

/// A and B of a matrix.
pub(crate) struct Pair<'a> {
    a: &'a [f32],
    b: &'a [f32],
    rank: Rank,
}

impl Pair<'_> {
    /// `out`, the matrix, += s B A; `scratch` holds [`Trainable::merge_scratch`] floats.
    pub(crate) fn merge_into(&self, pool: &Pool, spec: &ParamSpec, out: &mut [f32], scratch: &mut [f32]) {
        let Rank { rank, scale } = self.rank;
        let layout = spec.product.expect("products read a hidden matrix");
        merge_pair(pool, layout, out, (self.a, self.b), (rank, scale), scratch);
    }
}

/// What of a model learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Trainable {
    table: ParamTable,
    places: Vec<Place>,
    /// Ranges of `table`'s arenas, and where the weights of each begin in the arena that is updated.
    runs: Vec<(Range<usize>, usize)>,
}

impl Trainable {
    /// All of it: the table is the model's own.
    pub fn all(model: &ParamTable) -> Self {
        Self::unfrozen(model, |_| false)
    }

    /// Every tensor that is not frozen. What learns is updated where it lies among the model's weights.
    pub fn unfrozen(model: &ParamTable, frozen: impl Fn(&ParamSpec) -> bool) -> Self {
        let (mut tensors, mut from, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for spec in model.specs() {
            places.push(if frozen(spec) {
                Place::Frozen
            } else {
                tensors.push(Tensor::of(spec));
                from.push(spec.range.start);
                Place::Full(tensors.len() - 1)
            });
        }
        let table = ParamTable::new(tensors);
        let all = from.len() == model.specs().len();
        let runs = match all {
            true => vec![(0..table.floats(), 0)],
            false => runs(&table, &from),
        };
        Self { table, places, runs }
    }

    /// Pairs of low rank beside the hidden matrices that `rank_of` gives one, named as PEFT names them. They lie in an arena
    /// of their own, and begin as there: A uniform up to 1/sqrt(in) (Kaiming's with a = sqrt 5), B zero.
    ///
    /// # Panics
    /// Where a tensor that is no hidden matrix gets a rank, or a rank is 0.
    pub fn low_rank(model: &ParamTable, rank_of: impl Fn(&ParamSpec) -> Option<Rank>) -> Self {
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        for spec in model.specs() {
            let Some(rank) = rank_of(spec) else {
                places.push(Place::Frozen);
                continue;
            };
            assert!(
                spec.hidden.is_some() && rank.rank > 0,
                "{}: {rank:?} beside a hidden matrix",
                spec.name
            );
            let (outputs, inputs) = out_in(spec);
            let module = module(spec);
            let bound = 1.0 / (inputs as f64).sqrt();
            for (factor, shape, init) in [
                ("lora_A", [rank.rank, inputs], Init::Uniform(bound)),
                ("lora_B", [outputs, rank.rank], Init::Zeros),
            ] {
                tensors.push(Tensor {
                    name: format!("{module}.{factor}.weight"),
                    shape: shape.into(),
                    init,
                    decay: true,
                    hidden: None,
                    product: None,
                });
            }
            let b = tensors.len() - 1;
            places.push(Place::Pair { a: b - 1, b, rank });
        }
        let table = ParamTable::new(tensors);
        let runs = vec![(0..table.floats(), 0)];
        Self { table, places, runs }
    }

    /// What learns.
    pub fn table(&self) -> &ParamTable {
        &self.table
    }

    /// Whether every tensor of the model learns.
    pub fn is_all(&self) -> bool {
        self.places.iter().all(|place| matches!(place, Place::Full(_)))
    }

    /// Whether pairs learn in the stead of the model's own tensors.
    pub fn is_low_rank(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Pair { .. }))
    }

    /// The largest rank; 0 without pairs.
    pub fn rank(&self) -> usize {
        let ranks = self.places.iter().map(|place| match place {
            Place::Pair { rank, .. } => rank.rank,
            _ => 0,
        });
        ranks.max().unwrap_or(0)
    }

    /// Ranges of the arenas of [`Trainable::table`], and where the weights of each begin in the arena that is updated: the
    /// model's, or that of the pairs.
    pub fn runs(&self) -> &[(Range<usize>, usize)] {
        &self.runs
    }

    /// The matrices of the model that have a pair.
    pub fn targets<'a>(&'a self, model: &'a ParamTable) -> impl Iterator<Item = (&'a ParamSpec, Rank)> {
        model
            .specs()
            .iter()
            .zip(&self.places)
            .filter_map(|(spec, place)| match place {
                Place::Pair { rank, .. } => Some((spec, *rank)),
                _ => None,
            })
    }

    /// Floats of the matrices that have a pair: what is kept of them beside the merged ones.
    pub fn base_floats(&self, model: &ParamTable) -> usize {
        self.targets(model).map(|(spec, _)| spec.len()).sum()
    }

    /// Floats of the largest B: what [`Trainable::merge`] takes for a moment.
    pub fn merge_scratch(&self, model: &ParamTable) -> usize {
        let floats = self.targets(model).map(|(spec, rank)| out_in(spec).0 * rank.rank);
        floats.max().unwrap_or(0)
    }

    /// One [`Gradient`] a tensor of the model, over an arena of [`Trainable::table`]; `learned` is the arena of the pairs,
    /// where there are some.
    ///
    /// # Panics
    /// Where the arenas are not of this table.
    pub fn gradients<'a>(
        &self,
        arena: &'a mut [f32],
        learned: &'a [f32],
        thin: &'a RefCell<Buffer>,
    ) -> Vec<Gradient<'a>> {
        let mut sinks: Vec<Option<&'a mut [f32]>> = self.table.cut_mut(arena).map(Some).collect();
        let mut take = |i: usize| sinks[i].take().expect("one place a tensor");
        let specs = self.table.specs();
        let gradients = self.places.iter().map(|place| match *place {
            Place::Frozen => Gradient::Frozen,
            Place::Full(i) => Gradient::Full(take(i)),
            Place::Pair { a, b, rank } => Gradient::LowRank(LowRank {
                rank: rank.rank,
                scale: rank.scale,
                a: &learned[specs[a].range.clone()],
                b: &learned[specs[b].range.clone()],
                da: take(a),
                db: take(b),
                thin,
            }),
        });
        gradients.collect()
    }

    /// Copies what [`Trainable::merge`] needs of fresh weights: the matrices with pairs, one behind the other.
    pub fn keep_base(&self, model: &ParamTable, weights: &[f32], base: &mut [f32]) {
        let mut rest = base;
        for (spec, _) in self.targets(model) {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(spec.len());
            head.copy_from_slice(&weights[spec.range.clone()]);
            rest = tail;
        }
        assert!(rest.is_empty(), "base floats");
    }

    /// W + s B A of every matrix with a pair into the model's weights, from what [`Trainable::keep_base`] kept.
    pub fn merge(
        &self,
        pool: &Pool,
        model: &ParamTable,
        weights: &mut [f32],
        base: &[f32],
        pairs: &[f32],
        scratch: &mut [f32],
    ) {
        let mut at = 0;
        for (_, spec, pair) in self.pairs(model, pairs) {
            let out = &mut weights[spec.range.clone()];
            out.copy_from_slice(&base[at..at + spec.len()]);
            at += spec.len();
            pair.merge_into(pool, spec, out, scratch);
        }
    }

    /// The pairs of an arena: place in the model's table, matrix, A and B.
    pub(crate) fn pairs<'a>(
        &'a self,
        model: &'a ParamTable,
        pairs: &'a [f32],
    ) -> impl Iterator<Item = (usize, &'a ParamSpec, Pair<'a>)> {
        let part = |i: usize| &pairs[self.table.specs()[i].range.clone()];
        let places = model.specs().iter().zip(&self.places).enumerate();
        places.filter_map(move |(i, (spec, place))| match *place {
            Place::Pair { a, b, rank } => {
                let (a, b) = (part(a), part(b));
                Some((i, spec, Pair { a, b, rank }))
            }
            _ => None,
        })
    }

    /// Flops of forward and backward of B sequences of T tokens: [`Model::training_flops`] where all of it learns.
    pub fn training_flops(&self, model: &dyn Model, b: usize, t: usize, recompute: Recompute) -> f64 {
        if self.is_all() {
            return model.training_flops(b, t);
        }
        let layer = |step: &Step, layer| step.forward_flops + self.backward_flops(model.params(), step, layer, b * t);
        let steps = model.walk(b, t, recompute);
        let all = steps
            .iter()
            .map(|step| (0..step.runs()).map(|i| layer(step, i)).sum::<f64>());
        all.sum()
    }

    /// Flops of a step's backward in one layer: without the gradients that nobody reads, and nothing below the first layer
    /// that learns; with the thin products of pairs.
    pub fn backward_flops(&self, model: &ParamTable, step: &Step, layer: usize, n: usize) -> f64 {
        if step.layers.is_some() && layer < self.first_layer(model) {
            return 0.0;
        }
        let names = step.params.iter().map(|param| param.name).chain(step.tied);
        let (mut all, mut full, mut thin) = (0, 0, 0);
        for name in names {
            let name = name.replace("{i}", &layer.to_string());
            let Some(i) = model.specs().iter().position(|spec| spec.name == name) else {
                continue;
            };
            let spec = &model.specs()[i];
            if spec.product.is_none() {
                continue;
            }
            all += spec.len();
            match self.places[i] {
                Place::Full(_) => full += spec.len(),
                Place::Pair { rank, .. } => {
                    let (outputs, inputs) = out_in(spec);
                    thin += 4 * n * rank.rank * (inputs + outputs);
                }
                Place::Frozen => {}
            }
        }
        if all == 0 {
            return step.backward_flops;
        }
        step.backward_flops - step.forward_flops * (1.0 - full as f64 / all as f64) + thin as f64
    }

    /// The lowest layer that the backward comes to: 0 where an embedding learns.
    fn first_layer(&self, model: &ParamTable) -> usize {
        let learns = model.specs().iter().zip(&self.places);
        let layers = learns
            .filter(|(_, place)| **place != Place::Frozen)
            .map(|(spec, _)| layer_of(&spec.name));
        // What lies in no layer: an embedding needs all of them, the last norm and a head of its own none.
        let depth = model.specs().iter().filter_map(|spec| layer_of(&spec.name)).max();
        let above = depth.map_or(0, |last| last + 1);
        let before = model.specs().iter().take_while(|spec| layer_of(&spec.name).is_none());
        if self.places[..before.count()]
            .iter()
            .any(|place| *place != Place::Frozen)
        {
            return 0;
        }
        layers.flatten().min().unwrap_or(above)
    }
}

/// The number of the block that a tensor belongs to: the first part of its name that is one.
fn layer_of(name: &str) -> Option<usize> {
    name.split('.').find_map(|part| part.parse().ok())
}

/// (out,in) of a matrix that products read.
fn out_in(spec: &ParamSpec) -> (usize, usize) {
    match spec.product {
        Some(Product::InOut) => (spec.shape[1], spec.shape[0]),
        _ => (spec.shape[0], spec.shape[1]),
    }
}

/// The name of the module that a matrix belongs to.
fn module(spec: &ParamSpec) -> &str {
    spec.name.strip_suffix(".weight").unwrap_or(&spec.name)
}

/// Neighbours of the table that are neighbours in the model, too, as one.
fn runs(table: &ParamTable, from: &[usize]) -> Vec<(Range<usize>, usize)> {
    let mut each: Vec<(Range<usize>, usize)> = table
        .specs()
        .iter()
        .zip(from)
        .map(|(spec, &from)| (spec.range.clone(), from))
        .collect();
    each.sort_by_key(|(range, _)| range.start);
    let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
    for (range, from) in each {
        match runs.last_mut() {
            Some((last, start)) if range.start - last.start == from.wrapping_sub(*start) => last.end = range.end,
            _ => runs.push((range, from)),
        }
    }
    runs
}
