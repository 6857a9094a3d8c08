//! What the records of `lumenbus.cameras` add up to.

use lumenbus_frame::{CameraId, IdError, StreamId};
use lumenbus_wire::{CameraEntry, StreamEntry, WireError};
use std::collections::BTreeMap;

/// Cameras kept in memory; records of further ones are counted and left out.
pub const MAX_CAMERAS: usize = 10_000;
/// All entries together, in encoded bytes.
const MAX_TOTAL_BYTES: usize = 64 << 20;

/// One record of the directory, as every callback sees it.
#[derive(Debug, Clone)]
pub struct DirectoryEvent {
    /// Whose entry it is.
    pub camera: CameraId,
    /// The record as read, which may be older in part than what is known: a publisher that finds its own stream here
    /// with a lower epoch, or not at all, writes its entry again. Empty when the camera was removed (a null value).
    pub entry: CameraEntry,
    /// What is known after it: per stream the highest epoch.
    pub merged: CameraEntry,
    /// The record's offset in `lumenbus.cameras`.
    pub offset: i64,
}

impl DirectoryEvent {
    /// A stream of this camera in the record as read.
    #[must_use]
    pub fn stream(&self, id: &StreamId) -> Option<&StreamEntry> {
        if id.camera == self.camera { find(&self.entry, id) } else { None }
    }
}

