//! A stream as it comes: one segment per frame.

use super::{MuxError, Sample, Timeline, Track, media_segment};
use bytes::Bytes;
use lumenbus_frame::bitstream::NalCodec;

/// Ticks per second of the segments.
const TIMESCALE: u32 = 90_000;
/// Assumed where the stream does not say its rate: 25 frames a second.
const USUAL_INTERVAL: u32 = TIMESCALE / 25;

/// A frame for the muxer.
#[derive(Debug, Clone, Copy)]
pub struct LiveFrame<'a> {
    /// Annex B.
    pub access_unit: &'a [u8],
    /// When it is to be shown, on any clock.
    pub pts_micros: i64,
    /// Decoding can begin here.
    pub is_keyframe: bool,
    /// Frames before it are missing, or belong elsewhere.
    pub begins_anew: bool,
}

/// What a frame became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Muxed {
    /// Needed before this segment: at the first one and where parameters change.
    pub initialisation: Option<Bytes>,
    /// `moof` and `mdat`.
    pub segment: Bytes,
    /// When it is shown on the segments' time line, which begins near 0 and has no holes.
    pub presentation_micros: i64,
}

/// Puts one stream into segments.
#[derive(Debug)]
pub struct LiveMuxer {
    codec: NalCodec,
    track: Option<Track>,
    timeline: Timeline,
    sequence: u32,
}

impl LiveMuxer {
    /// Waits for a keyframe.
    #[must_use]
    pub fn new(codec: NalCodec) -> Self {
        Self { codec, track: None, timeline: Timeline::new(TIMESCALE, USUAL_INTERVAL, 0), sequence: 0 }
    }

    /// What is being muxed.
    #[must_use]
    pub fn codec(&self) -> NalCodec {
        self.codec
    }

    /// The next keyframe comes with its initialisation segment, whether or not anything changed.
    pub fn begin_again(&mut self) {
        self.track = None;
    }

    /// Takes the next frame in decode order; `None` before the first keyframe.
    ///
    /// # Errors
    /// A keyframe whose parameter sets are missing or damaged; the next keyframe may be better.
    pub fn push(&mut self, frame: &LiveFrame<'_>) -> Result<Option<Muxed>, MuxError> {
        let initialisation = if frame.is_keyframe { self.follow(frame.access_unit)? } else { None };
        if self.track.is_none() {
            return Ok(None);
        }
        let ticks = i128::from(frame.pts_micros) * i128::from(TIMESCALE) / 1_000_000;
        let timed = self.timeline.place(i64::try_from(ticks).unwrap_or(i64::MAX), frame.begins_anew);
        self.sequence = self.sequence.wrapping_add(1);
        let sample = Sample {
            access_unit: frame.access_unit,
            duration: timed.duration,
            composition_offset: timed.composition_offset,
            is_keyframe: frame.is_keyframe,
            is_discardable: false,
        };
        let segment = media_segment(self.codec, self.sequence, timed.decode_ticks, &[sample])?;
        let shown = u128::from(timed.presentation_ticks()) * 1_000_000 / u128::from(TIMESCALE);
        let presentation_micros = i64::try_from(shown).unwrap_or(i64::MAX);
        Ok(Some(Muxed { initialisation, segment, presentation_micros }))
    }

    /// The initialisation segment when the keyframe's parameter sets are new.
    fn follow(&mut self, keyframe: &[u8]) -> Result<Option<Bytes>, MuxError> {
        let found = Track::of_keyframe(self.codec, keyframe)?;
        if self.track.as_ref().is_some_and(|track| track.has_sets_of(&found)) {
            return Ok(None);
        }
        let initialisation = found.initialisation(TIMESCALE, 0)?;
        let sequence = found.sequence();
        let interval = sequence.frame_rate.map_or(USUAL_INTERVAL, |rate| {
            let ticks = u64::from(TIMESCALE) * u64::from(rate.seconds) / u64::from(rate.frames.max(1));
            u32::try_from(ticks).unwrap_or(USUAL_INTERVAL).clamp(1, TIMESCALE)
        });
        self.timeline.change(interval, sequence.max_reorder);
        self.track = Some(found);
        Ok(Some(initialisation))
    }
}
