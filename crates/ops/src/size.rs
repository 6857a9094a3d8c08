//! How much disk, network, partitions, brokers and cores a fleet of cameras needs. Pure arithmetic, shown line by line.
//!
//! Units are decimal (1 GB = 10⁹ B), as disks and networks are sold. Every constant is named and stated in the lines.

use serde::Serialize;
use std::time::Duration;

/// Key, headers and record framing of an ordinary frame, measured at 48-byte headers and a 16-byte camera id.
pub const RECORD_OVERHEAD_BYTES: f64 = 120.0;
/// Retention deletes whole segments: a partition holds up to one more than asked for.
const SEGMENT_BYTES: f64 = (1_u64 << 30) as f64;
const SEGMENT_SECONDS: f64 = 3_600.0;
/// What of a link may be planned for: the rest is for catching up and for replicas that were away.
const LINK_SHARE: f64 = 0.5;
/// So that one partition's reader, which is one process, catches up many times faster than the cameras send.
const PARTITION_BYTES_PER_SECOND: f64 = 10e6;
/// Partitions for each worker of the largest group, so that cameras spread evenly.
const PARTITIONS_PER_WORKER: u32 = 4;
/// What `topics plan` plans: on the embedded broker, and on a cluster.
const EMBEDDED_PARTITIONS: u32 = 12;
const CLUSTER_PARTITIONS: u32 = 48;
/// Processor time of a broker for each MB that comes in or goes out, at records of 50 kB.
const BROKER_SECONDS_PER_MB: f64 = 0.001;
/// Processor time of a publisher or reader of ours for each MB, at records of 50 kB, without encoding or decoding.
const CLIENT_SECONDS_PER_MB: f64 = 0.002;
/// What of a core may be planned for.
const CORE_SHARE: f64 = 0.6;
/// One for the system and for Kafka's own work (compaction, groups, metadata).
const BASE_CORES: f64 = 1.0;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Cameras.
    pub cameras: u32,
    /// Megabits (10⁶ bits) per second of one camera.
    pub mbit: f64,
    /// Frames per second of one camera.
    pub fps: f64,
    /// How long everything is kept.
    pub keep: Duration,
    /// Copies of each partition.
    pub replication: u16,
    /// Readers that each get everything: groups, viewers, archives.
    pub readers: u32,
    /// Workers of the largest consumer group.
    pub workers: u32,
    /// Megabits per second of a broker's network link, each way.
    pub link_mbit: f64,
    /// Disk of one broker, in bytes; `None` asks how much is needed.
    pub disk_bytes: Option<u64>,
    /// Share of each disk that stays free.
    pub keep_free: f64,
    /// Brokers there are; `None` asks how many are needed.
    pub brokers: Option<u32>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            cameras: 1,
            mbit: 4.0,
            fps: 25.0,
            keep: Duration::from_secs(86_400),
            replication: 3,
            readers: 2,
            workers: 4,
            link_mbit: 1_000.0,
            disk_bytes: None,
            keep_free: 0.2,
            brokers: None,
        }
    }
}

/// One step of the arithmetic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What is worked out.
    pub what: &'static str,
    /// How, with the numbers put in.
    pub how: String,
    /// The result with its unit, for people.
    pub result: String,
}

/// What a load needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Size {
    /// Payload of one camera for the whole time, in bytes.
    pub camera_bytes: f64,
    /// Everything stored once, in bytes.
    pub stored_bytes: f64,
    /// On all disks together, with replicas and free space, in bytes.
    pub disk_bytes: f64,
    /// On each broker's disk, in bytes.
    pub disk_bytes_per_broker: f64,
    /// Bits per second into each broker, replicas included.
    pub in_bits_per_second_per_broker: f64,
    /// Bits per second out of each broker, replicas included.
    pub out_bits_per_second_per_broker: f64,
    /// Partitions of the frame topic.
    pub partitions: u32,
    /// Brokers.
    pub brokers: u32,
    /// Cores of each broker.
    pub cores_per_broker: u32,
    /// Cores of all publishers and readers together, without encoding and decoding.
    pub client_cores: u32,
    /// The arithmetic.
    pub steps: Vec<Step>,
    /// What does not fit, and what to do.
    pub problems: Vec<String>,
}

