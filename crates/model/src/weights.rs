//! Weights as generation reads them: the arena of training, or packed.

use crate::contract::Model;
use crate::error::Error;
use crate::files;
use crate::gguf::{self, Layout};
use crate::params::{ParamSpec, ParamTable, Product};
use crate::trainable::Trainable;
use foretoken_formats::dtype::Dtype;
use foretoken_formats::gguf::Gguf;
use foretoken_formats::safetensors;
use foretoken_kernels::{Buffer, CacheType, PackedMatrix, PackedType, Packing, Pool};

/// The weights of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weights<'a> {
    /// An arena of [`Model::params`], in f32.
    Arena(&'a [f32]),
    /// Matrices in the types and the order that generation reads fastest.
    Packed(&'a PackedWeights),
}

impl Weights<'_> {
    /// How keys and values are best kept beside them: as exact as the weights are.
    pub fn cache_type(&self) -> CacheType {
        match self {
            Weights::Arena(_) => CacheType::F32,
            Weights::Packed(packed) => packed.cache_type,
        }
    }

    /// Bytes of all tensors of `model`.
    pub fn bytes(&self, model: &dyn Model) -> u64 {
        match self {
            Weights::Arena(_) => 4 * model.params().count(),
            Weights::Packed(packed) => packed.bytes(),
        }
    }

    /// Bytes that one token reads: all but other tokens' rows of what is only looked up.
    pub fn bytes_a_token(&self, model: &dyn Model) -> u64 {
        let looked_up = model
            .params()
            .specs()
            .iter()
            .filter(|spec| spec.product.is_none() && spec.shape.len() > 1);
        let rows: usize = looked_up.map(|spec| spec.len() - spec.shape[1]).sum();
        self.bytes(model) - 4 * rows as u64
    }

    /// The type that most numbers have, as ggml writes it.
    pub fn dtype(&self) -> &'static str {
        let Weights::Packed(packed) = self else {
            return Dtype::F32.name();
        };
        let matrices = packed.tensors.iter().filter_map(|tensor| match tensor {
            Held::Floats(_) => None,
            Held::Packed(matrix) => Some((matrix.kind(), matrix.rows() * matrix.cols())),
        });
        let mut counts = [0; PackedType::ALL.len()];
        for (kind, count) in matrices {
            counts[PackedType::ALL
                .iter()
                .position(|&other| other == kind)
                .expect("every type")] += count;
        }
        let most = (0..counts.len()).max_by_key(|&i| counts[i]).expect("there are types");
        dtype_of(PackedType::ALL[most]).name()
    }

    /// The first tensor of `model` that holds what is not a finite number. Not every kernel hands a NaN on.
    pub fn not_finite(&self, model: &dyn Model) -> Option<String> {
        // No branch a number: as fast as memory is read.
        let broken = |floats: &[f32]| floats.iter().fold(false, |broken, x| broken | !x.is_finite());
        let mut parts = model.params().specs().iter().zip(self.parts(model.params()));
        let found = parts.find(|(_, weight)| match weight {
            Weight::Floats(floats) => floats.chunks(1 << 12).any(broken),
            Weight::Packed(matrix) => !matrix.is_finite(),
        });
        Some(found?.0.name.clone())
    }
}

impl<'a> From<&'a [f32]> for Weights<'a> {
    fn from(arena: &'a [f32]) -> Self {
        Weights::Arena(arena)
    }
}

impl<'a> From<&'a Buffer> for Weights<'a> {
    fn from(arena: &'a Buffer) -> Self {
        Weights::Arena(arena)
    }
}

impl<'a> From<&'a PackedWeights> for Weights<'a> {
    fn from(packed: &'a PackedWeights) -> Self {
        Weights::Packed(packed)
    }
}

/// One tensor.
#[derive(Clone, Copy)]
pub(crate) enum Weight<'a> {
    /// As the table has it.
    Floats(&'a [f32]),
    /// (out,in), whatever the table has.
    Packed(&'a PackedMatrix),
}

impl<'a> Weight<'a> {
    /// What is no matrix, and is never packed.
    pub(crate) fn floats(self) -> &'a [f32] {
        match self {
            Weight::Floats(floats) => floats,
            Weight::Packed(matrix) => panic!("{matrix:?} is packed"),
        }
    }
}

