//! What goes from one owner of a stream to the next: in the newest committed result, where its frame stands in its second,
//! and in the newest feature record how the camera is and which frame began the next second.

use super::Window;
use super::presence::Presence;
use super::second::OpenSecond;
use crate::health::HealthWatch;
use lumenbus_bus::results::{TailEnd, TailReader, TailRecord, TailWaiter};
use lumenbus_bus::subscriber::Reading;
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_frame::{CameraId, Epoch, FrameId, Seq, StreamId, TopicName};
use lumenbus_wire::{Features, MAX_WINDOW_BYTES};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Header of a result with what the next owner needs to go on.
pub(super) const SECOND_HEADER: &str = "lb-second";
/// Longest value of it that is read or written.
const MAX_SECOND_BYTES: usize = 32 * 1024;
/// Records that are gone back over at a time in each of the two topics: at once in any case, and again for a stream that is
/// not among them, since a partition may have many that write more.
const STRETCH: i64 = 4_096;
const MAX_STRETCHES: u32 = 16;
/// No further stretch is read after so many bytes.
const MAX_BYTES: usize = 16 << 20;
/// Records that do not come in this time are asked for again from the beginning.
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
pub(super) fn from_header(header: &[u8], group: &str) -> Option<Found> {
    let carried = read_header(header, group)?;
    Some(Found { second: carried.second.into_owned(), presence: carried.present.into_owned() })
}

/// As JSON in the window of a feature record: how it is after this second.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Left<'a> {
    /// The frame that began the next second; it may have no result that says so. None when the stream ended.
    next: Option<Next>,
    pub(super) health: Cow<'a, HealthWatch>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    epoch: u64,
    seq: u64,
    unix_nanos: i64,
}

/// At most 4 KiB.
pub(super) fn to_window(health: &HealthWatch, next: Option<(FrameId, i64)>) -> Vec<u8> {
    let next = next.map(|(id, unix_nanos)| Next { epoch: id.epoch.0, seq: id.seq.0, unix_nanos });
    serde_json::to_vec(&Left { next, health: Cow::Borrowed(health) }).unwrap_or_default()
}

pub(super) fn from_window(window: &[u8]) -> Option<Left<'_>> {
    let left: Left<'_> = (window.len() <= MAX_WINDOW_BYTES).then(|| serde_json::from_slice(window).ok())??;
    left.health.is_sound().then_some(left)
}

pub(super) struct Found {
    pub(super) second: OpenSecond,
    pub(super) presence: Presence,
}

impl Found {
    /// What was under way when the last owner stopped; none where the stream ended.
    pub(super) fn go_on(self, features: Option<&Features>) -> Option<Self> {
        let last = self.second.last();
        let Some(features) = features.filter(|features| (features.epoch, features.last_seq) >= (last.epoch, last.seq))
        else {
            return Some(self);
        };
        // This second was written: with the stream's end, or with a frame that need not have a result.
        let Next { epoch, seq, unix_nanos } = from_window(&features.window)?.next?;
        let id = FrameId { epoch: Epoch(epoch), seq: Seq(seq) };
        let mut second = OpenSecond::new(id, unix_nanos);
        second.add(id, unix_nanos, None);
        Some(Self { second, ..self })
    }
}

/// How far back a topic's partition was read.
#[derive(Debug, Clone, Copy, Default)]
struct Reach {
    /// What lies before this offset was not read; none: all was.
    before: Option<i64>,
    stretches: u32,
    bytes: usize,
}

impl Reach {
    /// Whether it was read, and may be read further.
    fn goes_on(&self) -> bool {
        self.stretches == 0 || (self.before.is_some() && self.stretches < MAX_STRETCHES && self.bytes < MAX_BYTES)
    }
}

/// What is known of the streams of one partition.
#[derive(Default)]
struct Known {
    seconds: HashMap<StreamId, Found>,
    features: HashMap<StreamId, Features>,
    results_reach: Reach,
    features_reach: Reach,
    /// What lies further back is older than what they were given.
    taken: HashSet<StreamId>,
}

