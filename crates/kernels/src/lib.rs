//! Forward and backward of every operation of a GPT: slices in, slices out.
#![warn(missing_docs)]

mod buffer;
mod gelu;
mod isa;
mod matmul;
mod pool;
mod simd;

pub use buffer::{ALIGNMENT, Buffer};
pub use gelu::{gelu_backward, gelu_derivative_reference, gelu_forward, gelu_reference};
pub use isa::{ISA_VARIABLE, Isa};
pub use matmul::{DEPTH, Epilogue, Mat, matmul, matmul_bias_gelu, matmul_reference};
pub use pool::Pool;
