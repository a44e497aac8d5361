//! Linux: what lies under /proc, /sys and /dev. Takes the root folder, so that tests bring a machine of
//! their own.

use std::fs;
use std::path::{Path, PathBuf};

use super::cpuinfo::CpuInfo;
use super::{Gpu, GpuVendor, Hardware, Npu, accelerator, memory};

/// A core counts as a performance core from this share of the fastest one's capacity on. Cores of one
/// kind differ by a few percent (favoured cores); efficiency cores reach less than three quarters.
const PERFORMANCE_SHARE: f64 = 0.8;

/// Reads the machine whose file system starts at `root`.
pub(super) fn read(root: &Path) -> Hardware {
    let cpu = CpuInfo::parse(&text(&root.join("proc/cpuinfo")).unwrap_or_default());
    let n_cores = cpu.n_cores(|_| true);
    let n_performance_cores = match performance_threads(root, &cpu) {
        Some(threads) => cpu.n_cores(|number| threads.contains(&number)),
        None => n_cores,
    };
    let (memory_bytes, available_bytes) = memory_of(root);
    Hardware {
        n_threads: cpu.threads.len(),
        chip: cpu.chip,
        n_cores,
        n_performance_cores,
        memory_bytes,
        available_bytes,
        simd: cpu.simd,
        gpu: gpu(root),
        npu: npu(root),
    }
}

/// Hardware threads of the fastest cores; `None` if nothing tells cores apart.
fn performance_threads(root: &Path, cpu: &CpuInfo) -> Option<Vec<usize>> {
    // Intel chips with two kinds of cores.
    if let Some(list) = text(&root.join("sys/devices/cpu_core/cpus")) {
        let threads = parse_cpu_list(&list);
        if !threads.is_empty() {
            return Some(threads);
        }
    }
    let folder = root.join("sys/devices/system/cpu");
    ["cpu_capacity", "cpufreq/cpuinfo_max_freq"].iter().find_map(|file| {
        let speeds: Vec<(usize, f64)> = cpu
            .threads
            .iter()
            .filter_map(|thread| {
                let path = folder.join(format!("cpu{}", thread.number)).join(file);
                Some((thread.number, text(&path)?.trim().parse().ok()?))
            })
            .collect();
        let fastest = speeds.iter().map(|&(_, speed)| speed).fold(0.0, f64::max);
        // A file that only some threads have says nothing about the others.
        (speeds.len() == cpu.threads.len() && fastest > 0.0).then(|| {
            let is_fast = |&(_, speed): &(usize, f64)| speed >= PERFORMANCE_SHARE * fastest;
            speeds.iter().filter(|thread| is_fast(thread)).map(|&(number, _)| number).collect()
        })
    })
}

/// The numbers in `0-3,8,10-11`.
fn parse_cpu_list(list: &str) -> Vec<usize> {
    // No machine has more threads; a broken file shall not fill the memory.
    const MAX_THREADS: usize = 65_536;
    list.trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            Some(first..=std::cmp::min(last, MAX_THREADS))
        })
        .flatten()
        .collect()
}

/// Total and available bytes: the machine's, or less where a container is limited.
fn memory_of(root: &Path) -> (u64, u64) {
    let (total, available) = memory::parse_meminfo(&text(&root.join("proc/meminfo")).unwrap_or_default());
    let Some((limit, used)) = container_limit(root) else { return (total, available) };
    (total.min(limit), available.min(limit.saturating_sub(used)))
}

