//! Examples: conversations as tokens of which some are learned, in mapped files, and packed into the rows of batches.

use crate::error::Error;
use crate::tokens::Window;
use foretoken_formats::map::MappedFile;
use foretoken_kernels::{IGNORE_INDEX, Stream};
use foretoken_text::Example;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// The bit of a stored id that says that the token is learned.
const LEARN: u32 = 1 << 31;
/// Purposes of random numbers, beside those of [`crate::tokens`].
const PACKING: u32 = 0x8000_0002;
const EPOCH: u32 = 0x8000_0003;

/// Which tokens of an example carry loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// Those of answers, and the token that ends each.
    #[default]
    Answers,
    /// All but the first.
    All,
}

/// Two mapped files: ids one example after another, and how many each has.
#[derive(Debug)]
pub struct Examples {
    ids: MappedFile,
    /// Where each example begins, then how many ids there are.
    starts: Vec<usize>,
    vocab_size: usize,
}

/// Writes one example as [`Examples`] maps it.
pub(crate) fn write_example(ids: &mut dyn Write, lengths: &mut Vec<u8>, example: &Example) -> std::io::Result<()> {
    for (&id, &learn) in example.ids.iter().zip(&example.learn) {
        ids.write_all(&(id | if learn { LEARN } else { 0 }).to_le_bytes())?;
    }
    lengths.extend((example.ids.len() as u32).to_le_bytes());
    Ok(())
}

impl Examples {
    /// Maps the ids and the lengths of examples.
    ///
    /// # Errors
    /// A file cannot be mapped, or the lengths are not those of the ids.
    pub fn open(ids: &Path, lengths: &Path, vocab_size: usize) -> Result<Self, Error> {
        let (ids, lengths) = (MappedFile::open(ids)?, MappedFile::open(lengths)?);
        let mut starts = vec![0];
        let mut end = 0_usize;
        for &length in lengths.as_u32()? {
            end += length as usize;
            starts.push(end);
        }
        let found = ids.as_u32()?.len();
        if found != end {
            return Err(Error::ExampleFile {
                path: ids.path().into(),
                found,
                expected: end,
            });
        }
        Ok(Self {
            ids,
            starts,
            vocab_size,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tokens of one.
    ///
    /// # Errors
    /// [`Error::TokenFile`] where an id is past the vocabulary.
    ///
    /// # Panics
    /// Where there is no such example.
    pub fn get(&self, index: usize) -> Result<Example, Error> {
        let mut example = Example::default();
        for id in self.ids(self.starts[index]..self.starts[index + 1])? {
            example.ids.push(id & !LEARN);
            example.learn.push(id & LEARN != 0);
        }
        Ok(example)
    }

    /// Ids with their bits, checked.
    fn ids(&self, range: Range<usize>) -> Result<impl Iterator<Item = u32> + '_, Error> {
        let ids = &self.ids.as_u32()?[range.clone()];
        let past = ids.iter().position(|id| (id & !LEARN) as usize >= self.vocab_size);
        match past {
            None => Ok(ids.iter().copied()),
            Some(at) => Err(Error::TokenFile {
                path: self.ids.path().into(),
                id: ids[at] & !LEARN,
                position: range.start + at,
                vocab_size: self.vocab_size,
            }),
        }
    }
}

/// Examples laid into rows of T tokens, each a document of its row. What is in a row is a function of the seed; which rows make a
/// batch changes every epoch.
#[derive(Debug)]
pub struct Packed {
    examples: Examples,
    loss_on: LossOn,
    t: usize,
    /// Examples, row after row.
    members: Vec<u32>,
    /// Where each row ends in `members`.
    ends: Vec<usize>,
    /// What fills the rest of a row.
    pad: u32,
    /// What packing found.
    pub report: PackingReport,
}

/// What packing found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackingReport {
    /// Rows of T tokens.
    pub rows: usize,
    /// Examples in them.
    pub examples: usize,
    /// Tokens of the rows that are no padding.
    pub tokens: u64,
    /// Of those, tokens whose next one carries loss.
    pub targets: u64,
    /// Examples longer than T, of which the last T + 1 tokens are kept.
    pub cut: usize,
    /// Examples that hold nothing to learn, left out.
    pub left_out: usize,
}

/// Rows of `t` tokens: each length, in the order given, goes into the row with the least room that is enough.
fn best_fit(lengths: &[(usize, u32)], t: usize) -> Vec<Vec<u32>> {
    let mut rows: Vec<Vec<u32>> = Vec::new();
    // Rows by the room that is left in them.
    let mut open: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(len, index) in lengths {
        let fits = open.range(len..).next().map(|(&left, _)| left);
        let (left, row) = match fits {
            Some(left) => {
                let alike = open.get_mut(&left).expect("it was found");
                let row = alike.pop().expect("no list is empty");
                if alike.is_empty() {
                    open.remove(&left);
                }
                (left, row)
            }
            None => {
                rows.push(Vec::new());
                (t, rows.len() - 1)
            }
        };
        rows[row].push(index);
        if left > len {
            open.entry(left - len).or_default().push(row);
        }
    }
    rows
}

impl Packed {
    /// Lays all examples that carry loss into rows of `t` tokens: the longest first, each into the fullest row where it still
    /// fits. Examples of one length come in an order that the seed draws, and so do the rows.
    ///
    /// 200,000 talks of about 142 tokens fill 91% of rows of 512 in this way; one after the other as they come, each into the
    /// fullest of 64 open rows, they filled 88%.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn new(examples: Examples, t: usize, loss_on: LossOn, seed: u64, pad: u32) -> Result<Self, Error> {
        let mut packed = Self {
            examples,
            loss_on,
            t,
            members: Vec::new(),
            ends: Vec::new(),
            pad,
            report: PackingReport::default(),
        };
        let purpose = PACKING;
        let mut laid = Vec::with_capacity(packed.examples.len());
        for index in shuffled(packed.examples.len(), Stream { seed, step: 0, purpose }) {
            let range = packed.range(index as usize);
            let targets = packed.targets_of(range.clone())?;
            if targets == 0 {
                packed.report.left_out += 1;
                continue;
            }
            let len = range.len() - 1;
            let all = packed.examples.starts[index as usize + 1] - packed.examples.starts[index as usize];
            packed.report.cut += usize::from(all > t + 1);
            packed.report.examples += 1;
            packed.report.tokens += len as u64;
            packed.report.targets += targets;
            laid.push((len, index));
        }
        laid.sort_by_key(|&(len, _)| std::cmp::Reverse(len));
        let rows = best_fit(&laid, t);
        for row in shuffled(rows.len(), Stream { seed, step: 1, purpose }) {
            packed.members.extend(&rows[row as usize]);
            packed.ends.push(packed.members.len());
        }
        packed.report.rows = rows.len();
        Ok(packed)
    }

