//! The initialisation segment: one video track without samples (ISO/IEC 14496-12, 8.1 to 8.8).

use super::boxes::Boxes;
use super::{MuxError, configuration};
use bytes::Bytes;
use lumenbus_frame::bitstream::{NalCodec, ParameterSets, SequenceParameters, nal_units};

/// The only track.
pub(super) const TRACK_ID: u32 = 1;
/// No rotation, no scaling.
const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
const HALF_INCH_DPI: u32 = 0x0048_0000;

/// What a decoder must know of a stream before its first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    codec: NalCodec,
    sequence: SequenceParameters,
    sets: Vec<Vec<u8>>,
    configuration: Vec<u8>,
}

impl Track {
    /// Reads the parameter sets of a keyframe in Annex B.
    ///
    /// # Errors
    /// Sets that are missing, damaged, or more than MP4 can hold.
    pub fn of_keyframe(codec: NalCodec, access_unit: &[u8]) -> Result<Self, MuxError> {
        let mut known = ParameterSets::new(codec);
        for nal in nal_units(access_unit) {
            known.insert(nal)?;
        }
        let sets: Vec<Vec<u8>> = known.nal_units().map(|set| set.to_vec()).collect();
        let sequence = known.first_sequence().ok_or(MuxError::MissingParameters { what: "sequence parameter set" })?;
        let configuration = match codec {
            NalCodec::H264 => configuration::avc(&sets)?,
            NalCodec::H265 => configuration::hevc(&sets)?,
        };
        Ok(Self { codec, sequence, sets, configuration })
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> NalCodec {
        self.codec
    }

    /// What the sequence parameter set says.
    #[must_use]
    pub fn sequence(&self) -> &SequenceParameters {
        &self.sequence
    }

    /// `ftyp` and `moov`. `timescale` is in ticks per second; `delay_ticks` is what composition times were put off by
    /// so that none comes before its decode time: players then begin at the first picture (an edit list says so).
    ///
    /// # Errors
    /// A picture larger than 65,535 pixels a side.
    pub fn initialisation(&self, timescale: u32, delay_ticks: u32) -> Result<Bytes, MuxError> {
        let size = self.sequence.dimensions;
        let side = |value: u32| {
            let too_large = |_| MuxError::TooLarge { what: "the picture's side", value: value.into(), limit: 65_535 };
            u16::try_from(value).map_err(too_large)
        };
        let (width, height) = (side(size.width)?, side(size.height)?);
        let mut boxes = Boxes::with_capacity(1_024);
        boxes.boxed(b"ftyp", |b| {
            b.bytes(b"iso6");
            b.u32(0);
            b.bytes(b"iso6mp41");
        });
        boxes.boxed(b"moov", |b| {
            b.full(b"mvhd", 0, 0, |b| {
                b.zeros(8);
                b.u32(timescale);
                b.u32(0);
                b.u32(0x0001_0000);
                b.u16(0x0100);
                b.zeros(10);
                MATRIX.iter().for_each(|value| b.u32(*value));
                b.zeros(24);
                b.u32(TRACK_ID + 1);
            });
            b.boxed(b"trak", |b| self.track(b, timescale, delay_ticks, (width, height)));
            b.boxed(b"mvex", |b| {
                b.full(b"trex", 0, 0, |b| [TRACK_ID, 1, 0, 0, 0].iter().for_each(|value| b.u32(*value)));
            });
        });
        Ok(boxes.finish().into())
    }

    fn track(&self, b: &mut Boxes, timescale: u32, delay_ticks: u32, (width, height): (u16, u16)) {
        // Enabled, and in the movie.
        b.full(b"tkhd", 0, 3, |b| {
            b.zeros(8);
            b.u32(TRACK_ID);
            b.zeros(24);
            MATRIX.iter().for_each(|value| b.u32(*value));
            b.u32(u32::from(width) << 16);
            b.u32(u32::from(height) << 16);
        });
        if delay_ticks > 0 {
            b.boxed(b"edts", |b| {
                b.full(b"elst", 0, 0, |b| [1, 0, delay_ticks, 0x0001_0000].iter().for_each(|value| b.u32(*value)));
            });
        }
        b.boxed(b"mdia", |b| {
            b.full(b"mdhd", 0, 0, |b| {
                b.zeros(8);
                b.u32(timescale);
                b.u32(0);
                b.u16(0x55c4); // language: undetermined
                b.u16(0);
            });
            b.full(b"hdlr", 0, 0, |b| {
                b.u32(0);
                b.bytes(b"vide");
                b.zeros(12);
                b.bytes(b"lumenbus\0");
            });
            b.boxed(b"minf", |b| {
                b.full(b"vmhd", 0, 1, |b| b.zeros(8));
                b.boxed(b"dinf", |b| {
                    b.full(b"dref", 0, 0, |b| {
                        b.u32(1);
                        b.full(b"url ", 0, 1, |_| {});
                    });
                });
                b.boxed(b"stbl", |b| self.sample_table(b, width, height));
            });
        });
    }

    /// Empty but for the sample description: the samples are in fragments.
    fn sample_table(&self, b: &mut Boxes, width: u16, height: u16) {
        let (entry, record) = match self.codec {
            NalCodec::H264 => (b"avc1", b"avcC"),
            NalCodec::H265 => (b"hvc1", b"hvcC"),
        };
        b.full(b"stsd", 0, 0, |b| {
            b.u32(1);
            b.boxed(entry, |b| {
                b.zeros(6);
                b.u16(1);
                b.zeros(16);
                b.u16(width);
                b.u16(height);
                b.u32(HALF_INCH_DPI);
                b.u32(HALF_INCH_DPI);
                b.u32(0);
                b.u16(1);
                b.zeros(32);
                b.u16(24);
                b.u16(0xffff);
                b.boxed(record, |b| b.bytes(&self.configuration));
            });
        });
        b.full(b"stts", 0, 0, |b| b.u32(0));
        b.full(b"stsc", 0, 0, |b| b.u32(0));
        b.full(b"stsz", 0, 0, |b| b.u64(0));
        b.full(b"stco", 0, 0, |b| b.u32(0));
    }

    /// Whether a keyframe brings the same parameter sets.
    pub(super) fn has_sets_of(&self, other: &Self) -> bool {
        self.sets == other.sets
    }
}
