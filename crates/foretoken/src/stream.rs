//! The text of tokens that come one by one, as it may be shown.

use crate::error::Error;
use crate::stop::StopStrings;
use foretoken_text::{StreamDecoder, Tokenizer};

/// Turns the ids of one text into what may be shown of it: never half a character, nothing that could be the beginning of a
/// stop string, and nothing from a stop string on.
///
/// ```
/// use foretoken::{TextStream, text::Tokenizer};
/// let (tokenizer, stops) = (Tokenizer::byte(), ["END".to_owned()]);
/// let mut stream = TextStream::new(&tokenizer, &stops);
/// let mut push = |byte: u8| stream.push(byte.into());
/// assert_eq!(push(b'a')?, ("a".to_owned(), false));
/// assert_eq!(push(b'E')?, (String::new(), false));
/// assert_eq!(push(b'x')?, ("Ex".to_owned(), false));
/// for byte in *b"EN" {
///     assert_eq!(push(byte)?, (String::new(), false));
/// }
/// assert_eq!(push(b'D')?, (String::new(), true));
/// # Ok::<(), foretoken::Error>(())
/// ```
#[derive(Debug)]
pub struct TextStream<'a> {
    decoder: StreamDecoder<'a>,
    stops: StopStrings<'a>,
    decoded: usize,
}

impl<'a> TextStream<'a> {
    /// The beginning of a text. Empty stop strings stop nothing.
    pub fn new(tokenizer: &'a Tokenizer, stops: &'a [String]) -> Self {
        Self {
            decoder: tokenizer.stream(),
            stops: StopStrings::new(stops),
            decoded: 0,
        }
    }

    /// The text that is sure with this token, and whether a stop string ended it; no token counts after that.
    ///
    /// # Errors
    /// An id that the tokeniser does not have.
    pub fn push(&mut self, id: u32) -> Result<(String, bool), Error> {
        let text = self.decoder.push(id)?;
        self.decoded += text.chars().count();
        Ok(self.stops.push(&text))
    }

    /// Characters that the tokens so far make, with those that are held back and those of a stop string.
    pub fn decoded(&self) -> usize {
        self.decoded
    }

    /// The rest of a text that no stop string has ended, and whether one ends it now: half a character at its end is U+FFFD.
    pub fn finish(mut self) -> (String, bool) {
        let (text, found) = self.stops.push(&self.decoder.finish());
        match found {
            true => (text, true),
            false => (text + &self.stops.finish(), false),
        }
    }
}
