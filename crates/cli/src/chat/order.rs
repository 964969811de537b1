//! Orders: lines that begin with a slash.

use crate::Usage;
use anyhow::Context;
use foretoken::formats::{durable, json};
use foretoken::text::{Message, Role};
use std::path::Path;

pub(super) const HELP: &str = "\
/reset            forget what was said
/system TEXT      begin anew with this said before everything else; without TEXT with nothing
/temperature X    above 1 more surprising, below 1 safer, 0 always the likeliest token
/save FILE        keep the conversation, as `messages` in JSON
/load FILE        go on with a kept one
/exit             leave, as Ctrl-D does
//TEXT            say a line that begins with a slash
A line that ends with \\ goes on on the next; \"\"\" begins and ends text of several lines. Ctrl-C ends an answer.";

/// The largest conversation that is read.
const LARGEST: u64 = 64 << 20;

/// What a line beginning with a slash asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Order<'a> {
    Reset,
    System(&'a str),
    Temperature(f32),
    Save(&'a Path),
    Load(&'a Path),
    Help,
    Exit,
    /// No order: what to say.
    Say(&'a str),
}

impl<'a> Order<'a> {
    /// `None` where the line is no order.
    pub(super) fn parse(line: &'a str) -> Option<Result<Self, Usage>> {
        let order = line.strip_prefix('/')?;
        if order.starts_with('/') {
            return Some(Ok(Order::Say(order)));
        }
        let (name, rest) = order.split_once(char::is_whitespace).unwrap_or((order, ""));
        let rest = rest.trim();
        let path = || match rest {
            "" => Err(Usage(format!("/{name}: expected the name of a file behind it"))),
            rest => Ok(Path::new(rest)),
        };
        Some(match name {
            "reset" => Ok(Order::Reset),
            "system" => Ok(Order::System(rest)),
            "temperature" => rest
                .parse()
                .map(Order::Temperature)
                .map_err(|_| Usage(format!("/temperature {rest:?}: expected a number, such as 0.7"))),
            "save" => path().map(Order::Save),
            "load" => path().map(Order::Load),
            "help" | "?" => Ok(Order::Help),
            "exit" | "quit" => Ok(Order::Exit),
            _ => Err(Usage(format!(
                "/{name} is no order: expected /reset, /system, /temperature, /save, /load, /help or /exit; \
                 a line beginning with // is said with one slash"
            ))),
        })
    }
}

/// Writes messages as a line of the conversations that `foretoken train` reads. What is there stays.
pub(super) fn save(path: &Path, messages: &[Message]) -> anyhow::Result<()> {
    if path.exists() {
        anyhow::bail!("{} is there already: take another name", path.display());
    }
    let messages: Vec<_> = messages
        .iter()
        .map(|message| serde_json::json!({ "role": message.role.as_str(), "content": message.content }))
        .collect();
    let line = format!("{}\n", serde_json::json!({ "messages": messages }));
    durable::write_bytes(path, line.as_bytes())?;
    Ok(())
}

/// The messages of a conversation that [`save`] kept.
pub(super) fn load(path: &Path) -> anyhow::Result<Vec<Message>> {
    let value: serde_json::Value = json::read_bounded(path, LARGEST)?;
    let expected = || {
        format!(
            "{} is no conversation: expected {{\"messages\": [{{\"role\": …, \"content\": …}}, …]}}",
            path.display()
        )
    };
    let messages = value["messages"].as_array().with_context(expected)?;
    messages
        .iter()
        .map(|message| {
            let field = |name: &str| message[name].as_str().with_context(expected);
            let role: Role = field("role")?
                .parse()
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            Ok(Message::new(role, field("content")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_what_is_none_says_what_there_is() {
        let parse = |line| Order::parse(line).map(|order| order.map_err(|error| error.0));
        assert_eq!(parse("a /reset"), None);
        assert_eq!(parse("/reset"), Some(Ok(Order::Reset)));
        assert_eq!(parse("/system  너는 친절해. "), Some(Ok(Order::System("너는 친절해."))));
        assert_eq!(parse("/temperature 0.5"), Some(Ok(Order::Temperature(0.5))));
        assert_eq!(
            parse("/save my file.json"),
            Some(Ok(Order::Save(Path::new("my file.json"))))
        );
        assert_eq!(
            parse("//usr is a directory"),
            Some(Ok(Order::Say("/usr is a directory")))
        );
        for (line, says) in [
            ("/temperature hot", "expected a number"),
            ("/save", "expected the name of a file"),
            ("/nosuch", "/nosuch is no order"),
            ("/", "/ is no order"),
        ] {
            assert!(parse(line).unwrap().unwrap_err().contains(says), "{line}");
        }
    }
}
