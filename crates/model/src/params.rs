//! The one table of parameters: it drives allocation, initialisation, loading, saving, weight decay, the size report and
//! the gradient tests.

use crate::error::Error;
use foretoken_kernels::{ALIGNMENT, Buffer, MuonShape, Stream};
use std::ops::Range;

/// How a tensor begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// All ones: the gain of a norm.
    Ones,
    /// All zeros: biases.
    Zeros,
    /// Uniform between minus and plus this number: the first factor of a pair of low rank.
    Uniform(f64),
}

/// How a matrix is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// y = x Wᵀ, W (out,in): llama's matrices, and a head.
    OutIn,
    /// y = x W, W (in,out): GPT-2's hidden matrices.
    InOut,
}

/// One parameter tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Hugging Face's name, without a prefix.
    pub name: String,
    /// Its shape as the file stores it.
    pub shape: Vec<usize>,
    /// How it begins.
    pub init: Init,
    /// Whether weight decay pulls at it: matrices yes, biases and norms no.
    pub decay: bool,
    /// Of a hidden matrix, how many matrices lie side by side in its columns: 3 where queries, keys and values are one
    /// tensor. `None` for embeddings, norms and biases.
    pub hidden: Option<usize>,
    /// How products read it, where they do: such a matrix may be held in halves or in quantised blocks. `None` for positions,
    /// norms and biases.
    pub product: Option<Product>,
    /// Where it lies in an arena.
    pub range: Range<usize>,
}

impl ParamSpec {
    /// Numbers it holds.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether it holds none; no tensor of a model does.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Its matrices as Muon sees them, where it is a hidden matrix.
    pub fn muon_shape(&self) -> Option<MuonShape> {
        let (rows, cols) = (*self.shape.first()?, *self.shape.get(1)?);
        self.hidden.map(|blocks| MuonShape { rows, cols, blocks })
    }
}

/// Every parameter tensor of a model, and where it lies, each at a cache line: hidden matrices first, then the other
/// decayed tensors, then those that do not decay.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamTable {
    specs: Vec<ParamSpec>,
    hidden: usize,
    decayed: usize,
    floats: usize,
}

/// A tensor before it has a place.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) init: Init,
    pub(crate) decay: bool,
    pub(crate) hidden: Option<usize>,
    pub(crate) product: Option<Product>,
}

impl Tensor {
    /// A tensor of another table.
    pub(crate) fn of(spec: &ParamSpec) -> Self {
        Self {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            init: spec.init,
            decay: spec.decay,
            hidden: spec.hidden,
            product: spec.product,
        }
    }
}

impl ParamTable {
    /// Lays out tensors given in the order of the data flow.
    pub(crate) fn new(tensors: Vec<Tensor>) -> Self {
        let mut specs: Vec<ParamSpec> = tensors
            .into_iter()
            .map(|tensor| ParamSpec {
                name: tensor.name,
                shape: tensor.shape,
                init: tensor.init,
                decay: tensor.decay,
                hidden: tensor.hidden,
                product: tensor.product,
                range: 0..0,
            })
            .collect();
        let mut at = 0;
        let mut ends = [0; 3];
        let group = |spec: &ParamSpec| match spec {
            ParamSpec { hidden: Some(_), .. } => 0,
            ParamSpec { decay: true, .. } => 1,
            _ => 2,
        };
        for (wanted, end) in ends.iter_mut().enumerate() {
            for spec in specs.iter_mut().filter(|spec| group(spec) == wanted) {
                assert!(wanted > 0 || spec.decay, "{}: a hidden matrix decays", spec.name);
                let len = spec.shape.iter().product::<usize>();
                spec.range = at..at + len;
                at = (at + len).next_multiple_of(ALIGNMENT / 4);
            }
            *end = at;
        }
        let [hidden, decayed, floats] = ends;
        Self {
            specs,
            hidden,
            decayed,
            floats,
        }
    }

    /// The tensors in the order of the model's data flow.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    /// Floats of an arena, padding included: the length of every weight, gradient and moment buffer.
    pub fn floats(&self) -> usize {
        self.floats
    }

    /// Numbers that are learnt.
    pub fn count(&self) -> u64 {
        self.specs.iter().map(|spec| spec.len() as u64).sum()
    }

    /// The part of an arena that the hidden matrices take: those between embeddings and head, which Muon updates. Weight
    /// decay applies to them.
    pub fn hidden(&self) -> Range<usize> {
        0..self.hidden
    }

