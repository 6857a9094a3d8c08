//! Still picture files by their headers: kind, size, and whether they are whole.

use crate::jpeg;
use bytes::Bytes;
use lumenbus_frame::{Codec, Dimensions};

/// A picture file that passes the light check.
#[derive(Debug)]
pub(crate) struct Still {
    pub(crate) codec: Codec,
    pub(crate) dimensions: Dimensions,
    pub(crate) bytes: Bytes,
}

/// Why a file is no picture: position and reason.
pub(crate) type Defect = (u64, &'static str);

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JP2: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";
const J2K: &[u8] = b"\xff\x4f\xff\x51";

/// The kind of picture a file begins like.
pub(crate) fn sniff(head: &[u8]) -> Option<Codec> {
    if head.starts_with(&[0xff, 0xd8, 0xff]) {
        Some(Codec::Jpeg)
    } else if head.starts_with(PNG) {
        Some(Codec::Png)
    } else if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        Some(Codec::Webp)
    } else if head.starts_with(JP2) || head.starts_with(J2K) {
        Some(Codec::Jpeg2000)
    } else {
        None
    }
}

/// Checks a whole file without decoding it.
pub(crate) fn check(bytes: &Bytes) -> Result<Still, Defect> {
    let codec = sniff(bytes).ok_or((0, "not a picture of a known kind (jpg, png, webp, jp2)"))?;
    let (bytes, dimensions) = match codec {
        Codec::Jpeg => {
            let picture = jpeg::complete(bytes).map_err(|defect| (defect.at as u64, defect.what))?;
            (picture.bytes, picture.dimensions)
        }
        Codec::Png => (bytes.clone(), check_png(bytes)?),
        Codec::Webp => (bytes.clone(), check_webp(bytes)?),
        _ => (bytes.clone(), check_jpeg2000(bytes)?),
    };
    if dimensions.width == 0 || dimensions.height == 0 {
        return Err((0, "a picture without size"));
    }
    Ok(Still { codec, dimensions, bytes })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// ISO/IEC 15948, clause 5: chunks up to `IEND`.
fn check_png(bytes: &[u8]) -> Result<Dimensions, Defect> {
    let cut = |at: usize| (at as u64, "a PNG that ends before its end chunk");
    if bytes.get(12..16) != Some(b"IHDR") {
        return Err((8, "a PNG without header chunk"));
    }
    let size = word(bytes, 16).zip(word(bytes, 20)).ok_or(cut(16))?;
    let mut at = PNG.len();
    loop {
        let length = word(bytes, at).and_then(|length| usize::try_from(length).ok()).ok_or(cut(at))?;
        let end = at.checked_add(length).and_then(|end| end.checked_add(12)).filter(|&end| end <= bytes.len());
        let end = end.ok_or(cut(at))?;
        if bytes.get(at + 4..at + 8) == Some(b"IEND") {
            return Ok(Dimensions::new(size.0, size.1));
        }
        at = end;
    }
}

/// RFC 9649, section 2.
fn check_webp(bytes: &[u8]) -> Result<Dimensions, Defect> {
    const CUT: Defect = (4, "a WebP shorter than it says");
    let size = bytes.get(4..8).ok_or(CUT)?;
    let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]);
    if usize::try_from(size).ok().and_then(|size| size.checked_add(8)).is_none_or(|size| size > bytes.len()) {
        return Err(CUT);
    }
    let field = |at: usize, count: usize| -> Result<u32, Defect> {
        let bytes = bytes.get(at..at + count).ok_or(CUT)?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    };
    match bytes.get(12..16) {
        Some(b"VP8X") => Ok(Dimensions::new(field(24, 3)? + 1, field(27, 3)? + 1)),
        Some(b"VP8L") => {
            let packed = field(21, 4)?;
            Ok(Dimensions::new((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1))
        }
        Some(b"VP8 ") => Ok(Dimensions::new(field(26, 2)? & 0x3fff, field(28, 2)? & 0x3fff)),
        _ => Err((12, "a WebP without picture chunk")),
    }
}

/// ITU-T T.800, annexes A.5.1 and I.5.3.1: the size is in the codestream's SIZ marker.
fn check_jpeg2000(bytes: &[u8]) -> Result<Dimensions, Defect> {
    let stream = if bytes.starts_with(J2K) { Some(0) } else { find_codestream(bytes) };
    let start = stream.ok_or((12, "a JP2 without codestream"))?;
    let field = |at| word(bytes, start + at).ok_or((start as u64, "a JPEG 2000 codestream without size"));
    let (right, bottom, left, top) = (field(8)?, field(12)?, field(16)?, field(20)?);
    if !bytes.ends_with(&[0xff, 0xd9]) {
        return Err((bytes.len() as u64, "a JPEG 2000 file that ends before its end marker"));
    }
    Ok(Dimensions::new(right.saturating_sub(left), bottom.saturating_sub(top)))
}

/// Walks the boxes of a JP2 file to the content of `jp2c`.
fn find_codestream(bytes: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        let size = usize::try_from(word(bytes, at)?).ok()?;
        let is_stream = bytes.get(at + 4..at + 8)? == b"jp2c";
        let (header, size) = match size {
            0 => (8, bytes.len() - at),
            1 => (16, usize::try_from(u64::from(word(bytes, at + 8)?) << 32 | u64::from(word(bytes, at + 12)?)).ok()?),
            size => (8, size),
        };
        if is_stream {
            return bytes.get(at + header..)?.starts_with(J2K).then_some(at + header);
        }
        at = at.checked_add(size).filter(|_| size >= header)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILES: [(&[u8], Codec); 4] = [
        (include_bytes!("../tests/data/still.jpg"), Codec::Jpeg),
        (include_bytes!("../tests/data/still.png"), Codec::Png),
        (include_bytes!("../tests/data/still.webp"), Codec::Webp),
        (include_bytes!("../tests/data/still.jp2"), Codec::Jpeg2000),
    ];

    #[test]
    fn whole_files_pass_and_cut_ones_do_not() {
        for (bytes, codec) in FILES {
            let bytes = Bytes::from_static(bytes);
            let still = check(&bytes).unwrap();
            assert_eq!((still.codec, still.dimensions), (codec, Dimensions::new(64, 48)));
            for length in (0..bytes.len() - 1).step_by(5) {
                assert!(check(&bytes.slice(..length)).is_err(), "{codec} cut to {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn damage_is_survived(
            file in 0_usize..4,
            hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        ) {
            let mut bytes = FILES[file].0.to_vec();
            for (at, byte) in hits {
                let at = at.index(bytes.len().min(64));
                bytes[at] = byte;
            }
            if let Ok(still) = check(&Bytes::from(bytes)) {
                prop_assert!(still.dimensions.width > 0);
            }
        }
    }
}
