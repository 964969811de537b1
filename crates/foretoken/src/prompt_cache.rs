//! A prompt's keys and values in a file, so that the next command need not read it again.
//!
//! The file is safetensors: `ids`, `keys` and `values` (heads of all layers, T, dh), `logits` (V). Its metadata say what it
//! is, which model made it, and the sum of the rest. The format has no sums of its own, and one bad bit would be a wrong text.

use crate::error::Error;
use crate::gpt::Gpt;
use foretoken_formats::durable::{check_space, write_file};
use foretoken_formats::safetensors::{Safetensors, Tensor, encoded_len, write};
use foretoken_generate::PromptCache;
use foretoken_kernels::Isa;
use foretoken_model::{KeyValues, Weights};
use foretoken_text::Fingerprint;
use std::path::Path;

/// Says what the file is: only such a file is ever replaced.
const KIND: (&str, &str) = ("foretoken", "prompt-cache");

/// What a file was good for.
#[derive(Debug)]
pub(crate) enum Found {
    /// There is none.
    Nothing,
    /// It fits this model.
    Cache(PromptCache),
    /// It is a prompt cache, but damaged or of another model: it may be replaced.
    Useless(Error),
    /// It is something else: it must be left alone.
    Foreign(Error),
}

/// Everything that the numbers in a cache depend on, beside the ids.
pub(crate) fn fingerprint(gpt: &Gpt) -> String {
    let parts = [
        gpt.model().config().to_string(),
        gpt.tokenizer().fingerprint().to_string(),
        weights(gpt.weights()),
        // The two vector sets give the same bits; without fused multiplication others come out.
        (gpt.pool().isa() == Isa::Portable).to_string(),
        env!("CARGO_PKG_VERSION").to_owned(),
    ];
    Fingerprint::of(parts.join("\n").as_bytes()).to_string()
}

/// A sum over the weights as generation reads them: of floats it differs between AVX2 and AVX-512, which lay panels out otherwise.
fn weights(weights: Weights<'_>) -> String {
    match weights {
        Weights::Arena(arena) => Fingerprint::of(bytemuck::cast_slice(arena)).to_string(),
        Weights::Packed(packed) => {
            let sums: Vec<String> = packed
                .contents()
                .map(|part| Fingerprint::of(part).to_string())
                .collect();
            Fingerprint::of(sums.join("\n").as_bytes()).to_string()
        }
    }
}

/// What is in `path`; `shape` gives the sizes of keys and values of T tokens, `vocab_size` those of the logits.
pub(crate) fn load(path: &Path, model: &str, shape: impl Fn(usize) -> [usize; 3], vocab_size: usize) -> Found {
    if !path.exists() {
        return Found::Nothing;
    }
    let reason = |reason: &'static str| Error::PromptCache {
        path: path.to_owned(),
        reason,
    };
    let file = match Safetensors::open(path) {
        Ok(file) => file,
        Err(error) => return Found::Foreign(error.into()),
    };
    if file.metadata(KIND.0) != Some(KIND.1) {
        return Found::Foreign(reason("it is no prompt cache, and is left as it is; name another file"));
    }
    if file.metadata("model") != Some(model) {
        return Found::Useless(reason(
            "it was made with another model; it is not used, and written anew",
        ));
    }
    match read(&file, shape, vocab_size) {
        Ok(Some(cache)) => Found::Cache(cache),
        Ok(None) => Found::Useless(reason("it is damaged; it is not used, and written anew")),
        Err(error) => Found::Useless(error),
    }
}

/// `None` where a tensor is missing, or the sum or an id is wrong.
fn read(
    file: &Safetensors,
    shape: impl Fn(usize) -> [usize; 3],
    vocab_size: usize,
) -> Result<Option<PromptCache>, Error> {
    let Some(ids) = file.tensor("ids") else {
        return Ok(None);
    };
    let ids: Vec<u32> = ids
        .read_u64()?
        .into_iter()
        .filter_map(|id| u32::try_from(id).ok())
        .collect();
    let floats = |name: &str, expected: &[usize]| -> Result<Option<Vec<f32>>, Error> {
        let Some(tensor) = file.tensor(name) else {
            return Ok(None);
        };
        tensor.expect_shape(expected)?;
        // No more than the file has, since its header was held against its size.
        let mut out = vec![0.0; tensor.elements()];
        tensor.read_f32(&mut out)?;
        Ok(Some(out))
    };
    let sizes = shape(ids.len());
    let (Some(keys), Some(values), Some(logits)) = (
        floats("keys", &sizes)?,
        floats("values", &sizes)?,
        floats("logits", &[vocab_size])?,
    ) else {
        return Ok(None);
    };
    let cache = PromptCache {
        ids,
        key_values: KeyValues { keys, values },
        logits,
    };
    Ok((file.metadata("sum") == Some(&sum(&cache))).then_some(cache))
}

