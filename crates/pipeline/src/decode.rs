//! The decode stage: coded frames of one stream in, pictures with their identities out.

use lumenbus_codec::{CodecError, Color, Decoder, DecoderConfig, Picture, Ticket, decoder};
use lumenbus_frame::{EncodedFrame, FrameId, Gap, GapReason, RawFrame};
use std::collections::VecDeque;

/// Frames whose picture may still be held back by a decoder; H.264 and H.265 hold at most 16.
const MAX_FRAMES_IN_FLIGHT: usize = 64;

/// A picture and the frame it comes from.
#[derive(Debug, Clone)]
pub struct DecodedFrame {
    /// The coded frame's identity.
    pub id: FrameId,
    /// The pixels, with the coded frame's capture time and pts.
    pub picture: RawFrame,
    /// What luma and chroma samples mean.
    pub color: Color,
}

/// A frame gave no picture; its stream goes on at the next keyframe.
#[derive(Debug, thiserror::Error)]
#[error("frame {}/{} could not be decoded", id.epoch, id.seq)]
pub struct DecodeError {
    /// The frame.
    pub id: FrameId,
    /// Why.
    #[source]
    pub source: CodecError,
}

/// Whether what comes after a gap needs a keyframe: not after repeats of the frame before, nor after frames that no other
/// refers to.
#[must_use]
pub fn breaks_decoding(gap: &Gap) -> bool {
    !gap.is_discardable && gap.reason != GapReason::Repeated
}

/// What became of the frames so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeCounts {
    /// Pictures handed out.
    pub decoded: u64,
    /// Frames left out because no keyframe had come since the beginning, a gap, or damage.
    pub awaiting_keyframe: u64,
    /// Frames that gave an error.
    pub failed: u64,
}

/// Decodes one stream.
///
/// Feed it the stream's frames in seq order and its gaps where they are. It opens the decoder that the frames
/// ask for, and after anything missing (a gap, a hole in the seqs, a new epoch, a discontinuity, damage) it
/// hands out what is complete and waits for a keyframe.
///
/// ```
/// # use lumenbus_pipeline::decode::Decoding;
/// # use lumenbus_frame::*;
/// # use lumenbus_codec::*;
/// # let size = Dimensions::new(16, 16);
/// # let gray = RawFrame::new(PixelFormat::Gray8, size, vec![90; 256].into(), CaptureTime::arrival(1))?;
/// # let mut frames = Vec::new();
/// # encoder(&EncoderConfig::new(Codec::Jpeg))?.encode(&gray, &mut frames)?;
/// let mut decoding = Decoding::new(DecoderConfig::default());
/// let mut pictures = Vec::new();
/// let id = FrameId { epoch: Epoch(1), seq: Seq(0) };
/// decoding.push(id, &frames[0], &mut pictures)?;
/// assert_eq!(pictures[0].id, id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Decoding {
    config: DecoderConfig,
    decoder: Option<Box<dyn Decoder>>,
    in_flight: VecDeque<(Ticket, FrameId)>,
    next_ticket: u64,
    last: Option<FrameId>,
    /// Whether references are complete since a keyframe.
    joined: bool,
    pictures: Vec<Picture>,
    counts: DecodeCounts,
}

impl Decoding {
    /// A stage that has seen nothing yet.
    #[must_use]
    pub fn new(config: DecoderConfig) -> Self {
        Self {
            config,
            decoder: None,
            in_flight: VecDeque::new(),
            next_ticket: 0,
            last: None,
            joined: false,
            pictures: Vec::new(),
            counts: DecodeCounts::default(),
        }
    }

    /// What became of the frames so far.
    #[must_use]
    pub fn counts(&self) -> DecodeCounts {
        self.counts
    }

    /// Decodes the stream's next frame; pictures that are due are appended to `out` in output order.
    ///
    /// A frame that comes a second time is ignored. An error costs the frames up to the next keyframe.
    pub fn push(&mut self, id: FrameId, frame: &EncodedFrame, out: &mut Vec<DecodedFrame>) -> Result<(), DecodeError> {
        if self.last.is_some_and(|last| id <= last) {
            return Ok(());
        }
        let follows = |last: FrameId| last.epoch == id.epoch && last.seq.next() == id.seq;
        let breaks = frame.is_discontinuity || !self.last.is_some_and(follows);
        let changes = self.decoder.as_ref().is_some_and(|decoder| decoder.codec() != frame.codec);
        self.last = Some(id);
        if breaks || changes {
            self.interrupt(out);
        }
        if changes {
            self.decoder = None;
        }
        if !self.joined && !frame.is_keyframe {
            self.counts.awaiting_keyframe += 1;
            return Ok(());
        }
        self.decode(id, frame, out)
    }

    /// Whether the frame's picture is still to come.
    #[must_use]
    pub fn holds(&self, id: FrameId) -> bool {
        self.in_flight.iter().any(|(_, held)| *held == id)
    }

