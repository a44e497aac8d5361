//! Memory bandwidth: what decides how many tokens a second a model can give. Measured once for a chip
//! and number of threads, then kept in a small JSON file.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Hardware;
use crate::atomic_file;

/// How fast memory can be read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bandwidth {
    /// Gigabytes (10⁹) a second.
    pub gb_per_s: f64,
    /// Where the number is from.
    pub source: BandwidthSource,
}

/// Where a bandwidth is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BandwidthSource {
    /// Measured just now.
    Measured,
    /// Measured by an earlier run on this machine.
    Cached,
    /// The maker's data sheet, as measuring gave no usable number.
    Nominal,
}

/// Name of the cache file, under the cache root.
const CACHE_FILE: &str = "bandwidth.json";

/// Entries kept: enough for every number of threads that anyone tries on one machine.
const MAX_ENTRIES: usize = 256;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cache {
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    chip: String,
    n_threads: usize,
    gb_per_s: f64,
}

/// The bandwidth that `n_threads` threads of this machine read memory with.
///
/// `measure` is called with the number of threads if no earlier measurement is found under `cache_root`,
/// and gives GB/s; its result is kept there. A cache that cannot be read or written costs a measurement,
/// no more. `None` if measuring gives no sensible number and the chip's data sheet is not known.
pub fn memory_bandwidth(
    cache_root: &Path,
    hardware: &Hardware,
    n_threads: usize,
    measure: impl FnOnce(usize) -> f64,
) -> Option<Bandwidth> {
    let path = cache_root.join(CACHE_FILE);
    let mut cache = load(&path);
    let is_ours = |entry: &Entry| entry.chip == hardware.chip.name && entry.n_threads == n_threads;
    if let Some(entry) = cache.entries.iter().find(|entry| is_ours(entry) && is_sensible(entry.gb_per_s)) {
        return Some(Bandwidth { gb_per_s: entry.gb_per_s, source: BandwidthSource::Cached });
    }
    let gb_per_s = measure(n_threads);
    if !is_sensible(gb_per_s) {
        tracing::warn!(gb_per_s, n_threads, "measuring the memory bandwidth gave no sensible number");
        let gb_per_s = hardware.chip.nominal_bandwidth_gb_per_s()?;
        return Some(Bandwidth { gb_per_s, source: BandwidthSource::Nominal });
    }
    cache.entries.retain(|entry| !is_ours(entry));
    if cache.entries.len() >= MAX_ENTRIES {
        cache.entries.remove(0);
    }
    cache.entries.push(Entry { chip: hardware.chip.name.clone(), n_threads, gb_per_s });
    store(&path, &cache);
    Some(Bandwidth { gb_per_s, source: BandwidthSource::Measured })
}

/// From a memory card's speed to far beyond today's accelerators; false for NaN.
fn is_sensible(gb_per_s: f64) -> bool {
    (0.1..=100_000.0).contains(&gb_per_s)
}

fn load(path: &Path) -> Cache {
    let Ok(text) = fs::read(path) else { return Cache::default() };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "ignoring a broken bandwidth cache");
        Cache::default()
    })
}

fn store(path: &Path, cache: &Cache) {
    let text = serde_json::to_vec_pretty(cache).expect("numbers and strings serialize");
    let folder = path.parent().expect("the cache file has a folder");
    let stored = fs::create_dir_all(folder).and_then(|()| atomic_file::write(path, &text));
    if let Err(error) = stored {
        tracing::warn!(path = %path.display(), %error, "cannot keep the measured memory bandwidth");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::{Chip, ChipKind};

    fn hardware(brand: &str) -> Hardware {
        Hardware {
            chip: Chip::from_brand(brand, ChipKind::X86),
            n_cores: 2,
            n_performance_cores: 2,
            n_threads: 2,
            memory_bytes: 0,
            available_bytes: 0,
            simd: Vec::new(),
            gpu: None,
            npu: None,
        }
    }

    fn unexpected(_: usize) -> f64 {
        panic!("measured although cached")
    }

    #[test]
    fn measures_once_for_each_chip_and_number_of_threads() {
        let root = tempfile::tempdir().unwrap();
        let epyc = hardware("AMD EPYC");
        let first = memory_bandwidth(root.path(), &epyc, 2, |n| 10.5 * n as f64).unwrap();
        assert_eq!(first, Bandwidth { gb_per_s: 21.0, source: BandwidthSource::Measured });
        let again = memory_bandwidth(root.path(), &epyc, 2, unexpected).unwrap();
        assert_eq!(again, Bandwidth { gb_per_s: 21.0, source: BandwidthSource::Cached });
        let one = memory_bandwidth(root.path(), &epyc, 1, |_| 12.0).unwrap();
        assert_eq!(one.source, BandwidthSource::Measured);
        let other = memory_bandwidth(root.path(), &hardware("Intel Xeon"), 2, |_| 30.0).unwrap();
        assert_eq!(other.gb_per_s, 30.0);
        assert_eq!(memory_bandwidth(root.path(), &epyc, 2, unexpected).unwrap().gb_per_s, 21.0);
    }

    #[test]
    fn a_broken_cache_is_measured_anew_and_replaced() {
        let root = tempfile::tempdir().unwrap();
        for broken in ["{", "[]", "{\"entries\":[{\"chip\":\"AMD EPYC\",\"n_threads\":2,\"gb_per_s\":-1.0}]}"]
        {
            fs::write(root.path().join(CACHE_FILE), broken).unwrap();
            let measured = memory_bandwidth(root.path(), &hardware("AMD EPYC"), 2, |_| 20.0).unwrap();
            assert_eq!(measured.source, BandwidthSource::Measured, "{broken}");
            let cached = memory_bandwidth(root.path(), &hardware("AMD EPYC"), 2, unexpected).unwrap();
            assert_eq!(cached.source, BandwidthSource::Cached, "{broken}");
        }
    }

    #[test]
    fn a_root_that_cannot_be_written_costs_only_the_cache() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let measured = memory_bandwidth(&file.join("cache"), &hardware("AMD EPYC"), 2, |_| 20.0).unwrap();
        assert_eq!(measured.gb_per_s, 20.0);
    }

    #[test]
    fn a_failed_measurement_falls_back_to_the_data_sheet() {
        let root = tempfile::tempdir().unwrap();
        for failed in [f64::NAN, 0.0, f64::INFINITY, -3.0] {
            let m1 = memory_bandwidth(root.path(), &hardware("Apple M1"), 4, |_| failed).unwrap();
            assert_eq!(m1, Bandwidth { gb_per_s: 68.0, source: BandwidthSource::Nominal });
            assert_eq!(memory_bandwidth(root.path(), &hardware("AMD EPYC"), 2, |_| failed), None);
        }
    }
}
