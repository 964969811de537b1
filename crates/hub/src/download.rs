//! One file over HTTP: from where an earlier attempt stopped, until it is whole and its sum is right.

use crate::answer::{Answer, header_text};
use crate::client::{Hub, Method};
use crate::error::{Error, Result, shown};
use crate::event::Event;
use crate::listing::Listing;
use crate::sum::{Sum, Summing};
use crate::url;
use foretoken_formats::durable::PartialFile;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

const BUFFER: usize = 1 << 18;
/// An attempt that brought as much is no failure: the next one begins to count anew.
const PROGRESS: u64 = 1 << 20;

/// A file as it is fetched: what it is called, and all that is known of it before.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) name: String,
    /// Its tag, by which it is called in the cache: the sum where there is one.
    pub(crate) etag: String,
    pub(crate) size: u64,
    pub(crate) sum: Option<Sum>,
    /// The tag comes from the file's own headers, not from the listing: each answer has to repeat it.
    pub(crate) tagged: bool,
}

impl Hub {
    /// `ENDPOINT/REPO/resolve/COMMIT/NAME`.
    fn address(&self, listing: &Listing, name: &str) -> String {
        let (commit, name) = (listing.commit.as_str(), url::path(name));
        format!("{}/{}/resolve/{commit}/{name}", self.endpoint(), listing.repo)
    }

    /// What is known of a file: from the listing, else from the headers of the file.
    pub(crate) fn describe(
        &self,
        listing: &Listing,
        name: &str,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Remote> {
        let listed = listing.file(name);
        if let Some((size, sum)) = listed.and_then(|file| Some((file.size?, file.sum.clone()?))) {
            return Ok(Remote {
                name: name.to_owned(),
                etag: sum.hex().to_owned(),
                size,
                sum: Some(sum),
                tagged: false,
            });
        }
        let address = self.address(listing, name);
        let mut tries = self.tries();
        let answer = loop {
            let (error, after) = match self.send(Method::Head, &address, 0) {
                Ok(answer) if answer.status() < 400 => break answer,
                Ok(answer) if answer.may_pass() => (answer.error(), answer.retry_after()),
                Ok(answer) => return Err(self.refusal(&answer, &listing.repo, &listing.revision, Some(name))),
                Err(error) => (error, None),
            };
            tries.again(error, after, on_event)?;
        };
        let lacks = |what: &str| Error::Answer {
            url: answer.url(),
            message: format!("no {what} came with the file"),
        };
        let etag = answer.about.etag.clone().ok_or_else(|| lacks("ETag"))?;
        let size = answer.about.size.ok_or_else(|| lacks("size"))?;
        Ok(Remote {
            name: name.to_owned(),
            sum: Sum::of_etag(&etag),
            etag,
            size,
            tagged: true,
        })
    }

    /// Fetches what is missing of a file in `path`. `None` where the server has another file by now; what was there is gone
    /// then. Else the whole file, its sum verified, and how many bytes came.
    pub(crate) fn download(
        &self,
        listing: &Listing,
        remote: &Remote,
        path: &Path,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<(PartialFile, u64)>> {
        let mut partial = PartialFile::open(path)?;
        if partial.size() > remote.size {
            partial.clear()?;
        }
        let mut summing = Summing::new(remote.sum.as_ref(), remote.size);
        partial.read(|bytes| summing.update(bytes))?;
        let download = Download {
            hub: self,
            listing,
            remote,
            resumed: partial.size() > 0,
            partial,
            summing,
            received: 0,
            on_event,
        };
        download.run()
    }
}

/// What became of a request.
enum Outcome {
    /// All bytes are there.
    Whole,
    /// What was there was of no use and is gone.
    Nothing,
    /// The server has another file than before.
    Changed,
    /// It broke off, or was no answer; it may pass. The server may say when.
    Failed(Error, Option<Duration>),
}

/// A file on its way.
struct Download<'a> {
    hub: &'a Hub,
    listing: &'a Listing,
    remote: &'a Remote,
    /// What is there.
    partial: PartialFile,
    /// The sum of what is there.
    summing: Summing<'a>,
    /// Some of what is there was written by an earlier process.
    resumed: bool,
    received: u64,
    on_event: &'a mut dyn FnMut(Event<'_>),
}