/// Why a record was left out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it has no key")]
    NoKey,
    #[error("its key is no camera id: {0}")]
    Key(#[source] IdError),
    #[error("its value is not a camera entry: {0}")]
    Value(#[source] WireError),
    #[error("with what is known of the camera it is beyond the limits of an entry: {0}")]
    Merged(#[source] WireError),
    #[error("the directory is full ({MAX_CAMERAS} cameras, {MAX_TOTAL_BYTES} bytes)")]
    Full,
}

#[derive(Debug, Default)]
struct Known {
    entry: CameraEntry,
    encoded_bytes: usize,
}

/// Every camera known so far.
#[derive(Debug, Default)]
pub(super) struct Cameras {
    known: BTreeMap<CameraId, Known>,
    encoded_bytes: usize,
}

impl Cameras {
    pub(super) fn get(&self, camera: &CameraId) -> Option<&CameraEntry> {
        self.known.get(camera).map(|known| &known.entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&CameraId, &CameraEntry)> {
        self.known.iter().map(|(camera, known)| (camera, &known.entry))
    }

    /// Takes a record in log order.
    pub(super) fn apply(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        offset: i64,
    ) -> Result<DirectoryEvent, Refused> {
        let camera = camera_of(key)?;
        let Some(value) = value else {
            return Ok(self.remove(camera, offset));
        };
        let entry = CameraEntry::decode(value).map_err(Refused::Value)?;
        let mut merged = self.get(&camera).cloned().unwrap_or_default();
        merged.merge(entry.clone());
        self.insert(&camera, merged.clone())?;
        Ok(DirectoryEvent { camera, entry, merged, offset })
    }

    fn insert(&mut self, camera: &CameraId, entry: CameraEntry) -> Result<(), Refused> {
        let encoded_bytes = entry.encode().map_err(Refused::Merged)?.len();
        let before = self.known.get(camera).map_or(0, |known| known.encoded_bytes);
        let total = self.encoded_bytes - before + encoded_bytes;
        let is_new = !self.known.contains_key(camera);
        if total > MAX_TOTAL_BYTES || (is_new && self.known.len() >= MAX_CAMERAS) {
            return Err(Refused::Full);
        }
        self.encoded_bytes = total;
        self.known.insert(camera.clone(), Known { entry, encoded_bytes });
        Ok(())
    }

    fn remove(&mut self, camera: CameraId, offset: i64) -> DirectoryEvent {
        if let Some(known) = self.known.remove(&camera) {
            self.encoded_bytes -= known.encoded_bytes;
        }
        DirectoryEvent { camera, entry: CameraEntry::default(), merged: CameraEntry::default(), offset }
    }
}

fn camera_of(key: Option<&[u8]>) -> Result<CameraId, Refused> {
    // A key that is not UTF-8 becomes one with U+FFFD, which no camera id may hold.
    let text = String::from_utf8_lossy(key.ok_or(Refused::NoKey)?);
    CameraId::new(&text).map_err(Refused::Key)
}

/// A camera's stream in an entry.
pub(super) fn find<'a>(entry: &'a CameraEntry, id: &StreamId) -> Option<&'a StreamEntry> {
    entry.streams.iter().find(|stream| stream.topic == id.topic && stream.name == id.name)
}

/// Puts a stream into an entry in place of what is there under its topic and name.
pub(super) fn put(entry: &mut CameraEntry, stream: StreamEntry) {
    let is_same = |known: &&mut StreamEntry| known.topic == stream.topic && known.name == stream.name;
    match entry.streams.iter_mut().find(is_same) {
        Some(known) => *known = stream,
        None => entry.streams.push(stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{Codec, Epoch, StreamName, TopicName};
    use lumenbus_wire::StreamState;

    fn stream(topic: &str, epoch: u64, partition: u32) -> StreamEntry {
        StreamEntry {
            topic: TopicName::new(topic).unwrap(),
            name: StreamName::main(),
            partition,
            epoch: Epoch(epoch),
            codec: Codec::Jpeg,
            state: StreamState::Live,
            last_seq: None,
            gaps: Vec::new(),
            next_offset: None,
            updated_unix_nanos: 0,
            parameters: None,
            repeat: None,
            moved_from: None,
        }
    }

    fn value(streams: Vec<StreamEntry>) -> Vec<u8> {
        CameraEntry { streams, ..CameraEntry::default() }.encode().unwrap().to_vec()
    }

    fn id(camera: &str, topic: &str) -> StreamId {
        StreamId::main(CameraId::new(camera).unwrap(), TopicName::new(topic).unwrap())
    }

    #[test]
    fn the_highest_epoch_wins_whatever_the_offset_and_the_event_shows_both() {
        let mut cameras = Cameras::default();
        cameras.apply(Some(b"gate"), Some(&value(vec![stream("t", 9, 1)])), 0).unwrap();
        let late = cameras.apply(Some(b"gate"), Some(&value(vec![stream("t", 5, 2)])), 1).unwrap();
        assert_eq!(late.stream(&id("gate", "t")).unwrap().epoch, Epoch(5), "as read");
        assert_eq!(find(&late.merged, &id("gate", "t")).unwrap().partition, 1, "as known");
        assert_eq!(late.stream(&id("other", "t")), None);
    }

    #[test]
    fn a_stream_missing_from_a_concurrent_write_is_kept() {
        let mut cameras = Cameras::default();
        cameras.apply(Some(b"gate"), Some(&value(vec![stream("a", 1, 0)])), 0).unwrap();
        cameras.apply(Some(b"gate"), Some(&value(vec![stream("b", 1, 0)])), 1).unwrap();
        let gate = cameras.get(&CameraId::new("gate").unwrap()).unwrap();
        assert!(find(gate, &id("gate", "a")).is_some() && find(gate, &id("gate", "b")).is_some());
    }

    #[test]
    fn a_null_value_removes_the_camera() {
        let mut cameras = Cameras::default();
        cameras.apply(Some(b"gate"), Some(&value(vec![stream("a", 1, 0)])), 0).unwrap();
        let event = cameras.apply(Some(b"gate"), None, 1).unwrap();
        assert!(event.entry.streams.is_empty());
        assert_eq!(cameras.iter().count(), 0);
        assert_eq!(cameras.encoded_bytes, 0);
    }

    /// Key and value.
    type Foreign<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

    #[test]
    fn foreign_records_are_refused_and_change_nothing() {
        let mut cameras = Cameras::default();
        cameras.apply(Some(b"gate"), Some(&value(vec![stream("a", 1, 0)])), 0).unwrap();
        let huge = vec![0; 10 << 20];
        let hostile: &[Foreign<'_>] = &[
            (None, Some(b"x")),
            (Some(b""), Some(b"")),
            (Some(b"a/b"), Some(b"")),
            (Some(b"\xff\xfe"), Some(b"")),
            (Some(b"gate"), Some(b"{\"json\": true}")),
            (Some(b"gate"), Some(&huge)),
            (Some(b"gate"), Some(b"")),
        ];
        for (offset, (key, value)) in hostile.iter().enumerate() {
            let refused = cameras.apply(*key, *value, 1 + i64::try_from(offset).unwrap());
            assert!(refused.is_err(), "{key:?}: {refused:?}");
        }
        assert_eq!(cameras.get(&CameraId::new("gate").unwrap()).unwrap().streams.len(), 1);
    }

    #[test]
    fn cameras_beyond_the_limit_are_left_out() {
        let mut cameras = Cameras::default();
        let value = value(Vec::new());
        for number in 0..MAX_CAMERAS {
            cameras.apply(Some(format!("c{number}").as_bytes()), Some(&value), 0).unwrap();
        }
        assert!(matches!(cameras.apply(Some(b"one-more"), Some(&value), 0), Err(Refused::Full)));
        assert!(cameras.apply(Some(b"c0"), Some(&value), 0).is_ok(), "known ones go on");
    }
}
