//! Where keyframes are: finding a moment of a stream, and where there is footage.
//!
//! Publishers write an entry to `lumenbus.index` for each keyframe. [`IndexReader`] finds a moment by the index, checks
//! what it finds at the frames themselves, and does without an index where there is none. `docs/design/index.md` says
//! what may be relied on and what it costs.

mod bracket;
mod coverage;
mod entries;
mod frames;
mod log;
mod peek;
mod search;

use crate::topics::INDEX;
use crate::{BusConfig, BusError, Directory};
use coverage::Window;
pub(crate) use entries::last_entry;
pub(crate) use frames::Ahead;
use frames::{FrameHint, FrameSearch};
pub(crate) use log::LogReader;
pub(crate) use log::{PATIENCE, is_lasting};
use lumenbus_frame::{Epoch, FrameId, StreamId};
use lumenbus_wire::{IndexPosition, StreamEntry, StreamState};
use search::Search;
use std::fmt;

/// A keyframe in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyframeAt {
    /// Epoch and seq.
    pub id: FrameId,
    /// When it was taken, Unix nanoseconds.
    pub capture_unix_nanos: i64,
    /// Its partition.
    pub partition: i32,
    /// Offset of its first record.
    pub offset: i64,
    /// Bytes of its payload; of a keyframe in chunks, of all of them.
    pub bytes: u64,
    /// When the broker appended its first record, Unix milliseconds; `None` where only the index was read.
    pub append_unix_millis: Option<i64>,
    /// The index entry of the keyframe before, where it is known.
    previous: Option<IndexPosition>,
}

/// Where there is footage between two moments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// Stretches of capture time with footage, oldest first; what lies between is a gap.
    pub spans: Vec<Span>,
    /// Keyframes in capture order, thinned where there are more than asked for.
    pub keyframes: Vec<KeyframeAt>,
    /// Whether everything in between was looked at; otherwise spans and gaps are as exact as the keyframes are dense.
    pub is_complete: bool,
}

/// A stretch of capture time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Capture time of its first keyframe, Unix nanoseconds.
    pub from_unix_nanos: i64,
    /// Where it ends; the end of the last GOP is estimated.
    pub to_unix_nanos: i64,
}

/// What the last call has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LookupCost {
    /// Records of the index.
    pub index_records: u64,
    /// Records, of index and frames.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Places that were gone to.
    pub reads: u64,
    /// Questions for offsets.
    pub questions: u64,
}

/// Finds moments of streams.
///
/// Synchronous: each call asks the broker and waits, at most 10 s for one answer. Nothing is joined or committed.
///
/// ```no_run
/// use lumenbus_bus::{BusConfig, index::IndexReader};
/// use lumenbus_frame::StreamId;
///
/// let config = BusConfig::new("127.0.0.1:9092");
/// let stream = StreamId::main("gate-7".parse()?, config.topic_prefix.topic("raw_video"));
/// let mut index = IndexReader::open(&config)?;
/// for keyframe in index.find(&stream, 1_750_000_000_000_000_000)? {
///     println!("offset {} of partition {}", keyframe.offset, keyframe.partition);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct IndexReader {
    directory: Directory,
    log: LogReader,
    /// The index.
    topic: String,
    /// 0: not known to be there.
    index_partitions: u32,
}

impl IndexReader {
    /// Connects and reads the directory.
    ///
    /// # Errors
    /// An unusable broker, a directory that cannot be read.
    pub fn open(config: &BusConfig) -> Result<Self, BusError> {
        crate::probe(config)?;
        let directory = Directory::open_reading(config)?;
        let topic = config.topic_prefix.topic(INDEX).to_string();
        Ok(Self { directory, log: LogReader::open(config)?, topic, index_partitions: 0 })
    }

