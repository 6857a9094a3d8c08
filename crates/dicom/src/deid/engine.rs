//! From a file to a de-identified file: reading, the walk over all elements, writing.

use super::dataset::{self, Dataset, Element, Encoding, Reader, Value, is_text, trimmed};
use super::leak::Identity;
use super::report::{Change, Changes, Done, ObjectReport, PixelWork, Rule};
use super::table::{self, Action, OptionAction, Row};
use super::{DeidError, Outcome, Profile, ProfileOption, ProjectKey, ShowValues, Verdict, dates, pixels, tag, values};
use crate::gateway::{IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION};
use bytes::Bytes;
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use std::io::Read as _;

/// What a deflated data set may become; as much as images are large.
const MAX_INFLATED: u64 = 1 << 30;
/// How much more than its compressed form a deflated data set may be; more is an attack.
const MAX_RATIO: u64 = 200;
const PREAMBLE: usize = 128;
const DICOMDIR: &str = "1.2.840.10008.1.3.10";
const LONGEST_VALUE_SHOWN: usize = 64;

/// A file as it was read.
struct Input {
    dataset: Dataset,
    /// Of the data set in the output; a deflated one is written plainly.
    transfer_syntax: String,
    encoding: Encoding,
}

pub(crate) fn run(key: &ProjectKey, profile: &Profile, file: &Bytes, show: ShowValues) -> Result<Outcome, DeidError> {
    let Input { mut dataset, mut transfer_syntax, encoding } = read(file)?;
    let sop_class = checked_sop_class(&dataset)?;
    for (wanted, name) in [(tag::SOP_INSTANCE, "SOP Instance UID"), (tag::STUDY_INSTANCE, "Study Instance UID")] {
        if uid(&dataset, wanted).is_none() {
            return Err(DeidError::Missing { tag: wanted, name });
        }
    }
    let identity = Identity::of(&dataset)?;
    let image = pixels::Image::of(&dataset, &sop_class, &transfer_syntax, encoding);
    let (quarantine, work) = pixels::clean(&image, profile, &mut dataset, &mut transfer_syntax);

    let mut walk = Walk::new(key, profile, &dataset, &identity, show);
    walk.dataset(&mut dataset, "", false);
    let masked = work.iter().any(|work| matches!(work, PixelWork::Masked { .. } | PixelWork::TrustedByRule));
    let codes = method_codes(profile, masked);
    write_method(&mut dataset, profile, &codes, &mut walk);
    let report = ObjectReport {
        edition: table::EDITION,
        sop_instance_uid: dataset.text(tag::SOP_INSTANCE).unwrap_or_default(),
        study_instance_uid: dataset.text(tag::STUDY_INSTANCE).unwrap_or_default(),
        sop_class_uid: sop_class.clone(),
        options: profile.options.iter().copied().collect(),
        method_codes: codes.iter().map(|(code, _)| *code).collect(),
        changes: walk.changes.finish(),
        pixels: work,
        quarantine,
    };
    let verdict = if report.quarantine.is_empty() {
        Verdict::Released(write(&dataset, &sop_class, &report.sop_instance_uid, &transfer_syntax, encoding)?.into())
    } else {
        Verdict::Quarantined
    };
    Ok(Outcome { verdict, report })
}

fn read(file: &Bytes) -> Result<Input, DeidError> {
    if file.get(PREAMBLE..PREAMBLE + 4) != Some(b"DICM") {
        return Err(DeidError::NoPreamble);
    }
    let mut reader = Reader::new(file.slice(PREAMBLE + 4..));
    let meta = reader.file_meta()?;
    let missing = DeidError::Missing { tag: tag::TRANSFER_SYNTAX, name: "Transfer Syntax UID" };
    let transfer_syntax = meta.text(tag::TRANSFER_SYNTAX).ok_or(missing)?;
    let (encoding, deflated) = match transfer_syntax.as_str() {
        "1.2.840.10008.1.2" => (Encoding::IMPLICIT_LITTLE, false),
        "1.2.840.10008.1.2.1" | "1.2.840.10008.1.2.5" | "1.2.840.10008.1.2.8.1" => (Encoding::EXPLICIT_LITTLE, false),
        "1.2.840.10008.1.2.1.99" => (Encoding::EXPLICIT_LITTLE, true),
        "1.2.840.10008.1.2.2" => (Encoding::EXPLICIT_BIG, false),
        uid if uid.starts_with("1.2.840.10008.1.2.4.") && values::is_standard_uid(uid) => {
            (Encoding::EXPLICIT_LITTLE, false)
        }
        _ => return Err(DeidError::TransferSyntax { uid: transfer_syntax }),
    };
    if !deflated {
        let dataset = reader.dataset(encoding)?;
        return Ok(Input { dataset, transfer_syntax, encoding });
    }
    let inflated = inflate(&reader.rest())?;
    let dataset = Reader::new(inflated).dataset(encoding)?;
    Ok(Input { dataset, transfer_syntax: pixels::EXPLICIT_LITTLE.to_owned(), encoding })
}

