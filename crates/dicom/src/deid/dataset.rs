//! A data set as a tree over the bytes that it came in, strictly: what the encoding forbids is an error, never a guess.
//!
//! A tolerant reader would let a value through that another reader sees elsewhere. Values stay the bytes that they were,
//! so nothing of what is kept changes by being read.

use super::{DeidError, tag};
use bytes::Bytes;
use dicom_core::Tag;
use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _, VirtualVr};
use dicom_dictionary_std::StandardDataDictionary;

/// How deep sequences may lie in each other; real objects stay below ten.
const MAX_DEPTH: usize = 32;
/// Elements of one object, items and fragments counted as well.
const MAX_ELEMENTS: usize = 4_000_000;
const UNDEFINED: u32 = u32::MAX;

/// How a data set is written down (PS3.5, section 7.1 and annex A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// The VR stands in front of each length.
    pub(crate) explicit: bool,
    /// Numbers have their upper byte first.
    pub(crate) big_endian: bool,
}

impl Encoding {
    pub(crate) const IMPLICIT_LITTLE: Self = Self { explicit: false, big_endian: false };
    pub(crate) const EXPLICIT_LITTLE: Self = Self { explicit: true, big_endian: false };
    pub(crate) const EXPLICIT_BIG: Self = Self { explicit: true, big_endian: true };

    fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn put_u16(self, out: &mut Vec<u8>, value: u16) {
        out.extend_from_slice(&if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn put_u32(self, out: &mut Vec<u8>, value: u32) {
        out.extend_from_slice(&if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn put_tag(self, out: &mut Vec<u8>, tag: Tag) {
        self.put_u16(out, tag.0);
        self.put_u16(out, tag.1);
    }
}

/// What an element holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// The bytes of a value, in the data set's byte order.
    Bytes(Bytes),
    /// The items of a sequence.
    Items(Vec<Dataset>),
    /// Encapsulated pixels: the basic offset table and the fragments.
    Fragments(Vec<Bytes>),
}

#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) tag: Tag,
    pub(crate) vr: VR,
    pub(crate) value: Value,
}

impl Element {
    /// An element of text, padded to even length as its VR wants it.
    pub(crate) fn text(tag: Tag, vr: VR, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == VR::UI { 0 } else { b' ' });
        }
        Self { tag, vr, value: Value::Bytes(bytes.into()) }
    }
}

/// Elements in ascending order of their tags.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dataset(pub(crate) Vec<Element>);

impl Dataset {
    pub(crate) fn get(&self, tag: Tag) -> Option<&Element> {
        self.0.binary_search_by_key(&tag, |element| element.tag).ok().map(|index| &self.0[index])
    }

    /// A value as trimmed text; bytes beyond ASCII as they come.
    pub(crate) fn text(&self, tag: Tag) -> Option<String> {
        match &self.get(tag)?.value {
            Value::Bytes(bytes) => Some(trimmed(bytes)),
            Value::Items(_) | Value::Fragments(_) => None,
        }
    }

    /// The first value of an element of VR US.
    pub(crate) fn u16(&self, tag: Tag, encoding: Encoding) -> Option<u16> {
        match &self.get(tag)?.value {
            Value::Bytes(bytes) => Some(encoding.u16(bytes.get(..2)?.try_into().ok()?)),
            Value::Items(_) | Value::Fragments(_) => None,
        }
    }

    /// Puts an element in its place, over one that is there.
    pub(crate) fn put(&mut self, element: Element) {
        match self.0.binary_search_by_key(&element.tag, |present| present.tag) {
            Ok(index) => self.0[index] = element,
            Err(index) => self.0.insert(index, element),
        }
    }

    pub(crate) fn remove(&mut self, tag: Tag) {
        self.0.retain(|element| element.tag != tag);
    }
}

/// Text without the padding of its VR.
pub(crate) fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_matches([' ', '\0']).to_owned()
}

/// The VR that the standard's dictionary gives a tag; `None` for tags that it does not know.
pub(crate) fn dictionary_vr(tag: Tag) -> Option<VR> {
    let entry = StandardDataDictionary.by_tag(tag)?;
    Some(match entry.vr() {
        VirtualVr::Exact(vr) => vr,
        VirtualVr::Xs => VR::US,
        VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt => VR::OW,
        _ => VR::UN,
    })
}

/// Those of PS3.5, table 7.1-1: two reserved bytes and a length of 32 bits.
fn has_long_length(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
    elements: usize,
}

