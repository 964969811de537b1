//! What keys and tensors of a GGUF file are to a model: sizes, names, how rows lie, and the arena made of them.
//!
//! A file is refused where it says something that would change the numbers and is not computed here: a key that scales or
//! masks otherwise, a tensor that the model does not have. Source: `llama-model.cpp` and `gguf-py/gguf/constants.py` of
//! llama.cpp.

mod keys;

pub(crate) use keys::Keys;

use crate::contract::Model;
use crate::error::Error;
use crate::params::ParamSpec;
use foretoken_formats::gguf::{Gguf, TensorView};
use foretoken_kernels::Buffer;
use std::collections::HashSet;

/// The token embedding, in every architecture.
pub(crate) const EMBEDDING: &str = "token_embd.weight";
/// The head, where it is not the embedding.
pub(crate) const HEAD: &str = "output.weight";

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

/// The tensors of the file that are the model's parameters, in the order of [`crate::ParamTable::specs`].
///
/// # Errors
/// A tensor is missing, has another shape, or is none that the model has.
pub fn gguf_views<'a>(model: &dyn Model, file: &'a Gguf) -> Result<Vec<TensorView<'a>>, Error> {
    let names = model.gguf_tensors();
    let known: HashSet<&str> = names.iter().map(|gguf| &*gguf.name).collect();
    let specs = model.params().specs();
    let tensors = specs.iter().zip(&names).map(|(spec, gguf)| find(spec, gguf, file));
    let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    for tensor in file.tensors() {
        let copied = |embedding: &TensorView<'_>| tensor.name == HEAD && is_copy(&tensor, embedding);
        if !known.contains(tensor.name) && !file.tensor(EMBEDDING).as_ref().is_some_and(copied) {
            return Err(Error::UnknownTensor {
                name: tensor.name.into(),
                path: file.path().display().to_string(),
                model_type: model.model_type(),
            });
        }
    }
    Ok(tensors)
}

/// How far apart two roundings of one weight may be: the squares of the differences beside those of the weights. Q4_0 gives
/// less than a hundredth of them; two weights of their own, two.
const COPY: f64 = 0.05;

/// Whether `head` is a copy of `embedding`, which older readers of a GPT-2 ask for, perhaps in another precision.
fn is_copy(head: &TensorView<'_>, embedding: &TensorView<'_>) -> bool {
    if head.shape != embedding.shape || head.shape.len() != 2 {
        return false;
    }
    if head.dtype == embedding.dtype {
        return head.bytes == embedding.bytes;
    }
    let (rows, cols) = (head.shape[0], head.shape[1]);
    let (mut a, mut b) = (vec![0.0; cols], vec![0.0; cols]);
    let (mut squares, mut differences) = (0.0, 0.0);
    for row in 0..rows {
        for (tensor, out) in [(head, &mut a), (embedding, &mut b)] {
            let bytes = tensor.bytes.len() / rows;
            tensor.dtype.decode(&tensor.bytes[row * bytes..][..bytes], out);
        }
        for (a, b) in a.iter().zip(&b) {
            squares += f64::from(*a) * f64::from(*a);
            differences += f64::from(a - b).powi(2);
        }
    }
    differences <= COPY * squares
}

/// Reads every tensor of `model` from the file, as f32.
///
/// All tensors are found and their shapes checked before memory is asked for.
///
/// # Errors
/// As [`gguf_views`]; the allocator refuses.
pub fn load_gguf(model: &dyn Model, file: &Gguf) -> Result<Buffer, Error> {
    let (table, names) = (model.params(), model.gguf_tensors());
    let tensors = gguf_views(model, file)?;
    let mut weights = table.zeros("weights")?;
    for ((out, gguf), tensor) in table.cut_mut(&mut weights).zip(&names).zip(tensors) {
        read_gguf(&tensor, gguf.layout, out);
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

/// Decodes one tensor that [`gguf_views`] gave into the order of the parameter.
///
/// # Panics
/// Where `out` is not as long as the tensor.
pub fn read_gguf(tensor: &TensorView<'_>, layout: Layout, out: &mut [f32]) {
    let (rows, cols) = (tensor.shape[0], tensor.elements() / tensor.shape[0]);
    let row_bytes = tensor.bytes.len() / rows;
    match layout {
        Layout::Same => tensor.dtype.decode(tensor.bytes, out),
        Layout::Turned { .. } => {
            for (row, out) in out.chunks_exact_mut(cols).enumerate() {
                let at = layout.gguf_row(row, rows) * row_bytes;
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

/// Gives the rows of a GGUF file's tensor, one or several whole ones at a time, made of the parameter's numbers `x`, of
/// shape `shape`.
///
/// # Errors
/// Those of `each`.
///
/// # Panics
/// Where `x` is not of that shape.
pub fn gguf_rows<E>(
    layout: Layout,
    shape: &[usize],
    x: &[f32],
    mut each: impl FnMut(&[f32]) -> Result<(), E>,
) -> Result<(), E> {
    assert_eq!(x.len(), shape.iter().product::<usize>(), "numbers of shape {shape:?}");
    let (rows, cols) = (shape[0], x.len() / shape[0]);
    match layout {
        Layout::Same => each(x),
        Layout::Turned { .. } => {
            let mut from = vec![0; rows];
            (0..rows).for_each(|row| from[layout.gguf_row(row, rows)] = row);
            from.iter().try_for_each(|row| each(&x[row * cols..][..cols]))
        }
        Layout::Transposed => {
            let mut tile = vec![0.0; TILE * rows];
            for first in (0..cols).step_by(TILE) {
                let n = TILE.min(cols - first);
                for (row, line) in x.chunks_exact(cols).enumerate() {
                    for (col, x) in line[first..][..n].iter().enumerate() {
                        tile[col * rows + row] = *x;
                    }
                }
                each(&tile[..n * rows])?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_formats::dtype::Dtype;
    use std::convert::Infallible;
    use std::path::Path;

    /// Into the file's order and back, also where a tile is not full.
    #[test]
    fn every_layout_comes_back() {
        let (rows, cols) = (12, 37);
        let x: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
        for layout in [Layout::Same, Layout::Turned { heads: 3 }, Layout::Transposed] {
            let mut bytes = Vec::new();
            let rows = gguf_rows(layout, &[rows, cols], &x, |rows| {
                bytes.extend(rows.iter().flat_map(|x| x.to_le_bytes()));
                Ok::<(), Infallible>(())
            });
            rows.unwrap();
            let shape = layout.gguf_shape(&[12, 37]);
            let tensor = TensorView {
                path: Path::new("(test)"),
                name: "x",
                dtype: Dtype::F32,
                shape: &shape,
                bytes: &bytes,
            };
            let mut back = vec![0.0; x.len()];
            read_gguf(&tensor, layout, &mut back);
            assert_eq!(back, x, "{layout:?}");
            assert_eq!(
                bytes == bytes_of(&x),
                layout == Layout::Same,
                "{layout:?} moves something"
            );
        }
    }

    fn bytes_of(x: &[f32]) -> Vec<u8> {
        x.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

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