fn inflate(deflated: &Bytes) -> Result<Bytes, DeidError> {
    let limit = (deflated.len() as u64).saturating_mul(MAX_RATIO).clamp(1 << 20, MAX_INFLATED);
    let mut inflated = Vec::new();
    flate2::read::DeflateDecoder::new(&**deflated)
        .take(limit + 1)
        .read_to_end(&mut inflated)
        .map_err(|_| DeidError::Malformed { offset: inflated_offset(), what: "the deflated data set is damaged" })?;
    if inflated.len() as u64 > limit {
        return Err(DeidError::TooLarge {
            what: "the inflated data set",
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        });
    }
    Ok(inflated.into())
}

/// The decoder does not say where it stopped.
const fn inflated_offset() -> usize {
    0
}

/// A UID that is there, and is one by its VR.
fn uid(dataset: &Dataset, tag: Tag) -> Option<String> {
    dataset.get(tag).filter(|element| element.vr == VR::UI)?;
    dataset.text(tag).filter(|uid| !uid.is_empty())
}

fn checked_sop_class(dataset: &Dataset) -> Result<String, DeidError> {
    let missing = DeidError::Missing { tag: tag::SOP_CLASS, name: "SOP Class UID" };
    let uid = uid(dataset, tag::SOP_CLASS);
    // A directory has no SOP class in its data set, only in its file meta information.
    if dataset.get(Tag(0x0004, 0x1220)).is_some() || uid.as_deref() == Some(DICOMDIR) {
        return Err(DeidError::Directory);
    }
    let uid = uid.ok_or(missing)?;
    if !values::is_standard_uid(&uid) {
        return Err(DeidError::PrivateSopClass);
    }
    Ok(uid)
}

fn method_codes(profile: &Profile, masked: bool) -> Vec<(&'static str, &'static str)> {
    let mut codes = vec![("113100", "Basic Application Confidentiality Profile")];
    if masked {
        codes.push(("113101", "Clean Pixel Data Option"));
    }
    codes.extend(profile.options.iter().map(|option| option.method_code()));
    codes
}

