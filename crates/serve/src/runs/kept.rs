//! Runs that were read, so that a page which asks again and again costs what is new.

use super::folder::Found;
use crate::fault::Fault;
use foretoken::train::report::{RunReport, Summary, Watched};
use std::collections::HashMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Runs whose logs stay in memory, and the most rows of all of them: some 150 MiB.
const LOGS: usize = 8;
const ROWS: usize = 1 << 20;

/// What was read of runs.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    runs: HashMap<PathBuf, Watched>,
    /// Those in `runs`, the one that was asked for last at the end.
    order: Vec<PathBuf>,
    summaries: HashMap<PathBuf, (Stamp, Summary)>,
}

/// What changes when a run does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    files: [Option<(u64, SystemTime)>; 4],
    running: bool,
}

impl Stamp {
    fn of(dir: &Path) -> Self {
        let of = |file: Metadata| Some((file.len(), file.modified().ok()?));
        let stamp = |name: &str| std::fs::symlink_metadata(dir.join(name)).ok().and_then(of);
        Self {
            files: ["metrics.jsonl", "run.toml", "data.json", "latest"].map(stamp),
            running: foretoken::train::report::is_running(dir),
        }
    }
}

impl Kept {
    /// Says something of a run as it is now.
    pub(crate) fn look<T>(&mut self, run: &Found, say: impl FnOnce(&RunReport) -> T) -> Result<T, Fault> {
        run.is_its_own()?;
        let said = match self.runs.get_mut(&run.dir) {
            Some(watched) => say(watched.refresh().map_err(fault)?),
            None => {
                let watched = Watched::open(&run.dir).map_err(fault)?;
                let said = say(watched.report());
                self.runs.insert(run.dir.clone(), watched);
                said
            }
        };
        self.order.retain(|dir| *dir != run.dir);
        self.order.push(run.dir.clone());
        self.let_go();
        Ok(said)
    }

    /// A run in a row. Of one that is as it was nothing is read.
    pub(crate) fn summary(&mut self, run: &Found) -> Result<Summary, Fault> {
        let stamp = Stamp::of(&run.dir);
        if let Some((before, summary)) = self.summaries.get(&run.dir)
            && *before == stamp
        {
            return Ok(summary.clone());
        }
        let summary = self.look(run, RunReport::summary)?;
        self.summaries.insert(run.dir.clone(), (stamp, summary.clone()));
        Ok(summary)
    }

    /// Forgets summaries of runs that are no more.
    pub(crate) fn only(&mut self, runs: &[Found]) {
        self.summaries.retain(|dir, _| runs.iter().any(|run| run.dir == *dir));
    }

    /// Forgets logs until there is room: those that nobody asked for the longest go first.
    fn let_go(&mut self) {
        let rows = |watched: &Watched| watched.report().metrics.len();
        while self.runs.len() > LOGS || self.runs.values().map(rows).sum::<usize>() > ROWS {
            self.runs.remove(&self.order.remove(0));
        }
    }
}

/// What a run that cannot be read means to whoever asked for it.
fn fault(error: foretoken::train::Error) -> Fault {
    Fault::server(error.to_string())
}

/// Seconds since a run's log was written last, or since the run began.
pub(crate) fn age(dir: &Path) -> Option<f64> {
    let written = |name: &str| std::fs::metadata(dir.join(name)).ok()?.modified().ok();
    let written = written("metrics.jsonl").or_else(|| written("run.toml"))?;
    SystemTime::now()
        .duration_since(written)
        .ok()
        .map(|age| age.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken::train::{Metrics, RunConfig};

    #[test]
    fn logs_of_few_runs_stay_and_summaries_follow_what_is_written() {
        let tmp = tempfile::tempdir().unwrap();
        let line = |step| {
            Metrics {
                step,
                ..Metrics::default()
            }
            .to_line()
                + "\n"
        };
        let mut kept = Kept::default();
        let runs: Vec<Found> = (0..LOGS + 3)
            .map(|i| {
                let dir = tmp.path().canonicalize().unwrap().join(i.to_string());
                std::fs::create_dir(&dir).unwrap();
                std::fs::write(dir.join("run.toml"), RunConfig::default().to_toml()).unwrap();
                std::fs::write(dir.join("metrics.jsonl"), line(1)).unwrap();
                Found {
                    name: i.to_string(),
                    dir,
                    model: None,
                }
            })
            .collect();
        for run in &runs {
            assert_eq!(kept.summary(run).unwrap().step, 1);
        }
        assert_eq!(
            (kept.runs.len(), kept.order.len(), kept.summaries.len()),
            (LOGS, LOGS, runs.len())
        );
        assert!(!kept.runs.contains_key(&runs[0].dir));
        std::fs::write(runs[0].dir.join("metrics.jsonl"), line(1) + &line(2)).unwrap();
        assert_eq!(kept.summary(&runs[0]).unwrap().step, 2);
        assert!(age(&runs[0].dir).unwrap() < 60.0);
        kept.only(&runs[..2]);
        assert_eq!(kept.summaries.len(), 2);
        std::fs::write(runs[1].dir.join("metrics.jsonl"), "damage\n").unwrap();
        assert!(kept.summary(&runs[1]).is_err());
    }
}
