//! What a stream sends next, and the headers of it.

use crate::publisher::core::{Now, StreamCore, TopicKind, Unit, UnitKind};
use crate::publisher::outgoing::{Outgoing, OutgoingParts};
use crate::publisher::run::{Run, Stage};
use bytes::Bytes;
use lumenbus_frame::{CaptureTime, FrameId, Gap, Seq};
use lumenbus_lanes::QueuedFrame;
use lumenbus_wire::{BatchWriter, Control, Envelope, FrameRef, Header, HeaderPlace, MAX_BATCH_FRAMES, content_type};
use std::time::Duration;

/// Room for a frame's own header inside a batch.
const BATCH_ITEM_BYTES: usize = 256;
/// Room for the batch record's header, gaps included.
const BATCH_HEADER_BYTES: usize = 16 * 1024;

/// When frames travel together in one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most this many frames.
    pub frames: usize,
    /// At most this many bytes of payload.
    pub bytes: usize,
    /// A frame waits at most this long for others.
    pub wait: Duration,
}

impl BatchLimits {
    /// What the profile `throughput` does: small frames wait as long as its records would (`linger.ms`).
    pub const THROUGHPUT: Self = Self { frames: 64, bytes: 64 * 1024, wait: Duration::from_millis(5) };
}

/// Vectors that are used again for every record.
#[derive(Debug, Default)]
pub(crate) struct ComposeScratch {
    gaps: Vec<Gap>,
}

impl ComposeScratch {
    pub(crate) fn give_back(&mut self, outgoing: Outgoing) {
        self.gaps = outgoing.into_gaps();
        self.gaps.clear();
    }
}

impl StreamCore {
    /// Makes the next unit ready to be sent; `false` when there is nothing to send now.
    pub(crate) fn compose(&mut self, now: Now) -> bool {
        loop {
            let Some(run) = self.runs.front_mut() else {
                return false;
            };
            run.lane.expire(now.monotonic_nanos);
            if let Some(note) = run.due_note() {
                self.compose_control(note.control, note.before, now);
                return true;
            }
            if !run.lane.is_empty() {
                let frames = self.ripe_frames(now);
                return frames > 0 && self.has_window() && self.compose_frames(frames, now);
            }
            match self.advance_closing(now) {
                Advance::Composed => return true,
                Advance::Again => {}
                Advance::Nothing => return false,
            }
        }
    }

    /// Whether the stream's own window takes the first frame, or its first part.
    fn has_window(&self) -> bool {
        let front = self.runs.front().and_then(|run| run.lane.peek());
        let bytes = front.map_or(0, |entry| entry.frame.payload.len()).min(self.limits.form.limit_bytes);
        self.in_flight_bytes() == 0 || self.in_flight_bytes() + bytes <= self.limits.window_bytes
    }

    /// How many frames go into the next record; 0: wait for more.
    fn ripe_frames(&self, now: Now) -> usize {
        let Some(run) = self.runs.front() else {
            return 0;
        };
        let (Some(limits), Envelope::Native) = (self.limits.batching, self.limits.envelope) else {
            return 1;
        };
        let most_bytes = limits.bytes.min(self.limits.form.limit_bytes.saturating_sub(BATCH_HEADER_BYTES));
        let (frames, is_cut) = batch_length(run, limits.frames.min(MAX_BATCH_FRAMES), most_bytes);
        let wait_nanos = u64::try_from(limits.wait.as_nanos()).unwrap_or(u64::MAX);
        let is_waited = run
            .lane
            .peek()
            .is_some_and(|entry| now.monotonic_nanos.saturating_sub(entry.submitted_nanos) >= wait_nanos);
        if is_cut || is_waited || run.closing.is_some() { frames } else { 0 }
    }

    fn compose_frames(&mut self, frames: usize, now: Now) -> bool {
        if frames > 1 {
            return self.compose_batch(frames, now);
        }
        let Some(entry) = self.pop(now) else {
            return false;
        };
        let mut header = self.frame_header(&entry, now);
        let wrapped = self.limits.envelope.wrap(&mut header, entry.frame.codec, &entry.frame.payload);
        let mut unit = self.frame_unit(&entry, &header, entry.seq, entry.frame.payload.len());
        unit.trace = entry.frame.trace;
        self.stage(unit, header, wrapped.content_type, wrapped.header_place, wrapped.value);
        true
    }

