//! /proc/cpuinfo of Linux: one block a hardware thread, with other field names on every architecture.

use std::collections::HashSet;

use super::{Chip, ChipKind, arm_part, simd};

/// What /proc/cpuinfo tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CpuInfo {
    pub(super) chip: Chip,
    pub(super) simd: Vec<&'static str>,
    /// One for each hardware thread, in order.
    pub(super) threads: Vec<Thread>,
}

/// A hardware thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread {
    /// The system's number of it.
    pub(super) number: usize,
    /// Socket and core within it, where told: threads of one core share it.
    core: Option<(u32, u32)>,
}

impl CpuInfo {
    /// Reads the text of /proc/cpuinfo. Nothing in it is required.
    pub(super) fn parse(text: &str) -> Self {
        let mut threads = Vec::new();
        let mut parts: Vec<(u32, u32)> = Vec::new();
        let mut name = None;
        let mut flags = "";
        let mut kind = ChipKind::Other;
        // Blocks are parted by blank lines, but some kernels leave them out: a new `processor` line starts
        // a thread either way.
        let (mut socket, mut implementer) = (None, None);
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim(), value.trim());
            match key {
                "processor" => {
                    socket = None;
                    // 32-bit Arm once wrote the chip's name here.
                    if let Ok(number) = value.parse() {
                        threads.push(Thread { number, core: None });
                    } else {
                        name = name.or(Some(value));
                    }
                }
                "physical id" => socket = value.parse().ok(),
                "core id" => {
                    if let (Some(thread), Ok(core)) = (threads.last_mut(), value.parse()) {
                        thread.core = Some((socket.unwrap_or(0), core));
                    }
                }
                "model name" | "cpu model" | "uarch" => name = name.or(Some(value)),
                "vendor_id" => kind = ChipKind::X86,
                "flags" => {
                    kind = ChipKind::X86;
                    flags = if flags.is_empty() { value } else { flags };
                }
                "Features" => {
                    kind = ChipKind::Arm;
                    flags = if flags.is_empty() { value } else { flags };
                }
                "CPU implementer" => {
                    kind = ChipKind::Arm;
                    implementer = parse_hex(value);
                }
                "CPU part" => {
                    if let (Some(implementer), Some(part)) = (implementer, parse_hex(value)) {
                        parts.push((implementer, part));
                    }
                }
                _ => {}
            }
        }
        let brand = name.filter(|name| !name.is_empty()).map(str::to_owned);
        let brand = if kind == ChipKind::Arm { arm_brand(&parts).or(brand) } else { brand };
        let chip = Chip::from_brand(&brand.unwrap_or_default(), kind);
        Self { chip, simd: simd::simd_names(flags.split_whitespace()), threads }
    }

    /// Physical cores among the threads whose numbers `is_counted` accepts.
    pub(super) fn n_cores(&self, is_counted: impl Fn(usize) -> bool) -> usize {
        let counted = self.threads.iter().filter(|thread| is_counted(thread.number));
        let mut cores = HashSet::new();
        // A thread that does not tell its core counts as one.
        counted.filter(|thread| thread.core.is_none_or(|core| cores.insert(core))).count()
    }
}

