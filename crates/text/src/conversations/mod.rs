//! Conversations from files: pairs of question and answer, and talks of several turns.

mod fields;
mod rows;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::documents::reader;
use crate::{Error, Format, Source, find_sources};
use fields::Fields;
use rows::{CsvPairs, JsonTalks};
use serde::{Deserialize, Serialize};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Says how to answer; before everything else.
    System,
    /// Asks.
    User,
    /// Answers: what is learned.
    Assistant,
}

impl Role {
    /// Its name in templates and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    /// Also reads ShareGPT's `human` and `gpt`.
    fn from_str(name: &str) -> Result<Role, String> {
        match name {
            "system" => Ok(Role::System),
            "user" | "human" => Ok(Role::User),
            "assistant" | "gpt" => Ok(Role::Assistant),
            _ => Err(format!("role `{name}`; expected system, user or assistant")),
        }
    }
}

/// What one of the speakers says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who.
    pub role: Role,
    /// What, as it is in the file.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        let content = content.into();
        Message { role, content }
    }
}

/// Messages in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conversation {
    /// Of those read from files, at least one is an answer.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// A question and its answer.
    pub fn pair(question: impl Into<String>, answer: impl Into<String>) -> Conversation {
        Conversation {
            messages: vec![
                Message::new(Role::User, question),
                Message::new(Role::Assistant, answer),
            ],
        }
    }
}

/// What rows hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// Text to go on with.
    #[default]
    Text,
    /// A question and an answer a row.
    Qa,
    /// Messages of several turns a row.
    Chat,
}

impl fmt::Display for DataFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataFormat::Text => "text",
            DataFormat::Qa => "qa",
            DataFormat::Chat => "chat",
        })
    }
}

impl std::str::FromStr for DataFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<DataFormat, String> {
        match name {
            "text" => Ok(DataFormat::Text),
            "qa" => Ok(DataFormat::Qa),
            "chat" => Ok(DataFormat::Chat),
            _ => Err(format!("no format `{name}`; there is text, qa and chat")),
        }
    }
}

/// How to read conversations.
#[derive(Debug, Clone, Default)]
pub struct ConversationOptions {
    /// The field or column of the question; guessed unless given.
    pub question_field: Option<String>,
    /// The field or column of the answer; guessed unless given.
    pub answer_field: Option<String>,
    /// How to read all sources, whatever their extensions say; for standard input, which has none.
    pub format: Option<Format>,
}

/// The conversations of some sources, in order and in bounded memory.
///
/// Rows of `.csv` are pairs. Objects of `.jsonl`, and rows of `.parquet`, are pairs, or have `messages` (each `role` and `content`) or
/// `conversations` (each `from` and `value`, as ShareGPT has them). Unless named, the fields of a pair are the first that
/// are there, upper or lower case, of
///
/// | question | answer |
/// |---|---|
/// | `question` | `answer` |
/// | `q` | `a` |
/// | `prompt` | `completion`, `response` |
/// | `instruction`, with a line of `input` where it is not empty | `output`, `response` |
/// | `질문` | `답변`, `답` |
///
/// Rows without any text are passed over; one with a question and no answer, or the reverse, is an error that names its line.
///
/// ```
/// use foretoken_text::{Conversation, Conversations};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("talk.csv");
/// std::fs::write(&path, "Q,A,label\n안녕,\"반가워, 정말\",0\n")?;
/// let mut pairs = Conversations::open(&[path.to_str().unwrap()], &Default::default())?;
/// assert_eq!(pairs.next().unwrap()?, Conversation::pair("안녕", "반가워, 정말"));
/// assert!(pairs.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Conversations {
    sources: std::vec::IntoIter<Source>,
    fields: Fields,
    current: Option<Talks>,
    /// Nothing found yet: the names to complain about.
    empty: Option<String>,
    failed: bool,
}

/// The conversations of one source.
type Talks = Box<dyn Iterator<Item = Result<Conversation, Error>>>;

impl fmt::Debug for Conversations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversations")
            .field("sources", &self.sources)
            .field("fields", &self.fields)
            .finish()
    }
}

impl Conversations {
    /// Finds the sources of `paths` as [`find_sources`] does, and reads them.
    ///
    /// # Errors
    /// Where a path leads nowhere or a file is of unknown kind. Errors of reading come from the iterator, after which
    /// it ends; so does the error that all sources together are empty.
    pub fn open<P: AsRef<str>>(paths: &[P], options: &ConversationOptions) -> Result<Conversations, Error> {
        Ok(Conversations::of(find_sources(paths, options.format)?, options))
    }

    /// Reads these sources.
    pub fn of(sources: Vec<Source>, options: &ConversationOptions) -> Conversations {
        let names: Vec<&str> = sources.iter().map(Source::name).collect();
        let empty = names.join(", ");
        Conversations {
            sources: sources.into_iter(),
            fields: Fields::new(options),
            current: None,
            empty: Some(empty),
            failed: false,
        }
    }

    fn start(&self, source: &Source) -> Result<Talks, Error> {
        let name: Arc<str> = source.name().into();
        Ok(match source.format() {
            Format::Text => {
                return Err(Error::NoRows {
                    origin: source.name().to_owned(),
                });
            }
            Format::JsonLines | Format::Parquet => Box::new(JsonTalks::new(reader(source)?, name, self.fields.clone())),
            Format::Csv => Box::new(CsvPairs::new(reader(source)?, name, self.fields.clone())),
        })
    }
}

impl Iterator for Conversations {
    type Item = Result<Conversation, Error>;

    fn next(&mut self) -> Option<Result<Conversation, Error>> {
        if self.failed {
            return None;
        }
        loop {
            if let Some(item) = self.current.as_mut().and_then(Iterator::next) {
                self.empty = None;
                self.failed = item.is_err();
                return Some(item);
            }
            let started = match self.sources.next() {
                Some(source) => self.start(&source),
                None => Err(Error::NoText {
                    sources: self.empty.take()?,
                }),
            };
            match started {
                Ok(talks) => self.current = Some(talks),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl DataFormat {
    /// What the first row of the first source looks like: a file that is no text by its extension, and whose fields are
    /// those of a conversation, is one. Standard input is not touched: what it is has to be said.
    ///
    /// # Errors
    /// Where the first row cannot be read.
    pub fn guess(sources: &[Source], options: &ConversationOptions) -> Result<DataFormat, Error> {
        let Some(source) = sources.first() else {
            return Ok(DataFormat::Text);
        };
        if source.path().is_none() || source.format() == Format::Text {
            return Ok(DataFormat::Text);
        }
        let fields = Fields::new(options);
        match source.format() {
            Format::Csv => CsvPairs::new(reader(source)?, source.name().into(), fields).guess(),
            _ => JsonTalks::new(reader(source)?, source.name().into(), fields).guess(),
        }
    }
}
