//! RTP payloads to access units and pictures, without I/O.
//!
//! H.264 by RFC 6184 (single units, STAP-A, FU-A), H.265 by RFC 7798 (single units, AP, FU), JPEG by RFC 2435.

use crate::live::rtp_jpeg::JpegAssembler;
use bytes::Bytes;
use lumenbus_frame::Codec;
use lumenbus_frame::bitstream::{MAX_ACCESS_UNIT_BYTES, NalCodec, NalKind};

/// One RTP packet without its header.
#[derive(Debug, Clone, Copy)]
pub struct RtpPacket<'a> {
    /// What it carries.
    pub payload: &'a [u8],
    /// Its time in ticks of the stream, extended beyond 32 bits.
    pub timestamp: i64,
    /// The marker bit: the last packet of its frame.
    pub is_last: bool,
    /// Whether packets before it did not arrive.
    pub is_after_loss: bool,
}

/// What comes out of packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RtpOutput {
    /// A whole access unit in Annex B, or a JPEG file (perhaps without Huffman tables).
    Unit {
        /// The bytes.
        bytes: Bytes,
        /// Of its packets.
        timestamp: i64,
    },
    /// A frame that cannot be put together.
    Damage {
        /// Why.
        what: &'static str,
    },
}

/// Puts frames together. Holds at most one, of at most 32 MiB.
#[derive(Debug)]
pub struct Depacketiser(Assembler);

#[derive(Debug)]
enum Assembler {
    Nal(NalAssembler),
    Jpeg(JpegAssembler),
}

impl Depacketiser {
    /// For streams of H.264, H.265 or JPEG; `None` for other codecs.
    #[must_use]
    pub fn new(codec: Codec) -> Option<Self> {
        Some(Self(match codec {
            Codec::H264 => Assembler::Nal(NalAssembler::new(NalCodec::H264)),
            Codec::H265 => Assembler::Nal(NalAssembler::new(NalCodec::H265)),
            Codec::Jpeg => Assembler::Jpeg(JpegAssembler::default()),
            _ => return None,
        }))
    }

    /// Takes the next packet; what it completes goes into `out`.
    pub fn push(&mut self, packet: RtpPacket<'_>, out: &mut Vec<RtpOutput>) {
        match &mut self.0 {
            Assembler::Nal(nal) => nal.push(packet, out),
            Assembler::Jpeg(jpeg) => jpeg.push(packet, out),
        }
    }
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a payload is by its first bytes.
enum Form {
    Single,
    Aggregate,
    Fragment,
    Unknown,
}

#[derive(Debug)]
struct NalAssembler {
    codec: NalCodec,
    unit: Vec<u8>,
    timestamp: i64,
    has_slice: bool,
    is_in_fragment: bool,
    /// Until a whole unit: the next one must show that it begins at its beginning.
    after_loss: bool,
    /// The frame whose damage was told last.
    told: Option<i64>,
    /// Why what remains of this unit is thrown away.
    defect: Option<&'static str>,
}

impl NalAssembler {
    fn new(codec: NalCodec) -> Self {
        Self {
            codec,
            unit: Vec::new(),
            timestamp: 0,
            has_slice: false,
            is_in_fragment: false,
            after_loss: false,
            told: None,
            defect: None,
        }
    }

    fn push(&mut self, packet: RtpPacket<'_>, out: &mut Vec<RtpOutput>) {
        if packet.is_after_loss {
            if self.is_in_fragment || !self.unit.is_empty() {
                self.spoil("packets of it were lost");
                self.finish(out);
            } else {
                out.push(RtpOutput::Damage { what: "packets were lost" });
            }
            self.after_loss = true;
        }
        if packet.timestamp != self.timestamp {
            self.finish(out);
            self.timestamp = packet.timestamp;
        }
        if self.defect.is_none()
            && let Err(what) = self.payload(packet.payload)
        {
            self.spoil(what);
        }
        if self.unit.len() > MAX_ACCESS_UNIT_BYTES {
            self.spoil("it is larger than 32 MiB");
        }
        if packet.is_last {
            self.finish(out);
        }
    }

