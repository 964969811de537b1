//! The ops table: one row an op. The properties in `tests/ops` and the benches follow from it, so that a new op is one
//! file in `src` and one row here.

mod attention;
mod dense;
mod llama;
mod muon;
mod pointwise;
mod rows;

use foretoken_kernels::{Pool, Stream};

/// Sizes of a case; [`Op::sizes`] says what they are. Unused ones are 1.
pub(crate) type Shape = [usize; 4];

/// Runs a kernel: shape, inputs, outputs.
pub(crate) type Kernel = fn(&Pool, Shape, &Inputs<'_>, &mut [&mut [f32]]);
/// Says what the outputs should be.
pub(crate) type Reference = fn(Shape, &Case) -> Vec<Vec<f64>>;

/// One row.
pub(crate) struct Op {
    /// The op's name.
    pub(crate) name: &'static str,
    /// What the numbers of a shape are.
    pub(crate) sizes: &'static str,
    /// A small shape whose vector dimension (or one of them) is the given tail.
    pub(crate) shape: fn(&mut Random, usize) -> Shape,
    /// Shapes that cross the op's block borders.
    pub(crate) large: &'static [Shape],
    /// The shape at GPT-2 124M, for the benches.
    pub(crate) gpt2: Shape,
    /// Flops and bytes moved, by the formulas of the op's doc comment.
    pub(crate) work: fn(Shape) -> Work,
    /// Random inputs and what lies in the outputs before.
    pub(crate) case: fn(Shape, &mut Random) -> Case,
    /// The kernel.
    pub(crate) kernel: Kernel,
    /// The oracle: every output in f64; an empty one is scratch memory and is not compared.
    pub(crate) reference: Reference,
    /// Largest |error| / (1 + |want|), times the root of the terms. About twice the worst that was seen.
    pub(crate) tolerance: f64,
    /// Terms of the longest sum behind an output.
    pub(crate) terms: fn(Shape) -> usize,
}

/// What an op costs.
pub(crate) struct Work {
    pub(crate) flops: usize,
    pub(crate) bytes: usize,
}

/// Numbers an op runs on.
pub(crate) struct Case {
    /// Float inputs, in the kernel's order.
    pub(crate) inputs: Vec<Vec<f32>>,
    /// Outputs before the op: random where it accumulates, NaN where it overwrites.
    pub(crate) outputs: Vec<Vec<f32>>,
    /// Token ids or targets.
    pub(crate) ids: Vec<u32>,
}

/// A case's inputs where the kernel reads them.
pub(crate) struct Inputs<'a> {
    pub(crate) floats: Vec<&'a [f32]>,
    pub(crate) ids: &'a [u32],
}

/// Every op.
pub(crate) fn ops() -> Vec<Op> {
    let families = [
        dense::ops(),
        pointwise::ops(),
        rows::ops(),
        llama::ops(),
        attention::ops(),
        muon::ops(),
    ];
    families.into_iter().flatten().collect()
}

/// Random numbers from a seed.
pub(crate) struct Random {
    stream: Stream,
    next: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let stream = Stream {
            seed,
            step: 0,
            purpose: 0,
        };
        Self { stream, next: 0 }
    }

    /// One of 0 … n - 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        (self.stream.uniform_f64(self.next) * n as f64) as usize
    }

    /// One of 1 … n.
    pub(crate) fn up_to(&mut self, n: usize) -> usize {
        1 + self.below(n)
    }

    /// `n` floats between -1 and 1.
    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        // Streams of their own, four numbers a block: the benches make millions.
        self.next += 1;
        let stream = Stream {
            purpose: self.next as u32,
            ..self.stream
        };
        let mut floats = Vec::with_capacity(n + 3);
        for block in 0..n.div_ceil(4) as u64 {
            floats.extend(stream.block(block).map(|word| word as i32 as f32 / (1u32 << 31) as f32));
        }
        floats.truncate(n);
        floats
    }
}

/// A case without ids.
fn floats_case(inputs: Vec<Vec<f32>>, outputs: Vec<Vec<f32>>) -> Case {
    Case {
        inputs,
        outputs,
        ids: Vec::new(),
    }
}

fn nan(n: usize) -> Vec<f32> {
    vec![f32::NAN; n]
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

/// before + change: what an accumulating op leaves.
fn plus(before: &[f32], change: &[f64]) -> Vec<f64> {
    assert_eq!(before.len(), change.len());
    before.iter().zip(change).map(|(b, c)| f64::from(*b) + c).collect()
}
