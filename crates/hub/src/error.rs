//! What can go wrong between a repository and a file.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that this crate reports: what was found, what was expected, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is none, or that would lead somewhere else.
    #[error("{name:?} cannot be the name of a {what}: {reason}")]
    Name {
        /// What it should name: "repository", "revision", "file".
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An environment variable that cannot be used.
    #[error("{variable} cannot be used: {reason}")]
    Setting {
        /// Which one. Its value is not said: it may be secret.
        variable: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing says where the cache is.
    #[error("there is no home directory to keep a cache in: set HF_HOME, or name a directory with --to")]
    NoHome,
    /// No such repository, as far as the server tells.
    #[error("{endpoint} has no model {repo}: check the spelling (ORG/NAME){hint}")]
    NoRepo {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// What else it may be.
        hint: &'static str,
    },
    /// A repository without the revision.
    #[error("{repo} has no branch, tag or commit {revision:?}: leave `@{revision}` away for its main branch")]
    NoRevision {
        /// The repository.
        repo: String,
        /// What was asked for.
        revision: String,
    },
    /// A revision without the file.
    #[error("{repo} holds no file {name:?}{instead}")]
    NoFile {
        /// The repository.
        repo: String,
        /// What was asked for.
        name: String,
        /// What it holds instead.
        instead: String,
    },
    /// The server wants to know who asks, or does not want them.
    #[error("{repo} is not open to everybody (HTTP {status}): {help}")]
    Denied {
        /// The repository.
        repo: String,
        /// 401 or 403.
        status: u16,
        /// What to do.
        help: String,
    },
    /// The server answered with something else than what was asked for.
    #[error("{url} answered with HTTP {status}{message}")]
    Status {
        /// Without its query, which may hold a signature.
        url: String,
        /// The status code.
        status: u16,
        /// What the server says to it, and how often it was asked.
        message: String,
    },
    /// No answer, or one that broke off.
    #[error("{url}: {message}; check the network and try again, what was fetched so far is kept")]
    Network {
        /// Without its query.
        url: String,
        /// What went wrong, and how often it was tried.
        message: String,
    },
    /// A connection that proves not who it is with, or not at all.
    #[error(
        "{url} is not to be trusted: {message}; check HF_ENDPOINT, and where a proxy reads along set SSL_CERT_FILE to its \
         root certificates"
    )]
    Tls {
        /// Without its query.
        url: String,
        /// What is wrong.
        message: String,
    },
    /// An answer that is not what the hub's API says it is.
    #[error("{url} does not answer as the Hugging Face hub does: {message}; check HF_ENDPOINT")]
    Answer {
        /// Without its query.
        url: String,
        /// What was found and expected.
        message: String,
    },
    /// A file of another length than the server said before.
    #[error("{name} has {found} bytes, and {expected} were announced: nothing was kept; pull again")]
    Size {
        /// The file.
        name: String,
        /// As the answer says.
        found: String,
        /// As the repository says.
        expected: u64,
    },
    /// A file whose bytes are not those that the repository names.
    #[error(
        "{name} came with the {kind} {found}, and {expected} was expected: it was damaged on its way or replaced, and \
         nothing was kept; pull again"
    )]
    Sum {
        /// The file.
        name: String,
        /// Which sum.
        kind: &'static str,
        /// That of the bytes.
        found: String,
        /// That of the repository.
        expected: String,
    },
    /// A file that is there already, and is another one.
    #[error("{} is there already, and not known to be the file of {repo}: remove it, or choose another directory", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// The repository.
        repo: String,
    },
    /// The lock that keeps two pulls apart.
    #[error("cannot lock {}: {source}", .path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Files and disks.
    #[error(transparent)]
    File(#[from] foretoken_formats::Error),
}

/// Text from outside as it goes into a message: short, on one line, nothing that moves a cursor.
pub(crate) fn shown(text: &str) -> String {
    const LIMIT: usize = 200;
    let mut short: String = text.chars().take(LIMIT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace(char::is_control, "\u{fffd}")
}
