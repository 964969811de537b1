//! Rows of `.jsonl` and `.csv` as documents.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Document, io_error};
use crate::Error;

/// The most bytes of a row.
pub const LARGEST_ROW: usize = 64 << 20;

/// The lines of a `.jsonl` file.
pub(crate) struct JsonLines<R> {
    reader: BufReader<R>,
    source: Arc<str>,
    buffer: Vec<u8>,
    line: u64,
    offset: u64,
}

impl<R: Read> JsonLines<R> {
    pub(crate) fn new(reader: R, source: Arc<str>) -> JsonLines<R> {
        JsonLines {
            reader: BufReader::new(reader),
            source,
            buffer: Vec::new(),
            line: 0,
            offset: 0,
        }
    }

    /// Reads the next line; false at the end.
    pub(crate) fn read(&mut self) -> Result<bool, Error> {
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        let limit = LARGEST_ROW as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        if read.map_err(|error| io_error(&self.source, error))? == 0 {
            return Ok(false);
        }
        self.line += 1;
        if self.buffer.len() > LARGEST_ROW {
            return Err(too_long(&self.source, self.line));
        }
        Ok(true)
    }

    /// The object on the line; none where it is blank. Its values stay as they are: built up they could take many times
    /// its size.
    pub(crate) fn object(&self) -> Result<Option<BTreeMap<String, &RawValue>>, Error> {
        let line = match self.line {
            1 => self.buffer.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.buffer),
            _ => &self.buffer,
        };
        let offset = self.offset + (self.buffer.len() - line.len()) as u64;
        let line = check_text(line, &self.source, offset)?;
        if line.trim().is_empty() {
            return Ok(None);
        }
        let row = serde_json::from_str(line);
        row.map(Some)
            .map_err(|error| self.error(format!("expected a JSON object on one line: {error}")))
    }

    /// What is wrong with the line.
    pub(crate) fn error(&self, message: String) -> Error {
        row_error(&self.source, self.line, message)
    }
}

/// What a JSON value is, for messages.
pub(crate) fn kind_of(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "true or false",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

/// The rows of a `.jsonl` file; blank lines and rows of empty text are passed over.
pub(super) struct JsonRows<R> {
    lines: JsonLines<R>,
    fields: Vec<String>,
}

impl<R: Read> JsonRows<R> {
    pub(super) fn new(reader: R, source: Arc<str>, fields: Vec<String>) -> JsonRows<R> {
        JsonRows {
            lines: JsonLines::new(reader, source),
            fields,
        }
    }

    fn row(&mut self) -> Result<Option<Document>, Error> {
        while self.lines.read()? {
            let Some(row) = self.lines.object()? else { continue };
            let text = self.text(&row)?;
            if !text.is_empty() {
                return Ok(Some(Document {
                    text,
                    source: self.lines.source.clone(),
                    line: self.lines.line,
                    ends: true,
                }));
            }
        }
        Ok(None)
    }

    /// The text of the fields.
    fn text(&self, row: &BTreeMap<String, &RawValue>) -> Result<String, Error> {
        let mut text = String::new();
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            match row.get(field).map(|value| value.get()) {
                Some(value) if value.starts_with('"') => {
                    let value: String = serde_json::from_str(value)
                        .map_err(|error| self.lines.error(format!("field `{field}`: {error}")))?;
                    text.push_str(&value);
                }
                Some(other) => {
                    let message = format!("field `{field}` is {}, expected a string", kind_of(other));
                    return Err(self.lines.error(message));
                }
                None => {
                    let (source, line) = (&self.lines.source, self.lines.line);
                    return Err(missing(source, line, field, row.keys().map(String::as_str)));
                }
            }
        }
        Ok(text)
    }
}

impl<R: Read> Iterator for JsonRows<R> {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Result<Document, Error>> {
        self.row().transpose()
    }
}

/// The rows of a `.csv` file, the line of column names as the first.
pub(crate) struct CsvTable<R> {
    reader: csv::Reader<Guard<R>>,
    source: Arc<str>,
    record: csv::ByteRecord,
}

impl<R: Read> CsvTable<R> {
    pub(crate) fn new(reader: R, source: Arc<str>) -> CsvTable<R> {
        let reader = Guard {
            reader,
            offset: 0,
            given: 0,
            last: Vec::new(),
            of_row: 0,
        };
        CsvTable {
            reader: csv::ReaderBuilder::new().has_headers(false).from_reader(reader),
            source,
            record: csv::ByteRecord::new(),
        }
    }

