//! The weights of a model directory: one file, or shards with an index.

use super::{Safetensors, TensorView};
use crate::durable::is_plain_name;
use crate::{Error, Result, error::shown, json};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The weights' file in a model directory.
pub const MODEL: &str = "model.safetensors";
/// The file that says which shard holds which tensor, where there are shards.
pub const INDEX: &str = "model.safetensors.index.json";

/// The largest public models have an index of about 9 MB.
const MAX_INDEX_BYTES: u64 = 1 << 25;
const MAX_INDEX_TENSORS: usize = 1 << 19;
/// Each shard is an open file.
const MAX_SHARDS: usize = 1024;

/// Tensors by name over one safetensors file or all shards of a model.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    shards: Vec<Safetensors>,
    /// Names and the shard of each, sorted; `None` where the only shard's names are all.
    index: Option<Vec<(Box<str>, u32)>>,
}

/// Opens the weights of a model directory: [`MODEL`] where it exists, else the shards of [`INDEX`].
///
/// All headers are read and checked, and every tensor of the index is found in its shard. What else a shard holds does not
/// count, and neither does the `total_size` that an index may tell.
///
/// # Errors
/// [`Error::NoWeights`]; [`Error::MissingShard`]; [`Error::ShardPath`] for a shard outside the directory (its symlinks may only lead to the blobs
/// of a hub cache beside it); and those of [`Safetensors::open`].
pub fn open_model_dir(dir: impl AsRef<Path>) -> Result<Weights> {
    let dir = dir.as_ref();
    let model = dir.join(MODEL);
    if model.exists() {
        let mut weights = Weights::from(Safetensors::open(model)?);
        weights.path = dir.to_owned();
        return Ok(weights);
    }
    let index = dir.join(INDEX);
    if index.exists() {
        return open_shards(dir, &index);
    }
    std::fs::read_dir(dir).map_err(Error::io("open", dir))?;
    let hint = if dir.join("pytorch_model.bin").exists() || dir.join("pytorch_model.bin.index.json").exists() {
        "; its pytorch_model.bin is not read: save the model with safe_serialization=True"
    } else {
        ""
    };
    Err(Error::NoWeights {
        path: dir.to_owned(),
        hint,
    })
}

impl From<Safetensors> for Weights {
    /// One file as the whole of the weights.
    fn from(file: Safetensors) -> Self {
        Self {
            path: file.path().to_owned(),
            shards: vec![file],
            index: None,
        }
    }
}

impl Weights {
    /// The file or directory they were opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files they are in.
    pub fn shards(&self) -> &[Safetensors] {
        &self.shards
    }

    /// All names: in the order of their bytes for one file, sorted for shards.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let sorted = self.index.iter().flatten().map(|(name, _)| &**name);
        let only = if self.index.is_none() {
            self.shards.first()
        } else {
            None
        };
        sorted.chain(only.into_iter().flat_map(Safetensors::names))
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let Some(index) = &self.index else {
            return self.shards[0].tensor(name);
        };
        let at = index.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        self.shards[index[at].1 as usize].tensor(name)
    }

    /// The tensor `name`, which has to be there.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn require(&self, name: &str) -> Result<TensorView<'_>> {
        self.tensor(name).ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            tensor: name.to_owned(),
        })
    }
}

/// The shards that an index names, as they lie beside it.
///
/// # Errors
/// [`Error::Json`] for what is not an index; [`Error::ShardPath`] for a name that is not a plain file name.
pub fn index_shards(path: impl AsRef<Path>) -> Result<Vec<Box<str>>> {
    let path = path.as_ref();
    let Index { map } = read_index(path)?;
    match map.shards.iter().find(|shard| !is_plain_name(shard)) {
        Some(shard) => Err(not_plain(path, shard)),
        None => Ok(map.shards),
    }
}

fn read_index(path: &Path) -> Result<Index> {
    json::parse(path, &json::read_bytes(path, MAX_INDEX_BYTES)?)
}

fn not_plain(index: &Path, shard: &str) -> Error {
    Error::ShardPath {
        path: index.to_owned(),
        shard: shown(shard),
        reason: "is not a plain file name",
    }
}

fn open_shards(dir: &Path, path: &Path) -> Result<Weights> {
    let Index { map } = read_index(path)?;
    let mut paths = Vec::with_capacity(map.shards.len());
    for shard in &map.shards {
        paths.push(shard_path(dir, path, shard)?);
    }
    let shards: Vec<Safetensors> = paths.iter().map(Safetensors::open).collect::<Result<_>>()?;

    let mut index = map.tensors;
    index.sort_unstable();
    if let Some(pair) = index.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::DuplicateTensor {
            path: path.to_owned(),
            tensor: shown(&pair[0].0),
        });
    }
    for (name, shard) in &index {
        let shard = &shards[*shard as usize];
        if shard.tensor(name).is_none() {
            return Err(Error::MissingTensor {
                path: shard.path().to_owned(),
                tensor: shown(name),
            });
        }
    }
    Ok(Weights {
        path: dir.to_owned(),
        shards,
        index: Some(index),
    })
}

/// The path of a shard, which has to stay in `dir`.
fn shard_path(dir: &Path, index: &Path, shard: &str) -> Result<PathBuf> {
    if !is_plain_name(shard) {
        return Err(not_plain(index, shard));
    }
    let path = dir.join(shard);
    let real = path.canonicalize().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::MissingShard {
            path: index.to_owned(),
            shard: shown(shard),
        },
        _ => Error::io("open", &path)(error),
    })?;
    let real_dir = dir.canonicalize().map_err(Error::io("open", dir))?;
    // A hub cache keeps files as MODEL/snapshots/REVISION/NAME -> ../../blobs/SUM.
    let blobs = real_dir
        .parent()
        .filter(|parent| parent.ends_with("snapshots"))
        .and_then(Path::parent)
        .map(|model| model.join("blobs"));
    if real.starts_with(&real_dir) || blobs.is_some_and(|blobs| real.starts_with(blobs)) {
        Ok(path)
    } else {
        Err(Error::ShardPath {
            path: index.to_owned(),
            shard: shown(shard),
            reason: "is a symlink out of the directory",
        })
    }
}

/// The index as it stands, duplicates included.
#[derive(serde::Deserialize)]
struct Index {
    #[serde(rename = "weight_map")]
    map: WeightMap,
}

/// Tensor names, each with the place of its shard in `shards`.
struct WeightMap {
    shards: Vec<Box<str>>,
    tensors: Vec<(Box<str>, u32)>,
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensor names to shards")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<WeightMap, A::Error> {
                let mut places: HashMap<Box<str>, u32> = HashMap::new();
                let mut found = WeightMap {
                    shards: Vec::new(),
                    tensors: Vec::new(),
                };
                while let Some((name, shard)) = map.next_entry::<Box<str>, Box<str>>()? {
                    if found.tensors.len() == MAX_INDEX_TENSORS {
                        return Err(A::Error::custom(format_args!("more than {MAX_INDEX_TENSORS} tensors")));
                    }
                    let place = match places.get(&shard) {
                        Some(&place) => place,
                        None if found.shards.len() == MAX_SHARDS => {
                            return Err(A::Error::custom(format_args!("more than {MAX_SHARDS} shards")));
                        }
                        None => {
                            let place = found.shards.len() as u32;
                            found.shards.push(shard.clone());
                            places.insert(shard, place);
                            place
                        }
                    };
                    found.tensors.push((name, place));
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Map)
    }
}
