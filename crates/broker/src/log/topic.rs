//! A topic and the file that keeps its identity and settings.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::checkpoint::replace_file;
use super::config::{LogConfig, Overrides};
use super::disk::{self, Disk};
use super::error::LogError;
use super::partition::Partition;

/// Kafka's longest topic name; with a partition number it still is a file name.
const MAX_NAME_BYTES: usize = 249;
/// Ends the names of topic files in the data directory.
const TOPIC_EXTENSION: &str = "topic";
/// Files of version 1 end without a checksum.
const FILE_VERSION: &str = "2";
const VERSION_WITHOUT_CHECKSUM: &str = "1";
const CHECKSUM_KEY: &str = "crc32c=";

/// A topic: its identity, settings and partitions.
#[derive(Debug)]
pub struct Topic {
    name: Arc<str>,
    id: [u8; 16],
    settings: RwLock<(Arc<LogConfig>, Overrides)>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    pub(crate) fn new(record: &TopicRecord, config: Arc<LogConfig>, partitions: Vec<Arc<Partition>>) -> Self {
        Self {
            name: Arc::from(record.name.as_str()),
            id: record.id,
            settings: RwLock::new((config, record.overrides.clone())),
            partitions: RwLock::new(partitions),
        }
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Topic id, the UUID's 16 bytes in network order.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The settings set on the topic itself.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The partitions, in order.
    #[must_use]
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.get(usize::try_from(index).ok()?).cloned()
    }

    /// Refused where no partition could be opened: the topic's file may be what is damaged, and is not written over.
    pub(crate) fn check_opened(&self) -> Result<(), LogError> {
        let mut checked = self.partitions().into_iter().map(|partition| partition.check_opened());
        let first = checked.next().unwrap_or(Ok(()));
        if checked.any(|opened| opened.is_ok()) { Ok(()) } else { first }
    }

    pub(crate) fn set_settings(&self, config: &Arc<LogConfig>, overrides: Overrides) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = (Arc::clone(config), overrides);
        for partition in self.partitions() {
            partition.set_config(Arc::clone(config));
        }
    }

    pub(crate) fn add_partitions(&self, more: Vec<Arc<Partition>>) {
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).extend(more);
    }

    pub(crate) fn record(&self) -> TopicRecord {
        TopicRecord {
            name: self.name.to_string(),
            id: self.id,
            partitions: i32::try_from(self.partitions().len()).unwrap_or(i32::MAX),
            overrides: self.overrides(),
            state: TopicState::Live,
        }
    }
}

/// Whether a topic is there or on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicState {
    Live,
    /// Deletion was decided; the next start finishes it.
    Deleting,
}

/// What `<name>.topic` says. Writing it is the moment at which a topic begins, changes or ends to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicRecord {
    pub(crate) name: String,
    pub(crate) id: [u8; 16],
    pub(crate) partitions: i32,
    pub(crate) overrides: Overrides,
    pub(crate) state: TopicState,
}

impl TopicRecord {
    pub(crate) fn path(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(format!("{}.{TOPIC_EXTENSION}", self.name))
    }

    pub(crate) fn save(&self, disk: &dyn Disk, data_dir: &Path) -> Result<(), LogError> {
        let state = match self.state {
            TopicState::Live => "live",
            TopicState::Deleting => "deleting",
        };
        let mut text = format!("version={FILE_VERSION}\ntopic.id={}\n", encode_id(self.id));
        text.push_str(&format!("partitions={}\nstate={state}\n", self.partitions));
        for (key, value) in &self.overrides {
            text.push_str(&format!("config.{key}={value}\n"));
        }
        text.push_str(&format!("{CHECKSUM_KEY}{:08x}\n", crc32c::crc32c(text.as_bytes())));
        replace_file(disk, &self.path(data_dir), text.as_bytes())
    }

    /// Reads a topic file of the data directory; `None` for files of other names.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, LogError> {
        let is_topic = path.extension().is_some_and(|extension| extension == TOPIC_EXTENSION);
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_topic) else {
            return Ok(None);
        };
        let bytes = fs::read(path).map_err(LogError::storage("read", path))?;
        let text = String::from_utf8_lossy(&bytes);
        let record = Self::parse(name, &text);
        record.map(Some).map_err(|reason| LogError::BadFile { path: path.to_owned(), reason: reason.to_owned() })
    }

    fn parse(name: &str, text: &str) -> Result<Self, &'static str> {
        let text = checked(text)?;
        let mut values =
            text.lines().filter_map(|line| line.split_once('=')).collect::<std::collections::BTreeMap<_, _>>();
        values.remove("version");
        let id = values.remove("topic.id").and_then(decode_id).ok_or("its topic.id is missing or not a UUID")?;
        let partitions = values.remove("partitions").and_then(|count| count.parse().ok());
        let state = match values.remove("state") {
            Some("live") => TopicState::Live,
            Some("deleting") => TopicState::Deleting,
            _ => return Err("its state is neither live nor deleting"),
        };
        let overrides = values
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("config.")?.to_owned(), value.to_owned())));
        Ok(Self {
            name: name.to_owned(),
            id,
            partitions: partitions.filter(|count| *count > 0).ok_or("its partition count is missing")?,
            overrides: overrides.collect(),
            state,
        })
    }
}

