//! What a model does with tokens, taken apart: plain numbers out, to be drawn by others.
//!
//! **Knows** the forward through [`foretoken_model::Probe`], and which tensors do what. **Must not know** text, files, terminals or HTTP.
//!
//! A [`Trace`] is one forward over some tokens with everything that views are made of. From it come [`Pattern`]s (what a head looks at),
//! the [`stream`] after every step as the head would read it, the [`Attribution`] of a logit to what wrote into the stream, and the
//! [`neurons`] that fire. [`Change`]s take parts out of a forward or put another's in, to see what they cause.
//!
//! Letters: T tokens, d width, h heads, dh = d / h, f MLP width, L layers, V vocabulary. Probabilities are fractions, information is in
//! bits, logits in nats.
//!
//! ```
//! use foretoken_lens::{Keep, Subject, Trace, Weighing, attribute, pattern, stream};
//! use foretoken_model::{Model, init, registry};
//!
//! let model = registry::from_config(&serde_json::json!({
//!     "model_type": "gpt2", "vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3,
//! }))?;
//! let (pool, weights) = (foretoken_kernels::Pool::new(1)?, init(model.params(), 42)?);
//! let subject = Subject { model: &*model, pool: &pool, weights: (&weights).into() };
//! let trace = Trace::record(subject, &[1, 2, 3, 1, 2], Keep::ALL, &[])?;
//! // A head's weights sum to 1 a query, and none looks ahead.
//! let head = pattern(subject, &trace, 1, 0, Weighing::Weight);
//! assert!((head.weights[5 * 3..5 * 3 + 5].iter().sum::<f32>() - 1.0).abs() < 1e-6);
//! assert_eq!(head.weights[5 * 3 + 4], 0.0);
//! // The stream at 2 L + 1 places, read for the last token.
//! assert_eq!(stream(subject, &trace, &[4], &[None], 3).len(), 5);
//! // What raises token 3 rather than 4 as the next: the parts sum to the difference of their logits.
//! let why = attribute(subject, &trace, 4, 3, Some(4));
//! assert!((why.sum() - why.logit).abs() < 1e-4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod attention;
mod attribution;
mod change;
mod difference;
mod embedding;
mod logits;
mod neurons;
mod pair;
mod stream;
mod trace;

pub use attention::{Badges, HeadMap, Pattern, Weighing, head_maps, pattern};
pub use attribution::{Attribution, Part, Source, attribute, head_sources};
pub use change::{Change, With};
pub use difference::{TensorChange, compare_weights};
pub use embedding::{Neighbour, neighbours, plane, position_similarity};
pub use logits::{Candidate, Distribution, distribution};
pub use neurons::{Firing, neurons};
pub use stream::{Reading, stream};
pub use trace::{Keep, Subject, Trace};
