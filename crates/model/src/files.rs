//! Weights from and to safetensors, by the parameter table.

use crate::error::Error;
use crate::params::{ParamSpec, ParamTable};
use foretoken_formats::safetensors::{Tensor, TensorView, Weights};
use foretoken_kernels::Buffer;

/// What `transformers` puts before the names of a model with a head: of a GPT-2, whose table is without, and of a llama, whose
/// table has it.
const PREFIXES: [&str; 2] = ["transformer.", "model."];

/// Reads every tensor of the table, with or without the prefix that `transformers` gives to models with a head, as f32.
/// Tensors that the table does not name (mask buffers, the tied head) are left alone.
///
/// # Errors
/// A tensor is missing, has another shape or a type that is not a float; the allocator refuses.
pub fn load(table: &ParamTable, files: &Weights) -> Result<Buffer, Error> {
    let tensors = views(table, files)?;
    let mut weights = table.zeros("weights")?;
    for (tensor, out) in tensors.iter().zip(table.cut_mut(&mut weights)) {
        tensor.read_f32(out)?;
    }
    Ok(weights)
}

/// The tensors of the files that are the table's, in its order.
///
/// # Errors
/// A tensor is missing or has another shape.
pub fn views<'a>(table: &ParamTable, files: &'a Weights) -> Result<Vec<TensorView<'a>>, Error> {
    table.specs().iter().map(|spec| find(spec, files)).collect()
}

/// The tensor of a parameter, of the right shape.
pub(crate) fn find<'a>(spec: &ParamSpec, files: &'a Weights) -> Result<TensorView<'a>, Error> {
    let tensor = files
        .tensor(&spec.name)
        .or_else(|| files.tensor(&format!("{}{}", PREFIXES[0], spec.name)))
        .or_else(|| files.tensor(spec.name.strip_prefix(PREFIXES[1])?))
        .ok_or_else(|| Error::MissingTensor {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            path: files.path().display().to_string(),
        })?;
    if tensor.shape != spec.shape {
        return Err(Error::Shape {
            name: spec.name.clone(),
            path: files.path().display().to_string(),
            found: tensor.shape.to_vec(),
            expected: spec.shape.clone(),
        });
    }
    Ok(tensor)
}

/// The tensors of an arena, ready to be written.
pub fn tensors<'a>(table: &'a ParamTable, arena: &'a [f32]) -> Vec<Tensor<'a>> {
    let parts = table.specs().iter().zip(table.cut(arena));
    parts
        .map(|(spec, data)| Tensor::f32(&spec.name, &spec.shape, data))
        .collect()
}
