//! The processor, from the name that its maker or system gives it.

use serde::Serialize;

/// A processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chip {
    /// As the system names it, without trade marks and padding: `Apple M4 Max`, `AMD EPYC 9654`.
    pub name: String,
    /// What kind of chip it is.
    #[serde(flatten)]
    pub kind: ChipKind,
}

/// Families of processors that are treated differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChipKind {
    /// Apple M1 and later.
    Apple {
        /// 1 for M1, 2 for M2, …
        generation: u8,
        /// How large a die.
        variant: AppleVariant,
        /// Whether it is a virtual machine's view of the chip: no neural engine, and a GPU at second hand.
        is_virtual: bool,
    },
    /// 64-bit x86.
    X86,
    /// Any other 64-bit Arm.
    Arm,
    /// Something else, or not known.
    Other,
}

/// Sizes of an Apple M chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AppleVariant {
    /// M1, M2, …
    Base,
    /// M1 Pro, …
    Pro,
    /// M1 Max, …
    Max,
    /// M1 Ultra, …
    Ultra,
}

impl Chip {
    /// A chip by its brand name (`machdep.cpu.brand_string` of macOS, `model name` of Linux); `fallback`
    /// is its kind if the name is not one of Apple's M chips.
    pub(crate) fn from_brand(brand: &str, fallback: ChipKind) -> Self {
        let name = tidy(brand);
        let kind = apple_kind(&name).unwrap_or(fallback);
        Self { name: if name.is_empty() { "unknown processor".to_owned() } else { name }, kind }
    }

    /// The M generation of an Apple chip.
    pub fn apple_generation(&self) -> Option<u8> {
        match self.kind {
            ChipKind::Apple { generation, .. } => Some(generation),
            _ => None,
        }
    }

    /// Memory bandwidth in GB/s by the maker's data sheet, where known. Of chips sold with two widths of
    /// memory bus (M3 Max, M4 Max, M5 Max) the narrower.
    pub fn nominal_bandwidth_gb_per_s(&self) -> Option<f64> {
        use AppleVariant::{Base, Max, Pro, Ultra};
        let ChipKind::Apple { generation, variant, .. } = self.kind else { return None };
        match (generation, variant) {
            (1, Base) => Some(68.0),
            (1, Pro) => Some(200.0),
            (1, Max) => Some(400.0),
            (1, Ultra) => Some(800.0),
            (2, Base) => Some(100.0),
            (2, Pro) => Some(200.0),
            (2, Max) => Some(400.0),
            (2, Ultra) => Some(800.0),
            (3, Base) => Some(100.0),
            (3, Pro) => Some(150.0),
            (3, Max) => Some(300.0),
            (3, Ultra) => Some(800.0),
            (4, Base) => Some(120.0),
            (4, Pro) => Some(273.0),
            (4, Max) => Some(410.0),
            (5, Base) => Some(153.0),
            (5, Pro) => Some(307.0),
            (5, Max) => Some(460.0),
            _ => None,
        }
    }
}

/// Apple's M chips by name: `Apple M3`, `Apple M1 Ultra`, `Apple M1 (Virtual)`.
fn apple_kind(name: &str) -> Option<ChipKind> {
    let mut words = name.strip_prefix("Apple M")?.split(' ');
    let generation = words.next()?.parse().ok().filter(|&generation| generation >= 1)?;
    let mut variant = AppleVariant::Base;
    let mut is_virtual = false;
    for word in words {
        match word {
            "Pro" => variant = AppleVariant::Pro,
            "Max" => variant = AppleVariant::Max,
            "Ultra" => variant = AppleVariant::Ultra,
            "(Virtual)" => is_virtual = true,
            // A name of the future: the generation still holds.
            _ => {}
        }
    }
    Some(ChipKind::Apple { generation, variant, is_virtual })
}

/// One space between words, no trade marks, no clock speed, no `CPU` or `Processor`.
fn tidy(brand: &str) -> String {
    let plain = brand.replace("(R)", "").replace("(r)", "").replace("(TM)", "").replace("(tm)", "");
    let plain = plain.split(" @ ").next().unwrap_or_default();
    let words = plain.split_whitespace().filter(|word| !matches!(*word, "CPU" | "Processor"));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apple(generation: u8, variant: AppleVariant) -> ChipKind {
        ChipKind::Apple { generation, variant, is_virtual: false }
    }

    #[test]
    fn knows_every_apple_m_chip_by_its_brand_string() {
        use AppleVariant::{Base, Max, Pro, Ultra};
        let variants = [("", Base), (" Pro", Pro), (" Max", Max), (" Ultra", Ultra)];
        for generation in 1..=5 {
            for (suffix, variant) in variants {
                let chip = Chip::from_brand(&format!("Apple M{generation}{suffix}"), ChipKind::Arm);
                assert_eq!(chip.kind, apple(generation, variant), "M{generation}{suffix}");
                // There is no M4 or M5 Ultra.
                let is_made = variant != Ultra || generation < 4;
                assert_eq!(chip.nominal_bandwidth_gb_per_s().is_some(), is_made, "M{generation}{suffix}");
            }
        }
    }

    #[test]
    fn a_larger_chip_of_one_generation_is_never_slower() {
        for generation in 1..=5 {
            let widths: Vec<f64> = ["", " Pro", " Max", " Ultra"]
                .iter()
                .map(|suffix| Chip::from_brand(&format!("Apple M{generation}{suffix}"), ChipKind::Arm))
                .filter_map(|chip| chip.nominal_bandwidth_gb_per_s())
                .collect();
            assert!(widths.is_sorted(), "M{generation}: {widths:?}");
        }
    }

    #[test]
    fn a_future_chip_keeps_its_generation() {
        let chip = Chip::from_brand("Apple M12 Hyper", ChipKind::Arm);
        assert_eq!(chip.kind, apple(12, AppleVariant::Base));
        assert_eq!(chip.nominal_bandwidth_gb_per_s(), None);
    }

    #[test]
    fn a_virtual_mac_says_so() {
        let chip = Chip::from_brand("Apple M1 (Virtual)", ChipKind::Arm);
        assert_eq!(
            chip.kind,
            ChipKind::Apple { generation: 1, variant: AppleVariant::Base, is_virtual: true }
        );
        assert_eq!(Chip::from_brand("Apple processor", ChipKind::Arm).kind, ChipKind::Arm);
    }

    #[test]
    fn phone_chips_in_macs_are_arm() {
        let chip = Chip::from_brand("Apple A18 Pro", ChipKind::Arm);
        assert_eq!((chip.name.as_str(), chip.kind), ("Apple A18 Pro", ChipKind::Arm));
    }

    #[test]
    fn names_lose_trade_marks_and_clock() {
        let name = |brand| Chip::from_brand(brand, ChipKind::X86).name;
        assert_eq!(name("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz"), "Intel Core i7-9750H");
        assert_eq!(name("Intel(R) Xeon(R) Processor @ 2.10GHz"), "Intel Xeon");
        assert_eq!(name("AMD EPYC 7B13 "), "AMD EPYC 7B13");
        assert_eq!(name("   "), "unknown processor");
    }

    #[test]
    fn an_m_without_a_number_is_no_apple_chip() {
        assert_eq!(Chip::from_brand("Apple Mx", ChipKind::Other).kind, ChipKind::Other);
        assert_eq!(Chip::from_brand("Apple M0", ChipKind::Other).kind, ChipKind::Other);
        assert_eq!(Chip::from_brand("Apple M", ChipKind::Other).kind, ChipKind::Other);
    }
}
