mod changes;
mod ids;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::checkpoint::{self, CLEANER_OFFSETS, LOG_STARTS, Offsets, RECOVERY_POINTS};
use super::config::{LogConfig, StoreConfig};
use super::data_dir::{self, DirectoryLock};
use super::disk::Disk;
use super::epochs;
use super::error::LogError;
use super::format;
use super::housekeeping::Rounds;
use super::partition::{OpenPartition, Partition};
use super::reserve::Reserve;
use super::segment::Shared;
use super::topic::{self, Topic, TopicRecord, TopicState};

pub use changes::Apply;

/// What opening the store found and mended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The last stop was clean: nothing was scanned.
    pub clean: bool,
    /// Partitions, those offline among them.
    pub partitions: usize,
    /// Partitions whose files could not be opened.
    pub offline_partitions: usize,
    /// Segments found.
    pub segments: usize,
    /// Log bytes read to check what was written after the last checkpoint.
    pub scanned_bytes: u64,
    /// Bytes cut off as torn or damaged.
    pub truncated_bytes: u64,
    /// Index files written anew.
    pub rebuilt_indexes: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// One line for everything that was not as it should be.
    pub notes: Vec<String>,
}

/// All logs of one data directory.
#[derive(Debug)]
pub struct LogStore {
    pub(super) config: StoreConfig,
    pub(super) shared: Arc<Shared>,
    cluster_id: String,
    /// The leader epoch of this start.
    leader_epoch: AtomicI32,
    topics: RwLock<Topics>,
    /// One topic is created, changed or deleted at a time.
    admin: Mutex<()>,
    /// One checkpoint file is written at a time.
    checkpoints: Mutex<()>,
    pub(super) rounds: Mutex<Rounds>,
    pub(super) reserve: Reserve,
    closed: AtomicBool,
    lock: DirectoryLock,
}

/// All topics.
#[derive(Debug, Default)]
struct Topics {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<[u8; 16], Arc<Topic>>,
}

/// Topic files as a start finds them.
#[derive(Default)]
struct TopicFiles {
    whole: Vec<TopicRecord>,
    /// The topic's name, and what is wrong with its file.
    damaged: Vec<(String, String)>,
}

/// Partition directories by topic and partition.
type Directories = BTreeMap<String, BTreeMap<i32, PathBuf>>;

/// The data directory's checkpoints as a start finds them.
struct Checkpoints {
    recovery_points: Offsets,
    log_starts: Offsets,
    cleaner_offsets: Offsets,
}

impl LogStore {
    /// Opens (or creates) the data directory, locks it and recovers what the last stop left.
    ///
    /// # Errors
    /// [`LogError::DirectoryInUse`], [`LogError::BadFile`] or a disk failure.
    pub fn open(config: StoreConfig, now_ms: i64) -> Result<(Self, RecoveryReport), LogError> {
        let shared = Arc::new(Shared::new(&config));
        Self::open_with(config, shared, now_ms)
    }

    pub(super) fn open_with(
        config: StoreConfig,
        shared: Arc<Shared>,
        now_ms: i64,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let started = Instant::now();
        let (disk, data_dir) = (Arc::clone(&shared.disk), &config.data_dir);
        let lock = data_dir::lock(disk.as_ref(), data_dir)?;
        let reserve = Reserve::of(data_dir);
        reserve.lend(disk.as_ref(), || format::claim(disk.as_ref(), data_dir))?;
        let store = Self {
            cluster_id: reserve.lend(disk.as_ref(), || data_dir::cluster_id(disk.as_ref(), data_dir))?,
            leader_epoch: AtomicI32::new(0),
            shared,
            topics: RwLock::default(),
            admin: Mutex::default(),
            checkpoints: Mutex::default(),
            rounds: Mutex::new(Rounds::starting(now_ms)),
            reserve,
            closed: AtomicBool::new(false),
            lock,
            config,
        };
        let clean = data_dir::take_clean_marker(store.disk(), &store.config.data_dir)?;
        let mut report = RecoveryReport { clean, ..RecoveryReport::default() };
        store.load(&mut report, now_ms)?;
        store.begin_epoch()?;
        report.elapsed = started.elapsed();
        Ok((store, report))
    }

