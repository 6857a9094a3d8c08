//! JPEG files out of RTP packets (RFC 2435): the headers are made anew.

use crate::live::rtp::{RtpOutput, RtpPacket};
use bytes::Bytes;

/// Largest picture: offsets have 24 bits.
const MAX_PICTURE_BYTES: usize = 1 << 24;

/// The example tables of ITU-T T.81, annex K.1, in zigzag order.
const LUMA: [u8; 64] = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
];
const CHROMA: [u8; 64] = [
    17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99,
];

/// Tables for Q 1 to 99 (RFC 2435, section 4.2).
fn tables(quality: u8) -> Vec<u8> {
    let quality = u32::from(quality.clamp(1, 99));
    let factor = if quality < 50 { 5000 / quality } else { 200 - quality * 2 };
    let scale = |&value: &u8| u8::try_from(((u32::from(value) * factor + 50) / 100).clamp(1, 255)).unwrap_or(255);
    LUMA.iter().chain(&CHROMA).map(scale).collect()
}

#[derive(Debug, Default)]
pub(super) struct JpegAssembler {
    file: Vec<u8>,
    /// Where the scan's data begin in `file`.
    scan: usize,
    timestamp: i64,
    is_open: bool,
    /// The rest of this frame is of no use, and that was told.
    is_told: bool,
    /// Tables by Q, as they came in band: 128 to 254 may be sent once.
    kept: Vec<(u8, Vec<u8>)>,
}

/// The main header and what follows it.
struct Header<'a> {
    offset: usize,
    kind: u8,
    quality: u8,
    width: u16,
    height: u16,
    restart_interval: Option<u16>,
    rest: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(payload: &'a [u8]) -> Option<Self> {
        let (main, rest) = payload.split_first_chunk::<8>()?;
        let kind = main[4];
        let (restart_interval, rest) = if (64..128).contains(&kind) {
            let (restart, rest) = rest.split_first_chunk::<4>()?;
            (Some(u16::from_be_bytes([restart[0], restart[1]])), rest)
        } else {
            (None, rest)
        };
        let offset = usize::from(main[1]) << 16 | usize::from(main[2]) << 8 | usize::from(main[3]);
        let (width, height) = (u16::from(main[6]) * 8, u16::from(main[7]) * 8);
        Some(Self { offset, kind, quality: main[5], width, height, restart_interval, rest })
    }
}

impl JpegAssembler {
    pub(super) fn push(&mut self, packet: RtpPacket<'_>, out: &mut Vec<RtpOutput>) {
        if packet.timestamp != self.timestamp {
            if self.is_open {
                self.spoil("its last packet was lost", out);
            }
            self.timestamp = packet.timestamp;
            self.is_told = false;
        }
        if let Err(what) = self.take(packet.payload) {
            self.spoil(what, out);
        } else if packet.is_last && self.is_open {
            self.is_open = false;
            if !self.file.ends_with(&[0xff, 0xd9]) {
                self.file.extend_from_slice(&[0xff, 0xd9]);
            }
            let bytes = Bytes::from(std::mem::take(&mut self.file));
            out.push(RtpOutput::Unit { bytes, timestamp: self.timestamp });
        }
        // A loss between frames.
        if packet.is_after_loss && !self.is_told && Header::read(packet.payload).is_some_and(|at| at.offset == 0) {
            let at = out.len() - usize::from(matches!(out.last(), Some(RtpOutput::Unit { .. })));
            out.insert(at, RtpOutput::Damage { what: "packets were lost" });
        }
    }

    fn spoil(&mut self, what: &'static str, out: &mut Vec<RtpOutput>) {
        self.file = Vec::new();
        self.is_open = false;
        if !std::mem::replace(&mut self.is_told, true) {
            out.push(RtpOutput::Damage { what });
        }
    }

    fn take(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let header = Header::read(payload).ok_or("a packet is shorter than its header")?;
        let mut data = header.rest;
        if header.offset == 0 {
            data = self.begin(&header)?;
        } else if !self.is_open || self.file.len() - self.scan != header.offset {
            return Err("packets of it were lost");
        }
        if self.file.len() + data.len() > MAX_PICTURE_BYTES {
            return Err("it is larger than 16 MiB");
        }
        self.file.extend_from_slice(data);
        Ok(())
    }