fn write_method(dataset: &mut Dataset, profile: &Profile, codes: &[(&str, &str)], walk: &mut Walk<'_>) {
    let items = codes.iter().map(|(code, meaning)| {
        Dataset(vec![
            Element::text(tag::CODE_VALUE, VR::SH, code),
            Element::text(tag::CODING_SCHEME, VR::SH, "DCM"),
            Element::text(tag::CODE_MEANING, VR::LO, meaning),
        ])
    });
    let items = Value::Items(items.collect());
    let temporal = if profile.has(ProfileOption::RetainFullDates) {
        "UNMODIFIED"
    } else if profile.has(ProfileOption::RetainModifiedDates) {
        "MODIFIED"
    } else {
        "REMOVED"
    };
    let method = format!("lumenbus {} PS3.15 {}", env!("CARGO_PKG_VERSION"), table::EDITION);
    for element in [
        Element::text(tag::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"),
        Element::text(tag::DEIDENTIFICATION_METHOD, VR::LO, &method),
        Element { tag: tag::DEIDENTIFICATION_METHOD_CODES, vr: VR::SQ, value: items },
        Element::text(tag::LONGITUDINAL_MODIFIED, VR::CS, temporal),
    ] {
        walk.note("", &element, Done::Added, Why::rule(Rule::Method));
        dataset.put(element);
    }
}

fn write(
    dataset: &Dataset,
    sop_class: &str,
    sop_instance: &str,
    transfer_syntax: &str,
    encoding: Encoding,
) -> Result<Vec<u8>, DeidError> {
    let meta = Dataset(vec![
        Element { tag: Tag(2, 1), vr: VR::OB, value: Value::Bytes(Bytes::from_static(&[0, 1])) },
        Element::text(Tag(2, 2), VR::UI, sop_class),
        Element::text(Tag(2, 3), VR::UI, sop_instance),
        Element::text(tag::TRANSFER_SYNTAX, VR::UI, transfer_syntax),
        Element::text(Tag(2, 0x12), VR::UI, IMPLEMENTATION_CLASS),
        Element::text(Tag(2, 0x13), VR::SH, IMPLEMENTATION_VERSION),
    ]);
    let mut group = Vec::new();
    dataset::write(&meta, Encoding::EXPLICIT_LITTLE, &mut group)?;
    let mut out = vec![0; PREAMBLE];
    out.extend_from_slice(b"DICM");
    out.extend_from_slice(&[2, 0, 0, 0, b'U', b'L', 4, 0]);
    out.extend_from_slice(&u32::try_from(group.len()).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&group);
    dataset::write(dataset, encoding, &mut out)?;
    Ok(out)
}

/// Why something is done to an element.
#[derive(Clone, Copy)]
struct Why {
    rule: Rule,
    action: Option<Action>,
    option: Option<ProfileOption>,
}

impl Why {
    const fn rule(rule: Rule) -> Self {
        Self { rule, action: None, option: None }
    }

    fn row(row: &Row, option: Option<ProfileOption>) -> Self {
        Self { rule: Rule::Table, action: Some(row.basic), option }
    }
}

/// What is to become of an element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Remove,
    Empty,
    Dummy,
    MapUid,
    Pseudonym,
    Shift,
    CleanWords,
    /// The items of a sequence are gone through.
    Recurse,
    LimitAge,
}

struct Walk<'a> {
    key: &'a ProjectKey,
    profile: &'a Profile,
    identity: &'a Identity,
    patient: Vec<Vec<u8>>,
    show: ShowValues,
    changes: Changes,
}

impl<'a> Walk<'a> {
    fn new(
        key: &'a ProjectKey,
        profile: &'a Profile,
        dataset: &Dataset,
        identity: &'a Identity,
        show: ShowValues,
    ) -> Self {
        let mut changes = Changes::default();
        changes.add(Change {
            path: "(0002,xxxx)".to_owned(),
            keyword: String::new(),
            done: Done::Removed,
            rule: Rule::FileMeta,
            action: None,
            option: None,
            count: 1,
            before: None,
        });
        Self { key, profile, identity, patient: patient(dataset), show, changes }
    }

    fn patient(&self) -> Vec<&[u8]> {
        self.patient.iter().map(Vec::as_slice).collect()
    }

    fn note(&mut self, path: &str, element: &Element, done: Done, why: Why) {
        let before = match (&element.value, self.show) {
            (Value::Bytes(bytes), ShowValues::Yes) if is_text(element.vr) && done != Done::Added => {
                Some(trimmed(bytes).chars().take(LONGEST_VALUE_SHOWN).collect())
            }
            _ => None,
        };
        let separator = if path.is_empty() { "" } else { "." };
        self.changes.add(Change {
            path: format!("{path}{separator}{}", element.tag),
            keyword: keyword(element.tag),
            done,
            rule: why.rule,
            action: why.action,
            option: why.option,
            count: 1,
            before,
        });
    }

    /// `dummies`: the data set is in a sequence whose values all become dummies.
    fn dataset(&mut self, dataset: &mut Dataset, path: &str, dummies: bool) {
        let creators = private_creators(dataset);
        let elements = std::mem::take(&mut dataset.0);
        let mut kept_blocks = Vec::new();
        for element in elements {
            let tag = element.tag;
            if tag.0 % 2 == 1 && (0x10..=0xFF).contains(&tag.1) {
                // Creators are decided on when it is known whether something of theirs stays.
                dataset.0.push(element);
                continue;
            }
            if let Some(element) = self.element(element, path, dummies, &creators) {
                if tag.0 % 2 == 1 {
                    kept_blocks.push((tag.0, tag.1 >> 8));
                }
                dataset.0.push(element);
            }
        }
        let elements = std::mem::take(&mut dataset.0);
        for element in elements {
            let is_creator = element.tag.0 % 2 == 1 && (0x10..=0xFF).contains(&element.tag.1);
            if is_creator && !kept_blocks.contains(&(element.tag.0, element.tag.1)) {
                self.note(path, &element, Done::Removed, Why::rule(Rule::Private));
            } else {
                dataset.0.push(element);
            }
        }
    }

