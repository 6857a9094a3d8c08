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

/// The most that was ever resident of a process, in bytes; 0 where the system does not tell.
pub(super) fn peak_bytes(pid: u32) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Processor time of the whole machine since it was started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    busy: Duration,
    total: Duration,
}

impl Machine {
    /// `None` where the system does not tell.
    pub(super) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal; what follows is part of the first two.
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let ticks = fields.map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
        let total: u64 = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        let time = |ticks: u64| Duration::from_millis(ticks * TICK_MILLIS);
        Some(Self { busy: time(total - idle), total: time(total) })
    }

    /// Share of the machine, 0 to 1, that others than our own processes used since then.
    pub(super) fn others_since(&self, then: &Self, own: Duration) -> f64 {
        let busy = self.busy.saturating_sub(then.busy).saturating_sub(own);
        let total = self.total.saturating_sub(then.total).max(Duration::from_millis(TICK_MILLIS));
        (busy.as_secs_f64() / total.as_secs_f64()).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_what_is_busy_and_not_ours() {
        let then = Machine::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 …").unwrap();
        let now = Machine::parse("cpu  160 0 120 880 40 0 0 0 0 0\n").unwrap();
        // 80 ticks busy of 200, 30 of them ours.
        let others = now.others_since(&then, Duration::from_millis(300));
        assert!((others - 0.25).abs() < 1e-9, "{others}");
        assert!(Machine::parse("cpu  x").is_none() && Machine::parse("").is_none());
    }

    #[test]
    fn this_process_has_memory() {
        if std::path::Path::new("/proc/self/statm").exists() {
            assert!(resident_bytes(std::process::id()) > 100_000);
            assert!(peak_bytes(std::process::id()) > 100_000);
        }
    }
}
