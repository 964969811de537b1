//! One aligned, zeroed block of numbers: what every arena and packing buffer is made of.

use memmap2::MmapMut;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Bytes that a [`Buffer`] is aligned to: a cache line, and an AVX-512 register.
pub const ALIGNMENT: usize = 64;

/// Bytes of a huge page. A buffer that is larger starts at such a boundary and asks for them: a kernel that walks a large
/// matrix by columns touches a page a row, and looking pages up took 5% of a matmul.
const HUGE_PAGE: usize = 2 << 20;

/// `len` floats at a 64-byte boundary, zero at first. Pages that are never touched are never resident.
pub type Buffer = Aligned<f32>;

/// The same for numbers in bf16, each the upper half of an `f32`'s bits.
pub type Bf16Buffer = Aligned<u16>;

/// A number whose every pattern of bits is a value, zeros being zero.
///
/// # Safety
/// The type holds no padding, and any bits are one of its values.
pub unsafe trait Number: Copy {}
// SAFETY: any four bytes are a float.
unsafe impl Number for f32 {}
// SAFETY: any two bytes are a whole number.
unsafe impl Number for u16 {}
// SAFETY: any byte is a whole number.
unsafe impl Number for u8 {}

/// `len` numbers at a 64-byte boundary, zero at first: a [`Buffer`] or a [`Bf16Buffer`].
pub struct Aligned<T> {
    /// None where `len` is 0.
    map: Option<MmapMut>,
    /// Bytes of the map before the first number.
    offset: usize,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Number> Aligned<T> {
    /// `len` zeros.
    ///
    /// # Panics
    /// Where the system refuses: ask [`Buffer::try_zeroed`] where the size comes from a user.
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).unwrap_or_else(|| panic!("no memory for {len} numbers"))
    }

    /// `len` zeros, or `None` where the system refuses.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self {
                map: None,
                offset: 0,
                len,
                of: PhantomData,
            });
        }
        let bytes = len
            .checked_mul(size_of::<T>())
            .filter(|&bytes| bytes <= isize::MAX as usize)?;
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
            of: PhantomData,
        })
    }

    /// Grows to at least `len` numbers; the contents are lost (zeros) when it grows.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [T] {
        if self.len < len {
            *self = Self::zeroed(0);
            *self = Self::zeroed(len);
        }
        &mut self[..len]
    }
}

impl<T: Number> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        let Some(map) = &self.map else { return &[] };
        // SAFETY: `len` numbers lie in the map from `offset` on, which is a multiple of 64; any bits are a number.
        unsafe { std::slice::from_raw_parts(map.as_ptr().add(self.offset).cast(), self.len) }
    }
}

impl<T: Number> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let Some(map) = &mut self.map else { return &mut [] };
        // SAFETY: as above, and the map is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().add(self.offset).cast(), self.len) }
    }
}

impl<T: Number> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} x {})", self.len, std::any::type_name::<T>())
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
        let mut halves = Bf16Buffer::zeroed(33);
        halves[32] = 7;
        assert_eq!((halves.len(), halves.iter().sum::<u16>()), (33, 7));
        assert_eq!(halves.as_ptr() as usize % ALIGNMENT, 0);
    }
}
