//! Looking inside with words: a text, its tokens, and what [`foretoken_lens`] finds, as views that can be drawn or written as JSON.
//!
//! Every view is one object: `view` names it, `model` and `tokens` say what was looked at ([`Difference`] has `models` and prompts), and the
//! rest is what was seen. Layers, heads,
//! positions and neurons count from 0; probabilities are fractions, information is in bits.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let tmp = tempfile::tempdir()?;
//! # let path = foretoken::doc_model(tmp.path())?;
//! let gpt = foretoken::open(&path)?;
//! let look = gpt.look("미나는 Ben")?;
//! // Bytes of a syllable are three tokens here, and one character.
//! assert_eq!(look.pieces()[1].label, "미 2/3");
//! let attention = look.attention(8)?;
//! assert_eq!((attention.heads.len(), attention.tokens.len()), (2, 13));
//! let json = serde_json::to_value(&attention)?;
//! assert_eq!((&json["view"], &json["heads"][1]["head"]), (&"attention".into(), &1.into()));
//! # Ok(()) }
//! ```

mod attention;
mod embedding;
mod history;
mod neurons;
mod next;
mod pieces;
mod shape;
mod stream;
mod tokens;
mod why;

pub use attention::{Attention, HeadView, Looked};
pub use embedding::{Embedding, NeighboursOf, Point};
pub use history::{Difference, History, Probed, Side, difference, history, probe, probe_while};
pub use neurons::{Context, Neuron, Neurons};
pub use next::{Choice, Next};
pub use pieces::{Granularity, Group, Piece, label, pieces};
pub use shape::{Shape, ShapeStep};
pub use stream::{Stream, StreamCell};
pub use tokens::{Surprise, Tokens};
pub use why::{Ablated, Bar, HeadBar, Patched, Why};

use crate::error::Error;
use crate::gpt::Gpt;
use foretoken_lens::{Change, Keep, Subject, Trace};
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// The JSON schema of every view: one of these objects, told apart by `view`.
///
/// ```
/// let schema = serde_json::to_value(foretoken::look::schema()).unwrap();
/// assert_eq!(schema["oneOf"].as_array().unwrap().len(), 11);
/// assert!(schema["$defs"]["HeadView"]["properties"]["weights"]["description"].is_string());
/// ```
pub fn schema() -> Schema {
    let mut generator = SchemaGenerator::default();
    fn view<V: JsonSchema>(generator: &mut SchemaGenerator) -> serde_json::Value {
        generator.subschema_for::<V>().to_value()
    }
    let views: Vec<serde_json::Value> = [
        view::<Shape>,
        view::<Tokens>,
        view::<Embedding>,
        view::<Attention>,
        view::<HeadView>,
        view::<Stream>,
        view::<Why>,
        view::<Next>,
        view::<Neurons>,
        view::<Difference>,
        view::<History>,
    ]
    .iter()
    .map(|view| view(&mut generator))
    .collect();
    schemars::json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Views of foretoken lens",
        "description": "Layers, heads, positions and neurons count from 0; probabilities are fractions, information is in bits.",
        "oneOf": views,
        "$defs": generator.take_definitions(true),
    })
}

/// A text under a model.
#[derive(Debug)]
pub struct Look<'a> {
    gpt: &'a Gpt,
    /// What views call the model.
    model: String,
    text: String,
    ids: Vec<u32>,
    pieces: Vec<Piece>,
}