/// The tightest memory limit over this process, and what is used of it.
fn container_limit(root: &Path) -> Option<(u64, u64)> {
    let groups = root.join("sys/fs/cgroup");
    let bytes = |path: PathBuf| memory::parse_cgroup_bytes(&text(&path)?);
    // Second version: the process's group and all above it; inside a container its own is the root.
    let own = text(&root.join("proc/self/cgroup")).unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let version_2 = Path::new(own)
        .ancestors()
        .filter(|group| !group.components().any(|part| part == std::path::Component::ParentDir))
        .map(|group| groups.join(group))
        .filter_map(|group| {
            Some((bytes(group.join("memory.max"))?, bytes(group.join("memory.current")).unwrap_or(0)))
        })
        .min_by_key(|&(limit, _)| limit);
    version_2.or_else(|| {
        let group = groups.join("memory");
        let used = bytes(group.join("memory.usage_in_bytes")).unwrap_or(0);
        Some((bytes(group.join("memory.limit_in_bytes"))?, used))
    })
}

fn gpu(root: &Path) -> Option<Gpu> {
    let nvidia = entries(&root.join("proc/driver/nvidia/gpus"))
        .into_iter()
        .find_map(|gpu| accelerator::parse_nvidia_information(&text(&gpu.join("information"))?));
    if nvidia.is_some() {
        return nvidia;
    }
    // `card0`, not the connectors `card0-HDMI-A-1`.
    let cards = entries(&root.join("sys/class/drm")).into_iter().filter(|path| {
        let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix("card"));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    });
    for device in cards.map(|card| card.join("device")) {
        let by_vendor =
            text(&device.join("vendor")).and_then(|vendor| accelerator::gpu_of_pci_vendor(&vendor));
        let found = by_vendor
            .or_else(|| text(&device.join("uevent")).and_then(|uevent| accelerator::gpu_of_uevent(&uevent)));
        if found.is_some() {
            return found;
        }
    }
    // A container sees the device, but not always the files that describe it.
    if root.join("dev/nvidia0").exists() {
        return Some(Gpu { vendor: GpuVendor::Nvidia, name: "NVIDIA GPU".to_owned() });
    }
    if !root.join("sys/class/drm").exists() && !entries(&root.join("dev/dri")).is_empty() {
        return Some(Gpu { vendor: GpuVendor::Other, name: "GPU of unknown make".to_owned() });
    }
    None
}

fn npu(root: &Path) -> Option<Npu> {
    let described = entries(&root.join("sys/class/accel"))
        .into_iter()
        .find_map(|device| text(&device.join("device/vendor")))
        .map(|vendor| accelerator::npu_of_pci_vendor(&vendor));
    described.or_else(|| {
        let has_device = !entries(&root.join("dev/accel")).is_empty();
        has_device.then(|| accelerator::npu_of_pci_vendor(""))
    })
}

