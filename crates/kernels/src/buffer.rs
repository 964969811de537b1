//! One aligned, zeroed block of floats: what every arena and packing buffer is made of.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// Bytes that a [`Buffer`] is aligned to: a cache line, and an AVX-512 register.
pub const ALIGNMENT: usize = 64;

/// Bytes of a huge page. A buffer that is larger starts at such a boundary and asks for them: a kernel that walks a large
/// matrix by columns touches a page a row, and looking pages up took 5% of a matmul.
const HUGE_PAGE: usize = 2 << 20;

/// `len` floats at a 64-byte boundary, zero at first. Pages that are never touched are never resident.
pub struct Buffer {
    /// None where `len` is 0.
    map: Option<MmapMut>,
    /// Bytes of the map before the first float.
    offset: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Panics
    /// Where the system refuses: ask [`Buffer::try_zeroed`] where the size comes from a user.
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).unwrap_or_else(|| panic!("no memory for {len} floats"))
    }

    /// `len` zeros, or `None` where the system refuses.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self {
                map: None,
                offset: 0,
                len,
            });
        }
        let bytes = len.checked_mul(4).filter(|&bytes| bytes <= isize::MAX as usize)?;
        let huge = bytes > HUGE_PAGE;
        let map = MmapMut::map_anon(bytes.checked_add(if huge { HUGE_PAGE } else { 0 })?).ok()?;
        let offset = if huge { map.as_ptr().align_offset(HUGE_PAGE) } else { 0 };
        #[cfg(target_os = "linux")]
        if huge {
            // Where the system has none, small pages do.
            let _ = map.advise_range(memmap2::Advice::HugePage, offset, bytes);
        }
        Some(Self {
            map: Some(map),
            offset,
            len,
        })
    }

    /// Grows to at least `len` floats; the contents are lost (zeros) when it grows.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            *self = Self::zeroed(0);
            *self = Self::zeroed(len);
        }
        &mut self[..len]
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        let Some(map) = &self.map else { return &[] };
        // SAFETY: `len` floats lie in the map from `offset` on, which is a multiple of 64; any bits are a float.
        unsafe { std::slice::from_raw_parts(map.as_ptr().add(self.offset).cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let Some(map) = &mut self.map else { return &mut [] };
        // SAFETY: as above, and the map is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().add(self.offset).cast(), self.len) }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} floats)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_refuse_the_impossible() {
        for len in [0, 1, 17, 4096] {
            let buffer = Buffer::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(len == 0 || buffer.as_ptr() as usize % ALIGNMENT == 0);
            assert!(buffer.iter().all(|&x| x == 0.0));
        }
        assert!(Buffer::try_zeroed(usize::MAX / 2).is_none());
    }
}
