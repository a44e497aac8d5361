//! GPUs and neural accelerators: whether there is one, and whose.

use serde::Serialize;

/// A GPU that can compute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Who made it.
    pub vendor: GpuVendor,
    /// Its model where the system tells, else its vendor and kind.
    pub name: String,
}

/// Makers of GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuVendor {
    /// Part of an Apple chip.
    Apple,
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Another maker's, e.g. of an Arm chip.
    Other,
}

/// A neural accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Npu {
    /// What it is called.
    pub name: String,
}

/// The GPU behind a PCI vendor number (`/sys/class/drm/card0/device/vendor`); `None` for the paper
/// displays of servers and virtual machines.
pub(super) fn gpu_of_pci_vendor(vendor: &str) -> Option<Gpu> {
    let (vendor, name) = match vendor.trim() {
        "0x10de" => (GpuVendor::Nvidia, "NVIDIA GPU"),
        "0x1002" => (GpuVendor::Amd, "AMD GPU"),
        "0x8086" => (GpuVendor::Intel, "Intel GPU"),
        _ => return None,
    };
    Some(Gpu { vendor, name: name.to_owned() })
}

/// The GPU behind a device-tree driver's `uevent` (`/sys/class/drm/card0/device/uevent`): Arm boards have
/// no PCI vendor.
pub(super) fn gpu_of_uevent(uevent: &str) -> Option<Gpu> {
    let driver = uevent.lines().find_map(|line| line.strip_prefix("DRIVER="))?;
    let (vendor, name) = match driver {
        "asahi" => (GpuVendor::Apple, "Apple GPU"),
        "panfrost" | "panthor" => (GpuVendor::Other, "Arm Mali"),
        "msm" | "msm_dpu" | "adreno" => (GpuVendor::Other, "Qualcomm Adreno"),
        "v3d" => (GpuVendor::Other, "Broadcom VideoCore"),
        "tegra" | "nvgpu" => (GpuVendor::Nvidia, "NVIDIA Tegra"),
        _ => return None,
    };
    Some(Gpu { vendor, name: name.to_owned() })
}

/// The GPU that NVIDIA's driver describes (`/proc/driver/nvidia/gpus/*/information`).
pub(super) fn parse_nvidia_information(text: &str) -> Option<Gpu> {
    let model = text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim();
    let name = if model.is_empty() { "NVIDIA GPU" } else { model };
    Some(Gpu { vendor: GpuVendor::Nvidia, name: name.to_owned() })
}

/// The accelerator behind a PCI vendor number (`/sys/class/accel/accel0/device/vendor`).
pub(super) fn npu_of_pci_vendor(vendor: &str) -> Npu {
    let name = match vendor.trim() {
        "0x8086" => "Intel NPU",
        "0x1022" | "0x1002" => "AMD XDNA",
        "0x1e60" => "Hailo",
        "0x1da3" => "Habana Gaudi",
        "0x17cb" => "Qualcomm Cloud AI",
        _ => "neural accelerator",
    };
    Npu { name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_without_compute_is_no_gpu() {
        for vendor in ["0x1af4", "0x1234", "0x15ad", "0x1a03", "", "garbage"] {
            assert_eq!(gpu_of_pci_vendor(vendor), None, "{vendor}");
        }
        assert_eq!(gpu_of_pci_vendor("0x1002\n").unwrap().vendor, GpuVendor::Amd);
    }

    #[test]
    fn nvidia_names_its_model() {
        let text = "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 120\n";
        assert_eq!(parse_nvidia_information(text).unwrap().name, "NVIDIA GeForce RTX 4090");
        assert_eq!(parse_nvidia_information("IRQ: 1"), None);
    }

    #[test]
    fn boards_are_known_by_their_driver() {
        assert_eq!(gpu_of_uevent("DRIVER=panthor\nOF_NAME=gpu\n").unwrap().name, "Arm Mali");
        assert_eq!(gpu_of_uevent("OF_NAME=gpu\n"), None);
    }
}
