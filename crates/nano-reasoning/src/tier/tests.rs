use super::*;
use crate::hardware::{BandwidthSource, Chip, Npu};

fn machine(brand: &str, memory_gib: f64) -> Hardware {
    let chip = Chip::from_brand(brand, ChipKind::X86);
    let memory_bytes = (memory_gib * (1u64 << 30) as f64) as u64;
    let is_apple = chip.apple_generation().is_some();
    Hardware {
        n_cores: 8,
        n_performance_cores: 4,
        n_threads: 8,
        memory_bytes,
        available_bytes: memory_bytes,
        simd: Vec::new(),
        gpu: None,
        npu: is_apple.then(|| Npu { name: "Apple Neural Engine".to_owned() }),
        chip,
    }
}

fn measured(gb_per_s: f64) -> Option<Bandwidth> {
    Some(Bandwidth { gb_per_s, source: BandwidthSource::Measured })
}

fn pick(brand: &str, memory_gib: f64, bandwidth: Option<f64>) -> TierChoice {
    let hardware = machine(brand, memory_gib);
    choose(&hardware, bandwidth.and_then(measured), None, Catalogue::builtin()).unwrap()
}

/// With four fifths of the data sheet's bandwidth, about what a CPU measures.
fn pick_apple(brand: &str, memory_gib: f64) -> Tier {
    let nominal = machine(brand, memory_gib).chip.nominal_bandwidth_gb_per_s().unwrap();
    pick(brand, memory_gib, Some(nominal * 0.8)).tier
}

#[test]
fn apple_chips_get_the_tier_of_their_generation_and_memory() {
    for (brand, memory_gib, tier) in [
        ("Apple M1", 8.0, Tier::Compact),
        ("Apple M1", 16.0, Tier::Entry),
        ("Apple M2", 16.0, Tier::Entry),
        ("Apple M2", 24.0, Tier::Pro),
        ("Apple M1 Pro", 16.0, Tier::Entry),
        ("Apple M1 Pro", 32.0, Tier::Pro),
        ("Apple M1 Max", 64.0, Tier::Pro),
        ("Apple M2 Ultra", 192.0, Tier::Pro),
        ("Apple M3", 16.0, Tier::Entry),
        ("Apple M3", 24.0, Tier::Pro),
        ("Apple M3 Max", 128.0, Tier::Pro),
        ("Apple M4", 16.0, Tier::Entry),
        ("Apple M4", 24.0, Tier::Pro),
        ("Apple M4", 32.0, Tier::Pro),
        ("Apple M4 Pro", 24.0, Tier::Pro),
        ("Apple M4 Pro", 48.0, Tier::Elite),
        ("Apple M4 Max", 36.0, Tier::Elite),
        ("Apple M4 Max", 128.0, Tier::Elite),
        ("Apple M5", 32.0, Tier::Pro),
        ("Apple M5 Pro", 48.0, Tier::Elite),
        ("Apple M5 Max", 36.0, Tier::Elite),
    ] {
        assert_eq!(pick_apple(brand, memory_gib), tier, "{brand} {memory_gib} GiB");
    }
}

#[test]
fn a_small_virtual_machine_with_much_memory_is_compact() {
    for gb_per_s in [15.0, 21.0, 25.3] {
        let choice = pick("AMD EPYC", 23.54, Some(gb_per_s));
        assert_eq!(choice.tier, Tier::Compact);
        assert_eq!(choice.target, "qwen2.5-coder-1.5b");
        assert_eq!(choice.drafter.as_deref(), Some("qwen2.5-coder-0.5b"));
    }
    let choice = pick("AMD EPYC", 23.54, Some(21.0));
    assert_eq!(
        choice.reason,
        "Compact: AMD EPYC with 23.5 GiB and 21.0 GB/s decodes Qwen2.5-Coder-1.5B-Instruct Q4_K_M at up to \
         19 tokens/s; Entry's Qwen2.5-3B-Instruct Q4_K_M would decode 10 tokens/s, and wants 20"
    );
}

#[test]
fn other_chips_get_what_their_bandwidth_carries() {
    assert_eq!(pick("Intel Core Ultra 7", 15.2, Some(60.0)).tier, Tier::Entry);
    assert_eq!(pick("AMD Ryzen 9", 30.9, Some(62.0)).tier, Tier::Pro);
    let server = pick("AMD EPYC 9654", 755.0, Some(350.0));
    assert_eq!(server.tier, Tier::Pro);
    assert!(server.reason.ends_with("Elite needs an Apple M4 or later"), "{}", server.reason);
}