    fn element(&mut self, element: Element, path: &str, dummies: bool, creators: &Creators) -> Option<Element> {
        let (mut fate, mut why) = self.fate(&element, creators);
        if dummies && !matches!(fate, Fate::Remove | Fate::Empty | Fate::MapUid) {
            fate = if element.vr == VR::UI { Fate::MapUid } else { Fate::Dummy };
            why.rule = Rule::Table;
        }
        let element = self.apply(element, fate, why, path)?;
        // The last look: nothing that stays may say what was removed elsewhere.
        if let Value::Bytes(bytes) = &element.value
            && matches!(fate, Fate::Keep | Fate::CleanWords | Fate::Shift)
            && !is_pixels(element.tag)
        {
            if self.identity.is_in(element.vr, bytes) && !is_standard_uids(&element) {
                let fate = if element.vr == VR::UI { Fate::MapUid } else { Fate::Empty };
                return self.apply(element, fate, Why::rule(Rule::Leak), path);
            }
            if !values::is_valid(element.vr, bytes) {
                return self.apply(element, Fate::Empty, Why::rule(Rule::InvalidValue), path);
            }
        }
        Some(element)
    }

    fn fate(&self, element: &Element, creators: &Creators) -> (Fate, Why) {
        let Tag(group, number) = element.tag;
        if group % 2 == 1 {
            return self.private_fate(element, creators);
        }
        if matches!(group >> 8, 0x50 | 0x60) {
            return (Fate::Remove, Why::rule(Rule::Graphics));
        }
        if number == 0 {
            return (Fate::Remove, Why::rule(Rule::GroupLength));
        }
        if let Some(row) = table::row(element.tag) {
            return self.row_fate(element, row);
        }
        if group < 8 || dataset::dictionary_vr(element.tag).is_none() {
            return (Fate::Remove, Why::rule(Rule::Unknown));
        }
        self.unlisted_fate(element)
    }

    fn private_fate(&self, element: &Element, creators: &Creators) -> (Fate, Why) {
        let Tag(group, number) = element.tag;
        let creator = creators.iter().find(|(key, _)| *key == (group, number >> 8)).map(|(_, creator)| creator);
        let listed = creator.and_then(|creator| table::safe_private(creator, element.tag));
        let safe = match (&element.value, listed) {
            // Under implicit VR nobody says what it is; its bytes must then be what the list says.
            (Value::Bytes(bytes), Some(vr)) if number >= 0x1000 && (element.vr == vr || element.vr == VR::UN) => {
                self.profile.has(ProfileOption::RetainSafePrivate)
                    && values::is_valid(vr, bytes)
                    && !self.identity.is_in(vr, bytes)
            }
            _ => false,
        };
        if safe {
            let option = Some(ProfileOption::RetainSafePrivate);
            return (Fate::Keep, Why { rule: Rule::Private, action: None, option });
        }
        (Fate::Remove, Why::rule(Rule::Private))
    }

    fn row_fate(&self, element: &Element, row: &'static Row) -> (Fate, Why) {
        let active = || self.profile.options.iter().filter_map(|option| Some((*option, row.option(*option)?)));
        if let Some((option, _)) = active().find(|(_, action)| *action == OptionAction::Keep) {
            let fate = match element.vr {
                VR::SQ => Fate::Recurse,
                VR::AS => Fate::LimitAge,
                _ => Fate::Keep,
            };
            return (fate, Why::row(row, Some(option)));
        }
        for (option, _) in active() {
            if let Some(fate) = clean(option, element.vr) {
                return (fate, Why::row(row, Some(option)));
            }
        }
        (basic(element, row.basic), Why::row(row, None))
    }

