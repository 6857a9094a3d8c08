//! One stream as one client gets it.

use super::playing::{Playing, Turn};
use crate::hub::{Cursor, Due, HubFrame, Stage, Stream};
use crate::packet::{self, Kind, PacketHeader};
use crate::protocol::{Form, Shown, Watch};
use axum::extract::ws::Utf8Bytes;
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

/// A message to a client.
pub(super) enum Outgoing {
    Media(Bytes),
    Text(Utf8Bytes),
}

/// When a frame is taken, how far behind a client may be, and where durations are counted.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    /// Unix microseconds.
    pub(super) now: i64,
    pub(super) max_lag: i64,
    pub(super) stages: &'a Stages,
}

/// Where a client's frames of a stream come from.
enum From {
    /// What comes.
    Live(Cursor),
    /// Nowhere for now.
    Paused,
    /// What was recorded.
    Recording(Box<Playing>),
}

/// What a client gets of an analysis.
struct Boxes {
    /// So long each frame waits for what was found in it.
    wait_micros: i64,
    /// The next message.
    next: u64,
}

/// What there is to send of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A frame, with its place among all.
    Frame(u64),
    /// A frame from this moment on, Unix microseconds.
    At(i64),
    Nothing,
}

pub(super) struct Watched {
    n: u16,
    form: Form,
    boxes: Option<Boxes>,
    /// Keyframes are enough.
    is_still: bool,
    from: From,
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
    pub(super) fn join(wanted: Watch, stream: &Stream) -> Self {
        let from = From::Live(Cursor::join(&stream.ring));
        let Watch { n, form, .. } = wanted;
        let (sent, is_still) = (VecDeque::new(), false);
        let mut watched = Self { n, form, boxes: None, is_still, from, sent, muxer: None, unmuxed: 0 };
        watched.change(wanted, stream);
        watched
    }

    /// How else the stream is wanted: whether frames wait for what was found in them, and whether it is all of them.
    pub(super) fn change(&mut self, wanted: Watch, stream: &Stream) {
        let next = self.boxes.as_ref().map_or(stream.finds.begin(), |boxes| boxes.next);
        self.boxes = wanted.boxes_ms.map(|millis| Boxes { wait_micros: i64::from(millis) * 1_000, next });
        self.is_still = wanted.keyframes;
        if let From::Live(cursor) = &mut self.from {
            cursor.set_stills(self.is_still, &stream.ring);
        }
    }

    /// Where live frames come from, once they do again.
    fn set_live(&mut self, mut cursor: Cursor, stream: &Stream) {
        cursor.set_stills(self.is_still, &stream.ring);
        self.from = From::Live(cursor);
    }

    /// Whether what was found in its frames is wanted.
    pub(super) fn has_boxes(&self) -> bool {
        self.boxes.is_some()
    }

    /// How long each frame waits for what was found in it.
    pub(super) fn wait_micros(&self) -> i64 {
        self.boxes.as_ref().map_or(0, |boxes| boxes.wait_micros)
    }

    /// What was found since the last time goes into `out`, ahead of the frames that wait for it.
    pub(super) fn take_found(&mut self, stream: &Stream, out: &mut VecDeque<Outgoing>) {
        let Some(boxes) = self.boxes.as_mut().filter(|boxes| stream.finds.has(boxes.next)) else { return };
        let (messages, next) = stream.finds.since(boxes.next);
        out.extend(messages.cloned().map(Outgoing::Text));
        boxes.next = next;
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Begins again at the newest keyframe; a recording is not live, and answers from where it has to begin.
    pub(super) fn rejoin(&mut self, stream: &Stream) -> Option<(u32, i64, f64)> {
        match &mut self.from {
            From::Live(_) => self.go_live(stream),
            From::Paused => {}
            From::Recording(playing) => return Some(playing.again()),
        }
        None
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.from, From::Live(_))
    }

    pub(super) fn is_played(&self) -> bool {
        matches!(self.from, From::Recording(_))
    }

    /// What comes, from the newest keyframe on.
    pub(super) fn go_live(&mut self, stream: &Stream) {
        self.set_live(Cursor::join(&stream.ring), stream);
    }

    pub(super) fn pause(&mut self) {
        self.from = From::Paused;
    }

    pub(super) fn play(&mut self, playing: Playing) {
        self.from = From::Recording(Box::new(playing));
    }