impl Download<'_> {
    fn run(mut self) -> Result<Option<(PartialFile, u64)>> {
        match self.until_right() {
            Ok(true) => Ok(Some((self.partial, self.received))),
            Ok(false) => {
                self.partial.discard()?;
                Ok(None)
            }
            Err(error) => {
                let wrong = matches!(error, Error::Size { .. } | Error::Sum { .. });
                if wrong || self.partial.size() == 0 {
                    self.partial.discard()?;
                }
                Err(error)
            }
        }
    }

    /// Asks until all bytes are there and their sum is right; false where the server has another file by now.
    fn until_right(&mut self) -> Result<bool> {
        let (mut tries, mut best) = (self.hub.tries(), self.partial.size());
        self.begin();
        loop {
            let outcome = if self.partial.size() == self.remote.size {
                Outcome::Whole
            } else {
                self.request()?
            };
            match outcome {
                Outcome::Whole => match self.summing.verify(&self.remote.name) {
                    Ok(()) => return Ok(true),
                    // What an earlier process left may be what is wrong.
                    Err(_) if self.resumed => self.restart()?,
                    Err(error) => return Err(error),
                },
                Outcome::Nothing => {}
                Outcome::Changed => return Ok(false),
                Outcome::Failed(error, after) => {
                    // Not what came: a server that begins from nothing each time could go on for ever.
                    if self.partial.size() >= best + PROGRESS {
                        best = self.partial.size();
                        tries.progress();
                    }
                    tries.again(error, after, self.on_event)?;
                }
            }
        }
    }

    fn begin(&mut self) {
        (self.on_event)(Event::Begin {
            name: &self.remote.name,
            size: self.remote.size,
            have: self.partial.size(),
        });
    }

    fn restart(&mut self) -> Result<()> {
        self.partial.clear()?;
        self.summing.restart();
        self.resumed = false;
        self.begin();
        Ok(())
    }

    /// Asks for what is missing.
    fn request(&mut self) -> Result<Outcome> {
        let from = self.partial.size();
        let address = self.hub.address(self.listing, &self.remote.name);
        let answer = match self.hub.send(Method::Get, &address, from) {
            Ok(answer) => answer,
            Err(error @ Error::Network { .. }) => return Ok(Outcome::Failed(error, None)),
            Err(error) => return Err(error),
        };
        let status = answer.status();
        if matches!(status, 200 | 206) && self.remote.tagged && answer.about.etag.as_ref() != Some(&self.remote.etag) {
            return Ok(Outcome::Changed);
        }
        match status {
            200 => {
                self.check_size(header_text(&answer.response, "content-length"))?;
                // It ignores the range.
                if from > 0 {
                    self.restart()?;
                }
                self.receive(answer)
            }
            206 if from > 0 => match content_range(&answer) {
                Some((begin, whole)) if begin == from => {
                    self.check_size(whole)?;
                    self.receive(answer)
                }
                _ => self.restart().map(|()| Outcome::Nothing),
            },
            416 if from > 0 => self.restart().map(|()| Outcome::Nothing),
            _ if answer.may_pass() => Ok(Outcome::Failed(answer.error(), answer.retry_after())),
            _ => {
                let (repo, commit) = (&self.listing.repo, &self.listing.commit);
                Err(self.hub.refusal(&answer, repo, commit, Some(&self.remote.name)))
            }
        }
    }

    /// Takes the bytes of an answer.
    fn receive(&mut self, answer: Answer) -> Result<Outcome> {
        let url = answer.url();
        let broken = |message: String| {
            let url = url.clone();
            Ok(Outcome::Failed(Error::Network { url, message }, None))
        };
        let size = self.remote.size;
        let mut body = answer.response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            // One byte more than there should be: without a length in its head, an answer may go on.
            let wanted = (size - self.partial.size()).min(BUFFER as u64 - 1) as usize + 1;
            let read = match body.read(&mut buffer[..wanted]) {
                Ok(0) if self.partial.size() == size => return Ok(Outcome::Whole),
                Ok(0) => return broken(format!("it ended after {} of {size} bytes", self.partial.size())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // All is there; how the connection ends does not matter.
                Err(_) if self.partial.size() == size => return Ok(Outcome::Whole),
                Err(error) => return broken(shown(&error.to_string())),
            };
            if read as u64 > size - self.partial.size() {
                return Err(self.wrong_size("more"));
            }
            self.partial.append(&buffer[..read])?;
            self.summing.update(&buffer[..read]);
            self.received += read as u64;
            (self.on_event)(Event::Received(read as u64));
        }
    }

    /// Compares the size that an answer tells, if it does, with the one that is expected.
    fn check_size(&self, told: Option<&str>) -> Result<()> {
        match told.map(str::trim) {
            Some(told) if told.parse() != Ok(self.remote.size) => Err(self.wrong_size(told)),
            _ => Ok(()),
        }
    }

    fn wrong_size(&self, found: &str) -> Error {
        Error::Size {
            name: self.remote.name.clone(),
            found: shown(found),
            expected: self.remote.size,
        }
    }
}

/// First byte and whole length of `Content-Range: bytes 5-9/10`; the length may be left open with `*`.
fn content_range(answer: &Answer) -> Option<(u64, Option<&str>)> {
    let text = header_text(&answer.response, "content-range")?.trim();
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (begin, _) = range.split_once('-')?;
    Some((begin.trim().parse().ok()?, Some(whole).filter(|whole| *whole != "*")))
}
