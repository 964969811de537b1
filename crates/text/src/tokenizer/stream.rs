//! Text from ids that come one by one.

use super::Tokenizer;
use crate::Error;

/// Turns ids into text as they come, holding back a character until all its bytes are there.
///
/// What [`push`](StreamDecoder::push) and [`finish`](StreamDecoder::finish) give is together what
/// [`Tokenizer::decode`] gives. An id costs its own bytes and at most three more, however long the text is.
///
/// ```
/// use foretoken_text::Tokenizer;
/// let tokenizer = Tokenizer::byte();
/// let mut stream = tokenizer.stream();
/// assert_eq!(stream.push(0xEA)?, "");
/// assert_eq!(stream.push(0xB0)?, "");
/// assert_eq!(stream.push(0x80)?, "가");
/// assert_eq!(stream.finish(), "");
/// # Ok::<(), foretoken_text::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StreamDecoder<'t> {
    tokenizer: &'t Tokenizer,
    /// The start of a character, at most three bytes.
    pending: Vec<u8>,
}

impl<'t> StreamDecoder<'t> {
    pub(crate) fn new(tokenizer: &'t Tokenizer) -> StreamDecoder<'t> {
        StreamDecoder {
            tokenizer,
            pending: Vec::new(),
        }
    }

    /// The text that `id` completes, perhaps none yet. Bytes that can no longer become a character give U+FFFD.
    ///
    /// # Errors
    /// Where `id` is not in the vocabulary; the decoder is as before.
    pub fn push(&mut self, id: u32) -> Result<String, Error> {
        let token = self
            .tokenizer
            .id_to_bytes(id)
            .ok_or_else(|| self.tokenizer.unknown(id))?;
        self.pending.extend_from_slice(token);
        let complete = self.pending.len() - unfinished(&self.pending);
        let text = String::from_utf8_lossy(&self.pending[..complete]).into_owned();
        self.pending.drain(..complete);
        Ok(text)
    }

    /// The rest: U+FFFD where the ids ended within a character, else nothing. The decoder is then as new.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

/// Bytes at the end of `bytes` that start a character and may still become one.
fn unfinished(bytes: &[u8]) -> usize {
    // A character has at most four bytes, so its start is among the last three.
    (1..=bytes.len().min(3))
        .rev()
        .find(|&n| {
            let tail = &bytes[bytes.len() - n..];
            // Not the middle of a character: a tail that starts with a continuation byte is an error of length one.
            std::str::from_utf8(tail).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(0)
}
