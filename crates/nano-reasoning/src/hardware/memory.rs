//! Memory, from /proc/meminfo, a container's limit, or macOS's `vm_stat`.

/// Installed and available bytes, by /proc/meminfo.
pub(super) fn parse_meminfo(text: &str) -> (u64, u64) {
    let field = |name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    };
    let total = field("MemTotal").unwrap_or(0);
    // Kernels before 3.14 have no MemAvailable.
    let available = field("MemAvailable")
        .unwrap_or_else(|| field("MemFree").unwrap_or(0).saturating_add(field("Cached").unwrap_or(0)));
    (total, available.min(total))
}

/// Bytes in a control group's file; `None` for `max`, for what is no number, and for the huge numbers by
/// which the first version of control groups says "no limit".
pub(super) fn parse_cgroup_bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&bytes: &u64| bytes < 1 << 60)
}

/// Bytes that are free or can be freed at once, by macOS's `vm_stat`.
pub(super) fn parse_vm_stat(text: &str) -> Option<u64> {
    let page_bytes: u64 =
        text.split_once("page size of ")?.1.split_whitespace().next().and_then(|word| word.parse().ok())?;
    let pages = |name: &str| -> u64 {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.trim().trim_end_matches('.').parse().ok())
            .unwrap_or(0)
    };
    let free = ["Pages free", "Pages inactive", "Pages speculative", "Pages purgeable"];
    free.iter().map(|name| pages(name)).sum::<u64>().checked_mul(page_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_meminfo() {
        let text = "MemTotal:       24684084 kB\nMemFree:  100 kB\nMemAvailable:   23320448 kB\n";
        assert_eq!(parse_meminfo(text), (24_684_084 * 1024, 23_320_448 * 1024));
    }

    #[test]
    fn an_old_kernel_has_no_mem_available() {
        let text = "MemTotal: 1000 kB\nMemFree: 300 kB\nCached: 200 kB\nSwapCached: 7 kB\n";
        assert_eq!(parse_meminfo(text), (1000 * 1024, 500 * 1024));
    }

    #[test]
    fn odd_meminfo_is_no_memory_and_no_panic() {
        assert_eq!(parse_meminfo(""), (0, 0));
        assert_eq!(parse_meminfo("MemTotal: lots kB"), (0, 0));
        assert_eq!(parse_meminfo("MemTotal: 18446744073709551615 kB"), (0, 0));
    }

    #[test]
    fn a_control_group_without_limit_says_max_or_a_huge_number() {
        assert_eq!(parse_cgroup_bytes("2147483648\n"), Some(2 << 30));
        assert_eq!(parse_cgroup_bytes("max\n"), None);
        assert_eq!(parse_cgroup_bytes("9223372036854771712\n"), None);
    }

    #[test]
    fn reads_vm_stat() {
        let text = "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n\
                    Pages free:                               12345.\n\
                    Pages active:                            400000.\n\
                    Pages inactive:                          100000.\n\
                    Pages speculative:                         1000.\n\
                    Pages throttled:                              0.\n\
                    Pages wired down:                        120000.\n\
                    Pages purgeable:                           2000.\n";
        assert_eq!(parse_vm_stat(text), Some((12345 + 100_000 + 1000 + 2000) * 16384));
        assert_eq!(parse_vm_stat("vm_stat: not found"), None);
    }
}
