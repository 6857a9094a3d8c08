//! RLE lossless (PS3.5, annex G): taken apart, painted on and coded again.

use super::Rectangle;
use super::mask::Geometry;
use bytes::Bytes;

const HEADER: usize = 64;

/// Every frame with the rectangles painted in. The offset table comes out empty, which is allowed.
pub(super) fn masked(
    fragments: &[Bytes],
    geometry: &Geometry,
    rectangles: &[Rectangle],
) -> Result<Vec<Bytes>, &'static str> {
    let frames = fragments.get(1..).unwrap_or_default();
    // A frame of RLE is one fragment (PS3.5, section A.4.2).
    if frames.len() != geometry.frames || frames.is_empty() {
        return Err("the RLE fragments are not one for each frame");
    }
    let mut out = vec![Bytes::new()];
    for frame in frames {
        let mut planes = decode(frame, geometry.samples, geometry.width, geometry.rows * geometry.columns)?;
        geometry.paint_planes(&mut planes, rectangles);
        out.push(encode(&planes, geometry.columns)?.into());
    }
    Ok(out)
}

/// The planes of bytes of a frame: for each sample the bytes of all pixels, the most significant first.
pub(crate) fn decode(frame: &[u8], samples: usize, width: usize, pixels: usize) -> Result<Vec<Vec<u8>>, &'static str> {
    let count = samples * width;
    let word = |index: usize| {
        let bytes = frame.get(index * 4..index * 4 + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    if word(0) != Some(count) || count > 15 || frame.len() < HEADER {
        return Err("an RLE frame does not have a segment for each byte of a pixel");
    }
    let mut planes = Vec::with_capacity(count);
    for segment in 1..=count {
        let start = word(segment).ok_or("an RLE frame ends early")?;
        let end = if segment == count { frame.len() } else { word(segment + 1).ok_or("an RLE frame ends early")? };
        let bytes = frame.get(start..end).filter(|_| start >= HEADER).ok_or("an RLE segment lies outside its frame")?;
        planes.push(unpack(bytes, pixels)?);
    }
    Ok(planes)
}

fn unpack(mut bytes: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    const SHORT: &str = "an RLE segment ends early";
    // One byte of input is at most 64 of output, which bounds what a hostile size can ask for.
    if length / 64 > bytes.len() {
        return Err(SHORT);
    }
    let mut plane = Vec::with_capacity(length);
    while plane.len() < length {
        let (&control, rest) = bytes.split_first().ok_or(SHORT)?;
        let run = usize::from(control);
        bytes = match control {
            0..=127 => {
                plane.extend_from_slice(rest.get(..=run).ok_or(SHORT)?);
                &rest[run + 1..]
            }
            128 => rest,
            129..=255 => {
                let byte = *rest.first().ok_or(SHORT)?;
                plane.resize(plane.len() + 257 - run, byte);
                &rest[1..]
            }
        };
    }
    if plane.len() > length {
        return Err("an RLE segment has more bytes than pixels");
    }
    Ok(plane)
}

fn encode(planes: &[Vec<u8>], columns: usize) -> Result<Vec<u8>, &'static str> {
    let mut out = vec![0; HEADER];
    let number = |value: usize| u32::try_from(value).map_err(|_| "an RLE frame is too large");
    out[..4].copy_from_slice(&number(planes.len())?.to_le_bytes());
    for (index, plane) in planes.iter().enumerate() {
        let start = number(out.len())?;
        out[4 + index * 4..8 + index * 4].copy_from_slice(&start.to_le_bytes());
        // Runs do not go over the end of a row (PS3.5, section G.3.1).
        for row in plane.chunks(columns) {
            pack(row, &mut out);
        }
        if out.len() % 2 == 1 {
            out.push(0);
        }
    }
    Ok(out)
}

fn pack(row: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < row.len() {
        let run = row[at..].iter().take(128).take_while(|byte| **byte == row[at]).count();
        if run >= 2 {
            out.push(control(257 - run));
            out.push(row[at]);
            at += run;
            continue;
        }
        let rest = &row[at..(at + 128).min(row.len())];
        // Up to where three are the same: a run of two in between gains nothing.
        let literal =
            rest.windows(3).position(|three| three[0] == three[1] && three[1] == three[2]).unwrap_or(rest.len());
        let literal = literal.max(1);
        out.push(control(literal - 1));
        out.extend_from_slice(&row[at..at + literal]);
        at += literal;
    }
}

fn control(value: usize) -> u8 {
    u8::try_from(value).expect("runs have at most 128 bytes")
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(row in prop::collection::vec(0u8..4, 1..600)) {
            let mut packed = Vec::new();
            pack(&row, &mut packed);
            prop_assert_eq!(unpack(&packed, row.len()).unwrap(), row);
        }

        #[test]
        fn anything_else_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64), length in 0usize..1000) {
            if let Ok(plane) = unpack(&bytes, length) {
                prop_assert_eq!(plane.len(), length);
            }
        }
    }
}