    fn begin<'a>(&mut self, header: &Header<'a>) -> Result<&'a [u8], &'static str> {
        if header.width == 0 || header.height == 0 {
            return Err("it has no size (pictures above 2040 pixels cannot be sent in this form)");
        }
        let sampling = match header.kind & 0x3f {
            0 => 0x21,
            1 => 0x22,
            _ => return Err("it is of a type that RFC 2435 does not define"),
        };
        let (tables, data) = self.tables_of(header)?;
        self.file.clear();
        write_headers(&mut self.file, header, sampling, &tables);
        self.scan = self.file.len();
        self.is_open = true;
        Ok(data)
    }

    fn tables_of<'a>(&mut self, header: &Header<'a>) -> Result<(Vec<u8>, &'a [u8]), &'static str> {
        if header.quality < 128 {
            return Ok((tables(header.quality), header.rest));
        }
        let (table, rest) = header.rest.split_first_chunk::<4>().ok_or("a packet is shorter than its header")?;
        let length = usize::from(u16::from_be_bytes([table[2], table[3]]));
        let (tables, data) = rest.split_at_checked(length).ok_or("its tables are cut off")?;
        if table[1] != 0 || !matches!(length, 0 | 64 | 128) {
            return Err("its tables are not of 8 bits");
        }
        if length > 0 {
            self.kept.retain(|(quality, _)| *quality != header.quality);
            self.kept.push((header.quality, tables.to_vec()));
            return Ok((tables.to_vec(), data));
        }
        let kept = self.kept.iter().find(|(quality, _)| *quality == header.quality);
        kept.map(|(_, tables)| (tables.clone(), data)).ok_or("its tables have not been sent yet")
    }
}

/// SOI, DQT, SOF0, DRI and SOS; the usual Huffman tables are added where files are made complete.
fn write_headers(file: &mut Vec<u8>, header: &Header<'_>, luma_sampling: u8, tables: &[u8]) {
    file.extend_from_slice(&[0xff, 0xd8]);
    for (number, table) in (0_u8..).zip(tables.chunks_exact(64)) {
        file.extend_from_slice(&[0xff, 0xdb, 0, 67, number]);
        file.extend_from_slice(table);
    }
    let chroma = u8::from(tables.len() > 64);
    let [height, width] = [header.height, header.width].map(u16::to_be_bytes);
    file.extend_from_slice(&[0xff, 0xc0, 0, 17, 8, height[0], height[1], width[0], width[1], 3]);
    file.extend_from_slice(&[1, luma_sampling, 0, 2, 0x11, chroma, 3, 0x11, chroma]);
    if let Some(interval) = header.restart_interval {
        let interval = interval.to_be_bytes();
        file.extend_from_slice(&[0xff, 0xdd, 0, 4, interval[0], interval[1]]);
    }
    file.extend_from_slice(&[0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(offset: u8, quality: u8, data: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, offset, 1, quality, 8, 6], data].concat()
    }

    fn push(assembler: &mut JpegAssembler, payload: &[u8], timestamp: i64, is_last: bool) -> Vec<RtpOutput> {
        let mut out = Vec::new();
        assembler.push(RtpPacket { payload, timestamp, is_last, is_after_loss: false }, &mut out);
        out
    }

    #[test]
    fn fragments_make_a_file() {
        let mut assembler = JpegAssembler::default();
        assert_eq!(push(&mut assembler, &payload(0, 50, &[1, 2, 3]), 1, false), []);
        let out = push(&mut assembler, &payload(3, 50, &[4, 5]), 1, true);
        let [RtpOutput::Unit { bytes, timestamp: 1 }] = &out[..] else { panic!("{out:?}") };
        assert!(bytes.ends_with(&[1, 2, 3, 4, 5, 0xff, 0xd9]));
        let picture = crate::jpeg::complete(bytes).unwrap();
        assert_eq!((picture.dimensions.width, picture.dimensions.height), (64, 48));
        assert_eq!(bytes[7..71], LUMA, "quality 50 are the tables themselves");
    }

    #[test]
    fn a_hole_is_told_once_and_the_next_picture_is_good() {
        let mut assembler = JpegAssembler::default();
        push(&mut assembler, &payload(0, 50, &[1, 2, 3]), 1, false);
        let lost = RtpOutput::Damage { what: "packets of it were lost" };
        assert_eq!(push(&mut assembler, &payload(9, 50, &[4]), 1, false), [lost]);
        assert_eq!(push(&mut assembler, &payload(10, 50, &[5]), 1, true), []);
        assert_eq!(push(&mut assembler, &payload(0, 50, &[1, 2, 3]), 2, true).len(), 1);
    }

    #[test]
    fn tables_sent_once_are_kept() {
        let mut assembler = JpegAssembler::default();
        let unknown = RtpOutput::Damage { what: "its tables have not been sent yet" };
        assert_eq!(push(&mut assembler, &payload(0, 200, &[0, 0, 0, 0, 7]), 1, true), [unknown]);
        let with_tables = [&[0, 0, 0, 128][..], &[9; 128], &[7]].concat();
        assert_eq!(push(&mut assembler, &payload(0, 200, &with_tables), 2, true).len(), 1);
        let out = push(&mut assembler, &payload(0, 200, &[0, 0, 0, 0, 7]), 3, true);
        assert!(matches!(&out[..], [RtpOutput::Unit { bytes, .. }] if bytes[7..71] == [9; 64]), "{out:?}");
    }
}