    /// The table leaves these as they are. What by its VR holds what it does not list is not trusted.
    fn unlisted_fate(&self, element: &Element) -> (Fate, Why) {
        let has = |option| self.profile.has(option);
        if has_foreign_vr(element) {
            return (Fate::Empty, Why::rule(Rule::InvalidValue));
        }
        match element.vr {
            VR::SQ => (Fate::Recurse, Why::rule(Rule::Table)),
            VR::UI if has(ProfileOption::RetainUids) || is_standard_uids(element) => {
                (Fate::Keep, Why::rule(Rule::UnlistedUid))
            }
            VR::UI => (Fate::MapUid, Why::rule(Rule::UnlistedUid)),
            VR::DA | VR::DT | VR::TM if has(ProfileOption::RetainFullDates) => {
                (Fate::Keep, Why::rule(Rule::UnlistedTime))
            }
            VR::DA | VR::DT | VR::TM if has(ProfileOption::RetainModifiedDates) => {
                (Fate::Shift, Why::rule(Rule::UnlistedTime))
            }
            VR::DA | VR::DT | VR::TM => (Fate::Dummy, Why::rule(Rule::UnlistedTime)),
            VR::AS => (Fate::LimitAge, Why::rule(Rule::UnlistedTime)),
            VR::PN => (Fate::Empty, Why::rule(Rule::UnlistedName)),
            VR::AE if has(ProfileOption::RetainDeviceIdentity) => (Fate::Keep, Why::rule(Rule::UnlistedEntity)),
            VR::AE => (Fate::Empty, Why::rule(Rule::UnlistedEntity)),
            // A content item must have its text to be one.
            VR::UT if element.tag == tag::TEXT_VALUE => (Fate::Dummy, Why::rule(Rule::UnlistedText)),
            VR::LT | VR::ST | VR::UT | VR::UR => (Fate::Empty, Why::rule(Rule::UnlistedText)),
            VR::UN => (Fate::Remove, Why::rule(Rule::Unknown)),
            _ => (Fate::Keep, Why::rule(Rule::Table)),
        }
    }

    fn apply(&mut self, mut element: Element, fate: Fate, why: Why, path: &str) -> Option<Element> {
        let before = element.clone();
        let empty = matches!(&element.value, Value::Bytes(bytes) if bytes.is_empty());
        let done = match fate {
            Fate::Keep => {
                if why.option.is_some() && !empty {
                    self.note(path, &before, Done::Kept, why);
                }
                return Some(element);
            }
            Fate::Remove => {
                self.note(path, &before, Done::Removed, why);
                return None;
            }
            // An empty value says nothing, and filling it would say that there was one.
            _ if empty => return Some(element),
            Fate::Recurse => {
                self.items(&mut element, path, false);
                if why.option.is_some() {
                    self.note(path, &before, Done::Cleaned, why);
                }
                return Some(element);
            }
            Fate::Empty => {
                element.value = empty_value(&element);
                Done::Emptied
            }
            Fate::Dummy if element.vr == VR::SQ => {
                self.note(path, &before, Done::Dummy, why);
                self.dummy_sequence(&mut element, path);
                return Some(element);
            }
            Fate::Dummy if element.vr == VR::UI => self.map_uids(&mut element, true)?,
            Fate::Dummy => {
                element.value = Value::Bytes(Bytes::from_static(values::dummy(element.vr)));
                Done::Dummy
            }
            Fate::MapUid => match self.map_uids(&mut element, why.rule == Rule::Leak) {
                Some(done) => done,
                None => return Some(element),
            },
            Fate::Pseudonym => {
                let pseudonym = self.key.pseudonym(&self.patient());
                element.value = Value::Bytes(pseudonym.into_bytes().into());
                Done::Pseudonym
            }
            Fate::Shift => self.shift(&mut element),
            Fate::CleanWords => self.clean_words(&mut element),
            Fate::LimitAge => match limit_age(&mut element) {
                Some(done) => done,
                None => {
                    if why.option.is_some() {
                        self.note(path, &before, Done::Kept, why);
                    }
                    return Some(element);
                }
            },
        };
        self.note(path, &before, done, why);
        Some(element)
    }