/// The text in front of its checksum: a setting that a bad sector changed could delete what was to be kept.
fn checked(text: &str) -> Result<&str, &'static str> {
    let version = text.lines().next().and_then(|line| line.strip_prefix("version="));
    if version == Some(VERSION_WITHOUT_CHECKSUM) {
        return Ok(text);
    }
    if version != Some(FILE_VERSION) {
        return Err("it does not begin with version=1 or version=2");
    }
    let (contents, rest) = text.rsplit_once(CHECKSUM_KEY).ok_or("its checksum is missing")?;
    match rest.strip_suffix('\n') {
        Some(sum) if *sum == format!("{:08x}", crc32c::crc32c(contents.as_bytes())) => Ok(contents),
        _ => Err("its checksum does not match"),
    }
}

/// Kafka's text form of a UUID: URL-safe Base64 without padding.
pub(crate) fn encode_id(id: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(id)
}

pub(crate) fn decode_id(text: &str) -> Option<[u8; 16]> {
    URL_SAFE_NO_PAD.decode(text.trim()).ok()?.try_into().ok()
}

/// Kafka's rules for topic names; they also keep names inside the data directory.
pub(crate) fn check_name(topic: &str) -> Result<(), LogError> {
    let reason = if topic.is_empty() {
        "it is empty"
    } else if topic == "." || topic == ".." {
        "it may not be . or .."
    } else if topic.len() > MAX_NAME_BYTES {
        "it is longer than 249 characters"
    } else if topic == CLUSTER_METADATA {
        "it is the name of Apache Kafka's own log"
    } else if !topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        "only ASCII letters, digits, '.', '_' and '-' are allowed"
    } else {
        return Ok(());
    };
    Err(LogError::InvalidTopic { topic: topic.to_owned(), reason })
}

/// The topic whose file has this name.
pub(crate) fn name_of_file(file: &str) -> String {
    file.strip_suffix(TOPIC_EXTENSION).and_then(|name| name.strip_suffix('.')).unwrap_or(file).to_owned()
}

/// Apache Kafka's own log of what its cluster consists of. It is left alone in a directory that Kafka wrote.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// `<topic>-<partition>`.
pub(crate) fn parse_directory_name(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let canonical = partition == "0" || !partition.starts_with(['0', '+', '-']);
    let partition = partition.parse().ok().filter(|number: &i32| canonical && *number >= 0)?;
    check_name(topic).is_ok().then_some((topic, partition))
}

/// The topic id in a partition's `partition.metadata`.
pub(crate) fn read_partition_metadata(directory: &Path) -> Option<[u8; 16]> {
    let text = fs::read_to_string(directory.join("partition.metadata")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("topic_id:")).and_then(decode_id)
}

/// Writes `partition.metadata` where it is missing. Not synced: the topic file is what counts.
pub(crate) fn write_partition_metadata(disk: &dyn Disk, directory: &Path, id: [u8; 16]) -> Result<(), LogError> {
    let path = directory.join("partition.metadata");
    if path.exists() {
        return Ok(());
    }
    let text = format!("version: 0\ntopic_id: {}", encode_id(id));
    disk::write_unsynced(disk, &path, text.as_bytes()).map_err(LogError::storage("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SystemDisk;

    #[test]
    fn topic_files_round_trip_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let record = TopicRecord {
            name: "t".repeat(MAX_NAME_BYTES),
            id: [7; 16],
            partitions: 12,
            overrides: Overrides::from([("retention.ms".to_owned(), "5".to_owned())]),
            state: TopicState::Live,
        };
        record.save(&SystemDisk, dir.path()).unwrap();
        assert_eq!(TopicRecord::load(&record.path(dir.path())).unwrap().unwrap(), record);
        assert_eq!(TopicRecord::load(&dir.path().join("meta.properties")).unwrap(), None);
        let text = fs::read_to_string(record.path(dir.path())).unwrap();
        let older = text.replace("version=2", "version=1").lines().take(5).collect::<Vec<_>>().join("\n");
        fs::write(record.path(dir.path()), older).unwrap();
        assert_eq!(TopicRecord::load(&record.path(dir.path())).unwrap().unwrap(), record);
        let other_setting = text.replace("retention.ms=5", "retention.ms=4");
        for broken in [
            "",
            "version=2",
            "version=3",
            &other_setting,
            "version=1\ntopic.id=x",
            "version=1\ntopic.id=BwcHBwcHBwcHBwcHBwcHBw\nstate=live",
        ] {
            fs::write(record.path(dir.path()), broken).unwrap();
            assert!(matches!(TopicRecord::load(&record.path(dir.path())), Err(LogError::BadFile { .. })), "{broken}");
        }
    }

    #[test]
    fn names_and_directories() {
        for bad in ["", ".", "..", "a/b", "a b", "ü", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse_directory_name("a-b-11"), Some(("a-b", 11)));
        for bad in ["a", "a-", "a-01", "a-+1", "-3", "a-1x", "a-0.uuid-delete", "__cluster_metadata-0"] {
            assert_eq!(parse_directory_name(bad), None, "{bad}");
        }
    }
}
