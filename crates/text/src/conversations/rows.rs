//! Rows of `.jsonl` and `.csv` as conversations.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::fields::{Fields, Places, list};
use super::{Conversation, DataFormat, Message, Role};
use crate::Error;
use crate::documents::{CsvTable, JsonLines, kind_of};
use crate::error::shorten;

/// Fields that hold messages, with the names of speaker and words in each.
const TALKS: [(&str, &str, &str); 2] = [("messages", "role", "content"), ("conversations", "from", "value")];

type Row<'r> = BTreeMap<String, &'r RawValue>;

/// The conversations of a `.jsonl` file.
pub(super) struct JsonTalks<R> {
    lines: JsonLines<R>,
    fields: Fields,
}

impl<R: Read> JsonTalks<R> {
    pub(super) fn new(reader: R, source: Arc<str>, fields: Fields) -> JsonTalks<R> {
        let lines = JsonLines::new(reader, source);
        JsonTalks { lines, fields }
    }

    fn talk(&mut self) -> Result<Option<Conversation>, Error> {
        while self.lines.read()? {
            let Some(row) = self.lines.object()? else { continue };
            let talk = self.read(&row).map_err(|message| self.lines.error(message))?;
            if talk.is_some() {
                return Ok(talk);
            }
        }
        Ok(None)
    }

    fn read(&self, row: &Row<'_>) -> Result<Option<Conversation>, String> {
        let talk = TALKS.iter().find(|(field, ..)| row.contains_key(*field));
        if let (Some((field, role, content)), false) = (talk, self.fields.are_named()) {
            let messages = messages(row[*field].get(), field, role, content)?;
            return checked(messages).map(Some);
        }
        let (names, values): (Vec<&str>, Vec<&str>) =
            row.iter().map(|(name, value)| (name.as_str(), value.get())).unzip();
        let places = self.fields.find(&names)?;
        let (question, answer) = (values[places.question], values[places.answer]);
        // Prompt and completion may be lists of messages, too.
        if question.starts_with('[') && answer.starts_with('[') {
            let mut talk = messages(question, names[places.question], "role", "content")?;
            talk.extend(messages(answer, names[places.answer], "role", "content")?);
            return checked(talk).map(Some);
        }
        let text = |place: usize| string(values[place]).map_err(|error| format!("field `{}` {error}", names[place]));
        let mut question = text(places.question)?;
        if let Some(input) = places.input {
            add_input(&mut question, &text(input)?);
        }
        pair(question, text(places.answer)?, &names, places)
    }

    pub(super) fn guess(mut self) -> Result<DataFormat, Error> {
        while self.lines.read()? {
            let Some(row) = self.lines.object()? else { continue };
            if !self.fields.are_named() && TALKS.iter().any(|(field, ..)| row.contains_key(*field)) {
                return Ok(DataFormat::Chat);
            }
            let names: Vec<&str> = row.keys().map(String::as_str).collect();
            return Ok(match self.fields.find(&names) {
                Ok(places) if row[names[places.question]].get().starts_with('[') => DataFormat::Chat,
                Ok(_) => DataFormat::Qa,
                Err(_) => DataFormat::Text,
            });
        }
        Ok(DataFormat::Text)
    }
}

impl<R: Read> Iterator for JsonTalks<R> {
    type Item = Result<Conversation, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.talk().transpose()
    }
}

/// The pairs of a `.csv` file.
pub(super) struct CsvPairs<R> {
    table: CsvTable<R>,
    fields: Fields,
    /// The names of the columns and where the pair is among them, once the first line is read.
    head: Option<(Vec<String>, Places)>,
}

impl<R: Read> CsvPairs<R> {
    pub(super) fn new(reader: R, source: Arc<str>, fields: Fields) -> CsvPairs<R> {
        CsvPairs {
            table: CsvTable::new(reader, source),
            fields,
            head: None,
        }
    }