pub(super) fn text(path: &Path) -> Option<String> {
    // Vendor drivers put odd bytes into names; they are no reason to know nothing.
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Paths in a folder, sorted; none if there is no such folder.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::ChipKind;

    /// A machine made of files.
    fn machine(files: &[(&str, &str)]) -> Hardware {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        read(root.path())
    }

    fn cpuinfo(n_threads: usize, threads_per_core: usize) -> String {
        (0..n_threads)
            .map(|n| {
                format!(
                    "processor: {n}\nmodel name: Test\nphysical id: 0\ncore id: {}\nflags: avx2\n\n",
                    n / threads_per_core
                )
            })
            .collect()
    }

    #[test]
    fn an_empty_machine_is_unknown() {
        let hardware = machine(&[]);
        assert_eq!((hardware.n_cores, hardware.memory_bytes), (0, 0));
        assert_eq!((hardware.gpu, hardware.npu, hardware.chip.kind), (None, None, ChipKind::Other));
    }

    #[test]
    fn an_intel_hybrid_names_its_performance_threads() {
        // Four performance cores of two threads, four efficiency cores of one.
        let text: String = (0..12)
            .map(|n| {
                let core = if n < 8 { n / 2 } else { n };
                format!("processor: {n}\nphysical id: 0\ncore id: {core}\nflags: avx2\n\n")
            })
            .collect();
        let hardware = machine(&[("proc/cpuinfo", &text), ("sys/devices/cpu_core/cpus", "0-7\n")]);
        assert_eq!((hardware.n_cores, hardware.n_performance_cores, hardware.n_threads), (8, 4, 12));
    }

    #[test]
    fn arm_cores_differ_by_capacity() {
        let text = cpuinfo(4, 1);
        let hardware = machine(&[
            ("proc/cpuinfo", &text),
            ("sys/devices/system/cpu/cpu0/cpu_capacity", "446\n"),
            ("sys/devices/system/cpu/cpu1/cpu_capacity", "446\n"),
            ("sys/devices/system/cpu/cpu2/cpu_capacity", "906\n"),
            ("sys/devices/system/cpu/cpu3/cpu_capacity", "1024\n"),
        ]);
        assert_eq!((hardware.n_cores, hardware.n_performance_cores), (4, 2));
    }

    #[test]
    fn favoured_cores_are_no_kind_of_their_own() {
        let text = cpuinfo(2, 1);
        let hardware = machine(&[
            ("proc/cpuinfo", &text),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "5800000\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "5500000\n"),
        ]);
        assert_eq!(hardware.n_performance_cores, 2);
    }

    #[test]
    fn half_told_capacities_are_ignored() {
        let text = cpuinfo(2, 1);
        let hardware =
            machine(&[("proc/cpuinfo", &text), ("sys/devices/system/cpu/cpu0/cpu_capacity", "1024\n")]);
        assert_eq!(hardware.n_performance_cores, 2);
    }

    #[test]
    fn a_container_has_the_memory_of_its_limit() {
        let meminfo = ("proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 30000000 kB\n");
        let inside = machine(&[
            meminfo,
            ("sys/fs/cgroup/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/memory.current", "1073741824\n"),
        ]);
        assert_eq!((inside.memory_bytes, inside.available_bytes), (4 << 30, 3 << 30));
        let nested = machine(&[
            meminfo,
            ("proc/self/cgroup", "0::/user.slice/job.scope\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "8589934592\n"),
            ("sys/fs/cgroup/user.slice/job.scope/memory.max", "max\n"),
        ]);
        assert_eq!(nested.memory_bytes, 8 << 30);
        let old = machine(&[meminfo, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n")]);
        assert_eq!(old.memory_bytes, 2 << 30);
        let free = machine(&[meminfo, ("sys/fs/cgroup/memory.max", "max\n")]);
        assert_eq!(free.memory_bytes, 32 << 30);
    }

    #[test]
    fn finds_gpus_and_npus() {
        let amd = machine(&[
            ("sys/class/drm/card0/device/vendor", "0x1234\n"),
            ("sys/class/drm/card1/device/vendor", "0x1002\n"),
            ("sys/class/drm/card1-DP-1/device/vendor", "0x10de\n"),
            ("sys/class/accel/accel0/device/vendor", "0x1022\n"),
        ]);
        assert_eq!(amd.gpu.unwrap().vendor, GpuVendor::Amd);
        assert_eq!(amd.npu.unwrap().name, "AMD XDNA");
        let nvidia = machine(&[("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: NVIDIA H100\n")]);
        assert_eq!(nvidia.gpu.unwrap().name, "NVIDIA H100");
        let container = machine(&[("dev/nvidia0", ""), ("dev/accel/accel0", "")]);
        assert_eq!(container.gpu.unwrap().vendor, GpuVendor::Nvidia);
        assert_eq!(container.npu.unwrap().name, "neural accelerator");
        let display = machine(&[
            ("sys/class/drm/card0/device/vendor", "0x1af4\n"),
            ("dev/dri/card0", ""),
            ("dev/dri/renderD128", ""),
        ]);
        assert_eq!(display.gpu, None);
    }

    #[test]
    fn reads_lists_of_threads() {
        assert_eq!(parse_cpu_list("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert!(parse_cpu_list("\n").is_empty());
        assert!(parse_cpu_list("a-b").is_empty());
        assert!(parse_cpu_list("0-99999999999").len() <= 65_537);
    }
}