impl<'a> Weights<'a> {
    /// The tensors in the order of [`ParamTable::specs`].
    pub(crate) fn parts(self, table: &'a ParamTable) -> Box<dyn Iterator<Item = Weight<'a>> + 'a> {
        match self {
            Weights::Arena(arena) => Box::new(table.cut(arena).map(Weight::Floats)),
            Weights::Packed(packed) => {
                assert_eq!(
                    packed.tensors.len(),
                    table.specs().len(),
                    "packed weights of this model"
                );
                Box::new(packed.tensors.iter().map(|tensor| match tensor {
                    Held::Floats(floats) => Weight::Floats(floats),
                    Held::Packed(matrix) => Weight::Packed(matrix),
                }))
            }
        }
    }
}

/// The weights of a model with every matrix that a product reads in panels (see [`PackedMatrix`]), the rest as f32.
#[derive(Debug)]
pub struct PackedWeights {
    tensors: Vec<Held>,
    cache_type: CacheType,
}

impl PartialEq for PackedWeights {
    /// The same numbers, stored alike.
    fn eq(&self, other: &Self) -> bool {
        self.contents().eq(other.contents())
    }
}

#[derive(Debug)]
enum Held {
    Floats(Buffer),
    Packed(PackedMatrix),
}

/// Where weights come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// An arena of the model's parameters.
    Arena(&'a [f32]),
    /// A model directory in Hugging Face's layout.
    Safetensors(&'a safetensors::Weights),
    /// A GGUF file.
    Gguf(&'a Gguf),
    /// One of the others with some matrices in another version.
    Merged(&'a Merged<'a>),
}

/// A model's tensors somewhere, and the merged version of those that have a pair of low rank.
#[derive(Debug)]
pub struct Merged<'a> {
    base: Source<'a>,
    /// As the table has them, in f32; in the order of [`ParamTable::specs`].
    tensors: Vec<Option<Buffer>>,
}

impl<'a> Merged<'a> {
    /// W + s B A of every matrix that has a pair; the rest stays where it is.
    ///
    /// # Errors
    /// A tensor is missing or has another shape; the allocator refuses.
    pub fn new(
        model: &dyn Model,
        pool: &Pool,
        base: Source<'a>,
        trainable: &Trainable,
        pairs: &[f32],
    ) -> Result<Self, Error> {
        let table = model.params();
        let stored = base.tensors(model)?;
        let names = model.gguf_tensors();
        let mut scratch = vec![0.0; trainable.merge_scratch(table)];
        let mut tensors: Vec<Option<Buffer>> = table.specs().iter().map(|_| None).collect();
        for (i, spec, pair) in trainable.pairs(table, pairs) {
            let mut out = Buffer::try_zeroed(spec.len()).ok_or(no_memory(4 * spec.len() as u64))?;
            match base {
                Source::Gguf(file) => {
                    gguf::read_gguf(&gguf::find(spec, &names[i], file)?, names[i].layout, &mut out);
                }
                _ => stored[i].dtype.decode(stored[i].bytes, &mut out),
            }
            pair.merge_into(pool, spec, &mut out, &mut scratch);
            tensors[i] = Some(out);
        }
        Ok(Self { base, tensors })
    }

    fn stored(&self, model: &dyn Model) -> Result<Vec<Stored<'_>>, Error> {
        let mut all: Vec<Stored<'_>> = self.base.tensors(model)?;
        for ((spec, stored), merged) in model.params().specs().iter().zip(&mut all).zip(&self.tensors) {
            if let Some(floats) = merged {
                *stored = Stored {
                    dtype: Dtype::F32,
                    bytes: bytemuck::cast_slice(floats),
                    layout: layout_of(spec),
                };
            }
        }
        Ok(all)
    }

    /// The merged versions alone, in the order of [`ParamTable::specs`].
    pub fn into_tensors(self) -> Vec<Option<Buffer>> {
        self.tensors
    }
}

/// A tensor somewhere, of the right shape.
struct Stored<'a> {
    dtype: Dtype,
    bytes: &'a [u8],
    /// How the rows of a matrix lie in `bytes`: `Transposed` where they are (in,out).
    layout: Layout,
}

