//! Multiple-choice questions, a JSON object a line.

use crate::error::Error;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{BufRead, Read};

/// The most bytes of a line.
pub const LARGEST_QUESTION: u64 = 1 << 20;

/// The most bytes of all questions, which are held in memory.
pub const LARGEST_QUESTIONS: u64 = 256 << 20;

/// The names of a question's fields, the first that is there counts: what people write, and what the tasks of lm-eval and the
/// data sets behind them hold.
const PROMPT: &[&str] = &["query", "prompt", "question", "ctx"];
const CHOICES: &[&str] = &["choices", "endings", "options"];
const ANSWER: &[&str] = &["gold", "answer", "label", "answerKey"];

/// A question and what may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What stands before the answer; may be empty.
    pub prompt: String,
    /// The answers, at least two, none empty.
    pub choices: Vec<String>,
    /// The place of the right one.
    pub answer: usize,
    /// The line it was read from, counted from 1.
    pub line: u64,
}

/// Reads questions, a JSON object a line; blank lines are passed over, fields that are not named here are left alone.
///
/// The prompt is a string under `query`, `prompt`, `question` or `ctx`, the first of these that is there. The choices are a list
/// of strings under `choices`, `endings` or `options`, or `{"text": [..], "label": [..]}`. The answer is under `gold`, `answer`,
/// `label` or `answerKey`: a number counted from 0, or a string that is one of the choices, one of their labels, a letter
/// from `A`, or such a number.
///
/// # Errors
/// [`Error::Question`] for the first line that is none, [`Error::Questions`] where there is no question, more than
/// [`LARGEST_QUESTIONS`] bytes, or the system refuses.
///
/// ```
/// use foretoken::eval::read_questions;
/// let lines = r#"{"question": "나무는 무슨 색?", "choices": ["초록", "빨강"], "answer": "초록"}"#;
/// let questions = read_questions("colours.jsonl", lines.as_bytes())?;
/// assert_eq!((questions[0].prompt.as_str(), questions[0].answer), ("나무는 무슨 색?", 0));
/// # Ok::<(), foretoken::Error>(())
/// ```
pub fn read_questions(origin: &str, lines: impl BufRead) -> Result<Vec<Question>, Error> {
    read(origin, lines, LARGEST_QUESTIONS)
}

fn read(origin: &str, mut lines: impl BufRead, limit: u64) -> Result<Vec<Question>, Error> {
    let failed = |message: String| Error::Questions {
        origin: origin.to_owned(),
        message,
    };
    let (mut questions, mut buffer) = (Vec::new(), Vec::new());
    let (mut line, mut total) = (0, 0);
    loop {
        buffer.clear();
        let read = lines.by_ref().take(LARGEST_QUESTION + 1).read_until(b'\n', &mut buffer);
        let read = read.map_err(|error| failed(error.to_string()))? as u64;
        if read == 0 {
            break;
        }
        (line, total) = (line + 1, total + read);
        if total > limit {
            return Err(failed(format!(
                "more than {limit} bytes of questions; give fewer at a time"
            )));
        }
        let bytes = match line {
            1 => buffer.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&buffer),
            _ => &buffer,
        };
        if let Some(question) = question(bytes, line).map_err(|message| Error::Question {
            origin: origin.to_owned(),
            line,
            message: message.replace(char::is_control, "\u{fffd}"),
        })? {
            questions.push(question);
        }
    }
    match questions.is_empty() {
        true => Err(failed(
            "no question; expected a JSON object on each line, with a prompt, choices and an answer".into(),
        )),
        false => Ok(questions),
    }
}

