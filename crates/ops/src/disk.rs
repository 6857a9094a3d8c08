//! How full the disk is, and how long it lasts.

use lumenbus_bus::status::TopicUsage;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, DirEntry, Metadata};
use std::path::Path;

/// Partition folders looked at.
const MAX_FOLDERS: usize = 100_000;

/// What the embedded broker's own data folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnDisk {
    /// Bytes on the disk, by topic.
    pub topics: BTreeMap<String, u64>,
    /// Bytes that are free on that file system; `None` when the system does not say.
    pub free_bytes: Option<u64>,
}

impl OwnDisk {
    /// Looks at a data folder: Kafka's layout, a folder `TOPIC-PARTITION` each. What cannot be read counts as nothing.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        let mut topics = BTreeMap::<String, u64>::new();
        let folders = fs::read_dir(data).into_iter().flatten().flatten().take(MAX_FOLDERS);
        for folder in folders {
            if let Some(topic) = topic_of(&folder) {
                *topics.entry(topic).or_default() += folder_bytes(&folder.path());
            }
        }
        let free_bytes = rustix::fs::statvfs(data).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        Self { topics, free_bytes }
    }
}

fn topic_of(folder: &DirEntry) -> Option<String> {
    let name = folder.file_name().into_string().ok()?;
    let (topic, partition) = name.rsplit_once('-')?;
    let is_partition = partition.parse::<u32>().is_ok() && folder.file_type().is_ok_and(|kind| kind.is_dir());
    is_partition.then(|| topic.to_owned())
}

fn folder_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| on_disk(&file)).sum()
}

/// Blocks, since files may be allocated ahead or have holes.
#[cfg(unix)]
fn on_disk(file: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    file.blocks() * 512
}

#[cfg(not(unix))]
fn on_disk(file: &Metadata) -> u64 {
    file.len()
}

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskSource {
    /// The embedded broker's own files.
    Own,
    /// Offsets and the mean size of some records, times the copies.
    #[default]
    Estimate,
}

/// One topic on the disks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TopicDisk {
    /// On all disks, in bytes.
    pub used_bytes: u64,
    /// What is appended, all copies, in bytes per second; `None` before there are two looks.
    pub bytes_per_second: Option<f64>,
    /// After this time records are deleted; `None` when never or unknown.
    pub retention_seconds: Option<f64>,
}

/// How full the disks are, and how long they last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DiskUsage {
    /// Who says so.
    pub source: DiskSource,
    /// By topic.
    pub topics: BTreeMap<String, TopicDisk>,
    /// Of the broker's file system; `None` for a cluster, which does not tell its clients.
    pub free_bytes: Option<u64>,
}

impl DiskUsage {
    /// The embedded broker's own files.
    #[must_use]
    pub fn own(disk: &OwnDisk) -> Self {
        let topic = |bytes: &u64| TopicDisk { used_bytes: *bytes, ..TopicDisk::default() };
        let topics = disk.topics.iter().map(|(name, bytes)| (name.clone(), topic(bytes))).collect();
        Self { source: DiskSource::Own, topics, free_bytes: disk.free_bytes }
    }

    /// An estimate for a cluster; a topic of which no record was looked at yet is left out.
    #[must_use]
    pub fn estimate(usages: &[TopicUsage]) -> Self {
        let topic = |usage: &TopicUsage| {
            let used_bytes = usage.estimated_bytes.saturating_mul(usage.replication.max(1) as u64);
            (usage.topic.clone(), TopicDisk { used_bytes, ..TopicDisk::default() })
        };
        let known = usages.iter().filter(|usage| usage.sampled_records > 0 || usage.records == 0);
        Self { source: DiskSource::Estimate, topics: known.map(topic).collect(), free_bytes: None }
    }

    /// Bytes of all topics.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.topics.values().fold(0, |sum, topic| sum.saturating_add(topic.used_bytes))
    }

    /// Bytes appended per second; `None` while no topic's rate is known.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<f64> {
        let rates = self.topics.values().filter_map(|topic| topic.bytes_per_second);
        rates.fold(None, |sum: Option<f64>, rate| Some(sum.unwrap_or(0.0) + rate))
    }

    /// What is still to be added until retention deletes as much as comes; `None` when that is unknown or never.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sizes for people")]
    pub fn growth_bytes(&self) -> Option<f64> {
        let growth = |topic: &TopicDisk| match (topic.bytes_per_second.unwrap_or(0.0), topic.retention_seconds) {
            (rate, _) if rate <= 0.0 => Some(0.0),
            (rate, Some(kept)) => Some((rate * kept - topic.used_bytes as f64).max(0.0)),
            (_, None) => None,
        };
        self.bytes_per_second()?;
        self.topics.values().map(growth).sum()
    }

    /// Days until the disk is full at the present rate; `None` when retention ends the growth before, or when the free
    /// space or the rate is not known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sizes for people")]
    pub fn days_left(&self) -> Option<f64> {
        let (free, rate) = (self.free_bytes? as f64, self.bytes_per_second()?);
        let fits = self.growth_bytes().is_some_and(|growth| growth <= free);
        (rate > 0.0 && !fits).then(|| free / rate / 86_400.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(used: u64, rate: f64, retention: Option<f64>, free: u64) -> DiskUsage {
        let topic = TopicDisk { used_bytes: used, bytes_per_second: Some(rate), retention_seconds: retention };
        DiskUsage {
            topics: BTreeMap::from([("raw_video".to_owned(), topic)]),
            free_bytes: Some(free),
            ..DiskUsage::default()
        }
    }

    #[test]
    fn the_disk_lasts_until_it_is_full_unless_retention_comes_first() {
        // 1 MB/s, a day is 86.4 GB.
        let day = Some(86_400.0);
        assert_eq!(disk(0, 1e6, day, 100_000_000_000).days_left(), None, "86.4 GB fit");
        assert_eq!(disk(0, 1e6, day, 43_200_000_000).days_left(), Some(0.5));
        assert_eq!(disk(50_000_000_000, 1e6, day, 43_200_000_000).days_left(), None, "36.4 GB more fit");
        assert_eq!(disk(0, 1e6, None, 86_400_000_000).days_left(), Some(1.0), "kept for ever");
        assert_eq!(disk(0, 0.0, day, 1).days_left(), None, "nothing comes");
    }

    #[test]
    fn a_data_folder_is_summed_by_topic() {
        let data = tempfile::tempdir().unwrap();
        for folder in ["raw_video-0", "raw_video-11", "lumenbus.cameras-0", "no-partition", "group-offsets"] {
            fs::create_dir(data.path().join(folder)).unwrap();
            fs::write(data.path().join(folder).join("00000000000000000000.log"), vec![1; 10_000]).unwrap();
        }
        fs::write(data.path().join("file-0"), b"x").unwrap();
        let own = OwnDisk::of(data.path());
        assert_eq!(own.topics.keys().collect::<Vec<_>>(), ["lumenbus.cameras", "raw_video"]);
        assert!(own.topics["raw_video"] >= 20_000, "{own:?}");
        assert!(own.free_bytes.is_some());
        assert_eq!(OwnDisk::of(Path::new("/no/such/folder")), OwnDisk::default());
    }
}
