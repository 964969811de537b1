//! A small repository, a hub that serves it as the real one does, and a place to pull it to.

use crate::server::{Answer, Request, Server};
use foretoken_hub::{Cache, Destination, Event, Fetched, Hub, Patience, Pull, Result};
use sha2::Digest;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const REPO: &str = "mina/tiny";

/// The large file, which LFS keeps.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// A small one, which Git keeps.
pub(crate) const CONFIG: &str = "config.json";

pub(crate) fn weights() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_le_bytes).collect()
}

pub(crate) fn config() -> Vec<u8> {
    br#"{"model_type":"gpt2"}"#.to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

pub(crate) fn git_blob(bytes: &[u8]) -> String {
    let mut hasher = sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex(&hasher.finalize())
}

/// The JSON of the listing.
pub(crate) fn listing() -> String {
    let (weights, config) = (weights(), config());
    format!(
        r#"{{"id":"{REPO}","sha":"{COMMIT}","siblings":[
          {{"rfilename":"{CONFIG}","size":{},"blobId":"{}"}},
          {{"rfilename":"README.md","size":1,"blobId":"{}"}},
          {{"rfilename":"{WEIGHTS}","size":{},"blobId":"{}","lfs":{{"sha256":"{}","size":{},"pointerSize":134}}}}]}}"#,
        config.len(),
        git_blob(&config),
        git_blob(b"#"),
        weights.len(),
        git_blob(b"a pointer"),
        sha256(&weights),
        weights.len(),
    )
}

pub(crate) fn is_listing(request: &Request) -> bool {
    request.path.starts_with("/api/models/")
}

/// As the hub answers.
pub(crate) fn answer(request: &Request) -> Answer {
    let resolve = format!("/{REPO}/resolve/{COMMIT}/");
    if is_listing(request) {
        return Answer::new(200, listing());
    }
    match request.path.strip_prefix(&resolve) {
        Some(WEIGHTS) => Answer::part(request, &weights()).with("ETag", format!("\"{}\"", sha256(&weights()))),
        Some(CONFIG) => Answer::part(request, &config()).with("ETag", format!("\"{}\"", git_blob(&config()))),
        Some("README.md") => Answer::part(request, b"#").with("ETag", format!("\"{}\"", git_blob(b"#"))),
        _ => Answer::new(404, "").with("X-Error-Code", "EntryNotFound"),
    }
}

/// The listing without sizes and sums, as some mirrors give it.
pub(crate) fn bare_listing() -> Answer {
    let names = [CONFIG, WEIGHTS].map(|name| format!(r#"{{"rfilename":"{name}"}}"#));
    Answer::new(200, format!(r#"{{"sha":"{COMMIT}","siblings":[{}]}}"#, names.join(",")))
}

/// A hub, a cache, and what happened.
pub(crate) struct Place {
    pub(crate) server: Arc<Server>,
    pub(crate) dir: TempDir,
    pub(crate) token: Option<&'static str>,
}

impl Place {
    pub(crate) fn new(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            server: Arc::new(Server::start(handler)),
            dir: tempfile::tempdir().unwrap(),
            token: None,
        }
    }

    /// The same cache, and another hub.
    pub(crate) fn then(self, handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            server: Arc::new(Server::start(handler)),
            ..self
        }
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.dir.path().join("hub"))
    }

    pub(crate) fn hub(&self) -> Hub {
        let patience = Patience {
            tries: 4,
            pause: Duration::from_millis(1),
            silence: Duration::from_secs(30),
        };
        Hub::new(&self.server.url(), self.token)
            .unwrap()
            .with_patience(patience)
    }

    /// Pulls files of `mina/tiny` to the cache, and says what happened.
    pub(crate) fn pull(&self, names: &[&str]) -> (Result<(Vec<Fetched>, PathBuf)>, Vec<String>) {
        self.pull_to(Destination::Cache(self.cache()), REPO, names)
    }

    pub(crate) fn pull_to(
        &self,
        destination: Destination,
        repo: &str,
        names: &[&str],
    ) -> (Result<(Vec<Fetched>, PathBuf)>, Vec<String>) {
        let (hub, mut events) = (self.hub(), Vec::new());
        let mut on_event = |event: Event<'_>| {
            if !matches!(event, Event::Received(_)) {
                events.push(format!("{event:?}"));
            }
        };
        let pulled = (|| {
            let listing = hub.list(&repo.parse()?, &mut on_event)?;
            let pull = Pull::new(&hub, &listing, destination);
            let fetched = pull.fetch(names, &mut on_event)?;
            Ok((fetched, pull.finish()?))
        })();
        (pulled, events)
    }

    /// Pulls what must succeed: the bytes of the files, and how many came over the network.
    #[track_caller]
    pub(crate) fn ok(&self, names: &[&str]) -> (Vec<Vec<u8>>, u64) {
        let (fetched, dir) = self.pull(names).0.unwrap();
        let read = |file: &Fetched| {
            assert_eq!(file.path, dir.join(&file.name));
            std::fs::read(&file.path).unwrap()
        };
        let received = fetched.iter().map(|file| file.received).sum();
        (fetched.iter().map(read).collect(), received)
    }

    /// The message of a pull that must fail.
    #[track_caller]
    pub(crate) fn error(&self, names: &[&str]) -> String {
        self.pull(names).0.unwrap_err().to_string()
    }

    pub(crate) fn blob(&self, name: &str) -> PathBuf {
        self.cache().folder(&REPO.parse().unwrap()).join("blobs").join(name)
    }

    /// The requests for the bytes of a file.
    pub(crate) fn gets(&self, name: &str) -> Vec<Request> {
        let mut asked = self.server.asked();
        asked.retain(|request| request.method == "GET" && request.path.ends_with(name));
        asked
    }
}

/// All files below a directory, links not followed, sorted.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, top: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                walk(&path, top, found);
            } else {
                found.push(path.strip_prefix(top).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}
