//! A place in hostile bytes.

/// What is wrong at a place, before it is known in which file and under which name.
#[derive(Debug)]
pub(super) enum Fault {
    /// The bytes end.
    End {
        /// Where.
        at: usize,
        /// Bytes needed from there.
        needed: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A value type that there is not.
    UnknownType(u32),
    /// Anything else, as the end of a sentence about the value.
    Malformed(String),
}

/// Reads on in bytes of which nothing is believed.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read until now.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes there still are.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What was read since `begin`, an earlier place.
    pub(super) fn since(&self, begin: usize) -> &'a [u8] {
        &self.bytes[begin..self.at]
    }

    /// Fails where fewer than `needed` bytes are left.
    pub(super) fn expect(&self, needed: u64) -> Result<(), Fault> {
        if needed <= self.left() as u64 {
            return Ok(());
        }
        Err(Fault::End {
            at: self.at,
            needed,
            left: self.left(),
        })
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        self.expect(len)?;
        let begin = self.at;
        self.at += len as usize; // no more than what is left
        Ok(self.since(begin))
    }

    /// The next `N` bytes, for `from_le_bytes`.
    pub(super) fn number<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(*self.take(N as u64)?.as_array().expect("N bytes were taken"))
    }

    /// A text: its length in 8 bytes, and UTF-8.
    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        let len = u64::from_le_bytes(self.number()?);
        let begin = self.at;
        std::str::from_utf8(self.take(len)?)
            .map_err(|error| Fault::Malformed(format!("is not UTF-8 at byte {}", begin + error.valid_up_to())))
    }
}
