//! Files of a model repository ⇄ a local cache, over HTTP.
//!
//! **Knows** the Hugging Face hub: its API, its downloads, and how its cache lies on the disk. **Must not know** what the
//! files mean, nor terminals. Floor 1: it writes through `foretoken-formats`.
//!
//! - [`RepoRef`]: `ORG/NAME@REVISION`, checked before it becomes a path or a URL.
//! - [`Cache`]: the folder that `transformers` reads, too, and what is in it already; no network.
//! - [`Hub`], [`Listing`], [`Pull`] (feature `http`): lists a repository's files and fetches some of them.
//!
//! **Bytes from outside are hostile**, and so are names, sizes and redirects: a file has its name only once its size and its
//! sum are right; a token goes to the endpoint it is for and to nobody else.
//!
//! ```
//! use foretoken_hub::{Cache, RepoRef};
//! let gpt2: RepoRef = "openai-community/gpt2@main".parse()?;
//! let cache = Cache::new("/home/mina/.cache/huggingface/hub");
//! assert_eq!(
//!     cache.folder(&gpt2.repo).to_str(),
//!     Some("/home/mina/.cache/huggingface/hub/models--openai-community--gpt2"),
//! );
//! assert!(cache.snapshot(&gpt2).is_none(), "not pulled yet");
//! # Ok::<(), foretoken_hub::Error>(())
//! ```
#![forbid(unsafe_code)]
// This page tells of both.
#![cfg_attr(not(feature = "http"), allow(rustdoc::broken_intra_doc_links))]

mod cache;
mod error;
mod name;

#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod download;
#[cfg(feature = "http")]
mod event;
#[cfg(feature = "http")]
mod listing;
#[cfg(feature = "http")]
mod patience;
#[cfg(feature = "http")]
mod pull;
#[cfg(feature = "http")]
mod sum;
#[cfg(feature = "http")]
mod url;

pub use cache::Cache;
pub use error::{Error, Result};
pub use name::{RepoId, RepoRef, Revision};

#[cfg(feature = "http")]
pub use client::Hub;
#[cfg(feature = "http")]
pub use event::Event;
#[cfg(feature = "http")]
pub use listing::{Listing, RemoteFile};
#[cfg(feature = "http")]
pub use patience::Patience;
#[cfg(feature = "http")]
pub use pull::{Destination, Fetched, Pull};
#[cfg(feature = "http")]
pub use sum::Sum;
