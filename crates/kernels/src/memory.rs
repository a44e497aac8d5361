//! Large, cache-line aligned, zeroed memory for weights and caches.
//!
//! On Unix it is mapped, so that pages appear when first written, by whichever thread writes them; on
//! Linux on huge pages: with 4 KB pages a streaming read is a tenth slower (38.3 against 33.7 ms/GB).

use crate::Error;
use std::ptr::NonNull;

/// A huge page of x86-64 and of most Arm Linux systems; memory this large starts on one.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// An owned block of zeroed bytes that starts on a cache line.
pub(crate) struct Memory {
    start: NonNull<u8>,
    len: usize,
    mapping: mapping::Mapping,
}

// SAFETY: `Memory` owns its bytes and gives them out under the usual borrow rules.
unsafe impl Send for Memory {}
// SAFETY: as above; shared access is read-only.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn zeroed(len: usize) -> Result<Self, Error> {
        let align = if len >= HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { 64 };
        let out_of_memory = Error::OutOfMemory { bytes: len };
        let Some(total) = len.max(1).checked_add(align) else { return Err(out_of_memory) };
        let Some((base, mapping)) = mapping::zeroed(total) else { return Err(out_of_memory) };
        let skip = base.as_ptr().align_offset(align);
        assert!(skip <= align, "a byte pointer can be aligned");
        // SAFETY: `skip + len <= total`, the size of the mapping.
        let start = unsafe { base.add(skip) };
        mapping::advise_huge_pages(start, len);
        Ok(Self { start, len, mapping })
    }
}

impl std::ops::Deref for Memory {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `len` initialised bytes that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl std::ops::DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        mapping::free(&self.mapping);
    }
}

#[cfg(unix)]
mod mapping {
    use std::ptr::{NonNull, null_mut};

    pub(super) struct Mapping {
        base: *mut libc::c_void,
        len: usize,
    }

    pub(super) fn zeroed(len: usize) -> Option<(NonNull<u8>, Mapping)> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new anonymous mapping touches no memory that anyone else has.
        let base = unsafe { libc::mmap(null_mut(), len, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        Some((NonNull::new(base.cast())?, Mapping { base, len }))
    }

    #[cfg(target_os = "linux")]
    pub(super) fn advise_huge_pages(start: NonNull<u8>, len: usize) {
        let len = len & !(super::HUGE_PAGE_BYTES - 1);
        if len > 0 {
            // SAFETY: the range lies in our own mapping and the advice changes no content. A system
            // without huge pages refuses it, which costs speed alone.
            unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn advise_huge_pages(_: NonNull<u8>, _: usize) {}

    pub(super) fn free(mapping: &Mapping) {
        // SAFETY: mapped in `zeroed` with this length, and freed once, by the owner's `drop`.
        unsafe { libc::munmap(mapping.base, mapping.len) };
    }
}

#[cfg(not(unix))]
mod mapping {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    pub(super) struct Mapping {
        base: NonNull<u8>,
        layout: Layout,
    }

    pub(super) fn zeroed(len: usize) -> Option<(NonNull<u8>, Mapping)> {
        let layout = Layout::from_size_align(len, 64).ok()?;
        // SAFETY: the caller asks for at least one byte.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some((base, Mapping { base, layout }))
    }

    pub(super) fn advise_huge_pages(_: NonNull<u8>, _: usize) {}

    pub(super) fn free(mapping: &Mapping) {
        // SAFETY: allocated in `zeroed` with this layout, and freed once, by the owner's `drop`.
        unsafe { dealloc(mapping.base.as_ptr(), mapping.layout) };
    }
}
