//! One stream as one client gets it.

use crate::hub::{Cursor, Due, HubFrame, Stage, Stream};
use crate::packet::{self, Kind, PacketHeader};
use crate::protocol::{Form, Shown};
use bytes::Bytes;
use lumenbus_frame::bitstream::NalCodec;
use lumenbus_frame::{Codec, FrameId};
use lumenbus_ops::Stages;
use lumenbus_pipeline::mux::{LiveFrame, LiveMuxer, Muxed};
use std::collections::VecDeque;

/// Frames sent whose reports are still expected; a page reports twice a second.
const MAX_SENT: usize = 256;
/// A report beyond this is no measurement.
const MAX_STAGE_MICROS: f64 = 60e6;
/// Clocks of page and server are matched to about this.
const CLOCK_ERROR_MICROS: f64 = 1e6;

/// When a frame is taken, how far behind a client may be, and where durations are counted.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    /// Unix microseconds.
    pub(super) now: i64,
    pub(super) max_lag: i64,
    pub(super) stages: &'a Stages,
}

pub(super) struct Watched {
    n: u16,
    form: Form,
    cursor: Cursor,
    /// The newest frames sent, with their capture times.
    sent: VecDeque<(FrameId, i64)>,
    muxer: Option<LiveMuxer>,
    /// Frames that could not be put into MP4 since the last one that could.
    unmuxed: u64,
}

fn nal_codec(codec: Codec) -> Option<NalCodec> {
    match codec {
        Codec::H264 => Some(NalCodec::H264),
        Codec::H265 => Some(NalCodec::H265),
        _ => None,
    }
}

impl Watched {
    pub(super) fn join(n: u16, form: Form, stream: &Stream) -> Self {
        Self { n, form, cursor: Cursor::join(&stream.ring), sent: VecDeque::new(), muxer: None, unmuxed: 0 }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn rejoin(&mut self, stream: &Stream) {
        self.cursor.rejoin(&stream.ring);
    }

    /// Place of the next frame among all.
    pub(super) fn peek(&mut self, stream: &Stream, at: Moment<'_>) -> Option<u64> {
        self.cursor.peek(&stream.ring, at.now, at.max_lag)
    }

    /// Puts the next frame into `out`.
    pub(super) fn take(&mut self, stream: &mut Stream, at: Moment<'_>, out: &mut VecDeque<Bytes>) {
        let Moment { now, max_lag, stages } = at;
        let Some(due) = self.cursor.take(&stream.ring, now, max_lag) else { return };
        stream.counters.skipped += due.skipped;
        let is_catch_up = due.is_catch_up || due.frame.is_catch_up;
        if !is_catch_up {
            let waited = now.saturating_sub(due.frame.received_micros);
            stream.figures.stage(Stage::Send).add(now / 1_000, waited);
            stages.record(lumenbus_ops::Stage::Send, u64::try_from(waited).unwrap_or(0));
        }
        if self.sent.len() == MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((due.frame.id, due.frame.capture_micros));
        let header = self.header(&due, is_catch_up, now);
        match nal_codec(due.frame.codec).filter(|_| self.form == Form::Fmp4 && !due.frame.is_sealed) {
            Some(codec) => self.segment(codec, &due, header, out),
            None => out.push_back(header.with_payload(&due.frame.payload)),
        }
    }

    /// The frame as a media segment, after its initialisation segment where it needs one.
    fn segment(&mut self, codec: NalCodec, due: &Due, mut header: PacketHeader, out: &mut VecDeque<Bytes>) {
        let begins_anew = due.is_first || due.skipped > 0 || due.frame.is_discontinuity;
        let muxer = match self.muxer.take().filter(|muxer| muxer.codec() == codec) {
            Some(muxer) => self.muxer.insert(muxer),
            None => self.muxer.insert(LiveMuxer::new(codec)),
        };
        if due.is_first {
            muxer.begin_again();
        }
        let frame = LiveFrame {
            access_unit: &due.frame.payload,
            pts_micros: due.frame.pts_micros,
            is_keyframe: due.frame.is_keyframe,
            begins_anew,
        };
        let Muxed { initialisation, segment, presentation_micros } = match muxer.push(&frame) {
            Ok(Some(muxed)) => muxed,
            outcome => {
                tracing::debug!(n = self.n, id = ?due.frame.id, "a frame cannot be put into MP4: {outcome:?}");
                self.unmuxed += 1 + due.skipped;
                return;
            }
        };
        let skipped = std::mem::take(&mut self.unmuxed).saturating_add(due.skipped);
        header.skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
        header.pts_micros = presentation_micros;
        if let Some(initialisation) = initialisation {
            let flags = header.flags | packet::DISCONTINUITY;
            let header = PacketHeader { kind: Kind::Initialisation, flags, skipped: 0, ..header };
            out.push_back(header.with_payload(&initialisation));
        }
        out.push_back(PacketHeader { kind: Kind::Segment, ..header }.with_payload(&segment));
    }

    fn header(&self, due: &Due, is_catch_up: bool, now: i64) -> PacketHeader {
        let frame: &HubFrame = &due.frame;
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(frame.is_keyframe, packet::KEYFRAME)
            | flag(due.is_first || frame.is_discontinuity, packet::DISCONTINUITY)
            | flag(is_catch_up, packet::CATCH_UP)
            | flag(frame.is_discardable, packet::DISCARDABLE);
        PacketHeader {
            kind: Kind::Frame,
            flags,
            n: self.n,
            skipped: u32::try_from(due.skipped).unwrap_or(u32::MAX),
            epoch: frame.id.epoch.0,
            seq: frame.id.seq.0,
            capture_unix_micros: frame.capture_micros,
            pts_micros: frame.pts_micros,
            received_unix_micros: frame.received_micros,
            sent_unix_micros: now,
        }
    }

    /// Takes a page's report; says whether it is about a frame that it was sent, and believable.
    pub(super) fn shown(&self, report: &Shown, stream: &mut Stream, at: Moment<'_>) -> bool {
        let sent =
            self.sent.iter().rev().find(|(id, _)| id.seq.0 == report.seq && id.epoch.to_string() == report.epoch);
        let Some((_, capture)) = sent else { return false };
        #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 53 bits for 285 years")]
        let capture = *capture as f64;
        let decode = (report.decoded_ms - report.received_ms) * 1_000.0;
        let shown = (report.shown_ms - report.decoded_ms) * 1_000.0;
        let total = report.shown_ms * 1_000.0 - capture;
        use lumenbus_ops::Stage as Counted;
        let stages = [
            (Stage::Decode, Counted::Decode, decode),
            (Stage::Shown, Counted::Shown, shown),
            (Stage::Total, Counted::Total, total),
        ];
        // Not a number is in no range.
        if !stages.iter().all(|(.., micros)| (-CLOCK_ERROR_MICROS..=MAX_STAGE_MICROS).contains(micros)) {
            return false;
        }
        for (stage, counted, micros) in stages {
            #[expect(clippy::cast_possible_truncation, reason = "at most a minute, checked above")]
            let micros = micros as i64;
            stream.figures.stage(stage).add(at.now / 1_000, micros);
            at.stages.record(counted, u64::try_from(micros).unwrap_or(0));
        }
        true
    }
}