    fn load(&self, report: &mut RecoveryReport, now_ms: i64) -> Result<(), LogError> {
        let data_dir = &self.config.data_dir;
        let checkpoints = Checkpoints {
            recovery_points: lenient(&data_dir.join(RECOVERY_POINTS), report)?,
            log_starts: lenient(&data_dir.join(LOG_STARTS), report)?,
            cleaner_offsets: lenient(&data_dir.join(CLEANER_OFFSETS), report)?,
        };
        let (records, mut directories) = self.list()?;
        for (name, reason) in records.damaged {
            // With default settings, retention might delete what was to be kept for ever.
            let record = adopt(name.clone(), &directories.remove(&name).unwrap_or_default());
            self.load_offline(&record, &reason, &checkpoints, (&mut *report, now_ms))?;
        }
        let mut deleted = false;
        for record in records.whole {
            let own = directories.remove(&record.name).unwrap_or_default();
            if record.state == TopicState::Deleting {
                self.finish_deletion(&record, own.into_values())?;
                deleted = true;
            } else {
                self.load_topic(&record, &checkpoints, report, now_ms)?;
            }
        }
        for (name, own) in directories {
            let record = adopt(name, &own);
            report.notes.push(format!(
                "{}: no topic file; taken over, and kept for ever until retention.ms or retention.bytes is set",
                record.name
            ));
            self.with_reserve(|| record.save(self.disk(), data_dir))?;
            self.load_topic(&record, &checkpoints, report, now_ms)?;
        }
        if deleted { self.with_reserve(|| self.save_checkpoints()) } else { Ok(()) }
    }

    /// Begins a leader epoch above all that any log knows; it is on the disk before a client can see it.
    fn begin_epoch(&self) -> Result<(), LogError> {
        let partitions = self.all_partitions();
        let last = epochs::load_broker_epoch(&self.config.data_dir)?.unwrap_or(-1);
        let last = partitions.iter().fold(last, |last, partition| last.max(partition.newest_epoch()));
        let epoch = last.saturating_add(1);
        self.with_reserve(|| epochs::save_broker_epoch(self.disk(), &self.config.data_dir, epoch))?;
        self.leader_epoch.store(epoch, Ordering::Release);
        for partition in partitions {
            partition.begin_epoch(epoch);
        }
        Ok(())
    }

    /// Topic files, and partition directories by topic. Directories that Kafka was deleting are deleted.
    fn list(&self) -> Result<(TopicFiles, Directories), LogError> {
        let storage = |error| LogError::storage("list", &self.config.data_dir)(error);
        let mut records = TopicFiles::default();
        let mut directories = Directories::new();
        for entry in fs::read_dir(&self.config.data_dir).map_err(storage)? {
            let entry = entry.map_err(storage)?;
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str() else { continue };
            if !entry.file_type().map_err(storage)?.is_dir() {
                match TopicRecord::load(&path) {
                    Ok(record) => records.whole.extend(record),
                    Err(damaged) => records.damaged.push((topic::name_of_file(name), damaged.to_string())),
                }
            } else if name.ends_with("-delete") {
                self.disk().remove_directory(&path).map_err(LogError::storage("delete", path))?;
            } else if let Some((topic, index)) = topic::parse_directory_name(name) {
                directories.entry(topic.to_owned()).or_default().insert(index, path);
            }
        }
        records.whole.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((records, directories))
    }

