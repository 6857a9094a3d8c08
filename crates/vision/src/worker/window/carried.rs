//! What goes from one owner of a stream to the next: in the newest committed result, where its frame stands in its second,
//! and in the newest feature record how the camera is.

use super::presence::Presence;
use super::second::OpenSecond;
use super::{Window, health_of};
use lumenbus_bus::results::{TailReader, TailRecord};
use lumenbus_bus::subscriber::Reading;
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_frame::{CameraId, StreamId, TopicName};
use lumenbus_wire::Features;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Header of a result with what the next owner needs to go on.
pub(super) const SECOND_HEADER: &str = "lb-second";
/// Longest value of it that is read or written.
const MAX_SECOND_BYTES: usize = 32 * 1024;
/// Records that are gone back over in each of the two topics.
const TAIL: i64 = 4_096;
/// A transaction that a dead worker left open ends in this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of this form.
const VERSION: u32 = 1;

/// As JSON in the header of a result: everything up to its frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Carried<'a> {
    version: u32,
    group: Cow<'a, str>,
    topic: Cow<'a, str>,
    stream: Cow<'a, str>,
    second: Cow<'a, OpenSecond>,
    present: Cow<'a, Presence>,
}

/// The header's value, where there is something to carry.
pub(super) fn to_header(window: &Window, stream: &StreamId, group: &str) -> Option<Vec<u8>> {
    let carried = Carried {
        version: VERSION,
        group: group.into(),
        topic: stream.topic.as_str().into(),
        stream: stream.name.as_str().into(),
        second: Cow::Borrowed(window.second.as_ref()?),
        present: Cow::Borrowed(&window.presence),
    };
    serde_json::to_vec(&carried).ok().filter(|bytes| bytes.len() <= MAX_SECOND_BYTES)
}

fn read_header<'a>(header: &'a [u8], group: &str) -> Option<Carried<'a>> {
    let carried: Carried<'_> = (header.len() <= MAX_SECOND_BYTES).then(|| serde_json::from_slice(header).ok())??;
    let is_sound = carried.version == VERSION && carried.second.is_sound() && carried.present.is_sound();
    (is_sound && carried.group == group).then_some(carried)
}

fn from_record(record: &TailRecord<'_>, group: &str) -> Option<(StreamId, Found)> {
    let carried = read_header(record.header(SECOND_HEADER)?, group)?;
    let stream = StreamId {
        camera: CameraId::new(std::str::from_utf8(record.key()).ok()?).ok()?,
        topic: carried.topic.parse().ok()?,
        name: carried.stream.parse().ok()?,
    };
    Some((stream, Found { second: carried.second.into_owned(), presence: carried.present.into_owned() }))
}

#[cfg(test)]
pub(super) fn from_header(header: &[u8], group: &str) -> Option<(OpenSecond, Presence)> {
    let carried = read_header(header, group)?;
    Some((carried.second.into_owned(), carried.present.into_owned()))
}

struct Found {
    second: OpenSecond,
    presence: Presence,
}

/// What is known of the streams of one partition.
#[derive(Default)]
struct Known {
    seconds: HashMap<StreamId, Found>,
    features: HashMap<StreamId, Features>,
}

/// Reads what others left, once for each reading of a partition.
pub(super) struct Inheritance {
    bus: BusConfig,
    results: TopicName,
    features: TopicName,
    group: Arc<str>,
    reader: Option<TailReader>,
    partitions: HashMap<(TopicName, i32), (Option<Reading>, Known)>,
}

impl Inheritance {
    pub(super) fn new(bus: BusConfig, results: TopicName, features: TopicName, group: Arc<str>) -> Self {
        Self { bus, results, features, group, reader: None, partitions: HashMap::new() }
    }

    /// Where the last owner of this stream stopped.
    pub(super) fn take(
        &mut self,
        stream: &StreamId,
        partition: i32,
        reading: Option<Reading>,
        unix_nanos: i64,
    ) -> Result<Window, BusError> {
        let place = (stream.topic.clone(), partition);
        if self.partitions.get(&place).is_none_or(|(known, _)| *known != reading) {
            let known = self.read(partition)?;
            self.partitions.insert(place.clone(), (reading, known));
        }
        let Some((_, known)) = self.partitions.get_mut(&place) else { return Ok(Window::new(unix_nanos)) };
        let (found, features) = (known.seconds.remove(stream), known.features.remove(stream));
        // In the stream's first second it is as it has been since that began.
        let mut window = Window::new(found.as_ref().map_or(unix_nanos, |found| found.second.first_unix_nanos()));
        if let Some(health) = features.as_ref().and_then(|features| health_of(&features.window)) {
            window.health = health;
        }
        if let Some(Found { second, presence }) = found {
            let last = second.last();
            // The stream ended, and its last second was written then.
            let is_written =
                features.is_some_and(|features| features.epoch == last.epoch && features.last_seq >= last.seq);
            if !is_written {
                (window.second, window.presence) = (Some(second), presence);
            }
        }
        Ok(window)
    }

    fn read(&mut self, partition: i32) -> Result<Known, BusError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => TailReader::open(&self.bus, PATIENCE)?,
        };
        let (mut known, group) = (Known::default(), &*self.group);
        reader.read(&self.results, partition, TAIL, |record| {
            if let Some((stream, found)) = from_record(record, group) {
                known.seconds.insert(stream, found);
            }
        })?;
        reader.read(&self.features, partition, TAIL, |record| match Features::decode_json(record.value()) {
            Ok(features) if features.group == group => {
                known.features.insert(features.stream.clone(), features);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "no feature record"),
        })?;
        self.reader = Some(reader);
        Ok(known)
    }
}
