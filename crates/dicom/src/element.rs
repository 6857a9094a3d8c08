//! Data elements: tags, value representations and the bytes in front of a value (DICOM PS3.5, section 7.1).

use std::fmt;

/// The length of a value that ends with a delimitation item (PS3.5, section 7.1.1).
pub const UNDEFINED_LENGTH: u32 = u32::MAX;

/// A data element's tag: group in the upper, element in the lower 16 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u32);

impl Tag {
    /// (FFFE,E000), the beginning of an item.
    pub const ITEM: Self = Self(0xFFFE_E000);
    /// (FFFE,E00D), the end of an item of undefined length.
    pub const ITEM_DELIMITER: Self = Self(0xFFFE_E00D);
    /// (FFFE,E0DD), the end of a sequence of undefined length.
    pub const SEQUENCE_DELIMITER: Self = Self(0xFFFE_E0DD);
    /// (0002,0003)
    pub const MEDIA_SOP_INSTANCE_UID: Self = Self(0x0002_0003);
    /// (0002,0010)
    pub const TRANSFER_SYNTAX_UID: Self = Self(0x0002_0010);
    /// (0008,0005)
    pub const SPECIFIC_CHARACTER_SET: Self = Self(0x0008_0005);
    /// (0008,0016)
    pub const SOP_CLASS_UID: Self = Self(0x0008_0016);
    /// (0008,0018)
    pub const SOP_INSTANCE_UID: Self = Self(0x0008_0018);
    /// (0020,000D)
    pub const STUDY_INSTANCE_UID: Self = Self(0x0020_000D);
    /// (0020,000E)
    pub const SERIES_INSTANCE_UID: Self = Self(0x0020_000E);
    /// (0028,0002)
    pub const SAMPLES_PER_PIXEL: Self = Self(0x0028_0002);
    /// (0028,0004)
    pub const PHOTOMETRIC_INTERPRETATION: Self = Self(0x0028_0004);
    /// (0028,0008)
    pub const NUMBER_OF_FRAMES: Self = Self(0x0028_0008);
    /// (0028,0010)
    pub const ROWS: Self = Self(0x0028_0010);
    /// (0028,0011)
    pub const COLUMNS: Self = Self(0x0028_0011);
    /// (0028,0100)
    pub const BITS_ALLOCATED: Self = Self(0x0028_0100);
    /// (7FE0,0001)
    pub const EXTENDED_OFFSET_TABLE: Self = Self(0x7FE0_0001);
    /// (7FE0,0008)
    pub const FLOAT_PIXEL_DATA: Self = Self(0x7FE0_0008);
    /// (7FE0,0009)
    pub const DOUBLE_FLOAT_PIXEL_DATA: Self = Self(0x7FE0_0009);
    /// (7FE0,0010)
    pub const PIXEL_DATA: Self = Self(0x7FE0_0010);

    /// The upper 16 bits.
    #[must_use]
    pub const fn group(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// One of the three elements that hold an image's pixels.
    #[must_use]
    pub fn is_pixels(self) -> bool {
        [Self::FLOAT_PIXEL_DATA, Self::DOUBLE_FLOAT_PIXEL_DATA, Self::PIXEL_DATA].contains(&self)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.0 >> 16, self.0 & 0xFFFF)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value representation as its two letters; none where the encoding does not say it (implicit VR).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vr([u8; 2]);

impl Vr {
    /// Implicit VR: only a dictionary knows.
    pub const IMPLICIT: Self = Self([0; 2]);
    /// Sequence of items.
    pub const SQ: Self = Self(*b"SQ");
    /// Unknown.
    pub const UN: Self = Self(*b"UN");
    const KNOWN: [[u8; 2]; 34] = [
        *b"AE", *b"AS", *b"AT", *b"CS", *b"DA", *b"DS", *b"DT", *b"FD", *b"FL", *b"IS", *b"LO", *b"LT", *b"OB", *b"OD",
        *b"OF", *b"OL", *b"OV", *b"OW", *b"PN", *b"SH", *b"SL", *b"SQ", *b"SS", *b"ST", *b"SV", *b"TM", *b"UC", *b"UI",
        *b"UL", *b"UN", *b"UR", *b"US", *b"UT", *b"UV",
    ];

    /// Two capital letters, known or not; otherwise nothing.
    #[must_use]
    pub fn from_letters(letters: [u8; 2]) -> Option<Self> {
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// Whether PS3.5 lists it.
    #[must_use]
    pub fn is_known(self) -> bool {
        Self::KNOWN.contains(&self.0)
    }

    /// The two letters, or an empty text for implicit VR.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if *self == Self::IMPLICIT { "" } else { std::str::from_utf8(&self.0).unwrap_or("") }
    }

    /// PS3.5, table 7.1-1: two reserved bytes and a length of 32 bits.
    fn has_long_length(self) -> bool {
        matches!(
            &self.0,
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV"
        )
    }
}

impl fmt::Debug for Vr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::IMPLICIT { "implicit" } else { self.as_str() })
    }
}

/// How elements are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Implicit VR, little endian.
    ImplicitLittle,
    /// Explicit VR, little endian.
    ExplicitLittle,
    /// Implicit VR, big endian: no transfer syntax says so, some old files are.
    ImplicitBig,
    /// Explicit VR, big endian (retired).
    ExplicitBig,
}

