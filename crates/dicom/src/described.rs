//! Attributes as lines for people: tag, name, VR and value; what could be of a patient is masked unless it may be seen.
//!
//! Masked is what Table E.1-1 of DICOM PS3.15 lists, every private and unknown element, and every person's name. Dates and
//! descriptions of study and series stay, as in lists of studies; a description that repeats the patient's name or id does not.

use crate::attributes::{Attribute, Attributes};
use crate::catalogue::{PatientData, repeats_patient};
use crate::charset;
use crate::deid::table;
use crate::element::{ByteOrder, Tag, Vr};
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_dictionary_std::StandardDataDictionary;

/// Most lines.
pub const MAX_LINES: usize = 4_000;
/// Longest value shown, in characters.
const MAX_TEXT: usize = 256;
/// Stay when the rest is masked: Study Date, Series Date, Study Description, Series Description.
const LISTED: [Tag; 4] = [Tag(0x0008_0020), Tag(0x0008_0021), Tag(0x0008_1030), Tag(0x0008_103E)];
/// Most numbers shown of one value.
const MAX_NUMBERS: usize = 32;

/// What stands in a line behind its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The value; longer ones are cut.
    Text(String),
    /// It could be of the patient.
    Masked,
    /// So many bytes that are no text.
    Bytes(u64),
    /// So many items, which follow.
    Items(usize),
}

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Sequences that it is inside of.
    pub depth: usize,
    /// Which.
    pub tag: Tag,
    /// Its name in DICOM PS3.6 as a keyword; empty for private and unknown ones.
    pub name: &'static str,
    /// Two letters.
    pub vr: String,
    /// Its value.
    pub value: Shown,
}

/// The lines of an object, and whether these are all.
#[must_use]
pub fn lines(attributes: &Attributes, patient_data: PatientData) -> (Vec<Line>, bool) {
    let mut writer = Writer { attributes, patient_data, lines: Vec::new() };
    writer.list(&attributes.list, 0);
    let is_all = attributes.complete && writer.lines.len() < MAX_LINES;
    (writer.lines, is_all)
}

struct Writer<'a> {
    attributes: &'a Attributes,
    patient_data: PatientData,
    lines: Vec<Line>,
}

impl Writer<'_> {
    fn list(&mut self, list: &[Attribute], depth: usize) {
        for attribute in list {
            if self.lines.len() >= MAX_LINES {
                return;
            }
            let (name, vr) = known(attribute);
            let is_masked = self.patient_data == PatientData::Masked && is_of_patient(attribute.tag, name, &vr);
            let value = if is_masked { Shown::Masked } else { self.shown(attribute, &vr) };
            let has_items = matches!(value, Shown::Items(_));
            self.lines.push(Line { depth, tag: attribute.tag, name, vr, value });
            if has_items {
                attribute.items.iter().for_each(|item| self.list(item, depth + 1));
            }
        }
    }

    fn shown(&self, attribute: &Attribute, vr: &str) -> Shown {
        if vr == "SQ" || !attribute.items.is_empty() {
            return Shown::Items(attribute.items.len());
        }
        let Some(value) = attribute.value.as_deref() else { return Shown::Bytes(attribute.length) };
        // Group 2 is little endian always (PS3.10, section 7.1).
        let order = if attribute.tag.group() == 2 { ByteOrder::Little } else { self.attributes.byte_order };
        let Some(text) = numbers(value, vr, order) else {
            if ["OB", "OD", "OF", "OL", "OV", "OW", "UN"].contains(&vr) {
                return Shown::Bytes(attribute.length);
            }
            let text = charset::text(value, self.attributes.value(Tag::SPECIFIC_CHARACTER_SET));
            let is_hidden = self.patient_data == PatientData::Masked && repeats_patient(self.attributes, &text);
            // Codes and numbers repeat short ids by chance; free text does not.
            if is_hidden && ["LO", "SH", "LT", "ST", "UT", "UC"].contains(&vr) {
                return Shown::Masked;
            }
            return Shown::Text(text.chars().take(MAX_TEXT).collect());
        };
        Shown::Text(text)
    }
}

/// Keyword and VR, by the dictionary where the encoding does not say the VR.
fn known(attribute: &Attribute) -> (&'static str, String) {
    let tag = dicom_core::Tag(attribute.tag.group(), (attribute.tag.0 & 0xFFFF) as u16);
    let entry = StandardDataDictionary.by_tag(tag);
    let is_said = attribute.vr != Vr::IMPLICIT && attribute.vr != Vr::UN;
    let vr = match entry {
        _ if is_said => attribute.vr.as_str().to_owned(),
        Some(entry) => entry.vr().relaxed().to_string().to_owned(),
        None => "UN".to_owned(),
    };
    // The dictionary's entries for groups without a meaning of their own have names that say nothing.
    let name = entry.map_or("", |entry| entry.alias());
    (if is_private(attribute.tag) { "" } else { name }, vr)
}

fn is_private(tag: Tag) -> bool {
    tag.group() % 2 == 1
}

fn is_of_patient(tag: Tag, name: &str, vr: &str) -> bool {
    let row = || table::row(dicom_core::Tag(tag.group(), (tag.0 & 0xFFFF) as u16)).is_some();
    !LISTED.contains(&tag) && (is_private(tag) || name.is_empty() || vr == "PN" || row())
}

/// Numbers of binary VRs, separated as in text.
fn numbers(value: &[u8], vr: &str, order: ByteOrder) -> Option<String> {
    let words = |texts: Vec<String>, all: usize| {
        let more = if all > MAX_NUMBERS { "\\…" } else { "" };
        Some(format!("{}{more}", texts.join("\\")))
    };
    let two = value.as_chunks::<2>().0;
    let four = value.as_chunks::<4>().0;
    let eight = value.as_chunks::<8>().0;
    match vr {
        "US" => words(two.iter().take(MAX_NUMBERS).map(|&b| order.u16(b).to_string()).collect(), two.len()),
        "SS" => {
            words(two.iter().take(MAX_NUMBERS).map(|&b| order.u16(b).cast_signed().to_string()).collect(), two.len())
        }
        "UL" => words(four.iter().take(MAX_NUMBERS).map(|&b| order.u32(b).to_string()).collect(), four.len()),
        "SL" => {
            words(four.iter().take(MAX_NUMBERS).map(|&b| order.u32(b).cast_signed().to_string()).collect(), four.len())
        }
        "FL" => words(
            four.iter().take(MAX_NUMBERS).map(|&b| f32::from_bits(order.u32(b)).to_string()).collect(),
            four.len(),
        ),
        "FD" => words(
            eight.iter().take(MAX_NUMBERS).map(|&b| f64::from_bits(order.u64(b)).to_string()).collect(),
            eight.len(),
        ),
        "AT" => {
            let tag = |b: &[u8; 4]| format!("({:04X},{:04X})", order.u16([b[0], b[1]]), order.u16([b[2], b[3]]));
            words(four.iter().take(MAX_NUMBERS).map(tag).collect(), four.len())
        }
        _ => None,
    }
}
