//! Which runs there are. A run is found by comparing its name with those of the list: what a client sends never becomes a path.

use crate::fault::Fault;
use crate::options::Served;
use foretoken::is_run;
use hyper::StatusCode;
use std::path::{Path, PathBuf};

/// The files of a run that are read here.
const FILES: [&str; 5] = [
    "run.toml",
    "data.json",
    "metrics.jsonl",
    "samples.jsonl",
    "latest/config.json",
];

/// The folder of runs, and runs that lie elsewhere but are served.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    dir: Option<PathBuf>,
    /// Names of models, and the runs they are of.
    served: Vec<(String, PathBuf)>,
}

/// A run that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What clients call it.
    pub(crate) name: String,
    /// Its directory, without links.
    pub(crate) dir: PathBuf,
    /// What it is served as.
    pub(crate) model: Option<String>,
}

impl Folder {
    pub(crate) fn new(dir: Option<PathBuf>, models: &[Served]) -> Self {
        let run = |model: &Served| Some((model.name.clone(), run_of(&model.path)?));
        Self {
            dir,
            served: models.iter().filter_map(run).collect(),
        }
    }

    /// Every run: those right in the folder, then those that are served from elsewhere.
    pub(crate) fn list(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for (name, dir) in self.dir.as_deref().map(children).unwrap_or_default() {
            let model = self.served.iter().find(|(_, served)| *served == dir);
            let model = model.map(|(model, _)| model.clone());
            found.push(Found { name, dir, model });
        }
        for (model, dir) in &self.served {
            if found.iter().all(|run| run.dir != *dir) {
                found.push(Found {
                    name: apart(model, &found),
                    dir: dir.clone(),
                    model: Some(model.clone()),
                });
            }
        }
        found
    }

    /// A run by its name.
    pub(crate) fn find(&self, name: &str) -> Result<Found, Fault> {
        let found = self.list().into_iter().find(|run| run.name == name);
        found.ok_or_else(|| {
            let message = "there is no such run: /runs lists them";
            Fault::request(StatusCode::NOT_FOUND, "run_not_found", message)
        })
    }
}

impl Found {
    /// Refuses a run of whose files one lies elsewhere by a link, or would keep its reader waiting.
    pub(crate) fn is_its_own(&self) -> Result<(), Fault> {
        for file in FILES {
            let path = self.dir.join(file);
            let within = path.canonicalize().is_ok_and(|path| path.starts_with(&self.dir));
            if path.symlink_metadata().is_ok() && !(within && path.is_file()) {
                let message = format!("{file} of this run is not a file within its directory");
                return Err(Fault::request(StatusCode::FORBIDDEN, "run_not_allowed", message));
            }
        }
        Ok(())
    }

    /// Its whole checkpoints, the oldest first, without any that lies elsewhere.
    pub(crate) fn checkpoints(&self) -> Vec<(u64, PathBuf)> {
        let mut checkpoints = foretoken::train::checkpoints(&self.dir);
        checkpoints.retain(|(_, path)| {
            let files = std::fs::read_dir(path).into_iter().flatten().flatten();
            let mut paths = files.map(|file| file.path()).chain([path.clone()]);
            paths.all(|path| path.canonicalize().is_ok_and(|path| path.starts_with(&self.dir)))
        });
        checkpoints
    }

    /// The step of the checkpoint that a link of the run points to.
    pub(crate) fn pointed(&self, link: &str) -> Option<u64> {
        let target = std::fs::read_link(self.dir.join(link)).ok()?;
        target.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
    }
}

/// The runs right in a folder by their names, sorted. A link to elsewhere is none.
fn children(dir: &Path) -> Vec<(String, PathBuf)> {
    let Ok(root) = dir.canonicalize() else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(&root).into_iter().flatten().flatten();
    let mut runs: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let path = entry.path().canonicalize().ok()?;
            (path.parent() == Some(&*root) && is_run(&path)).then_some((name, path))
        })
        .collect();
    runs.sort();
    runs
}

