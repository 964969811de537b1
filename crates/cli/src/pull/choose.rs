//! Which files of a repository are a model that foretoken opens.

use crate::Usage;
use foretoken::formats::safetensors::{INDEX, MODEL};
use foretoken::model::human_bytes;
use foretoken_hub::{Listing, RemoteFile};

/// What is opened beside the weights, and what `transformers` wants to open the same; those that are there are taken.
/// Chat templates lie in `tokenizer_config.json`, or lately beside it.
const BESIDE: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
];
/// Files of these kinds run code when they are opened.
const PICKLED: [&str; 6] = [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"];
/// GGUFs are listed in a message up to here.
const SHOWN: usize = 40;

/// What to fetch.
pub(super) enum Choice<'a> {
    /// These.
    Files(Vec<&'a str>),
    /// These, the index of the weights, and the shards that it names.
    Sharded(Vec<&'a str>),
}

pub(super) fn is_gguf(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".gguf")
}

/// The files of a model in safetensors.
pub(super) fn model(listing: &Listing) -> anyhow::Result<Choice<'_>> {
    let there = |name: &&str| listing.file(name).is_some();
    let mut names: Vec<&str> = BESIDE.into_iter().filter(there).collect();
    let has_config = names.first() == Some(&BESIDE[0]);
    // In the order in which they are opened: where both are there, the index is of no use.
    if has_config && there(&MODEL) {
        names.push(MODEL);
        return Ok(Choice::Files(names));
    }
    if has_config && there(&INDEX) {
        return Ok(Choice::Sharded(names));
    }
    Err(none(listing))
}

/// The files that were asked for.
pub(super) fn given(files: &[String]) -> anyhow::Result<Choice<'_>> {
    let pickled = |name: &&String| PICKLED.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending));
    if let Some(name) = files.iter().find(pickled) {
        return Err(Usage(format!(
            "--file {name} is a pickle, which runs code when it is opened: foretoken reads safetensors and GGUF only"
        ))
        .into());
    }
    let mut names: Vec<&str> = Vec::with_capacity(files.len());
    for file in files {
        if !names.contains(&&**file) {
            names.push(file);
        }
    }
    Ok(Choice::Files(names))
}

/// Why there is no model, and what there is instead.
fn none(listing: &Listing) -> anyhow::Error {
    let repo = &listing.repo;
    let ggufs: Vec<&RemoteFile> = listing.files.iter().filter(|file| is_gguf(&file.name)).collect();
    if !ggufs.is_empty() {
        let shown = |file: &&RemoteFile| {
            let name = file.name.replace(char::is_control, "\u{fffd}");
            file.size
                .map_or(name.clone(), |size| format!("{name} ({})", human_bytes(size)))
        };
        let list: Vec<String> = ggufs.iter().take(SHOWN).map(shown).collect();
        let more = match ggufs.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return anyhow::anyhow!(
            "{repo} holds no model in safetensors but GGUFs: choose one with --file NAME, from {}{more}",
            list.join(", ")
        );
    }
    let there = |name: &str| listing.file(name).is_some();
    if there("pytorch_model.bin") || there("pytorch_model.bin.index.json") {
        return anyhow::anyhow!(
            "{repo} holds its weights as pytorch_model.bin only, which runs code when it is opened and is not read: look for a \
             pull request with model.safetensors among the repository's, and pull {repo}@refs/pr/N"
        );
    }
    let lacks = if there(BESIDE[0]) { MODEL } else { BESIDE[0] };
    anyhow::anyhow!("{repo} holds no {lacks}: it is not a model that foretoken opens; --file NAME fetches single files")
}
