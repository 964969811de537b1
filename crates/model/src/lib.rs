//! Begun; see ARCHITECTURE.md.
