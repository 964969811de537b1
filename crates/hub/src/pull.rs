//! Several files into the cache, or into a directory of their own.

use crate::cache::{Cache, ref_path};
use crate::client::Hub;
use crate::download::Remote;
use crate::error::{Error, Result, shown};
use crate::event::Event;
use crate::listing::Listing;
use crate::name::check_path;
use crate::sum::{Sum, Summing};
use foretoken_formats::durable;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Names of files are listed in a message up to here.
const SHOWN_NAMES: usize = 20;
/// Of a directory of one's own: what keeps two pulls apart.
const LOCK: &str = ".pull.lock";

/// Where files are fetched to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The cache that everybody shares.
    Cache(Cache),
    /// A directory, in which they have the names they have in the repository. Nothing that is there is replaced.
    Directory(PathBuf),
}

/// A file that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its name in the repository.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// What they sum up to; `None` where the server names no sum, and only the size was compared.
    pub sum: Option<Sum>,
    /// Bytes that came over the network.
    pub received: u64,
}

/// Files of one commit, on their way to one place.
#[derive(Debug)]
pub struct Pull<'a> {
    hub: &'a Hub,
    listing: &'a Listing,
    destination: Destination,
}

impl<'a> Pull<'a> {
    /// Begins; nothing is written yet.
    pub fn new(hub: &'a Hub, listing: &'a Listing, destination: Destination) -> Self {
        Self {
            hub,
            listing,
            destination,
        }
    }

    /// The directory in which the files have their names.
    pub fn directory(&self) -> PathBuf {
        match &self.destination {
            Destination::Cache(cache) => {
                let snapshots = cache.folder(&self.listing.repo).join("snapshots");
                snapshots.join(self.listing.commit.as_str())
            }
            Destination::Directory(dir) => dir.clone(),
        }
    }

