//! What a server is told before it starts.

use crate::keys::Keys;
use foretoken::kernels::PackedType;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// A model to serve.
#[derive(Clone, Debug)]
pub struct Served {
    /// What clients call it.
    pub name: String,
    /// A run, a checkpoint, a model directory, a GGUF file or the name of a pulled model.
    pub path: PathBuf,
    /// Rounds its matrices as it is opened.
    pub quantize: Option<PackedType>,
}

/// How models are served. The defaults are safe: nobody from elsewhere, bounded in every direction.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address; one that is not this machine's own needs `keys`.
    pub host: IpAddr,
    /// A folder of runs that may be watched. Runs that are served may be without it.
    pub runs: Option<PathBuf>,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Of which clients show one as `Authorization: Bearer KEY`. Without any, nobody is asked.
    pub keys: Keys,
    /// Names by which clients may address the server beside `localhost` and numbers: a web page cannot make a browser
    /// talk to it through a name of its own.
    pub allowed_hosts: Vec<String>,
    /// Threads of each model; 0 = one a core.
    pub threads: usize,
    /// Texts of a model that are generated at once.
    pub max_concurrent: usize,
    /// Texts of a model that may wait for a place. What comes then is told to come again.
    pub max_queue: usize,
    /// After so long a request ends with an error, waiting or under way.
    pub timeout: Duration,
    /// How long requests under way may go on once the server was told to stop.
    pub drain: Duration,
    /// The most bytes of a body.
    pub max_body: usize,
    /// How long a client may take for the headers of a request, and between two requests.
    pub header_timeout: Duration,
    /// How long a client may take for a body.
    pub body_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub stall_timeout: Duration,
    /// Connections at once; others wait until one ends.
    pub max_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            runs: None,
            port: 8080,
            keys: Keys::default(),
            allowed_hosts: Vec::new(),
            threads: 0,
            max_concurrent: 16,
            max_queue: 256,
            timeout: Duration::from_secs(600),
            drain: Duration::from_secs(30),
            max_body: 1 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            max_connections: 4096,
        }
    }
}
