//! Which files a repository holds.

use crate::client::{Hub, Method};
use crate::error::{Error, Result, shown};
use crate::event::Event;
use crate::name::{RepoId, RepoRef, Revision, is_hex};
use crate::sum::Sum;
use crate::url;
use serde::Deserialize;
use std::io::Read;

/// A sibling with its sums takes some 300 bytes, so this is 50,000 files.
const MAX_BYTES: u64 = 1 << 24;

/// The files of a repository at a commit.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The repository.
    pub repo: RepoId,
    /// What was asked for.
    pub revision: Revision,
    /// The commit it is at now, 40 hexadecimal digits: what is fetched is fetched from there.
    pub commit: Revision,
    /// In the server's order.
    pub files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path in the repository, as the server gives it: it may hold anything. [`Pull::fetch`](crate::Pull::fetch) refuses
    /// one that leads out of its directory.
    pub name: String,
    /// Bytes, where the server tells.
    pub size: Option<u64>,
    /// What they sum up to, where the server tells.
    pub sum: Option<Sum>,
}

impl Listing {
    /// A file by its name.
    pub fn file(&self, name: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.name == name)
    }
}

/// The answer of `GET /api/models/REPO/revision/REVISION?blobs=true`, as `huggingface_hub` asks for it in
/// `HfApi.model_info(files_metadata=True)`; of its fields those that matter here.
#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    /// The Git object: the file itself, or the pointer to a large one.
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl From<Sibling> for RemoteFile {
    fn from(sibling: Sibling) -> Self {
        let (size, etag, digits) = match sibling.lfs {
            Some(lfs) => (lfs.size.or(sibling.size), lfs.sha256, 64),
            None => (sibling.size, sibling.blob_id, 40),
        };
        let etag = etag.filter(|etag| is_hex(etag, digits));
        Self {
            name: sibling.rfilename,
            size,
            sum: etag.and_then(|etag| Sum::of_etag(&etag)),
        }
    }
}

impl Hub {
    /// Lists the files of a repository.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::NoRevision`], [`Error::Denied`]; [`Error::Network`] and [`Error::Status`] after some tries;
    /// [`Error::Answer`] for what is not the hub's API.
    pub fn list(&self, wanted: &RepoRef, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Listing> {
        let RepoRef { repo, revision } = wanted;
        let address = format!(
            "{}/api/models/{repo}/revision/{}?blobs=true",
            self.endpoint(),
            url::component(revision.as_str())
        );
        let mut tries = self.tries();
        let (url, bytes) = loop {
            let (error, after) = match self.send(Method::Get, &address, 0) {
                Ok(answer) if answer.status() == 200 => {
                    let url = answer.url();
                    match read_bounded(&url, answer.response.into_body().into_reader()) {
                        Ok(bytes) => break (url, bytes),
                        Err(error) => (error, None),
                    }
                }
                Ok(answer) if answer.may_pass() => (answer.error(), answer.retry_after()),
                Ok(answer) => return Err(self.refusal(&answer, repo, revision, None)),
                Err(error) => (error, None),
            };
            tries.again(error, after, on_event)?;
        };
        let answer = |message: String| Error::Answer {
            url: url.clone(),
            message,
        };
        let info: Info = serde_json::from_slice(&bytes).map_err(|error| answer(shown(&error.to_string())))?;
        if !is_hex(&info.sha, 40) {
            return Err(answer(format!(
                "its commit is {:?}, expected 40 digits",
                shown(&info.sha)
            )));
        }
        if revision.is_commit() && info.sha != revision.as_str() {
            return Err(answer(format!("asked for the commit {revision} it gave {}", info.sha)));
        }
        Ok(Listing {
            repo: repo.clone(),
            revision: revision.clone(),
            commit: info.sha.parse()?,
            files: info.siblings.into_iter().map(RemoteFile::from).collect(),
        })
    }
}

fn read_bounded(url: &str, body: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = body.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::Network {
        url: url.to_owned(),
        message: shown(&error.to_string()),
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::Answer {
            url: url.to_owned(),
            message: format!("its list of files is longer than {MAX_BYTES} bytes"),
        });
    }
    Ok(bytes)
}
