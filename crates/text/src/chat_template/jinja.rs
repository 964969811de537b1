//! Jinja as `transformers` sets it up.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, ErrorKind};
use regex::Regex;
use serde::Serialize;

use crate::Error;

/// Steps of a template; a long conversation takes some thousands.
const FUEL: u64 = 5_000_000;

/// The most bytes that are written.
const LARGEST_TEXT: usize = 64 << 20;

/// The one template of an environment.
const NAME: &str = "chat";

pub(super) fn environment(source: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build().map_err(template_error)?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", |format: String| strftime(&format, seconds_now()));
    environment.add_filter("tojson", tojson);
    // The blocks that say what an assistant wrote are no statement of Jinja's.
    static GENERATION: OnceLock<Regex> = OnceLock::new();
    let blocks = GENERATION.get_or_init(|| {
        let pattern = r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}";
        Regex::new(pattern).expect("a pattern of ours")
    });
    let source = blocks.replace_all(source, |found: &regex::Captures<'_>| {
        let block = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {block} {}%}}", &found[1], &found[3])
    });
    environment
        .add_template_owned(NAME, source.into_owned())
        .map_err(template_error)?;
    Ok(environment)
}

pub(super) fn render(environment: &Environment<'_>, values: Value) -> Result<String, Error> {
    let mut text = Bounded(Vec::new());
    let template = environment.get_template(NAME).map_err(template_error)?;
    template.render_captured_to(values, &mut text).map_err(template_error)?;
    String::from_utf8(text.0).map_err(|error| Error::Template(error.to_string()))
}

fn template_error(error: minijinja::Error) -> Error {
    let what = match error.kind() {
        ErrorKind::OutOfFuel => format!("it takes more than {FUEL} steps"),
        ErrorKind::WriteFailure => format!("it writes more than {LARGEST_TEXT} bytes"),
        kind => error.detail().map_or_else(|| kind.to_string(), str::to_owned),
    };
    Error::Template(match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    })
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_TEXT {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn tojson(value: &Value, options: Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let wrong = |message: String| minijinja::Error::new(ErrorKind::InvalidOperation, message);
    if indent.is_some_and(|indent| indent > 16) {
        return Err(wrong("tojson: an indent of more than 16".into()));
    }
    let mut json = Vec::new();
    let spaces = " ".repeat(indent.unwrap_or(0));
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, Spaced)),
        Some(_) => {
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))
        }
    };
    written.map_err(|error| wrong(format!("tojson: {error}")))?;
    String::from_utf8(json).map_err(|error| wrong(error.to_string()))
}

/// JSON on one line with spaces behind commas and colons.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

fn seconds_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs() as i64)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// C's `strftime` of a time in UTC, in English; what is not known is an error.
fn strftime(format: &str, seconds: i64) -> Result<String, minijinja::Error> {
    let days = seconds.div_euclid(86_400);
    let (year, month, day) = civil(days);
    let name = MONTHS[month as usize - 1];
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        text += &match chars.next() {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year.rem_euclid(100)),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => name.to_owned(),
            Some('b') => name[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('H') => format!("{hour:02}"),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('%') => "%".to_owned(),
            other => {
                let message = format!("strftime_now: %{} is not known", other.unwrap_or(' '));
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
            }
        };
    }
    Ok(text)
}

/// Year, month and day of a day after 1970-01-01 in the Gregorian calendar: whole years, then whole months, are taken off.
fn civil(mut days: i64) -> (i64, i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    for month in 1.. {
        let length = match month {
            2 => 28 + i64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if days < length {
            return (year, month, days + 1);
        }
        days -= length;
    }
    unreachable!("a year is over after twelve months")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_names() {
        let text = |seconds| strftime("%A %d %B %Y, %H:%M:%S|%a %b %y %m %%", seconds).unwrap();
        assert_eq!(text(0), "Thursday 01 January 1970, 00:00:00|Thu Jan 70 01 %");
        // `date -u -d @951782400`, and of @1767225599.
        assert_eq!(text(951_782_400), "Tuesday 29 February 2000, 00:00:00|Tue Feb 00 02 %");
        assert_eq!(
            text(1_767_225_599),
            "Wednesday 31 December 2025, 23:59:59|Wed Dec 25 12 %"
        );
        assert!(strftime("%Q", 0).is_err() && strftime("%", 0).is_err());
    }
}