    /// What there is to do with a recording now.
    pub(super) fn turn(&mut self, now: std::time::Instant) -> Option<(u32, Turn)> {
        match &mut self.from {
            From::Recording(playing) => Some((playing.id(), playing.turn(now))),
            From::Live(_) | From::Paused => None,
        }
    }

    /// Whether what was played has come close to what comes, with nothing read ahead.
    pub(super) fn has_caught_up(&self, stream: &Stream) -> bool {
        let From::Recording(playing) = &self.from else { return false };
        let Some(newest) = stream.ring.newest() else { return false };
        stream.is_coming() && playing.has_reached(newest.id, newest.capture_micros)
    }

    /// Everything that was recorded has been played: goes on with what comes. False when nothing comes.
    pub(super) fn catch_up(&mut self, stream: &Stream) -> bool {
        let From::Recording(playing) = &self.from else { return true };
        let is_coming = stream.is_coming();
        match is_coming.then(|| playing.goes_on(&stream.ring)) {
            Some(cursor) => self.set_live(cursor, stream),
            None => self.from = From::Paused,
        }
        is_coming
    }

    /// The recorded frame that is due goes into `out`.
    pub(super) fn take_recorded(&mut self, now: i64, out: &mut VecDeque<Outgoing>) {
        let From::Recording(playing) = &mut self.from else { return };
        let Some(mut taken) = playing.take() else { return };
        out.extend(std::mem::take(&mut taken.found).into_iter().map(Outgoing::Text));
        let frame = HubFrame { pts_micros: taken.pts_micros, ..(*taken.frame).clone() };
        let due = Due { frame: frame.into(), skipped: 0, is_first: taken.is_first, is_catch_up: taken.is_preroll };
        let mut header = self.header(&due, taken.is_preroll, now);
        header.flags |= packet::RECORDED | if taken.is_preroll { packet::PREROLL } else { 0 };
        self.put(&due, header, out);
    }

    /// What is next. Who waits for boxes lives so much in the past: that is no lag.
    pub(super) fn peek(&mut self, stream: &Stream, at: Moment<'_>) -> Next {
        let wait = self.wait_micros();
        let From::Live(cursor) = &mut self.from else { return Next::Nothing };
        let Some(order) = cursor.peek(&stream.ring, at.now - wait, at.max_lag) else { return Next::Nothing };
        match cursor.came_micros(&stream.ring).filter(|_| wait > 0) {
            Some(came) if came > at.now - wait => Next::At(came + wait),
            _ => Next::Frame(order),
        }
    }

    /// Puts the next frame into `out`.
    pub(super) fn take(&mut self, stream: &mut Stream, at: Moment<'_>, out: &mut VecDeque<Outgoing>) {
        let Moment { now, max_lag, stages } = at;
        let wait = self.wait_micros();
        let From::Live(cursor) = &mut self.from else { return };
        let Some(due) = cursor.take(&stream.ring, now - wait, max_lag) else { return };
        stream.counters.skipped += due.skipped;
        let is_catch_up = due.is_catch_up || due.frame.is_catch_up;
        if !is_catch_up {
            let waited = (now - wait).saturating_sub(due.frame.received_micros).max(0);
            stream.figures.stage(Stage::Send).add(now / 1_000, waited);
            stages.record(lumenbus_ops::Stage::Send, u64::try_from(waited).unwrap_or(0));
        }
        if self.sent.len() == MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((due.frame.id, due.frame.capture_micros));
        let header = self.header(&due, is_catch_up, now);
        self.put(&due, header, out);
    }

    /// The frame in the form that the client wants.
    fn put(&mut self, due: &Due, header: PacketHeader, out: &mut VecDeque<Outgoing>) {
        match nal_codec(due.frame.codec).filter(|_| self.form == Form::Fmp4 && !due.frame.is_sealed) {
            Some(codec) => self.segment(codec, due, header, out),
            None => out.push_back(Outgoing::Media(header.with_payload(&due.frame.payload))),
        }
    }

