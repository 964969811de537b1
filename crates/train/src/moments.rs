//! Moments of the parameters: a part of an arena, in f32 or bf16.

use foretoken_formats::safetensors::{Tensor, TensorView};
use foretoken_kernels::{Bf16Buffer, Buffer, bf16_to_f32};
use foretoken_model::{Error, ParamSpec, StateDtype};
use std::ops::Range;

/// A number for every parameter in a range of the table's arena.
#[derive(Clone, Debug)]
pub struct Moments {
    range: Range<usize>,
    pub(crate) numbers: Numbers,
}

/// The numbers, from the range's start on.
#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    F32(Buffer),
    Bf16(Bf16Buffer),
}

impl Moments {
    /// Zeros for the parameters that lie in `range`.
    ///
    /// # Errors
    /// The allocator refuses.
    pub fn zeros(range: Range<usize>, dtype: StateDtype) -> Result<Self, Error> {
        let numbers = match dtype {
            StateDtype::F32 => Buffer::try_zeroed(range.len()).map(Numbers::F32),
            StateDtype::Bf16 => Bf16Buffer::try_zeroed(range.len()).map(Numbers::Bf16),
        };
        let numbers = numbers.ok_or(Error::NoMemory {
            what: "the optimizer's moments",
            bytes: dtype.bytes() * range.len() as u64,
        })?;
        Ok(Self { range, numbers })
    }

    /// Where a range of the arena lies among the numbers; `None` where it has none.
    fn place(&self, of: &Range<usize>) -> Option<Range<usize>> {
        let inside = self.range.start <= of.start && of.end <= self.range.end;
        inside.then(|| of.start - self.range.start..of.end - self.range.start)
    }

    /// Whether a parameter tensor has moments here.
    pub fn has(&self, spec: &ParamSpec) -> bool {
        self.place(&spec.range).is_some()
    }

    /// The moments of a parameter tensor under the name they have in a file, where it has some.
    pub fn tensor<'a>(&'a self, name: &'a str, spec: &'a ParamSpec) -> Option<Tensor<'a>> {
        let place = self.place(&spec.range)?;
        Some(match &self.numbers {
            Numbers::F32(numbers) => Tensor::f32(name, &spec.shape, &numbers[place]),
            Numbers::Bf16(numbers) => Tensor::bf16_bits(name, &spec.shape, &numbers[place]),
        })
    }

    /// Takes the moments of a parameter tensor from a file, to the bit.
    ///
    /// # Errors
    /// Another shape; moments in bf16 from a file in anything else.
    ///
    /// # Panics
    /// Where the tensor has no moments here.
    pub fn read(&mut self, spec: &ParamSpec, from: &TensorView<'_>) -> Result<(), foretoken_formats::Error> {
        from.expect_shape(&spec.shape)?;
        let place = self.place(&spec.range).expect("a tensor with moments");
        match &mut self.numbers {
            Numbers::F32(numbers) => from.read_f32(&mut numbers[place]),
            Numbers::Bf16(numbers) => from.read_bf16(&mut numbers[place]),
        }
    }

    /// The moments of the parameters in a range of the arena, widened where they are in bf16; none where it has none.
    pub fn values(&self, of: &Range<usize>) -> impl Iterator<Item = f32> + use<'_> {
        let (f32s, bf16s): (&[f32], &[u16]) = match (self.place(of), &self.numbers) {
            (Some(place), Numbers::F32(numbers)) => (&numbers[place], &[]),
            (Some(place), Numbers::Bf16(numbers)) => (&[], &numbers[place]),
            (None, _) => (&[], &[]),
        };
        f32s.iter().copied().chain(bf16s.iter().map(|&x| bf16_to_f32(x)))
    }
}

/// The part of moments that a range of the arena has, `start` being where they begin.
pub(crate) fn part<'a, T>(numbers: &'a mut [T], start: usize, of: &Range<usize>) -> &'a mut [T] {
    &mut numbers[of.start - start..of.end - start]
}

#[cfg(test)]
impl Moments {
    /// Puts `x` in the place of the number of parameter `at`, and gives that one.
    pub(crate) fn replace(&mut self, at: usize, x: f32) -> f32 {
        let at = at - self.range.start;
        match &mut self.numbers {
            Numbers::F32(numbers) => std::mem::replace(&mut numbers[at], x),
            Numbers::Bf16(numbers) => bf16_to_f32(std::mem::replace(&mut numbers[at], (x.to_bits() >> 16) as u16)),
        }
    }
}
