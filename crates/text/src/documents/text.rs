//! A text of any size as one document, in pieces.

use std::io::Read;
use std::sync::Arc;

use super::{Document, io_error};
use crate::Error;
use crate::tokenizer::last_cut;

/// Bytes read before a piece is cut off.
const PIECE: usize = 1 << 20;

/// The most bytes of a piece. A text without white space for so long is cut between two characters, where the ids of
/// the pieces may differ from those of the whole.
pub const LARGEST_PIECE: usize = 16 << 20;

/// See [`Document`].
pub(super) struct TextPieces<R> {
    reader: R,
    source: Arc<str>,
    /// Read and not given out.
    buffer: Vec<u8>,
    /// Bytes of `buffer` known to be text.
    checked: usize,
    /// Bytes of the source before `buffer`.
    offset: u64,
    line: u64,
    done: bool,
}

impl<R: Read> TextPieces<R> {
    pub(super) fn new(reader: R, source: Arc<str>) -> TextPieces<R> {
        TextPieces {
            reader,
            source,
            buffer: Vec::new(),
            checked: 0,
            offset: 0,
            line: 1,
            done: false,
        }
    }

    /// Reads until `buffer` has `size` bytes or the source ends; gives whether it ended.
    fn fill(&mut self, size: usize) -> Result<bool, Error> {
        let missing = size.saturating_sub(self.buffer.len()) as u64;
        let read = self.reader.by_ref().take(missing).read_to_end(&mut self.buffer);
        Ok((read.map_err(|error| io_error(&self.source, error))? as u64) < missing)
    }

    /// Checks what was read since the last time. `checked` stops before a character that is not all there.
    fn check(&mut self, ended: bool) -> Result<(), Error> {
        let new = &self.buffer[self.checked..];
        let at = self.offset + self.checked as u64;
        let origin = || self.source.to_string();
        let valid = match std::str::from_utf8(new) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() && !ended => error.valid_up_to(),
            Err(error) => {
                // UTF-16 and most binary files have a NUL early, which says more.
                let wrong = error.valid_up_to();
                return Err(match new.iter().take(wrong + 64).position(|&byte| byte == 0) {
                    Some(nul) => Error::Binary {
                        origin: origin(),
                        offset: at + nul as u64,
                    },
                    None => Error::NotUtf8 {
                        origin: origin(),
                        offset: at + wrong as u64,
                    },
                });
            }
        };
        if let Some(nul) = new[..valid].iter().position(|&byte| byte == 0) {
            return Err(Error::Binary {
                origin: origin(),
                offset: at + nul as u64,
            });
        }
        self.checked += valid;
        Ok(())
    }

    fn piece(&mut self) -> Result<Option<Document>, Error> {
        let mut size = PIECE;
        let (cut, ends) = loop {
            let ended = self.fill(size)?;
            if self.offset == 0 && self.buffer.starts_with(b"\xEF\xBB\xBF") {
                self.buffer.drain(..3);
                self.offset = 3;
                continue;
            }
            self.check(ended)?;
            if ended {
                break (self.checked, true);
            }
            let text = std::str::from_utf8(&self.buffer[..self.checked]).expect("checked");
            if let Some(cut) = last_cut(text) {
                break (cut, false);
            }
            if size == LARGEST_PIECE {
                break (self.checked, false);
            }
            size *= 2;
        };
        if cut == 0 {
            return Ok(None);
        }
        let rest = self.buffer.split_off(cut);
        let text = String::from_utf8(std::mem::replace(&mut self.buffer, rest)).expect("checked");
        self.checked -= cut;
        self.offset += cut as u64;
        let line = self.line;
        self.line += text.bytes().filter(|&byte| byte == b'\n').count() as u64;
        Ok(Some(Document {
            text,
            source: self.source.clone(),
            line,
            ends,
        }))
    }
}

impl<R: Read> Iterator for TextPieces<R> {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Result<Document, Error>> {
        if self.done {
            return None;
        }
        let piece = self.piece().transpose();
        self.done = !matches!(&piece, Some(Ok(document)) if !document.ends);
        piece
    }
}