    fn items(&mut self, element: &mut Element, path: &str, dummies: bool) {
        let separator = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{separator}{}", element.tag);
        if let Value::Items(items) = &mut element.value {
            for item in items {
                self.dataset(item, &path, dummies);
            }
        }
    }

    /// One item whose values are all dummies; of a content tree one item of text.
    fn dummy_sequence(&mut self, element: &mut Element, path: &str) {
        if element.tag == tag::CONTENT_SEQUENCE {
            element.value = Value::Items(vec![dummy_content()]);
            return;
        }
        if let Value::Items(items) = &mut element.value {
            items.truncate(1);
        }
        self.items(element, path, true);
    }

    /// `None` when nothing had to change.
    fn map_uids(&self, element: &mut Element, all: bool) -> Option<Done> {
        let Value::Bytes(bytes) = &element.value else { return None };
        let listed = table::row(element.tag).is_some();
        let stays = |uid: &str| {
            uid.is_empty()
                || (!all && if listed { values::is_well_known_instance(uid) } else { values::is_standard_uid(uid) })
        };
        let text = String::from_utf8_lossy(bytes).into_owned();
        let uids: Vec<_> = text.split('\\').map(|uid| uid.trim_matches([' ', '\0'])).collect();
        if uids.iter().all(|uid| stays(uid)) {
            return None;
        }
        let mapped: Vec<_> =
            uids.iter().map(|uid| if stays(uid) { (*uid).to_owned() } else { self.key.uid(uid) }).collect();
        *element = Element::text(element.tag, VR::UI, &mapped.join("\\"));
        Some(Done::UidMapped)
    }

    fn shift(&self, element: &mut Element) -> Done {
        let Value::Bytes(bytes) = &element.value else { return Done::Shifted };
        let days = self.key.days(&self.patient(), self.profile.shift_range_days);
        let text = String::from_utf8_lossy(bytes);
        let shifted = match element.vr {
            VR::DA => dates::shift_da(&text, days),
            VR::DT => dates::shift_dt(&text, days),
            // Whole days leave the time of day as it is; colons are of ACR-NEMA.
            VR::TM if dates::is_time(&text) => Some(text.replace(':', "")),
            _ => None,
        };
        let done = match (&shifted, element.vr) {
            (Some(_), VR::TM) => Done::Kept,
            (Some(_), _) => Done::Shifted,
            (None, _) => Done::Emptied,
        };
        *element = Element::text(element.tag, element.vr, &shifted.unwrap_or_default());
        done
    }

    fn clean_words(&self, element: &mut Element) -> Done {
        if let Value::Bytes(bytes) = &element.value {
            let words = values::clean_words(bytes, &self.profile.descriptor_words);
            *element = Element::text(element.tag, element.vr, &words);
        }
        Done::Cleaned
    }
}

/// Text under a tag that the dictionary has for something else, or the other way round: nobody knows what it is.
fn has_foreign_vr(element: &Element) -> bool {
    let Some(known) = dataset::dictionary_vr(element.tag).filter(|known| *known != element.vr) else { return false };
    let short = |vr| matches!(vr, VR::LO | VR::SH | VR::CS | VR::UC);
    let number = |vr| matches!(vr, VR::DS | VR::IS);
    let text = is_text(known) || is_text(element.vr) || known == VR::SQ || element.vr == VR::SQ;
    text && !(short(known) && short(element.vr)) && !(number(known) && number(element.vr))
}

fn limit_age(element: &mut Element) -> Option<Done> {
    let Value::Bytes(bytes) = &element.value else { return None };
    let before = trimmed(bytes);
    let limited = dates::limit_age(&before);
    if limited.as_deref() == Some(before.as_str()) {
        return None;
    }
    let done = if limited.is_some() { Done::AgeLimited } else { Done::Emptied };
    *element = Element::text(element.tag, element.vr, &limited.unwrap_or_default());
    Some(done)
}

fn empty_value(element: &Element) -> Value {
    if element.vr == VR::SQ { Value::Items(Vec::new()) } else { Value::Bytes(Bytes::new()) }
}

