//! As much of AV1 (bitstream specification, 5.3 to 5.5) as a file has to say about its stream.

use super::MuxError;
use super::boxes::Boxes;
use super::movie::Description;
use super::rbsp::{EndOfPayload, Rbsp};
use lumenbus_frame::Dimensions;

/// Bytes of a sequence header that are looked at; real ones have about twelve.
const LOOKED_AT: usize = 1_024;

/// Open bitstream units that are of interest here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    SequenceHeader,
    TemporalDelimiter,
    Other,
}

/// One unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Obu<'a> {
    pub(super) kind: Kind,
    /// With its header.
    pub(super) bytes: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// The units of a temporal unit; ends early where it is damaged.
pub(super) fn obus(unit: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let mut rest = unit;
    std::iter::from_fn(move || {
        let (obu, after) = next(rest)?;
        rest = after;
        Some(obu)
    })
}

fn next(bytes: &[u8]) -> Option<(Obu<'_>, &[u8])> {
    let header = *bytes.first()?;
    if header & 0x80 != 0 {
        return None;
    }
    let header_bytes = if header & 4 != 0 { 2 } else { 1 };
    let (size, size_bytes) = if header & 2 != 0 {
        leb128(bytes.get(header_bytes..)?)?
    } else {
        // Only the last one of a unit may leave it out.
        (bytes.len().checked_sub(header_bytes)?, 0)
    };
    let begin = header_bytes + size_bytes;
    let end = begin.checked_add(size)?;
    let payload = bytes.get(begin..end)?;
    let kind = match header >> 3 & 15 {
        1 => Kind::SequenceHeader,
        2 => Kind::TemporalDelimiter,
        _ => Kind::Other,
    };
    Some((Obu { kind, bytes: &bytes[..end], payload }, &bytes[end..]))
}

/// Value and length (4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, at + 1));
        }
    }
    None
}

/// The sample entry of a keyframe's stream.
pub(super) fn description(keyframe: &[u8]) -> Result<Description, MuxError> {
    let sequence = obus(keyframe).find(|obu| obu.kind == Kind::SequenceHeader);
    let sequence = sequence.ok_or(MuxError::MissingParameters { what: "sequence header" })?;
    let facts = Facts::read(&mut Rbsp::plain(sequence.payload, LOOKED_AT))
        .map_err(|_| MuxError::Truncated { what: "AV1 sequence header" })?;
    let mut boxes = Boxes::default();
    boxes.bytes(&[0x81, facts.profile << 5 | facts.level, facts.flags(), 0]);
    boxes.bytes(sequence.bytes);
    Ok(Description {
        entry: *b"av01",
        record: *b"av1C",
        configuration: boxes.finish(),
        dimensions: Dimensions::new(facts.width, facts.height),
    })
}

/// What `av1C` repeats (AV1 in ISOBMFF, 2.3.3).
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    profile: u8,
    level: u8,
    tier: u8,
    is_deep: bool,
    is_twelve: bool,
    is_gray: bool,
    subsampling: (u8, u8),
    position: u8,
    width: u32,
    height: u32,
}

impl Facts {
    fn flags(&self) -> u8 {
        let (x, y) = self.subsampling;
        self.tier << 7
            | u8::from(self.is_deep) << 6
            | u8::from(self.is_twelve) << 5
            | u8::from(self.is_gray) << 4
            | x << 3
            | y << 2
            | self.position
    }

    /// 5.5.1
    fn read(bits: &mut Rbsp) -> Result<Self, EndOfPayload> {
        let mut facts = Self { profile: byte(bits, 3)?, ..Self::default() };
        bits.bits(1)?; // still_picture
        let is_reduced = bits.flag()?;
        if is_reduced {
            facts.level = byte(bits, 5)?;
        } else {
            facts.operating_points(bits)?;
        }
        let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
        facts.width = bits.bits(width_bits)? + 1;
        facts.height = bits.bits(height_bits)? + 1;
        if !is_reduced && bits.flag()? {
            bits.bits(7)?; // lengths of frame ids
        }
        bits.bits(3)?; // superblocks, filter intra, intra edge filter
        if !is_reduced {
            skip_tools(bits)?;
        }
        bits.bits(3)?; // superres, CDEF, restoration
        facts.color(bits)?;
        Ok(facts)
    }

