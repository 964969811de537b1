//! Token files: ids one after another in a mapped file, so that data larger than memory train.

use crate::error::Error;
use crate::examples::Packed;
use foretoken_formats::map::MappedFile;
use foretoken_kernels::Stream;
use foretoken_model::Batch;
use std::path::Path;

/// Purposes of a run's random numbers, apart from dropout's (small numbers) and initialisation's.
const TRAIN_WINDOWS: u32 = 0x8000_0000;
const EVAL_WINDOWS: u32 = 0x8000_0001;

/// A mapped file of ids, 2 bytes each where the vocabulary allows, else 4.
#[derive(Debug)]
pub struct Tokens {
    file: MappedFile,
    wide: bool,
    vocab_size: usize,
    len: usize,
}

/// Bytes an id takes in a token file.
pub(crate) fn id_bytes(vocab_size: usize) -> usize {
    if vocab_size <= 1 << 16 { 2 } else { 4 }
}

impl Tokens {
    /// Maps a file of ids of a vocabulary.
    ///
    /// # Errors
    /// The file cannot be mapped, or is not whole ids.
    pub fn open(path: &Path, vocab_size: usize) -> Result<Self, Error> {
        let file = MappedFile::open(path)?;
        let wide = id_bytes(vocab_size) == 4;
        let len = if wide {
            file.as_u32()?.len()
        } else {
            file.as_u16()?.len()
        };
        Ok(Self {
            file,
            wide,
            vocab_size,
            len,
        })
    }

    /// Ids there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies ids from `start` on.
    ///
    /// # Errors
    /// [`Error::TokenFile`] where one is past the vocabulary.
    ///
    /// # Panics
    /// Where the file ends before.
    pub fn read(&self, start: usize, out: &mut [u32]) -> Result<(), Error> {
        let range = start..start + out.len();
        if self.wide {
            out.copy_from_slice(&self.file.as_u32()?[range]);
        } else {
            out.iter_mut()
                .zip(&self.file.as_u16()?[range])
                .for_each(|(id, &word)| *id = word.into());
        }
        match out.iter().position(|&id| id as usize >= self.vocab_size) {
            None => Ok(()),
            Some(at) => Err(Error::TokenFile {
                path: self.file.path().into(),
                id: out[at],
                position: start + at,
                vocab_size: self.vocab_size,
            }),
        }
    }

    /// Fails early where not one sequence of `t` tokens and its next fits.
    ///
    /// # Errors
    /// [`Error::TooShort`].
    pub fn holds(&self, t: usize, part: &'static str, help: &'static str) -> Result<(), Error> {
        if self.len > t {
            Ok(())
        } else {
            Err(Error::TooShort {
                part,
                tokens: self.len as u64,
                seq_len: t,
                help,
            })
        }
    }
}

/// What a model learns from, or is measured on.
#[derive(Debug)]
pub enum Data {
    /// Windows of a text.
    Text(Tokens),
    /// Conversations, packed.
    Examples(Packed),
}

/// A batch in memory: ids (B,T) and what is to follow each (B,T).
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// (B,T)
    pub ids: Vec<u32>,
    /// (B,T); [`foretoken_kernels::IGNORE_INDEX`] where nothing is learned.
    pub targets: Vec<i32>,
    /// Lengths of the documents; none where each row is one.
    pub documents: Vec<usize>,
    row: Vec<u32>,
    /// Seed and epoch, and the order of rows in it.
    pub(crate) order: ((u64, u64), Vec<u32>),
}

impl Window {
    /// Training micro-batch `index` of a run: a function of seed and index alone, so a resumed run reads what the other
    /// would have read. Windows of a text start anywhere. Returns how many tokens carry loss.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn train(&mut self, data: &Data, (b, t): (usize, usize), seed: u64, index: u64) -> Result<u64, Error> {
        let purpose = TRAIN_WINDOWS;
        match data {
            Data::Text(tokens) => self.fill(
                tokens,
                (b, t),
                Stream {
                    seed,
                    step: index,
                    purpose,
                },
            ),
            Data::Examples(packed) => packed.train(self, b, seed, index),
        }
    }

    /// Evaluation batch `index`: the same at every evaluation. Returns how many tokens carry loss.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn eval(&mut self, data: &Data, (b, t): (usize, usize), seed: u64, index: u64) -> Result<u64, Error> {
        let purpose = EVAL_WINDOWS;
        match data {
            Data::Text(tokens) => self.fill(
                tokens,
                (b, t),
                Stream {
                    seed,
                    step: index,
                    purpose,
                },
            ),
            Data::Examples(packed) => packed.eval(self, b, index),
        }
    }

    /// The batch.
    pub fn batch(&self, (b, t): (usize, usize)) -> Batch<'_> {
        Batch {
            b,
            t,
            ids: &self.ids,
            targets: &self.targets,
            documents: &self.documents,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.ids.clear();
        self.targets.clear();
        self.documents.clear();
    }

    fn fill(&mut self, tokens: &Tokens, (b, t): (usize, usize), stream: Stream) -> Result<u64, Error> {
        self.clear();
        self.row.resize(t + 1, 0);
        let starts = (tokens.len() - t) as f64;
        for row in 0..b as u64 {
            let start = ((stream.uniform_f64(row) * starts) as usize).min(tokens.len() - t - 1);
            tokens.read(start, &mut self.row)?;
            self.ids.extend_from_slice(&self.row[..t]);
            self.targets.extend(self.row[1..].iter().map(|&id| id as i32));
        }
        Ok((b * t) as u64)
    }
}