    /// The examples that are packed, and those that were left out.
    pub fn examples(&self) -> &Examples {
        &self.examples
    }

    /// Batches of `b` rows that hold every row once; the last may be short of rows.
    pub fn batches(&self, b: usize) -> usize {
        self.ends.len().div_ceil(b)
    }

    /// Ids of an example that are used: the last T + 1.
    fn range(&self, index: usize) -> Range<usize> {
        let (start, end) = (self.examples.starts[index], self.examples.starts[index + 1]);
        start.max(end.saturating_sub(self.t + 1))..end
    }

    /// How many of those carry loss: nothing comes before the first.
    fn targets_of(&self, range: Range<usize>) -> Result<u64, Error> {
        let after_first = range.start + 1..range.end.max(range.start + 1);
        if after_first.is_empty() {
            return Ok(0);
        }
        let ids = self.examples.ids(after_first)?;
        Ok(match self.loss_on {
            LossOn::All => range.len() as u64 - 1,
            LossOn::Answers => ids.filter(|id| id & LEARN != 0).count() as u64,
        })
    }

    /// Rows of training micro-batch `index`: every row once an epoch, in an order that seed and epoch draw. `order` is what was
    /// drawn last.
    fn rows<'a>(
        &'a self,
        order: &'a mut ((u64, u64), Vec<u32>),
        (b, seed, index): (usize, u64, u64),
    ) -> impl Iterator<Item = usize> + 'a {
        let count = self.ends.len() as u64;
        (index * b as u64..(index + 1) * b as u64).map(move |at| {
            let epoch = at / count;
            if order.1.len() as u64 != count || order.0 != (seed, epoch) {
                let stream = Stream {
                    seed,
                    step: epoch,
                    purpose: EPOCH,
                };
                *order = ((seed, epoch), shuffled(count as usize, stream));
            }
            order.1[(at % count) as usize] as usize
        })
    }

    /// Puts training micro-batch `index` into `window`; returns how many tokens carry loss.
    ///
    /// # Errors
    /// The file is damaged.
    pub(crate) fn train(&self, window: &mut Window, b: usize, seed: u64, index: u64) -> Result<u64, Error> {
        window.clear();
        let mut order = std::mem::take(&mut window.order);
        let mut targets = 0;
        for row in self.rows(&mut order, (b, seed, index)) {
            targets += self.row(window, Some(row))?;
        }
        window.order = order;
        Ok(targets)
    }

    /// Puts batch `index` of all rows in order into `window`; past the last row there is padding.
    ///
    /// # Errors
    /// The file is damaged.
    pub(crate) fn eval(&self, window: &mut Window, b: usize, index: u64) -> Result<u64, Error> {
        window.clear();
        let first = index as usize * b;
        let mut targets = 0;
        for row in first..first + b {
            targets += self.row(window, (row < self.ends.len()).then_some(row))?;
        }
        Ok(targets)
    }

    /// Appends a row: its examples as documents, and one of padding; returns how many tokens carry loss.
    fn row(&self, window: &mut Window, row: Option<usize>) -> Result<u64, Error> {
        let end = window.ids.len() + self.t;
        let mut targets = 0;
        if let Some(row) = row {
            let first = if row == 0 { 0 } else { self.ends[row - 1] };
            for &index in &self.members[first..self.ends[row]] {
                let range = self.range(index as usize);
                window.documents.push(range.len() - 1);
                let mut before = None;
                for id in self.examples.ids(range)? {
                    if let Some(before) = before.replace(id & !LEARN) {
                        let learn = id & LEARN != 0 || self.loss_on == LossOn::All;
                        window.ids.push(before);
                        window
                            .targets
                            .push(if learn { (id & !LEARN) as i32 } else { IGNORE_INDEX });
                        targets += u64::from(learn);
                    }
                }
            }
        }
        if window.ids.len() < end {
            window.documents.push(end - window.ids.len());
            window.ids.resize(end, self.pad);
            window.targets.resize(end, IGNORE_INDEX);
        }
        Ok(targets)
    }
}

/// 0 to n - 1 in an order that the stream draws (Fisher and Yates).
fn shuffled(n: usize, stream: Stream) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in 0..n.saturating_sub(1) {
        let left = n - i;
        let other = ((stream.uniform_f64(i as u64) * left as f64) as usize).min(left - 1);
        order.swap(i, i + other);
    }
    order
}

#[cfg(test)]
mod tests;
