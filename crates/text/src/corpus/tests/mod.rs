//! What the corpus promises: exact probabilities, one reading of each text, stories that hold together, answers that
//! follow from them.

mod exactness;
mod pattern;
mod reader;
mod sentences;
mod stories;