    fn compose_batch(&mut self, frames: usize, now: Now) -> bool {
        let Some(first) = self.pop(now) else {
            return false;
        };
        let header = self.frame_header(&first, now);
        let mut inner = Header { gaps: Vec::new(), ..header.clone() };
        let mut writer = BatchWriter::new();
        let mut last = (first.seq, first.frame.payload.len());
        let mut is_discardable = first.frame.is_discardable;
        let mut entry = first.clone();
        loop {
            writer
                .push(&mut inner, entry.frame.codec, &entry.frame.payload)
                .expect("batch_length() takes frames that go together");
            if writer.frames() == frames {
                break;
            }
            let Some(next) = self.pop(now) else {
                break;
            };
            inner = self.bare_frame_header(&next, now);
            last = (next.seq, last.1 + next.frame.payload.len());
            is_discardable &= next.frame.is_discardable;
            entry = next;
        }
        let Some((batch, value)) = writer.finish() else {
            return false;
        };
        // Its own checksum is over the batch.
        let mut header = Header { batch: Some(batch), is_discardable, ..header };
        header.payload_crc32c = None;
        let mut unit = self.frame_unit(&first, &header, last.0, last.1);
        unit.is_discardable = is_discardable;
        self.stage(unit, header, content_type::BATCH, HeaderPlace::Record, value);
        true
    }

    fn pop(&mut self, now: Now) -> Option<QueuedFrame> {
        let entry = self.runs.front_mut()?.lane.pop(now.monotonic_nanos)?;
        self.trace_taken(entry.seq, now);
        Some(entry)
    }

    fn frame_unit(&self, entry: &QueuedFrame, header: &Header, last: Seq, payload_bytes: usize) -> Unit {
        Unit {
            last,
            payload_bytes,
            is_keyframe: entry.frame.is_keyframe,
            is_discardable: entry.frame.is_discardable,
            is_jump: header.is_discontinuity,
            submitted_nanos: entry.submitted_nanos,
            capture_unix_nanos: header.capture.unix_nanos,
            ..self.unit(UnitKind::Frames, entry.seq)
        }
    }

    fn unit(&self, kind: UnitKind, first: Seq) -> Unit {
        let run = self.runs.front().expect("a record belongs to a run");
        let tells_carried = self.runs.len() == 1 && kind != UnitKind::Moved;
        Unit {
            run: run.number,
            kind,
            first,
            last: first,
            payload_bytes: 0,
            is_keyframe: false,
            is_discardable: false,
            is_jump: false,
            submitted_nanos: 0,
            capture_unix_nanos: 0,
            mark: run.lane.mark(),
            carried_mark: tells_carried.then_some(self.carried_mark),
            unacknowledged: 0,
            is_sent: false,
            has_failed: false,
            first_offset: None,
            trace: None,
            traced: Vec::new(),
        }
    }

    /// A frame's header with everything that is told in passing: gaps, jumps, the newest keyframe.
    fn frame_header(&mut self, entry: &QueuedFrame, now: Now) -> Header {
        let mut header = self.bare_frame_header(entry, now);
        header.gaps = self.gaps(entry.seq);
        header
    }

    fn bare_frame_header(&mut self, entry: &QueuedFrame, now: Now) -> Header {
        let run = self.runs.front_mut().expect("a frame belongs to a run");
        let is_jump = run.take_jump(entry.seq);
        let frame = &entry.frame;
        let needs_hint = !frame.is_keyframe && !frame.codec.is_intra_only();
        let queue_nanos = now.monotonic_nanos.saturating_sub(entry.submitted_nanos);
        let age_nanos = self.camera_clock.age_nanos(frame.capture, now.unix_nanos);
        let id = FrameId { epoch: run.epoch, seq: entry.seq };
        Header {
            stream: Some(&self.id.name).filter(|name| !name.is_main()).cloned(),
            pts: frame.pts,
            is_keyframe: frame.is_keyframe,
            is_discontinuity: frame.is_discontinuity || is_jump,
            is_discardable: frame.is_discardable,
            priority: frame.priority,
            deadline: frame.deadline,
            keyframe: run.hint.filter(|_| needs_hint),
            submit_micros: Some(micros(age_nanos.saturating_sub(queue_nanos))),
            queue_micros: Some(micros(queue_nanos)),
            parameters: frame.parameters.clone(),
            of: frame.of.map(|id| FrameRef { id }),
            ..Header::new(id, frame.capture)
        }
    }

    fn gaps(&mut self, seq: Seq) -> Vec<Gap> {
        let mut gaps = std::mem::take(&mut self.compose_scratch.gaps);
        let Some(run) = self.runs.front() else {
            return gaps;
        };
        // Carried gaps are of epochs before this one; a record of the epoch they belong to cannot hold them.
        if self.runs.len() == 1 {
            gaps.extend_from_slice(&self.carried);
        }
        run.collect_gaps(seq, &mut gaps);
        gaps
    }

