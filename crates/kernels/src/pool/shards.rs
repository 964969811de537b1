//! A slice that tasks write at the same time.

/// A slice that tasks share out among themselves, each range to one task.
#[derive(Clone, Copy)]
pub(crate) struct Shards<'a, T = f32> {
    data: *mut T,
    len: usize,
    owner: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: only `range` gives access, and its caller promises that ranges do not overlap.
unsafe impl<T: Send> Send for Shards<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shards<'_, T> {}

impl<'a, T> Shards<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            data: slice.as_mut_ptr(),
            len: slice.len(),
            owner: std::marker::PhantomData,
        }
    }

    /// Where element `at` lies, if it is there: to be prefetched.
    #[inline(always)]
    pub(crate) fn address(&self, at: usize) -> *const T {
        self.data.wrapping_add(at)
    }

    /// # Safety
    /// No other live range of these shards overlaps `start..end`.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // The caller's promise is what makes it sound.
    pub(crate) unsafe fn range(&self, start: usize, end: usize) -> &'a mut [T] {
        assert!(
            start <= end && end <= self.len,
            "range {start}..{end} of {} floats",
            self.len
        );
        // SAFETY: in bounds; not aliased, says the caller.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), end - start) }
    }
}
