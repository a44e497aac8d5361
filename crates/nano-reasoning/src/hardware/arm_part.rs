//! Arm cores by the implementer and part numbers of their identification register (MIDR_EL1), which is
//! all that Linux says of them. Source: the Linux kernel's `arch/arm64/include/asm/cputype.h`.

/// The name of a core, e.g. `Neoverse-V2`.
pub(super) fn core_name(implementer: u32, part: u32) -> Option<&'static str> {
    Some(match (implementer, part) {
        (0x41, 0xd03) => "Cortex-A53",
        (0x41, 0xd05) => "Cortex-A55",
        (0x41, 0xd07) => "Cortex-A57",
        (0x41, 0xd08) => "Cortex-A72",
        (0x41, 0xd09) => "Cortex-A73",
        (0x41, 0xd0a) => "Cortex-A75",
        (0x41, 0xd0b) => "Cortex-A76",
        (0x41, 0xd0c) => "Neoverse-N1",
        (0x41, 0xd0d) => "Cortex-A77",
        (0x41, 0xd40) => "Neoverse-V1",
        (0x41, 0xd41) => "Cortex-A78",
        (0x41, 0xd44) => "Cortex-X1",
        (0x41, 0xd46) => "Cortex-A510",
        (0x41, 0xd47) => "Cortex-A710",
        (0x41, 0xd48) => "Cortex-X2",
        (0x41, 0xd49) => "Neoverse-N2",
        (0x41, 0xd4d) => "Cortex-A715",
        (0x41, 0xd4e) => "Cortex-X3",
        (0x41, 0xd4f) => "Neoverse-V2",
        (0x41, 0xd80) => "Cortex-A520",
        (0x41, 0xd81) => "Cortex-A720",
        (0x41, 0xd82) => "Cortex-X4",
        (0x41, 0xd84) => "Neoverse-V3",
        (0x41, 0xd85) => "Cortex-X925",
        (0x41, 0xd87) => "Cortex-A725",
        (0x41, 0xd8e) => "Neoverse-N3",
        (0x46, 0x001) => "Fujitsu A64FX",
        (0x48, 0xd01) => "Kunpeng-920",
        (0x51, 0x001) => "Qualcomm Oryon",
        (0xc0, 0xac3) => "Ampere-1",
        (0xc0, 0xac4) => "Ampere-1A",
        _ => return None,
    })
}

/// The brand string that macOS would give the chip with this core: Linux on a Mac shows part numbers only.
pub(super) fn apple_brand(implementer: u32, part: u32) -> Option<&'static str> {
    if implementer != 0x61 {
        return None;
    }
    // Efficiency and performance cores; an Ultra is two Max dies and cannot be told from one here.
    Some(match part {
        0x022 | 0x023 => "Apple M1",
        0x024 | 0x025 => "Apple M1 Pro",
        0x028 | 0x029 => "Apple M1 Max",
        0x032 | 0x033 => "Apple M2",
        0x034 | 0x035 => "Apple M2 Pro",
        0x038 | 0x039 => "Apple M2 Max",
        // What a virtual machine on macOS shows.
        0x000 => "Apple processor",
        _ => return None,
    })
}