struct Head {
    tag: Tag,
    vr: VR,
    length: u32,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0, elements: 0 }
    }

    fn malformed(&self, what: &'static str) -> DeidError {
        DeidError::Malformed { offset: self.at, what }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DeidError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(self.malformed("a value goes on behind the end"));
        };
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DeidError> {
        let taken = self.take(N)?;
        <[u8; N]>::try_from(&*taken).map_err(|_| self.malformed("a value goes on behind the end"))
    }

    fn count(&mut self) -> Result<(), DeidError> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(DeidError::TooLarge { what: "the object's number of elements", limit: MAX_ELEMENTS });
        }
        Ok(())
    }

    fn tag(&mut self, encoding: Encoding) -> Result<Tag, DeidError> {
        let bytes = self.array::<4>()?;
        Ok(Tag(encoding.u16([bytes[0], bytes[1]]), encoding.u16([bytes[2], bytes[3]])))
    }

    fn head(&mut self, encoding: Encoding) -> Result<Head, DeidError> {
        self.count()?;
        let tag = self.tag(encoding)?;
        if tag.0 == 0xFFFE || !encoding.explicit {
            let length = encoding.u32(self.array()?);
            let vr = match dictionary_vr(tag) {
                // What has no known VR and no length can only be a sequence.
                Some(VR::UN) | None if length == UNDEFINED => VR::SQ,
                known => known.unwrap_or(VR::UN),
            };
            return Ok(Head { tag, vr, length });
        }
        let letters = self.array::<2>()?;
        let vr = VR::from_binary(letters).ok_or_else(|| self.malformed("the two letters are no VR"))?;
        let length = if has_long_length(vr) {
            self.array::<2>()?;
            encoding.u32(self.array()?)
        } else {
            u32::from(encoding.u16(self.array()?))
        };
        Ok(Head { tag, vr, length })
    }

    /// The elements of group 2, always explicit and little endian (PS3.10, section 7.1).
    pub(crate) fn file_meta(&mut self) -> Result<Dataset, DeidError> {
        let mut meta = Dataset::default();
        while self.bytes.get(self.at..self.at + 2) == Some(&[2, 0]) {
            let head = self.head(Encoding::EXPLICIT_LITTLE)?;
            let value = self.take(usize::try_from(head.length).unwrap_or(usize::MAX))?;
            meta.put(Element { tag: head.tag, vr: head.vr, value: Value::Bytes(value) });
        }
        Ok(meta)
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..)
    }

    /// Everything that is left as one data set.
    pub(crate) fn dataset(&mut self, encoding: Encoding) -> Result<Dataset, DeidError> {
        let end = self.bytes.len();
        self.elements_until(encoding, Some(end), 0)
    }

    /// Elements to `end`, or to an item delimiter where the length is undefined.
    fn elements_until(&mut self, encoding: Encoding, end: Option<usize>, depth: usize) -> Result<Dataset, DeidError> {
        if depth > MAX_DEPTH {
            return Err(DeidError::TooLarge { what: "the depth of sequences", limit: MAX_DEPTH });
        }
        let mut dataset = Dataset::default();
        loop {
            if end.is_some_and(|end| self.at == end) {
                return Ok(dataset);
            }
            if end.is_some_and(|end| self.at > end) {
                return Err(self.malformed("an element goes on behind its item"));
            }
            let head = self.head(encoding)?;
            if end.is_none() && head.tag == tag::ITEM_DELIMITER && head.length == 0 {
                return Ok(dataset);
            }
            if head.tag.0 == 0xFFFE {
                return Err(self.malformed("an item or delimiter stands where an element should"));
            }
            if dataset.0.last().is_some_and(|last| last.tag >= head.tag) {
                return Err(self.malformed("elements are out of order or there twice"));
            }
            let element = self.element(&head, encoding, depth)?;
            dataset.0.push(element);
        }
    }

    fn element(&mut self, head: &Head, encoding: Encoding, depth: usize) -> Result<Element, DeidError> {
        let Head { tag, vr, length } = *head;
        // An unknown VR hides a known one: of implicit VR and little endian (PS3.5, section 6.2.2, note).
        let known = if vr == VR::UN && tag.0.is_multiple_of(2) { dictionary_vr(tag).unwrap_or(vr) } else { vr };
        if vr == VR::SQ || (vr == VR::UN && (length == UNDEFINED || known == VR::SQ)) {
            let inner = if vr == VR::UN { Encoding::IMPLICIT_LITTLE } else { encoding };
            let items = self.items(inner, length, depth)?;
            return Ok(Element { tag, vr: VR::SQ, value: Value::Items(items) });
        }
        if length == UNDEFINED {
            if tag != tag::PIXEL_DATA || depth != 0 {
                return Err(self.malformed("only sequences and pixels may have no length"));
            }
            return Ok(Element { tag, vr, value: Value::Fragments(self.fragments(encoding)?) });
        }
        let value = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        // Numbers would be in another byte order under their true VR, and are then left as unknown.
        let vr = if encoding.big_endian { vr } else { known };
        Ok(Element { tag, vr, value: Value::Bytes(value) })
    }

    fn items(&mut self, encoding: Encoding, length: u32, depth: usize) -> Result<Vec<Dataset>, DeidError> {
        let end = self.end_of(length)?;
        let mut items = Vec::new();
        loop {
            if end.is_some_and(|end| self.at == end) {
                return Ok(items);
            }
            self.count()?;
            let item = self.tag(encoding)?;
            let length = encoding.u32(self.array()?);
            if end.is_none() && item == tag::SEQUENCE_DELIMITER && length == 0 {
                return Ok(items);
            }
            if item != tag::ITEM {
                return Err(self.malformed("a sequence holds something else than items"));
            }
            let item_end = self.end_of(length)?;
            if let (Some(item_end), Some(end)) = (item_end, end)
                && item_end > end
            {
                return Err(self.malformed("an item goes on behind its sequence"));
            }
            items.push(self.elements_until(encoding, item_end, depth + 1)?);
            if end.is_some_and(|end| self.at > end) {
                return Err(self.malformed("an item goes on behind its sequence"));
            }
        }
    }

    fn end_of(&self, length: u32) -> Result<Option<usize>, DeidError> {
        if length == UNDEFINED {
            return Ok(None);
        }
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        match end.filter(|end| *end <= self.bytes.len()) {
            Some(end) => Ok(Some(end)),
            None => Err(self.malformed("a sequence goes on behind the end")),
        }
    }

    fn fragments(&mut self, encoding: Encoding) -> Result<Vec<Bytes>, DeidError> {
        let mut fragments = Vec::new();
        loop {
            self.count()?;
            let item = self.tag(encoding)?;
            let length = encoding.u32(self.array()?);
            match item {
                tag::SEQUENCE_DELIMITER if length == 0 => return Ok(fragments),
                tag::ITEM => fragments.push(self.take(usize::try_from(length).unwrap_or(usize::MAX))?),
                _ => return Err(self.malformed("encapsulated pixels hold something else than fragments")),
            }
        }
    }
}

