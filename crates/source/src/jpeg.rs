//! JPEG files by their markers (ITU-T T.81, annex B), without decoding.

use bytes::Bytes;
use lumenbus_frame::Dimensions;

/// A defect and its position in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// How far a picture has been scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// More bytes are needed.
    More,
    /// The picture ends before this position.
    End(usize),
    /// It is damaged.
    Bad(Defect),
}

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const TABLES: u8 = 0xc4;

/// Walks the markers of one picture, which may come in pieces.
///
/// Segments are skipped by their length, so that a thumbnail inside one does not end the picture.
#[derive(Debug, Default)]
pub(crate) struct MarkerWalk {
    /// Next byte to look at.
    at: usize,
    in_entropy_data: bool,
    pub(crate) dimensions: Option<Dimensions>,
    /// Where the first scan's marker is.
    first_scan: Option<usize>,
    has_huffman_tables: bool,
    is_arithmetic: bool,
}

impl MarkerWalk {
    /// Looks further; `bytes` begins with the picture's first byte and only ever grows.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Scan {
        loop {
            let step = if self.in_entropy_data { self.entropy_data(bytes) } else { self.segment(bytes) };
            match step {
                Some(Scan::End(end)) => return self.finish(end),
                Some(done) => return done,
                None => {}
            }
        }
    }

    fn finish(&self, end: usize) -> Scan {
        let bad = |what| Scan::Bad(Defect { at: end.saturating_sub(2), what });
        match self.dimensions {
            _ if self.first_scan.is_none() => bad("a JPEG without picture data"),
            None => bad("a JPEG without a frame header"),
            Some(_) => Scan::End(end),
        }
    }

    fn segment(&mut self, bytes: &[u8]) -> Option<Scan> {
        let Some(&[prefix, marker]) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) else {
            return Some(Scan::More);
        };
        if prefix != 0xff {
            return Some(Scan::Bad(Defect { at: self.at, what: "no JPEG marker where one must be" }));
        }
        match marker {
            0xff => {
                self.at += 1; // fill byte
                return None;
            }
            START if self.at == 0 => {
                self.at = 2;
                return None;
            }
            _ if self.at == 0 => return Some(Scan::Bad(Defect { at: 0, what: "not the beginning of a JPEG" })),
            END => return Some(Scan::End(self.at + 2)),
            START => return Some(Scan::Bad(Defect { at: self.at, what: "a JPEG that ends without its end marker" })),
            0x01 | 0xd0..=0xd7 => {
                self.at += 2;
                return None;
            }
            _ => {}
        }
        self.sized_segment(bytes, marker)
    }

    fn sized_segment(&mut self, bytes: &[u8], marker: u8) -> Option<Scan> {
        let Some(&[high, low]) = bytes.get(self.at + 2..).and_then(<[u8]>::first_chunk) else {
            return Some(Scan::More);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Some(Scan::Bad(Defect { at: self.at, what: "a JPEG segment with an impossible length" }));
        }
        let end = self.at + 2 + length;
        let Some(content) = bytes.get(self.at + 4..end) else { return Some(Scan::More) };
        match marker {
            TABLES => self.has_huffman_tables = true,
            SCAN => {
                self.first_scan.get_or_insert(self.at);
                self.in_entropy_data = true;
            }
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                self.is_arithmetic |= marker >= 0xc9;
                match frame_dimensions(content) {
                    Some(dimensions) => self.dimensions = Some(dimensions),
                    None => return Some(Scan::Bad(Defect { at: self.at, what: "a JPEG frame header without a size" })),
                }
            }
            _ => {}
        }
        self.at = end;
        None
    }

    /// Goes to the next marker that is neither stuffing nor a restart.
    fn entropy_data(&mut self, bytes: &[u8]) -> Option<Scan> {
        while let Some(&byte) = bytes.get(self.at) {
            if byte != 0xff {
                self.at += 1;
                continue;
            }
            match bytes.get(self.at + 1) {
                None => return Some(Scan::More),
                Some(0x00 | 0xd0..=0xd7) => self.at += 2,
                Some(0xff) => self.at += 1,
                Some(_) => {
                    self.in_entropy_data = false;
                    return None;
                }
            }
        }
        Some(Scan::More)
    }
}

/// B.2.2; a height of 0 (stated later, by DNL) is not accepted: hardly any decoder does.
fn frame_dimensions(content: &[u8]) -> Option<Dimensions> {
    let &[_, h0, h1, w0, w1] = content.first_chunk()?;
    let height = u32::from(u16::from_be_bytes([h0, h1]));
    let width = u32::from(u16::from_be_bytes([w0, w1]));
    (width > 0 && height > 0).then(|| Dimensions::new(width, height))
}

/// A picture that any decoder takes.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) bytes: Bytes,
    pub(crate) dimensions: Dimensions,
}

