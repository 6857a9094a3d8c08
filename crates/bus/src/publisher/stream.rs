//! One stream of a publisher, shared between its handle and the publisher's threads.

use crate::control::Wish;
use crate::publisher::account::EntryFacts;
use crate::publisher::core::StreamCore;
use crate::publisher::hub::lock;
use lumenbus_frame::{Codec, StreamId, StreamParameters};
use lumenbus_wire::{CameraEntry, StreamEntry, StreamState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What the directory is told of a stream besides where it is.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// How its frames are coded.
    pub codec: Codec,
    /// What a decoder must know; the keyframes tell it as well.
    pub parameters: Option<Arc<StreamParameters>>,
    /// The camera, as people know it.
    pub camera: CameraDescription,
    /// Where the stream begins; `None`: where the directory has it, else murmur2 of the camera id.
    pub partition: Option<u32>,
}

impl StreamOptions {
    /// Nothing but the codec.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self { codec, parameters: None, camera: CameraDescription::default(), partition: None }
    }
}

/// What the directory tells people of a camera. `None` keeps what it has; empty takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CameraDescription {
    /// Its display name.
    pub name: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// All of its labels, key and value.
    pub labels: Option<Vec<(String, String)>>,
}

impl CameraDescription {
    pub(crate) fn put(&self, entry: &mut CameraEntry) {
        if let Some(name) = &self.name {
            entry.name.clone_from(name);
        }
        if let Some(group) = &self.group {
            entry.group.clone_from(group);
        }
        if let Some(labels) = &self.labels {
            entry.labels.clone_from(labels);
        }
    }
}

pub(crate) struct Stream {
    pub(crate) number: u32,
    pub(crate) id: StreamId,
    pub(crate) partitions: u32,
    /// Where the stream was before it was opened here.
    pub(crate) past_partition: Option<u32>,
    pub(crate) core: Mutex<StreamCore>,
    pub(crate) options: StreamOptions,
    /// As it was opened with, or as it was described since.
    pub(crate) description: Mutex<CameraDescription>,
    pub(crate) is_waiting: AtomicBool,
    pub(crate) is_entry_queued: AtomicBool,
    pub(crate) is_in_trouble: AtomicBool,
    pub(crate) is_clock_wrong: AtomicBool,
    /// Ended, or being so: its entry is no longer refreshed.
    pub(crate) is_finished: AtomicBool,
    /// Its handle is gone.
    pub(crate) is_abandoned: AtomicBool,
    pub(crate) steps_seen: AtomicU64,
    /// An epoch that is being written to the directory and not yet in use; 0: none.
    pub(crate) announcing: AtomicU64,
    pub(crate) wish: Wish,
    progress: Condvar,
    watchers: AtomicUsize,
}

impl Stream {
    pub(crate) fn new(number: u32, core: StreamCore, options: StreamOptions, partitions: u32, steps: u64) -> Self {
        Self {
            past_partition: None,
            number,
            description: Mutex::new(options.camera.clone()),
            id: core.id.clone(),
            partitions,
            core: Mutex::new(core),
            options,
            is_waiting: AtomicBool::new(false),
            is_entry_queued: AtomicBool::new(false),
            is_in_trouble: AtomicBool::new(false),
            is_clock_wrong: AtomicBool::new(false),
            is_finished: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
            steps_seen: AtomicU64::new(steps),
            announcing: AtomicU64::new(0),
            wish: Wish::default(),
            progress: Condvar::new(),
            watchers: AtomicUsize::new(0),
        }
    }

    /// Wakes whoever waits for acknowledgements; costs nothing when nobody does.
    pub(crate) fn progressed(&self) {
        if self.watchers.load(Ordering::Acquire) > 0 {
            let core = lock(&self.core);
            self.progress.notify_all();
            drop(core);
        }
    }

    /// Waits until `is_done`, at most so long.
    pub(crate) fn wait_until(&self, wait: Duration, is_done: impl Fn(&StreamCore) -> bool) {
        self.watchers.fetch_add(1, Ordering::AcqRel);
        let core = lock(&self.core);
        let waited = self.progress.wait_timeout_while(core, wait, |core| !is_done(core));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The directory's entry of a stream.
pub(crate) fn stream_entry(
    id: &StreamId,
    options: &StreamOptions,
    facts: EntryFacts,
    state: StreamState,
    now_unix_nanos: i64,
) -> StreamEntry {
    StreamEntry {
        topic: id.topic.clone(),
        name: id.name.clone(),
        partition: facts.partition,
        epoch: facts.epoch,
        codec: options.codec,
        state,
        last_seq: facts.last_seq,
        gaps: facts.gaps,
        next_offset: facts.next_offset,
        updated_unix_nanos: now_unix_nanos,
        parameters: options.parameters.clone(),
        repeat: facts.repeat,
        moved_from: facts.moved_from,
    }
}

/// Puts a stream into its camera's entry; the higher epoch of somebody else stays, and is returned.
pub(crate) fn put_entry(
    entry: &mut CameraEntry,
    description: &CameraDescription,
    stream: StreamEntry,
) -> Option<lumenbus_frame::Epoch> {
    let is_same = |known: &&mut StreamEntry| known.topic == stream.topic && known.name == stream.name;
    match entry.streams.iter_mut().find(is_same) {
        Some(known) if known.epoch > stream.epoch => return Some(known.epoch),
        Some(known) => *known = stream,
        None => entry.streams.push(stream),
    }
    description.put(entry);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays_and_what_is_empty_goes() {
        let some = |text: &str| Some(text.to_owned());
        let label = |key: &str| (key.to_owned(), "1".to_owned());
        let mut entry = CameraEntry::default();
        let all = CameraDescription { name: some("Gate"), group: some("yard"), labels: Some(vec![label("a")]) };
        all.put(&mut entry);
        CameraDescription::default().put(&mut entry);
        assert_eq!((entry.name.as_str(), entry.group.as_str(), entry.labels.len()), ("Gate", "yard", 1));
        CameraDescription { name: some(""), group: None, labels: Some(vec![label("b")]) }.put(&mut entry);
        assert_eq!((entry.name.as_str(), entry.group.as_str(), entry.labels), ("", "yard", vec![label("b")]));
    }
}
