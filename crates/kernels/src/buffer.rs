//! One aligned, zeroed block of floats: what every arena and packing buffer is made of.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes that a [`Buffer`] is aligned to: a cache line, and an AVX-512 register.
pub const ALIGNMENT: usize = 64;

/// `len` floats at a 64-byte boundary, zero at first. Pages that are never touched are never resident.
pub struct Buffer {
    data: NonNull<f32>,
    len: usize,
}

// SAFETY: a Buffer owns its floats, as a Vec does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Panics
    /// Where `4 * len` exceeds the address space; a refusal by the allocator aborts as it does for a `Vec`, so ask
    /// [`Buffer::try_zeroed`] where the size comes from a user.
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).unwrap_or_else(|| handle_alloc_error(Self::layout(len).expect("length in range")))
    }

    /// `len` zeros, or `None` where the allocator refuses.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self {
                data: NonNull::dangling(),
                len,
            });
        }
        let layout = Self::layout(len)?;
        // SAFETY: the layout's size is not zero.
        let data = NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<f32>())?;
        Some(Self { data, len })
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.checked_mul(4)?, ALIGNMENT).ok()
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

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.len > 0 {
            let layout = Self::layout(self.len).expect("it was allocated with this layout");
            // SAFETY: allocated by `try_zeroed` with the same layout.
            unsafe { dealloc(self.data.as_ptr().cast(), layout) }
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len` initialised floats are owned.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: `len` initialised floats are owned, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
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
