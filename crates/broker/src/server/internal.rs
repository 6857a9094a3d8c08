//! The broker's own topics.

use std::sync::Arc;

use bytes::Bytes;

use super::group::OFFSETS_TOPIC;
use super::txn::TRANSACTIONS_TOPIC;
use crate::log::{AppendOrigin, Apply, LogConfig, LogError, LogStore, Overrides, Partition, Topic};

/// Whether a topic belongs to the broker; clients may only read it.
pub(crate) fn is_internal(topic: &str) -> bool {
    topic == OFFSETS_TOPIC || topic == TRANSACTIONS_TOPIC
}

/// The broker's topic with one partition, made when it is missing. One that is there (of Kafka's, of an older version,
/// of an administrator who was quicker) gets the settings it must have: what is deleted by age or size is forgotten.
pub(crate) fn internal_topic(
    store: &LogStore,
    name: &'static str,
    settings: &[(&str, &str)],
) -> Result<Arc<Topic>, LogError> {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings: Overrides = settings.collect();
    let Some(topic) = store.topic(name) else { return store.create_topic(name, 1, &settings) };
    let present = topic.overrides();
    if settings.iter().any(|(name, value)| present.get(name) != Some(value)) {
        tracing::warn!(topic = name, ?settings, "the broker's own topic had other settings; these are put in force");
        store.alter_config(name, Apply::Yes, |_, mut own| {
            own.extend(settings);
            Ok(own)
        })?;
    }
    Ok(topic)
}

/// The partitions of one of the broker's own topics. It makes one; a directory of Kafka's has 50. As in Kafka, what is
/// kept under a name is in the partition that the name's hash tells.
#[derive(Debug, Clone)]
pub(crate) struct OwnLogs {
    topic: &'static str,
    logs: Arc<[Arc<Partition>]>,
}

impl OwnLogs {
    pub(crate) fn open(store: &LogStore, topic: &'static str, settings: &[(&str, &str)]) -> Result<Self, LogError> {
        let logs = internal_topic(store, topic, settings)?.partitions();
        // One that could not be opened looks empty: groups would begin anew, and decided transactions be aborted.
        logs.iter().try_for_each(|log| log.check_opened())?;
        Ok(Self { topic, logs: logs.into() })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.logs.iter()
    }

    /// The partition that keeps what belongs to a name.
    pub(crate) fn index_of(&self, name: &str) -> i32 {
        place(name, i32::try_from(self.logs.len()).unwrap_or(i32::MAX))
    }

    pub(crate) fn at(&self, index: i32) -> Result<&Arc<Partition>, LogError> {
        let log = usize::try_from(index).ok().and_then(|index| self.logs.get(index));
        log.ok_or_else(|| LogError::UnknownPartition { topic: self.topic.to_owned(), partition: index })
    }

    /// Appends under a name's hash.
    pub(crate) fn append(&self, name: &str, records: &Bytes, now_ms: i64) -> Result<(), LogError> {
        self.at(self.index_of(name))?.append(records, now_ms, AppendOrigin::Coordinator).map(drop)
    }

    pub(crate) fn config(&self) -> Option<Arc<LogConfig>> {
        self.logs.first().map(|log| log.config())
    }

    /// Refuses what is kept where nobody would look for it: what is written from now on would be elsewhere, and the
    /// next start could not tell which is newer.
    pub(crate) fn check_place(&self, name: &str, log: &Partition) -> Result<(), LogError> {
        let (found, right) = (log.index(), self.index_of(name));
        if found == right {
            return Ok(());
        }
        Err(LogError::Misplaced { topic: self.topic, name: name.to_owned(), found, right, partitions: self.logs.len() })
    }
}

/// Kafka's `Utils.abs(name.hashCode()) % partitions`.
fn place(name: &str, partitions: i32) -> i32 {
    let hash = name.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::StoreConfig;

    #[test]
    fn a_topic_that_is_there_gets_the_settings_it_must_have() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = LogStore::open(StoreConfig::new(folder.path()), 0).unwrap();
        let own = [("cleanup.policy", "delete"), ("retention.ms", "1000")];
        let own: Overrides = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        store.create_topic(TRANSACTIONS_TOPIC, 1, &own).unwrap();
        let must = [("cleanup.policy", "compact")];
        for name in [TRANSACTIONS_TOPIC, OFFSETS_TOPIC] {
            for _ in 0..2 {
                let topic = internal_topic(&store, name, &must).unwrap();
                assert_eq!(topic.overrides()["cleanup.policy"], "compact");
                let policy = topic.partition(0).unwrap().config().cleanup_policy;
                assert!(policy.compact && !policy.delete, "in force at once");
            }
        }
        store.close().unwrap();
        drop(store);
        let (store, _) = LogStore::open(StoreConfig::new(folder.path()), 0).unwrap();
        assert_eq!(store.topic(TRANSACTIONS_TOPIC).unwrap().overrides()["cleanup.policy"], "compact", "for good");
    }

    #[test]
    fn names_have_the_places_that_kafka_gives_them() {
        // The hash codes are Java's, without the sign.
        for (name, hash) in
            [("", 0), ("a", 97), ("hello", 99_162_322), ("München", 1_652_442_035), ("\u{1f3a5}", 1_773_289)]
        {
            assert_eq!(place(name, 50), hash % 50, "{name}");
            assert_eq!(place(name, 1), 0);
        }
        assert_eq!(place("polygenelubricants", 50), 0, "its hash has no absolute value");
    }
}
