//! From one form of a model to another: a run, a checkpoint, a directory in Hugging Face's layout, an adapter with its base or
//! a GGUF file becomes such a directory or a GGUF file.
//!
//! What is stored keeps its type where the target can hold it, and is then copied byte for byte. Tensors go through one by
//! one: no more than one of them is in memory, beside the mapped files.

mod gguf;
pub(crate) mod hf;

use crate::error::Error;
use crate::source::Source;
use foretoken_formats::dtype::Dtype;
use std::io;
use std::path::{Path, PathBuf};

/// How a model is converted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConvertOptions {
    /// The type of the weights; what they have unless given.
    pub dtype: Option<Dtype>,
    /// What is at the target may be replaced.
    pub force: bool,
    /// Layers and heads, from 0, that are taken out: what mixes their layer's heads has zeros for them. Such a matrix becomes F32 unless
    /// a type is given.
    pub without_heads: Vec<(usize, usize)>,
}

/// One tensor, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertedTensor {
    /// Its name in the target.
    pub name: String,
    /// Its shape in the target, the slowest size first.
    pub shape: Vec<usize>,
    /// How it was stored.
    pub from: Dtype,
    /// How it is stored now.
    pub to: Dtype,
    /// Why it has not the type that was asked for.
    pub kept: Option<Kept>,
}

/// Why a tensor has another type than the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Norms, biases and positions are F32 in every GGUF file: they are small, and readers add them as they are.
    Small,
    /// The head is Q8_0 in a file of 4 bits: its errors go straight into the logits.
    Head,
    /// Its rows are no whole number of blocks: F16.
    Rows,
}

impl ConvertedTensor {
    /// Numbers it holds.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64
    }

    /// Bytes before.
    pub fn bytes_in(&self) -> u64 {
        self.bytes(self.from)
    }

    /// Bytes after.
    pub fn bytes_out(&self) -> u64 {
        self.bytes(self.to)
    }

    fn bytes(&self, dtype: Dtype) -> u64 {
        // Blocks need not divide a matrix's rows once it is transposed, and its elements they do.
        self.elements() / dtype.block_len() as u64 * dtype.block_bytes() as u64
    }
}

/// What was converted.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The target.
    pub path: PathBuf,
    /// Every tensor in the order of the target.
    pub tensors: Vec<ConvertedTensor>,
}

impl Converted {
    /// Numbers that all tensors hold.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().map(ConvertedTensor::elements).sum()
    }

    /// Bytes of all tensors before.
    pub fn bytes_in(&self) -> u64 {
        self.tensors.iter().map(ConvertedTensor::bytes_in).sum()
    }

    /// Bytes of all tensors after.
    pub fn bytes_out(&self) -> u64 {
        self.tensors.iter().map(ConvertedTensor::bytes_out).sum()
    }

    /// Bits of the target for one number.
    pub fn bits_a_weight(&self) -> f64 {
        8.0 * self.bytes_out() as f64 / self.elements() as f64
    }
}

/// How far a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertProgress {
    /// Bytes of the target's tensors that were written.
    pub done: u64,
    /// Bytes of all of them.
    pub total: u64,
}

/// What a caller is told while a model is converted; false ends it, and nothing is left of the target.
pub type OnProgress<'a> = dyn FnMut(ConvertProgress) -> bool + 'a;

/// Converts the model at `from`. The target is a GGUF file where `to` ends in `.gguf`, else a directory in Hugging Face's
/// layout.
///
/// Without a type each tensor keeps its own where the target can hold it: what is quantised becomes F32 in a directory, exact;
/// norms, biases and positions are F32 in a GGUF file. With one, see [`Kept`] for what differs from it.
///
/// # Errors
/// There is no model, it is damaged, or of a kind that is not known; the target exists and may not be replaced, cannot hold
/// the type or the tokeniser; a number too large for F16; the caller ended it; the disk.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let tmp = tempfile::tempdir()?;
/// # let run = foretoken::doc_model(tmp.path())?;
/// use foretoken::{ConvertOptions, convert, formats::dtype::Dtype};
/// let out = tmp.path().join("model.gguf");
/// let options = ConvertOptions { dtype: Some(Dtype::Q8_0), ..Default::default() };
/// let converted = convert(&run, &out, &options, &mut |_| true)?;
/// assert!(converted.bytes_out() < converted.bytes_in());
/// let text = foretoken::open(&out)?.generate("Mina", &Default::default())?;
/// # assert!(!text.is_empty());
/// # Ok(()) }
/// ```
pub fn convert(
    from: &Path,
    to: &Path,
    options: &ConvertOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<Converted, Error> {
    if let Some(dtype) = options.dtype.filter(|dtype| !dtype.can_encode()) {
        return Err(Error::ReadOnlyDtype { dtype });
    }
    let mut source = Source::open(from)?;
    source.take_out(&options.without_heads)?;
    for from in [&source.path, &source.base] {
        check_target(from, to, options.force)?;
    }
    let is_file = to.extension().is_some_and(|name| name.eq_ignore_ascii_case("gguf"));
    let tensors = match is_file {
        true => gguf::write(&source, to, options, on_progress)?,
        false => hf::write(&source, to, options, on_progress)?,
    };
    Ok(Converted {
        path: to.to_owned(),
        tensors,
    })
}

/// Whether there may be a new model at `to`. A directory goes only where it holds a model and nothing that was trained.
fn check_target(from: &Path, to: &Path, force: bool) -> Result<(), Error> {
    if std::fs::symlink_metadata(to).is_err() {
        return Ok(());
    }
    if !force {
        return Err(foretoken_formats::Error::Exists { path: to.to_owned() }.into());
    }
    let refuse = |reason| {
        Err(Error::Target {
            path: to.to_owned(),
            reason,
        })
    };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(from).starts_with(real(to)) {
        return refuse("the model that is converted is there");
    }
    if to.is_dir() {
        let has = |name: &str| to.join(name).exists();
        if !has("config.json") || has("train_state.json") || has("run.toml") {
            return refuse("it is a directory that `convert` did not make; choose another name");
        }
    }
    Ok(())
}

/// Counts what is written and tells it.
struct Told<'a> {
    progress: ConvertProgress,
    on_progress: &'a mut OnProgress<'a>,
}

impl<'a> Told<'a> {
    fn new(tensors: &[ConvertedTensor], on_progress: &'a mut OnProgress<'a>) -> Self {
        let total = tensors.iter().map(ConvertedTensor::bytes_out).sum();
        Self {
            progress: ConvertProgress { done: 0, total },
            on_progress,
        }
    }

    fn wrote(&mut self, tensor: &ConvertedTensor) -> io::Result<()> {
        self.progress.done += tensor.bytes_out();
        match (self.on_progress)(self.progress) {
            true => Ok(()),
            false => Err(io::Error::other(
                "stopped before it was whole, and nothing is left of it",
            )),
        }
    }
}

/// Writes numbers as `dtype`. F16 ends at 65504: what is larger must not become infinite in silence.
fn encode(tensor: &ConvertedTensor, x: &[f32], w: &mut dyn io::Write) -> io::Result<()> {
    let too_large = |x: &&f32| x.is_finite() && x.abs() >= 65520.0;
    if tensor.to == Dtype::F16
        && let Some(x) = x.iter().find(too_large)
    {
        let message = format!("tensor {} holds {x}, which f16 cannot: take f32 or bf16", tensor.name);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    tensor.to.write(x, w)
}
