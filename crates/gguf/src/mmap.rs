//! The bytes of a file, mapped rather than read. The only place of this crate with `unsafe`.

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Mmap, MmapMut};

/// Read-only bytes: a file's pages, memory of our own, or a part of the program.
#[derive(Debug)]
pub(crate) enum Map {
    File(Mmap),
    Copy(Mmap),
    Program(&'static [u8]),
}

impl Map {
    /// Maps a whole file, shared and read-only.
    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        // SAFETY: the map is read-only and lives as long as every slice of it, by borrow. What no program
        // can rule out is another process changing the file meanwhile: overwritten bytes show as other
        // numbers (lengths and text are checked again wherever they are decoded), and reading past a new,
        // shorter end is SIGBUS. Like every loader that maps weights, we take a model file to stay as it
        // is while it is open; tools that replace one (ours included) write a new file and rename it,
        // which leaves this map's file untouched.
        let map = unsafe { Mmap::map(file)? };
        Ok(Self::File(map))
    }

    /// A page-aligned copy of `bytes`.
    pub(crate) fn of_bytes(bytes: &[u8]) -> io::Result<Self> {
        let mut map = MmapMut::map_anon(bytes.len())?;
        map.copy_from_slice(bytes);
        Ok(Self::Copy(map.make_read_only()?))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::File(map) | Self::Copy(map) => map,
            Self::Program(bytes) => bytes,
        }
    }

    /// Drops the pages that `range` touches from this process; a later read fetches them again.
    #[cfg(unix)]
    pub(crate) fn release(&self, range: Range<usize>) {
        let range = self.clamp(range);
        let map = match self {
            Self::File(map) if !range.is_empty() => map,
            Self::Program(bytes) => return page_out(&bytes[range]),
            _ => return,
        };
        // SAFETY: MADV_DONTNEED loses data only where the pages are the sole copy. These belong to a shared
        // read-only map of a file, so the next read gets the same bytes from the file: slices
        // that others hold stay valid.
        let advised = unsafe {
            map.unchecked_advise_range(
                memmap2::UncheckedAdvice::DontNeed,
                range.start,
                range.end - range.start,
            )
        };
        drop(advised); // Advice that is refused changes nothing but memory use.
    }

    #[cfg(not(unix))]
    pub(crate) fn release(&self, _range: Range<usize>) {}

    /// Asks the system to read the pages of `range` soon.
    #[cfg(unix)]
    pub(crate) fn will_need(&self, range: Range<usize>) {
        self.advise(memmap2::Advice::WillNeed, range);
    }

    #[cfg(not(unix))]
    pub(crate) fn will_need(&self, _range: Range<usize>) {}

    /// Says that `range` will be read front to back, once.
    #[cfg(unix)]
    pub(crate) fn sequential(&self, range: Range<usize>) {
        self.advise(memmap2::Advice::Sequential, range);
    }

    #[cfg(not(unix))]
    pub(crate) fn sequential(&self, _range: Range<usize>) {}

    #[cfg(unix)]
    fn advise(&self, advice: memmap2::Advice, range: Range<usize>) {
        let range = self.clamp(range);
        if let Self::File(map) | Self::Copy(map) = self
            && !range.is_empty()
        {
            drop(map.advise_range(advice, range.start, range.end - range.start));
        }
    }

    #[cfg(unix)]
    fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let len = self.bytes().len();
        range.start.min(len)..range.end.min(len).max(range.start.min(len))
    }
}

/// Asks the system to take the pages that lie within `bytes` out of memory; it gets them again when they are read.
#[cfg(target_os = "linux")]
fn page_out(bytes: &[u8]) {
    const PAGE: usize = 4096;
    let skip = bytes.as_ptr().align_offset(PAGE);
    let len = bytes.len().saturating_sub(skip) / PAGE * PAGE;
    if len > 0 {
        // SAFETY: MADV_PAGEOUT never loses data, whatever memory it is; the range lies within `bytes`.
        let _refused =
            unsafe { libc::madvise(bytes[skip..].as_ptr().cast_mut().cast(), len, libc::MADV_PAGEOUT) };
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
fn page_out(_bytes: &[u8]) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn released_pages_read_the_same_again() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i / 7) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let map = Map::of_file(&file).unwrap();
        let copy = Map::of_bytes(&bytes).unwrap();
        let program = Map::Program(bytes.clone().leak());
        for map in [&map, &copy, &program] {
            map.sequential(0..bytes.len());
            map.will_need(10_000..20_000);
            assert_eq!(map.bytes(), bytes);
            for range in [5_000..290_000, 0..0, 1..2, 299_999..usize::MAX, 400_000..500_000] {
                map.release(range);
                assert_eq!(map.bytes(), bytes);
            }
        }
    }

    #[test]
    fn empty_input_maps_to_no_bytes() {
        assert!(Map::of_bytes(&[]).unwrap().bytes().is_empty());
        assert!(Map::of_file(&tempfile::tempfile().unwrap()).unwrap().bytes().is_empty());
    }
}