/// BLAKE3 over the sums of the parts.
fn sum(cache: &PromptCache) -> String {
    let parts: [&[u8]; 4] = [
        bytemuck::cast_slice(&cache.ids),
        bytemuck::cast_slice(&cache.key_values.keys),
        bytemuck::cast_slice(&cache.key_values.values),
        bytemuck::cast_slice(&cache.logits),
    ];
    let sums: Vec<u8> = parts
        .iter()
        .flat_map(|part| *Fingerprint::of(part).as_bytes())
        .collect();
    Fingerprint::of(&sums).to_string()
}

/// Writes a cache durably; what was there is replaced in one step.
pub(crate) fn save(path: &Path, model: &str, cache: &PromptCache, shape: [usize; 3]) -> Result<(), Error> {
    let ids: Vec<u64> = cache.ids.iter().map(|&id| id.into()).collect();
    let (tokens, vocab_size) = ([ids.len()], [cache.logits.len()]);
    let tensors = [
        Tensor::u64("ids", &tokens, &ids),
        Tensor::f32("keys", &shape, &cache.key_values.keys),
        Tensor::f32("values", &shape, &cache.key_values.values),
        Tensor::f32("logits", &vocab_size, &cache.logits),
    ];
    let sum = sum(cache);
    let metadata = [KIND, ("model", model), ("sum", &sum)];
    check_space(path, encoded_len(&tensors, &metadata))?;
    write_file(path, |w| write(w, &tensors, &metadata))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_used_only_where_it_is_whole_and_fits() {
        let dir = tempfile::tempdir().unwrap();
        let gpt = crate::open(crate::doc_model(dir.path()).unwrap()).unwrap();
        let path = dir.path().join("prompt.safetensors");
        let prompt = "Mina went to";
        let text = |writer: &mut crate::Writer<'_>| {
            let mut text = String::new();
            let told = writer.write(&Default::default(), |part| {
                text.push_str(part);
                true
            });
            (text, told.unwrap().cached_tokens)
        };
        let plain = text(&mut gpt.writer(prompt).unwrap());
        assert_eq!(plain.1, 0);
        let with = || {
            let mut writer = gpt.writer(prompt).unwrap();
            let warning = writer.use_prompt_cache(&gpt, &path).unwrap();
            (text(&mut writer), warning.map(|error| error.to_string()))
        };
        assert_eq!(with(), ((plain.0.clone(), 0), None));
        assert_eq!(with(), ((plain.0.clone(), 12), None));
        let whole = std::fs::read(&path).unwrap();
        // A bit anywhere behind the header: in ids, keys, values, logits.
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let step = (whole.len() - header) / 40;
        for at in (header..whole.len()).step_by(step) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, &bytes).unwrap();
            let ((again, cached), warning) = with();
            assert_eq!((again, cached), (plain.0.clone(), 0), "{at}");
            assert!(warning.unwrap().contains("damaged"), "{at}");
            assert_eq!(std::fs::read(&path).unwrap(), whole, "written anew");
        }
        // In the header: whatever it is, the text is right, and nothing that is not known to be a cache is replaced.
        for at in 0..header {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let ((again, _), _) = with();
            assert_eq!(again, plain.0, "{at}");
        }
        // Another model's.
        save(
            &path,
            "another",
            &PromptCache {
                ids: vec![],
                key_values: KeyValues::default(),
                logits: vec![],
            },
            [4, 0, 8],
        )
        .unwrap();
        let (found, warning) = with();
        assert_eq!(found, (plain.0.clone(), 0));
        assert!(warning.unwrap().contains("another model"));
        assert_eq!(with().0.1, 12);
        // One that says the right things and holds nothing.
        let model = fingerprint(&gpt);
        write_file(&path, |w| write(w, &[], &[KIND, ("model", &model), ("sum", "")])).unwrap();
        let (found, warning) = with();
        assert_eq!(found, (plain.0.clone(), 0));
        assert!(warning.unwrap().contains("damaged"));
        // What is no cache stays.
        let weights = gpt.path().join("model.safetensors");
        for bytes in [std::fs::read(weights).unwrap(), b"my notes".to_vec()] {
            std::fs::write(&path, &bytes).unwrap();
            let (found, warning) = with();
            assert_eq!(found, (plain.0.clone(), 0));
            assert!(warning.is_some());
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        // What cannot be written is no reason to write no text.
        let mut writer = gpt.writer(prompt).unwrap();
        let warning = writer
            .use_prompt_cache(&gpt, &dir.path().join("missing/prompt"))
            .unwrap();
        assert!(warning.is_some() && text(&mut writer).0 == plain.0);
    }
}
