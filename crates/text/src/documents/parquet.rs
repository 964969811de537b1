//! Parquet files as the JSON lines of their rows: what reads `.jsonl` reads them too, lists and structs included.

use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::reader::RowIter;

/// The rows of a file, in order. A file that contradicts itself is an error of reading; a row that its reader cannot bear,
/// too.
pub(super) struct ParquetLines {
    rows: Option<RowIter<'static>>,
    line: Vec<u8>,
    /// Bytes of `line` that were given.
    given: usize,
    /// Rows so far.
    row: u64,
}

impl ParquetLines {
    pub(super) fn open(file: File) -> io::Result<ParquetLines> {
        let rows = guarded(0, || {
            let reader: SerializedFileReader<File> = SerializedFileReader::new(file)?;
            let reader: Box<dyn FileReader> = Box::new(reader);
            RowIter::from_file_into(reader).project(None)
        })?;
        Ok(ParquetLines {
            rows: Some(rows),
            line: Vec::new(),
            given: 0,
            row: 0,
        })
    }

    /// Makes the next row the line; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let Some(rows) = &mut self.rows else { return Ok(false) };
        self.row += 1;
        let line = guarded(self.row, || rows.next().map(|row| Ok(row?.to_json_value())).transpose());
        // After an error no row is to be trusted.
        if !matches!(line, Ok(Some(_))) {
            self.rows = None;
        }
        self.given = 0;
        self.line.clear();
        if let Some(row) = line? {
            self.line = serde_json::to_vec(&row)?;
            self.line.push(b'\n');
        }
        Ok(self.rows.is_some())
    }
}

impl Read for ParquetLines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.line.len() && !self.next()? {
            return Ok(0);
        }
        let read = (&self.line[self.given..]).read(out)?;
        self.given += read;
        Ok(read)
    }
}

/// A damaged file is no reason to fall: the library asserts here and there what a file should hold.
fn guarded<T>(row: u64, read: impl FnOnce() -> Result<T, ParquetError>) -> io::Result<T> {
    let what = |message: String| {
        let place = if row == 0 {
            String::new()
        } else {
            format!(" at row {row}")
        };
        let help = match message.contains("feature") {
            true => "; save it compressed with snappy, or not at all",
            false => "",
        };
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no Parquet that can be read{place}: {message}{help}"),
        )
    };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(what(error.to_string())),
        Err(_) => Err(what("it contradicts itself".into())),
    }
}