#[test]
fn an_unknown_speed_is_taken_for_slow() {
    let choice = pick("AMD EPYC", 64.0, None);
    assert_eq!((choice.tier, choice.estimated_tokens_per_s), (Tier::Compact, None));
    assert!(choice.reason.ends_with("Entry needs a measured memory bandwidth"), "{}", choice.reason);
}

#[test]
fn what_does_not_fit_is_never_picked() {
    let catalogue = Catalogue::builtin();
    for brand in ["Apple M1", "Apple M4 Max", "AMD EPYC", "Apple M9 Ultra"] {
        for quarter_gib in 0..400 {
            let hardware = machine(brand, f64::from(quarter_gib) / 4.0);
            for gb_per_s in [5.0, 60.0, 500.0, 5000.0] {
                match choose(&hardware, measured(gb_per_s), None, catalogue) {
                    Ok(choice) => assert!(choice.needed_bytes <= usable_bytes(&hardware), "{choice:?}"),
                    Err(error) => assert!(matches!(error, Error::NothingFits { .. }), "{error}"),
                }
            }
        }
    }
}

#[test]
fn more_of_anything_never_gives_a_smaller_tier() {
    let speeds = [5.0, 20.0, 41.0, 43.0, 60.0, 150.0, 200.0, 400.0];
    for brand in ["Apple M1", "Apple M5 Max", "AMD EPYC"] {
        for pair in speeds.windows(2) {
            for gib in [4.0, 8.0, 16.0, 24.0, 36.0] {
                let tier = pick(brand, gib, Some(pair[0])).tier;
                assert!(tier <= pick(brand, gib, Some(pair[1])).tier);
                assert!(tier <= pick(brand, gib * 1.5, Some(pair[0])).tier);
            }
        }
    }
}

#[test]
fn a_tiny_memory_drops_the_drafter_and_then_refuses() {
    let small = pick("Cortex", 2.0, Some(10.0));
    assert_eq!((small.tier, small.drafter.as_deref()), (Tier::Compact, None));
    assert!(small.reason.contains("without a drafter"), "{}", small.reason);
    let error = choose(&machine("Cortex", 1.0), measured(10.0), None, Catalogue::builtin()).unwrap_err();
    assert!(matches!(error, Error::NothingFits { .. }));
    assert!(error.to_string().contains("smollm2-135m"), "{error}");
}

#[test]
fn a_forced_tier_is_taken_with_a_warning_or_refused() {
    let vm = machine("AMD EPYC", 23.54);
    let pro = choose(&vm, measured(21.0), Some(Tier::Pro), Catalogue::builtin()).unwrap();
    assert_eq!((pro.tier, pro.is_forced, pro.warnings.len()), (Tier::Pro, true, 1));
    assert!(pro.reason.starts_with("Pro, as forced: "), "{}", pro.reason);
    assert!(pro.warnings[0].contains("would decode 4 tokens/s"), "{:?}", pro.warnings);
    let error = choose(&vm, measured(21.0), Some(Tier::Elite), Catalogue::builtin()).unwrap_err();
    assert!(matches!(error, Error::TierDoesNotFit { tier: Tier::Elite, .. }), "{error}");
    // A smaller one than the machine could run needs no excuse.
    let m4 = machine("Apple M4 Max", 64.0);
    let entry = choose(&m4, measured(300.0), Some(Tier::Entry), Catalogue::builtin()).unwrap();
    assert!(entry.warnings.is_empty());
}

#[test]
fn memory_in_use_is_a_warning_and_no_other_pick() {
    let mut hardware = machine("Apple M2", 24.0);
    hardware.available_bytes = 1 << 30;
    let choice = choose(&hardware, measured(90.0), None, Catalogue::builtin()).unwrap();
    assert_eq!(choice.tier, Tier::Pro);
    assert!(choice.warnings[0].contains("only 1 GiB are free now"), "{:?}", choice.warnings);
}

#[test]
fn speculators_follow_the_tier() {
    assert_eq!(pick("Apple M1", 16.0, Some(58.0)).speculator, Speculator::Frozen);
    assert_eq!(pick("Apple M2 Pro", 32.0, Some(180.0)).speculator, Speculator::AdaptiveLora);
    let elite = pick("Apple M4 Max", 64.0, Some(350.0));
    assert_eq!((elite.speculator, elite.uses_npu), (Speculator::FullEagle, true));
}

#[test]
fn tier_names_are_read_in_any_case() {
    assert_eq!("PRO".parse::<Tier>().unwrap(), Tier::Pro);
    let error = "elit".parse::<Tier>().unwrap_err().to_string();
    assert_eq!(error, "there is no tier 'elit', did you mean 'elite'?; tiers: compact, entry, pro, elite");
}