    /// Reads the next row; false at the end.
    pub(crate) fn read(&mut self) -> Result<bool, Error> {
        self.reader.get_mut().of_row = 0;
        let read = self.reader.read_byte_record(&mut self.record);
        read.map_err(|error| {
            let line = self.line();
            match error.into_kind() {
                csv::ErrorKind::Io(error) => match error.downcast::<Refused>() {
                    Ok(Refused::Nul(offset)) => Error::Binary {
                        origin: self.source.to_string(),
                        offset,
                    },
                    Ok(Refused::TooLong) => too_long(&self.source, line),
                    Err(error) => io_error(&self.source, error),
                },
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    let message =
                        format!("{len} columns, the first line has {expected_len}; is a quotation mark missing?");
                    row_error(&self.source, line, message)
                }
                other => row_error(&self.source, line, format!("{other:?}")),
            }
        })
    }

    /// The row's fields.
    pub(crate) fn fields(&self) -> Result<Vec<&str>, Error> {
        (0..self.record.len()).map(|column| self.field(column)).collect()
    }

    /// What is wrong with the row.
    pub(crate) fn error(&self, message: String) -> Error {
        row_error(&self.source, self.line(), message)
    }

    /// The line on which the row in `record` starts. The CSV reader knows where a row ends: behind its line end, or
    /// between CR and LF, or at the end of the file.
    fn line(&self) -> u64 {
        let end = self.reader.position();
        let inside = self.record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
        let behind = u64::from(self.reader.get_ref().before(end.byte()) == Some(b'\n'));
        end.line().saturating_sub(inside + behind)
    }

    pub(crate) fn field(&self, column: usize) -> Result<&str, Error> {
        std::str::from_utf8(&self.record[column]).map_err(|_| {
            let line = self.line();
            row_error(&self.source, line, format!("column {} is not UTF-8", column + 1))
        })
    }
}

/// The rows of a `.csv` file as documents; rows of empty text are passed over.
pub(super) struct CsvRows<R> {
    table: CsvTable<R>,
    fields: Vec<String>,
    /// The columns that hold the fields; empty until the first line is read.
    columns: Vec<usize>,
}

impl<R: Read> CsvRows<R> {
    pub(super) fn new(reader: R, source: Arc<str>, fields: Vec<String>) -> CsvRows<R> {
        CsvRows {
            table: CsvTable::new(reader, source),
            fields,
            columns: Vec::new(),
        }
    }

    fn row(&mut self) -> Result<Option<Document>, Error> {
        if self.columns.is_empty() {
            if !self.table.read()? {
                return Ok(None);
            }
            let names = self.table.fields()?;
            let of_field = |field: &String| {
                let column = names.iter().position(|name| name == field);
                column.ok_or_else(|| missing(&self.table.source, 1, field, names.iter().copied()))
            };
            self.columns = self.fields.iter().map(of_field).collect::<Result<_, _>>()?;
        }
        while self.table.read()? {
            let field = |&column: &usize| self.table.field(column);
            let fields: Vec<&str> = self.columns.iter().map(field).collect::<Result<_, _>>()?;
            let text = fields.join("\n");
            if !text.is_empty() {
                return Ok(Some(Document {
                    text,
                    source: self.table.source.clone(),
                    line: self.table.line(),
                    ends: true,
                }));
            }
        }
        Ok(None)
    }
}

impl<R: Read> Iterator for CsvRows<R> {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Result<Document, Error>> {
        self.row().transpose()
    }
}

/// A reader that refuses what the CSV reader would take: NUL bytes, and rows without end (a quotation mark that never
/// closes makes one row of the rest of the file). It takes the byte-order mark away, and remembers what it last gave.
struct Guard<R> {
    reader: R,
    /// Bytes read, with the byte-order mark.
    offset: u64,
    /// Bytes given before `last`.
    given: u64,
    last: Vec<u8>,
    of_row: usize,
}

impl<R> Guard<R> {
    /// The byte before this place in what was given, if it was in the last part.
    fn before(&self, place: u64) -> Option<u8> {
        let at = place.checked_sub(1)?.checked_sub(self.given)?;
        self.last.get(usize::try_from(at).ok()?).copied()
    }
}

/// Why a [`Guard`] refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("NUL byte at byte {0}")]
    Nul(u64),
    #[error("row too long")]
    TooLong,
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut read = self.reader.read(buffer)?;
        if let Some(nul) = buffer[..read].iter().position(|&byte| byte == 0) {
            return Err(std::io::Error::other(Refused::Nul(self.offset + nul as u64)));
        }
        let is_first = self.offset == 0;
        self.offset += read as u64;
        if is_first && buffer[..read].starts_with(b"\xEF\xBB\xBF") {
            buffer.copy_within(3..read, 0);
            read -= 3;
            if read == 0 {
                return self.read(buffer);
            }
        }
        self.given += self.last.len() as u64;
        self.last.clear();
        self.last.extend_from_slice(&buffer[..read]);
        self.of_row += read;
        if self.of_row > LARGEST_ROW {
            return Err(std::io::Error::other(Refused::TooLong));
        }
        Ok(read)
    }
}

fn check_text<'t>(bytes: &'t [u8], source: &str, offset: u64) -> Result<&'t str, Error> {
    if let Some(nul) = bytes.iter().position(|&byte| byte == 0) {
        return Err(Error::Binary {
            origin: source.to_owned(),
            offset: offset + nul as u64,
        });
    }
    std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8 {
        origin: source.to_owned(),
        offset: offset + error.valid_up_to() as u64,
    })
}

fn row_error(source: &str, line: u64, message: String) -> Error {
    Error::Row {
        origin: source.to_owned(),
        line,
        message,
    }
}

fn too_long(source: &str, line: u64) -> Error {
    row_error(
        source,
        line,
        format!("row longer than {LARGEST_ROW} bytes; is a quotation mark missing?"),
    )
}

fn missing<'f>(source: &str, line: u64, field: &str, found: impl Iterator<Item = &'f str>) -> Error {
    let found = found.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Error::MissingField {
        origin: source.to_owned(),
        line,
        field: field.to_owned(),
        found,
    }
}