    fn load_topic(
        &self,
        record: &TopicRecord,
        checkpoints: &Checkpoints,
        report: &mut RecoveryReport,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let config = match self.config.defaults.with_overrides(&record.overrides) {
            Ok(config) => Arc::new(config),
            Err(error) => {
                let reason = format!("{}: {error}", record.path(&self.config.data_dir).display());
                return self.load_offline(record, &reason, checkpoints, (report, now_ms));
            }
        };
        let mut partitions = Vec::new();
        for index in 0..record.partitions {
            let opened = self.with_reserve(|| {
                self.open_partition(record, index, &config, Some(checkpoints), (&mut *report, now_ms))
            });
            partitions.push(match opened {
                Ok(partition) => partition,
                // The others are none the worse for it.
                Err(error) => {
                    let place = self.describe(record, index, &config, Some(checkpoints), (&mut *report, now_ms));
                    Arc::new(place.unreadable(error.to_string())?)
                }
            });
        }
        report.partitions += partitions.len();
        self.insert(Topic::new(record, config, partitions));
        Ok(())
    }

    /// A topic of which nothing can be known before its file is mended.
    fn load_offline(
        &self,
        record: &TopicRecord,
        reason: &str,
        checkpoints: &Checkpoints,
        (report, now_ms): (&mut RecoveryReport, i64),
    ) -> Result<(), LogError> {
        let config = Arc::new(self.config.defaults.clone());
        let mut partitions = Vec::new();
        for index in 0..record.partitions {
            let place = self.describe(record, index, &config, Some(checkpoints), (&mut *report, now_ms));
            partitions.push(Arc::new(place.unreadable(reason.to_owned())?));
        }
        report.partitions += partitions.len();
        self.insert(Topic::new(record, config, partitions));
        Ok(())
    }

    fn open_partition(
        &self,
        record: &TopicRecord,
        index: i32,
        config: &Arc<LogConfig>,
        checkpoints: Option<&Checkpoints>,
        (report, now_ms): (&mut RecoveryReport, i64),
    ) -> Result<Arc<Partition>, LogError> {
        let open = self.describe(record, index, config, checkpoints, (report, now_ms));
        let directory = Arc::clone(&open.directory);
        let partition = open.open()?;
        topic::write_partition_metadata(self.disk(), &directory, record.id)?;
        Ok(Arc::new(partition))
    }