/// Works it out.
#[must_use]
pub fn size(load: &Load) -> Size {
    let mut sum = Sum { load: *load, steps: Vec::new(), problems: Vec::new() };
    let payload = sum.camera();
    let partitions = sum.partitions();
    let stored = sum.stored(payload, partitions);
    let disk = sum.disk(stored);
    let brokers = sum.brokers(disk, partitions);
    sum.spread(payload, stored, disk, partitions, brokers)
}

struct Sum {
    load: Load,
    steps: Vec<Step>,
    problems: Vec<String>,
}

impl Sum {
    fn step(&mut self, what: &'static str, how: String, result: String) {
        self.steps.push(Step { what, how, result });
    }

    fn seconds(&self) -> f64 {
        self.load.keep.as_secs_f64()
    }

    /// Bytes per second of the whole fleet, stored once.
    fn fleet_bytes_per_second(&self) -> f64 {
        let load = &self.load;
        f64::from(load.cameras) * (load.mbit * 1e6 / 8.0 + load.fps * RECORD_OVERHEAD_BYTES)
    }

    fn camera(&mut self) -> f64 {
        let Load { mbit, fps, .. } = self.load;
        let payload = mbit * 1e6 / 8.0 * self.seconds();
        let seconds = self.seconds();
        self.step("one camera", format!("{mbit} Mbit/s / 8 × {seconds} s"), bytes(payload));
        let overhead = fps * RECORD_OVERHEAD_BYTES * seconds;
        let how = format!("{fps} frames/s × {RECORD_OVERHEAD_BYTES} B × {seconds} s");
        self.step("its records' keys and headers", how, bytes(overhead));
        payload
    }

    fn partitions(&mut self) -> u32 {
        let rate = self.fleet_bytes_per_second();
        let by_rate = ceil(rate / PARTITION_BYTES_PER_SECOND);
        let by_workers = self.load.workers.saturating_mul(PARTITIONS_PER_WORKER);
        let usual = if self.load.replication > 1 { CLUSTER_PARTITIONS } else { EMBEDDED_PARTITIONS };
        let needed = by_rate.max(by_workers).max(usual);
        let partitions = needed.div_ceil(usual).saturating_mul(usual);
        let how = format!(
            "max({:.1} MB/s / {:.0} MB/s = {by_rate}, {} workers × {PARTITIONS_PER_WORKER} = {by_workers}, planned {usual}), in steps of {usual}",
            rate / 1e6,
            PARTITION_BYTES_PER_SECOND / 1e6,
            self.load.workers
        );
        self.step("partitions of the frame topic", how, partitions.to_string());
        partitions
    }

    fn stored(&mut self, payload: f64, partitions: u32) -> f64 {
        let Load { cameras, fps, .. } = self.load;
        let each = payload + fps * RECORD_OVERHEAD_BYTES * self.seconds();
        let fleet = f64::from(cameras) * each;
        self.step("all cameras, once", format!("{cameras} × {}", bytes(each)), bytes(fleet));
        // A camera is in one partition: more partitions than cameras hold nothing.
        let used = f64::from(partitions.min(cameras.max(1)));
        let hour = self.fleet_bytes_per_second() / used * SEGMENT_SECONDS;
        let slack = used * hour.min(SEGMENT_BYTES);
        let how = format!("{used} partitions × the smaller of 1.07 GB and an hour ({})", bytes(hour));
        self.step("the segment that retention cannot delete yet", how, bytes(slack));
        fleet + slack
    }

    fn disk(&mut self, stored: f64) -> f64 {
        let Load { replication, keep_free, .. } = self.load;
        let disk = stored * f64::from(replication) / (1.0 - keep_free);
        let how = format!(
            "{} × {replication} copies / {:.2} (stays free: {:.0} %)",
            bytes(stored),
            1.0 - keep_free,
            keep_free * 100.0
        );
        self.step("disk, all brokers", how, bytes(disk));
        disk
    }

