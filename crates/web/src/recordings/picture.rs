//! The picture of a moment: the keyframe before it, or decoded on to the moment itself.

use super::ending::{Ending, Place};
use super::passage::Passage;
use super::{Cancel, Recordings, Refused};
use crate::http::jpeg_of;
use bytes::Bytes;
use lumenbus_bus::index::KeyframeAt;
use lumenbus_bus::playback::Player;
use lumenbus_bus::subscriber::{DeliveredFrame, Event};
use lumenbus_codec::DecoderConfig;
use lumenbus_frame::{Codec, FrameId, StreamId};
use lumenbus_pipeline::decode::{DecodedFrame, Decoding};
use lumenbus_pipeline::subscribe::encoded;
use std::time::{Duration, Instant};

/// One wait for the log.
const WAIT: Duration = Duration::from_millis(100);
/// A picture that takes longer is given up; a request may take 30 s.
const MAX_TIME: Duration = Duration::from_secs(20);

/// How near to the moment the picture has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// The keyframe at or before it.
    Keyframe,
    /// The last frame at or before it.
    Frame,
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) n: u16,
    pub(super) stream: StreamId,
    pub(super) unix_nanos: i64,
    pub(super) precision: Precision,
}

/// A picture, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct MomentPicture {
    pub(super) file: Bytes,
    pub(super) id: FrameId,
    pub(super) capture_unix_nanos: i64,
    /// How often the moment occurs: more than once where a clock was set back.
    pub(super) moments: usize,
}

pub(super) fn of(
    recordings: &Recordings,
    player: &mut Player,
    moment: &Moment,
    cancel: &Cancel,
) -> Result<MomentPicture, Refused> {
    let found = player.index().find(&moment.stream, moment.unix_nanos)?;
    let newest = found.first().ok_or(Refused::NoFootage)?;
    let picture = |file, id, capture_unix_nanos| MomentPicture { file, id, capture_unix_nanos, moments: found.len() };
    if moment.precision == Precision::Keyframe
        && let Some(file) = recordings.kept(moment.n, newest.id)
    {
        return Ok(picture(file, newest.id, newest.capture_unix_nanos));
    }
    let last = Forward::new(player, moment, newest, cancel)?.run()?;
    let (id, capture) = (last.id, last.capture);
    let file = match last.taken {
        Taken::File(file) => file,
        Taken::Picture(decoded) => jpeg_of(&decoded.picture, decoded.color)?.ok_or(Refused::NoPicture)?,
    };
    if moment.precision == Precision::Keyframe {
        recordings.keep(moment.n, id, &file);
    }
    Ok(picture(file, id, capture))
}

enum Taken {
    /// JPEG as published.
    File(Bytes),
    Picture(Box<DecodedFrame>),
}

struct Last {
    id: FrameId,
    capture: i64,
    taken: Taken,
}

/// From the keyframe on to the moment.
struct Forward<'a> {
    player: &'a mut Player,
    moment: &'a Moment,
    keyframe: &'a KeyframeAt,
    cancel: &'a Cancel,
    deadline: Instant,
    passage: Passage,
    ending: Ending<DeliveredFrame>,
    decoding: Decoding,
    /// Capture times of frames in the decoder.
    captures: Vec<(FrameId, i64)>,
    last: Option<Last>,
}

impl<'a> Forward<'a> {
    fn new(
        player: &'a mut Player,
        moment: &'a Moment,
        keyframe: &'a KeyframeAt,
        cancel: &'a Cancel,
    ) -> Result<Self, Refused> {
        player.play_from(&moment.stream, keyframe)?;
        let deadline = Instant::now() + MAX_TIME;
        let (passage, decoding) = (Passage::default(), Decoding::new(DecoderConfig::default()));
        let ending = Ending::new(moment.unix_nanos);
        let captures = Vec::new();
        Ok(Self { player, moment, keyframe, cancel, deadline, passage, ending, decoding, captures, last: None })
    }

    fn run(mut self) -> Result<Last, Refused> {
        loop {
            if self.cancel.is_set() {
                return Err(Refused::Cancelled);
            }
            if Instant::now() > self.deadline {
                return self.last.ok_or(Refused::TookTooLong);
            }
            match self.player.recv(WAIT)? {
                Some(Event::Frame(frame)) => {
                    if !self.frame(frame)? {
                        break;
                    }
                }
                Some(Event::Gap { gap, .. }) => {
                    let mut out = Vec::new();
                    self.decoding.gap(&gap, &mut out);
                    self.take(out);
                }
                None if self.player.is_at_end() || self.is_past() => break,
                Some(_) | None => {}
            }
        }
        let mut out = Vec::new();
        self.decoding.finish(&mut out);
        self.take(out);
        self.last.ok_or(Refused::NoPicture)
    }

    /// The camera was silent then: what is read is of the others.
    fn is_past(&self) -> bool {
        self.passage.is_past(self.moment.unix_nanos, self.player.last_append_unix_millis())
    }

    /// Takes a frame; whether there may be more before the moment.
    fn frame(&mut self, frame: DeliveredFrame) -> Result<bool, Refused> {
        if frame.header.seal.is_some() {
            return Err(Refused::Sealed);
        }
        self.passage.frame(&frame);
        let (id, capture) = (frame.id(), frame.header.capture.unix_nanos);
        if id == self.keyframe.id {
            self.show(&frame)?;
            return Ok(self.moment.precision == Precision::Frame);
        }
        if id.epoch != self.keyframe.id.epoch {
            return Ok(false);
        }
        let is_reordered = !frame.codec.is_intra_only();
        match self.ending.take(frame, capture, is_reordered) {
            Place::Within(frames) => frames.iter().try_for_each(|frame| self.show(frame))?,
            Place::Held => {}
            Place::Past => return Ok(false),
        }
        Ok(self.moment.precision == Precision::Frame)
    }

    /// A frame of before the moment, or one that such a frame refers to.
    fn show(&mut self, frame: &DeliveredFrame) -> Result<(), Refused> {
        let (id, capture) = (frame.id(), frame.header.capture.unix_nanos);
        if frame.codec == Codec::Jpeg {
            self.last = Some(Last { id, capture, taken: Taken::File(frame.payload.clone()) });
            return Ok(());
        }
        if capture <= self.moment.unix_nanos || id == self.keyframe.id {
            self.captures.push((id, capture));
        }
        let mut out = Vec::new();
        match self.decoding.push(id, &encoded(frame), &mut out) {
            Ok(()) => {}
            // The picture before the damaged one is the best there is.
            Err(_) if self.last.is_some() => {}
            Err(error) => return Err(Refused::Codec(error.source)),
        }
        self.take(out);
        Ok(())
    }

    /// Keeps the newest picture that is not after the moment.
    fn take(&mut self, out: Vec<DecodedFrame>) {
        for decoded in out {
            let Some(at) = self.captures.iter().position(|(id, _)| *id == decoded.id) else { continue };
            let (id, capture) = self.captures.swap_remove(at);
            if self.last.as_ref().is_none_or(|last| last.capture <= capture) {
                self.last = Some(Last { id, capture, taken: Taken::Picture(Box::new(decoded)) });
            }
        }
    }
}