impl Gpt {
    /// A text to look at: its tokens, as a prompt has them.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::TooLong`] where the model has fewer positions than the text has tokens.
    pub fn look(&self, text: &str) -> Result<Look<'_>, Error> {
        let ids = self.tokenizer().encode(text);
        let n_positions = self.model().dims().n_positions;
        match ids.len() {
            0 => Err(Error::Empty),
            tokens if tokens > n_positions => Err(Error::TooLong { tokens, n_positions }),
            _ => Ok(Look {
                gpt: self,
                model: model_name(self),
                text: text.to_owned(),
                pieces: pieces(self.tokenizer(), &ids),
                ids,
            }),
        }
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            model: self.model(),
            pool: self.pool(),
            weights: self.weights(),
        }
    }

    /// A token by its id, or by the text that it is; a text of several tokens is refused, and so is an id past V.
    ///
    /// # Errors
    /// [`Error::NoToken`].
    pub fn token(&self, named: &str) -> Result<u32, Error> {
        let none = |found: String| Error::NoToken {
            named: named.to_owned(),
            found,
        };
        if let Some(id) = named.strip_prefix('#') {
            let id = id.parse::<u32>().map_err(|_| none("no number after #".into()))?;
            return match self.tokenizer().id_to_bytes(id) {
                Some(_) => Ok(id),
                None => Err(none(format!("the last id is #{}", self.tokenizer().vocab_size() - 1))),
            };
        }
        if let Some(id) = (0..self.tokenizer().vocab_size() as u32)
            .filter(|&id| self.tokenizer().is_special(id))
            .find(|&id| self.tokenizer().id_to_bytes(id) == Some(named.as_bytes()))
        {
            return Ok(id);
        }
        match self.tokenizer().encode(named)[..] {
            [id] => Ok(id),
            ref ids => {
                let parts: Vec<String> = pieces(self.tokenizer(), ids)
                    .into_iter()
                    .map(|piece| piece.label)
                    .collect();
                Err(none(format!("{} tokens: {}", ids.len(), parts.join(" · "))))
            }
        }
    }
}

impl Look<'_> {
    /// The same, its views calling the model by this name instead of its path.
    #[must_use]
    pub fn naming_model(self, name: &str) -> Self {
        Self {
            model: name.to_owned(),
            ..self
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its tokens.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Its tokens with what they say.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The model.
    pub fn gpt(&self) -> &Gpt {
        self.gpt
    }

    /// A forward over the text, with changes where there are some.
    ///
    /// # Errors
    /// No memory.
    pub fn trace(&self, keep: Keep, changes: &[Change]) -> Result<Trace, Error> {
        Ok(Trace::record(self.gpt.subject(), &self.ids, keep, changes)?)
    }

    /// Logits (V) that follow token `position`.
    pub(crate) fn logits(&self, trace: &Trace, position: usize) -> Vec<f32> {
        let x = trace.at(2 * trace.layers, position);
        let mut logits = vec![0.0; self.gpt.model().dims().vocab_size];
        self.gpt
            .model()
            .unembed(self.gpt.pool(), self.gpt.weights(), x, &mut logits);
        logits
    }

    /// A position that may count from the end, as -1 for the last.
    ///
    /// # Errors
    /// [`Error::NoPosition`].
    pub fn position(&self, position: isize) -> Result<usize, Error> {
        let t = self.ids.len();
        let found = if position < 0 { position + t as isize } else { position };
        match usize::try_from(found) {
            Ok(found) if found < t => Ok(found),
            _ => Err(Error::NoPosition { position, tokens: t }),
        }
    }

    pub(crate) fn model_name(&self) -> String {
        self.model.clone()
    }

    pub(crate) fn label(&self, id: u32) -> String {
        label(self.gpt.tokenizer(), id)
    }
}

/// The names of the 2 L + 1 places of a stream.
pub(crate) fn step_name(step: usize) -> String {
    match step {
        0 => "embedding".to_owned(),
        step if step % 2 == 1 => format!("attention {}", step / 2),
        step => format!("MLP {}", step / 2 - 1),
    }
}

/// A model as views name it: from the current directory on, where it lies below that. Pictures are shown to others.
fn model_name(gpt: &Gpt) -> String {
    let (path, here) = (gpt.path(), std::env::current_dir().ok());
    let below = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    below.unwrap_or(path).display().to_string()
}
