//! A conversation with a model.

use crate::error::Error;
use crate::gpt::Gpt;
use crate::write::{GenerateOptions, Text, Writer};
use foretoken_text::{ChatTemplate, Message, Role, Tokenizer};

/// What was answered, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the whole conversation up to the answer, of which `cached_tokens` had been read before, and of the answer.
    pub text: Text,
    /// Messages at the beginning that were forgotten since the conversation did not fit the context.
    pub dropped_messages: usize,
}

/// A conversation whose keys and values stay: each turn, only what is new is read.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let tmp = tempfile::tempdir()?;
/// # let path = foretoken::doc_model(tmp.path())?;
/// let gpt = foretoken::open(&path)?;
/// let options = foretoken::GenerateOptions { max_tokens: 8, ..Default::default() };
/// let mut chat = gpt.chat()?;
/// let answer = chat.say("Hi!", &options, |part| { print!("{part}"); true })?;
/// assert!(answer.text.ids.len() <= 8);
/// assert_eq!(chat.messages().len(), 2);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Chat<'a> {
    writer: Writer<'a>,
    tokenizer: &'a Tokenizer,
    template: ChatTemplate,
    n_positions: usize,
    messages: Vec<Message>,
}

impl Gpt {
    /// Begins a conversation, written with the model's template.
    ///
    /// # Errors
    /// A template that cannot be read, no memory.
    pub fn chat(&self) -> Result<Chat<'_>, Error> {
        Ok(Chat {
            writer: self.writer("")?,
            tokenizer: self.tokenizer(),
            template: self.chat_template()?,
            n_positions: self.model().dims().n_positions,
            messages: Vec::new(),
        })
    }
}

impl Chat<'_> {
    /// What was said so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// How it is written.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// Goes on from other messages: those of a saved conversation, none to begin anew, a system's to say how to answer.
    pub fn set_messages(&mut self, messages: Vec<Message>) {
        self.messages = messages;
    }

    /// Says `text` and gives the answer part by part, without the white space before its first word; `on_text` ends it by returning false, and what came until then is the
    /// answer. A conversation that leaves no room in the context forgets its oldest turns, whole ones, but not the system's
    /// message. After an error, and after an answer of no characters, the conversation is as it was before.
    ///
    /// # Errors
    /// Options that mean nothing, a template that refuses the conversation, no memory.
    pub fn say(
        &mut self,
        text: &str,
        options: &GenerateOptions,
        on_text: impl FnMut(&str) -> bool,
    ) -> Result<Answer, Error> {
        let mut messages = self.messages.clone();
        messages.push(Message::new(Role::User, text));
        let (answer, written) = self.answer(&mut messages, options, on_text)?;
        if !written.is_empty() {
            messages.push(Message::new(Role::Assistant, written));
            self.messages = messages;
        }
        Ok(answer)
    }

    fn answer(
        &mut self,
        messages: &mut Vec<Message>,
        options: &GenerateOptions,
        mut on_text: impl FnMut(&str) -> bool,
    ) -> Result<(Answer, String), Error> {
        // An answer should fit, but not take more than a quarter from what is remembered.
        let room = self.n_positions - options.max_tokens.min(self.n_positions / 4);
        let mut dropped_messages = 0;
        let ids = loop {
            let ids = self.template.encode_prompt(self.tokenizer, messages)?;
            if ids.len() <= room {
                break ids;
            }
            match oldest_turn(messages) {
                Some(turn) => {
                    dropped_messages += turn.len();
                    messages.drain(turn);
                }
                // One question alone is cut as any prompt is.
                None => break ids,
            }
        };
        self.writer.go_on(ids)?;
        let mut written = String::new();
        let text = self.writer.write(options, |part| {
            // Templates begin an answer with a space or a line feed: it is theirs, and they write it again.
            let part = if written.is_empty() { part.trim_start() } else { part };
            written.push_str(part);
            part.is_empty() || on_text(part)
        })?;
        let answer = Answer { text, dropped_messages };
        Ok((answer, written))
    }
}

/// The first question and what follows it up to the next; none where there is no next.
fn oldest_turn(messages: &[Message]) -> Option<std::ops::Range<usize>> {
    let is_system = |message: &&Message| message.role == Role::System;
    let start = messages.iter().take_while(is_system).count();
    let behind = messages.get(start + 1..)?;
    let next = behind.iter().position(|message| message.role == Role::User)?;
    Some(start..start + 1 + next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_reads_only_what_is_new_and_old_turns_are_forgotten_whole() {
        let dir = tempfile::tempdir().unwrap();
        let gpt = crate::open(crate::doc_model(dir.path()).unwrap()).unwrap();
        let options = |max_tokens| GenerateOptions {
            max_tokens,
            ..Default::default()
        };
        let mut chat = gpt.chat().unwrap();
        chat.set_messages(vec![Message::new(Role::System, "S")]);
        // The context is 32 tokens of a byte: S, a line feed, the question, a line feed.
        let first = chat.say("abc", &options(3), |_| true).unwrap();
        assert_eq!((first.text.prompt_tokens, first.text.cached_tokens), (6, 0));
        let second = chat.say("def", &options(3), |_| true).unwrap();
        // Of three tokens of the answer the last was never read.
        let answer = chat.messages()[2].content.clone();
        if first.text.ids == gpt.tokenizer().encode(&answer) {
            assert_eq!(second.text.cached_tokens, 6 + first.text.ids.len() - 1);
        }
        assert!(second.text.cached_tokens >= 6, "the question is never read again");
        let mut dropped = 0;
        for _ in 0..6 {
            dropped += chat.say("ghi", &options(3), |_| true).unwrap().dropped_messages;
            let roles: Vec<Role> = chat.messages().iter().map(|message| message.role).collect();
            assert_eq!(roles[..2], [Role::System, Role::User]);
            assert_eq!(roles.len() % 2, 1, "whole turns");
        }
        assert!(dropped >= 2);
        // Neither a question that fills the context nor an option that means nothing harms the conversation.
        let before = chat.messages().to_vec();
        let mut bad = options(3);
        bad.sampling.temperature = -1.0;
        assert!(chat.say("x", &bad, |_| true).is_err());
        assert_eq!(chat.messages(), before);
        let long = chat.say(&"y".repeat(100), &options(3), |_| true).unwrap();
        assert!(long.text.dropped_tokens > 0);
    }

    #[test]
    fn a_conversation_read_in_turns_has_the_logits_of_one_read_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let gpt = crate::open(crate::doc_model(dir.path()).unwrap()).unwrap();
        let mut greedy = GenerateOptions {
            max_tokens: 4,
            ..Default::default()
        };
        greedy.sampling.temperature = 0.0;
        let mut chat = gpt.chat().unwrap();
        chat.say("Mina", &greedy, |_| true).unwrap();
        let mut again = gpt.chat().unwrap();
        again.set_messages(chat.messages().to_vec());
        let turn = chat.say("went", &greedy, |_| true).unwrap();
        let whole = again.say("went", &greedy, |_| true).unwrap();
        assert!(turn.text.cached_tokens > 0 && whole.text.cached_tokens == 0);
        assert_eq!(turn.text.ids, whole.text.ids);
    }
}