impl<'a> Source<'a> {
    /// The tensors of a model, each with its place.
    fn tensors(self, model: &dyn Model) -> Result<Vec<Stored<'a>>, Error> {
        if let Source::Merged(merged) = self {
            return merged.stored(model);
        }
        let names = model.gguf_tensors();
        let specs = model.params().specs().iter().zip(&names);
        specs
            .map(|(spec, gguf)| {
                let layout = layout_of(spec);
                let (dtype, bytes, layout) = match self {
                    Source::Arena(arena) => (Dtype::F32, bytemuck::cast_slice(&arena[spec.range.clone()]), layout),
                    Source::Safetensors(file) => {
                        let tensor = files::find(spec, file)?;
                        (tensor.float_type()?, tensor.bytes, layout)
                    }
                    Source::Gguf(file) => {
                        let tensor = gguf::find(spec, gguf, file)?;
                        // Rows are (out,in) there, whatever the parameter's are.
                        let turned = matches!(gguf.layout, Layout::Turned { .. });
                        (
                            tensor.dtype,
                            tensor.bytes,
                            if turned { gguf.layout } else { Layout::Same },
                        )
                    }
                    Source::Merged(_) => unreachable!("it was asked for its own"),
                };
                Ok(Stored { dtype, bytes, layout })
            })
            .collect()
    }
}

/// How a tensor lies where it lies as the table has it.
fn layout_of(spec: &ParamSpec) -> Layout {
    match spec.product {
        Some(Product::InOut) => Layout::Transposed,
        _ => Layout::Same,
    }
}

/// What a matrix that is stored as `dtype` is packed as, where `wanted` asks for nothing else.
///
/// Q5 and K blocks become Q8_0, the smallest type with a fast product that loses little of theirs. Rows that are no whole number
/// of blocks become F16, as llama.cpp has it.
fn packed_type(dtype: Dtype, wanted: Option<PackedType>, cols: usize) -> PackedType {
    let kind = wanted.unwrap_or(match dtype {
        Dtype::F32 => PackedType::F32,
        Dtype::F16 => PackedType::F16,
        Dtype::BF16 => PackedType::BF16,
        Dtype::Q4_0 => PackedType::Q4_0,
        Dtype::Q4_1 => PackedType::Q4_1,
        _ => PackedType::Q8_0,
    });
    match kind.row_bytes(cols) {
        Some(_) => kind,
        None => PackedType::F16,
    }
}

fn dtype_of(kind: PackedType) -> Dtype {
    match kind {
        PackedType::F32 => Dtype::F32,
        PackedType::F16 => Dtype::F16,
        PackedType::BF16 => Dtype::BF16,
        PackedType::Q8_0 => Dtype::Q8_0,
        PackedType::Q4_0 => Dtype::Q4_0,
        PackedType::Q4_1 => Dtype::Q4_1,
    }
}

fn no_memory(bytes: u64) -> Error {
    Error::NoMemory { what: "weights", bytes }
}

/// Sizes (out,in) of a matrix that a product reads.
fn out_in(spec: &ParamSpec) -> Option<[usize; 2]> {
    match spec.product? {
        Product::OutIn => Some([spec.shape[0], spec.shape[1]]),
        Product::InOut => Some([spec.shape[1], spec.shape[0]]),
    }
}

fn pack(packing: &mut Packing, pool: &Pool, stored: &Stored<'_>, (kind, [rows, cols]): (PackedType, [usize; 2])) {
    let (dtype, row) = (dtype_of(kind), kind.row_bytes(cols).expect("whole blocks"));
    let fill = |first: usize, out: &mut [u8]| {
        let count = out.len() / row;
        if stored.dtype == dtype && stored.layout != Layout::Transposed {
            for (i, out) in out.chunks_exact_mut(row).enumerate() {
                let at = stored.layout.gguf_row(first + i, rows) * row;
                out.copy_from_slice(&stored.bytes[at..at + row]);
            }
            return;
        }
        let mut floats = vec![0.0; count * cols];
        match stored.layout {
            Layout::Transposed => {
                let size = stored.dtype.block_bytes();
                assert_eq!(
                    stored.dtype.block_len(),
                    1,
                    "a matrix (in,out) has no blocks along its columns"
                );
                let mut line = vec![0.0; count];
                for (col, bytes) in stored.bytes.chunks_exact(rows * size).enumerate() {
                    stored
                        .dtype
                        .decode(&bytes[first * size..(first + count) * size], &mut line);
                    line.iter().enumerate().for_each(|(i, &x)| floats[i * cols + col] = x);
                }
            }
            layout => {
                let bytes = stored.dtype.bytes(cols).expect("a row is whole blocks");
                for (i, floats) in floats.chunks_exact_mut(cols).enumerate() {
                    let at = layout.gguf_row(first + i, rows) * bytes;
                    stored.dtype.decode(&stored.bytes[at..at + bytes], floats);
                }
            }
        }
        dtype.encode(&floats, out);
    };
    packing.pack(pool, kind, [rows, cols], fill);
}