    fn decode(&mut self, id: FrameId, frame: &EncodedFrame, out: &mut Vec<DecodedFrame>) -> Result<(), DecodeError> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => match decoder(frame.codec, &self.config) {
                Ok(opened) => none.insert(opened),
                Err(source) => return Err(self.failure(id, source)),
            },
        };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        if self.in_flight.len() == MAX_FRAMES_IN_FLIGHT {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back((ticket, id));
        let done = decoder.decode(ticket, frame, &mut self.pictures);
        self.hand_out(out);
        match done {
            Ok(()) => self.joined = true,
            Err(CodecError::NeedsKeyframe { .. }) => {
                self.counts.awaiting_keyframe += 1;
                self.joined = false;
            }
            // One picture without a place; references are whole.
            Err(source @ CodecError::Late { .. }) => {
                self.counts.failed += 1;
                return Err(DecodeError { id, source });
            }
            Err(source) => return Err(self.failure(id, source)),
        }
        Ok(())
    }

    fn failure(&mut self, id: FrameId, source: CodecError) -> DecodeError {
        self.counts.failed += 1;
        self.joined = false;
        self.in_flight.clear();
        DecodeError { id, source }
    }

    /// Gives pictures their identities back.
    fn hand_out(&mut self, out: &mut Vec<DecodedFrame>) {
        for picture in self.pictures.drain(..) {
            let known = self.in_flight.iter().position(|(ticket, _)| *ticket == picture.ticket);
            let Some((_, id)) = known.and_then(|at| self.in_flight.remove(at)) else { continue };
            self.counts.decoded += 1;
            out.push(DecodedFrame { id, picture: picture.frame, color: picture.color });
        }
    }

    /// Frames are missing here: what is held back is handed out, and decoding waits for a keyframe. Where no other frame
    /// refers to the missing ones ([`breaks_decoding`]), it goes on across them.
    pub fn gap(&mut self, gap: &Gap, out: &mut Vec<DecodedFrame>) {
        if breaks_decoding(gap) {
            self.interrupt(out);
            return;
        }
        let epoch = gap.epoch.or(self.last.map(|last| last.epoch));
        if let (Some(last), Some(epoch), Some(end)) = (&mut self.last, epoch, gap.last)
            && last.epoch == epoch
            && last.seq.next() >= gap.first
        {
            last.seq = last.seq.max(end);
        }
    }

    fn interrupt(&mut self, out: &mut Vec<DecodedFrame>) {
        self.joined = false;
        if let Some(decoder) = &mut self.decoder {
            // Pictures lost in a failing flush were counted when their frames failed.
            if decoder.flush(&mut self.pictures).is_err() {
                decoder.reset();
            }
            self.hand_out(out);
        }
        self.in_flight.clear();
    }

    /// The next frame is a keyframe that is not behind the last frame: for playing backwards.
    pub fn turn(&mut self) {
        self.last = None;
    }

    /// The end: hands out what is still held back.
    pub fn finish(&mut self, out: &mut Vec<DecodedFrame>) {
        self.interrupt(out);
    }
}

