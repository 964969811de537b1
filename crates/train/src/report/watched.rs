//! A run that is read again and again while it goes on.

use super::RunReport;
use super::log::{Log, Position, read_on};
use super::samples::Kept;
use crate::error::Error;
use crate::run::{DATA, METRICS, Run};
use foretoken_formats::json;
use foretoken_model::registry;
use std::path::Path;

/// Most bytes of the small JSON files of a run.
const SMALL: u64 = 1 << 20;

/// A run, and how far it was read: of its log only what is new is read.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use foretoken_train::{Metrics, RunConfig, report::Watched};
/// # let run = tempfile::tempdir()?;
/// # let run = run.path();
/// std::fs::write(run.join("run.toml"), RunConfig::default().to_toml())?;
/// let mut watched = Watched::open(run)?;
/// assert_eq!(watched.report().metrics.len(), 0);
/// let step = Metrics { step: 1, ..Metrics::default() };
/// std::fs::write(run.join("metrics.jsonl"), step.to_line() + "\n")?;
/// assert_eq!(watched.refresh()?.metrics, [step]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Watched {
    report: RunReport,
    position: Position,
    samples: Kept,
}

impl Watched {
    /// Reads the run in a directory.
    ///
    /// # Errors
    /// As [`RunReport::read`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let absolute = dir.canonicalize();
        let name = absolute.as_deref().unwrap_or(dir).file_name();
        let mut watched = Self {
            report: RunReport {
                name: name.map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned()),
                path: dir.into(),
                config: Run::config(dir)?,
                data: None,
                metrics: Vec::new(),
                torn: false,
                samples: Vec::new(),
                parameters: None,
                vocab_size: None,
                running: false,
            },
            position: Position::default(),
            samples: Kept::default(),
        };
        watched.refresh()?;
        Ok(watched)
    }

    /// What was read last.
    pub fn report(&self) -> &RunReport {
        &self.report
    }

    /// Reads what is new: a log that was appended to from where it ended, one that a resumed run has cut back as a whole.
    ///
    /// # Errors
    /// As [`RunReport::read`]; what was read before stays.
    pub fn refresh(&mut self) -> Result<&RunReport, Error> {
        let report = &mut self.report;
        let dir = &report.path;
        // First: what a run that ends just now has written last is then seen, too.
        report.running = crate::claim::is_taken(dir);
        report.config = Run::config(dir)?;
        let mut log = Log {
            metrics: std::mem::take(&mut report.metrics),
            torn: report.torn,
        };
        let read = read_on(&dir.join(METRICS), &mut log, &mut self.position);
        (report.metrics, report.torn) = (log.metrics, log.torn);
        read?;
        let data = dir.join(DATA);
        report.data = match data.exists() {
            true => Some(json::read_bounded(data, SMALL)?),
            false => None,
        };
        let last = report.metrics.last().map_or(0, |row| row.step);
        report.samples = self.samples.read(dir, last)?;
        (report.parameters, report.vocab_size) = sizes(&dir.join("latest").join("config.json"));
        Ok(report)
    }

    pub(super) fn into_report(self) -> RunReport {
        self.report
    }
}

/// Parameters and V of a checkpoint's model; none where there is no model, as beside an adapter.
fn sizes(config: &Path) -> (Option<u64>, Option<u64>) {
    let read = json::read_bounded::<serde_json::Value>(config, SMALL).ok();
    let model = read.and_then(|config| registry::from_config(&config).ok());
    let count = model.as_ref().map(|model| model.params().count());
    (count, model.map(|model| model.dims().vocab_size as u64))
}