    fn talk(&mut self) -> Result<Option<Conversation>, Error> {
        if self.head.is_none() {
            if !self.table.read()? {
                return Ok(None);
            }
            let names = self.table.fields()?;
            let places = self.fields.find(&names).map_err(|message| self.table.error(message))?;
            self.head = Some((names.into_iter().map(str::to_owned).collect(), places));
        }
        let (names, places) = self.head.as_ref().expect("read above");
        while self.table.read()? {
            let text = |place: usize| Ok::<_, Error>(self.table.field(place)?.to_owned());
            let mut question = text(places.question)?;
            if let Some(input) = places.input {
                add_input(&mut question, self.table.field(input)?);
            }
            let answer = text(places.answer)?;
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let talk = pair(question, answer, &names, *places).map_err(|message| self.table.error(message))?;
            if talk.is_some() {
                return Ok(talk);
            }
        }
        Ok(None)
    }

    pub(super) fn guess(mut self) -> Result<DataFormat, Error> {
        if !self.table.read()? {
            return Ok(DataFormat::Text);
        }
        Ok(match self.fields.find(&self.table.fields()?) {
            Ok(_) => DataFormat::Qa,
            Err(_) => DataFormat::Text,
        })
    }
}

impl<R: Read> Iterator for CsvPairs<R> {
    type Item = Result<Conversation, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.talk().transpose()
    }
}

fn add_input(question: &mut String, input: &str) {
    if !input.trim().is_empty() {
        if !question.is_empty() {
            question.push('\n');
        }
        question.push_str(input);
    }
}

/// A pair; none where the row is blank. Half a pair teaches nothing, or to say nothing: it is refused.
fn pair(question: String, answer: String, names: &[&str], places: Places) -> Result<Option<Conversation>, String> {
    let blank = |text: &str| text.trim().is_empty();
    match (blank(&question), blank(&answer)) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(Conversation::pair(question, answer))),
        (true, false) => Err(format!("the question, field `{}`, is empty", names[places.question])),
        (false, true) => Err(format!("the answer, field `{}`, is empty", names[places.answer])),
    }
}

fn string(value: &str) -> Result<String, String> {
    match value.starts_with('"') {
        true => serde_json::from_str(value).map_err(|error| format!("cannot be read: {error}")),
        false => Err(format!("is {}, expected a string", kind_of(value))),
    }
}

/// The messages of a list.
fn messages(value: &str, field: &str, role: &str, content: &str) -> Result<Vec<Message>, String> {
    if !value.starts_with('[') {
        return Err(format!(
            "field `{field}` is {}, expected a list of messages",
            kind_of(value)
        ));
    }
    let rows: Vec<Row<'_>> = serde_json::from_str(value).map_err(|error| {
        format!("field `{field}`: expected a list of objects with `{role}` and `{content}`: {error}")
    })?;
    let read = |(number, row): (usize, &Row<'_>)| {
        let at = |message: String| format!("message {} of `{field}`: {message}", number + 1);
        let text = |name: &str| match row.get(name) {
            Some(value) => string(value.get()).map_err(|error| at(format!("`{name}` {error}"))),
            None => {
                let names: Vec<&str> = row.keys().map(String::as_str).collect();
                Err(at(format!("no `{name}`; there is {}", list(&names))))
            }
        };
        let name = text(role)?;
        let role: Role = name.parse().map_err(|_| {
            let name = shorten(&name);
            at(format!("role {name}; expected system, user or assistant"))
        })?;
        let content = text(content)?;
        if role == Role::Assistant && content.trim().is_empty() {
            return Err(at("the answer is empty".into()));
        }
        Ok(Message { role, content })
    };
    rows.iter().enumerate().map(read).collect()
}

fn checked(messages: Vec<Message>) -> Result<Conversation, String> {
    match messages.iter().any(|message| message.role == Role::Assistant) {
        true => Ok(Conversation { messages }),
        false => Err(format!(
            "{} messages and none of the assistant's: nothing to learn",
            messages.len()
        )),
    }
}