/// What an option's `C` is for a VR; `None` where cleaning is the basic action.
fn clean(option: ProfileOption, vr: VR) -> Option<Fate> {
    let words = matches!(vr, VR::LO | VR::SH | VR::ST | VR::LT | VR::UT | VR::UC);
    match option {
        ProfileOption::RetainModifiedDates if matches!(vr, VR::DA | VR::DT | VR::TM) => Some(Fate::Shift),
        ProfileOption::CleanDescriptors | ProfileOption::RetainPatientCharacteristics if words => {
            Some(Fate::CleanWords)
        }
        ProfileOption::CleanStructuredContent if vr == VR::SQ => Some(Fate::Recurse),
        _ => None,
    }
}

/// Where the table leaves it to the attribute's type, which differs between IODs, the alternative that every type allows.
fn basic(element: &Element, action: Action) -> Fate {
    let sequence = element.vr == VR::SQ;
    match (action, element.tag) {
        (_, tag::PATIENT_ID | tag::PATIENT_NAME) => Fate::Pseudonym,
        // The whole module goes, which an IOD can do without; its shapes may be of letters.
        (_, tag::GRAPHIC_ANNOTATIONS) => Fate::Remove,
        // A reference is a UID and its SOP class.
        (Action::XZU, _) | (Action::XZD, tag::REFERENCED_PPS) if sequence => Fate::Recurse,
        (Action::X, _) => Fate::Remove,
        (Action::U, _) if !sequence => Fate::MapUid,
        (Action::Z | Action::XZ | Action::XZU | Action::U, _) => Fate::Empty,
        (Action::D | Action::ZD | Action::XD | Action::XZD, _) => Fate::Dummy,
    }
}

fn dummy_content() -> Dataset {
    let concept = Dataset(vec![
        Element::text(tag::CODE_VALUE, VR::SH, "121106"),
        Element::text(tag::CODING_SCHEME, VR::SH, "DCM"),
        Element::text(tag::CODE_MEANING, VR::LO, "Comment"),
    ]);
    Dataset(vec![
        Element::text(tag::RELATIONSHIP, VR::CS, "CONTAINS"),
        Element::text(tag::VALUE_TYPE, VR::CS, "TEXT"),
        Element { tag: tag::CONCEPT_NAME, vr: VR::SQ, value: Value::Items(vec![concept]) },
        Element::text(tag::TEXT_VALUE, VR::UT, "REMOVED"),
    ])
}

type Creators = Vec<((u16, u16), String)>;

/// Who reserved which block of private elements (PS3.5, section 7.8.1).
fn private_creators(dataset: &Dataset) -> Creators {
    let creators = dataset.0.iter().filter(|element| element.tag.0 % 2 == 1 && (0x10..=0xFF).contains(&element.tag.1));
    let named = creators.filter_map(|element| match &element.value {
        Value::Bytes(bytes) => Some(((element.tag.0, element.tag.1), trimmed(bytes))),
        Value::Items(_) | Value::Fragments(_) => None,
    });
    named.collect()
}

/// What a patient is known by: the id and who gave it; without an id name and birth date; without both the study.
fn patient(dataset: &Dataset) -> Vec<Vec<u8>> {
    let text = |tag| dataset.text(tag).unwrap_or_default().into_bytes();
    let id = text(tag::PATIENT_ID);
    if !id.is_empty() {
        return vec![id, text(tag::ISSUER_OF_PATIENT_ID)];
    }
    let name = text(tag::PATIENT_NAME);
    if !name.is_empty() {
        return vec![b"name".to_vec(), name, text(tag::PATIENT_BIRTH_DATE)];
    }
    vec![b"study".to_vec(), text(tag::STUDY_INSTANCE), Vec::new()]
}

fn is_standard_uids(element: &Element) -> bool {
    let Value::Bytes(bytes) = &element.value else { return false };
    element.vr == VR::UI
        && trimmed(bytes)
            .split('\\')
            .all(|uid| uid.is_empty() || values::is_standard_uid(uid.trim_matches([' ', '\0'])))
}

fn is_pixels(tag: Tag) -> bool {
    [tag::PIXEL_DATA, tag::FLOAT_PIXELS, tag::DOUBLE_PIXELS].contains(&tag)
}

fn keyword(tag: Tag) -> String {
    if tag.0 % 2 == 1 {
        return String::new();
    }
    StandardDataDictionary.by_tag(tag).map(|entry| entry.alias().to_owned()).unwrap_or_default()
}