    /// The unit ends here. Parameter sets and messages that some cameras send with a marker or a time of their own
    /// belong to the picture that follows.
    fn finish(&mut self, out: &mut Vec<RtpOutput>) {
        if self.is_in_fragment {
            self.spoil("a fragment of it has no end");
        }
        if let Some(what) = self.defect.take() {
            // Once a frame, whatever else of it arrives.
            if self.told.replace(self.timestamp) != Some(self.timestamp) {
                out.push(RtpOutput::Damage { what });
            }
        } else if self.has_slice {
            let bytes = Bytes::from(std::mem::take(&mut self.unit));
            out.push(RtpOutput::Unit { bytes, timestamp: self.timestamp });
            self.has_slice = false;
            self.after_loss = false;
        }
    }

    fn spoil(&mut self, what: &'static str) {
        self.unit = Vec::new();
        self.has_slice = false;
        self.is_in_fragment = false;
        self.defect = Some(what);
    }

    fn header_bytes(&self) -> usize {
        match self.codec {
            NalCodec::H264 => 1,
            NalCodec::H265 => 2,
        }
    }

    fn form(&self, first: u8) -> Form {
        match (self.codec, first & 0x1f, first >> 1 & 0x3f) {
            (NalCodec::H264, 1..=23, _) | (NalCodec::H265, _, 0..=47) => Form::Single,
            (NalCodec::H264, 24, _) | (NalCodec::H265, _, 48) => Form::Aggregate,
            (NalCodec::H264, 28, _) | (NalCodec::H265, _, 49) => Form::Fragment,
            _ => Form::Unknown,
        }
    }

    fn payload(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let (header, rest) = payload.split_at_checked(self.header_bytes()).ok_or("a packet is empty")?;
        let form = self.form(header[0]);
        if self.is_in_fragment && !matches!(form, Form::Fragment) {
            return Err("a fragment of it has no end");
        }
        match form {
            Form::Single => self.nal(&[payload]),
            Form::Aggregate => self.aggregate(rest),
            Form::Fragment => self.fragment(header, rest),
            Form::Unknown => Err("a packet is of a kind that RFC 6184 and RFC 7798 do not allow here"),
        }
    }

