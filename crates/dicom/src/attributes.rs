//! The attributes of a header, read within bounds, for people who want to look at objects without their pixels.
//!
//! Nothing depends on them when an object is put together again: what cannot be read is left out, and said so.

use crate::element::{ByteOrder, ElementHeader, Encoding, Tag, Vr};
use bytes::Bytes;
use std::ops::Range;

/// Longest value that is kept; longer ones are places in the object.
pub const MAX_VALUE_BYTES: usize = 1024;
/// Most bytes of all kept values together.
pub const MAX_VALUES_BYTES: usize = 1 << 20;
/// Most attributes, those in sequences included.
pub const MAX_ATTRIBUTES: usize = 20_000;
/// Deepest sequence whose items are read.
pub const MAX_DEPTH: usize = 16;
const MAX_UID_BYTES: usize = 64;

/// One data element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Which element.
    pub tag: Tag,
    /// As the encoding says it.
    pub vr: Vr,
    /// Where the value begins: in the file, or in the inflated data set.
    pub offset: u64,
    /// Bytes of the value, items and delimiters included.
    pub length: u64,
    /// The value as it is encoded, padding included; absent for sequences and for more than [`MAX_VALUE_BYTES`].
    pub value: Option<Bytes>,
    /// Items of a sequence.
    pub items: Vec<Vec<Attribute>>,
}

/// The attributes of an object, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The top level, group 2 included.
    pub list: Vec<Attribute>,
    /// Whether these are all in front of the pixels.
    pub complete: bool,
    /// Offsets are in the inflated data set (and group 2 is not part of it).
    pub inflated: bool,
    /// The order of bytes in numbers behind group 2.
    pub byte_order: ByteOrder,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { list: Vec::new(), complete: true, inflated: false, byte_order: ByteOrder::Little }
    }
}

/// What an object calls itself; only what is a UID by its characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// SOP Class UID (0008,0016).
    pub sop_class: Option<String>,
    /// SOP Instance UID (0008,0018), else (0002,0003).
    pub sop_instance: Option<String>,
    /// Study Instance UID (0020,000D).
    pub study: Option<String>,
    /// Series Instance UID (0020,000E).
    pub series: Option<String>,
}

impl Attributes {
    /// The value of a top-level element, as it is encoded.
    #[must_use]
    pub fn value(&self, tag: Tag) -> Option<&[u8]> {
        self.list.iter().find(|attribute| attribute.tag == tag)?.value.as_deref()
    }

    /// A top-level value of VR US.
    #[must_use]
    pub fn u16(&self, tag: Tag) -> Option<u16> {
        Some(self.byte_order.u16(*self.value(tag)?.first_chunk()?))
    }

    /// A top-level value that is a UID.
    #[must_use]
    pub fn uid(&self, tag: Tag) -> Option<String> {
        uid(self.value(tag)?)
    }

    /// A top-level value of VR IS.
    #[must_use]
    pub fn integer(&self, tag: Tag) -> Option<u64> {
        std::str::from_utf8(self.value(tag)?).ok()?.trim_matches(['\0', ' ']).parse().ok()
    }

    /// What the object calls itself.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            sop_class: self.uid(Tag::SOP_CLASS_UID),
            sop_instance: self.uid(Tag::SOP_INSTANCE_UID).or_else(|| self.uid(Tag::MEDIA_SOP_INSTANCE_UID)),
            study: self.uid(Tag::STUDY_INSTANCE_UID),
            series: self.uid(Tag::SERIES_INSTANCE_UID),
        }
    }
}

/// The value as a UID without its padding; nothing when it has other characters than a UID.
#[must_use]
pub(crate) fn uid(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_matches(['\0', ' ']);
    let fits = (1..=MAX_UID_BYTES).contains(&text.len());
    (fits && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')).then(|| text.to_owned())
}

/// A stretch of elements in one encoding.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) range: Range<usize>,
    pub(crate) encoding: Encoding,
}

/// Reads the stretches of `bytes` one after the other. The values are copied: a few of them would otherwise keep a whole
/// header alive.
pub(crate) fn extract(bytes: &[u8], stretches: &[Stretch]) -> Attributes {
    let mut attributes = Attributes::default();
    let mut reader = Reader { bytes, attributes_left: MAX_ATTRIBUTES, value_bytes_left: MAX_VALUES_BYTES };
    for Stretch { range, encoding } in stretches {
        attributes.byte_order = encoding.byte_order();
        let range = range.start.min(bytes.len())..range.end.min(bytes.len());
        let level = Level { range, encoding: *encoding, depth: 0 };
        attributes.complete &= reader.elements(&level, Ends::AtRange, &mut attributes.list).is_some();
    }
    attributes
}

