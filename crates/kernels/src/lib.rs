//! Forward and backward of every operation of a GPT-2 and a llama, and the optimizers' steps: slices in, slices out.
//!
//! **Knows** floating-point arithmetic, instruction sets and threads. **Must not know** models, files or what a token
//! means. It is the only home of SIMD `unsafe`.
//!
//! Every function takes a [`Pool`] first, then outputs, inputs, what the forward saved, and sizes. Gradients that are sums over
//! rows (biases, gains, embeddings) accumulate (`+=`), those of matrices do what their [`Epilogue`] says, and gradients of
//! activations overwrite unless the name ends in `_acc`. A shape that does not fit is a mistake of the caller and panics with
//! both shapes.
//!
//! **Same bits for any number of threads.** One task owns each output element over the whole reduction, reductions are
//! cut into chunks fixed by shape, and block sizes are constants. AVX2 and AVX-512 give the same bits too: both sum lanes
//! in the same order and fuse the same multiplications and additions.
//!
//! **Every op has an oracle**, a plain `…_reference` in f64 beside it, forward and backward; the backward ones are held to
//! finite differences. The errors that doc comments state, on numbers from -1 to 1 and on every instruction set, are
//! those of the ops table in `tests/ops/table`, from which tests and benches follow: a new op is one file and one row.
//!
//! Letters: B batch, T queries, V vocabulary, d width, h heads, dh = d/h, N = B T.
//!
//! ```
//! use foretoken_kernels::{Epilogue, Mat, Pool, matmul};
//! let pool = Pool::new(2)?;
//! let mut c = [0.0; 2];
//! matmul(&pool, &mut c, Mat::new(&[1.0, 2.0], 1, 2), Mat::new(&[3.0, 4.0, 5.0, 6.0], 2, 2), Epilogue::Store);
//! assert_eq!(c, [13.0, 16.0]);
//! # Ok::<(), String>(())
//! ```

mod adamw;
mod attention;
mod bf16;
mod buffer;
mod denormals;
mod documents;
mod dropout;
mod embedding;
mod gelu;
mod isa;
mod layernorm;
mod loss;
mod matmul;
mod matvec;
mod muon;
mod packed;
mod peak;
mod pool;
mod profile;
mod random;
mod rmsnorm;
mod rope;
mod simd;
mod softmax;
mod sums;
mod swiglu;

pub use adamw::{AdamW, adamw, adamw_bf16, adamw_reference, sum_of_squares, sum_of_squares_reference};
pub use attention::{
    AttentionDims, Cache, CacheType, Cached, CachedSequence, attention_backward, attention_backward_reference,
    attention_backward_scratch, attention_backward_sums, attention_cached, attention_cached_scratch, attention_forward,
    attention_forward_scratch, attention_mask_reference, attention_reference, cache_append,
};
pub use bf16::{bf16_to_f32, round_to_bf16, rounding_word};
pub use buffer::{ALIGNMENT, Aligned, Bf16Buffer, Buffer, Number};
pub use dropout::{Dropout, dropout_in_place, dropout_reference, residual_forward, residual_reference};
pub use embedding::{embedding_backward, embedding_backward_reference, embedding_forward, embedding_reference};
pub use gelu::{gelu_backward, gelu_derivative_reference, gelu_forward, gelu_reference};
pub use isa::{ISA_VARIABLE, Isa};
pub use layernorm::{
    bias_backward, bias_backward_reference, bias_backward_scratch, layernorm_again, layernorm_backward,
    layernorm_backward_reference, layernorm_backward_scratch, layernorm_forward, layernorm_reference,
};
pub use loss::{
    IGNORE_INDEX, cross_entropy_reference, head_loss, head_loss_backward, head_loss_reference, head_loss_scratch,
};
pub use matmul::{
    DEPTH, Epilogue, Mat, linear_backward_reference, linear_reference, matmul, matmul_bias_gelu,
    matmul_bias_gelu_slope, matmul_columns, matmul_gelu_backward, matmul_gradient, matmul_gradient_scratch,
    matmul_reference, matmul_scratch,
};
pub use matvec::{MATVEC_ROWS, MatvecEpilogue, matvec, matvec_scratch, matvec_transposed};
pub use muon::{MuonShape, muon, muon_momentum, muon_momentum_bf16, muon_momentum_reference, muon_reference};
pub use packed::{PackedMatrix, PackedType, Packing, linear_packed, linear_packed_columns, linear_packed_reference};
pub use peak::{peak_flops, read_bandwidth};
pub use pool::Pool;
pub use profile::{Limits, OpTime};
pub use random::{Stream, philox4x32};
pub use rmsnorm::{
    rmsnorm_again, rmsnorm_backward, rmsnorm_backward_reference, rmsnorm_backward_scratch, rmsnorm_forward,
    rmsnorm_reference,
};
pub use rope::{Turn, rope, rope_angles, rope_reference};
pub use softmax::softmax_weights;
pub use sums::{add_in_place, zero};
pub use swiglu::{swiglu_backward, swiglu_backward_reference, swiglu_forward, swiglu_reference};