    fn brokers(&mut self, disk: f64, partitions: u32) -> u32 {
        let load = self.load;
        let copies = f64::from(load.replication);
        let rate = self.fleet_bytes_per_second() * 8.0;
        let busiest = rate * copies.max(f64::from(load.readers) + copies - 1.0);
        let by_network = ceil(busiest / (load.link_mbit * 1e6 * LINK_SHARE));
        let by_disk = load.disk_bytes.map_or(0, |each| ceil(disk / (each.max(1) as f64)));
        // One may be away, where there are copies.
        let spare = u32::from(load.replication > 1);
        let needed = by_network.max(by_disk).max(1).saturating_add(spare).max(u32::from(load.replication));
        let disk_part = load
            .disk_bytes
            .map_or_else(String::new, |each| format!(", disk {} / {} = {by_disk}", bytes(disk), bytes(each as f64)));
        let how = format!(
            "max(network {} / half of {} = {by_network}{disk_part}) + {spare} that may be away, at least {} for the copies",
            bits(busiest),
            bits(load.link_mbit * 1e6),
            load.replication
        );
        self.step("brokers", how, needed.to_string());
        let brokers = load.brokers.unwrap_or(needed);
        if brokers < needed {
            self.problems
                .push(format!("--broker-count {brokers} is too few: {needed} are needed; see the line `brokers`"));
        }
        if f64::from(partitions) * copies / f64::from(brokers.max(1)) > 4_000.0 {
            self.problems
                .push("more than 4,000 partition copies on a broker: more brokers, or fewer workers".to_owned());
        }
        brokers.max(1)
    }

    fn spread(mut self, payload: f64, stored: f64, disk: f64, partitions: u32, brokers: u32) -> Size {
        let disk_bytes_per_broker = self.disk_of_each(disk, brokers);
        let (into, out) = self.network(brokers);
        let (cores_per_broker, client_cores) = self.cores(into + out);
        Size {
            camera_bytes: payload,
            stored_bytes: stored,
            disk_bytes: disk,
            disk_bytes_per_broker,
            in_bits_per_second_per_broker: into,
            out_bits_per_second_per_broker: out,
            partitions,
            brokers,
            cores_per_broker,
            client_cores,
            steps: self.steps,
            problems: self.problems,
        }
    }

    fn disk_of_each(&mut self, disk: f64, brokers: u32) -> f64 {
        let each = disk / f64::from(brokers);
        self.step("disk of each broker", format!("{} / {brokers}", bytes(disk)), bytes(each));
        if let Some(has) = self.load.disk_bytes.filter(|has| (*has as f64) < each) {
            self.problems.push(format!(
                "a disk of {} is too small: each broker needs {}; keep less long, or add brokers",
                bytes(has as f64),
                bytes(each)
            ));
        }
        each
    }

    /// Bits per second into and out of each broker.
    fn network(&mut self, brokers: u32) -> (f64, f64) {
        let Load { replication, readers, link_mbit, .. } = self.load;
        let (count, copies) = (f64::from(brokers), f64::from(replication));
        let rate = self.fleet_bytes_per_second() * 8.0;
        let into = rate * copies / count;
        let how = format!("{} × {replication} copies / {brokers}", bits(rate));
        self.step("network into each broker", how, bits(into));
        let out = rate * (f64::from(readers) + copies - 1.0) / count;
        let others = replication.saturating_sub(1);
        let how = format!("{} × ({readers} readers + {others} copies to others) / {brokers}", bits(rate));
        self.step("network out of each broker", how, bits(out));
        let link = link_mbit * 1e6;
        if into.max(out) > link * LINK_SHARE {
            let (busiest, link) = (bits(into.max(out)), bits(link));
            let why = format!("{busiest} do not fit into half of a link of {link}; use a faster link or more brokers");
            self.problems.push(why);
        }
        (into, out)
    }

