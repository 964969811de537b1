//! Where questions come from: a terminal, line by line with editing, or a pipe.

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use std::io::{BufRead, IsTerminal};

/// Begins and ends text of several lines.
const QUOTES: &str = "\"\"\"";

/// What came.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Text(String),
    /// Ctrl-C instead of a line.
    Interrupted,
    End,
}

/// A terminal whose lines are edited and recalled, or a pipe.
pub(super) enum Input {
    Terminal(Box<Editor<(), MemHistory>>),
    Pipe,
}

impl Input {
    /// The terminal where standard input is one and a person reads the answers.
    pub(super) fn open(json: bool) -> anyhow::Result<Self> {
        if json || !std::io::stdin().is_terminal() {
            return Ok(Input::Pipe);
        }
        let editor = Editor::with_history(Config::default(), MemHistory::new());
        Ok(Input::Terminal(Box::new(
            editor.context("the terminal cannot be used")?,
        )))
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Input::Terminal(_))
    }

    /// The next question, of one line or more.
    pub(super) fn next(&mut self) -> anyhow::Result<Line> {
        let text = match whole(|first| self.line(first))? {
            Line::Text(text) => text,
            other => return Ok(other),
        };
        if let Input::Terminal(editor) = self
            && !text.trim().is_empty()
        {
            editor.add_history_entry(&text)?;
        }
        Ok(Line::Text(text))
    }

    fn line(&mut self, first: bool) -> anyhow::Result<Line> {
        match self {
            Input::Terminal(editor) => match editor.readline(if first { "> " } else { ". " }) {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                Err(error) => Err(error.into()),
            },
            Input::Pipe => {
                let mut line = String::new();
                let read = std::io::stdin().lock().read_line(&mut line);
                if read.map_err(crate::tokenizer::not_text)? == 0 {
                    return Ok(Line::End);
                }
                let text = line.strip_suffix('\n').unwrap_or(&line);
                Ok(Line::Text(text.strip_suffix('\r').unwrap_or(text).to_owned()))
            }
        }
    }
}

/// One text of as many lines as it goes on for; `line(first)` gives each. What the end of the input cuts off counts as it is.
fn whole(mut line: impl FnMut(bool) -> anyhow::Result<Line>) -> anyhow::Result<Line> {
    let mut part = match line(true)? {
        Line::Text(text) => text,
        other => return Ok(other),
    };
    if let Some(begun) = part.trim_start().strip_prefix(QUOTES) {
        let mut text = begun.to_owned();
        loop {
            if let Some(done) = text.trim_end().strip_suffix(QUOTES) {
                return Ok(Line::Text(done.trim_matches('\n').to_owned()));
            }
            match line(false)? {
                Line::Text(next) => text = format!("{text}\n{next}"),
                Line::Interrupted => return Ok(Line::Interrupted),
                Line::End => return Ok(Line::Text(text.trim_matches('\n').to_owned())),
            }
        }
    }
    let mut text = String::new();
    loop {
        let Some(begun) = part.strip_suffix('\\') else {
            return Ok(Line::Text(text + &part));
        };
        text = format!("{text}{begun}\n");
        part = match line(false)? {
            Line::Text(next) => next,
            Line::Interrupted => return Ok(Line::Interrupted),
            Line::End => return Ok(Line::Text(text.trim_end_matches('\n').to_owned())),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<Line> {
        let mut lines = lines.iter();
        let mut all = Vec::new();
        loop {
            let next = whole(|_| {
                Ok(match lines.next() {
                    None => Line::End,
                    Some(&"^C") => Line::Interrupted,
                    Some(line) => Line::Text((*line).to_owned()),
                })
            })
            .unwrap();
            if next == Line::End {
                return all;
            }
            all.push(next);
        }
    }

    #[test]
    fn texts_of_several_lines_are_put_together() {
        let text = |text: &str| Line::Text(text.into());
        assert_eq!(
            read(&["a", "", "b\\", "c\\", "d"]),
            [text("a"), text(""), text("b\nc\nd")]
        );
        assert_eq!(
            read(&["\"\"\"안녕", "", "하세요\"\"\"", "x"]),
            [text("안녕\n\n하세요"), text("x")]
        );
        assert_eq!(read(&["\"\"\"", "two", "lines", "\"\"\""]), [text("two\nlines")]);
        assert_eq!(read(&["\"\"\"one\"\"\""]), [text("one")]);
        assert_eq!(read(&["a\\", "^C", "b"]), [Line::Interrupted, text("b")]);
        // What the end cuts off.
        assert_eq!(read(&["a\\"]), [text("a")]);
        assert_eq!(read(&["\"\"\"a", "b"]), [text("a\nb")]);
    }
}