/// Writes a data set; sequences with undefined lengths.
pub(crate) fn write(dataset: &Dataset, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), DeidError> {
    for element in &dataset.0 {
        write_element(element, encoding, out)?;
    }
    Ok(())
}

fn write_head(element: &Element, length: u32, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), DeidError> {
    encoding.put_tag(out, element.tag);
    if !encoding.explicit {
        encoding.put_u32(out, length);
        return Ok(());
    }
    out.extend_from_slice(element.vr.to_string().as_bytes());
    if has_long_length(element.vr) {
        out.extend_from_slice(&[0, 0]);
        encoding.put_u32(out, length);
        return Ok(());
    }
    let length = u16::try_from(length).map_err(|_| DeidError::ValueTooLong { tag: element.tag })?;
    encoding.put_u16(out, length);
    Ok(())
}

fn write_element(element: &Element, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), DeidError> {
    match &element.value {
        Value::Bytes(bytes) => {
            let padded = bytes.len().next_multiple_of(2);
            let length = u32::try_from(padded).ok().filter(|length| *length != UNDEFINED);
            let length = length.ok_or(DeidError::ValueTooLong { tag: element.tag })?;
            write_head(element, length, encoding, out)?;
            out.extend_from_slice(bytes);
            if padded != bytes.len() {
                out.push(if is_text(element.vr) && element.vr != VR::UI { b' ' } else { 0 });
            }
        }
        Value::Items(items) => {
            write_head(element, UNDEFINED, encoding, out)?;
            for item in items {
                encoding.put_tag(out, tag::ITEM);
                encoding.put_u32(out, UNDEFINED);
                write(item, encoding, out)?;
                encoding.put_tag(out, tag::ITEM_DELIMITER);
                encoding.put_u32(out, 0);
            }
            encoding.put_tag(out, tag::SEQUENCE_DELIMITER);
            encoding.put_u32(out, 0);
        }
        Value::Fragments(fragments) => {
            write_head(element, UNDEFINED, encoding, out)?;
            for fragment in fragments {
                encoding.put_tag(out, tag::ITEM);
                let padded = fragment.len().next_multiple_of(2);
                let length = u32::try_from(padded).map_err(|_| DeidError::ValueTooLong { tag: element.tag })?;
                encoding.put_u32(out, length);
                out.extend_from_slice(fragment);
                out.resize(out.len() + padded - fragment.len(), 0);
            }
            encoding.put_tag(out, tag::SEQUENCE_DELIMITER);
            encoding.put_u32(out, 0);
        }
    }
    Ok(())
}

/// VRs whose values are characters.
pub(crate) fn is_text(vr: VR) -> bool {
    use VR::{AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UI, UR, UT};
    matches!(vr, AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UI | UR | UT)
}
