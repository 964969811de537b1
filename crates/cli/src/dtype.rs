//! Types of weights as flags name them.

use clap::ValueEnum;
use foretoken::formats::dtype::Dtype as Stored;
use foretoken::kernels::PackedType;

/// What weights are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    /// 32 bits
    F32,
    /// 16 bits, up to 65504
    F16,
    /// 16 bits, with the range of f32
    Bf16,
    /// 8.5 bits a weight; of files, only in GGUF
    #[value(name = "q8_0")]
    Q8,
    /// 4.5 bits a weight; of files, only in GGUF
    #[value(name = "q4_0")]
    Q40,
    /// 5 bits a weight; of files, only in GGUF
    #[value(name = "q4_1")]
    Q41,
}

impl From<Dtype> for PackedType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => PackedType::F32,
            Dtype::F16 => PackedType::F16,
            Dtype::Bf16 => PackedType::BF16,
            Dtype::Q8 => PackedType::Q8_0,
            Dtype::Q40 => PackedType::Q4_0,
            Dtype::Q41 => PackedType::Q4_1,
        }
    }
}

impl From<Dtype> for Stored {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Stored::F32,
            Dtype::F16 => Stored::F16,
            Dtype::Bf16 => Stored::BF16,
            Dtype::Q8 => Stored::Q8_0,
            Dtype::Q40 => Stored::Q4_0,
            Dtype::Q41 => Stored::Q4_1,
        }
    }
}
