//! Encoding on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bpe::Memory;
use super::{Tokenizer, last_cut};
use crate::{Document, Error};

/// Bytes of text that one thread encodes at a time.
const JOB: usize = 256 << 10;

/// Bytes of documents gathered before they are encoded together.
const BATCH: usize = 16 << 20;

impl Tokenizer {
    /// The ids of each text as ordinary text, on `threads` threads: the same as [`encode`](Tokenizer::encode) gives.
    /// Long texts are shared among threads too.
    pub fn encode_batch<T: AsRef<str> + Sync>(&self, texts: &[T], threads: usize) -> Vec<Vec<u32>> {
        let mut jobs: Vec<(usize, &str)> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            jobs.extend(parts(text.as_ref()).map(|part| (index, part)));
        }
        let done: Vec<Mutex<Vec<u32>>> = jobs.iter().map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut memory = Memory::default();
            while let Some((job, slot)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                jobs.get(at).zip(done.get(at))
            } {
                let mut ids = Vec::with_capacity(job.1.len() / 3);
                self.encode_into(job.1, &mut memory, &mut ids);
                *slot.lock().expect("one thread a job") = ids;
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(jobs.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut ids: Vec<Vec<u32>> = texts.iter().map(|_| Vec::new()).collect();
        for ((index, _), part) in jobs.iter().zip(done) {
            let part = part.into_inner().expect("no thread panicked");
            if ids[*index].is_empty() {
                ids[*index] = part
            } else {
                ids[*index].extend(part)
            }
        }
        ids
    }

    /// Encodes documents in their order and gives their ids to `sink`, each document followed by the end-of-text token.
    ///
    /// Memory is bounded by a batch of some megabytes, whatever the documents hold together; the ids do not depend on
    /// `threads`.
    ///
    /// # Errors
    /// The first of the documents or of `sink`.
    pub fn encode_documents<E: From<Error>>(
        &self,
        documents: impl IntoIterator<Item = Result<Document, Error>>,
        threads: usize,
        mut sink: impl FnMut(&[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut batch: Vec<Document> = Vec::new();
        let mut bytes = 0;
        let mut flush = |batch: &mut Vec<Document>| -> Result<(), E> {
            let texts: Vec<&str> = batch.iter().map(|document| document.text.as_str()).collect();
            for (mut ids, document) in self.encode_batch(&texts, threads).into_iter().zip(batch.iter()) {
                if document.ends {
                    ids.push(self.eos_id());
                }
                sink(&ids)?;
            }
            batch.clear();
            Ok(())
        };
        for document in documents {
            let document = document?;
            bytes += document.text.len();
            batch.push(document);
            // Rows of no length must not pile up either.
            if bytes >= BATCH || batch.len() >= BATCH / 64 {
                flush(&mut batch)?;
                bytes = 0;
            }
        }
        flush(&mut batch)
    }
}

/// `text` in parts of about [`JOB`] bytes whose ids follow each other as in the whole.
fn parts(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut size = JOB;
        let cut = loop {
            if size >= text.len() {
                break text.len();
            }
            if let Some(cut) = last_cut(&text[..text.floor_char_boundary(size)]) {
                break cut;
            }
            size *= 2;
        };
        let (part, rest) = text.split_at(cut);
        text = rest;
        (!part.is_empty()).then_some(part)
    })
}
