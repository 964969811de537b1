//! What writers of both formats share.

use std::io::{self, Write};

/// Counts what goes through it.
pub(crate) struct Counted<'a> {
    pub(crate) to: &'a mut dyn Write,
    pub(crate) written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