    fn compose_control(&mut self, control: Control, before: Seq, now: Now) {
        let Some(run) = self.runs.front() else {
            return;
        };
        let (kind, epoch, seq) = match &control {
            Control::Repeat(range) => (UnitKind::Repeat(*range), run.epoch, before),
            Control::Offline { .. } => (UnitKind::Offline, run.epoch, before),
            Control::End { .. } => (UnitKind::End, run.epoch, before),
            Control::Moved(moved) => (UnitKind::Moved, moved.epoch, Seq(0)),
            _ => (UnitKind::Gap, run.epoch, before),
        };
        let header = self.control_header(control, FrameId { epoch, seq }, now);
        let unit = self.unit(kind, before);
        let content_type = header.control.as_ref().map_or(content_type::GAP, Control::content_type);
        self.stage(unit, header, content_type, HeaderPlace::Record, Bytes::new());
    }

    fn control_header(&mut self, control: Control, id: FrameId, now: Now) -> Header {
        let is_own_epoch = self.runs.front().is_some_and(|run| run.epoch == id.epoch);
        let gaps = if is_own_epoch { self.gaps(id.seq) } else { Vec::new() };
        Header {
            stream: Some(&self.id.name).filter(|name| !name.is_main()).cloned(),
            gaps,
            control: Some(control),
            ..Header::new(id, CaptureTime::arrival(now.unix_nanos))
        }
    }

    fn stage(&mut self, mut unit: Unit, header: Header, content_type: &'static str, place: HeaderPlace, value: Bytes) {
        let Some(run) = self.runs.front_mut() else {
            return;
        };
        run.open_units += 1;
        let partition = run.partition;
        unit.traced = self.traces.take_taken();
        let trace = unit.trace;
        let slot = self.units.insert(unit);
        let parts = OutgoingParts { slot, partition, content_type, header, place, value, trace };
        let key = self.id.camera.as_str();
        self.outgoing = Some(Outgoing::new(parts, key, self.limits.form, &mut self.scratch));
    }

    /// The next step of an epoch that gets no further frames.
    fn advance_closing(&mut self, now: Now) -> Advance {
        let is_pictures_only = self.limits.kind == TopicKind::PicturesOnly;
        let Some(run) = self.runs.front_mut() else {
            return Advance::Nothing;
        };
        let (next_seq, last_seq) = (run.lane.next_seq(), run.last_seq());
        let is_idle = run.open_units == 0 && !run.has_notes();
        let Some(closing) = run.closing.as_mut().filter(|_| is_idle) else {
            return Advance::Nothing;
        };
        match closing.stage {
            Stage::Draining if is_pictures_only => {
                closing.stage = Stage::Done;
                closing.is_end_written = true;
                if self.runs.len() > 1 {
                    self.carry_gaps(0);
                }
                Advance::Again
            }
            Stage::Draining => {
                closing.stage = Stage::Ending;
                closing.end_attempts += 1;
                self.compose_control(Control::End { last_seq }, next_seq, now);
                Advance::Composed
            }
            Stage::Ended => {
                let Some(moved) = closing.moved else {
                    closing.stage = Stage::Done;
                    return Advance::Again;
                };
                closing.stage = Stage::Moving;
                self.compose_control(Control::Moved(moved), next_seq, now);
                Advance::Composed
            }
            Stage::Done => {
                if self.retire_front() {
                    Advance::Again
                } else {
                    Advance::Nothing
                }
            }
            Stage::Ending | Stage::Moving => Advance::Nothing,
        }
    }
}

enum Advance {
    Composed,
    Again,
    Nothing,
}

/// How many frames from the front go together, and whether one more would not.
fn batch_length(run: &Run, most_frames: usize, most_bytes: usize) -> (usize, bool) {
    let (mut frames, mut bytes, mut previous) = (0, 0, None::<&QueuedFrame>);
    for entry in run.lane.iter() {
        bytes += entry.frame.payload.len() + BATCH_ITEM_BYTES;
        if let Some(previous) = previous {
            let goes_together = !entry.frame.is_keyframe
                && entry.seq == previous.seq.next()
                && entry.frame.codec == previous.frame.codec;
            if !goes_together || bytes > most_bytes {
                return (frames, true);
            }
        }
        frames += 1;
        previous = Some(entry);
        if frames >= most_frames {
            return (frames, true);
        }
    }
    (frames, bytes > most_bytes)
}

fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1_000).unwrap_or(u32::MAX)
}
