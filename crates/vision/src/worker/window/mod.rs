//! What goes beside results: a feature record of each second, the camera's health, and events.
//!
//! Frames come here when they are submitted, in the order of their stream, and what follows from a frame is submitted with it:
//! so it is committed together with the frame's result and offset, or not at all. Between frames everything is in the
//! header of the last result and in the last feature record ([`carried`]).

mod carried;
mod presence;
mod second;
#[cfg(test)]
mod tests;

use super::desk::{Done, Outcome, What};
use crate::features::Look;
use crate::health::HealthWatch;
use carried::{Heir, Inheritance, SECOND_HEADER};
use lumenbus_bus::results::{Output, ResultRecord, TailWaiter};
use lumenbus_bus::subscriber::Reading;
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_frame::{Epoch, FrameId, StreamId, TopicName};
use lumenbus_wire::{CameraEvent, EventKind, Features, content_type};
use presence::Presence;
use second::OpenSecond;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What was seen in a picture.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) look: Option<Look>,
    /// Class and score of what has a confirmed track.
    pub(super) objects: Vec<(Arc<str>, f32)>,
}

impl Seen {
    fn counts(&self) -> BTreeMap<Arc<str>, u32> {
        let mut counts = BTreeMap::new();
        for (class, _) in &self.objects {
            *counts.entry(Arc::clone(class)).or_insert(0) += 1;
        }
        counts
    }

    fn best_score(&self, class: &str) -> f32 {
        let scores = self.objects.iter().filter(|(of, _)| **of == *class).map(|(_, score)| *score);
        scores.fold(0.0, f32::max)
    }
}

/// What is known of one stream.
pub(super) struct Window {
    second: Option<OpenSecond>,
    presence: Presence,
    health: HealthWatch,
}

impl Window {
    fn new(unix_nanos: i64) -> Self {
        Self { second: None, presence: Presence::default(), health: HealthWatch::new(unix_nanos) }
    }

    /// Takes the next frame: the record of the second before, when it ends with this frame, and what happened.
    fn frame(&mut self, stream: &StreamId, id: FrameId, unix_nanos: i64, seen: Option<&Seen>) -> Written {
        let mut written = Written::default();
        if self.second.as_ref().is_some_and(|second| !second.holds(id, unix_nanos)) {
            self.close(stream, Some((id, unix_nanos)), &mut written);
        }
        if let Some(seen) = seen {
            let events = self.presence.see(unix_nanos, seen).into_iter();
            written.events.extend(events.map(|kind| CameraEvent::new(stream.clone(), id, unix_nanos, kind)));
        }
        self.second.get_or_insert_with(|| OpenSecond::new(id, unix_nanos)).add(id, unix_nanos, seen);
        written
    }

    /// The stream is over in this epoch, or away for who knows how long. One that is read once more when the stream is in
    /// another epoch already was heeded then.
    fn end(&mut self, stream: &StreamId, epoch: Epoch) -> Written {
        let mut written = Written::default();
        if self.second.as_ref().is_some_and(|second| second.last().epoch != epoch) {
            return written;
        }
        let last = self.second.as_ref().map(|second| (second.last(), second.last_unix_nanos()));
        self.close(stream, None, &mut written);
        let Some((id, unix_nanos)) = last else { return written };
        let events = self.presence.end().into_iter();
        written.events.extend(events.map(|kind| CameraEvent::new(stream.clone(), id, unix_nanos, kind)));
        written
    }

    /// `next`: the frame that begins another second.
    fn close(&mut self, stream: &StreamId, next: Option<(FrameId, i64)>, written: &mut Written) {
        let Some(second) = self.second.take() else { return };
        if let Some(change) = second.look().and_then(|look| self.health.second(&look)) {
            let kind = EventKind::Health {
                state: change.state,
                previous: change.previous,
                lasted_millis: (change.previous != lumenbus_wire::HealthState::Ok).then_some(change.lasted_millis),
            };
            written.events.push(CameraEvent::new(stream.clone(), second.last(), second.last_unix_nanos(), kind));
        }
        let mut features = second.features(stream.clone(), "");
        features.health = self.health.health();
        features.window = carried::to_window(&self.health, next).into();
        written.features.push(features);
    }
}

