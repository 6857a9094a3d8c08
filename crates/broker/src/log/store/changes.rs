//! What changes topics: creating and deleting them, more partitions, other settings, deleting records.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::LogStore;
use crate::log::checkpoint::{self, CLEANER_OFFSETS, LOG_STARTS, RECOVERY_POINTS};
use crate::log::config::{LogConfig, Overrides};
use crate::log::data_dir;
use crate::log::error::LogError;
use crate::log::partition::Partition;
use crate::log::store::RecoveryReport;
use crate::log::topic::{self, Topic, TopicRecord, TopicState};

/// More partitions than one topic may have.
const MAX_PARTITIONS: i32 = 10_000;

/// Whether a change that could be made is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    /// It is.
    Yes,
    /// It is only checked.
    CheckOnly,
}

impl LogStore {
    /// Creates a topic.
    ///
    /// # Errors
    /// Invalid name, count or settings, [`LogError::TopicExists`], or a disk failure.
    pub fn create_topic(&self, name: &str, partitions: i32, overrides: &Overrides) -> Result<Arc<Topic>, LogError> {
        let _admin = self.lock_admin();
        let config = Arc::new(self.check_topic(name, partitions, overrides)?);
        let record = TopicRecord {
            name: name.to_owned(),
            id: data_dir::random_id(),
            partitions,
            overrides: overrides.clone(),
            state: TopicState::Live,
        };
        // What an unfinished deletion left must not come back to life.
        for directory in self.partition_directories(&record).filter(|directory| directory.exists()) {
            self.disk().remove_directory(&directory).map_err(LogError::storage("delete", directory))?;
        }
        self.forget_offsets(name)?;
        let saved = record.save(self.disk(), &self.config.data_dir);
        match saved.and_then(|()| self.new_partitions(&record, 0..partitions, &config)) {
            Ok(opened) => {
                let topic = self.insert(Topic::new(&record, config, opened));
                self.note_new_partitions(&topic);
                Ok(topic)
            }
            Err(error) => {
                if let Err(second) = self.finish_deletion(&record, self.partition_directories(&record)) {
                    tracing::error!(topic = name, %second, "a topic whose creation failed could not be removed");
                }
                Err(error)
            }
        }
    }

    /// Gives partitions a known recovery point, so that the first recovery knows that nothing was compacted. They are
    /// there whether or not the disk takes it, and the next flush tries again.
    fn note_new_partitions(&self, topic: &Topic) {
        if let Err(error) = self.save_recovery_points() {
            tracing::error!(topic = topic.name(), %error, "a crash would have new partitions read whole");
        }
    }

    /// Takes a topic that is not there out of the checkpoints: a deletion that was cut short leaves lines, and a new
    /// topic of the name would begin behind its own records.
    fn forget_offsets(&self, name: &str) -> Result<(), LogError> {
        for (file, save) in [
            (RECOVERY_POINTS, Self::save_recovery_points as fn(&Self) -> Result<(), LogError>),
            (LOG_STARTS, Self::save_log_starts),
            (CLEANER_OFFSETS, Self::save_cleaner_offsets),
        ] {
            let offsets = checkpoint::read_offsets(&self.config.data_dir.join(file));
            if offsets.is_ok_and(|offsets| offsets.keys().all(|(topic, _)| topic != name)) {
                continue;
            }
            save(self)?;
        }
        Ok(())
    }

    fn partition_directories(&self, record: &TopicRecord) -> impl Iterator<Item = PathBuf> {
        (0..record.partitions).map(|index| self.config.data_dir.join(format!("{}-{index}", record.name)))
    }

    fn new_partitions(
        &self,
        record: &TopicRecord,
        indexes: std::ops::Range<i32>,
        config: &Arc<LogConfig>,
    ) -> Result<Vec<Arc<Partition>>, LogError> {
        let mut report = RecoveryReport::default();
        let leader_epoch = self.leader_epoch.load(Ordering::Acquire);
        let open = |index| {
            let partition = self.open_partition(record, index, config, None, (&mut report, 0))?;
            partition.begin_first_epoch(leader_epoch)?;
            Ok(partition)
        };
        indexes.map(open).collect()
    }

    /// Checks what [`LogStore::create_topic`] would check, and creates nothing.
    ///
    /// # Errors
    /// As for [`LogStore::create_topic`].
    pub fn check_topic(&self, name: &str, partitions: i32, overrides: &Overrides) -> Result<LogConfig, LogError> {
        self.check_open()?;
        topic::check_name(name)?;
        check_count(name, partitions)?;
        if self.topic(name).is_some() {
            return Err(LogError::TopicExists { topic: name.to_owned() });
        }
        if let Some(present) = self.colliding(name) {
            return Err(LogError::TopicCollides { topic: name.to_owned(), present });
        }
        self.config.defaults.with_overrides(overrides)
    }

    /// The topic whose name in metrics, where dots are underscores, would be the same.
    fn colliding(&self, name: &str) -> Option<String> {
        let in_metrics = name.replace('.', "_");
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.by_name.keys().find(|present| present.replace('.', "_") == in_metrics).cloned()
    }

    /// Checks what [`LogStore::create_partitions`] would check; answers the present count.
    ///
    /// # Errors
    /// As for [`LogStore::create_partitions`].
    pub fn check_growth(&self, name: &str, total: i32) -> Result<i32, LogError> {
        self.check_open()?;
        let present = self.existing(name)?.record().partitions;
        check_count(name, total)?;
        if total <= present {
            let reason = "it has as many or more, and none can be taken away";
            return Err(LogError::InvalidPartitions { topic: name.to_owned(), partitions: total, reason });
        }
        Ok(present)
    }

