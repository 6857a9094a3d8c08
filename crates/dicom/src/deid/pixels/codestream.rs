//! What JPEG, JPEG-LS and JPEG 2000 frames carry beside the picture: comments and application data, overwritten in place so
//! that no length and no offset changes (ISO/IEC 10918-1 annex B, 14495-1 annex C, 15444-1 annex A).

use bytes::{Bytes, BytesMut};

/// Overwrites what is no picture. The number of segments that held something.
pub(super) fn clear(fragments: &mut [Bytes], transfer_syntax: &str) -> Result<usize, &'static str> {
    let Some((_, frames)) = fragments.split_first_mut() else { return Ok(0) };
    if frames.is_empty() || frames.iter().all(Bytes::is_empty) {
        return Ok(0);
    }
    let number = transfer_syntax.strip_prefix("1.2.840.10008.1.2.4.").and_then(|rest| rest.parse::<u16>().ok());
    let walk: fn(&mut [u8], usize) -> Result<Walked, &'static str> = match number {
        Some(50..=81) => jpeg,
        Some(90..=93 | 201..=203) => jpeg2000,
        // RLE and deflated frames have no place for anything else.
        _ if ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"].contains(&transfer_syntax) => return Ok(0),
        _ => return Err("nothing is known of the segments of this transfer syntax"),
    };
    // A frame may lie in several fragments, cut anywhere.
    let mut joined = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    frames.iter().for_each(|frame| joined.extend_from_slice(frame));
    let mut at = 0;
    let mut cleared = 0;
    while at < joined.len() {
        if joined[at] != 0xFF || joined.get(at + 1).is_none_or(|next| *next == 0xFF) {
            // Padding between frames; whatever else stands there is no picture.
            joined[at] = 0;
            at += 1;
            continue;
        }
        let walked = walk(&mut joined, at)?;
        at = walked.end;
        cleared += walked.cleared;
    }
    let mut joined = joined.freeze();
    for frame in frames {
        *frame = joined.split_to(frame.len());
    }
    Ok(cleared)
}

struct Walked {
    end: usize,
    cleared: usize,
}

const ENDS_EARLY: &str = "a frame ends early";

fn be16(bytes: &[u8], at: usize) -> Result<usize, &'static str> {
    let pair = bytes.get(at..at + 2).ok_or(ENDS_EARLY)?;
    Ok(usize::from(pair[0]) << 8 | usize::from(pair[1]))
}

/// Zeroes a range; whether something was there.
fn zero(bytes: &mut [u8], from: usize, to: usize) -> usize {
    let range = &mut bytes[from..to];
    let held = range.iter().any(|byte| *byte != 0);
    range.fill(0);
    usize::from(held)
}

/// One JPEG or JPEG-LS frame, from SOI to EOI.
fn jpeg(bytes: &mut [u8], start: usize) -> Result<Walked, &'static str> {
    if be16(bytes, start)? != 0xFFD8 {
        return Err("a frame does not begin with SOI");
    }
    let mut at = start + 2;
    let mut cleared = 0;
    loop {
        let marker = be16(bytes, at)?;
        match marker {
            0xFFD9 => return Ok(Walked { end: at + 2, cleared }),
            // A fill byte before a marker.
            0xFFFF => {
                at += 1;
                continue;
            }
            0xFF01 | 0xFFD0..=0xFFD7 => {
                at += 2;
                continue;
            }
            0xFFC0..=0xFFFE => {}
            _ => return Err("something else stands where a marker should"),
        }
        let length = be16(bytes, at + 2)?;
        let end = at + 2 + length;
        if length < 2 || end > bytes.len() {
            return Err(ENDS_EARLY);
        }
        match marker {
            // What decoders need of these: how colours are coded.
            0xFFE0 if bytes[at + 4..end].starts_with(b"JFIF\0") && length >= 16 => {
                bytes[at + 16..at + 18].fill(0);
                cleared += zero(bytes, at + 18, end);
            }
            0xFFEE if bytes[at + 4..end].starts_with(b"Adobe") && length == 14 => {}
            0xFFE8 if bytes[at + 4..end].starts_with(b"mrfx") && length <= 7 => {}
            0xFFE0..=0xFFEF | 0xFFFE => cleared += zero(bytes, at + 4, end),
            _ => {}
        }
        at = end;
        if marker == 0xFFDA {
            at = scan_end(bytes, at)?;
        }
    }
}

/// Behind the entropy-coded bytes of a scan: the next marker that is no restart and no stuffed byte.
fn scan_end(bytes: &[u8], mut at: usize) -> Result<usize, &'static str> {
    loop {
        let next = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xFF)).ok_or(ENDS_EARLY)?;
        at += next;
        match bytes.get(at + 1).ok_or(ENDS_EARLY)? {
            0xD0..=0xD7 => at += 2,
            0xFF => at += 1,
            0x80.. => return Ok(at),
            _ => at += 2,
        }
    }
}

/// One JPEG 2000 codestream, from SOC to EOC.
fn jpeg2000(bytes: &mut [u8], start: usize) -> Result<Walked, &'static str> {
    if be16(bytes, start)? != 0xFF4F {
        return Err("a frame is no bare JPEG 2000 codestream");
    }
    let mut at = start + 2;
    let mut cleared = 0;
    let mut tile_part_end = None;
    loop {
        let marker = be16(bytes, at)?;
        if marker == 0xFFD9 {
            return Ok(Walked { end: at + 2, cleared });
        }
        if marker == 0xFF93 {
            // Packets to the end of the tile part, whose length its SOT says.
            at = match tile_part_end {
                Some(end) if end >= at + 2 && end <= bytes.len() => end,
                _ => return Err("a tile part has an impossible length"),
            };
            continue;
        }
        if !(0xFF50..=0xFF92).contains(&marker) {
            return Err("something else stands where a marker should");
        }
        let length = be16(bytes, at + 2)?;
        let end = at + 2 + length;
        if length < 2 || end > bytes.len() {
            return Err(ENDS_EARLY);
        }
        match marker {
            // What the comment is in stays said: the two bytes of Rcom.
            0xFF64 if length > 4 => cleared += zero(bytes, at + 6, end),
            0xFF90 if length == 10 => {
                let part = be16(bytes, at + 6)? << 16 | be16(bytes, at + 8)?;
                // 0: to the EOC, which is the last of the frame.
                tile_part_end = if part == 0 { last_end(bytes, at) } else { at.checked_add(part) };
            }
            _ => {}
        }
        at = end;
    }
}

/// The next EOC: no such bytes occur in packets (ISO/IEC 15444-1, B.10.1).
fn last_end(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..].windows(2).position(|pair| pair == [0xFF, 0xD9]).map(|found| from + found)
}
