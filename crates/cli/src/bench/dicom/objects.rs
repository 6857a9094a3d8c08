//! Objects made for the measurement.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::Path;

const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
/// A fragment of the large object: it fits into a chunk.
const FRAGMENT_BYTES: u32 = 700_000;
const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
const DELIMITER: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
const UNDEFINED: u32 = u32::MAX;

fn short(group: u16, element: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let padding: &[u8] = if value.len().is_multiple_of(2) { b"" } else { b"\0" };
    let length = u16::try_from(value.len() + padding.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&group.to_le_bytes()[..], &element.to_le_bytes(), vr.as_bytes(), &length, value, padding].concat()
}

/// Everything in front of the pixels' value.
fn head(syntax: &str, instance: u64, vr: &str, length: u32) -> Vec<u8> {
    let uid = format!("1.2.826.0.1.3680043.8.498.88.{instance}");
    let elements = [
        short(2, 0x10, "UI", syntax.as_bytes()),
        short(8, 0x18, "UI", uid.as_bytes()),
        short(0x10, 0x20, "LO", b"BENCH"),
        short(0x20, 0xD, "UI", b"1.2.826.0.1.3680043.8.498.8"),
        [&[0xE0, 0x7F, 0x10, 0x00][..], vr.as_bytes(), &[0, 0], &length.to_le_bytes()].concat(),
    ];
    [&[0; 128][..], b"DICM", &elements.concat()].concat()
}

/// An object of 12-bit noise, which no compression shortens much.
pub(super) fn native(path: &Path, instance: u64, bytes: usize) -> io::Result<()> {
    let words = bytes / 2;
    let length = u32::try_from(words * 2).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&head(EXPLICIT_LITTLE, instance, "OW", length))?;
    let mut state = instance.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for _ in 0..words {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [low, high, ..] = state.to_le_bytes();
        file.write_all(&[low, high & 0x0F])?;
    }
    file.flush()
}

/// A multi-frame object of about so many bytes: each frame is a fragment, and a hole in the file. Its frames.
pub(super) fn multi_frame(path: &Path, bytes: u64) -> io::Result<u64> {
    let frames = (bytes / u64::from(FRAGMENT_BYTES)).max(1);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&head(JPEG_2000, 0, "OB", UNDEFINED))?;
    file.write_all(&[&ITEM[..], &[0; 4]].concat())?;
    for _ in 0..frames {
        file.write_all(&[&ITEM[..], &FRAGMENT_BYTES.to_le_bytes()].concat())?;
        file.seek(SeekFrom::Current(FRAGMENT_BYTES.into()))?;
    }
    file.write_all(&DELIMITER)?;
    file.flush()?;
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_dicom::cut::{Input, SplitLimits, Splitter};
    use lumenbus_dicom::record::{Metadata, ObjectId};

    fn cut(path: &Path) -> Metadata {
        let mut splitter = Splitter::new(ObjectId::random(), Input::File, SplitLimits::default());
        let mut ignore = |_| Ok::<_, lumenbus_dicom::DicomError>(());
        splitter.push(&std::fs::read(path).unwrap(), &mut ignore).unwrap();
        splitter.finish(&mut ignore).unwrap()
    }

    #[test]
    fn they_are_objects_that_are_cut_at_their_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        native(&path, 7, 100_000).unwrap();
        let metadata = cut(&path);
        assert!(metadata.opaque.is_none() && metadata.is_compressible());
        assert_eq!(metadata.pixels.unwrap().length, 100_000);
        let frames = multi_frame(&path, 3_000_000).unwrap();
        let metadata = cut(&path);
        assert!(metadata.opaque.is_none() && !metadata.is_compressible());
        assert_eq!(metadata.pixels.unwrap().fragments, frames);
        assert_eq!(frames, 4);
    }
}