    /// Keeps level and tier of the first.
    fn operating_points(&mut self, bits: &mut Rbsp) -> Result<(), EndOfPayload> {
        let mut delay_bits = None;
        if bits.flag()? {
            bits.bits(32)?;
            bits.bits(32)?;
            if bits.flag()? {
                bits.ue()?; // uvlc() is Exp-Golomb
            }
            if bits.flag()? {
                delay_bits = Some(bits.bits(5)? + 1);
                bits.bits(32)?;
                bits.bits(10)?;
            }
        }
        let has_display_delay = bits.flag()?;
        let count = bits.bits(5)? + 1;
        for index in 0..count {
            bits.bits(12)?;
            let level = byte(bits, 5)?;
            let tier = if level > 7 { byte(bits, 1)? } else { 0 };
            if index == 0 {
                (self.level, self.tier) = (level, tier);
            }
            if let Some(delay_bits) = delay_bits
                && bits.flag()?
            {
                bits.bits(delay_bits)?;
                bits.bits(delay_bits)?;
                bits.bits(1)?;
            }
            if has_display_delay && bits.flag()? {
                bits.bits(4)?;
            }
        }
        Ok(())
    }

    /// 5.5.2
    fn color(&mut self, bits: &mut Rbsp) -> Result<(), EndOfPayload> {
        self.is_deep = bits.flag()?;
        self.is_twelve = self.profile == 2 && self.is_deep && bits.flag()?;
        self.is_gray = self.profile != 1 && bits.flag()?;
        let described = if bits.flag()? { Some((bits.bits(8)?, bits.bits(8)?, bits.bits(8)?)) } else { None };
        if self.is_gray {
            self.subsampling = (1, 1);
            return Ok(());
        }
        // sRGB
        if described == Some((1, 13, 0)) {
            return Ok(());
        }
        bits.bits(1)?; // colour range
        self.subsampling = match self.profile {
            0 => (1, 1),
            1 => (0, 0),
            _ if self.is_twelve => {
                let x = byte(bits, 1)?;
                (x, if x == 1 { byte(bits, 1)? } else { 0 })
            }
            _ => (1, 0),
        };
        if self.subsampling == (1, 1) {
            self.position = byte(bits, 2)?;
        }
        Ok(())
    }
}

fn skip_tools(bits: &mut Rbsp) -> Result<(), EndOfPayload> {
    bits.bits(4)?; // interintra, masked compound, warped motion, dual filter
    let has_order = bits.flag()?;
    if has_order {
        bits.bits(2)?;
    }
    let is_chosen_by_frame = bits.flag()?;
    let has_screen_tools = is_chosen_by_frame || bits.flag()?;
    if has_screen_tools && !bits.flag()? {
        bits.bits(1)?;
    }
    if has_order {
        bits.bits(3)?;
    }
    Ok(())
}

/// At most eight bits.
fn byte(bits: &mut Rbsp, count: u32) -> Result<u8, EndOfPayload> {
    Ok(u8::try_from(bits.bits(count)?).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_apart_and_damage_ends_them() {
        let unit = [0x12, 0x00, 0x0a, 0x02, 7, 8, 0x32, 0x01, 9];
        let kinds: Vec<_> = obus(&unit).map(|obu| (obu.kind, obu.payload.len())).collect();
        assert_eq!(kinds, [(Kind::TemporalDelimiter, 0), (Kind::SequenceHeader, 2), (Kind::Other, 1)]);
        assert_eq!(obus(&[0x30, 1, 2, 3]).map(|obu| obu.payload.len()).collect::<Vec<_>>(), [3], "without a size");
        for damaged in [&[0x92, 0][..], &[0x0a, 9, 1], &[0x0a], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(obus(damaged).count(), 0, "{damaged:?}");
        }
        assert!(matches!(description(&[0x0a, 1, 0]), Err(MuxError::Truncated { .. })));
        assert!(matches!(description(&[0x12, 0]), Err(MuxError::MissingParameters { .. })));
    }
}
