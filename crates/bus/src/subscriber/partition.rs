//! One partition's reading, in log order: records in, events out. No I/O.

mod chunks;
mod control;
mod entrance;
mod look_back;
mod record;

pub(crate) use record::{LogRecord, raw_record};

use super::event::{DeliveredFrame, Event, FrameRole, Notice, SubscriberStats};
use super::filter::CameraFilter;
use super::progress::{Marks, hash_parts};
use super::stream::{StreamState, Verdict};
use entrance::Admission;
use look_back::LookBack;
use lumenbus_frame::{CameraId, GapReason, StreamId, StreamName, TopicName};
use lumenbus_wire::{FrameRecord, Opened, StreamEntry, StreamState as EntryState, WireError, open_record};
use std::collections::HashMap;
use std::sync::Arc;

/// Most cameras whose names are remembered per partition; more come and go.
const MAX_CAMERAS: usize = 10_000;
/// Most streams read per partition; what comes beyond is ignored.
const MAX_STREAMS: usize = 10_000;

/// Who is skipped twice within this time is too slow to catch up from a keyframe behind the end.
pub(super) const SKIPPED_AGAIN_NANOS: i64 = 10_000_000_000;

/// How reading a partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// At offset 0: whatever is missing is a hole.
    OfTheLog,
    /// At the oldest record that retention left, or at a moment in between.
    Within,
    /// At the first record appended at or after a moment; each stream from the keyframe before it.
    Moment {
        /// Frames taken before it are prerolls.
        unix_nanos: i64,
    },
    /// At the live end.
    Live,
    /// Where the group left off.
    Resumed(Marks),
}

/// What a group's reader does about frames that were handed over before it took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preroll {
    /// Goes on in the middle of a GOP: for those who store coded frames.
    #[default]
    Skip,
    /// Hands the GOP's beginning over once more, marked [`FrameRole::Preroll`]: for those who decode.
    Deliver,
}
/// What the caller must do after a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on.
    Continue,
    /// Read again from this offset.
    Rewind { offset: i64 },
    /// Not yet: read this record again when the stream's old partition is done.
    Blocked { stream: StreamId, hash: u64, epoch: u64 },
}

/// Tells whether a stream's epoch may be read here, or must wait for its old partition.
pub(crate) trait Passport {
    /// Whether records of this epoch may be handed over now.
    fn may_enter(&self, stream: &StreamId, hash: u64, epoch: u64) -> bool;
    /// The stream's records of this epoch are elsewhere; nothing more of it comes here.
    fn moved_away(&self, hash: u64, epoch: u64);
}

struct Camera {
    id: CameraId,
    is_wanted: bool,
}

pub(crate) struct PartitionConfig {
    pub(crate) topic: TopicName,
    pub(crate) partition: i32,
    pub(crate) beginning: Beginning,
    /// Where reading begins; a rewind may go below.
    pub(crate) start: i64,
    pub(crate) filter: Arc<CameraFilter>,
    pub(crate) preroll: Preroll,
    pub(crate) max_frame_bytes: usize,
}

pub(crate) struct PartitionReader {
    config: PartitionConfig,
    cameras: HashMap<Box<[u8]>, Camera>,
    streams: HashMap<u64, StreamState>,
    /// Directory entries that hold from an offset on that was not reached yet.
    entries: HashMap<u64, StreamEntry>,
    /// Offset expected next.
    next_offset: i64,
    /// Offset after the furthest record read.
    frontier: i64,
    /// Retention has passed us at least once: a stream that comes into view may lack its beginning.
    has_jumped: bool,
    look_back: LookBack,
    /// When the caller skipped ahead last.
    skipped_unix_nanos: Option<i64>,
    told_foreign: bool,
    told_damaged: bool,
    pub(crate) stats: SubscriberStats,
    /// First offsets of chunked frames that began or were given up; for the progress.
    pub(crate) began: Vec<i64>,
    pub(crate) gave_up: Vec<i64>,
}
impl PartitionReader {
    pub(crate) fn new(config: PartitionConfig) -> Self {
        Self {
            next_offset: config.start,
            frontier: config.start,
            look_back: LookBack::new(config.start),
            config,
            cameras: HashMap::new(),
            streams: HashMap::new(),
            entries: HashMap::new(),
            has_jumped: false,
            skipped_unix_nanos: None,
            told_foreign: false,
            told_damaged: false,
            stats: SubscriberStats::default(),
            began: Vec::new(),
            gave_up: Vec::new(),
        }
    }

