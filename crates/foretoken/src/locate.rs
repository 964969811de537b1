//! From what a user names to where a model is.

use crate::error::Error;
use foretoken_formats::safetensors;
use foretoken_hub::{Cache, RepoRef};
use foretoken_model::adapter;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Whether a directory is a run, as `foretoken train` makes it.
pub fn is_run(path: &Path) -> bool {
    path.join("run.toml").is_file()
}

/// Whether a path is a GGUF file: by its first bytes, or by its name, so that what is wrong with one is said.
pub fn is_gguf(path: &Path) -> bool {
    let named = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("gguf"));
    let magic = || -> std::io::Result<bool> {
        let mut bytes = [0; 4];
        std::fs::File::open(path)?.read_exact(&mut bytes)?;
        Ok(bytes == *b"GGUF")
    };
    path.is_file() && (named || magic().unwrap_or(false))
}

/// Whether a directory holds an adapter in PEFT's form, and no model of its own.
pub fn is_adapter(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).is_file();
    has(adapter::CONFIG) && !has(safetensors::MODEL) && !has(safetensors::INDEX)
}

/// The GGUF file of a directory that holds no other model.
fn only_gguf(dir: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let mut found = files.filter(|path| is_gguf(path));
    let file = found.next()?;
    (found.next().is_none() && !dir.join("config.json").exists()).then_some(file)
}

/// Where a model is: a GGUF file, or the directory that holds `config.json`, or an adapter: the path itself, the newest checkpoint of a run,
/// or, where there is no such path, what was pulled of the repository of that name (`ORG/NAME`, `ORG/NAME@REVISION`). The
/// network is not asked.
///
/// # Errors
/// [`Error::NoModel`], [`Error::NotPulled`].
pub fn locate(path: &Path) -> Result<PathBuf, Error> {
    if is_gguf(path) {
        return Ok(path.to_owned());
    }
    let is_model = |dir: &PathBuf| dir.join("config.json").is_file() || is_adapter(dir);
    let repo = path
        .to_str()
        .filter(|_| !path.exists())
        .and_then(|name| name.parse::<RepoRef>().ok());
    let pulled = || {
        let snapshot = Cache::from_env()?.snapshot(repo.as_ref()?)?;
        only_gguf(&snapshot).or_else(|| Some(snapshot).filter(is_model))
    };
    let found = [path.to_owned(), path.join("latest")]
        .into_iter()
        .find(is_model)
        .or_else(pulled);
    // The link itself would move under a reader while the run goes on.
    found
        .and_then(|dir| dir.canonicalize().ok())
        .ok_or_else(|| match &repo {
            Some(repo) => Error::NotPulled { repo: repo.to_string() },
            None => Error::NoModel { path: path.to_owned() },
        })
}

/// The run in `runs` that was trained last and has a checkpoint.
///
/// # Errors
/// [`Error::NoRun`].
pub fn latest_run(runs: &Path) -> Result<PathBuf, Error> {
    let found = runs_by_time(runs).rfind(|run| locate(run).is_ok());
    found.ok_or_else(|| Error::NoRun { path: runs.to_owned() })
}

/// The run in `runs` that was trained last, even where it was killed before its first checkpoint.
pub fn last_run(runs: &Path) -> Option<PathBuf> {
    runs_by_time(runs).next_back()
}

/// The runs in a directory, the one trained last at the end.
fn runs_by_time(runs: &Path) -> impl DoubleEndedIterator<Item = PathBuf> {
    let last_trained = |run: &Path| -> Option<SystemTime> {
        let written = std::fs::metadata(run.join("metrics.jsonl")).ok()?.modified().ok()?;
        is_run(run).then_some(written)
    };
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter_map(|run| Some((last_trained(&run)?, run)))
        .collect();
    found.sort();
    found.into_iter().map(|(_, run)| run)
}
