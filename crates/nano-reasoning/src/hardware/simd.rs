//! Instruction sets worth naming, from the flag words of the operating systems.

/// Flag as Linux and macOS write it (lower case) and the name to show, weakest first.
const NAMES: &[(&str, &str)] = &[
    // x86: `flags` of /proc/cpuinfo; macOS: machdep.cpu.features and leaf7_features, in capitals
    ("sse4_2", "SSE4.2"),
    ("sse4.2", "SSE4.2"),
    ("avx", "AVX"),
    ("avx1.0", "AVX"),
    ("f16c", "F16C"),
    ("fma", "FMA"),
    ("avx2", "AVX2"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512f", "AVX-512F"),
    ("avx512bw", "AVX-512BW"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx512vnni", "AVX-512 VNNI"),
    ("avx512_bf16", "AVX-512 BF16"),
    ("avx512_fp16", "AVX-512 FP16"),
    ("gfni", "GFNI"),
    ("amx_int8", "AMX-INT8"),
    ("amx_bf16", "AMX-BF16"),
    // Arm: `Features` of /proc/cpuinfo; macOS: hw.optional.arm.FEAT_… and hw.optional.neon
    ("asimd", "NEON"),
    ("neon", "NEON"),
    ("advsimd", "NEON"),
    ("asimdhp", "FP16"),
    ("feat_fp16", "FP16"),
    ("asimddp", "DotProd"),
    ("feat_dotprod", "DotProd"),
    ("bf16", "BF16"),
    ("feat_bf16", "BF16"),
    ("i8mm", "I8MM"),
    ("feat_i8mm", "I8MM"),
    ("sve", "SVE"),
    ("sve2", "SVE2"),
    ("sme", "SME"),
    ("feat_sme", "SME"),
    ("sme2", "SME2"),
    ("feat_sme2", "SME2"),
];

/// Names of the instruction sets among `flags`, weakest first, each once.
pub(super) fn simd_names<'a>(flags: impl IntoIterator<Item = &'a str>) -> Vec<&'static str> {
    let flags: std::collections::HashSet<String> = flags.into_iter().map(str::to_lowercase).collect();
    let mut names: Vec<&'static str> =
        NAMES.iter().filter(|(flag, _)| flags.contains(*flag)).map(|&(_, name)| name).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_once_and_weakest_first() {
        let flags = "fpu avx512f avx2 fma sse4_2 avx f16c avx512_vnni avx512bw amx_int8 gfni";
        assert_eq!(
            simd_names(flags.split(' ')),
            [
                "SSE4.2",
                "AVX",
                "F16C",
                "FMA",
                "AVX2",
                "AVX-512F",
                "AVX-512BW",
                "AVX-512 VNNI",
                "GFNI",
                "AMX-INT8"
            ]
        );
        assert_eq!(simd_names(["asimd", "neon", "AdvSIMD"]), ["NEON"]);
        assert_eq!(simd_names(["AVX1.0", "AVX2"]), ["AVX", "AVX2"]);
        assert!(simd_names([]).is_empty());
    }
}
