//! CPU time and memory of a process, from the kernel.

use std::time::Duration;

/// Linux counts in hundredths of a second.
const TICK_MILLIS: u64 = 10;
const PAGE_BYTES: u64 = 4_096;

/// CPU time of a process and its threads; zero where the system does not tell.
pub(super) fn cpu(pid: u32) -> Duration {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return Duration::ZERO };
    // Fields are counted behind the command's name, which may hold anything but `)`: utime is field 14, stime 15.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * TICK_MILLIS)
}

/// Resident memory of a process in bytes; 0 where the system does not tell.
pub(super) fn resident_bytes(pid: u32) -> u64 {
    let Ok(statm) = std::fs::read_to_string(format!("/proc/{pid}/statm")) else { return 0 };
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        if std::path::Path::new("/proc/self/statm").exists() {
            assert!(resident_bytes(std::process::id()) > 100_000);
        }
    }
}
