//! Frames in chunks: put together, or given up.

use super::super::event::Event;
use super::super::stream::Verdict;
use super::{LogRecord, PartitionReader, Passport, Step, open_offset};
use bytes::Bytes;
use lumenbus_frame::{CameraId, GapReason};
use lumenbus_wire::{Assembled, FrameRecord, Header};

impl PartitionReader {
    pub(super) fn chunk<P: Passport>(
        &mut self,
        (header, header_bytes, part): (Header, Bytes, Bytes),
        camera: &CameraId,
        record: &LogRecord<'_>,
        passport: &P,
        out: &mut Vec<Event>,
    ) -> Step {
        let is_first = header.chunk.as_ref().is_some_and(|chunk| chunk.index == 0);
        if !is_first && !self.streams.contains_key(&self.hash(camera, header.stream.as_ref())) {
            return Step::Continue;
        }
        if let Some(stop) = self.enter(&header, camera, record.offset, passport, out) {
            return stop.unwrap_or(Step::Continue);
        }
        let hash = self.hash(camera, header.stream.as_ref());
        let Some(state) = self.streams.get_mut(&hash) else { return Step::Continue };
        if header.id.seq < state.next_seq {
            self.stats.repeats += u64::from(is_first);
            return Step::Continue;
        }
        let was_open = state.assembler.open();
        let id = header.id;
        state.last_chunk_nanos = record.received_unix_nanos;
        if is_first {
            state.open_trace = record.trace();
        }
        let outcome = state.assembler.push(header, header_bytes, u64::try_from(record.offset).unwrap_or(0), part);
        let is_open = state.assembler.open().is_some_and(|open| open.id == id);
        if was_open.as_ref().map(|open| open.id) != Some(id) && is_open && record.offset >= self.config.start {
            self.began.push(record.offset);
        }
        match outcome {
            Assembled::Complete { record: frame, first_offset } => {
                let first_offset = open_offset(first_offset);
                let step = self.complete(frame, camera, record, first_offset, out);
                self.gave_up.push(first_offset);
                step
            }
            Assembled::Broken { error, .. } => {
                state.hole_reason = Some(GapReason::RecordDamaged);
                if let Some(open) = was_open.filter(|open| open.id == id) {
                    self.gave_up.push(open_offset(open.first_offset));
                }
                self.unreadable(&error, Some(camera), record.offset, out);
                Step::Continue
            }
            Assembled::Orphan => {
                state.hole_reason.get_or_insert(GapReason::RecordDamaged);
                Step::Continue
            }
            _ => Step::Continue,
        }
    }

    fn complete(
        &mut self,
        frame: FrameRecord,
        camera: &CameraId,
        record: &LogRecord<'_>,
        first_offset: i64,
        out: &mut Vec<Event>,
    ) -> Step {
        let role = self.role(camera, &frame.header, first_offset);
        let hash = self.hash(camera, frame.header.stream.as_ref());
        let Some(state) = self.streams.get_mut(&hash) else { return Step::Continue };
        let header = &frame.header;
        let verdict = state.take(header.id.seq, header.is_keyframe, header.is_discardable, out);
        if verdict == Verdict::Deliver {
            self.deliver(frame, camera, record, first_offset, role, out);
        }
        Step::Continue
    }
}