impl Known {
    /// Of the newest stretch nothing is older; what a further one adds is.
    fn merge<T>(known: &mut HashMap<StreamId, T>, older: HashMap<StreamId, T>, taken: &HashSet<StreamId>) {
        for (stream, one) in older {
            if !taken.contains(&stream) {
                known.entry(stream).or_insert(one);
            }
        }
    }
}

/// Which stream is taken over, and where.
pub(super) struct Heir<'a> {
    pub(super) stream: &'a StreamId,
    pub(super) partition: i32,
    pub(super) reading: Option<Reading>,
    /// When its first frame here was taken.
    pub(super) unix_nanos: i64,
    /// It begins here: what lies far back is not looked for.
    pub(super) is_new: bool,
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

    /// Where the last owner of this stream stopped; none when `waiter` gave up.
    pub(super) fn take(&mut self, heir: &Heir<'_>, waiter: &dyn TailWaiter) -> Result<Option<Window>, BusError> {
        let Heir { stream, partition, unix_nanos, .. } = *heir;
        let place = (stream.topic.clone(), partition);
        let mut known = match self.partitions.remove(&place) {
            Some((reading, known)) if reading == heir.reading => known,
            _ => Known::default(),
        };
        if !self.look_for(heir, &mut known, waiter)? {
            return Ok(None);
        }
        let (found, features) = (known.seconds.remove(stream), known.features.remove(stream));
        known.taken.insert(stream.clone());
        self.partitions.insert(place, (heir.reading.clone(), known));
        // In the stream's first second it is as it has been since that began.
        let mut window = Window::new(found.as_ref().map_or(unix_nanos, |found| found.second.first_unix_nanos()));
        if let Some(left) = features.as_ref().and_then(|features| from_window(&features.window)) {
            window.health = left.health.into_owned();
        }
        if let Some(Found { second, presence }) = found.and_then(|found| found.go_on(features.as_ref())) {
            (window.second, window.presence) = (Some(second), presence);
        }
        Ok(Some(window))
    }

    /// Reads back until the stream is found, or as far as anybody does. `false` when the waiter gave up.
    fn look_for(&mut self, heir: &Heir<'_>, known: &mut Known, waiter: &dyn TailWaiter) -> Result<bool, BusError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => TailReader::open(&self.bus, PATIENCE)?,
        };
        let goes_back = !heir.is_new && !known.taken.contains(heir.stream);
        let wants = |reach: &Reach, is_known: bool| reach.stretches == 0 || (goes_back && !is_known && reach.goes_on());
        let group = &*self.group;
        while wants(&known.results_reach, known.seconds.contains_key(heir.stream)) {
            let mut older = HashMap::new();
            let reach = read_back(&reader, &self.results, heir.partition, known.results_reach, waiter, |record| {
                if let Some((stream, found)) = from_record(record, group) {
                    older.insert(stream, found);
                }
            })?;
            let Some(reach) = reach else { return Ok(false) };
            known.results_reach = reach;
            Known::merge(&mut known.seconds, older, &known.taken);
        }
        while wants(&known.features_reach, known.features.contains_key(heir.stream)) {
            let mut older = HashMap::new();
            let reach = read_back(&reader, &self.features, heir.partition, known.features_reach, waiter, |record| {
                match Features::decode_json(record.value()) {
                    Ok(features) if features.group == group => {
                        older.insert(features.stream.clone(), features);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "no feature record"),
                }
            })?;
            let Some(reach) = reach else { return Ok(false) };
            known.features_reach = reach;
            Known::merge(&mut known.features, older, &known.taken);
        }
        self.reader = Some(reader);
        Ok(true)
    }
}

/// One stretch further back; none when the waiter gave up.
fn read_back(
    reader: &TailReader,
    topic: &TopicName,
    partition: i32,
    mut reach: Reach,
    waiter: &dyn TailWaiter,
    mut take: impl FnMut(&TailRecord<'_>),
) -> Result<Option<Reach>, BusError> {
    let end = reader.read(topic, partition, (reach.before, STRETCH), waiter, |record| {
        reach.bytes += record.value().len() + record.header(SECOND_HEADER).map_or(0, <[u8]>::len);
        take(record);
    })?;
    let TailEnd::Read { before } = end else { return Ok(None) };
    (reach.before, reach.stretches) = (before, reach.stretches + 1);
    Ok(Some(reach))
}