/// What is to be written with a frame.
#[derive(Debug, Default, PartialEq)]
struct Written {
    features: Vec<Features>,
    events: Vec<CameraEvent>,
}

/// The windows of all streams of a worker.
pub(super) struct Windows {
    group: Arc<str>,
    inheritance: Inheritance,
    /// By the desk's keys, each with the partition that its records go to.
    windows: HashMap<u64, (i32, Window)>,
}

impl Windows {
    pub(super) fn new(bus: BusConfig, results: TopicName, features: TopicName, group: &str) -> Self {
        let group: Arc<str> = group.into();
        let inheritance = Inheritance::new(bus, results, features, Arc::clone(&group));
        Self { group, inheritance, windows: HashMap::new() }
    }

    /// What is to be submitted with this frame or event; none when `waiter` gave up waiting for what the last owner left.
    ///
    /// # Errors
    /// When what the last owner left cannot be read.
    pub(super) fn records(
        &mut self,
        key: u64,
        stream: &StreamId,
        done: &Done,
        outcome: Outcome,
        waiter: &dyn TailWaiter,
    ) -> Result<Option<Vec<ResultRecord>>, BusError> {
        let Outcome { mut result, seen } = outcome;
        let written = match &done.what {
            What::Frame { is_preroll: true, .. } | What::Nothing => Written::default(),
            What::Ended { epoch } => {
                let reading = done.receipt.reading();
                if let Some(partition) = reading.as_ref().map(Reading::partition)
                    && !self.windows.contains_key(&key)
                {
                    let taken = self
                        .inheritance
                        .take(&Heir { stream, partition, reading, unix_nanos: 0, is_new: false }, waiter)?;
                    let Some(window) = taken else { return Ok(None) };
                    self.windows.insert(key, (partition, window));
                }
                self.windows.get_mut(&key).map(|(_, window)| window.end(stream, *epoch)).unwrap_or_default()
            }
            What::Frame { id, partition, unix_nanos, .. } => {
                let (id, unix_nanos) = (*id, *unix_nanos);
                if !self.windows.contains_key(&key) {
                    let reading = done.receipt.reading();
                    let (partition, is_new) = (*partition, id.seq.0 == 0);
                    let heir = Heir { stream, partition, reading, unix_nanos, is_new };
                    let taken = self.inheritance.take(&heir, waiter)?;
                    let Some(window) = taken else { return Ok(None) };
                    self.windows.insert(key, (partition, window));
                }
                let Some((at, window)) = self.windows.get_mut(&key) else {
                    return Ok(Some(result.into_iter().collect()));
                };
                *at = *partition;
                let written = window.frame(stream, id, unix_nanos, seen.as_ref());
                if let Some(result) = &mut result {
                    let header = carried::to_header(window, stream, &self.group);
                    result.header = header.map(|header| (SECOND_HEADER, header.into()));
                }
                written
            }
        };
        let partition = self.windows.get(&key).map_or(0, |(partition, _)| *partition);
        let mut records: Vec<_> = result.into_iter().collect();
        records.extend(self.encoded(written, stream, partition));
        Ok(Some(records))
    }

    fn encoded(&self, written: Written, stream: &StreamId, frame_partition: i32) -> Vec<ResultRecord> {
        let group = &*self.group;
        let features = written.features.into_iter().map(|features| {
            let features = Features { group: group.to_owned(), ..features };
            (Output::Features, content_type::FEATURES_JSON, features.encode_json())
        });
        let events = written.events.into_iter().map(|event| {
            let event = CameraEvent { group: group.to_owned(), ..event };
            (Output::Events, content_type::EVENT_JSON, event.encode_json())
        });
        let mut records = Vec::new();
        for (output, content_type, value) in features.chain(events) {
            match value {
                Ok(value) => {
                    let key = stream.camera.to_string();
                    records.push(ResultRecord { output, header: None, key, frame_partition, content_type, value });
                }
                Err(error) => tracing::warn!(%stream, %error, "a feature record or event cannot be written"),
            }
        }
        records
    }

    /// Others have this stream now.
    pub(super) fn forget(&mut self, key: u64) {
        self.windows.remove(&key);
    }
}