    pub(crate) fn frontier(&self) -> i64 {
        self.frontier
    }

    /// The caller seeks to this offset.
    pub(crate) fn rewound(&mut self, offset: i64) {
        self.next_offset = offset;
    }

    /// What was before the beginning is gone: streams may lack theirs.
    pub(crate) fn retention_passed(&mut self) {
        self.has_jumped = true;
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// When the longest-waiting incomplete frame got its last chunk, Unix nanoseconds.
    pub(crate) fn oldest_open_nanos(&self) -> Option<i64> {
        let open = self.streams.values().filter(|state| state.assembler.open().is_some());
        open.map(|state| state.last_chunk_nanos).min()
    }

    /// Gives up frames that got no chunk since this moment, although everything there is was read.
    pub(crate) fn expire_open_frames(&mut self, before_unix_nanos: i64) {
        for state in self.streams.values_mut().filter(|state| state.last_chunk_nanos < before_unix_nanos) {
            if let Some(open) = state.assembler.open() {
                self.gave_up.push(open_offset(open.first_offset));
                state.fail_open_frame();
            }
        }
    }

    /// Whether what is read at this offset moves the group on; a preroll does not.
    pub(crate) fn holds(&self, offset: i64) -> bool {
        !matches!(self.config.beginning, Beginning::Resumed(_)) || offset >= self.config.start
    }

    /// The caller skips ahead to the live end. Each stream goes on at its newest keyframe, or at its next one where the
    /// reader was skipped a moment ago already: it would not catch up.
    pub(crate) fn skipped(&mut self, offset: i64, now_unix_nanos: i64) {
        let last = self.skipped_unix_nanos.replace(now_unix_nanos);
        let resumes = last.is_none_or(|last| now_unix_nanos.saturating_sub(last) >= SKIPPED_AGAIN_NANOS);
        self.next_offset = offset;
        self.frontier = offset;
        self.config.start = offset;
        self.config.beginning = Beginning::Live;
        self.look_back = LookBack::new(offset);
        for state in self.streams.values_mut() {
            if let Some(open) = state.assembler.open() {
                self.gave_up.push(open_offset(open.first_offset));
            }
            state.fail_open_frame();
            state.skip_to_keyframe(GapReason::Lagging);
            state.resumes = resumes;
        }
    }

    /// As [`skipped`](Self::skipped), where each frame has one result in the group's life: what was passed over comes as
    /// preroll, on the way from the keyframe to the end.
    pub(crate) fn passed_over(&mut self, offset: i64, now_unix_nanos: i64) {
        let beginning = std::mem::replace(&mut self.config.beginning, Beginning::Live);
        self.skipped(offset, now_unix_nanos);
        let marks = if let Beginning::Resumed(marks) = beginning { marks } else { Marks::default() };
        self.config.beginning = Beginning::Resumed(marks);
    }

    /// Reads one record; events are appended in order.
    pub(crate) fn record<P: Passport>(&mut self, record: &LogRecord<'_>, passport: &P, out: &mut Vec<Event>) -> Step {
        self.stats.records += 1;
        if let Some(step) = self.look_back(record) {
            return step;
        }
        self.notice_jump(record.offset, out);
        let Some(key) = self.wanted_camera(record, out) else {
            self.passed(record.offset);
            return Step::Continue;
        };
        let step = match open_record(raw_record(record)) {
            Ok(opened) => self.opened(opened, &key, record, passport, out),
            Err(error) => {
                self.unreadable(&error, Some(&key), record.offset, out);
                Step::Continue
            }
        };
        if !matches!(step, Step::Blocked { .. }) {
            self.passed(record.offset);
        }
        step
    }

    /// The record's part in a search for keyframes; `None` when it is to be read.
    fn look_back(&mut self, record: &LogRecord<'_>) -> Option<Step> {
        if !self.look_back.is_under_way() {
            return None;
        }
        if self.look_back.look_at(record, &self.config.topic) {
            self.passed(record.offset);
            return Some(Step::Continue);
        }
        let offset = self.look_back.end_pass().filter(|offset| *offset != record.offset)?;
        Some(Step::Rewind { offset })
    }

    /// What the directory says of a stream on a topic without control records.
    pub(crate) fn directory(&mut self, camera: &CameraId, entry: StreamEntry, out: &mut Vec<Event>) {
        if entry.topic != self.config.topic || entry.next_offset.is_none() {
            return;
        }
        let hash =
            hash_parts(entry.topic.as_str().as_bytes(), camera.as_str().as_bytes(), entry.name.as_str().as_bytes());
        self.entries.insert(hash, entry);
        self.apply_entries(out);
    }

    /// Applies directory entries whose offset is reached.
    pub(crate) fn apply_entries(&mut self, out: &mut Vec<Event>) {
        if self.entries.is_empty() {
            return;
        }
        let frontier = u64::try_from(self.frontier).unwrap_or(0);
        let streams = &mut self.streams;
        self.entries.retain(|hash, entry| {
            let Some(state) = streams.get_mut(hash) else { return entry.next_offset > Some(frontier) };
            if entry.next_offset > Some(frontier) || entry.epoch > state.epoch {
                return true;
            }
            if entry.epoch == state.epoch {
                apply_entry(state, entry, out);
            }
            false
        });
    }

    fn passed(&mut self, offset: i64) {
        self.next_offset = offset.saturating_add(1);
        self.frontier = self.frontier.max(self.next_offset);
    }

    /// Frame topics are neither compacted nor transactional: a jump in offsets is retention passing us.
    fn notice_jump(&mut self, offset: i64, out: &mut Vec<Event>) {
        let lost = offset - self.frontier;
        if lost <= 0 {
            return;
        }
        let (topic, partition) = (self.config.topic.as_str().to_owned(), self.config.partition);
        out.push(Event::Notice(Notice::RetentionPassed { topic, partition, lost_records: lost }));
        self.has_jumped = true;
        for state in self.streams.values_mut() {
            if let Some(open) = state.assembler.open() {
                self.gave_up.push(open_offset(open.first_offset));
            }
            state.fail_open_frame();
            state.hole_reason = Some(GapReason::Retention);
        }
    }

    fn wanted_camera(&mut self, record: &LogRecord<'_>, out: &mut Vec<Event>) -> Option<CameraId> {
        let key = record.key.unwrap_or_default();
        if let Some(camera) = self.cameras.get(key) {
            return camera.is_wanted.then(|| camera.id.clone());
        }
        let Some(id) = std::str::from_utf8(key).ok().and_then(|text| CameraId::new(text).ok()) else {
            self.unreadable(&WireError::Foreign { header: "lb" }, None, record.offset, out);
            return None;
        };
        if self.cameras.len() >= MAX_CAMERAS {
            self.cameras.clear();
        }
        let is_wanted = self.config.filter.matches(id.as_str());
        self.cameras.insert(key.into(), Camera { id: id.clone(), is_wanted });
        is_wanted.then_some(id)
    }

    fn unreadable(&mut self, error: &WireError, camera: Option<&CameraId>, offset: i64, out: &mut Vec<Event>) {
        let is_foreign = matches!(error, WireError::Foreign { .. });
        let told = if is_foreign { &mut self.told_foreign } else { &mut self.told_damaged };
        if !std::mem::replace(told, true) {
            let (topic, partition) = (self.config.topic.as_str().to_owned(), self.config.partition);
            let reason = error.to_string();
            out.push(Event::Notice(Notice::UnreadableRecord { topic, partition, offset, reason }));
        }
        if is_foreign {
            self.stats.foreign += 1;
            return;
        }
        self.stats.damaged += 1;
        for state in self.streams.values_mut().filter(|state| camera == Some(&state.id.camera)) {
            state.hole_reason.get_or_insert(GapReason::RecordDamaged);
        }
    }

    fn opened<P: Passport>(
        &mut self,
        opened: Opened,
        camera: &CameraId,
        record: &LogRecord<'_>,
        passport: &P,
        out: &mut Vec<Event>,
    ) -> Step {
        match opened {
            Opened::Frame(frame) => self.frame(frame, camera, record, passport, out),
            Opened::Batch { items, .. } => {
                for item in items {
                    let frame = FrameRecord {
                        header: item.header,
                        header_bytes: item.header_bytes,
                        codec: item.codec,
                        payload: item.payload,
                    };
                    let step = self.frame(frame, camera, record, passport, out);
                    if step != Step::Continue {
                        return step;
                    }
                }
                Step::Continue
            }
            Opened::Chunk { header, header_bytes, part } => {
                self.chunk((header, header_bytes, part), camera, record, passport, out)
            }
            Opened::Control(control) => self.control(&control, camera, record, passport, out),
            _ => Step::Continue,
        }
    }

    fn frame<P: Passport>(
        &mut self,
        frame: FrameRecord,
        camera: &CameraId,
        record: &LogRecord<'_>,
        passport: &P,
        out: &mut Vec<Event>,
    ) -> Step {
        match self.admit(&frame.header, camera, record.offset, passport, out) {
            Admission::Passed(Verdict::Deliver, role) => {
                self.deliver(frame, camera, record, record.offset, role, out);
                Step::Continue
            }
            Admission::Passed(verdict, _) => {
                self.stats.repeats += u64::from(verdict == Verdict::Repeat);
                Step::Continue
            }
            Admission::Ignored => Step::Continue,
            Admission::Stop(step) => step,
        }
    }

    fn deliver(
        &mut self,
        frame: FrameRecord,
        camera: &CameraId,
        record: &LogRecord<'_>,
        first_offset: i64,
        role: FrameRole,
        out: &mut Vec<Event>,
    ) {
        let hash = self.hash(camera, frame.header.stream.as_ref());
        let Some(state) = self.streams.get_mut(&hash) else { return };
        if let Some(parameters) = &frame.header.parameters {
            state.parameters = Some(Arc::clone(parameters));
        }
        let trace = if first_offset == record.offset { record.trace() } else { state.open_trace.take() };
        self.stats.frames += 1;
        self.stats.bytes += frame.payload.len() as u64;
        out.push(Event::Frame(DeliveredFrame {
            stream: Arc::clone(&state.id),
            header: frame.header,
            header_bytes: frame.header_bytes,
            codec: frame.codec,
            payload: frame.payload,
            parameters: state.parameters.clone(),
            trace,
            role,
            partition: self.config.partition,
            offset: first_offset,
            append_unix_millis: record.append_unix_millis,
            received_unix_nanos: record.received_unix_nanos,
        }));
    }

    fn hash(&self, camera: &CameraId, stream: Option<&StreamName>) -> u64 {
        let name = stream.map_or(StreamName::MAIN, StreamName::as_str);
        hash_parts(self.config.topic.as_str().as_bytes(), camera.as_str().as_bytes(), name.as_bytes())
    }
}

fn open_offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

fn stream_id(topic: &TopicName, camera: &CameraId, name: Option<&StreamName>) -> StreamId {
    let name = name.cloned().unwrap_or_default();
    StreamId { camera: camera.clone(), topic: topic.clone(), name }
}
fn apply_entry(state: &mut StreamState, entry: &StreamEntry, out: &mut Vec<Event>) {
    state.explain_all(&entry.gaps, out);
    if let Some(range) = entry.repeat {
        state.repeat(range, &[], out);
    }
    match entry.state {
        EntryState::Ended => state.end(entry.last_seq, &[], out),
        EntryState::Offline => {
            let told = Some((entry.epoch, entry.updated_unix_nanos));
            if std::mem::replace(&mut state.offline_told, told) != told {
                out.push(Event::Offline {
                    stream: Arc::clone(&state.id),
                    epoch: state.epoch,
                    since_unix_nanos: entry.updated_unix_nanos,
                    reason: String::new(),
                });
            }
        }
        EntryState::Live => {}
    }
}
