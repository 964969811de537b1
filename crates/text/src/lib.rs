//! Begun; see ARCHITECTURE.md.

pub mod corpus;
