//! The binary in a directory of its own, and what tests look at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A run of well under a second.
pub(crate) const TINY: &str = r#"
data = ["corpus:200"]
tokenizer = "byte"
n_layer = 1
n_head = 2
n_embd = 16
n_positions = 32
batch_size = 2
steps = 12
schedule = "constant"
eval_every = 3
eval_batches = 2
sample_every = 0
checkpoint_every = 3
"#;

/// A directory in which the binary runs: `tiny.toml` and a cache are there.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        place.write("tiny.toml", TINY);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("a file in the temporary directory");
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(dir)).expect("a directory");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The binary with arguments, separated by spaces.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretoken"));
        command
            .args(args.split_whitespace())
            .current_dir(self.dir.path())
            .env("FORETOKEN_CACHE", self.path("cache"))
            .env("HF_HOME", self.path("hf"))
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_ENDPOINT")
            .env_remove("HF_TOKEN")
            .env_remove("FORETOKEN_ISA")
            .env_remove("FORETOKEN_FAILPOINT")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, args: &str) -> Output {
        self.command(args).output().expect("the binary starts")
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn ok(&self, args: &str) -> String {
        success(args, self.output(args)).0
    }

    /// The one line on standard error of a command that must fail.
    pub(crate) fn error(&self, args: &str) -> String {
        failure(args, self.output(args))
    }

    /// The binary fed with bytes.
    pub(crate) fn fed(&self, args: &str, input: &[u8]) -> Output {
        feed(self.command(args), input)
    }

    /// A run that is still going, its `--json` lines piped.
    pub(crate) fn spawn(&self, args: &str) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }

    /// What must be the same in two runs that are the same: the bits of weights and moments, the state but for the clock,
    /// and the metrics but for what a clock or the memory says.
    pub(crate) fn bits(&self, run: &str) -> Bits {
        let latest = self.path(run).join("latest");
        let read = |name: &str| std::fs::read(latest.join(name)).unwrap_or_else(|e| panic!("{run}/latest/{name}: {e}"));
        let state = object(&String::from_utf8(read("train_state.json")).expect("text"));
        Bits {
            weights: read("model.safetensors"),
            moments: read("optimizer.safetensors"),
            state: without(state, &["time_s", "isa"]),
            metrics: self
                .metrics(run)
                .into_iter()
                .map(|line| without(line, &["time_s", "tokens_per_s", "share_of_limit", "memory"]))
                .collect(),
        }
    }

    /// The lines of `metrics.jsonl`.
    pub(crate) fn metrics(&self, run: &str) -> Vec<Object> {
        let text = std::fs::read_to_string(self.path(run).join("metrics.jsonl")).expect("metrics.jsonl");
        text.lines().map(object).collect()
    }
}

/// See [`Place::bits`].
#[derive(PartialEq)]
pub(crate) struct Bits {
    weights: Vec<u8>,
    moments: Vec<u8>,
    state: Object,
    metrics: Vec<Object>,
}

impl Bits {
    /// Asserts that both are the same, and says where they are not.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Bits, what: &str) {
        assert!(
            self.metrics == other.metrics,
            "{what}: metrics {:?}\n{:?}",
            self.metrics,
            other.metrics
        );
        assert!(self.weights == other.weights, "{what}: weights");
        assert!(self.moments == other.moments, "{what}: moments");
        assert_eq!(self.state, other.state, "{what}");
    }
}

pub(crate) type Object = BTreeMap<String, serde_json::Value>;

/// A line that is one JSON object.
pub(crate) fn object(line: &str) -> Object {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
}

fn without(mut object: Object, keys: &[&str]) -> Object {
    for key in keys {
        assert!(object.remove(*key).is_some(), "{key} in {object:?}");
    }
    object
}

/// Runs a command with bytes on its standard input.
pub(crate) fn feed(mut command: Command, input: &[u8]) -> Output {
    use std::io::Write;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // A command that fails early does not read.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

/// Standard output and error of what must have succeeded.
#[track_caller]
pub(crate) fn success(what: &str, output: Output) -> (String, String) {
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{what}: {}\n{out}\n{err}", output.status);
    (out, err)
}

/// The line on standard error of what must have failed as the project promises: exit code 1 or 2, one line that begins
/// with `error:`, no panic, nothing on standard output.
#[track_caller]
pub(crate) fn failure(what: &str, output: Output) -> String {
    let (out, err) = texts(&output);
    let code = output.status.code();
    assert!(matches!(code, Some(1 | 2)), "{what}: {}\n{out}\n{err}", output.status);
    assert!(out.is_empty(), "{what}: {out}");
    let mut errors = err.lines().filter(|line| !line.starts_with("warning:"));
    let error = errors.next().unwrap_or_default().to_owned();
    assert!(error.starts_with("error: "), "{what}: {err}");
    assert_eq!(errors.next(), None, "{what}: {err}");
    error
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

/// Sends a signal by name.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.expect("kill is there").success());
}

/// Copies a directory, links as they are.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            copy_dir(&path, &target);
        } else if kind.is_symlink() {
            link(&std::fs::read_link(path).expect("a link"), &target);
        } else {
            std::fs::copy(path, target).expect("a copy");
        }
    }
}

fn link(target: &Path, link: &Path) {
    #[cfg(unix)]
    std::os::unix::fs::symlink(target, link).expect("a link");
    #[cfg(windows)]
    std::os::windows::fs::symlink_dir(target, link).expect("a link");
}