/// The kinds of cores of an Arm chip, most capable last in the list of parts, so named first.
fn arm_brand(parts: &[(u32, u32)]) -> Option<String> {
    if let Some(brand) =
        parts.iter().rev().find_map(|&(implementer, part)| arm_part::apple_brand(implementer, part))
    {
        return Some(brand.to_owned());
    }
    let mut names: Vec<&str> = Vec::new();
    for name in parts.iter().rev().filter_map(|&(implementer, part)| arm_part::core_name(implementer, part)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then(|| format!("Arm {}", names.join(" + ")))
}

fn parse_hex(value: &str) -> Option<u32> {
    u32::from_str_radix(value.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::AppleVariant;

    #[test]
    fn reads_a_virtual_epyc() {
        let block = |n| {
            format!(
                "processor\t: {n}\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nphysical id\t: 0\n\
                 core id\t\t: {n}\ncpu cores\t: 2\nflags\t\t: fpu sse4_2 avx f16c avx2 fma avx512f\n\
                 bogomips\t: 5192.28\n\n"
            )
        };
        let info = CpuInfo::parse(&(block(0) + &block(1)));
        assert_eq!((info.chip.name.as_str(), info.chip.kind), ("AMD EPYC", ChipKind::X86));
        assert_eq!(info.n_cores(|_| true), 2);
        assert_eq!(info.simd, ["SSE4.2", "AVX", "F16C", "FMA", "AVX2", "AVX-512F"]);
    }

    #[test]
    fn threads_of_one_core_are_one_core() {
        let text: String = (0..8)
            .map(|n| {
                format!(
                    "processor: {n}\nphysical id: {}\ncore id: {}\nflags: avx2\n\n",
                    usize::from(n >= 4),
                    n % 2
                )
            })
            .collect();
        let info = CpuInfo::parse(&text);
        assert_eq!((info.threads.len(), info.n_cores(|_| true)), (8, 4));
        assert_eq!(info.n_cores(|number| number < 4), 2);
    }

    #[test]
    fn names_a_big_little_arm_by_its_cores() {
        let core = |n, part| {
            format!("processor: {n}\nFeatures: fp asimd asimddp\nCPU implementer: 0x41\nCPU part: {part}\n\n")
        };
        let text: String =
            (0..8).map(|n| core(n, if n < 4 { "0xd05" } else { "0xd0b" })).collect::<Vec<_>>().concat();
        let info = CpuInfo::parse(&text);
        assert_eq!((info.chip.name.as_str(), info.chip.kind), ("Arm Cortex-A76 + Cortex-A55", ChipKind::Arm));
        assert_eq!(info.simd, ["NEON", "DotProd"]);
        assert_eq!(info.n_cores(|_| true), 8);
    }

    #[test]
    fn knows_a_mac_under_linux() {
        let text = "processor: 0\nFeatures: asimd\nCPU implementer: 0x61\nCPU part: 0x024\n\n\
                    processor: 1\nFeatures: asimd\nCPU implementer: 0x61\nCPU part: 0x025\n";
        let chip = CpuInfo::parse(text).chip;
        assert_eq!(chip.name, "Apple M1 Pro");
        assert_eq!(
            chip.kind,
            ChipKind::Apple { generation: 1, variant: AppleVariant::Pro, is_virtual: false }
        );
    }

    #[test]
    fn an_unknown_arm_part_is_still_arm() {
        let chip = CpuInfo::parse("processor: 0\nCPU implementer: 0x99\nCPU part: 0x123\n").chip;
        assert_eq!((chip.name.as_str(), chip.kind), ("unknown processor", ChipKind::Arm));
    }

    #[test]
    fn odd_text_gives_an_unknown_processor() {
        for text in [
            "",
            "\n\n:\n",
            "processor : x\n",
            "core id: 3\n",
            "processor: 99999999999999999999\n",
            "CPU part: 0xzz",
        ] {
            let info = CpuInfo::parse(text);
            assert_eq!(info.threads.len(), 0, "{text:?}");
            assert_eq!(info.n_cores(|_| true), 0);
        }
        let riscv = CpuInfo::parse("processor: 0\nhart: 0\nisa: rv64imafdc\nuarch: sifive,u74-mc\n");
        assert_eq!((riscv.chip.name.as_str(), riscv.chip.kind), ("sifive,u74-mc", ChipKind::Other));
    }

    #[test]
    fn blocks_without_blank_lines_are_told_apart() {
        let info = CpuInfo::parse("processor: 0\ncore id: 0\nprocessor: 1\ncore id: 1\nflags: avx\n");
        assert_eq!(info.n_cores(|_| true), 2);
    }
}
