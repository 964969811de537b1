//! Hostile bytes to named tensors and back, and the one durable way in which the project writes files.
//!
//! **Knows** file formats and disks. **Must not know** what a model, a token or a training step is. Floor 0: it depends
//! on no other crate of the project.
//!
//! - [`durable`]: every file the project writes goes through here. After a crash at any point the old state or the new
//!   one is there, complete; a checkpoint directory carries sizes and sums, and [`durable::verify_dir`] checks them.
//! - [`safetensors`]: reading tensors where they lie in a mapped file, also over the shards of a model directory, and
//!   writing them without a second copy; halves become 32-bit floats on the way in, and are made from them on the way out.
//! - [`gguf`]: the format of llama.cpp, in and out: typed metadata and tensors where they lie in a mapped file; what was
//!   read and is written again is the same file.
//! - [`dtype`]: element types of weights, half-precision and quantised blocks, to 32-bit floats and back, to the bytes of
//!   ggml's reference.
//! - [`map`]: files as slices, with the only `unsafe` of this crate.
//! - [`json`]: small JSON files, bounded in size and depth.
//! - [`memory`]: how much memory is free.
//!
//! **Bytes from outside are hostile.** Whatever a file says is checked before memory is asked for: a malformed file
//! gives a typed [`Error`] that names the place, no panic, and takes no more memory than twice its size and 64 MiB.
//!
//! ```
//! use foretoken_formats::{durable, safetensors::{self, Safetensors, Tensor}};
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("model.safetensors");
//! let wte = Tensor::f32("wte.weight", &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
//! durable::write_file(&path, |w| safetensors::write(w, &[wte], &[]))?;
//!
//! let file = Safetensors::open(&path)?;
//! let wte = file.tensor("wte.weight").expect("it was just written");
//! let mut floats = [0.0; 6];
//! wte.read_f32(&mut floats)?;
//! assert_eq!((wte.shape, floats[5]), (&[2, 3][..], 5.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("the formats are little-endian and are mapped as they are: a big-endian machine would misread them");

pub mod dtype;
pub mod durable;
mod error;
pub mod gguf;
pub mod json;
pub mod map;
pub mod memory;
pub mod safetensors;
mod write;

pub use error::{Error, Result};
