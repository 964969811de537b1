//! What a server tells whoever runs it.

use std::net::SocketAddr;
use std::time::Duration;

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Connections are taken in.
    Listening(SocketAddr),
    /// A model can be asked.
    Loaded {
        /// Its name.
        model: String,
        /// How long it took to open it.
        took: Duration,
        /// Bytes of its weights, and those that texts may take beside them.
        bytes: [u64; 2],
    },
    /// A request has ended.
    Request(Record),
    /// No more requests are taken in; those under way go on.
    Draining {
        /// Requests under way.
        requests: usize,
    },
}

/// A request that has ended. What was asked and answered is not in it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who asked.
    pub peer: SocketAddr,
    /// As it was asked.
    pub method: String,
    /// The path without its query; `?` where it is no path of ours.
    pub path: &'static str,
    /// The status of the answer, of an error within a stream its own, and 499 where the client left before the end.
    pub status: u16,
    /// The model that was asked.
    pub model: Option<String>,
    /// Tokens of the prompts.
    pub prompt_tokens: usize,
    /// Tokens that were generated.
    pub generated_tokens: usize,
    /// From the request's headers to the first token.
    pub first_token: Option<Duration>,
    /// From the request's headers to the end.
    pub took: Duration,
}
