//! The file read back by a reader of its own.

use super::*;
use crate::config::RunConfig;
use crate::report::Sample;

/// CRC-32C bit by bit, from its polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn sums_are_those_of_rfc_3720() {
    let ascending: Vec<u8> = (0..32).collect();
    for (bytes, sum) in [
        (&[0; 32][..], 0x8a91_36aa),
        (&[0xff; 32], 0x62a8_ab43),
        (&ascending, 0x46dd_794e),
        (b"123456789", 0xe306_9283),
    ] {
        assert_eq!((CRC.checksum(bytes), crc32c(bytes)), (sum, sum));
    }
}

/// The records of a file, with their sums checked.
fn records(mut file: &[u8]) -> Vec<&[u8]> {
    let unmask = |sum: &[u8]| {
        let sum = u32::from_le_bytes(sum.try_into().expect("4 bytes"));
        sum.wrapping_sub(0xa282_ead8).rotate_left(15)
    };
    let mut records = Vec::new();
    while !file.is_empty() {
        let (length, rest) = file.split_at(8);
        assert_eq!(unmask(&rest[..4]), crc32c(length));
        let n = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
        let (bytes, rest) = rest[4..].split_at(n);
        assert_eq!(unmask(&rest[..4]), crc32c(bytes));
        records.push(bytes);
        file = &rest[4..];
    }
    records
}

/// The fields of a message: numbers, and the bytes of everything; numbers of 4 and 8 bytes as their bits.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let take = |bytes: &mut &[u8], n: usize| {
            let (taken, rest) = bytes.split_at(n);
            *bytes = rest;
            taken.to_vec()
        };
        let (number, raw) = match key & 7 {
            0 => (varint(&mut bytes), Vec::new()),
            1 => (0, take(&mut bytes, 8)),
            2 => {
                let n = varint(&mut bytes) as usize;
                (0, take(&mut bytes, n))
            }
            5 => (0, take(&mut bytes, 4)),
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, number, raw));
    }
    found
}

fn of(fields: &[(u64, u64, Vec<u8>)], field: u64) -> &(u64, u64, Vec<u8>) {
    fields.iter().find(|found| found.0 == field).expect("the field")
}

#[test]
fn every_value_is_read_back() {
    let row = |step: u64| Metrics {
        step,
        time_s: 0.5 * step as f64,
        train_loss: (step != 2).then_some(3.0 / step as f64),
        val_loss: (step == 3).then_some(1.25),
        lr: 1e-3,
        grad_norm: Some(0.5),
        tokens_per_s: f64::NAN,
        ..Metrics::default()
    };
    let run = RunReport {
        name: "run".into(),
        path: "run".into(),
        config: RunConfig::default(),
        data: None,
        metrics: (1..=300).map(row).collect(),
        torn: false,
        samples: vec![Sample {
            step: 3,
            prompt: "질문".into(),
            text: "대답\n둘".into(),
        }],
        parameters: None,
        vocab_size: None,
        running: false,
    };
    let mut file = Vec::new();
    write(&run, 1e9, &mut file).unwrap();
    let records = records(&file);
    assert_eq!(records.len(), 302);
    let head = fields(records[0]);
    assert_eq!(of(&head, 3).2, b"brain.Event:2");
    for (i, row) in run.metrics.iter().enumerate() {
        let event = fields(records[i + 2]);
        let time = f64::from_le_bytes(of(&event, 1).2[..].try_into().unwrap());
        assert_eq!((of(&event, 2).1, time), (row.step, 1e9 + row.time_s));
        let values = fields(&of(&event, 5).2);
        let mut scalars = Vec::new();
        for (_, _, value) in &values {
            let value = fields(value);
            let tag = String::from_utf8(of(&value, 1).2.clone()).unwrap();
            if tag == "sample" {
                let tensor = fields(&of(&value, 8).2);
                let content = String::from_utf8(of(&tensor, 8).2.clone()).unwrap();
                assert_eq!((row.step, &*content), (3, "    질문\n\n---\n\n    대답\n    둘"));
                continue;
            }
            scalars.push((tag, f32::from_le_bytes(of(&value, 2).2[..].try_into().unwrap())));
        }
        let expected = [
            ("train/loss", row.train_loss),
            ("val/loss", row.val_loss),
            ("train/lr", Some(row.lr)),
            ("train/grad_norm", row.grad_norm),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .filter_map(|(tag, value)| Some((tag.to_owned(), value? as f32)))
            .collect();
        assert_eq!(scalars, expected);
    }
}
