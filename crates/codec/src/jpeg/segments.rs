//! Marker segments of a JPEG file (ITU-T T.81, B.1.1).

use crate::CodecError;
use lumenbus_frame::{Codec, Dimensions};

pub(super) fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: Codec::Jpeg, what }
}

/// Size of the picture in a JPEG file, from its frame header (ITU-T T.81, B.2.2); reads nothing further.
pub fn jpeg_dimensions(file: &[u8]) -> Result<Dimensions, CodecError> {
    let mut segments = Segments::of(file);
    while let Some((marker, body)) = segments.next()? {
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            let &[_, h1, h0, w1, w0, ..] = body else {
                return Err(malformed("a frame header that is too short"));
            };
            return Ok(Dimensions::new(u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into()));
        }
    }
    Err(malformed("no frame header before the scan"))
}

/// The marker segments up to and including the start of scan (ITU-T T.81, B.1.1).
pub(super) struct Segments<'a> {
    file: &'a [u8],
    /// Behind the last segment read.
    at: usize,
}

impl<'a> Segments<'a> {
    pub(super) fn of(file: &'a [u8]) -> Self {
        Self { file, at: 0 }
    }

    /// What follows the last segment read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.file.get(self.at..).unwrap_or_default()
    }

    pub(super) const START_OF_SCAN: u8 = 0xDA;

    /// The next segment's marker and body; `None` behind the start of scan.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, CodecError> {
        if self.at == 0 {
            if !self.file.starts_with(&[0xFF, 0xD8]) {
                return Err(malformed("it does not begin with FF D8"));
            }
            self.at = 2;
        }
        let rest = self.file.get(self.at..).unwrap_or_default();
        // Fill bytes may stand before a marker; what is no marker at all is skipped, as decoders do.
        let Some(start) = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF)) else {
            return Err(malformed("it ends before the scan"));
        };
        let (marker, rest) = (rest[start + 1], &rest[start + 2..]);
        self.at += start + 2;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            return Ok(Some((marker, &[])));
        }
        let &[high, low, ..] = rest else {
            return Err(malformed("it ends inside a segment"));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let body = rest.get(2..length).ok_or_else(|| malformed("a segment is longer than the file"))?;
        self.at += length;
        Ok(Some((marker, body)))
    }

    /// Fails unless the file has its end marker: a truncated file would decode to a half-gray picture.
    pub(super) fn check_complete(mut self) -> Result<(), CodecError> {
        while let Some((marker, _)) = self.next()? {
            if marker == Self::START_OF_SCAN {
                let scan = self.file.get(self.at..).unwrap_or_default();
                let ends = scan.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]);
                return if ends { Ok(()) } else { Err(malformed("it is truncated: the end marker is missing")) };
            }
        }
        Err(malformed("it has no scan"))
    }
}

/// Whether a sequential file with smaller colour planes has a scan for each of them instead of one for all.
pub(super) fn is_scattered(file: &[u8]) -> bool {
    let mut segments = Segments::of(file);
    let mut components: &[u8] = &[];
    while let Ok(Some((marker, body))) = segments.next() {
        match marker {
            0xC0 | 0xC1 => components = body.get(6..).unwrap_or_default(),
            Segments::START_OF_SCAN => {
                let is_subsampled = components.chunks_exact(3).any(|component| component[1] != 0x11);
                let in_scan = body.first().copied().map_or(0, usize::from);
                return is_subsampled && in_scan < components.len() / 3;
            }
            _ => {}
        }
    }
    false
}