    /// The keyframe at or before a capture time; newest first when the capture time occurs more than once, because a
    /// clock was set. Empty when the log holds nothing of the stream as old as that.
    ///
    /// # Errors
    /// A broker that does not answer, a topic that does not exist or may not be read.
    pub fn find(&mut self, stream: &StreamId, capture_unix_nanos: i64) -> Result<Vec<KeyframeAt>, BusError> {
        self.log.begin_lookup();
        let Some(entry) = self.directory.stream(stream) else { return Ok(Vec::new()) };
        let stopped_millis = stopped_millis(&entry);
        if let Some(mut search) = self.search(stream, stopped_millis)? {
            match search.find(entry.partition, capture_unix_nanos) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                Err(error) => self.do_without(&error),
            }
        }
        for partition in self.partitions(stream) {
            let mut frames = FrameSearch { log: &mut self.log, stream };
            let hint = FrameHint::of(capture_unix_nanos);
            if let Some(found) = frames.at_or_stopped(partition, capture_unix_nanos, hint, stopped_millis)? {
                return Ok(vec![found]);
            }
        }
        Ok(Vec::new())
    }

    /// The keyframe before this one, in the order of the log.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn before(&mut self, stream: &StreamId, keyframe: &KeyframeAt) -> Result<Option<KeyframeAt>, BusError> {
        self.log.begin_lookup();
        if let Some(mut search) = self.search(stream, None)? {
            match search.before(keyframe) {
                Ok(None) => {}
                Ok(found) => return Ok(found.filter(|found| found.id < keyframe.id)),
                Err(error) => self.do_without(&error),
            }
        }
        FrameSearch { log: &mut self.log, stream }.before(keyframe)
    }

    /// The stream's last frame before this keyframe in its partition, without one the last one of all, as far as a
    /// bounded look back reaches: `None` says that none is near. Delta frames count, which the index does not know.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn last_frame_before(
        &mut self,
        stream: &StreamId,
        keyframe: Option<&KeyframeAt>,
    ) -> Result<Option<FrameId>, BusError> {
        self.log.begin_lookup();
        if let Some(keyframe) = keyframe {
            let mut frames = FrameSearch { log: &mut self.log, stream };
            return Ok(frames.last(keyframe.partition, Some(keyframe.offset), None)?.map(|seen| seen.id));
        }
        let stopped_millis = self.directory.stream(stream).and_then(|entry| stopped_millis(&entry));
        let mut newest = None;
        for partition in self.partitions(stream) {
            let mut frames = FrameSearch { log: &mut self.log, stream };
            newest = newest.max(frames.last(partition, None, stopped_millis)?.map(|seen| seen.id));
        }
        Ok(newest)
    }

    /// Where there is footage between two moments, with at most so many keyframes; the work is bounded, however long the
    /// time and however many cameras there are.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn coverage(
        &mut self,
        stream: &StreamId,
        from_unix_nanos: i64,
        to_unix_nanos: i64,
        max_keyframes: usize,
    ) -> Result<Coverage, BusError> {
        self.log.begin_lookup();
        let partitions = self.partitions(stream);
        let window = Window { from_unix_nanos, to_unix_nanos, max_keyframes };
        if let Some(mut search) = self.search(stream, None)? {
            match coverage::from_index(&mut search.entries(), &partitions, window) {
                Ok(None) => {}
                Ok(Some(coverage)) => return Ok(coverage),
                Err(error) => self.do_without(&error),
            }
        }
        coverage::from_frames(&mut FrameSearch { log: &mut self.log, stream }, &partitions, window)
    }

    /// `None` without an index.
    fn search<'a>(
        &'a mut self,
        stream: &'a StreamId,
        stopped_millis: Option<i64>,
    ) -> Result<Option<Search<'a>>, BusError> {
        if self.index_partitions == 0 {
            self.index_partitions = self.log.partitions(&self.topic)?;
        }
        let (topic, partitions) = (self.topic.as_str(), self.index_partitions);
        Ok((partitions > 0).then_some(Search { log: &mut self.log, topic, partitions, stream, stopped_millis }))
    }

    /// The index cannot be read: perhaps it is gone, and comes back with another number of partitions.
    fn do_without(&mut self, error: &BusError) {
        tracing::debug!(%error, "without the index");
        self.index_partitions = 0;
    }

    /// Where the stream is, and where it was before.
    fn partitions(&self, stream: &StreamId) -> Vec<i32> {
        let Some(entry) = self.directory.stream(stream) else { return Vec::new() };
        let partitions = std::iter::once(entry.partition).chain(entry.moved_from);
        partitions.filter_map(|partition| i32::try_from(partition).ok()).collect()
    }

    /// Looks from an offset on for the stream's first record of an epoch, at most a few records far.
    pub(crate) fn look_for_epoch(
        &mut self,
        stream: &StreamId,
        partition: i32,
        from: i64,
        epoch: Epoch,
    ) -> Result<Ahead, BusError> {
        let cost = self.log.cost;
        let ahead = FrameSearch { log: &mut self.log, stream }.ahead(partition, from, epoch);
        self.log.cost = cost;
        ahead
    }

    /// What the last call has read.
    #[must_use]
    pub fn last_cost(&self) -> LookupCost {
        self.log.cost
    }

    /// What the directory says of all cameras.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

/// When a stream ended or went off: beside busy cameras nothing else leads to one that is off.
fn stopped_millis(entry: &StreamEntry) -> Option<i64> {
    (entry.state != StreamState::Live).then_some(entry.updated_unix_nanos / 1_000_000)
}

impl fmt::Debug for IndexReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexReader").field("cost", &self.log.cost).finish_non_exhaustive()
    }
}
