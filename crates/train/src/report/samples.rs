//! Texts that a run writes while it trains, kept beside its log.

use crate::error::Error;
use foretoken_formats::durable::AppendLog;
use foretoken_formats::json;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::SystemTime;

const SAMPLES: &str = "samples.jsonl";
/// Most bytes of all samples that are read.
const MOST: u64 = 256 << 20;

/// A text that a run wrote. The same object is a line of `samples.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Steps done when it was written.
    pub step: u64,
    /// What the model went on from; empty where it began by itself.
    pub prompt: String,
    /// What it wrote.
    pub text: String,
}

/// `samples.jsonl` of a run that goes on.
#[derive(Debug)]
pub struct SampleLog(AppendLog);

impl SampleLog {
    /// Opens the samples of a run that stands at `step`: later ones, which a resumed run writes again, go.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(run: &Path, step: u64) -> Result<Self, Error> {
        let keep = |line: &str| serde_json::from_str::<Sample>(line).is_ok_and(|sample| sample.step <= step);
        Ok(Self(AppendLog::open(run.join(SAMPLES), keep)?))
    }

    /// Adds a sample; of one that is longer than a line may be, nothing.
    ///
    /// # Errors
    /// Of the disk.
    pub fn append(&mut self, sample: &Sample) -> Result<(), Error> {
        let line = serde_json::to_string(sample).expect("plain fields");
        if line.len() < 1 << 20 {
            self.0.append(&line)?;
        }
        Ok(())
    }
}

/// The samples that were read, and of which file.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Its bytes, and when it was written.
    stamp: Option<(u64, SystemTime)>,
    /// Every sample there is, also of steps that are not logged.
    all: Vec<Sample>,
}

impl Kept {
    /// The samples of a run up to step `last`; without a torn last line. A file that is as it was is not read again.
    pub(super) fn read(&mut self, run: &Path, last: u64) -> Result<Vec<Sample>, Error> {
        let path = run.join(SAMPLES);
        let stamp = std::fs::metadata(&path).ok();
        let stamp = stamp.and_then(|file| Some((file.len(), file.modified().ok()?)));
        if self.stamp.is_none() || self.stamp != stamp {
            self.all = all(&path)?;
            self.stamp = stamp;
        }
        // A run that was killed and resumed may not have come so far again.
        let logged = self.all.iter().filter(|sample| sample.step <= last);
        Ok(logged.cloned().collect())
    }
}

fn all(path: &Path) -> Result<Vec<Sample>, Error> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = json::read_bytes(path, MOST)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end);
    let mut samples = Vec::new();
    for (i, line) in bytes[..whole].split(|&byte| byte == b'\n').enumerate() {
        if line.is_empty() && whole == 0 {
            break;
        }
        let sample: Sample = serde_json::from_slice(line).map_err(|error| Error::LogLine {
            path: path.into(),
            line: i as u64 + 1,
            message: error.to_string().replace(char::is_control, "\u{fffd}"),
        })?;
        samples.push(sample);
    }
    Ok(samples)
}
