//! What can be wrong with a model that the world hands in.

/// Why a model could not be made or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of the config has a value no model can have.
    #[error("config: `{field}` is {found}: expected {expected}")]
    Config {
        /// Hugging Face's name of the field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
    /// The config is not a JSON object of the expected form.
    #[error("config: {0}")]
    ConfigForm(#[from] serde_json::Error),
    /// An architecture that foretoken does not have.
    #[error("config: `model_type` is {found}: foretoken has {}", .known.join(", "))]
    Architecture {
        /// What the config names.
        found: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A batch whose sizes nobody can work out.
    #[error("a batch of {b} sequences of {t} tokens: expected {expected}")]
    Batch {
        /// B.
        b: usize,
        /// T.
        t: usize,
        /// What may be asked.
        expected: String,
    },
    /// The allocator refused.
    #[error("no memory for {what}: {} are needed; lower the batch size or the sequence length, or take a smaller model", human_bytes(*.bytes))]
    NoMemory {
        /// What the memory was for.
        what: &'static str,
        /// How much.
        bytes: u64,
    },
    /// A tensor is missing from a file.
    #[error("tensor `{name}` {shape:?} is not in {path}: the file belongs to another model, or is incomplete")]
    MissingTensor {
        /// Its name.
        name: String,
        /// The shape the config asks for.
        shape: Vec<usize>,
        /// Where it was looked for.
        path: String,
    },
    /// A tensor has another shape than the config says.
    #[error("tensor `{name}` in {path} has shape {found:?}, but the config asks for {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Where it lies.
        path: String,
        /// Its shape there.
        found: Vec<usize>,
        /// The shape the config asks for.
        expected: Vec<usize>,
    },
    /// A key of a GGUF file has a value no model can have, or one that asks for what is not computed here.
    #[error("{path}: `{key}` is {found}: expected {expected}")]
    Key {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
    /// A GGUF file of an architecture that foretoken does not have.
    #[error("{path}: `general.architecture` is {found:?}: foretoken has {}", .known.join(", "))]
    GgufArchitecture {
        /// The file.
        path: String,
        /// What it names.
        found: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A tensor of a GGUF file that the architecture has no place for: without it the numbers would be others.
    #[error(
        "tensor `{name}` in {path} is none of a {model_type}: models with it (biases, experts, scaled positions, a head of its own) are not supported"
    )]
    UnknownTensor {
        /// Its name.
        name: String,
        /// The file.
        path: String,
        /// The architecture.
        model_type: &'static str,
    },
    /// A field of an `adapter_config.json` that no adapter has, or that asks for what is not computed here.
    #[error("{path}: `{field}` is {found}: expected {expected}")]
    AdapterField {
        /// The file.
        path: String,
        /// Its field.
        field: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
    /// A tensor of an adapter that does not go with the model, with its partner or with the config.
    #[error("{path}: tensor `{name}` {problem}: expected {expected}")]
    AdapterTensor {
        /// The file.
        path: String,
        /// Its name there.
        name: String,
        /// What is wrong.
        problem: String,
        /// What was expected.
        expected: String,
    },
    /// The file itself could not be read.
    #[error(transparent)]
    File(#[from] foretoken_formats::Error),
}

/// Bytes as people read them, in powers of 1024: `1.5 GiB`.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}