    fn aggregate(&mut self, mut rest: &[u8]) -> Result<(), &'static str> {
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes(*length));
            let (nal, after) = after.split_at_checked(length).ok_or("an aggregate is shorter than it says")?;
            self.nal(&[nal])?;
            rest = after;
        }
        Ok(())
    }

    fn fragment(&mut self, header: &[u8], rest: &[u8]) -> Result<(), &'static str> {
        let (&fragment, data) = rest.split_first().ok_or("a fragment is empty")?;
        match (fragment & 0x80 != 0, self.is_in_fragment) {
            (true, true) => return Err("a fragment of it has no end"),
            (false, false) => return Err("a fragment of it has no beginning"),
            (false, true) => self.unit.extend_from_slice(data),
            (true, false) => match self.codec {
                NalCodec::H264 => self.nal(&[&[header[0] & 0xe0 | fragment & 0x1f], data])?,
                NalCodec::H265 => {
                    self.nal(&[&[header[0] & 0x81 | (fragment & 0x3f) << 1, header[1]], data])?;
                }
            },
        }
        self.is_in_fragment = fragment & 0x40 == 0;
        Ok(())
    }

    /// Begins a unit with the parts of its first piece.
    fn nal(&mut self, parts: &[&[u8]]) -> Result<(), &'static str> {
        let header_bytes = self.header_bytes();
        self.unit.extend_from_slice(&START_CODE);
        let begin = self.unit.len();
        parts.iter().for_each(|part| self.unit.extend_from_slice(part));
        let nal = &self.unit[begin..];
        if nal.len() <= header_bytes {
            return Err("a unit in it is empty");
        }
        if self.codec.kind(nal) == Some(NalKind::Slice) && !self.has_slice {
            // first_mb_in_slice 0, or first_slice_segment_in_pic_flag: both are a bit 1 behind the header.
            if self.after_loss && nal[header_bytes] & 0x80 == 0 {
                return Err("packets of it were lost");
            }
            self.has_slice = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(payload: &[u8], timestamp: i64, is_last: bool) -> RtpPacket<'_> {
        RtpPacket { payload, timestamp, is_last, is_after_loss: false }
    }

    fn run(codec: Codec, packets: &[RtpPacket<'_>]) -> Vec<RtpOutput> {
        let mut depacketiser = Depacketiser::new(codec).unwrap();
        let mut out = Vec::new();
        packets.iter().for_each(|&packet| depacketiser.push(packet, &mut out));
        out
    }

    fn unit(bytes: &[u8], timestamp: i64) -> RtpOutput {
        RtpOutput::Unit { bytes: Bytes::copy_from_slice(bytes), timestamp }
    }

    #[test]
    fn single_units_aggregates_and_fragments_of_h264() {
        let out = run(
            Codec::H264,
            &[
                packet(&[24, 0, 2, 0x67, 1, 0, 2, 0x68, 2], 10, true),
                packet(&[0x7c, 0x85, 0x88, 1], 20, false),
                packet(&[0x7c, 0x05, 2], 20, false),
                packet(&[0x7c, 0x45, 3], 20, true),
                packet(&[0x41, 0x9a, 4], 30, false),
                packet(&[0x41, 0x9a, 5], 40, true),
            ],
        );
        let key = [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 0x88, 1, 2, 3];
        let deltas = [[0, 0, 0, 1, 0x41, 0x9a, 4], [0, 0, 0, 1, 0x41, 0x9a, 5]];
        assert_eq!(out, [unit(&key, 20), unit(&deltas[0], 30), unit(&deltas[1], 40)]);
    }

    #[test]
    fn fragments_of_h265_get_their_header_back() {
        let out = run(
            Codec::H265,
            &[
                packet(&[48 << 1, 1, 0, 3, 32 << 1, 1, 9, 0, 3, 33 << 1, 1, 8], 1, false),
                packet(&[49 << 1, 1, 0x80 | 19, 0xaf, 1], 1, false),
                packet(&[49 << 1, 1, 0x40 | 19, 2], 1, true),
            ],
        );
        let key = [0, 0, 0, 1, 64, 1, 9, 0, 0, 0, 1, 66, 1, 8, 0, 0, 0, 1, 38, 1, 0xaf, 1, 2];
        assert_eq!(out, [unit(&key, 1)]);
    }

    #[test]
    fn a_loss_costs_the_frame_it_hits_and_no_other() {
        let after_loss = |packet| RtpPacket { is_after_loss: true, ..packet };
        let lost = RtpOutput::Damage { what: "packets of it were lost" };
        // Inside a fragment; the rest of that frame is not a frame.
        let out = run(
            Codec::H264,
            &[
                packet(&[0x7c, 0x81, 0x9a, 1], 10, false),
                after_loss(packet(&[0x7c, 0x41, 3], 10, true)),
                packet(&[0x41, 0x9a, 5], 20, true),
            ],
        );
        assert_eq!(out, [lost.clone(), unit(&[0, 0, 0, 1, 0x41, 0x9a, 5], 20)]);
        // The first slice of a picture, whose second one arrives.
        let out =
            run(Codec::H264, &[packet(&[0x41, 0x9a, 5], 20, true), after_loss(packet(&[0x41, 0x2a, 5], 30, true))]);
        assert_eq!(out[1..], [RtpOutput::Damage { what: "packets were lost" }, lost]);
    }

    #[test]
    fn a_unit_without_end_is_given_up() {
        let mut depacketiser = Depacketiser::new(Codec::H264).unwrap();
        let (mut out, filler) = (Vec::new(), vec![0x7c; 60_000]);
        depacketiser.push(packet(&[0x7c, 0x85, 0x88], 1, false), &mut out);
        let mut middle = filler.clone();
        middle[1] = 0x05;
        for _ in 0..1_000 {
            depacketiser.push(packet(&middle, 1, false), &mut out);
        }
        let Assembler::Nal(nal) = &depacketiser.0 else { panic!("{depacketiser:?}") };
        assert!(nal.unit.capacity() == 0 && out.is_empty(), "{out:?}");
        depacketiser.push(packet(&[0x41, 0x9a, 5], 2, true), &mut out);
        assert_eq!(
            out,
            [RtpOutput::Damage { what: "it is larger than 32 MiB" }, unit(&[0, 0, 0, 1, 0x41, 0x9a, 5], 2)]
        );
    }

    proptest! {
        #[test]
        fn anything_is_survived(
            codec in prop::sample::select(vec![Codec::H264, Codec::H265, Codec::Jpeg]),
            packets in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..80), 0_i64..3, any::<bool>(), any::<bool>()), 0..20),
        ) {
            let packets: Vec<_> = packets
                .iter()
                .map(|(payload, timestamp, is_last, is_after_loss)| RtpPacket {
                    payload, timestamp: *timestamp, is_last: *is_last, is_after_loss: *is_after_loss,
                })
                .collect();
            run(codec, &packets);
        }
    }
}