impl Encoding {
    /// Of these two properties.
    #[must_use]
    pub fn new(vr: VrEncoding, order: ByteOrder) -> Self {
        match (vr, order) {
            (VrEncoding::Implicit, ByteOrder::Little) => Self::ImplicitLittle,
            (VrEncoding::Explicit, ByteOrder::Little) => Self::ExplicitLittle,
            (VrEncoding::Implicit, ByteOrder::Big) => Self::ImplicitBig,
            (VrEncoding::Explicit, ByteOrder::Big) => Self::ExplicitBig,
        }
    }

    /// The order of bytes in numbers.
    #[must_use]
    pub fn byte_order(self) -> ByteOrder {
        match self {
            Self::ImplicitLittle | Self::ExplicitLittle => ByteOrder::Little,
            Self::ImplicitBig | Self::ExplicitBig => ByteOrder::Big,
        }
    }

    /// Whether elements name their value representation.
    #[must_use]
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::ExplicitLittle | Self::ExplicitBig)
    }

    /// What is inside a value of VR UN and undefined length (PS3.5, section 6.2.2, note 2).
    #[must_use]
    pub fn inside_unknown(self) -> Self {
        Self::new(VrEncoding::Implicit, self.byte_order())
    }
}

/// Whether elements name their value representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VrEncoding {
    /// They do not.
    Implicit,
    /// They do.
    Explicit,
}

/// The order of bytes in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Lowest byte first.
    Little,
    /// Highest byte first.
    Big,
}

impl ByteOrder {
    /// The number in two bytes.
    #[must_use]
    pub fn u16(self, bytes: [u8; 2]) -> u16 {
        if self == Self::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// The number in four bytes.
    #[must_use]
    pub fn u32(self, bytes: [u8; 4]) -> u32 {
        if self == Self::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// The number in eight bytes.
    #[must_use]
    pub fn u64(self, bytes: [u8; 8]) -> u64 {
        if self == Self::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }

    fn tag(self, bytes: [u8; 4]) -> Tag {
        let [a, b, c, d] = bytes;
        Tag(u32::from(self.u16([a, b])) << 16 | u32::from(self.u16([c, d])))
    }
}

/// What stands in front of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementHeader {
    /// Which element.
    pub tag: Tag,
    /// As the encoding says it.
    pub vr: Vr,
    /// Of the value in bytes, or [`UNDEFINED_LENGTH`].
    pub length: u32,
    /// Bytes in front of the value: 8 or 12.
    pub header_bytes: usize,
}

impl ElementHeader {
    /// Reads one from the beginning of `bytes`; nothing when there are too few.
    ///
    /// Where a VR should be and no two capital letters are, the element is taken as implicit: such elements are found
    /// inside explicit data sets.
    #[must_use]
    pub fn read(bytes: &[u8], encoding: Encoding) -> Option<Self> {
        let order = encoding.byte_order();
        let &[a, b, c, d, e, f, g, h] = bytes.first_chunk::<8>()?;
        let tag = order.tag([a, b, c, d]);
        let short = |vr, length| Some(Self { tag, vr, length, header_bytes: 8 });
        let letters = Vr::from_letters([e, f]).filter(|_| encoding.is_explicit() && tag.group() != 0xFFFE);
        match letters {
            None => short(Vr::IMPLICIT, order.u32([e, f, g, h])),
            Some(vr) if !vr.has_long_length() => short(vr, u32::from(order.u16([g, h]))),
            Some(vr) => {
                let length = order.u32(*bytes.get(8..)?.first_chunk()?);
                Some(Self { tag, vr, length, header_bytes: 12 })
            }
        }
    }

    /// Whether a delimitation item ends the value.
    #[must_use]
    pub fn has_undefined_length(&self) -> bool {
        self.length == UNDEFINED_LENGTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], encoding: Encoding, expected: Option<(u32, &str, u32, usize)>) {
        let found = ElementHeader::read(bytes, encoding);
        let found = found.as_ref().map(|found| (found.tag.0, found.vr.as_str(), found.length, found.header_bytes));
        assert_eq!(found, expected, "{bytes:02x?} as {encoding:?}");
    }

    #[test]
    fn headers_of_all_encodings() {
        use Encoding::{ExplicitBig, ExplicitLittle, ImplicitBig, ImplicitLittle};
        check(b"\x08\x00\x18\x00UI\x04\x001.2\0", ExplicitLittle, Some((0x0008_0018, "UI", 4, 8)));
        check(b"\x00\x08\x00\x18UI\x00\x04", ExplicitBig, Some((0x0008_0018, "UI", 4, 8)));
        check(b"\x08\x00\x18\x00\x04\0\0\0", ImplicitLittle, Some((0x0008_0018, "", 4, 8)));
        check(b"\x00\x08\x00\x18\0\0\0\x04", ImplicitBig, Some((0x0008_0018, "", 4, 8)));
        check(b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff\xff", ExplicitLittle, Some((0x7FE0_0010, "OW", u32::MAX, 12)));
        check(b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff", ExplicitLittle, None);
        check(b"\xe0\x7f\x10\x00OW\0", ExplicitLittle, None);
        // An item has no VR, whatever its length looks like.
        check(b"\xfe\xff\x00\xe0UI\0\0", ExplicitLittle, Some((0xFFFE_E000, "", 0x4955, 8)));
        // Not letters: an implicit element among explicit ones.
        check(b"\x09\x00\x01\x00\x04\0\0\0", ExplicitLittle, Some((0x0009_0001, "", 4, 8)));
    }
}
