//! What the machine is: chip, cores, memory, SIMD, GPU, NPU, memory bandwidth.
//!
//! Detection never fails: what cannot be read is absent or zero. The platform's files and commands are
//! read by `linux.rs` and `macos.rs` alone; every parser is a function over text, so that all of them are
//! tested on any machine.

// Both platforms' parsers are compiled everywhere; each platform uses its own.
#[cfg_attr(target_os = "macos", allow(dead_code))]
mod accelerator;
#[cfg_attr(target_os = "macos", allow(dead_code))]
mod arm_part;
mod bandwidth;
mod chip;
#[cfg_attr(target_os = "macos", allow(dead_code))]
mod cpuinfo;
mod demand;
#[cfg_attr(target_os = "macos", allow(dead_code))]
mod linux;
#[cfg_attr(not(target_os = "macos"), allow(dead_code))]
mod macos;
#[cfg_attr(target_os = "macos", allow(dead_code))]
mod memory;
mod simd;

use serde::Serialize;

pub use accelerator::{Gpu, GpuVendor, Npu};
pub use bandwidth::{Bandwidth, BandwidthSource, memory_bandwidth};
pub use chip::{AppleVariant, Chip, ChipKind};
pub(crate) use demand::Demand;

/// What was found out about this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hardware {
    /// The processor.
    pub chip: Chip,
    /// Physical cores.
    pub n_cores: usize,
    /// Physical cores of the fastest kind; all of them where there is one kind.
    pub n_performance_cores: usize,
    /// Threads this process may run at once: hardware threads, less those an affinity mask or a container's
    /// quota takes away.
    pub n_threads: usize,
    /// Memory this process can have at most: installed, or a container's limit where that is less.
    pub memory_bytes: u64,
    /// Memory that is free or can be freed without swapping, right now.
    pub available_bytes: u64,
    /// Instruction sets that the kernels know, weakest first.
    pub simd: Vec<&'static str>,
    /// The first GPU that can compute.
    pub gpu: Option<Gpu>,
    /// The first neural accelerator.
    pub npu: Option<Npu>,
}

impl Hardware {
    /// Looks at this machine.
    pub fn detect() -> Self {
        let mut hardware = platform();
        // Knows affinity masks and quotas, which the files and commands behind `platform` do not show.
        let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        hardware.n_threads = if hardware.n_threads == 0 { allowed } else { hardware.n_threads.min(allowed) };
        hardware.n_cores = hardware.n_cores.max(1);
        hardware.n_performance_cores = hardware.n_performance_cores.clamp(1, hardware.n_cores);
        hardware
    }

    /// Threads that a decode should use: one for each performance core, as far as the process may run them.
    pub fn n_decode_threads(&self) -> usize {
        self.n_performance_cores.min(self.n_threads).max(1)
    }
}

#[cfg(target_os = "macos")]
fn platform() -> Hardware {
    macos::read(macos::command_output)
}

#[cfg(not(target_os = "macos"))]
fn platform() -> Hardware {
    // On anything but Linux none of the files is there, and all stays unknown.
    linux::read(std::path::Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores_and_memory() {
        let hardware = Hardware::detect();
        assert!(hardware.n_cores >= 1 && hardware.n_threads >= 1);
        assert!((1..=hardware.n_cores).contains(&hardware.n_performance_cores));
        assert!(hardware.n_decode_threads() <= hardware.n_threads);
        assert!(hardware.memory_bytes >= hardware.available_bytes);
        assert!(!hardware.chip.name.is_empty());
    }
}
