//! `foretoken report`

mod axes;
mod draw;
mod html;
mod page;
mod panel;
mod tables;
mod verdict;

pub(crate) use html::escape;

use crate::Usage;
use crate::terminal::say_error;
use crate::train::RUNS;
use anyhow::Context;
use clap::Args;
use foretoken::formats::durable;
use foretoken::model::human_bytes;
use foretoken::train::report::{Curves, Difference, RunReport, Sample, Summary, differences};
use foretoken::train::tensorboard;
use indicatif::ProgressBar;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Writes a page about runs: curves, figures, samples, configs; several are compared.
#[derive(Debug, Args)]
#[command(after_help = "\
The page is one HTML file that needs no network: losses with the entropy floor where it is known,
gradient norm, learning rate, speed, memory, samples over time and configs; over steps, tokens or
time, on linear or logarithmic axes. A run may still go on.

Examples:
  foretoken report                                       the latest run: runs/…/report.html
  foretoken report runs/a runs/b --out compare.html      two runs side by side
  foretoken report runs/a --json | jq '.runs[0].summary' the same as data
  foretoken report runs/a runs/b --tensorboard events    then: tensorboard --logdir events")]
pub(crate) struct Report {
    /// Directories of runs; the latest run unless given
    #[arg(value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page; - for standard output. RUN/report.html of one run, report.html of several, unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// One JSON object on standard output, nothing else; a page only with --out
    #[arg(long)]
    json: bool,
    /// Write event files for TensorBoard, a folder a run; a page only with --out
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Told<'a> {
    runs: Vec<ToldRun<'a>>,
    differences: Vec<Difference>,
}

/// A run there.
#[derive(Serialize)]
struct ToldRun<'a> {
    path: &'a Path,
    summary: Summary,
    /// Whether the log's last line was cut off.
    torn: bool,
    curves: Curves,
    samples: &'a [Sample],
}

impl Report {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let stdout = self.out.as_deref() == Some(Path::new("-"));
        if stdout && self.json {
            return Err(Usage("--json and --out - both want standard output: expected one of them".into()).into());
        }
        let dirs = match self.runs.is_empty() {
            false => self.runs.clone(),
            true => vec![
                foretoken::last_run(Path::new(RUNS))
                    .with_context(|| format!("there is no run in {RUNS}: name one, or train one first"))?,
            ],
        };
        let mut runs = Vec::new();
        for dir in &dirs {
            let waiting = waiting(format!("reading {}", dir.display()));
            runs.push(RunReport::read(dir)?);
            waiting.finish_and_clear();
        }
        name_apart(&mut runs);
        if let Some(dir) = &self.tensorboard {
            self.events(&runs, dir)?;
        }
        if stdout {
            std::io::stdout().write_all(draw(&runs).as_bytes())?;
        } else if self.out.is_some() || !(self.json || self.tensorboard.is_some()) {
            let path = self.out.clone().unwrap_or_else(|| match &runs[..] {
                [run] => run.path.join("report.html"),
                _ => "report.html".into(),
            });
            let page = draw(&runs);
            durable::write_bytes(&path, page.as_bytes())?;
            let path = path.display();
            self.say(&format!(
                "{path}  {}; open it: {OPEN} {path}",
                human_bytes(page.len() as u64)
            ))?;
        }
        if self.json {
            let line = serde_json::to_string(&told(&runs))?;
            writeln!(std::io::stdout(), "{line}")?;
        }
        Ok(())
    }

    fn events(&self, runs: &[RunReport], dir: &Path) -> anyhow::Result<()> {
        for run in runs {
            let path = tensorboard::export(run, started(run), &dir.join(&run.name))?;
            self.say(&path.display().to_string())?;
        }
        self.say(&format!("open them: tensorboard --logdir {}", dir.display()))
    }

    /// Where something was written: on standard output, unless that is taken.
    fn say(&self, line: &str) -> anyhow::Result<()> {
        if self.json || self.out.as_deref() == Some(Path::new("-")) {
            say_error(line);
        } else {
            writeln!(std::io::stdout(), "{line}")?;
        }
        Ok(())
    }
}

/// The page, with something to look at where it takes its time.
fn draw(runs: &[RunReport]) -> String {
    let waiting = waiting("drawing".into());
    let page = page::page(runs);
    waiting.finish_and_clear();
    page
}

/// A line on standard error while something is done; only a log of millions of steps lets it be seen.
fn waiting(what: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What opens a file here.
const OPEN: &str = if cfg!(target_os = "macos") {
    "open"
} else if cfg!(windows) {
    "start"
} else {
    "xdg-open"
};

fn told(runs: &[RunReport]) -> Told<'_> {
    let mut all = Vec::new();
    for run in runs {
        all.push(ToldRun {
            path: &run.path,
            summary: run.summary(),
            torn: run.torn,
            curves: run.curves(),
            samples: &run.samples,
        });
    }
    Told {
        runs: all,
        differences: differences(runs),
    }
}

/// Gives runs of one name a number: names are all a reader has to tell them by.
fn name_apart(runs: &mut [RunReport]) {
    for i in 1..runs.len() {
        let name = runs[i].name.clone();
        let mut number = 2;
        while runs[..i].iter().any(|run| run.name == runs[i].name) {
            runs[i].name = format!("{name}-{number}");
            number += 1;
        }
    }
}

/// When a run began, in seconds since 1970: its log's last write, less the seconds of training; pauses count as none.
fn started(run: &RunReport) -> f64 {
    let written = std::fs::metadata(run.path.join("metrics.jsonl")).and_then(|file| file.modified());
    let since = written.unwrap_or_else(|_| SystemTime::now()).duration_since(UNIX_EPOCH);
    let trained = run.summary().time_s.unwrap_or(0.0);
    (since.map_or(0.0, |since| since.as_secs_f64()) - trained).max(0.0)
}
