//! What the system says about memory.

use std::fs::read_to_string;

/// Memory that could be taken now without swapping, in bytes: what the system has, and what a control group (version 2)
/// allows. `None` where the system does not tell.
pub fn available_memory() -> Option<u64> {
    let system = system_available(&read_to_string("/proc/meminfo").ok()?)?;
    let group = |name: &str| read_to_string(format!("/sys/fs/cgroup/memory.{name}")).unwrap_or_default();
    let allowed = group_available(&group("max"), &group("current"), &group("stat"));
    Some(allowed.map_or(system, |allowed| allowed.min(system)))
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn system_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What a control group still allows, from its `memory.max`, `memory.current` and `memory.stat`:
/// max - current + `inactive_file` + `active_file`. `current` counts the page cache, which the kernel drops before it
/// refuses memory. `None` where there is no limit.
fn group_available(max: &str, current: &str, stat: &str) -> Option<u64> {
    let limit: u64 = max.trim().parse().ok()?; // else the word `max`
    let current: u64 = current.trim().parse().unwrap_or(0);
    let field = |name: &str| -> u64 {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find(|&(key, _)| key == name).map(|(_, value)| value);
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    let cache = field("inactive_file").saturating_add(field("active_file"));
    Some(limit.saturating_sub(current.saturating_sub(cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_memory_is_read() {
        let meminfo = "MemTotal:       16303428 kB\nMemFree:          312456 kB\nMemAvailable:    9876543 kB\n";
        assert_eq!(system_available(meminfo), Some(9_876_543 * 1024));
        assert_eq!(system_available("MemTotal: 16303428 kB\n"), None);
        assert_eq!(system_available("MemAvailable: 99999999999999999999 kB\n"), None);
    }

    #[test]
    fn a_groups_page_cache_counts_as_free() {
        let stat = "anon 3000\nfile 4700\nkernel 300\nfile_mapped 50\nfile_dirty 7\ninactive_anon 10\nactive_anon 2990\n\
                    inactive_file 4000\nactive_file 600\nunevictable 0\n";
        assert_eq!(
            group_available("10000\n", "8000\n", stat),
            Some(10_000 - 8000 + 4000 + 600)
        );
        // No cache, no figures, over the limit already.
        assert_eq!(group_available("10000\n", "8000\n", "anon 8000\n"), Some(2000));
        assert_eq!(group_available("10000\n", "", ""), Some(10_000));
        assert_eq!(group_available("10000\n", "12000\n", ""), Some(0));
        assert_eq!(
            group_available("10000\n", "12000\n", "inactive_file 3000\n"),
            Some(1000)
        );
        // The figures are not read at one time: never more than the limit.
        assert_eq!(
            group_available("10000\n", "5000\n", "inactive_file 6000\n"),
            Some(10_000)
        );
        // No limit, no control group.
        assert_eq!(group_available("max\n", "8000\n", stat), None);
        assert_eq!(group_available("", "", ""), None);
    }
}