fn question(bytes: &[u8], line: u64) -> Result<Option<Question>, String> {
    if bytes.len() as u64 > LARGEST_QUESTION {
        return Err(format!("longer than {LARGEST_QUESTION} bytes; is a line end missing?"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        format!(
            "not UTF-8 at byte {} of the line; convert it first",
            error.valid_up_to()
        )
    })?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let Fields(fields) = serde_json::from_str(text).map_err(|error| {
        // The line is the file's, which is said anyway.
        format!("expected a JSON object: {error}").replace(" at line 1 column ", " at column ")
    })?;
    let (name, prompt) = field(&fields, PROMPT)?;
    let prompt: String = parse(name, prompt, "a string")?;
    let (choices, labels) = choices(&fields)?;
    let (name, answer) = field(&fields, ANSWER)?;
    let answer = place(name, answer, &choices, &labels)?;
    Ok(Some(Question {
        prompt,
        choices,
        answer,
        line,
    }))
}

/// The fields of a line as they stand there: of those that are not read, nothing is built up.
struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("field `{name}` twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The first of some names that is there, and its value.
fn field<'a>(
    fields: &BTreeMap<String, &'a RawValue>,
    names: &[&'static str],
) -> Result<(&'static str, &'a str), String> {
    let found = names.iter().find_map(|&name| Some((name, fields.get(name)?.get())));
    found.ok_or_else(|| {
        let expected = names.join("`, `");
        let found: Vec<String> = fields
            .keys()
            .take(10)
            .map(|name| format!("`{}`", shorten(name)))
            .collect();
        format!("no field `{expected}`; there is {}", found.join(", "))
    })
}

fn parse<'a, T: Deserialize<'a>>(name: &str, value: &'a str, expected: &str) -> Result<T, String> {
    serde_json::from_str(value).map_err(|_| format!("field `{name}` is {}, expected {expected}", shorten(value)))
}

/// A set of choices as ARC has it.
#[derive(Deserialize)]
struct Labelled {
    text: Vec<String>,
    label: Vec<String>,
}

/// The choices, and their labels where they have some.
fn choices(fields: &BTreeMap<String, &RawValue>) -> Result<(Vec<String>, Vec<String>), String> {
    let (name, value) = field(fields, CHOICES)?;
    let (choices, labels) = match value.starts_with('{') {
        true => {
            let expected = "`text` and `label`, a list of strings each";
            let Labelled { text, label } = parse(name, value, expected)?;
            if text.len() != label.len() {
                return Err(format!(
                    "field `{name}` has {} texts and {} labels",
                    text.len(),
                    label.len()
                ));
            }
            (text, label)
        }
        false => (parse(name, value, "a list of strings")?, Vec::new()),
    };
    if choices.len() < 2 {
        return Err(format!(
            "field `{name}` has {} choices, expected two or more",
            choices.len()
        ));
    }
    match choices.iter().position(String::is_empty) {
        Some(empty) => Err(format!("choice {empty} of `{name}` (counted from 0) is empty")),
        None => Ok((choices, labels)),
    }
}

/// Which choice the answer is.
fn place(name: &str, value: &str, choices: &[String], labels: &[String]) -> Result<usize, String> {
    let refused = || {
        let count = choices.len();
        format!(
            "field `{name}` is {}, expected the place of a choice (0 to {}), its letter or label, or its text",
            shorten(value),
            count - 1
        )
    };
    let inside = |place: usize| (place < choices.len()).then_some(place).ok_or_else(refused);
    if !value.starts_with('"') {
        return inside(serde_json::from_str(value).map_err(|_| refused())?);
    }
    let text: String = parse(name, value, "a string")?;
    let mut same = choices.iter().enumerate().filter(|(_, choice)| **choice == text);
    if let Some((place, _)) = same.next() {
        return match same.next() {
            None => Ok(place),
            Some(_) => Err(format!(
                "field `{name}` is {}, which is the text of more than one choice: give its place",
                shorten(value)
            )),
        };
    }
    if let Some(place) = labels.iter().position(|label| *label == text) {
        return Ok(place);
    }
    match text.as_bytes() {
        [letter @ b'A'..=b'Z'] => inside(usize::from(letter - b'A')),
        _ => inside(text.parse().map_err(|_| refused())?),
    }
}

/// The start of a value, short enough for a message.
fn shorten(value: &str) -> String {
    const LONGEST: usize = 40;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Question {
        read_questions("q.jsonl", line.as_bytes()).unwrap().remove(0)
    }

    fn error(lines: &[u8]) -> String {
        let error = read_questions("q.jsonl", lines).unwrap_err();
        assert!(matches!(error, Error::Question { .. } | Error::Questions { .. }));
        error.to_string()
    }

    #[test]
    fn fields_by_the_names_that_people_use() {
        for (line, answer) in [
            (r#"{"prompt": "p", "choices": ["x", "y", "z"], "answer": 2}"#, 2),
            (r#"{"question": "p", "choices": ["x", "y", "z"], "answer": "y"}"#, 1),
            (r#"{"question": "p", "options": ["x", "y", "z"], "answer": "C"}"#, 2),
            (
                r#"{"query": "p", "choices": ["x", "y", "z"], "gold": 0, "ctx": "other"}"#,
                0,
            ),
            (
                r#"{"ctx": "p", "endings": ["x", "y", "z"], "label": "1", "ind": {"deep": [1]}}"#,
                1,
            ),
            (
                r#"{"question": "p", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}, "answerKey": "1"}"#,
                0,
            ),
        ] {
            let question = one(line);
            assert_eq!((question.prompt.as_str(), question.line), ("p", 1), "{line}");
            assert_eq!(question.choices, ["x", "y", "z"], "{line}");
            assert_eq!(question.answer, answer, "{line}");
        }
        // A text that looks like a place is a text first.
        assert_eq!(one(r#"{"prompt": "", "choices": ["1", "0"], "answer": "0"}"#).answer, 1);
        let lines = "\u{feff}{\"prompt\":\"가\",\"choices\":[\"나\",\"다\"],\"answer\":\"다\"}\r\n\n  \n\
                     {\"prompt\":\"\",\"choices\":[\"a\",\"b\"],\"answer\":0}";
        let questions = read_questions("q.jsonl", lines.as_bytes()).unwrap();
        assert_eq!(
            questions.iter().map(|question| question.line).collect::<Vec<_>>(),
            [1, 4]
        );
        assert_eq!((questions[0].prompt.as_str(), questions[0].answer), ("가", 1));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let good = r#"{"prompt": "p", "choices": ["x", "y"], "answer": 0}"#;
        for (line, says) in [
            ("nonsense", "expected a JSON object"),
            ("[1]", "expected a JSON object"),
            ("{}", "no field `query`, `prompt`, `question`, `ctx`; there is"),
            (
                r#"{"prompt": 3, "choices": ["x", "y"], "answer": 0}"#,
                "field `prompt` is 3, expected a string",
            ),
            (
                r#"{"prompt": "p", "answer": 0}"#,
                "no field `choices`, `endings`, `options`; there is `answer`, `prompt`",
            ),
            (
                r#"{"prompt": "p", "choices": "xy", "answer": 0}"#,
                r#"field `choices` is "xy", expected a list"#,
            ),
            (
                r#"{"prompt": "p", "choices": ["x", 2], "answer": 0}"#,
                "expected a list of strings",
            ),
            (
                r#"{"prompt": "p", "choices": ["x"], "answer": 0}"#,
                "has 1 choices, expected two",
            ),
            (
                r#"{"prompt": "p", "choices": ["x", ""], "answer": 0}"#,
                "choice 1 of `choices` (counted from 0) is empty",
            ),
            (
                r#"{"prompt": "p", "choices": ["x", "y"]}"#,
                "no field `gold`, `answer`, `label`, `answerKey`",
            ),
            (
                r#"{"prompt": "p", "choices": ["x", "y"], "answer": 2}"#,
                "is 2, expected the place of a choice (0 to 1)",
            ),
            (
                r#"{"prompt": "p", "choices": ["x", "y"], "answer": -1}"#,
                "field `answer` is -1",
            ),
            (
                r#"{"prompt": "p", "choices": ["x", "y"], "answer": 1e99}"#,
                "field `answer` is 1e99",
            ),
            (
                r#"{"prompt": "p", "choices": ["x", "y"], "answer": null}"#,
                "field `answer` is null",
            ),
            (
                r#"{"prompt": "p", "choices": ["x", "y"], "answer": "C"}"#,
                r#"field `answer` is "C""#,
            ),
            (
                r#"{"prompt": "p", "choices": ["x", "y"], "answer": "99999999999999999999"}"#,
                "field `answer`",
            ),
            (
                r#"{"prompt": "p", "choices": ["x", "x"], "answer": "x"}"#,
                "text of more than one choice",
            ),
            (
                r#"{"prompt": "p", "prompt": "q", "choices": ["x", "y"], "answer": 0}"#,
                "field `prompt` twice",
            ),
            (
                r#"{"prompt": "p", "choices": {"text": ["x", "y"], "label": ["A"]}, "answer": 0}"#,
                "2 texts and 1 labels",
            ),
            (
                r#"{"prompt": "p", "choices": {"text": "xy"}, "answer": 0}"#,
                "expected `text` and `label`",
            ),
            (
                r#"{"prompt": "\ud800", "choices": ["x", "y"], "answer": 0}"#,
                "field `prompt`",
            ),
        ] {
            let error = error(format!("{good}\n\n{line}\n{good}\n").as_bytes());
            assert!(
                error.starts_with("q.jsonl:3: ") && error.contains(says),
                "{line}: {error}"
            );
            assert!(error.lines().count() == 1 && error.len() < 300, "{error}");
        }
        let deep = format!("{{\"prompt\": {}", "[".repeat(100_000));
        for (lines, says) in [
            (&b""[..], "q.jsonl: no question"),
            (b"\n \n", "q.jsonl: no question"),
            (b"{\"prompt\": \"\xff\"}", "q.jsonl:1: not UTF-8 at byte 12"),
            (b"\xef\xbb\xbf{\0}", "q.jsonl:1: expected a JSON object"),
            (deep.as_bytes(), "q.jsonl:1: expected a JSON object"),
            (
                &vec![b' '; LARGEST_QUESTION as usize + 1],
                "q.jsonl:1: longer than 1048576 bytes",
            ),
        ] {
            let error = error(lines);
            assert!(error.starts_with(says), "{error}");
        }
        // What is not read may be as deep as it likes, as long as it is JSON; and nothing is built up of it.
        let long = format!(
            r#"{{"more": [{}1], "prompt": "p", "choices": ["x", "y"], "answer": 1}}"#,
            "0,".repeat(500_000)
        );
        assert_eq!(one(&long).answer, 1);
        // Lines without end.
        let endless = std::io::BufReader::new(std::io::repeat(b'\n'));
        let error = read("-", endless, 1000).unwrap_err().to_string();
        assert!(error.contains("more than 1000 bytes"), "{error}");
    }
}
