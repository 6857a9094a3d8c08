//! Values that repeat who the patient is, where the table does not look for it.
//!
//! This finds what the object itself says of the patient: names, ids and birth date of the elements that hold them. It
//! knows no other names. That it finds nothing means no more than that.

use super::dataset::{Dataset, Value, is_text};
use super::{DeidError, tag};
use dicom_core::{Tag, VR};
use std::collections::BTreeSet;

/// Different terms of one object; more is no patient but an attack on the search.
const MAX_TERMS: usize = 512;
/// Binary values are searched for terms of at least this many bytes: shorter ones are in any noise.
const BINARY_TERM: usize = 6;
/// Numbers within ids are looked for when they have at least this many digits.
const NUMBER: usize = 5;

/// Elements whose values are ids of the patient, the visit or the order.
const IDS: [Tag; 8] = [
    tag::PATIENT_ID,
    tag::ACCESSION_NUMBER,
    Tag(0x0010, 0x1000),
    Tag(0x0010, 0x1050),
    Tag(0x0010, 0x1090),
    Tag(0x0010, 0x2154),
    Tag(0x0038, 0x0010),
    Tag(0x0038, 0x0060),
];

#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// Parts of names, in lower case, at least three bytes.
    names: BTreeSet<Vec<u8>>,
    /// Ids and dates without what separates their parts, in lower case.
    ids: BTreeSet<Vec<u8>>,
}

impl Identity {
    /// What all elements at any depth say.
    pub(crate) fn of(dataset: &Dataset) -> Result<Self, DeidError> {
        let mut identity = Self::default();
        identity.collect(dataset);
        if identity.names.len() + identity.ids.len() > MAX_TERMS {
            return Err(DeidError::TooLarge { what: "the number of names and ids", limit: MAX_TERMS });
        }
        Ok(identity)
    }

    fn collect(&mut self, dataset: &Dataset) {
        for element in &dataset.0 {
            match &element.value {
                Value::Items(items) => items.iter().for_each(|item| self.collect(item)),
                Value::Fragments(_) => {}
                Value::Bytes(bytes) if element.vr == VR::PN => {
                    self.names.extend(tokens(bytes).filter(|token| token.len() >= 3));
                }
                Value::Bytes(bytes) if IDS.contains(&element.tag) && is_text(element.vr) => {
                    for one in bytes.split(|byte| *byte == b'\\') {
                        self.add_id(one);
                    }
                }
                Value::Bytes(bytes) if element.tag == tag::PATIENT_BIRTH_DATE => self.add_id(bytes),
                Value::Bytes(_) => {}
            }
        }
    }

    fn add_id(&mut self, bytes: &[u8]) {
        let id = compact(bytes);
        // An id of one repeated character ("0", "000") is none.
        let is_id = |id: &[u8]| id.len() >= 2 && id.iter().any(|byte| *byte != id[0]);
        // The number of `PID-774411` says as much as the whole.
        let numbers = id.split(|byte| !byte.is_ascii_digit()).filter(|number| number.len() >= NUMBER && is_id(number));
        self.ids.extend(numbers.map(<[u8]>::to_vec));
        if is_id(&id) {
            self.ids.insert(id);
        }
    }

    /// Whether a value that is to stay says something of it.
    pub(crate) fn is_in(&self, vr: VR, bytes: &[u8]) -> bool {
        if !is_text(vr) {
            return !matches!(vr, VR::US | VR::SS | VR::UL | VR::SL | VR::FL | VR::FD | VR::AT | VR::SV | VR::UV)
                && self.is_in_binary(bytes);
        }
        let compacted = compact(bytes);
        // Numbers are compared as a whole: parts of them are in other numbers by chance.
        if matches!(vr, VR::DS | VR::IS) {
            return bytes.split(|byte| *byte == b'\\').any(|one| {
                let one = compact(one);
                one.len() >= 4 && self.ids.contains(&one)
            });
        }
        self.ids.iter().any(|id| if id.len() >= 4 { contains(&compacted, id) } else { compacted == *id })
            || tokens(bytes).any(|token| self.names.contains(&token))
            || self.names.iter().any(|name| name.len() >= BINARY_TERM && contains(&compacted, name))
    }

    fn is_in_binary(&self, bytes: &[u8]) -> bool {
        let terms = || self.names.iter().chain(&self.ids).filter(|term| term.len() >= BINARY_TERM);
        if terms().next().is_none() {
            return false;
        }
        let lower = bytes.to_ascii_lowercase();
        terms().any(|term| contains(&lower, term))
    }
}

/// Words: letters, digits and every byte beyond ASCII.
fn tokens(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    bytes.split(|byte| !is_word(*byte)).filter(|token| !token.is_empty()).map(<[u8]>::to_ascii_lowercase)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

fn compact(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().filter(|byte| is_word(**byte)).map(u8::to_ascii_lowercase).collect()
}

fn contains(bytes: &[u8], term: &[u8]) -> bool {
    let first = term[0];
    let Some(last) = bytes.len().checked_sub(term.len()) else { return false };
    (0..=last).any(|at| bytes[at] == first && bytes[at..].starts_with(term))
}
