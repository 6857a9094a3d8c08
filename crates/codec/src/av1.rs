//! What an AV1 stream says of itself before it is decoded (AV1 bitstream specification, 5.3 to 5.5).

/// `av01.P.LLT.DD` (AV1 in ISO-BMFF, section 5) from the sequence header in a temporal unit.
///
/// `None` where it holds none, or one with timing information, which live encoders leave out.
#[must_use]
pub fn av1_codec_string(temporal_unit: &[u8]) -> Option<String> {
    let mut rest = temporal_unit;
    while let Some((header, after)) = rest.split_first() {
        let (has_extension, has_size) = (header & 4 != 0, header & 2 != 0);
        let body = after.get(usize::from(has_extension)..)?;
        let (size, body) = if has_size { leb128(body)? } else { (body.len(), body) };
        let body_of_this = body.get(..size)?;
        if header >> 3 & 0xF == 1 {
            return of_sequence_header(body_of_this);
        }
        rest = &body[size..];
    }
    None
}

/// A number of at most eight bytes with seven bits each, the lowest first (4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

fn of_sequence_header(body: &[u8]) -> Option<String> {
    let mut bits = Bits { bytes: body, at: 0 };
    let profile = bits.take(3)?;
    let _still_picture = bits.take(1)?;
    let is_reduced = bits.take(1)? == 1;
    let (level, is_high_tier) = if is_reduced {
        (bits.take(5)?, false)
    } else {
        if bits.take(1)? == 1 {
            return None;
        }
        let _initial_display_delay = bits.take(1)?;
        let _operating_points = bits.take(5)?;
        let _operating_point = bits.take(12)?;
        let level = bits.take(5)?;
        (level, level > 7 && bits.take(1)? == 1)
    };
    // Profiles 0 and 1 of eight bits are all that is encoded here; deeper streams say so behind what is read.
    let tier = if is_high_tier { 'H' } else { 'M' };
    Some(format!("av01.{profile}.{level:02}{tier}.08"))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_header_tells_the_codec_string() {
        // A temporal delimiter, then a sequence header: profile 0, no timing, one operating point, level 8, high tier.
        let unit = [0x12, 0x00, 0x0A, 0x05, 0b0000_0000, 0b0000_0000, 0b0000_0000, 0b0100_0100, 0];
        assert_eq!(av1_codec_string(&unit).as_deref(), Some("av01.0.08H.08"));
        for length in 0..unit.len() - 1 {
            assert_eq!(av1_codec_string(&unit[..length]), None, "{length}");
        }
        assert_eq!(av1_codec_string(&[0x0A, 0x05, 0b0000_0100, 0, 0, 0, 0]), None);
        assert_eq!(av1_codec_string(&[0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }
}
