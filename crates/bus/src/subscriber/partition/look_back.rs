//! The keyframe behind a frame that does not name it: looked for before the place where reading began.
//!
//! A frame names its keyframe once that is acknowledged. Until then, in a burst or right after an epoch began, a reader
//! that starts in the middle has to find it. Passes over the records before the beginning, the nearest first, note the
//! newest keyframe of every stream and do nothing else; one search serves all streams of the partition. A stream's
//! keyframe after the beginning needs none: it is the first that the reader sees of the stream.

use super::{LogRecord, raw_record};
use crate::subscriber::progress::hash_parts;
use lumenbus_frame::{FrameId, StreamName, TopicName};
use lumenbus_wire::{Header, KeyframeHint, Opened, open_record};
use std::collections::HashMap;

/// Records before the beginning that are looked at, per beginning. What waits for its keyframe's acknowledgement fits
/// into the publisher's windows, where a record costs at least 1 KiB: 4 MiB a stream, 32 MiB in all.
const MAX_RECORDS: i64 = 1_024;
/// Bytes of them: a reader of large frames is better off with the next keyframe.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Records in the first pass; each further one reaches four times as far.
const FIRST_PASS: i64 = 64;

/// A keyframe in the log.
#[derive(Debug, Clone, Copy)]
struct Found {
    id: FrameId,
    offset: i64,
}

/// A stretch of the log that is being looked at.
#[derive(Debug, Clone, Copy)]
struct Pass {
    until: i64,
    /// Where reading goes on afterwards.
    back_to: i64,
    /// The stream whose keyframe is looked for.
    hash: u64,
}

/// Where the GOP of a stream's first record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GopStart {
    /// With this keyframe.
    At(KeyframeHint),
    /// To be looked for from this offset on; then the record is asked about again.
    LookFrom(i64),
    /// Nobody knows, or with the record itself.
    Unknown,
}

/// The search before one beginning.
#[derive(Debug)]
pub(super) struct LookBack {
    start: i64,
    /// From here to `start` everything was looked at.
    from: i64,
    pass: Option<Pass>,
    bytes: usize,
    newest: HashMap<u64, Found>,
}

impl LookBack {
    pub(super) fn new(start: i64) -> Self {
        Self { start, from: start, pass: None, bytes: 0, newest: HashMap::new() }
    }

    /// Where reading began.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// Where the GOP of this record begins: as it says, or as the search says; a hint that points forward would skip
    /// records of others.
    pub(super) fn gop_start(&mut self, header: &Header, hash: u64, offset: i64) -> GopStart {
        if header.is_keyframe || header.control.is_some() || header.id.seq.0 == 0 {
            return GopStart::Unknown;
        }
        let is_behind = |hint: &KeyframeHint| hint.offset < offset.unsigned_abs() && hint.seq < header.id.seq;
        if let Some(hint) = header.keyframe {
            return if is_behind(&hint) { GopStart::At(hint) } else { GopStart::Unknown };
        }
        self.keyframe_before(header, hash, offset)
    }

    /// The last keyframe of the record's stream and epoch before reading began, as the search says.
    pub(super) fn keyframe_before(&mut self, header: &Header, hash: u64, offset: i64) -> GopStart {
        if let Some(found) = self.newest.get(&hash) {
            let hint = KeyframeHint { seq: found.id.seq, offset: found.offset.unsigned_abs() };
            let is_behind = hint.offset < offset.unsigned_abs() && hint.seq < header.id.seq;
            let is_ours = found.id.epoch == header.id.epoch && is_behind;
            return if is_ours { GopStart::At(hint) } else { GopStart::Unknown };
        }
        self.next_pass(hash, offset).map_or(GopStart::Unknown, GopStart::LookFrom)
    }

    /// Whether the search knows a newer keyframe of the stream than this one.
    pub(super) fn has_newer(&self, hash: u64, id: FrameId) -> bool {
        self.newest.get(&hash).is_some_and(|found| found.id > id)
    }

    /// Whether records are only looked at.
    pub(super) fn is_under_way(&self) -> bool {
        self.pass.is_some()
    }

    /// Looks at a record; `false` when it lies beyond the pass, which then [ends](Self::end_pass).
    pub(super) fn look_at(&mut self, record: &LogRecord<'_>, topic: &TopicName) -> bool {
        if self.pass.is_none_or(|pass| record.offset >= pass.until) || self.bytes > MAX_BYTES {
            return false;
        }
        self.bytes += record.value.map_or(0, <[u8]>::len);
        if let Some(header) = keyframe_header(record) {
            let name = header.stream.as_ref().map_or(StreamName::MAIN, StreamName::as_str);
            let key = record.key.unwrap_or_default();
            let found = Found { id: header.id, offset: record.offset };
            let hash = hash_parts(topic.as_str().as_bytes(), key, name.as_bytes());
            let newest = self.newest.entry(hash).or_insert(found);
            if newest.id < found.id {
                *newest = found;
            }
        }
        true
    }

    /// The pass is over: where to read on, the next pass or the record that began the search.
    pub(super) fn end_pass(&mut self) -> Option<i64> {
        let pass = self.pass.take()?;
        let is_found = self.newest.contains_key(&pass.hash);
        let next = if is_found { None } else { self.next_pass(pass.hash, pass.back_to) };
        Some(next.unwrap_or(pass.back_to))
    }

    fn next_pass(&mut self, hash: u64, back_to: i64) -> Option<i64> {
        let until = self.from;
        let reached = self.start - until;
        let reach = if reached == 0 { FIRST_PASS } else { (reached * 4).min(MAX_RECORDS) };
        let from = self.start.saturating_sub(reach).max(0);
        if from >= until || self.bytes > MAX_BYTES {
            return None;
        }
        self.from = from;
        self.pass = Some(Pass { until, back_to, hash });
        Some(from)
    }
}

/// The header of a record with which a GOP begins.
fn keyframe_header(record: &LogRecord<'_>) -> Option<Header> {
    let header = match open_record(raw_record(record)).ok()? {
        Opened::Frame(frame) => frame.header,
        Opened::Batch { items, .. } => items.into_iter().next()?.header,
        Opened::Chunk { header, .. } => header,
        _ => return None,
    };
    header.is_keyframe.then_some(header)
}
