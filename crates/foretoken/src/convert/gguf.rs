//! Writing a GGUF file.

use super::{ConvertOptions, ConvertedTensor, Kept, OnProgress, Told, encode};
use crate::error::Error;
use crate::source::{Files, Source, Stored};
use foretoken_formats::dtype::Dtype;
use foretoken_formats::durable;
use foretoken_formats::gguf::{Gguf, TensorView, Writer};
use foretoken_model::{Layout, gguf_rows};
use std::io;
use std::path::Path;

const EMBEDDING: &str = "token_embd.weight";
const POSITIONS: &str = "position_embd.weight";
const HEAD: &str = "output.weight";
const FILE_TYPE: &str = "general.file_type";
const QUANTIZATION_VERSION: &str = "general.quantization_version";

/// Writes the file `to`.
pub(super) fn write(
    source: &Source,
    to: &Path,
    options: &ConvertOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<ConvertedTensor>, Error> {
    match &source.files {
        Files::Gguf(file) if !source.is_changed() => rewrite(source, file, to, options.dtype, on_progress),
        _ => compose(source, to, options.dtype, on_progress),
    }
}

/// From another GGUF file: its keys, its tensors in its order. Where no type changes the file is the same.
fn rewrite(
    source: &Source,
    file: &Gguf,
    to: &Path,
    dtype: Option<Dtype>,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<ConvertedTensor>, Error> {
    // Only what can be opened is converted.
    source.parameters()?;
    let head = head(file.tensors().any(|tensor| tensor.name == HEAD));
    let views: Vec<TensorView<'_>> = file.tensors().collect();
    let plan = |view: &TensorView<'_>| {
        let (to, kept) = match dtype {
            Some(dtype) => choose(view.name, view.shape, dtype, head),
            None => (view.dtype, None),
        };
        ConvertedTensor {
            name: view.name.to_owned(),
            shape: view.shape.to_vec(),
            from: view.dtype,
            to,
            kept,
        }
    };
    let tensors: Vec<ConvertedTensor> = views.iter().map(plan).collect();
    let mut writer = Writer::new();
    for (key, value) in file.metadata() {
        if dtype.is_none() || (key != FILE_TYPE && key != QUANTIZATION_VERSION) {
            writer.value(key, value);
        }
    }
    if dtype.is_some() {
        add_type(&mut writer, &tensors);
    }
    save(writer, to, &tensors, on_progress, |index, tensor, w| {
        let view = &views[index];
        if tensor.from == tensor.to {
            return w.write_all(view.bytes);
        }
        let mut x = vec![0.0; view.elements()];
        view.dtype.decode(view.bytes, &mut x);
        encode(tensor, &x, w)
    })?;
    Ok(tensors)
}

/// From a directory.
fn compose(
    source: &Source,
    to: &Path,
    dtype: Option<Dtype>,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<ConvertedTensor>, Error> {
    let (model, tokenizer) = (&*source.model, source.tokenizer()?);
    let (parameters, names) = (source.parameters()?, model.gguf_tensors());
    let specs = model.params().specs();
    let head = head(names.iter().any(|tensor| tensor.name == HEAD));
    let plan = |((spec, gguf), stored): ((&foretoken_model::ParamSpec, &foretoken_model::GgufTensor), &Stored<'_>)| {
        let (name, shape, from) = (gguf.name.clone(), gguf.layout.gguf_shape(&spec.shape), stored.dtype());
        let (to, kept) = choose(&name, &shape, dtype.unwrap_or(from), head);
        ConvertedTensor {
            name,
            shape,
            from,
            to,
            kept,
        }
    };
    let tensors: Vec<ConvertedTensor> = specs.iter().zip(&names).zip(&parameters).map(plan).collect();

    let mut writer = Writer::new();
    let mut metadata = model.gguf_metadata().into_iter();
    let (architecture, value) = metadata.next().expect("the architecture comes first");
    writer.value(architecture, value);
    if let Some(name) = source.path.file_name().and_then(|name| name.to_str()) {
        writer.value("general.name", name);
    }
    metadata.for_each(|(key, value)| writer.value(key, value));
    add_type(&mut writer, &tensors);
    let bos = model.config()["bos_token_id"]
        .as_u64()
        .and_then(|id| u32::try_from(id).ok());
    crate::gguf::add_tokenizer(&mut writer, &source.path, tokenizer, model.dims().vocab_size, bos)?;
    if let Some(template) = &source.chat_template {
        crate::gguf::add_chat_template(&mut writer, template);
    }
    save(writer, to, &tensors, on_progress, |index, tensor, w| {
        let (spec, layout, stored) = (&specs[index], names[index].layout, &parameters[index]);
        match stored.bytes() {
            Some(bytes) if tensor.from == tensor.to && layout == Layout::Same => w.write_all(bytes),
            _ => gguf_rows(layout, &spec.shape, &stored.read(), |rows| encode(tensor, rows, w)),
        }
    })?;
    Ok(tensors)
}

/// The tensor that makes the logits.
fn head(has_its_own: bool) -> &'static str {
    if has_its_own { HEAD } else { EMBEDDING }
}

/// The type of a tensor where `wanted` is asked for, and why it is another.
fn choose(name: &str, shape: &[usize], wanted: Dtype, head: &str) -> (Dtype, Option<Kept>) {
    let cols = shape.last().copied().unwrap_or(1);
    if shape.len() < 2 || name == POSITIONS {
        return (Dtype::F32, (wanted != Dtype::F32).then_some(Kept::Small));
    }
    if cols % wanted.block_len() != 0 {
        return (Dtype::F16, Some(Kept::Rows));
    }
    if matches!(wanted, Dtype::Q4_0 | Dtype::Q4_1) && name == head {
        return (Dtype::Q8_0, Some(Kept::Head));
    }
    (wanted, None)
}

/// The keys that say how most of the numbers are stored.
fn add_type(writer: &mut Writer, tensors: &[ConvertedTensor]) {
    let elements = |dtype| -> u64 {
        let of = tensors.iter().filter(|tensor| tensor.to == dtype);
        of.map(ConvertedTensor::elements).sum()
    };
    let most = Dtype::ALL.into_iter().max_by_key(|dtype| elements(*dtype));
    // Numbers of llama.cpp's `llama_ftype`.
    let number = match most.unwrap_or(Dtype::F32) {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Q4_0 => 2,
        Dtype::Q4_1 => 3,
        Dtype::Q8_0 => 7,
        Dtype::Q5_0 => 8,
        Dtype::Q5_1 => 9,
        Dtype::Q4_K => 15,
        Dtype::Q5_K => 17,
        Dtype::Q6_K => 18,
        Dtype::BF16 => 32,
    };
    writer.value(FILE_TYPE, number as u32);
    writer.value(QUANTIZATION_VERSION, 2_u32);
}

/// Writes the file; `data` writes the tensor of an index.
fn save(
    mut writer: Writer,
    to: &Path,
    tensors: &[ConvertedTensor],
    on_progress: &mut OnProgress<'_>,
    mut data: impl FnMut(usize, &ConvertedTensor, &mut dyn io::Write) -> io::Result<()>,
) -> Result<(), Error> {
    for tensor in tensors {
        writer.tensor(&tensor.name, &tensor.shape, tensor.to);
    }
    durable::check_space(to, writer.encoded_len())?;
    let mut told = Told::new(tensors, on_progress);
    let mut next = tensors.iter().enumerate();
    durable::write_file(to, |w| {
        writer.write(w, |_, w| {
            let (index, tensor) = next.next().expect("one call a tensor");
            data(index, tensor, w)?;
            told.wrote(tensor)
        })
    })?;
    Ok(())
}