impl std::fmt::Debug for Decoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoding")
            .field("codec", &self.decoder.as_ref().map(|decoder| decoder.codec()))
            .field("last", &self.last)
            .field("joined", &self.joined)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_codec::{EncoderConfig, encoder};
    use lumenbus_frame::{CaptureTime, Codec, Dimensions, Epoch, PixelFormat, Seq};

    const SIZE: Dimensions = Dimensions { width: 32, height: 32 };

    fn id(epoch: u64, seq: u64) -> FrameId {
        FrameId { epoch: Epoch(epoch), seq: Seq(seq) }
    }

    /// Frames with a keyframe every `keyframe_every`; capture time is the index.
    fn coded(codec: Codec, count: i64, keyframe_every: i64) -> Vec<EncodedFrame> {
        let (mut encoder, mut frames) = (encoder(&EncoderConfig::new(codec)).unwrap(), Vec::new());
        for index in 0..count {
            if index % keyframe_every == 0 {
                encoder.force_keyframe();
            }
            let shade = u8::try_from(40 + index * 5).unwrap();
            let capture = CaptureTime::sensor(index);
            let picture = RawFrame::new(PixelFormat::Gray8, SIZE, vec![shade; 32 * 32].into(), capture);
            encoder.encode(&picture.unwrap(), &mut frames).unwrap();
        }
        frames
    }

    struct Bench {
        decoding: Decoding,
        out: Vec<DecodedFrame>,
    }

    impl Bench {
        fn new() -> Self {
            Self { decoding: Decoding::new(DecoderConfig::default()), out: Vec::new() }
        }

        fn push(&mut self, id: FrameId, frame: &EncodedFrame) -> Result<(), DecodeError> {
            self.decoding.push(id, frame, &mut self.out)
        }

        /// Seqs of the pictures; each must carry its own frame's capture time.
        fn seqs(&self) -> Vec<u64> {
            let check = |decoded: &DecodedFrame| {
                assert_eq!(u64::try_from(decoded.picture.capture.unix_nanos), Ok(decoded.id.seq.0));
                decoded.id.seq.0
            };
            self.out.iter().map(check).collect()
        }
    }

    #[test]
    fn a_hole_a_gap_and_a_discontinuity_wait_for_a_keyframe() {
        let frames = coded(Codec::H264, 20, 5);
        for how in ["hole", "gap", "discontinuity"] {
            let mut bench = Bench::new();
            for seq in 0..20_u64 {
                let mut frame = frames[usize::try_from(seq).unwrap()].clone();
                match (how, seq) {
                    ("hole", 7) => continue,
                    ("gap", 7) => {
                        let gap = Gap::new(Seq(7), Seq(7), GapReason::Overflow);
                        bench.decoding.gap(&gap, &mut bench.out);
                        continue;
                    }
                    ("discontinuity", 7) => frame.is_discontinuity = true,
                    _ => {}
                }
                bench.push(id(1, seq), &frame).unwrap();
            }
            bench.decoding.finish(&mut bench.out);
            let expected: Vec<u64> = (0..7).chain(10..20).collect();
            assert_eq!(bench.seqs(), expected, "{how}");
            let waiting = if how == "discontinuity" { 3 } else { 2 };
            let counts = DecodeCounts { decoded: 17, awaiting_keyframe: waiting, failed: 0 };
            assert_eq!(bench.decoding.counts(), counts, "{how}");
        }
    }

    /// What was not sent because it equalled the frame before, or was of the upper temporal layer.
    #[test]
    fn decoding_goes_on_across_what_nothing_refers_to() {
        let frames = coded(Codec::H264, 6, 100);
        for (reason, is_discardable) in [(GapReason::Repeated, false), (GapReason::Overflow, true)] {
            let mut bench = Bench::new();
            for (frame, seq) in frames.iter().zip([0, 1, 2, 7, 8, 9]) {
                if seq == 7 {
                    let gap = Gap { epoch: Some(Epoch(1)), is_discardable, ..Gap::new(Seq(3), Seq(6), reason) };
                    bench.decoding.gap(&gap, &mut bench.out);
                }
                bench.push(id(1, seq), frame).unwrap();
            }
            bench.decoding.finish(&mut bench.out);
            let seqs: Vec<u64> = bench.out.iter().map(|decoded| decoded.id.seq.0).collect();
            assert_eq!(seqs, [0, 1, 2, 7, 8, 9], "{reason}");
        }
    }

    #[test]
    fn joining_inside_a_gop_waits_and_repeats_are_ignored() {
        let frames = coded(Codec::H264, 10, 5);
        let mut bench = Bench::new();
        for seq in [2, 3, 4, 5, 6, 6, 5, 7] {
            bench.push(id(1, seq), &frames[usize::try_from(seq).unwrap()]).unwrap();
        }
        assert_eq!(bench.seqs(), [5, 6, 7]);
        assert_eq!(bench.decoding.counts().awaiting_keyframe, 3);
    }

    #[test]
    fn a_new_epoch_and_a_new_codec_begin_afresh() {
        let mut bench = Bench::new();
        let (video, stills) = (coded(Codec::H264, 3, 5), coded(Codec::Jpeg, 3, 1));
        for (epoch, frames) in [(1, &video), (2, &stills), (3, &video)] {
            for (frame, seq) in frames.iter().zip(0..) {
                bench.push(id(epoch, seq), frame).unwrap();
            }
        }
        assert_eq!(bench.seqs(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        let epochs: Vec<u64> = bench.out.iter().map(|decoded| decoded.id.epoch.0).collect();
        assert_eq!(epochs, [1, 1, 1, 2, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn damage_costs_the_rest_of_the_gop() {
        let mut frames = coded(Codec::H264, 15, 5);
        frames[6].payload = bytes::Bytes::from_static(b"\0\0\0\x01\x41");
        let mut bench = Bench::new();
        let failed: Vec<u64> =
            (0..15).filter(|&seq| bench.push(id(1, seq), &frames[usize::try_from(seq).unwrap()]).is_err()).collect();
        assert_eq!(failed, [6]);
        assert_eq!(bench.seqs(), [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14]);
    }

    #[test]
    fn a_codec_that_is_not_built_in_is_named() {
        let mut frame = coded(Codec::Jpeg, 1, 1).remove(0);
        frame.codec = Codec::Av1;
        let error = Bench::new().push(id(1, 4), &frame).unwrap_err();
        assert!(error.to_string().contains("1/4"), "{error}");
        assert!(matches!(error.source, CodecError::NotBuilt { codec: Codec::Av1, .. }));
    }
}
