//! Control records: what was lost, where a stream ends or moves, that its camera is away.

use super::super::event::Event;
use super::{Beginning, LogRecord, PartitionReader, Passport, Step, stream_id};
use lumenbus_frame::{CameraId, FrameId};
use lumenbus_wire::{Control, ControlRecord};
use std::sync::Arc;

impl PartitionReader {
    pub(super) fn control<P: Passport>(
        &mut self,
        record: &ControlRecord,
        camera: &CameraId,
        at: &LogRecord<'_>,
        passport: &P,
        out: &mut Vec<Event>,
    ) -> Step {
        let header = &record.header;
        let hash = self.hash(camera, header.stream.as_ref());
        if let Control::Moved(moved) = &record.control {
            passport.moved_away(hash, moved.epoch.0);
        }
        let is_new = !self.streams.contains_key(&hash);
        if is_new && !matches!(self.config.beginning, Beginning::OfTheLog) {
            // A control record alone gives a joining reader nothing to begin with. Who goes on for another hears how the
            // streams stand that the other read.
            self.control_of_unread(record, camera, at.offset, out);
            return Step::Continue;
        }
        if let Some(stop) = self.enter(header, camera, at.offset, passport, out) {
            return stop.unwrap_or(Step::Continue);
        }
        let was_told = self.was_told(hash, header.id, at.offset);
        let Some(state) = self.streams.get_mut(&hash) else { return Step::Continue };
        match &record.control {
            Control::Gap => state.explain_all(&header.gaps, out),
            Control::End { last_seq } => state.end(*last_seq, &header.gaps, out),
            Control::Repeat(range) => state.repeat(*range, &header.gaps, out),
            Control::Moved(_) => state.moved_away(),
            Control::Offline { since_unix_nanos, reason } => {
                state.explain_all(&header.gaps, out);
                if !was_told {
                    out.push(Event::Offline {
                        stream: Arc::clone(&state.id),
                        epoch: state.epoch,
                        since_unix_nanos: *since_unix_nanos,
                        reason: reason.clone(),
                    });
                }
            }
            _ => {}
        }
        Step::Continue
    }

    /// Whether the group was told this control record before: it lies behind, or a frame after it was done with.
    fn was_told(&self, hash: u64, id: FrameId, offset: i64) -> bool {
        let Beginning::Resumed(marks) = &self.config.beginning else { return false };
        offset < self.config.start || marks.get(hash).is_some_and(|mark| mark >= id)
    }

    /// The end, or the camera's absence, in a stream of which the group has read everything before.
    fn control_of_unread(&self, record: &ControlRecord, camera: &CameraId, offset: i64, out: &mut Vec<Event>) {
        let ControlRecord { header, control, .. } = record;
        let hash = self.hash(camera, header.stream.as_ref());
        let Beginning::Resumed(marks) = &self.config.beginning else { return };
        let is_known = marks.get(hash).is_some_and(|mark| mark.epoch == header.id.epoch);
        if !is_known || self.was_told(hash, header.id, offset) {
            return;
        }
        let stream = Arc::new(stream_id(&self.config.topic, camera, header.stream.as_ref()));
        let epoch = header.id.epoch;
        match control {
            Control::End { last_seq } => out.push(Event::End { stream, epoch, last_seq: *last_seq }),
            Control::Offline { since_unix_nanos, reason } => {
                let (since_unix_nanos, reason) = (*since_unix_nanos, reason.clone());
                out.push(Event::Offline { stream, epoch, since_unix_nanos, reason });
            }
            _ => {}
        }
    }
}