    /// The part of an arena that weight decay applies to, hidden matrices included.
    pub fn decayed(&self) -> Range<usize> {
        0..self.decayed
    }

    /// The rest.
    pub fn not_decayed(&self) -> Range<usize> {
        self.decayed..self.floats
    }

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<&ParamSpec> {
        self.specs.iter().find(|spec| spec.name == name)
    }

    /// An arena of zeros.
    ///
    /// # Errors
    /// [`Error::NoMemory`] where the allocator refuses.
    pub fn zeros(&self, what: &'static str) -> Result<Buffer, Error> {
        Buffer::try_zeroed(self.floats).ok_or(Error::NoMemory {
            what,
            bytes: 4 * self.floats as u64,
        })
    }

    /// The tensors of an arena, in the order of [`ParamTable::specs`].
    #[track_caller]
    pub(crate) fn cut<'a>(&'a self, arena: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        assert_eq!(arena.len(), self.floats, "an arena of this table");
        self.specs.iter().map(|spec| &arena[spec.range.clone()])
    }

    /// [`ParamTable::cut`] for writing.
    #[track_caller]
    pub(crate) fn cut_mut<'a>(&self, arena: &'a mut [f32]) -> impl Iterator<Item = &'a mut [f32]> + use<'a> {
        assert_eq!(arena.len(), self.floats, "an arena of this table");
        let mut order: Vec<usize> = (0..self.specs.len()).collect();
        order.sort_by_key(|&i| self.specs[i].range.start);
        let mut parts: Vec<&'a mut [f32]> = self.specs.iter().map(|_| &mut [][..]).collect();
        let (mut rest, mut at) = (arena, 0);
        for i in order {
            let range = &self.specs[i].range;
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(range.end - at);
            parts[i] = &mut head[range.start - at..];
            (rest, at) = (tail, range.end);
        }
        parts.into_iter()
    }
}

/// Where initialisation's random numbers begin, apart from every other use of a seed.
const PURPOSE: u32 = 0x4000_0000;

/// Fresh weights: a function of the table and the seed alone.
///
/// # Errors
/// [`Error::NoMemory`] where the allocator refuses.
pub fn init(table: &ParamTable, seed: u64) -> Result<Buffer, Error> {
    let mut weights = table.zeros("weights")?;
    for (i, (spec, out)) in table.specs.iter().zip(table.cut_mut(&mut weights)).enumerate() {
        let stream = Stream {
            seed,
            step: 0,
            purpose: PURPOSE + i as u32,
        };
        match spec.init {
            Init::Normal(std) => stream.normals(0, std, out),
            Init::Ones => out.fill(1.0),
            Init::Zeros => {}
            Init::Uniform(bound) => {
                let number = |i| ((2.0 * stream.uniform_f64(i) - 1.0) * bound) as f32;
                out.iter_mut().zip(0..).for_each(|(x, i)| *x = number(i));
            }
        }
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_matrices_lie_first_then_what_decays_and_nothing_overlaps() {
        let tensor = |name: &str, shape: &[usize], decay, hidden| Tensor {
            name: name.into(),
            shape: shape.into(),
            init: Init::Normal(0.5),
            decay,
            hidden,
            product: None,
        };
        let table = ParamTable::new(vec![
            tensor("a", &[3, 5], true, None),
            tensor("b", &[7], false, None),
            tensor("c", &[2, 9], true, Some(3)),
        ]);
        assert_eq!((table.count(), table.floats()), (40, 16 + 32 + 16));
        assert_eq!(
            (table.hidden(), table.decayed(), table.not_decayed()),
            (0..32, 0..48, 48..64)
        );
        let shapes: Vec<_> = table.specs().iter().map(ParamSpec::muon_shape).collect();
        let (rows, cols, blocks) = (2, 9, 3);
        assert_eq!(shapes, [None, None, Some(MuonShape { rows, cols, blocks })]);
        let mut weights = init(&table, 3).unwrap();
        for (value, part) in [1.0, 2.0, 3.0].iter().zip(table.cut_mut(&mut weights)) {
            part.fill(*value);
        }
        let sums: Vec<f32> = table.cut(&weights).map(|part| part.iter().sum()).collect();
        assert_eq!(sums, [15.0, 14.0, 54.0]);
    }
}
