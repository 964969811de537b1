//! Weights from and to safetensors, by the parameter table.

use crate::error::Error;
use crate::params::{ParamSpec, ParamTable};
use foretoken_formats::safetensors::{Tensor, TensorView, Weights};
use foretoken_kernels::Buffer;

/// What `transformers` puts before the names of a model with a head: of a GPT-2, whose table is without, and of a llama, whose
/// table has it.
const PREFIXES: [&str; 2] = ["transformer.", "model."];

/// Reads every tensor of the table, with or without the prefix that `transformers` gives to models with a head, as f32. Tensors that the table does not
/// name (mask buffers, the tied head) are left alone.
///
/// # Errors
/// A tensor is missing, has another shape or a type that is not a float; the allocator refuses.
pub fn load(table: &ParamTable, files: &Weights) -> Result<Buffer, Error> {
    let mut weights = table.zeros("weights")?;
    for (spec, out) in table.specs().iter().zip(table.cut_mut(&mut weights)) {
        let tensor = find(spec, files).ok_or_else(|| Error::MissingTensor {
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
        tensor.read_f32(out)?;
    }
    Ok(weights)
}

/// A tensor of the table in its file, by its name with or without the prefix that `transformers` gives it.
pub fn find<'a>(spec: &ParamSpec, files: &'a Weights) -> Option<TensorView<'a>> {
    files
        .tensor(&spec.name)
        .or_else(|| files.tensor(&format!("{}{}", PREFIXES[0], spec.name)))
        .or_else(|| files.tensor(spec.name.strip_prefix(PREFIXES[1])?))
}

/// The tensors of an arena, ready to be written.
pub fn tensors<'a>(table: &'a ParamTable, arena: &'a [f32]) -> Vec<Tensor<'a>> {
    let parts = table.specs().iter().zip(table.cut(arena));
    parts
        .map(|(spec, data)| Tensor::f32(&spec.name, &spec.shape, data))
        .collect()
}
