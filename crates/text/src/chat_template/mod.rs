//! Chat templates: how a conversation is written for a model, and which tokens of it are learned.

mod encode;
mod jinja;

#[cfg(test)]
mod tests;

use minijinja::{Environment, Value, context};

use crate::{Error, Message, Tokenizer};
pub use encode::Example;

/// The most bytes of a template.
const LARGEST_TEMPLATE: usize = 1 << 20;

/// The template of models that have no special token but the end of a text: a message is followed by a line feed, an answer has a space
/// before it and the end token behind it.
const PLAIN: &str = "{% for message in messages %}{% if message['role'] == 'assistant' %}\
                     {{ ' ' + message['content'] + eos_token }}{% else %}{{ message['content'] + '\\n' }}{% endif %}{% endfor %}";

/// A Jinja template as `transformers` reads it from `tokenizer_config.json`, with the tokens it names.
///
/// Beside Jinja's own there are `raise_exception`, `strftime_now` (in UTC), `tojson` as Python writes it, the methods of
/// Python's strings, `break` and `continue`; white space around blocks is trimmed. `{% generation %}` marks nothing here:
/// what is learned is found by comparison, for every template alike. Steps and output are bounded.
///
/// [`plain`](ChatTemplate::plain) is the template of models trained here:
///
/// ```
/// use foretoken_text::{ChatTemplate, Message, Role, Tokenizer};
/// let template = ChatTemplate::plain(&Tokenizer::byte());
/// let messages = [Message::new(Role::User, "안녕?"), Message::new(Role::Assistant, "반가워.")];
/// assert_eq!(template.render(&messages, false)?, "안녕?\n 반가워.<|endoftext|>");
/// assert_eq!(template.render(&messages[..1], true)?, "안녕?\n");
/// # Ok::<(), foretoken_text::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// A template, and the names of the tokens that begin and end a text (empty where there is none).
    ///
    /// # Errors
    /// [`Error::Template`] where it is not Jinja, or larger than 1 MiB.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<ChatTemplate, Error> {
        if source.len() > LARGEST_TEMPLATE {
            let message = format!("{} bytes; at most {LARGEST_TEMPLATE} are read", source.len());
            return Err(Error::Template(message));
        }
        Ok(ChatTemplate {
            source: source.to_owned(),
            environment: jinja::environment(source)?,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// The template of models trained here, which have no special token but the end of a text: a question, a line feed, a space, the
    /// answer, the end token. A system's message is a line before the question; turns follow each other.
    ///
    /// Without names of speakers nothing has to be learned but that an answer follows a line feed, in any language. The space makes the
    /// answer's first word the token that it is within a text: without it most words are other tokens at the beginning of a line, or
    /// several, and a model has to learn each anew before it can repeat what it read.
    pub fn plain(tokenizer: &Tokenizer) -> ChatTemplate {
        let end = tokenizer.id_to_bytes(tokenizer.eos_id()).unwrap_or_default();
        let end = String::from_utf8_lossy(end);
        ChatTemplate::new(PLAIN, &end, &end).expect("a template of ours")
    }

    /// The template in a `tokenizer_config.json`: `chat_template` is a text, or a list of named ones of which `default` is
    /// taken; `bos_token` and `eos_token` are texts or objects with their `content`. `beside` is the text of a
    /// `chat_template.jinja`, which goes before. None where there is no template.
    ///
    /// # Errors
    /// [`Error::Template`] where `chat_template` is something else, or as [`new`](ChatTemplate::new).
    pub fn from_config(config: &serde_json::Value, beside: Option<&str>) -> Result<Option<ChatTemplate>, Error> {
        let source = match (beside, config.get("chat_template")) {
            (Some(source), _) => source,
            (None, None | Some(serde_json::Value::Null)) => return Ok(None),
            (None, Some(serde_json::Value::String(source))) => source,
            (None, Some(serde_json::Value::Array(named))) => {
                let is_default = |entry: &&serde_json::Value| entry["name"] == "default";
                let entry = named.iter().find(is_default).or(named.first());
                let source = entry.and_then(|entry| entry["template"].as_str());
                source
                    .ok_or_else(|| Error::Template("a list without a `template`; expected name and template".into()))?
            }
            (None, Some(_)) => {
                let message = "chat_template is neither a text nor a list of named ones";
                return Err(Error::Template(message.into()));
            }
        };
        let token = |name: &str| {
            let token = &config[name];
            token.as_str().or_else(|| token["content"].as_str()).unwrap_or_default()
        };
        ChatTemplate::new(source, token("bos_token"), token("eos_token")).map(Some)
    }

    /// The text of the template, as it is written to `tokenizer_config.json`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as the model reads it. `add_generation_prompt` adds what comes before an answer.
    ///
    /// # Errors
    /// [`Error::Template`] where the template refuses the conversation, takes too many steps or writes too much.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, Error> {
        let list: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => message.content.as_str() })
            .collect();
        let values = context! {
            messages => list,
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        jinja::render(&self.environment, values)
    }
}