    fn describe<'a>(
        &self,
        record: &TopicRecord,
        index: i32,
        config: &Arc<LogConfig>,
        checkpoints: Option<&Checkpoints>,
        (report, now_ms): (&'a mut RecoveryReport, i64),
    ) -> OpenPartition<'a> {
        let key = (record.name.clone(), index);
        let directory: Arc<Path> = Arc::from(self.config.data_dir.join(format!("{}-{index}", record.name)));
        OpenPartition {
            topic: Arc::from(record.name.as_str()),
            index,
            directory,
            shared: Arc::clone(&self.shared),
            config: Arc::clone(config),
            // Of a new partition it is known that nothing was compacted.
            recovery_point: checkpoints.map_or(Some(0), |all| all.recovery_points.get(&key).copied()),
            log_start: checkpoints.and_then(|all| all.log_starts.get(&key).copied()),
            clean_offset: checkpoints.and_then(|all| all.cleaner_offsets.get(&key).copied()).unwrap_or(0),
            now_ms,
            report,
        }
    }

    /// The cluster id, made when the directory was created (`meta.properties`).
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Where everything is kept.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    /// What topics follow that have no settings of their own.
    #[must_use]
    pub fn defaults(&self) -> &LogConfig {
        &self.config.defaults
    }

    /// Bytes of the file system, and those of them that are free.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    pub fn disk_space(&self) -> Result<(u64, u64), LogError> {
        data_dir::disk_space(&self.config.data_dir).map(|space| (space.total_bytes, space.free_bytes))
    }

    /// All topics, in name order.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).by_name.values().cloned().collect()
    }

    /// One topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic_by_id(&self, id: [u8; 16]) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        self.topic(topic)?.partition(index)
    }

    /// Clean stop: flushes, snapshots, checkpoints, marks the directory clean. Later appends answer
    /// [`LogError::Closed`].
    ///
    /// # Errors
    /// A disk failure; the next open then recovers as after a crash.
    pub fn close(&self) -> Result<(), LogError> {
        let _admin = self.lock_admin();
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let _rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failure = None;
        for partition in self.all_partitions() {
            partition.shut();
            failure = partition.finish().err().or(failure);
        }
        self.save_checkpoints()?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        data_dir::put_clean_marker(self.disk(), &self.config.data_dir)?;
        // Nothing is written from here on, so the next broker need not wait until the last reader has let go.
        self.lock.release().map_err(LogError::storage("unlock", self.config.data_dir.as_path()))
    }

    pub(super) fn all_partitions(&self) -> Vec<Arc<Partition>> {
        self.topics().iter().flat_map(|topic| topic.partitions()).collect()
    }

    fn save_checkpoints(&self) -> Result<(), LogError> {
        self.save_recovery_points()?;
        self.save_log_starts()?;
        self.save_cleaner_offsets()
    }

    pub(super) fn save_recovery_points(&self) -> Result<(), LogError> {
        self.save(RECOVERY_POINTS, Partition::known_recovery_point)
    }

    pub(crate) fn save_log_starts(&self) -> Result<(), LogError> {
        // They go before files do, which makes room.
        self.with_reserve(|| self.save(LOG_STARTS, Partition::explicit_log_start))
    }

    pub(super) fn save_cleaner_offsets(&self) -> Result<(), LogError> {
        self.save(CLEANER_OFFSETS, |partition| Some(partition.clean_offset()).filter(|offset| *offset > 0))
    }

    fn save(&self, file: &str, offset: impl Fn(&Partition) -> Option<i64>) -> Result<(), LogError> {
        let _checkpoints = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let offsets: Offsets = self
            .all_partitions()
            .iter()
            .filter_map(|partition| Some(((partition.topic().to_owned(), partition.index()), offset(partition)?)))
            .collect();
        checkpoint::write_offsets(self.disk(), &self.config.data_dir.join(file), &offsets)
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        self.shared.disk.as_ref()
    }

    /// Does what a start cannot do without, or what is to make room, also on a full disk.
    fn with_reserve<T>(&self, work: impl FnMut() -> Result<T, LogError>) -> Result<T, LogError> {
        self.reserve.lend(self.disk(), work)
    }

    pub(super) fn check_open(&self) -> Result<(), LogError> {
        if self.closed.load(Ordering::SeqCst) { Err(LogError::Closed) } else { Ok(()) }
    }

    fn existing(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        self.topic(name).ok_or_else(|| LogError::UnknownTopic { topic: name.to_owned() })
    }

    fn insert(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.by_id.insert(topic.id(), Arc::clone(&topic));
        topics.by_name.insert(topic.name().to_owned(), Arc::clone(&topic));
        topic
    }

    fn lock_admin(&self) -> MutexGuard<'_, ()> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A damaged checkpoint costs a longer recovery, not the start.
fn lenient(path: &Path, report: &mut RecoveryReport) -> Result<Offsets, LogError> {
    match checkpoint::read_offsets(path) {
        Err(damaged @ LogError::BadFile { .. }) => {
            tracing::warn!(%damaged, "checkpoint ignored");
            report.notes.push(damaged.to_string());
            Ok(Offsets::new())
        }
        read => read,
    }
}

/// The record of a topic of which only partition directories are left (or that Kafka wrote, whose settings are in its
/// own metadata): nothing of it is deleted before somebody says so.
fn adopt(name: String, directories: &BTreeMap<i32, PathBuf>) -> TopicRecord {
    let id = directories.values().find_map(|directory| topic::read_partition_metadata(directory));
    TopicRecord {
        name,
        id: id.unwrap_or_else(data_dir::random_id),
        partitions: directories.keys().last().map_or(1, |last| last + 1),
        overrides: ["retention.ms", "retention.bytes"].map(|name| (name.to_owned(), "-1".to_owned())).into(),
        state: TopicState::Live,
    }
}
