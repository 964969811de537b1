//! What the tensors of a GGUF file are to a model: their names there, how their rows lie, and the arena made of them.

use crate::contract::Model;
use crate::error::Error;
use crate::params::ParamSpec;
use foretoken_formats::gguf::{Gguf, TensorView};
use foretoken_kernels::Buffer;

/// How a matrix of a GGUF file lies beside the parameter it is. Rows of GGUF are (out,in), whatever the model's are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As the parameter's; so every tensor that is no matrix.
    Same,
    /// The parameter is (in,out): rows of one are columns of the other.
    Transposed,
    /// Whole rows stand in another order, so that blocks of a quantised row stay as they are: of the rows of each head,
    /// (2, dh/2) in the parameter, (dh/2, 2) in the file. The first rotates halves of a head, the second neighbours.
    Turned {
        /// Heads the rows belong to: h for queries, those of keys and values for keys.
        heads: usize,
    },
}

impl Layout {
    /// Where the parameter's row `row` of `rows` stands in the file.
    ///
    /// # Panics
    /// Where the matrix is [`Layout::Transposed`]: it has no such row.
    pub fn gguf_row(self, row: usize, rows: usize) -> usize {
        match self {
            Layout::Same => row,
            Layout::Turned { heads } => {
                let dh = rows / heads;
                let (head, at) = (row / dh, row % dh);
                let (half, pair) = (at / (dh / 2), at % (dh / 2));
                head * dh + 2 * pair + half
            }
            Layout::Transposed => panic!("row {row} of a transposed matrix"),
        }
    }

    /// The shape in the file of a parameter of this shape, the slowest size first.
    pub fn gguf_shape(self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if self == Layout::Transposed {
            shape.reverse();
        }
        shape
    }
}

/// What a parameter is in a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// llama.cpp's name.
    pub name: String,
    /// How its rows lie.
    pub layout: Layout,
}

/// The name in a GGUF file of the parameter `name`: `stems` are pairs of ours and theirs, without `weight` or `bias`, and
/// what stands between `layers` and the next dot is the number of the block.
pub(crate) fn renamed(name: &str, layers: &str, stems: &[(&str, &str)]) -> String {
    let (stem, part) = name.rsplit_once('.').expect("a name ends in weight or bias");
    let (block, stem) = match stem.strip_prefix(layers).and_then(|rest| rest.split_once('.')) {
        Some((number, stem)) => (format!("blk.{number}."), stem),
        None => (String::new(), stem),
    };
    let theirs = stems.iter().find(|(ours, _)| *ours == stem);
    let (_, theirs) = theirs.unwrap_or_else(|| panic!("{name} has no name in GGUF"));
    format!("{block}{theirs}.{part}")
}

/// Rows of a transposed matrix that are decoded and turned together: a cache line of the parameter's rows.
const TILE: usize = 16;

/// Reads every tensor of `model` from the file, as f32.
///
/// All tensors are found and their shapes checked before memory is asked for.
///
/// # Errors
/// A tensor is missing, has another shape, or is one that the model does not have; the allocator refuses.
pub fn load_gguf(model: &dyn Model, file: &Gguf) -> Result<Buffer, Error> {
    let (table, names) = (model.params(), model.gguf_tensors());
    let mut tensors = Vec::with_capacity(names.len());
    for (spec, gguf) in table.specs().iter().zip(&names) {
        tensors.push(find(spec, gguf, file)?);
    }
    let mut weights = table.zeros("weights")?;
    let parts = table.specs().iter().zip(table.cut_mut(&mut weights));
    for (((spec, out), gguf), tensor) in parts.zip(&names).zip(tensors) {
        read(&tensor, gguf.layout, spec, out);
    }
    Ok(weights)
}

/// The tensor of a parameter, of the right shape.
pub(crate) fn find<'a>(spec: &ParamSpec, gguf: &GgufTensor, file: &'a Gguf) -> Result<TensorView<'a>, Error> {
    let expected = gguf.layout.gguf_shape(&spec.shape);
    let path = || file.path().display().to_string();
    let tensor = file.tensor(&gguf.name).ok_or_else(|| Error::MissingTensor {
        name: gguf.name.clone(),
        shape: expected.clone(),
        path: path(),
    })?;
    if tensor.shape != expected {
        return Err(Error::Shape {
            name: gguf.name.clone(),
            path: path(),
            found: tensor.shape.to_vec(),
            expected,
        });
    }
    Ok(tensor)
}

/// Decodes a tensor of the right shape into the parameter's order.
fn read(tensor: &TensorView<'_>, layout: Layout, spec: &ParamSpec, out: &mut [f32]) {
    let (rows, cols) = (tensor.shape[0], tensor.elements() / tensor.shape[0]);
    let row_bytes = tensor.bytes.len() / rows;
    match layout {
        Layout::Same => tensor.dtype.decode(tensor.bytes, out),
        Layout::Turned { .. } => {
            for (row, out) in out.chunks_exact_mut(cols).enumerate() {
                let at = layout.gguf_row(row, spec.shape[0]) * row_bytes;
                tensor.dtype.decode(&tensor.bytes[at..at + row_bytes], out);
            }
        }
        Layout::Transposed => {
            let mut tile = vec![0.0; TILE * cols];
            for (i, bytes) in tensor.bytes.chunks(TILE * row_bytes).enumerate() {
                let n = bytes.len() / row_bytes;
                let tile = &mut tile[..n * cols];
                tensor.dtype.decode(bytes, tile);
                for (col, line) in out.chunks_exact_mut(rows).enumerate() {
                    for (row, x) in line[i * TILE..][..n].iter_mut().enumerate() {
                        *x = tile[row * cols + col];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_head_are_halves_here_and_neighbours_there() {
        let layout = Layout::Turned { heads: 2 };
        let there: Vec<usize> = (0..8).map(|row| layout.gguf_row(row, 8)).collect();
        assert_eq!(there, [0, 2, 1, 3, 4, 6, 5, 7]);
        let there: Vec<usize> = (0..6).map(|row| Layout::Turned { heads: 1 }.gguf_row(row, 6)).collect();
        assert_eq!(there, [0, 2, 4, 1, 3, 5]);
    }

    #[test]
    fn names_keep_their_block_and_their_part() {
        let stems = [("ln_1", "attn_norm"), ("wte", "token_embd")];
        assert_eq!(renamed("h.12.ln_1.bias", "h.", &stems), "blk.12.attn_norm.bias");
        assert_eq!(renamed("wte.weight", "h.", &stems), "token_embd.weight");
    }
}