impl PackedWeights {
    /// Packs all matrices as `wanted`, or as they are stored: see the types' list for what has no fast product.
    ///
    /// # Errors
    /// A tensor is missing, has another shape or a type that is not a number; the allocator refuses.
    pub fn new(model: &dyn Model, pool: &Pool, source: Source<'_>, wanted: Option<PackedType>) -> Result<Self, Error> {
        let stored = source.tensors(model)?;
        let shapes: Vec<Option<(PackedType, [usize; 2])>> = (model.params().specs().iter().zip(&stored))
            .map(|(spec, stored)| {
                out_in(spec).map(|[rows, cols]| (packed_type(stored.dtype, wanted, cols), [rows, cols]))
            })
            .collect();
        let matrices = || shapes.iter().flatten().copied();
        let exact = matrices().all(|(kind, _)| kind == PackedType::F32);
        let bytes = || matrices().filter_map(|(kind, [rows, cols])| PackedMatrix::packed_bytes(kind, rows, cols));
        let mut packing = Packing::try_new(matrices()).ok_or_else(|| no_memory(bytes().sum()))?;
        for (shape, stored) in shapes.iter().zip(&stored) {
            if let Some(shape) = shape {
                pack(&mut packing, pool, stored, *shape);
            }
        }
        let mut packed = packing.finish().into_iter();
        let mut tensors = Vec::with_capacity(stored.len());
        for (spec, (shape, stored)) in model.params().specs().iter().zip(shapes.iter().zip(&stored)) {
            tensors.push(if shape.is_some() {
                Held::Packed(packed.next().expect("one a shape"))
            } else {
                let mut floats = Buffer::try_zeroed(spec.len()).ok_or(no_memory(4 * spec.len() as u64))?;
                stored.dtype.decode(stored.bytes, &mut floats);
                Held::Floats(floats)
            });
        }
        let cache_type = if exact { CacheType::F32 } else { CacheType::F16 };
        Ok(Self { tensors, cache_type })
    }

    /// Bytes that [`PackedWeights::new`] takes, before they are taken.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn planned_bytes(model: &dyn Model, source: Source<'_>, wanted: Option<PackedType>) -> Result<u64, Error> {
        let tensors = source.tensors(model)?;
        let specs = model.params().specs().iter();
        let bytes = specs.zip(&tensors).map(|(spec, stored)| match out_in(spec) {
            Some([rows, cols]) => {
                let kind = packed_type(stored.dtype, wanted, cols);
                PackedMatrix::packed_bytes(kind, rows, cols).unwrap_or(u64::MAX)
            }
            None => 4 * spec.len() as u64,
        });
        Ok(bytes.fold(0, u64::saturating_add))
    }

    /// Bytes of all tensors: what a token reads at most, and what they take in memory.
    pub fn bytes(&self) -> u64 {
        let bytes = |tensor: &Held| match tensor {
            Held::Floats(floats) => 4 * floats.len() as u64,
            Held::Packed(matrix) => matrix.bytes().len() as u64,
        };
        self.tensors.iter().map(bytes).sum()
    }

    /// The bytes of each tensor, in the order of the table: to tell models apart.
    pub fn contents(&self) -> impl Iterator<Item = &[u8]> {
        self.tensors.iter().map(|tensor| match tensor {
            Held::Floats(floats) => bytemuck::cast_slice(floats),
            Held::Packed(matrix) => matrix.bytes(),
        })
    }
}
