//! Files as slices: mapped, not read.

use crate::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file mapped into memory, read-only.
///
/// Pages are read when touched and can be dropped again by the system, so a file larger than memory is fine. It stays
/// readable after it was renamed, replaced or deleted. It must not be cut short in place while it is mapped: touching
/// a page that is gone kills the process (SIGBUS). Nothing in this project does that: [`crate::durable`] replaces files
/// and never changes one in place, logs apart, which are never mapped.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    map: memmap2::Mmap,
}

impl MappedFile {
    /// Maps the whole of `path`; an empty file is an empty slice.
    ///
    /// # Errors
    /// Where it cannot be opened, or is not a regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = open_regular(path)?.0;
        #[allow(unsafe_code)]
        // SAFETY: the map is read-only, and whoever changes the file in place breaks the promise in the type's
        // documentation; the project's own writers never do.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io("map", path))?;
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    /// A copy of `bytes` in memory, in the place of a file; `path` is for messages.
    ///
    /// # Errors
    /// Where the system has no memory for them.
    pub(crate) fn of_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self> {
        let path = path.as_ref();
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).map_err(Error::io("map", path))?;
        map.copy_from_slice(bytes);
        Ok(Self {
            path: path.to_owned(),
            map: map.make_read_only().map_err(Error::io("map", path))?,
        })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// All bytes as little-endian 16-bit numbers.
    ///
    /// # Errors
    /// [`Error::OddLength`] where the length is not a multiple of 2.
    pub fn as_u16(&self) -> Result<&[u16]> {
        self.cast()
    }

    /// All bytes as little-endian 32-bit numbers.
    ///
    /// # Errors
    /// [`Error::OddLength`] where the length is not a multiple of 4.
    pub fn as_u32(&self) -> Result<&[u32]> {
        self.cast()
    }

    /// A map begins at a page, so only the length can be wrong.
    fn cast<T: bytemuck::Pod>(&self) -> Result<&[T]> {
        bytemuck::try_cast_slice(&self.map).map_err(|_| Error::OddLength {
            path: self.path.clone(),
            found: self.map.len(),
            unit: size_of::<T>(),
        })
    }
}

/// Opens `path` for reading and gives its size. What is no regular file is refused before it is opened: opening a pipe
/// would wait for its writer.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    Ok((file, metadata.len()))
}

/// True for the text that Git LFS leaves in the place of a large file.
pub(crate) fn is_git_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian_and_lengths_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let map = MappedFile::open(&path).unwrap();
        assert_eq!(map.as_u16().unwrap(), [0x0201, 0x0403, 0x0605, 0x0807]);
        assert_eq!(map.as_u32().unwrap(), [0x0403_0201, 0x0807_0605]);

        for (len, u16_fits, u32_fits) in [(0, true, true), (1, false, false), (2, true, false), (6, true, false)] {
            std::fs::write(&path, vec![7; len]).unwrap();
            let map = MappedFile::open(&path).unwrap();
            assert_eq!(map.bytes(), vec![7; len]);
            assert_eq!(map.as_u16().is_ok(), u16_fits, "{len}");
            assert_eq!(map.as_u32().is_ok(), u32_fits, "{len}");
        }
        std::fs::write(&path, [0; 7]).unwrap();
        match MappedFile::open(&path).unwrap().as_u32() {
            Err(Error::OddLength { found: 7, unit: 4, .. }) => {}
            other => panic!("{other:?}"),
        };
    }

    #[test]
    fn only_regular_files_are_mapped() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(MappedFile::open(dir.path()), Err(Error::NotAFile { .. })));
        assert!(matches!(
            MappedFile::open(dir.path().join("none")),
            Err(Error::Io { .. })
        ));
        #[cfg(target_os = "linux")]
        assert!(matches!(MappedFile::open("/dev/zero"), Err(Error::NotAFile { .. })));
    }

    #[test]
    fn a_map_outlives_the_replacement_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        crate::durable::write_bytes(&path, b"old").unwrap();
        let map = MappedFile::open(&path).unwrap();
        crate::durable::write_bytes(&path, b"").unwrap();
        assert_eq!(map.bytes(), b"old");
    }
}