/// Checks one whole picture from start to end marker and cuts off what follows it.
///
/// Pictures in AVI and MJPEG streams may leave out the Huffman tables; the standard's are put in, so that the bytes
/// are a complete file.
pub(crate) fn complete(bytes: &Bytes) -> Result<Picture, Defect> {
    let mut walk = MarkerWalk::default();
    match walk.advance(bytes) {
        Scan::End(end) => Ok(walk.picture(bytes.slice(..end))),
        Scan::More => Err(Defect { at: bytes.len(), what: "a JPEG that ends before its end marker" }),
        Scan::Bad(defect) => Err(defect),
    }
}

impl MarkerWalk {
    /// The walked picture, with tables.
    pub(crate) fn picture(&self, bytes: Bytes) -> Picture {
        let dimensions = self.dimensions.expect("a finished walk has met a frame header");
        let scan = self.first_scan.expect("a finished walk has met a scan");
        if self.has_huffman_tables || self.is_arithmetic {
            return Picture { bytes, dimensions };
        }
        let whole = [&bytes[..scan], &STANDARD_TABLES, &bytes[scan..]].concat();
        Picture { bytes: Bytes::from(whole), dimensions }
    }
}

/// The tables of annex K.3 as one segment.
const STANDARD_TABLES: [u8; 420] = [
    0xff, 0xc4, 0x01, 0xa2, 0x00, 0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x01, 0x00, 0x03, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,
    0x07, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x00, 0x02, 0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00,
    0x00, 0x01, 0x7d, 0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
    0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62,
    0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a,
    0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85,
    0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6,
    0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
    0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7,
    0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0x11, 0x00, 0x02, 0x01, 0x02, 0x04,
    0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77, 0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21,
    0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1,
    0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19,
    0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
    0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74,
    0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95,
    0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6,
    0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7,
    0xd8, 0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
    0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIP: &[u8] = include_bytes!("../tests/data/two.mjpeg");

    fn first_picture() -> Bytes {
        let mut walk = MarkerWalk::default();
        let Scan::End(end) = walk.advance(CLIP) else { panic!("the clip begins with a picture") };
        Bytes::from_static(&CLIP[..end])
    }

    /// The picture without its Huffman tables, as AVI files hold it.
    fn abbreviated(picture: &[u8]) -> Vec<u8> {
        let mut at = 2;
        let mut out = picture[..2].to_vec();
        while picture[at + 1] != SCAN {
            let end = at + 2 + usize::from(u16::from_be_bytes([picture[at + 2], picture[at + 3]]));
            if picture[at + 1] != TABLES {
                out.extend_from_slice(&picture[at..end]);
            }
            at = end;
        }
        out.extend_from_slice(&picture[at..]);
        out
    }

    #[test]
    fn missing_tables_are_put_in() {
        let picture = first_picture();
        let short = Bytes::from(abbreviated(&picture));
        assert!(short.len() < picture.len());
        let whole = complete(&short).unwrap();
        assert_eq!(whole.dimensions, Dimensions::new(176, 144));
        assert_eq!(whole.bytes.len(), short.len() + STANDARD_TABLES.len());
    }

    #[test]
    fn an_end_marker_in_a_thumbnail_does_not_end_the_picture() {
        let picture = first_picture();
        let thumbnail = [0xff, 0xe1, 0, 8, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xd9];
        let with_thumbnail = Bytes::from([&picture[..2], &thumbnail, &picture[2..], b"trailer"].concat());
        let found = complete(&with_thumbnail).unwrap();
        assert_eq!(found.bytes.len(), picture.len() + thumbnail.len());
    }

    #[test]
    fn every_truncation_is_noticed() {
        let picture = first_picture();
        for length in (0..picture.len()).step_by(7) {
            assert!(complete(&picture.slice(..length)).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_walked_as_the_whole(cuts in proptest::collection::vec(1_usize..400, 1..20)) {
            let picture = first_picture();
            let mut walk = MarkerWalk::default();
            let mut seen = 0;
            for cut in cuts.into_iter().cycle() {
                seen = picture.len().min(seen + cut);
                match walk.advance(&picture[..seen]) {
                    Scan::More => prop_assert!(seen < picture.len()),
                    other => {
                        prop_assert_eq!(other, Scan::End(picture.len()));
                        break;
                    }
                }
            }
        }

        #[test]
        fn random_bytes_are_survived(bytes in proptest::collection::vec(prop_oneof![Just(0xff_u8), any::<u8>()], 0..200)) {
            let bytes = Bytes::from([&[0xff, 0xd8, 0xff][..], &bytes].concat());
            if let Ok(picture) = complete(&bytes) {
                prop_assert!(picture.bytes.len() <= bytes.len() + STANDARD_TABLES.len());
            }
        }
    }
}