struct Reader<'a> {
    bytes: &'a [u8],
    attributes_left: usize,
    value_bytes_left: usize,
}

#[derive(Clone)]
struct Level {
    range: Range<usize>,
    encoding: Encoding,
    depth: usize,
}

/// What ends a list of elements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    AtRange,
    AtDelimiter,
}

impl Reader<'_> {
    fn header(&self, level: &Level, at: usize) -> Option<ElementHeader> {
        ElementHeader::read(self.bytes.get(at..level.range.end)?, level.encoding)
    }

    /// Returns where the elements end, behind a delimiter; nothing when they cannot be read to their end.
    fn elements(&mut self, level: &Level, ends: Ends, list: &mut Vec<Attribute>) -> Option<usize> {
        let mut at = level.range.start;
        while at < level.range.end {
            let header = self.header(level, at)?;
            at += header.header_bytes;
            if header.tag.group() == 0xFFFE {
                match (header.tag, ends) {
                    (Tag::ITEM_DELIMITER, Ends::AtDelimiter) => return Some(at),
                    // The sequence's: its last item has no end of its own.
                    (Tag::SEQUENCE_DELIMITER, Ends::AtDelimiter) => return Some(at - header.header_bytes),
                    // A stray item; its elements follow.
                    _ => continue,
                }
            }
            if level.depth == 0 && header.tag.is_pixels() {
                return Some(at);
            }
            self.attributes_left = self.attributes_left.checked_sub(1)?;
            let (attribute, end) = self.element(level, &header, at)?;
            list.push(attribute);
            at = end;
        }
        (ends == Ends::AtRange || at == level.range.end).then_some(at)
    }

    fn element(&mut self, level: &Level, header: &ElementHeader, at: usize) -> Option<(Attribute, usize)> {
        let mut items = Vec::new();
        let mut value = None;
        let end = if header.has_undefined_length() {
            let inside = if header.vr == Vr::UN { level.encoding.inside_unknown() } else { level.encoding };
            let inner = Level { range: at..level.range.end, encoding: inside, depth: level.depth + 1 };
            self.sequence(&inner, Ends::AtDelimiter, &mut items)?
        } else {
            let end = at.checked_add(usize::try_from(header.length).ok()?)?;
            if end > level.range.end {
                return None;
            }
            let inner = Level { range: at..end, encoding: level.encoding, depth: level.depth + 1 };
            if self.is_sequence(header, &inner) {
                self.sequence(&inner, Ends::AtRange, &mut items)?;
            } else {
                value = self.value(at..end);
            }
            end
        };
        let (offset, length) = (at as u64, (end - at) as u64);
        Some((Attribute { tag: header.tag, vr: header.vr, offset, length, value, items }, end))
    }

    /// With implicit VR, what begins like an item is one.
    fn is_sequence(&self, header: &ElementHeader, inner: &Level) -> bool {
        header.vr == Vr::SQ
            || header.vr == Vr::IMPLICIT
                && self.header(inner, inner.range.start).is_some_and(|item| {
                    item.tag == Tag::ITEM
                        && (item.has_undefined_length() || item.length as usize <= inner.range.len() - 8)
                })
    }

    fn value(&mut self, range: Range<usize>) -> Option<Bytes> {
        if range.len() > MAX_VALUE_BYTES || range.len() > self.value_bytes_left {
            return None;
        }
        self.value_bytes_left -= range.len();
        Some(Bytes::copy_from_slice(&self.bytes[range]))
    }

    /// Items up to the sequence's end.
    fn sequence(&mut self, level: &Level, ends: Ends, items: &mut Vec<Vec<Attribute>>) -> Option<usize> {
        if level.depth > MAX_DEPTH {
            return None;
        }
        let mut at = level.range.start;
        while at < level.range.end {
            let header = self.header(level, at)?;
            let start = at + header.header_bytes;
            match header.tag {
                Tag::SEQUENCE_DELIMITER if ends == Ends::AtDelimiter => return Some(start),
                Tag::ITEM => {}
                _ => return None,
            }
            self.attributes_left = self.attributes_left.checked_sub(1)?;
            let (end, ends) = if header.has_undefined_length() {
                (level.range.end, Ends::AtDelimiter)
            } else {
                (start.checked_add(usize::try_from(header.length).ok()?)?, Ends::AtRange)
            };
            if end > level.range.end {
                return None;
            }
            let mut item = Vec::new();
            at = self.elements(&Level { range: start..end, ..level.clone() }, ends, &mut item)?;
            items.push(item);
        }
        (ends == Ends::AtRange).then_some(at)
    }
}
