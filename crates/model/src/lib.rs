//! What a GPT is: its parameters, its activations, forward, backward and decode, and the sizes of all of them.
//!
//! **Knows** architectures, and where every float of a model lies. **Must not know** training loops, text or HTTP.
//!
//! A variant (an architecture) is one folder and one row of [`registry`]; everything above works through [`Model`]. A
//! model owns no weights: parameters, gradients and moments are flat arenas that share one [`ParamTable`], and activations
//! live in an [`Arena`] that is planned, and can be printed, before anything is allocated.
//!
//! Letters: B batch, T sequence length, V vocabulary, L layers, d width, h heads, dh = d/h, f MLP width, N = B T.
//!
//! ```
//! use foretoken_kernels::Pool;
//! use foretoken_model::{Arena, Batch, Model, Pass, init, registry};
//!
//! let model = registry::from_config(&serde_json::json!({
//!     "model_type": "gpt2", "vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3,
//! }))?;
//! let pool = Pool::new(1)?;
//! let weights = init(model.params(), 42)?;
//! let batch = Batch { b: 1, t: 4, ids: &[1, 2, 3, 4], targets: &[2, 3, 4, 5], documents: &[] };
//! let mut arena = Arena::new(model.activations(batch.b, batch.t, Pass::Score))?;
//! let mut losses = [0.0; 4];
//! model.losses(&pool, &weights, &mut arena, &batch, &mut losses);
//! assert!((losses.iter().sum::<f32>() / 4.0 - 11f32.ln()).abs() < 0.2); // untrained: about ln V
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod adapter;
mod arena;
mod contract;
mod decode;
mod error;
mod files;
mod gguf;
pub mod gpt2;
mod gradient;
mod lanes;
pub mod llama;
mod optimizer;
mod params;
mod probe;
pub mod registry;
pub mod sizes;
mod state;
mod trainable;
mod walk;
mod weights;

pub use arena::{Arena, Plan, Slot};
pub use contract::{Batch, DecodePlan, Dims, DropoutSeed, Model, Pass, Recompute, Scratch};
pub use decode::{SCORED, decode, decode_each, decode_scored, decode_together};
pub use error::{Error, human_bytes};
pub use files::{load, tensors, views};
pub use gguf::{GgufTensor, Layout, gguf_rows, gguf_views, load_gguf, read_gguf};
pub use gradient::{Gradient, LowRank};
pub use lanes::{Lanes, lanes_of};
pub use optimizer::{OptimizerKind, OptimizerPlan, StateDtype};
pub use params::{Init, ParamSpec, ParamTable, Product, init};
pub use probe::{Anatomy, At, NormAnatomy, Probe, Site, decode_probed};
pub use state::{DecodeState, KeyValues, NewTokens};
pub use trainable::{Rank, Trainable};
pub use walk::{Part, Shortcut, Step, StepParam, Stored};
pub use weights::{Merged, PackedWeights, Source, Weights};
