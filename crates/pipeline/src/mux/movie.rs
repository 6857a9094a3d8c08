//! The initialisation segment: one video track without samples (ISO/IEC 14496-12, 8.1 to 8.8).

use super::MuxError;
use super::boxes::Boxes;
use bytes::Bytes;
use lumenbus_frame::Dimensions;

/// The only track.
pub(super) const TRACK_ID: u32 = 1;
/// No rotation, no scaling.
const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
const HALF_INCH_DPI: u32 = 0x0048_0000;
/// From 1904, where MP4 begins to count, to 1970.
const EPOCH_SECONDS: i64 = 2_082_844_800;

/// What kind of samples a track holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    /// Name of the sample entry.
    pub(super) entry: [u8; 4],
    /// Name of the decoder configuration in it.
    pub(super) record: [u8; 4],
    /// Its content.
    pub(super) configuration: Vec<u8>,
    /// Of the shown picture.
    pub(super) dimensions: Dimensions,
}

/// `ftyp` and `moov`. `timescale` is in ticks per second, `begin_ticks` where on the time line of the samples a player
/// begins (an edit list says so), `created_unix_seconds` when the first picture was taken.
pub(super) fn initialisation(
    description: &Description,
    timescale: u32,
    begin_ticks: u64,
    created_unix_seconds: Option<i64>,
) -> Result<Bytes, MuxError> {
    let size = description.dimensions;
    let side = |value: u32| {
        let too_large = |_| MuxError::TooLarge { what: "the picture's side", value: value.into(), limit: 65_535 };
        u16::try_from(value).map_err(too_large)
    };
    let created = created_unix_seconds.map_or(0, |unix| u64::try_from(unix + EPOCH_SECONDS).unwrap_or(0));
    let movie =
        Movie { description, timescale, begin_ticks, created, width: side(size.width)?, height: side(size.height)? };
    let mut boxes = Boxes::with_capacity(1_024);
    boxes.boxed(b"ftyp", |b| {
        b.bytes(b"iso6");
        b.u32(0);
        b.bytes(b"iso6mp41");
    });
    boxes.boxed(b"moov", |b| movie.write(b));
    Ok(boxes.finish().into())
}

struct Movie<'a> {
    description: &'a Description,
    timescale: u32,
    begin_ticks: u64,
    created: u64,
    width: u16,
    height: u16,
}

impl Movie<'_> {
    fn write(&self, b: &mut Boxes) {
        b.full(b"mvhd", 1, 0, |b| {
            self.times(b);
            b.u32(self.timescale);
            b.u64(0);
            b.u32(0x0001_0000);
            b.u16(0x0100);
            b.zeros(10);
            MATRIX.iter().for_each(|value| b.u32(*value));
            b.zeros(24);
            b.u32(TRACK_ID + 1);
        });
        b.boxed(b"trak", |b| self.track(b));
        b.boxed(b"mvex", |b| {
            b.full(b"trex", 0, 0, |b| [TRACK_ID, 1, 0, 0, 0].iter().for_each(|value| b.u32(*value)));
        });
    }

    /// Creation and modification.
    fn times(&self, b: &mut Boxes) {
        b.u64(self.created);
        b.u64(self.created);
    }

    fn track(&self, b: &mut Boxes) {
        // Enabled, and in the movie.
        b.full(b"tkhd", 1, 3, |b| {
            self.times(b);
            b.u32(TRACK_ID);
            b.zeros(28);
            MATRIX.iter().for_each(|value| b.u32(*value));
            b.u32(u32::from(self.width) << 16);
            b.u32(u32::from(self.height) << 16);
        });
        if self.begin_ticks > 0 {
            b.boxed(b"edts", |b| {
                b.full(b"elst", 1, 0, |b| {
                    b.u32(1);
                    b.u64(0); // to the end of what the fragments hold
                    b.u64(self.begin_ticks);
                    b.u32(0x0001_0000);
                });
            });
        }
        b.boxed(b"mdia", |b| {
            b.full(b"mdhd", 1, 0, |b| {
                self.times(b);
                b.u32(self.timescale);
                b.u64(0);
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
                b.boxed(b"stbl", |b| self.sample_table(b));
            });
        });
    }

    /// Empty but for the sample description: the samples are in fragments.
    fn sample_table(&self, b: &mut Boxes) {
        let Description { entry, record, configuration, .. } = self.description;
        b.full(b"stsd", 0, 0, |b| {
            b.u32(1);
            b.boxed(entry, |b| {
                b.zeros(6);
                b.u16(1);
                b.zeros(16);
                b.u16(self.width);
                b.u16(self.height);
                b.u32(HALF_INCH_DPI);
                b.u32(HALF_INCH_DPI);
                b.u32(0);
                b.u16(1);
                b.zeros(32);
                b.u16(24);
                b.u16(0xffff);
                b.boxed(record, |b| b.bytes(configuration));
            });
        });
        b.full(b"stts", 0, 0, |b| b.u32(0));
        b.full(b"stsc", 0, 0, |b| b.u32(0));
        b.full(b"stsz", 0, 0, |b| b.u64(0));
        b.full(b"stco", 0, 0, |b| b.u32(0));
    }
}
