//! macOS: two commands, `sysctl` and `vm_stat`. Compiled everywhere, so that it is checked and tested
//! where there is no Mac.

use std::collections::HashMap;

use super::{Chip, ChipKind, Gpu, GpuVendor, Hardware, Npu, memory, simd};

/// What is asked of `sysctl`; it names the ones it does not know on its error output and goes on.
const KEYS: &[&str] = &[
    "machdep.cpu.brand_string",
    "machdep.cpu.features",
    "machdep.cpu.leaf7_features",
    "hw.memsize",
    "hw.physicalcpu",
    "hw.logicalcpu",
    "hw.perflevel0.physicalcpu",
    "hw.optional.neon",
    "hw.optional.AdvSIMD",
    "hw.optional.arm.FEAT_FP16",
    "hw.optional.arm.FEAT_DotProd",
    "hw.optional.arm.FEAT_BF16",
    "hw.optional.arm.FEAT_I8MM",
    "hw.optional.arm.FEAT_SME",
    "hw.optional.arm.FEAT_SME2",
];

/// Reads this Mac; `run` gives the standard output of a command.
pub(super) fn read(run: impl Fn(&str, &[&str]) -> String) -> Hardware {
    from_text(&run("sysctl", KEYS), &run("vm_stat", &[]))
}

/// The standard output of a system command; empty if it cannot be run.
pub(super) fn command_output(command: &str, arguments: &[&str]) -> String {
    // A login item's PATH lacks the system's folders.
    let candidates = [command.to_owned(), format!("/usr/sbin/{command}"), format!("/usr/bin/{command}")];
    candidates
        .iter()
        .find_map(|program| std::process::Command::new(program).args(arguments).output().ok())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn from_text(sysctl: &str, vm_stat: &str) -> Hardware {
    let values = parse_sysctl(sysctl);
    let number = |key: &str| values.get(key).and_then(|value| value.parse::<u64>().ok());
    let count = |key: &str| number(key).and_then(|n| usize::try_from(n).ok());

    let brand = values.get("machdep.cpu.brand_string").copied().unwrap_or_default();
    let fallback = if brand.starts_with("Apple") { ChipKind::Arm } else { ChipKind::X86 };
    let chip = Chip::from_brand(brand, fallback);
    let n_cores = count("hw.physicalcpu").unwrap_or(0);
    let memory_bytes = number("hw.memsize").unwrap_or(0);
    let features = ["machdep.cpu.features", "machdep.cpu.leaf7_features"];
    let x86_flags = features.iter().filter_map(|key| values.get(key)).flat_map(|list| list.split(' '));
    let arm_flags = values
        .iter()
        .filter(|&(key, &value)| key.starts_with("hw.optional.") && value == "1")
        .filter_map(|(key, _)| key.rsplit('.').next());
    let (gpu, npu) = accelerators(&chip);
    Hardware {
        n_cores,
        n_performance_cores: count("hw.perflevel0.physicalcpu").unwrap_or(n_cores),
        n_threads: count("hw.logicalcpu").unwrap_or(0),
        memory_bytes,
        available_bytes: memory::parse_vm_stat(vm_stat).unwrap_or(memory_bytes).min(memory_bytes),
        simd: simd::simd_names(x86_flags.chain(arm_flags)),
        gpu,
        npu,
        chip,
    }
}

/// Every Apple chip has both; a virtual machine is given neither in full.
fn accelerators(chip: &Chip) -> (Option<Gpu>, Option<Npu>) {
    match chip.kind {
        ChipKind::Apple { is_virtual: false, .. } => (
            Some(Gpu { vendor: GpuVendor::Apple, name: format!("{} GPU", chip.name) }),
            Some(Npu { name: "Apple Neural Engine".to_owned() }),
        ),
        _ => (None, None),
    }
}

/// The lines `key: value` of `sysctl`.
fn parse_sysctl(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::AppleVariant;

    const M4_PRO: &str = "machdep.cpu.brand_string: Apple M4 Pro\nhw.memsize: 51539607552\n\
        hw.physicalcpu: 14\nhw.logicalcpu: 14\nhw.perflevel0.physicalcpu: 10\nhw.optional.neon: 1\n\
        hw.optional.AdvSIMD: 1\nhw.optional.arm.FEAT_FP16: 1\nhw.optional.arm.FEAT_DotProd: 1\n\
        hw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_SME: 1\n\
        hw.optional.arm.FEAT_SME2: 0\n";

    #[test]
    fn reads_an_m4_pro() {
        let vm_stat = "Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages free: 65536.\n";
        let hardware = from_text(M4_PRO, vm_stat);
        assert_eq!(hardware.chip.name, "Apple M4 Pro");
        assert_eq!(
            hardware.chip.kind,
            ChipKind::Apple { generation: 4, variant: AppleVariant::Pro, is_virtual: false }
        );
        assert_eq!((hardware.n_cores, hardware.n_performance_cores, hardware.n_threads), (14, 10, 14));
        assert_eq!((hardware.memory_bytes, hardware.available_bytes), (48 << 30, 1 << 30));
        assert_eq!(hardware.simd, ["NEON", "FP16", "DotProd", "BF16", "I8MM", "SME"]);
        assert_eq!(hardware.gpu.unwrap().name, "Apple M4 Pro GPU");
        assert_eq!(hardware.npu.unwrap().name, "Apple Neural Engine");
    }

    #[test]
    fn reads_an_intel_mac() {
        let sysctl = "machdep.cpu.brand_string: Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz\n\
            machdep.cpu.features: FPU VME SSE4.2 F16C FMA AVX1.0\nmachdep.cpu.leaf7_features: BMI1 AVX2\n\
            hw.memsize: 17179869184\nhw.physicalcpu: 6\nhw.logicalcpu: 12\n";
        let hardware = from_text(sysctl, "");
        assert_eq!((hardware.chip.name.as_str(), hardware.chip.kind), ("Intel Core i7-9750H", ChipKind::X86));
        assert_eq!((hardware.n_cores, hardware.n_performance_cores, hardware.n_threads), (6, 6, 12));
        assert_eq!(hardware.simd, ["SSE4.2", "AVX", "F16C", "FMA", "AVX2"]);
        assert_eq!((hardware.gpu, hardware.npu), (None, None));
        assert_eq!(hardware.available_bytes, 16 << 30);
    }

    #[test]
    fn a_virtual_mac_has_no_neural_engine() {
        let hardware = from_text("machdep.cpu.brand_string: Apple M2 (Virtual)\nhw.physicalcpu: 4\n", "");
        assert_eq!((hardware.chip.apple_generation(), hardware.npu), (Some(2), None));
    }

    #[test]
    fn silence_is_an_unknown_processor() {
        let hardware = read(|_, _| String::new());
        assert_eq!((hardware.chip.name.as_str(), hardware.n_cores), ("unknown processor", 0));
    }
}