    /// Fetches files by their names; what is there already stays as it is, and what is there in part is gone on with.
    ///
    /// # Errors
    /// [`Error::NoFile`] and [`Error::Name`] before anything is fetched, as is a full disk; [`Error::Exists`] in a directory
    /// of one's own; [`Error::Sum`] and [`Error::Size`] for a file that is not the one expected, of which nothing is kept;
    /// [`Error::Network`] and [`Error::Status`] after some tries, when what came stays for the next pull.
    pub fn fetch(&self, names: &[&str], on_event: &mut dyn FnMut(Event<'_>)) -> Result<Vec<Fetched>> {
        let mut remotes = Vec::with_capacity(names.len());
        for name in names {
            check_path(name)?;
            if self.listing.file(name).is_none() {
                return Err(self.no_file(name));
            }
            remotes.push(self.hub.describe(self.listing, name, on_event)?);
        }
        let (mut plan, mut missing, mut bytes) = (Vec::with_capacity(names.len()), 0u64, 0u64);
        for remote in remotes {
            let there = self.is_there(&remote)?;
            bytes = bytes.saturating_add(remote.size);
            if !there {
                let part = std::fs::metadata(self.partial_path(&remote, true)).map_or(0, |part| part.len());
                missing = missing.saturating_add(remote.size.saturating_sub(part));
            }
            plan.push((remote, there));
        }
        on_event(Event::Plan {
            files: plan.len(),
            bytes,
            missing,
        });
        durable::check_space(self.directory(), missing)?;
        let fetched = plan
            .into_iter()
            .map(|(remote, there)| self.fetch_one(remote, there, on_event));
        fetched.collect()
    }

    /// Says that a branch or tag is at the commit that was fetched, and gives the directory. Until then the cache keeps the
    /// one before.
    ///
    /// # Errors
    /// Of the disk.
    pub fn finish(self) -> Result<PathBuf> {
        let (revision, commit) = (&self.listing.revision, self.listing.commit.as_str());
        if let Destination::Cache(cache) = &self.destination
            && !revision.is_commit()
        {
            let path = ref_path(&cache.folder(&self.listing.repo), revision);
            if std::fs::read(&path).ok().as_deref() != Some(commit.as_bytes()) {
                create_parent(&path)?;
                durable::write_bytes(&path, commit.as_bytes())?;
            }
        }
        Ok(self.directory())
    }

    /// Fetches a file that may be there already.
    fn fetch_one(&self, remote: Remote, there: bool, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Fetched> {
        let (remote, received) = if there {
            let (name, size) = (&*remote.name, remote.size);
            on_event(Event::Begin { name, size, have: size });
            (remote, 0)
        } else {
            match self.receive(&remote, on_event)? {
                Some(received) => (remote, received),
                None => {
                    // The file is another one by now, with a tag, a size and a name in the cache of its own. Once.
                    let now = self.hub.describe(self.listing, &remote.name, on_event)?;
                    let received = self.receive(&now, on_event)?.ok_or_else(|| Error::Answer {
                        url: self.hub.endpoint().to_owned(),
                        message: format!("the ETag of {} is another one each time", now.name),
                    })?;
                    (now, received)
                }
            }
        };
        self.link(&remote)?;
        on_event(Event::Done { name: &remote.name });
        Ok(Fetched {
            path: self.directory().join(&remote.name),
            name: remote.name,
            size: remote.size,
            sum: remote.sum,
            received,
        })
    }

    /// Fetches a file, alone, and says how many bytes came; `None` where the server has another file by now.
    fn receive(&self, remote: &Remote, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Option<u64>> {
        let lock_path = match &self.destination {
            Destination::Cache(cache) => cache.lock_path(&self.listing.repo, &remote.etag),
            Destination::Directory(dir) => dir.join(LOCK),
        };
        let (name, size) = (&*remote.name, remote.size);
        let lock = lock(&lock_path, || on_event(Event::Waits { name }))?;
        // Whoever held the lock before may have fetched it.
        if self.is_there(remote)? {
            on_event(Event::Begin { name, size, have: size });
            return Ok(Some(0));
        }
        let partial = self.partial_path(remote, lock.is_some());
        create_parent(&partial)?;
        self.remove_stale(remote, &partial);
        let Some((file, received)) = self.hub.download(self.listing, remote, &partial, on_event)? else {
            return Ok(None);
        };
        let target = self.target(remote);
        create_parent(&target)?;
        file.commit(target)?;
        Ok(Some(received))
    }

    /// Where the bytes of a file are kept.
    fn target(&self, remote: &Remote) -> PathBuf {
        match &self.destination {
            Destination::Cache(cache) => cache.folder(&self.listing.repo).join("blobs").join(&remote.etag),
            Destination::Directory(dir) => dir.join(&remote.name),
        }
    }

    /// Where they are gathered. The tag is a part of its name: of another file nothing is resumed. Without a lock it is a
    /// file of this process alone, and not resumed either.
    fn partial_path(&self, remote: &Remote, locked: bool) -> PathBuf {
        let target = self.target(remote);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let tag = match &self.destination {
            Destination::Cache(_) => String::new(),
            Destination::Directory(_) => format!(".{}", &remote.etag[..remote.etag.len().min(16)]),
        };
        let own = match locked {
            true => String::new(),
            false => format!(".{}", std::process::id()),
        };
        target.with_file_name(format!("{name}{tag}{own}.incomplete"))
    }

    /// Whether a file is there, whole. In the cache its name says that its sum was right; elsewhere its bytes have to.
    fn is_there(&self, remote: &Remote) -> Result<bool> {
        let target = self.target(remote);
        let Ok(found) = std::fs::metadata(&target) else {
            return Ok(false);
        };
        let right_size = found.is_file() && found.len() == remote.size;
        if let Destination::Cache(_) = &self.destination {
            return Ok(right_size);
        }
        if right_size && remote.sum.is_some() && sum_is_right(remote, &target)? {
            return Ok(true);
        }
        Err(Error::Exists {
            path: target,
            repo: self.listing.repo.to_string(),
        })
    }

    /// Removes what earlier pulls left of what was then the file of this name. In the cache such is named by its tag
    /// alone, and may still be wanted.
    fn remove_stale(&self, remote: &Remote, partial: &Path) {
        let Destination::Directory(_) = &self.destination else {
            return;
        };
        let name = Path::new(&remote.name)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let entries = partial.parent().and_then(|dir| std::fs::read_dir(dir).ok());
        for path in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
            let other = path.file_name().unwrap_or_default().to_string_lossy();
            let middle = other
                .strip_prefix(&*name)
                .and_then(|rest| rest.strip_suffix(".incomplete"));
            let tag = middle.and_then(|middle| middle.strip_prefix('.'));
            if path != partial && tag.is_some_and(|tag| tag.len() <= 16 && !tag.contains('.')) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Gives a blob of the cache its name in the snapshot.
    fn link(&self, remote: &Remote) -> Result<()> {
        let Destination::Cache(_) = &self.destination else {
            return Ok(());
        };
        let link = self.directory().join(&remote.name);
        let blob = self.target(remote);
        if let (Ok(at), Ok(blob)) = (link.canonicalize(), blob.canonicalize())
            && at == blob
        {
            return Ok(());
        }
        create_parent(&link)?;
        if cfg!(unix) {
            let up = "../".repeat(2 + remote.name.matches('/').count());
            return Ok(durable::point(&link, format!("{up}blobs/{}", remote.etag))?);
        }
        // Symbolic links are a privilege on Windows; a second name of the same file is none.
        let _ = std::fs::remove_file(&link);
        std::fs::hard_link(&blob, &link).map_err(|source| {
            Error::File(foretoken_formats::Error::Io {
                action: "link",
                path: link,
                source,
            })
        })
    }

    fn no_file(&self, name: &str) -> Error {
        let mut names: Vec<String> = self.listing.files.iter().map(|file| shown(&file.name)).collect();
        // Those that are most like it first.
        let wanted = name.to_ascii_lowercase();
        let ending = wanted.rsplit('.').next().unwrap_or_default().to_owned();
        names.sort_by_key(|name| !name.to_ascii_lowercase().ends_with(&ending));
        let more = names.len().saturating_sub(SHOWN_NAMES);
        names.truncate(SHOWN_NAMES);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Error::NoFile {
            repo: self.listing.repo.to_string(),
            name: shown(name),
            instead: format!("; it holds {}{more}", names.join(", ")),
        }
    }
}

/// Whether the bytes of a file sum up to what they should.
fn sum_is_right(remote: &Remote, path: &Path) -> Result<bool> {
    let failed = |source| {
        Error::File(foretoken_formats::Error::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut summing = Summing::new(remote.sum.as_ref(), remote.size);
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(summing.verify(&remote.name).is_ok()),
            read => summing.update(&buffer[..read]),
        }
    }
}

fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => Ok(durable::create_dir_all(parent)?),
        _ => Ok(()),
    }
}

/// Waits until no other process holds the lock. A killed process holds none: the system lets go of it. `None` where there
/// are no locks, as on some network file systems.
fn lock(path: &Path, on_wait: impl FnOnce()) -> Result<Option<File>> {
    let failed = |source| Error::Lock {
        path: path.to_owned(),
        source,
    };
    create_parent(path)?;
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    let locked = match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            on_wait();
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
    };
    match locked {
        Ok(()) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
