//! How good a model is: loss, perplexity and bits per byte of texts, and accuracy on multiple-choice questions; beside
//! another model, the difference token by token and question by question.
//!
//! Every sum is made in f64 in the order of the text, so that a result is the same bits on any number of threads.
//!
//! ```
//! use foretoken::eval::{Texts, TextOptions, score_texts};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let tmp = tempfile::tempdir()?;
//! # let run = foretoken::doc_model(tmp.path())?;
//! # let book = tmp.path().join("book.txt");
//! # std::fs::write(&book, "Mina went to the forest. 미나는 숲에 갔어요.")?;
//! let gpt = foretoken::open(&run)?;
//! let text = Texts::file(book.to_str().unwrap())?;
//! let score = score_texts(&gpt, &text, &TextOptions::default(), None, &mut |_| {})?;
//! println!("{:.2} bits per byte of {} bytes", score.bits_per_byte(), score.bytes);
//! # assert!(score.tokens == score.bytes && score.bits_per_byte() > 0.0);
//! # Ok(()) }
//! ```

mod answers;
mod choices;
mod mean;
mod questions;
mod text;
mod texts;
mod windows;

pub use answers::{Agreement, AnswerScore, Answered, Asked, character_f1, score_answers};
pub use choices::{ChoiceScore, score_choices};
pub use mean::Mean;
pub use questions::{LARGEST_QUESTION, LARGEST_QUESTIONS, Question, read_questions};
pub use text::{Limit, TextOptions, TextScore, score_texts};
pub use texts::Texts;
pub use windows::Windows;
