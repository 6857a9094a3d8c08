//! Which partitions this instance reads, and in which one a moved stream may be read yet.

use super::news::Entry;
use super::partition::Passport;
use super::progress::stream_hash;
use super::queue::{PartitionShared, lock};
use crate::Directory;
use lumenbus_frame::{CameraId, StreamId};
use lumenbus_wire::{CameraEntry, StreamEntry};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Most moved streams remembered.
const MAX_MOVES: usize = 10_000;

/// Shared by all consumers of a subscriber.
pub(crate) struct Places {
    directory: Directory,
    held: Mutex<HashMap<(String, i32), Arc<PartitionShared>>>,
    /// Per stream, the highest epoch whose old partition is done with.
    arrived: Mutex<HashMap<u64, u64>>,
    /// Old partition by stream and epoch: the directory itself only knows the last move.
    moves: Mutex<HashMap<(u64, u64), u32>>,
}

impl Places {
    pub(crate) fn new(directory: Directory) -> Self {
        Self { directory, held: Mutex::default(), arrived: Mutex::default(), moves: Mutex::default() }
    }

    pub(crate) fn hold(&self, partition: Arc<PartitionShared>) {
        lock(&self.held).insert((partition.topic.clone(), partition.partition), partition);
    }

    pub(crate) fn release(&self, topic: &str, partition: i32) {
        lock(&self.held).remove(&(topic.to_owned(), partition));
    }

    pub(crate) fn held(&self) -> Vec<Arc<PartitionShared>> {
        lock(&self.held).values().cloned().collect()
    }

    /// Every stream that the directory knows.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let streams = |(camera, entry): (CameraId, CameraEntry)| {
            entry.streams.into_iter().map(move |stream| (camera.clone(), stream))
        };
        self.directory.cameras().into_iter().flat_map(streams).collect()
    }

    /// The old partition of this stream's epoch, when this instance reads it and must finish it first.
    pub(crate) fn old_partition(&self, stream: &StreamId, epoch: u64, here: i32) -> Option<Arc<PartitionShared>> {
        let old = i32::try_from(self.moved_from(stream, epoch)?).ok().filter(|old| *old != here)?;
        lock(&self.held).get(&(stream.topic.as_str().to_owned(), old)).cloned()
    }

    /// The directory says that a stream has moved.
    pub(crate) fn remember_move(&self, camera: &CameraId, entry: &StreamEntry) {
        let Some(old) = entry.moved_from else { return };
        let stream = StreamId { camera: camera.clone(), topic: entry.topic.clone(), name: entry.name.clone() };
        let mut moves = lock(&self.moves);
        if moves.len() >= MAX_MOVES {
            moves.clear();
        }
        moves.insert((stream_hash(&stream), entry.epoch.0), old);
    }

    fn moved_from(&self, stream: &StreamId, epoch: u64) -> Option<u32> {
        if let Some(entry) = self.directory.stream(stream).filter(|entry| entry.epoch.0 == epoch) {
            return entry.moved_from;
        }
        lock(&self.moves).get(&(stream_hash(stream), epoch)).copied()
    }

    pub(crate) fn has_arrived(&self, hash: u64, epoch: u64) -> bool {
        lock(&self.arrived).get(&hash).is_some_and(|arrived| *arrived >= epoch)
    }

    pub(crate) fn arrive(&self, hash: u64, epoch: u64) {
        let mut arrived = lock(&self.arrived);
        if arrived.len() >= MAX_MOVES {
            arrived.clear();
        }
        let newest = arrived.entry(hash).or_default();
        *newest = (*newest).max(epoch);
    }
}

/// One partition's view of the places.
pub(crate) struct At<'a> {
    pub(crate) places: &'a Places,
    pub(crate) partition: i32,
}

impl Passport for At<'_> {
    fn may_enter(&self, stream: &StreamId, hash: u64, epoch: u64) -> bool {
        self.places.has_arrived(hash, epoch) || self.places.old_partition(stream, epoch, self.partition).is_none()
    }

    fn moved_away(&self, hash: u64, epoch: u64) {
        self.places.arrive(hash, epoch);
    }
}

/// Whether everything of a partition below this offset was read.
pub(crate) fn is_past(partition: &PartitionShared, offset: i64) -> bool {
    partition.is_revoked.load(Ordering::Acquire) || partition.frontier.load(Ordering::Acquire) >= offset
}
