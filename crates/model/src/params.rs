//! The one table of parameters: it drives allocation, initialisation, loading, saving, weight decay, the size report and
//! the gradient tests.

use crate::error::Error;
use foretoken_kernels::{ALIGNMENT, Buffer, Stream};
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
}

/// Every parameter tensor of a model, and where it lies: decayed tensors first, each at a cache line.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamTable {
    specs: Vec<ParamSpec>,
    decayed: usize,
    floats: usize,
}

impl ParamTable {
    /// Lays out tensors given as (name, shape, init, decay).
    pub(crate) fn new(tensors: Vec<(String, Vec<usize>, Init, bool)>) -> Self {
        let mut specs: Vec<ParamSpec> = tensors
            .into_iter()
            .map(|(name, shape, init, decay)| ParamSpec {
                name,
                shape,
                init,
                decay,
                range: 0..0,
            })
            .collect();
        let mut at = 0;
        let mut decayed = 0;
        for wanted in [true, false] {
            for spec in specs.iter_mut().filter(|spec| spec.decay == wanted) {
                let len = spec.shape.iter().product::<usize>();
                spec.range = at..at + len;
                at = (at + len).next_multiple_of(ALIGNMENT / 4);
            }
            if wanted {
                decayed = at;
            }
        }
        Self {
            specs,
            decayed,
            floats: at,
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

    /// The part of an arena that weight decay applies to.
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
        match spec.init {
            Init::Normal(std) => {
                let stream = Stream {
                    seed,
                    step: 0,
                    purpose: PURPOSE + i as u32,
                };
                stream.normals(0, std, out);
            }
            Init::Ones => out.fill(1.0),
            Init::Zeros => {}
        }
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decayed_tensors_lie_first_and_nothing_overlaps() {
        let table = ParamTable::new(vec![
            ("a".into(), vec![3, 5], Init::Normal(0.5), true),
            ("b".into(), vec![7], Init::Ones, false),
            ("c".into(), vec![2, 9], Init::Normal(0.5), true),
        ]);
        assert_eq!((table.count(), table.floats()), (40, 16 + 32 + 16));
        assert_eq!((table.decayed(), table.not_decayed()), (0..48, 48..64));
        let mut weights = init(&table, 3).unwrap();
        for (value, part) in [1.0, 2.0, 3.0].iter().zip(table.cut_mut(&mut weights)) {
            part.fill(*value);
        }
        let sums: Vec<f32> = table.cut(&weights).map(|part| part.iter().sum()).collect();
        assert_eq!(sums, [15.0, 14.0, 54.0]);
    }
}