    /// Raises a topic's partition count to `total`.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::InvalidPartitions`] or a disk failure.
    pub fn create_partitions(&self, name: &str, total: i32) -> Result<Arc<Topic>, LogError> {
        let _admin = self.lock_admin();
        let present = self.check_growth(name, total)?;
        let topic = self.existing(name)?;
        topic.check_opened()?;
        let mut record = topic.record();
        record.partitions = total;
        let more = self.new_partitions(&record, present..total, &topic.config());
        let more = more.and_then(|more| record.save(self.disk(), &self.config.data_dir).map(|()| more));
        topic.add_partitions(more.inspect_err(|_| self.remove_partitions(&record, present))?);
        self.note_new_partitions(&topic);
        Ok(topic)
    }

    /// Directories left behind would bring the topic back after its deletion.
    fn remove_partitions(&self, record: &TopicRecord, present: i32) {
        let kept = usize::try_from(present).unwrap_or(0);
        let left = self.partition_directories(record).skip(kept).filter(|directory| directory.exists());
        for directory in left {
            if let Err(error) = self.disk().remove_directory(&directory) {
                tracing::error!(directory = %directory.display(), %error, "a partition that is none could not be removed");
            }
        }
    }

    /// Deletes a topic and its files.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`] or a disk failure.
    pub fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        let _admin = self.lock_admin();
        self.delete_locked(&*self.existing(name)?)
    }

    /// As [`LogStore::delete_topic`], of the topic with this id and no other of its name.
    pub(crate) fn delete_topic_by_id(&self, id: [u8; 16]) -> Result<(), LogError> {
        let _admin = self.lock_admin();
        let unknown = || LogError::UnknownTopic { topic: topic::encode_id(id) };
        self.delete_locked(&*self.topic_by_id(id).ok_or_else(unknown)?)
    }

    fn delete_locked(&self, topic: &Topic) -> Result<(), LogError> {
        self.check_open()?;
        let record = TopicRecord { state: TopicState::Deleting, ..topic.record() };
        self.with_reserve(|| record.save(self.disk(), &self.config.data_dir))?;
        {
            let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
            topics.by_name.remove(topic.name());
            topics.by_id.remove(&topic.id());
        }
        for partition in topic.partitions() {
            partition.mark_deleted();
            partition.remove_directory()?;
        }
        self.finish_deletion(&topic.record(), std::iter::empty())?;
        self.save_checkpoints()
    }

    pub(super) fn finish_deletion(
        &self,
        record: &TopicRecord,
        directories: impl Iterator<Item = PathBuf>,
    ) -> Result<(), LogError> {
        for directory in directories.filter(|directory| directory.exists()) {
            self.disk().remove_directory(&directory).map_err(LogError::storage("delete", directory))?;
        }
        let path = record.path(&self.config.data_dir);
        self.disk().remove(&path).map_err(LogError::storage("delete", path))
    }

    /// Replaces a topic's own settings; they are on the disk, and in force, when this returns.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::InvalidConfig`] or a disk failure.
    pub fn set_config(&self, name: &str, overrides: &Overrides) -> Result<(), LogError> {
        self.alter_config(name, Apply::Yes, |_, _| Ok(overrides.clone()))
    }

    /// Changes a topic's own settings: `change` is given those in force and the topic's own, and answers the new own ones.
    ///
    /// # Errors
    /// What `change` says, and as for [`LogStore::set_config`].
    pub fn alter_config(
        &self,
        name: &str,
        apply: Apply,
        change: impl FnOnce(&LogConfig, Overrides) -> Result<Overrides, LogError>,
    ) -> Result<(), LogError> {
        let _admin = self.lock_admin();
        self.check_open()?;
        let topic = self.existing(name)?;
        topic.check_opened()?;
        let overrides = change(&topic.config(), topic.overrides())?;
        let config = Arc::new(self.config.defaults.with_overrides(&overrides)?);
        if apply == Apply::Yes && overrides != topic.overrides() {
            // A shorter retention makes room.
            let record = TopicRecord { overrides: overrides.clone(), ..topic.record() };
            self.with_reserve(|| record.save(self.disk(), &self.config.data_dir))?;
            topic.set_settings(&config, overrides);
        }
        Ok(())
    }

    /// Moves a partition's start to `offset` (-1: its end) durably; answers the new start.
    ///
    /// Files go in the next housekeeping round.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`], an unknown partition, or a disk failure.
    pub fn delete_records(&self, topic: &str, index: i32, offset: i64) -> Result<i64, LogError> {
        let start = self.move_log_start(topic, index, offset)?;
        self.save_log_starts()?;
        Ok(start)
    }

    /// As [`LogStore::delete_records`], for many: durable once [`LogStore::save_log_starts`] has returned.
    pub(crate) fn move_log_start(&self, topic: &str, index: i32, offset: i64) -> Result<i64, LogError> {
        self.check_open()?;
        let unknown = || LogError::UnknownPartition { topic: topic.to_owned(), partition: index };
        let partition = self.existing(topic)?.partition(index).ok_or_else(unknown)?;
        self.with_reserve(|| partition.move_log_start(offset))
    }
}

fn check_count(topic: &str, partitions: i32) -> Result<(), LogError> {
    let reason = match partitions {
        ..=0 => "a topic has at least one",
        1..=MAX_PARTITIONS => return Ok(()),
        _ => "a topic has at most 10000",
    };
    Err(LogError::InvalidPartitions { topic: topic.to_owned(), partitions, reason })
}
