//! From a conversation to ids, and to what is learned of them.

use super::ChatTemplate;
use crate::{Conversation, Error, Message, Role, Tokenizer};

/// A conversation as tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Example {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Which of them are learned: those of answers, and the token that ends each. As long as `ids`.
    pub learn: Vec<bool>,
}

/// A part of the rendered text that is tokenised for itself.
struct Piece<'t> {
    text: &'t str,
    learn: bool,
}

impl ChatTemplate {
    /// The tokens of a conversation. Learned are those that a model has to write: everything from the end of the
    /// prompt to the end of the answer, and the special token that closes it.
    ///
    /// An answer is tokenised apart from what comes before it, as it is when a model writes it: the ids begin with those of
    /// [`encode_prompt`](ChatTemplate::encode_prompt) of the messages before any answer. The name of a special token is
    /// that token where the template writes it, and ordinary letters within a message.
    ///
    /// # Errors
    /// [`Error::Template`] as [`render`](ChatTemplate::render), or where the text of the messages before an answer is not
    /// the beginning of the whole, so that nobody can say where the answer is.
    ///
    /// ```
    /// use foretoken_text::{ChatTemplate, Conversation, Tokenizer};
    /// let tokenizer = Tokenizer::byte();
    /// let example = ChatTemplate::plain(&tokenizer).encode(&tokenizer, &Conversation::pair("1+1?", "2"))?;
    /// assert_eq!(tokenizer.decode(&example.ids)?, "1+1?\n 2<|endoftext|>");
    /// assert_eq!(example.learn, [false, false, false, false, false, true, true, true]);
    /// # Ok::<(), foretoken_text::Error>(())
    /// ```
    pub fn encode(&self, tokenizer: &Tokenizer, conversation: &Conversation) -> Result<Example, Error> {
        self.example(tokenizer, &conversation.messages, false)
    }

    /// The tokens that an answer to the last of these messages follows.
    ///
    /// # Errors
    /// As [`encode`](ChatTemplate::encode).
    pub fn encode_prompt(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>, Error> {
        Ok(self.example(tokenizer, messages, true)?.ids)
    }

    fn example(&self, tokenizer: &Tokenizer, messages: &[Message], prompt: bool) -> Result<Example, Error> {
        let names: Vec<&str> = tokenizer
            .special_tokens()
            .map(|(_, name)| name)
            .filter(|name| !name.is_empty())
            .collect();
        let guard = Guard::new(messages)?;
        let messages: Vec<Message> = messages.iter().map(|message| guard.hide(message, &names)).collect();
        let whole = self.render(&messages, prompt)?;
        let mut example = Example::default();
        for piece in self.pieces(&messages, &whole, &names)? {
            let start = example.ids.len();
            guard.encode(tokenizer, piece.text, &names, &mut example.ids);
            let count = example.ids.len() - start;
            example.learn.extend(std::iter::repeat_n(piece.learn, count));
        }
        Ok(example)
    }

    /// Cuts the text around each answer.
    fn pieces<'t>(&self, messages: &[Message], whole: &'t str, names: &[&str]) -> Result<Vec<Piece<'t>>, Error> {
        let mut pieces = Vec::new();
        let mut done = 0;
        for (index, message) in messages.iter().enumerate() {
            if message.role != Role::Assistant {
                continue;
            }
            let before = self.render(&messages[..index], true)?;
            if before.len() < done || !whole.starts_with(&before) {
                return Err(Error::Template(format!(
                    "the text up to message {} is not the beginning of the whole conversation's: which tokens are the \
                     answer cannot be said",
                    index + 1
                )));
            }
            let rest = &whole[before.len()..];
            // Templates trim answers.
            let content = message.content.trim();
            let answer = rest.find(content).map_or(0, |at| at + content.len());
            let closing = names
                .iter()
                .filter_map(|name| Some((rest[answer..].find(name)?, name.len())))
                .min_by_key(|&(at, length)| (at, std::cmp::Reverse(length)));
            // A token that begins the next message ends no answer.
            let next = match messages.get(index + 1) {
                Some(_) => self
                    .render(&messages[..=index], false)?
                    .len()
                    .saturating_sub(before.len()),
                None => rest.len(),
            };
            let end = match closing.map(|(at, length)| answer + at + length) {
                Some(end) if end <= next => end,
                _ => answer,
            };
            let (prompt, end) = (before.len(), before.len() + end);
            pieces.push(Piece {
                text: &whole[done..prompt],
                learn: false,
            });
            pieces.push(Piece {
                text: &whole[prompt..end],
                learn: true,
            });
            done = end;
        }
        pieces.push(Piece {
            text: &whole[done..],
            learn: false,
        });
        Ok(pieces)
    }
}

/// Keeps the names of special tokens in messages from becoming them: a character that is in no message breaks the names
/// before the template is applied, and is taken out again before the tokeniser is. Templates see the messages otherwise as they
/// are, so that trimming and comparing work.
struct Guard(char);

impl Guard {
    /// The characters that Unicode sets aside for such use, of which any text may still hold some.
    fn new(messages: &[Message]) -> Result<Guard, Error> {
        let unused = |c: &char| messages.iter().all(|message| !message.content.contains(*c));
        let found = ('\u{FDD0}'..='\u{FDEF}').find(unused);
        found
            .map(Guard)
            .ok_or_else(|| Error::Template("the messages hold all of U+FDD0 to U+FDEF, which are no characters".into()))
    }

    fn hide(&self, message: &Message, names: &[&str]) -> Message {
        let mut content = message.content.clone();
        for name in names {
            if content.contains(name) {
                let first = name.chars().next().map_or(0, char::len_utf8);
                let broken = format!("{}{}{}", &name[..first], self.0, &name[first..]);
                content = content.replace(name, &broken);
            }
        }
        Message {
            role: message.role,
            content,
        }
    }

    /// Appends the ids of `text`: names of special tokens that are whole are these, the rest is ordinary text.
    fn encode(&self, tokenizer: &Tokenizer, text: &str, names: &[&str], ids: &mut Vec<u32>) {
        if !text.contains(self.0) {
            ids.extend(tokenizer.encode_with_special(text));
            return;
        }
        let mut rest = text;
        loop {
            let special = names
                .iter()
                .filter_map(|name| Some((rest.find(name)?, name.len())))
                .min_by_key(|&(at, length)| (at, std::cmp::Reverse(length)));
            let Some((at, length)) = special else { break };
            ids.extend(tokenizer.encode(&rest[..at].replace(self.0, "")));
            ids.extend(tokenizer.encode_with_special(&rest[at..at + length]));
            rest = &rest[at + length..];
        }
        ids.extend(tokenizer.encode(&rest.replace(self.0, "")));
    }
}
