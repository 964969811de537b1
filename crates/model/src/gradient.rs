//! Where a tensor's gradient goes: into an arena, nowhere, or into the two thin factors of a pair of low rank.

use crate::params::{ParamTable, Product};
use foretoken_kernels::{Buffer, Epilogue, Mat, Pool, matmul, matmul_gradient};
use std::cell::RefCell;

/// A pair of low rank beside a frozen matrix W that products read (LoRA: Hu et al., arXiv 2106.09685): the model computes with
/// W + s B A, which lies merged in the weights, so that forward and dX are those of any model.
#[derive(Debug)]
pub struct LowRank<'a> {
    /// r.
    pub rank: usize,
    /// s = alpha / r.
    pub scale: f32,
    /// A (r,in).
    pub a: &'a [f32],
    /// B (out,r).
    pub b: &'a [f32],
    /// dA (r,in) = s Bᵀ dW, overwritten.
    pub da: &'a mut [f32],
    /// dB (out,r) = s dW Aᵀ, overwritten.
    pub db: &'a mut [f32],
    /// At least N r floats, which all pairs of a walk share.
    pub thin: &'a RefCell<Buffer>,
}

/// What becomes of a tensor's gradient.
#[derive(Debug)]
pub enum Gradient<'a> {
    /// All of it is stored here, whatever lay there before.
    Full(&'a mut [f32]),
    /// The tensor does not learn; the product that would give its gradient is not computed.
    Frozen,
    /// The tensor does not learn, a pair beside it does: dW itself is never made, of its 2 N in out flops 4 N r (in + out) stay.
    LowRank(LowRank<'a>),
}

impl Gradient<'_> {
    /// Whether anything of the tensor learns.
    pub(crate) fn learns(&self) -> bool {
        !matches!(self, Self::Frozen)
    }

    /// Sums over rows are added to, and so begin at zero.
    pub(crate) fn zero(&mut self, pool: &Pool) {
        if let Self::Full(out) = self {
            foretoken_kernels::zero(pool, out);
        }
    }

    /// Where a kernel may leave the gradient of a tensor of `len` numbers: its own place, or that of one nobody reads.
    pub(crate) fn or<'s>(&'s mut self, spare: &'s mut Vec<f32>, len: usize) -> &'s mut [f32] {
        match self {
            Self::Full(out) => out,
            Self::Frozen | Self::LowRank(_) => {
                spare.resize(len, 0.0);
                spare
            }
        }
    }

    /// Its own place, where all of it is wanted.
    pub(crate) fn full(&mut self) -> Option<&mut [f32]> {
        match self {
            Self::Full(out) => Some(out),
            Self::Frozen | Self::LowRank(_) => None,
        }
    }

    /// dW of y = x Wᵀ for W (out,in), or of y = x W for W (in,out), from x (N,in) and dY (N,out).
    pub(crate) fn product(
        &mut self,
        pool: &Pool,
        layout: Product,
        x: Mat<'_>,
        dy: Mat<'_>,
        (n, inputs, outputs): (usize, usize, usize),
    ) {
        match self {
            Self::Frozen => {}
            Self::Full(out) => match layout {
                Product::OutIn => matmul_gradient(pool, out, dy.t(), x, Epilogue::Store),
                Product::InOut => matmul_gradient(pool, out, x.t(), dy, Epilogue::Store),
            },
            Self::LowRank(pair) => pair.product(pool, x, dy, (n, inputs, outputs)),
        }
    }
}

impl LowRank<'_> {
    /// t = s x Aᵀ and u = s dY B, both (N,r); dB = dYᵀ t, dA = uᵀ x.
    fn product(&mut self, pool: &Pool, x: Mat<'_>, dy: Mat<'_>, (n, inputs, outputs): (usize, usize, usize)) {
        let r = self.rank;
        let mut thin = self.thin.borrow_mut();
        let thin = &mut thin[..n * r];
        let scaled = |thin: &mut [f32], s: f32| thin.iter_mut().for_each(|value| *value *= s);
        matmul(pool, thin, x, Mat::new(self.a, r, inputs).t(), Epilogue::Store);
        scaled(thin, self.scale);
        matmul(pool, self.db, dy.t(), Mat::new(thin, n, r), Epilogue::Store);
        matmul(pool, thin, dy, Mat::new(self.b, outputs, r), Epilogue::Store);
        scaled(thin, self.scale);
        matmul(pool, self.da, Mat::new(thin, n, r).t(), x, Epilogue::Store);
    }
}

/// out += s B A, in the order in which products read a matrix: A (r,in), B (out,r); `scratch` takes out r floats.
///
/// # Panics
/// Where sizes differ.
pub(crate) fn merge_pair(
    pool: &Pool,
    layout: Product,
    out: &mut [f32],
    (a, b): (&[f32], &[f32]),
    (rank, scale): (usize, f32),
    scratch: &mut [f32],
) {
    let (inputs, outputs) = (a.len() / rank, b.len() / rank);
    assert_eq!(out.len(), inputs * outputs, "W is out x in");
    let scaled = &mut scratch[..b.len()];
    scaled.iter_mut().zip(b).for_each(|(scaled, b)| *scaled = scale * b);
    let (a, b) = (Mat::new(a, rank, inputs), Mat::new(scaled, outputs, rank));
    match layout {
        Product::OutIn => matmul(pool, out, b, a, Epilogue::Accumulate),
        Product::InOut => matmul(pool, out, a.t(), b.t(), Epilogue::Accumulate),
    }
}

/// Begins what is summed over rows at zero: biases and norms, the tensors that do not decay.
#[track_caller]
pub(crate) fn zero_sums(table: &ParamTable, gradients: &mut [Gradient<'_>]) {
    assert_eq!(gradients.len(), table.specs().len(), "one gradient a tensor");
    for (spec, gradient) in table.specs().iter().zip(gradients) {
        match gradient {
            Gradient::Full(out) if !spec.decay => out.fill(0.0),
            Gradient::LowRank(_) => assert!(spec.hidden.is_some(), "{}: only hidden matrices take a pair", spec.name),
            Gradient::Full(_) | Gradient::Frozen => {}
        }
    }
}

impl ParamTable {
    /// Every tensor's gradient in full, in the order of [`ParamTable::specs`].
    ///
    /// # Panics
    /// Where the arena is not one of this table.
    pub fn gradients<'a>(&self, arena: &'a mut [f32]) -> Vec<Gradient<'a>> {
        self.cut_mut(arena).map(Gradient::Full).collect()
    }
}
