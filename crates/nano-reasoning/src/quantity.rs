//! Byte counts as people read them.

use std::fmt;

/// Bytes of a file, in decimal units: `491 MB`, `1.12 GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileSize(pub(crate) u64);

impl fmt::Display for FileSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            1_000..1_000_000 => write!(f, "{:.0} kB", bytes / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.0} MB", bytes / 1e6),
            _ => write!(f, "{:.2} GB", bytes / 1e9),
        }
    }
}

/// Bytes of memory, in binary units: `23.5 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemorySize(pub(crate) u64);

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.0 as f64 / (1u64 << 30) as f64;
        if gib >= 100.0 || (gib - gib.round()).abs() < 0.05 {
            write!(f, "{gib:.0} GiB")
        } else {
            write!(f, "{gib:.1} GiB")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_sizes_people_recognise() {
        assert_eq!(FileSize(98_362_432).to_string(), "98 MB");
        assert_eq!(FileSize(1_117_320_768).to_string(), "1.12 GB");
        assert_eq!(FileSize(17).to_string(), "17 B");
        assert_eq!(MemorySize(24_684_084 * 1024).to_string(), "23.5 GiB");
        assert_eq!(MemorySize(16 << 30).to_string(), "16 GiB");
    }
}
