//! The process itself, under the names that Prometheus's clients use everywhere.

use super::{Families, Row};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::fs;

/// Linux counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: f64 = 4_096.0;

#[derive(Debug)]
pub(super) struct Process;

/// From `/proc`; nothing where there is none.
struct Usage {
    cpu_seconds: f64,
    start_seconds: Option<f64>,
    threads: f64,
}

impl Usage {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // Counted behind the command's name, which may hold anything but `)`: utime is field 14, stime 15.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
        let cpu_seconds = (number(11)? + number(12)?) / TICKS_PER_SECOND;
        let since_boot = number(19)? / TICKS_PER_SECOND;
        let start_seconds = boot_seconds().map(|boot| boot + since_boot);
        Some(Self { cpu_seconds, start_seconds, threads: number(17)? })
    }
}

fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let version = Row::new(1.0).label("version", env!("CARGO_PKG_VERSION"));
        families.gauges("lumenbus_build_info", "The version of this program.", [version])?;
        if let Some(usage) = Usage::read() {
            let cpu = [Row::new(usage.cpu_seconds)];
            families.counters("process_cpu_seconds", "Processor time of this process.", cpu)?;
            families.gauges("process_threads", "Threads of this process.", [Row::new(usage.threads)])?;
            let start = usage.start_seconds.map(Row::new);
            families.gauges("process_start_time_seconds", "When this process began, in Unix time.", start)?;
        }
        let resident = resident_bytes().map(Row::new);
        families.gauges("process_resident_memory_bytes", "Memory of this process.", resident)?;
        let descriptors = fs::read_dir("/proc/self/fd").ok().map(|files| Row::count(files.count() as u64));
        families.gauges("process_open_fds", "Open file descriptors.", descriptors)
    }
}