    /// Of each broker, and of all clients together.
    fn cores(&mut self, bits_per_second_per_broker: f64) -> (u32, u32) {
        let moved = bits_per_second_per_broker / 8e6;
        let broker = ceil(BASE_CORES + moved * BROKER_SECONDS_PER_MB / CORE_SHARE).max(2);
        let millis = BROKER_SECONDS_PER_MB * 1e3;
        let how = format!("{BASE_CORES} + {moved:.1} MB/s × {millis} ms / {CORE_SHARE} of a core, at least 2");
        self.step("cores of each broker", how, broker.to_string());
        let moved = self.fleet_bytes_per_second() / 1e6 * (1.0 + f64::from(self.load.readers));
        let clients = ceil(moved * CLIENT_SECONDS_PER_MB / CORE_SHARE);
        let millis = CLIENT_SECONDS_PER_MB * 1e3;
        let how = format!("{moved:.1} MB/s × {millis} ms / {CORE_SHARE}; decoding and encoding come on top");
        self.step("cores of publishers and readers", how, clients.to_string());
        (broker, clients)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; `as` saturates")]
fn ceil(value: f64) -> u32 {
    value.ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}

/// `24.8 GB`: three digits, decimal.
#[must_use]
pub fn bytes(value: f64) -> String {
    scaled(value, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// `160 Mbit/s`
#[must_use]
pub fn bits(value: f64) -> String {
    scaled(value, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

fn scaled(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be shown as 1000 belongs to the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= expected.abs() * 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn a_day_of_one_camera_at_2_3_mbit_is_24_8_gb() {
        let size = size(&Load { mbit: 2.3, replication: 1, ..Load::default() });
        // 2.3e6 / 8 × 86,400
        close(size.camera_bytes, 24_840_000_000.0);
        assert_eq!(size.steps[0].result, "24.8 GB");
        assert_eq!(size.steps[0].how, "2.3 Mbit/s / 8 × 86400 s");
    }

    #[test]
    fn forty_cameras_on_three_brokers_by_hand() {
        let size = size(&Load { cameras: 40, mbit: 4.0, ..Load::default() });
        // A camera: 500,000 B/s; its records: 25 × 120 = 3,000 B/s.
        close(size.camera_bytes, 43.2e9);
        // 40 × 503,000 × 86,400 = 1.738368e12; slack: 40 partitions × min(1 GiB, 503,000 × 3,600 = 1.8108e9).
        close(size.stored_bytes, 1.738_368e12 + 40.0 * 1_073_741_824.0);
        close(size.disk_bytes, size.stored_bytes * 3.0 / 0.8);
        // 160.96 Mbit/s; in × 3 / 3, out × (2 + 2) / 3.
        assert_eq!(size.brokers, 3);
        close(size.in_bits_per_second_per_broker, 160.96e6);
        close(size.out_bits_per_second_per_broker, 160.96e6 * 4.0 / 3.0);
        assert_eq!((size.partitions, size.problems.len()), (48, 0));
        // 1 + (20.12 + 26.83 MB/s) × 1 ms / 0.6 = 1.08
        assert_eq!(size.cores_per_broker, 2);
    }

    #[test]
    fn more_network_than_three_links_carry_asks_for_more_brokers() {
        // 500 cameras × 4.024 Mbit/s = 2,012 Mbit/s; × 4 out = 8,048 / 500 per broker = 17, and one spare.
        let size = size(&Load { cameras: 500, mbit: 4.0, ..Load::default() });
        assert_eq!(size.brokers, 18);
        // 251.5 MB/s / 10 = 26 → 48
        assert_eq!(size.partitions, 48);
        let forced = super::size(&Load { cameras: 500, mbit: 4.0, brokers: Some(3), ..Load::default() });
        assert_eq!(forced.brokers, 3);
        assert_eq!(forced.problems.len(), 2, "{:?}", forced.problems);
    }

    #[test]
    fn disks_that_are_too_small_are_told() {
        let load = Load {
            cameras: 10,
            replication: 1,
            brokers: Some(1),
            disk_bytes: Some(100_000_000_000),
            ..Load::default()
        };
        let size = size(&load);
        assert!(size.problems.iter().any(|why| why.contains("100 GB")), "{:?}", size.problems);
    }

    #[test]
    fn nothing_overflows() {
        let load = Load {
            cameras: u32::MAX,
            mbit: 1e9,
            keep: Duration::from_secs(u64::from(u32::MAX)),
            workers: u32::MAX,
            ..Load::default()
        };
        assert!(size(&load).disk_bytes.is_finite());
        assert_eq!(size(&Load { cameras: 0, ..Load::default() }).camera_bytes, 43.2e9);
    }

    #[test]
    fn quantities_have_three_digits() {
        for (value, text) in
            [(0.0, "0 B"), (999.0, "999 B"), (24.84e9, "24.8 GB"), (999.6e6, "1.00 GB"), (1.5e12, "1.50 TB")]
        {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(bits(160.96e6), "161 Mbit/s");
    }
}
