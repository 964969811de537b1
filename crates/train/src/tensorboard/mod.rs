//! Event files that TensorBoard opens: scalars of every step, samples and config as texts.
//!
//! A file is a sequence of TFRecords, each a little-endian length, the masked CRC-32C of the length, the bytes, and the masked
//! CRC-32C of those; the bytes are an `Event` of TensorFlow's `event.proto` in protobuf. Only the dozen fields that are needed are
//! written, by hand: a protobuf library would bring a code generator for them.

mod proto;

use crate::error::Error;
use crate::metrics::Metrics;
use crate::report::RunReport;
use crc::{CRC_32_ISCSI, Crc};
use foretoken_formats::durable;
use proto::Message;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file of a run. TensorBoard looks for `tfevents` in names; the name never changes, so that a newer export takes the place of
/// the one before instead of lying beside it.
const NAME: &str = "events.out.tfevents.0000000000.foretoken";

/// CRC-32C (Castagnoli), as RFC 3720 has it.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What a scalar is of a step.
type Value = fn(&Metrics) -> Option<f64>;

/// The scalars of a step, by the tags under which TensorBoard lists them.
const SCALARS: [(&str, Value); 8] = [
    ("train/loss", |row| row.train_loss),
    ("val/loss", |row| row.val_loss),
    ("val/bits_per_byte", |row| row.val_bits_per_byte),
    ("train/lr", |row| Some(row.lr)),
    ("train/grad_norm", |row| row.grad_norm),
    ("speed/tokens_per_second", |row| Some(row.tokens_per_s)),
    ("speed/share_of_limit", |row| row.share_of_limit),
    ("speed/memory_bytes", |row| row.memory.map(|bytes| bytes as f64)),
];

/// Writes the event file of a run into `dir/NAME`, and says where. `started` is when the run began, in seconds since 1970:
/// wall times are that plus the seconds of training, so pauses between sittings are left out.
///
/// # Errors
/// Of the disk.
pub fn export(run: &RunReport, started: f64, dir: &Path) -> Result<PathBuf, Error> {
    durable::create_dir_all(dir)?;
    let path = dir.join(NAME);
    durable::write_file(&path, |w| write(run, started, &mut io::BufWriter::new(w)))?;
    Ok(path)
}

/// Writes the events of a run.
///
/// # Errors
/// Of `out`.
pub fn write(run: &RunReport, started: f64, out: &mut dyn Write) -> io::Result<()> {
    record(out, &Message::default().double(1, started).bytes(3, b"brain.Event:2"))?;
    let config = format!("```toml\n{}```", run.config.to_toml());
    event(out, started, 0, &[text("run.toml", &config)])?;
    let mut samples = run.samples.iter().peekable();
    for row in &run.metrics {
        let time = started + if row.time_s.is_finite() { row.time_s } else { 0.0 };
        let mut values: Vec<Message> = SCALARS
            .iter()
            .filter_map(|(tag, value)| Some(scalar(tag, value(row).filter(|value| value.is_finite())?)))
            .collect();
        while let Some(sample) = samples.next_if(|sample| sample.step <= row.step) {
            let code = |text: &str| indent(text);
            let shown = match sample.prompt.as_str() {
                "" => code(&sample.text),
                prompt => format!("{}\n\n---\n\n{}", code(prompt), code(&sample.text)),
            };
            values.push(text("sample", &shown));
        }
        event(out, time, row.step, &values)?;
    }
    out.flush()
}

/// A text as a block of code of Markdown, which TensorBoard's texts are: nothing in it is read as markup.
fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 … } }`
fn event(out: &mut dyn Write, time: f64, step: u64, values: &[Message]) -> io::Result<()> {
    let summary = values
        .iter()
        .fold(Message::default(), |all, value| all.message(1, value));
    record(
        out,
        &Message::default().double(1, time).int(2, step).message(5, &summary),
    )
}

/// `Value { tag = 1, simple_value = 2 }`
fn scalar(tag: &str, value: f64) -> Message {
    Message::default().bytes(1, tag.as_bytes()).float(2, value as f32)
}

/// `Value { tag = 1, tensor = 8 { dtype = 1, tensor_shape = 2 { dim = 2 { size = 1 } }, string_val = 8 },
/// metadata = 9 { plugin_data = 1 { plugin_name = 1 } } }`
fn text(tag: &str, content: &str) -> Message {
    const STRING: u64 = 7;
    let dim = Message::default().int(1, 1);
    let shape = Message::default().message(2, &dim);
    let tensor = Message::default()
        .int(1, STRING)
        .message(2, &shape)
        .bytes(8, content.as_bytes());
    let plugin = Message::default().bytes(1, b"text");
    let metadata = Message::default().message(1, &plugin);
    Message::default()
        .bytes(1, tag.as_bytes())
        .message(8, &tensor)
        .message(9, &metadata)
}

fn record(out: &mut dyn Write, message: &Message) -> io::Result<()> {
    let bytes = message.as_bytes();
    let length = (bytes.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length).to_le_bytes())?;
    out.write_all(bytes)?;
    out.write_all(&masked(bytes).to_le_bytes())
}

/// TFRecord's masked sum: turned by 15 bits, plus a constant, so that sums of data that hold sums stay good.
fn masked(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests;