    /// The frame as a media segment, after its initialisation segment where it needs one.
    fn segment(&mut self, codec: NalCodec, due: &Due, mut header: PacketHeader, out: &mut VecDeque<Outgoing>) {
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
            out.push_back(Outgoing::Media(header.with_payload(&initialisation)));
        }
        out.push_back(Outgoing::Media(PacketHeader { kind: Kind::Segment, ..header }.with_payload(&segment)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Found;
    use crate::testing::delivered;
    use lumenbus_frame::{Epoch, Seq};
    use std::sync::Arc;

    const LAG: i64 = 400_000;

    fn id(seq: u64) -> FrameId {
        FrameId { epoch: Epoch(1), seq: Seq(seq) }
    }

    /// Frame `seq` of 25 a second, received when it was taken; a keyframe every ten.
    fn push(stream: &mut Stream, seq: u64) {
        let at = i64::try_from(seq).unwrap() * 40_000_000;
        let mut frame = delivered("gate", seq, at);
        frame.header.is_keyframe = seq.is_multiple_of(10);
        stream.frame(&frame, seq, 1 << 20);
    }

    fn stream(frames: u64) -> Stream {
        let mut stream = Stream::new("gate".parse().unwrap(), None, 0);
        (0..frames).for_each(|seq| push(&mut stream, seq));
        stream
    }

    fn wanted(boxes_ms: Option<u16>) -> Watch {
        Watch { n: 0, form: Form::AnnexB, boxes_ms, keyframes: false }
    }

    fn watched(stream: &Stream, boxes_ms: Option<u16>) -> Watched {
        Watched::join(wanted(boxes_ms), stream)
    }

    fn moment(stages: &Stages, millis: i64) -> Moment<'_> {
        Moment { now: millis * 1_000, max_lag: LAG, stages }
    }

    #[test]
    fn the_first_picture_is_sent_at_once_and_the_others_wait_for_their_boxes() {
        let (mut stream, stages, mut out) = (stream(3), Stages::default(), VecDeque::new());
        let mut watched = watched(&stream, Some(300));
        assert_eq!(watched.peek(&stream, moment(&stages, 80)), Next::Frame(0));
        watched.take(&mut stream, moment(&stages, 80), &mut out);
        assert_eq!(watched.peek(&stream, moment(&stages, 80)), Next::At(340_000));
        assert_eq!(watched.peek(&stream, moment(&stages, 339)), Next::At(340_000));
        assert_eq!(watched.peek(&stream, moment(&stages, 340)), Next::Frame(1));
        watched.take(&mut stream, moment(&stages, 340), &mut out);
        assert_eq!(watched.peek(&stream, moment(&stages, 340)), Next::At(380_000));
        // Who changes his mind gets what waits.
        watched.change(wanted(None), &stream);
        assert_eq!(watched.peek(&stream, moment(&stages, 340)), Next::Frame(2));
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn waiting_is_no_lag_and_counts_as_none() {
        let (mut stream, stages, mut out) = (stream(1), Stages::default(), VecDeque::new());
        let mut watched = watched(&stream, Some(2_000));
        stream.watch(1, &Arc::default(), watched.wait_micros());
        watched.take(&mut stream, moment(&stages, 0), &mut out);
        (1..40).for_each(|seq| push(&mut stream, seq));
        // 1.6 s behind on purpose: nothing is skipped, though there are newer keyframes.
        for seq in 1..40 {
            let now = i64::try_from(seq).unwrap() * 40 + 2_000;
            assert_eq!(watched.peek(&stream, moment(&stages, now)), Next::Frame(seq));
            watched.take(&mut stream, moment(&stages, now), &mut out);
        }
        assert_eq!((stream.counters.skipped, out.len()), (0, 40));
        let sent = stream.figures.stage(Stage::Send).percentiles(3_600).unwrap();
        assert_eq!((sent.p50_ms, sent.p99_ms), (0.0, 0.0));
    }

    #[test]
    fn what_was_found_is_told_once_and_only_to_who_wants_it() {
        let mut stream = stream(1);
        let found = |seq: u64| Found { id: id(seq), model: "motion".to_owned(), message: seq.to_string().into() };
        stream.found(found(0), 0);
        let (mut wants, mut wants_not) = (watched(&stream, Some(100)), watched(&stream, None));
        let mut out = VecDeque::new();
        let mut told = |watched: &mut Watched, stream: &Stream| {
            watched.take_found(stream, &mut out);
            out.drain(..).filter(|message| matches!(message, Outgoing::Text(_))).count()
        };
        assert_eq!((told(&mut wants, &stream), told(&mut wants_not, &stream)), (1, 0));
        assert_eq!(told(&mut wants, &stream), 0);
        stream.found(found(1), 0);
        wants.change(wanted(Some(200)), &stream);
        assert_eq!((told(&mut wants, &stream), told(&mut wants_not, &stream)), (1, 0));
    }
}
