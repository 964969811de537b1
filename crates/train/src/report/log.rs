//! The log of a run, read while it may still grow.

use crate::error::Error;
use crate::metrics::Metrics;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// No line of a log is longer.
const MAX_LINE: u64 = 1 << 20;
/// No log has more lines: 2 GiB of steps in memory.
const MAX_LINES: usize = 1 << 24;

/// What a log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// A row a step, in order.
    pub metrics: Vec<Metrics>,
    /// Whether the last line was cut off.
    pub torn: bool,
}

/// One line, with whatever it lacks: a rate that is no number is written as null.
#[derive(Deserialize)]
#[serde(expecting = "an object with the fields of a step")]
struct Row {
    step: u64,
    #[serde(default)]
    tokens: u64,
    time_s: Option<f64>,
    train_loss: Option<f64>,
    val_loss: Option<f64>,
    val_bits_per_byte: Option<f64>,
    lr: Option<f64>,
    grad_norm: Option<f64>,
    tokens_per_s: Option<f64>,
    share_of_limit: Option<f64>,
    memory: Option<u64>,
    #[serde(default)]
    skipped: u64,
}

/// How far a log was read: only what was appended since needs to be read again.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// Bytes of its whole lines.
    end: u64,
    /// How many they are.
    lines: u64,
    /// The last of them: a log that was cut back by a resumed run, and grew again, has another there.
    last: Vec<u8>,
}

/// Reads `metrics.jsonl`. A file that is not there yet is an empty log; a last line without its end is left out. What is no number
/// in `lr`, `tokens_per_s` and `time_s` becomes NaN.
///
/// # Errors
/// [`Error::LogLine`] for a line that is no step, or whose step is not above the one before; [`Error::Read`].
pub fn read_metrics(path: &Path) -> Result<Log, Error> {
    let mut log = Log::default();
    read_on(path, &mut log, &mut Position::default())?;
    Ok(log)
}

/// Reads on where `position` is; from the beginning where the log is no longer the one that was read to there.
pub(super) fn read_on(path: &Path, log: &mut Log, position: &mut Position) -> Result<(), Error> {
    let failed = |source| Error::Read {
        path: path.into(),
        source,
    };
    let mut reader = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (*log, *position) = (Log::default(), Position::default());
            return Ok(());
        }
        file => BufReader::new(file.map_err(failed)?),
    };
    if !goes_on(&mut reader, position).map_err(failed)? {
        (*log, *position) = (Log::default(), Position::default());
        reader.rewind().map_err(failed)?;
    }
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut bytes)
            .map_err(failed)?;
        let bad = |message: String| Error::LogLine {
            path: path.into(),
            line: position.lines + 1,
            message,
        };
        if bytes.len() as u64 == MAX_LINE {
            return Err(bad(format!("it is longer than {MAX_LINE} bytes")));
        }
        let Some((b'\n', text)) = bytes.split_last() else {
            log.torn = !bytes.is_empty();
            return Ok(());
        };
        let row = parse(text).map_err(bad)?;
        if let Some(before) = log.metrics.last().filter(|before| before.step >= row.step) {
            return Err(bad(format!("step {} after step {}", row.step, before.step)));
        }
        if log.metrics.len() == MAX_LINES {
            return Err(bad(format!("there are more than {MAX_LINES} lines")));
        }
        log.metrics.push(row);
        position.end += bytes.len() as u64;
        position.lines += 1;
        position.last.clone_from(&bytes);
    }
}

/// Whether the last line that was read still stands where it stood; the reader then stands behind it.
fn goes_on(reader: &mut BufReader<File>, position: &Position) -> io::Result<bool> {
    reader.seek(SeekFrom::Start(position.end - position.last.len() as u64))?;
    let mut there = vec![0; position.last.len()];
    match reader.read_exact(&mut there) {
        Ok(()) => Ok(there == position.last),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn parse(line: &[u8]) -> Result<Metrics, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    let said = |error: serde_json::Error| {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(&*message, |(said, _)| said);
        message.replace(char::is_control, "\u{fffd}")
    };
    let row: Row = match serde_json::from_str(text) {
        Ok(row) => row,
        // As Python writes what is no number. No line holds text in which the words could mean something else.
        Err(_) if text.contains("NaN") || text.contains("Infinity") => {
            let mended = text
                .replace("-Infinity", "null")
                .replace("Infinity", "null")
                .replace("NaN", "null");
            serde_json::from_str(&mended).map_err(said)?
        }
        Err(error) => return Err(said(error)),
    };
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    let number = |value: Option<f64>| finite(value).unwrap_or(f64::NAN);
    Ok(Metrics {
        step: row.step,
        tokens: row.tokens,
        time_s: number(row.time_s),
        train_loss: finite(row.train_loss),
        val_loss: finite(row.val_loss),
        val_bits_per_byte: finite(row.val_bits_per_byte),
        lr: number(row.lr),
        grad_norm: finite(row.grad_norm),
        tokens_per_s: number(row.tokens_per_s),
        share_of_limit: finite(row.share_of_limit),
        memory: row.memory,
        skipped: row.skipped,
    })
}
