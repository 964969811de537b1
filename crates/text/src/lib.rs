//! Text to token ids and back, and the documents a model learns from.
//!
//! **Knows** characters, bytes, tokenisers, and files of text. **Must not know** tensors, models or how files are written
//! durably: it hands out bytes and ids, others keep them.
//!
//! - [`Tokenizer`]: `byte`, `char` and `bpe`, all in one `tokenizer.json` that Hugging Face's `tokenizers` reads to the
//!   same ids; [`Trainer`] makes one from text, [`StreamDecoder`] prints as ids come.
//! - [`Documents`]: files, folders, patterns and standard input as a stream of documents, in bounded memory.
//! - [`Conversations`]: questions and answers; [`ChatTemplate`] makes texts and ids of them, and says what is learned.
//! - [`Split`]: which text is for validation.
//!
//! ```
//! use foretoken_text::{Kind, Trainer};
//!
//! let text = "to be, or not to be: that is the question";
//! let mut trainer = Trainer::new(Kind::Bpe, 300)?;
//! trainer.feed(text);
//! let tokenizer = trainer.finish();
//!
//! let ids = tokenizer.encode(text);
//! assert!(ids.len() < text.len());
//! assert_eq!(tokenizer.decode(&ids)?, text);
//! // Any text, also in a script it has never seen.
//! assert_eq!(tokenizer.decode(&tokenizer.encode("사느냐 죽느냐"))?, "사느냐 죽느냐");
//! # Ok::<(), foretoken_text::Error>(())
//! ```
#![forbid(unsafe_code)]

mod chat_template;
mod conversations;
pub mod corpus;
mod documents;
mod error;
mod fingerprint;
mod split;
mod tokenizer;

pub use chat_template::{ChatTemplate, Example};
pub use conversations::{Conversation, ConversationOptions, Conversations, DataFormat, Message, Role};
pub use documents::{
    Document, DocumentOptions, Documents, Format, LARGEST_PIECE, LARGEST_ROW, Source, find_sources, sources_fingerprint,
};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use split::{MANY_DOCUMENTS, Split};
pub use tokenizer::{
    END_OF_TEXT, Kind, LARGEST_FILE, LARGEST_VOCABULARY, Parts, Pattern, StreamDecoder, Tokenizer, Trainer,
};
