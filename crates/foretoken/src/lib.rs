//! Open a GPT and generate or score from Rust: the place where token ids meet text.
//!
//! **Knows** models, tokenisers and runs, and how to put them together. **Must not know** HTTP or terminals.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let tmp = tempfile::tempdir()?;
//! # let path = foretoken::doc_model(tmp.path())?;
//! // `path`: a run, a checkpoint, a directory in Hugging Face's layout, or a GGUF file.
//! let gpt = foretoken::open(&path)?;
//! let options = foretoken::GenerateOptions { max_tokens: 20, ..Default::default() };
//! let text = gpt.generate("Mina", &options)?;
//! let score = gpt.score("Mina went to the forest.")?;
//! println!("{text} ({:.2} bits per byte)", score.bits_per_byte());
//! # assert!(score.bits_per_byte() > 0.0);
//! # Ok(()) }
//! ```
//!
//! To train from Rust, see [`train::Run`].
#![forbid(unsafe_code)]

mod adapter;
pub mod bench;
mod chat;
mod convert;
mod error;
pub mod eval;
mod gguf;
mod gpt;
mod grammar;
mod init;
mod locate;
pub mod look;
mod prompt_cache;
mod score;
mod source;
mod stop;
mod stream;
mod write;

pub use chat::{Answer, Chat};
pub use convert::{ConvertOptions, ConvertProgress, Converted, ConvertedTensor, Kept, OnProgress, convert};
pub use error::Error;
pub use gguf::tokenizer as gguf_tokenizer;
pub use gpt::{Gpt, open, open_as, open_model, open_tokenizer, open_with};
pub use grammar::{Grammar, GrammarConstraint, Grammars};
pub use init::{init, init_to_resume};
pub use locate::{is_adapter, is_gguf, is_run, last_run, latest_run, locate};
pub use score::{Held, Score, Scorer, TokenScore};
pub use stream::TextStream;
pub use write::{BeamText, GenerateOptions, Stopped, Text, Writer, write};

pub use foretoken_formats as formats;
pub use foretoken_generate as generate;
pub use foretoken_hub as hub;
pub use foretoken_kernels as kernels;
pub use foretoken_lens as lens;
pub use foretoken_model as model;
pub use foretoken_text as text;
pub use foretoken_train as train;

/// Trains a very small model for the examples of the documentation.
#[doc(hidden)]
pub fn doc_model(dir: &std::path::Path) -> Result<std::path::PathBuf, Box<dyn std::error::Error>> {
    let config = train::RunConfig {
        data: vec!["corpus:100".into()],
        tokenizer: "byte".into(),
        n_layer: Some(1),
        n_head: Some(2),
        n_embd: Some(16),
        n_positions: Some(32),
        batch_size: Some(2),
        steps: 3,
        ..Default::default()
    };
    let (pool, run) = (kernels::Pool::new(1)?, dir.join("run"));
    let mut training = train::Run::start(config, &run, &dir.join("cache"), &pool, &mut |_| {})?;
    training.train(&pool, &std::sync::atomic::AtomicBool::new(false), &mut |_| {})?;
    Ok(run)
}