/// The run that a model's path is, or is within, as a checkpoint is.
fn run_of(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    // RUN, RUN/checkpoints/step-…, or a file in there.
    path.ancestors().take(4).find(|dir| is_run(dir)).map(Path::to_owned)
}

/// The name, or one like it that no run has yet.
fn apart(name: &str, found: &[Found]) -> String {
    let is_taken = |name: &str| found.iter().any(|run| run.name == name);
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !is_taken(name)).expect("numbers do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("run.toml"), "").unwrap();
    }

    fn served(name: &str, path: PathBuf) -> Served {
        Served {
            name: name.into(),
            path,
            quantize: None,
        }
    }

    #[test]
    fn runs_are_those_of_the_folder_and_those_that_are_served() {
        let tmp = tempfile::tempdir().unwrap();
        let (runs, elsewhere) = (tmp.path().join("runs"), tmp.path().join("other/a"));
        for dir in [runs.join("a"), runs.join("b"), elsewhere.clone()] {
            make(&dir);
        }
        std::fs::create_dir_all(runs.join("a/checkpoints/step-00000007")).unwrap();
        std::fs::create_dir_all(runs.join("no run")).unwrap();
        let folder = Folder::new(
            Some(runs.clone()),
            &[
                served("first", runs.join("a/checkpoints/step-00000007")),
                served("a", elsewhere.clone()),
                served("again", elsewhere),
            ],
        );
        let list = folder.list();
        let names: Vec<_> = list.iter().map(|run| (&*run.name, run.model.as_deref())).collect();
        assert_eq!(names, [("a", Some("first")), ("b", None), ("a-2", Some("a"))]);
        assert_eq!(folder.find("a-2").unwrap().dir, list[2].dir);
        assert!(Folder::new(Some(tmp.path().join("none")), &[]).list().is_empty());
    }

    #[test]
    #[cfg(unix)]
    fn no_name_and_no_link_leads_out() {
        use std::os::unix::fs::symlink;
        let tmp = tempfile::tempdir().unwrap();
        let (runs, secret) = (tmp.path().join("runs"), tmp.path().join("secret"));
        make(&secret);
        make(&runs.join("a"));
        make(&runs.join("deep/b"));
        symlink(&secret, runs.join("link")).unwrap();
        let folder = Folder::new(Some(runs.clone()), &[]);
        let absolute = secret.to_string_lossy().into_owned();
        for name in [
            "link",
            "..",
            ".",
            "",
            "../secret",
            "a/../../secret",
            "a/",
            "./a",
            "deep/b",
            "/",
            "\0",
            &absolute,
            "A",
        ] {
            let fault = folder.find(name).unwrap_err();
            assert_eq!(fault.status, StatusCode::NOT_FOUND, "{name:?}");
        }
        let run = folder.find("a").unwrap();
        run.is_its_own().unwrap();
        std::fs::write(secret.join("metrics.jsonl"), "secret").unwrap();
        symlink(secret.join("metrics.jsonl"), run.dir.join("metrics.jsonl")).unwrap();
        assert_eq!(run.is_its_own().unwrap_err().status, StatusCode::FORBIDDEN);
        // Checkpoints, and what is in them.
        let checkpoints = run.dir.join("checkpoints");
        std::fs::create_dir_all(checkpoints.join("step-00000001")).unwrap();
        std::fs::create_dir_all(checkpoints.join("step-00000002")).unwrap();
        symlink(&secret, checkpoints.join("step-00000003")).unwrap();
        symlink(secret.join("run.toml"), checkpoints.join("step-00000002/config.json")).unwrap();
        symlink("checkpoints/step-00000001", run.dir.join("latest")).unwrap();
        let steps: Vec<u64> = run.checkpoints().into_iter().map(|(step, _)| step).collect();
        assert_eq!(
            (steps, run.pointed("latest"), run.pointed("best")),
            (vec![1], Some(1), None)
        );
    }
}
