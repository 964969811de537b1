//! Pulls from a server on this machine that does what servers and networks do.

mod downloads;
mod hostile;
mod layout;
mod refusals;
mod repository;
mod server;
