//! Studies, series and objects by what their metadata records say, in memory and bounded.
//!
//! Nothing of a patient gets in unless [`PatientData::Shown`] was asked for: then name and id of each study's. Names of
//! what is in here are hashes of UIDs, which can stand in addresses and logs.

use crate::attributes::Attributes;
use crate::charset;
use crate::element::Tag;
use crate::record::Metadata;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

/// Most objects known; one more, and the one that came first is forgotten.
pub const MAX_OBJECTS: usize = 100_000;
/// Longest text kept, in characters.
const MAX_TEXT: usize = 64;

const STUDY_DATE: Tag = Tag(0x0008_0020);
const SERIES_DATE: Tag = Tag(0x0008_0021);
const MODALITY: Tag = Tag(0x0008_0060);
const STUDY_DESCRIPTION: Tag = Tag(0x0008_1030);
const SERIES_DESCRIPTION: Tag = Tag(0x0008_103E);
const PATIENT_NAME: Tag = Tag(0x0010_0010);
const PATIENT_ID: Tag = Tag(0x0010_0020);
const SERIES_NUMBER: Tag = Tag(0x0020_0011);
const INSTANCE_NUMBER: Tag = Tag(0x0020_0013);
/// Names and ids that must not stand in a description.
const OF_PATIENT: [Tag; 7] = [
    PATIENT_NAME,
    PATIENT_ID,
    Tag(0x0008_0050),
    Tag(0x0010_1000),
    Tag(0x0010_1001),
    Tag(0x0010_1005),
    Tag(0x0010_1060),
];

/// Whether what is of a patient may be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PatientData {
    /// It does not leave this process.
    #[default]
    Masked,
    /// It is handed out.
    Shown,
}

/// The name of a study, series or object: 128 bits of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; 16]);

impl Name {
    fn of(kind: &str, parts: &[&str]) -> Self {
        let mut hash = Sha256::new().chain_update(b"lumenbus dicom view 1\0").chain_update(kind);
        for part in parts {
            hash.update([0]);
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut name = [0; 16];
        name.copy_from_slice(&digest[..16]);
        Self(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// It is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hex digits")]
pub struct NoName;

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if is_hex { u128::from_str_radix(text, 16).ok() } else { None };
        number.map(|number| Self(number.to_be_bytes())).ok_or(NoName)
    }
}

/// Where an object's metadata is in its topic: the offsets of the first and the last part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Partition of the metadata, and of the chunks.
    pub partition: i32,
    /// Offset of the first part.
    pub first: i64,
    /// Offset of the part that commits the object.
    pub last: i64,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Where its metadata is.
    pub place: Place,
    /// When it was sent, in milliseconds of Unix time.
    pub unix_millis: i64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Frames of its image; 0 where it has none.
    pub frames: u64,
    /// Instance Number (0020,0013).
    pub number: Option<u64>,
    study: Name,
    series: Name,
    order: u64,
}

/// One series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Series Number (0020,0011).
    pub number: Option<u64>,
    /// Modality (0008,0060).
    pub modality: String,
    /// Series Date (0008,0021), as the file has it: `YYYYMMDD`.
    pub date: String,
    /// Series Description (0008,103E).
    pub description: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// By instance number, then as they came; those without a number last.
    objects: BTreeMap<(u64, u64), Name>,
}

impl SeriesEntry {
    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none; a series that has none is forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// One study.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StudyEntry {
    /// Study Date (0008,0020), as the file has it: `YYYYMMDD`.
    pub date: String,
    /// Study Description (0008,1030).
    pub description: String,
    /// Patient's Name and Patient ID, with [`PatientData::Shown`] only.
    pub patient: Option<(String, String)>,
    /// Number of objects.
    pub objects: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// When the newest object was sent, in milliseconds of Unix time.
    pub newest_unix_millis: i64,
    series: BTreeMap<Name, SeriesEntry>,
}

impl StudyEntry {
    /// Modalities of its series, in order.
    #[must_use]
    pub fn modalities(&self) -> BTreeSet<&str> {
        self.series.values().map(|series| series.modality.as_str()).filter(|modality| !modality.is_empty()).collect()
    }

    /// Number of series.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Its series by number.
    #[must_use]
    pub fn series(&self) -> Vec<(Name, &SeriesEntry)> {
        let mut all: Vec<_> = self.series.iter().map(|(name, series)| (*name, series)).collect();
        all.sort_by_key(|(name, series)| (series.number.unwrap_or(u64::MAX), *name));
        all
    }

    fn holds(&self, words: &[String]) -> bool {
        let patient = self.patient.as_ref().map(|(name, id)| format!("{name} {id}")).unwrap_or_default();
        let mut text = format!("{} {} {patient}", self.date, self.description);
        for series in self.series.values() {
            text.push_str(&format!(" {} {} {}", series.modality, series.description, series.date));
        }
        let text = text.to_lowercase();
        words.iter().all(|word| text.contains(word.as_str()))
    }
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Catalogue {
    patient_data: PatientData,
    objects: HashMap<Name, ObjectEntry>,
    by_order: BTreeMap<u64, Name>,
    studies: HashMap<Name, StudyEntry>,
    next: u64,
    forgotten: u64,
    limit: Option<usize>,
}

impl Catalogue {
    /// Nothing yet.
    #[must_use]
    pub fn new(patient_data: PatientData) -> Self {
        Self { patient_data, ..Self::default() }
    }

    /// The same with another bound than [`MAX_OBJECTS`].
    #[must_use]
    pub fn bounded(mut self, objects: usize) -> Self {
        self.limit = Some(objects);
        self
    }

    /// Takes an object; one with the SOP Instance UID of an earlier one takes its place.
    pub fn take(&mut self, place: Place, unix_millis: i64, metadata: &Metadata) {
        let identity = &metadata.identity;
        let study_uid = identity.study.as_deref().unwrap_or_default();
        let study = Name::of("study", &[study_uid]);
        let series = Name::of("series", &[study_uid, identity.series.as_deref().unwrap_or_default()]);
        let id = metadata.object_id.to_string();
        let object = match &identity.sop_instance {
            Some(uid) => Name::of("object", &[uid]),
            None => Name::of("transmission", &[&id]),
        };
        self.forget(object);
        self.next += 1;
        let order = self.next;
        let number = metadata.attributes.integer(INSTANCE_NUMBER);
        let frames = metadata.pixels.as_ref().map_or(0, |pixels| pixels.frames.max(1));
        let bytes = metadata.file_length;
        let entry = ObjectEntry { place, unix_millis, bytes, frames, number, study, series, order };
        self.enter(object, &entry, metadata);
        self.objects.insert(object, entry);
        self.by_order.insert(order, object);
        while self.objects.len() > self.limit.unwrap_or(MAX_OBJECTS) {
            let Some((_, &oldest)) = self.by_order.first_key_value() else { break };
            self.forget(oldest);
            self.forgotten += 1;
        }
    }

    fn enter(&mut self, name: Name, entry: &ObjectEntry, metadata: &Metadata) {
        let texts = Texts { attributes: &metadata.attributes, patient_data: self.patient_data };
        let study = self.studies.entry(entry.study).or_default();
        let fill = |field: &mut String, value: String| {
            if field.is_empty() {
                *field = value;
            }
        };
        fill(&mut study.date, texts.of(STUDY_DATE));
        fill(&mut study.description, texts.description(STUDY_DESCRIPTION));
        if self.patient_data == PatientData::Shown && study.patient.is_none() {
            study.patient = Some((texts.of(PATIENT_NAME), texts.of(PATIENT_ID)));
        }
        study.objects += 1;
        study.bytes += entry.bytes;
        study.newest_unix_millis = study.newest_unix_millis.max(entry.unix_millis);
        let series = study.series.entry(entry.series).or_default();
        series.number = series.number.or_else(|| metadata.attributes.integer(SERIES_NUMBER));
        fill(&mut series.modality, texts.of(MODALITY));
        fill(&mut series.date, texts.of(SERIES_DATE));
        fill(&mut series.description, texts.description(SERIES_DESCRIPTION));
        series.bytes += entry.bytes;
        series.objects.insert((entry.number.unwrap_or(u64::MAX), entry.order), name);
    }

    fn forget(&mut self, name: Name) {
        let Some(entry) = self.objects.remove(&name) else { return };
        self.by_order.remove(&entry.order);
        let Some(study) = self.studies.get_mut(&entry.study) else { return };
        study.objects -= 1;
        study.bytes -= entry.bytes;
        if let Some(series) = study.series.get_mut(&entry.series) {
            series.objects.remove(&(entry.number.unwrap_or(u64::MAX), entry.order));
            series.bytes -= entry.bytes;
            if series.is_empty() {
                study.series.remove(&entry.series);
            }
        }
        if study.objects == 0 {
            self.studies.remove(&entry.study);
        }
    }

    /// Objects whose metadata is no longer in the log: below these offsets, per partition.
    pub fn forget_below(&mut self, starts: &BTreeMap<i32, i64>) {
        let is_gone = |place: &Place| starts.get(&place.partition).is_some_and(|start| place.first < *start);
        let gone: Vec<_> =
            self.objects.iter().filter(|(_, entry)| is_gone(&entry.place)).map(|(name, _)| *name).collect();
        for name in gone {
            self.forget(name);
        }
    }

    /// How many objects were forgotten for lack of room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Number of objects known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The studies in which every word of `search` occurs, the newest study date first.
    #[must_use]
    pub fn studies(&self, search: &str) -> Vec<(Name, &StudyEntry)> {
        let words: Vec<_> = search.split_whitespace().map(str::to_lowercase).take(8).collect();
        let mut found: Vec<_> = self.studies.iter().filter(|(_, study)| study.holds(&words)).collect();
        found.sort_by(|(a, one), (b, other)| {
            let key = |study: &StudyEntry| (study.date.clone(), study.newest_unix_millis);
            key(other).cmp(&key(one)).then(a.cmp(b))
        });
        found.into_iter().map(|(name, study)| (*name, study)).collect()
    }

    /// A study.
    #[must_use]
    pub fn study(&self, name: Name) -> Option<&StudyEntry> {
        self.studies.get(&name)
    }

    /// Objects of a series, from the one with this index on.
    pub fn objects(&self, study: Name, series: Name) -> impl Iterator<Item = (Name, &ObjectEntry)> {
        let series = self.studies.get(&study).and_then(|study| study.series.get(&series));
        let names = series.into_iter().flat_map(|series| series.objects.values());
        names.filter_map(|name| Some((*name, self.objects.get(name)?)))
    }

    /// An object.
    #[must_use]
    pub fn object(&self, name: Name) -> Option<&ObjectEntry> {
        self.objects.get(&name)
    }
}

/// Texts of an object's attributes.
struct Texts<'a> {
    attributes: &'a Attributes,
    patient_data: PatientData,
}

impl Texts<'_> {
    fn of(&self, tag: Tag) -> String {
        let set = self.attributes.value(Tag::SPECIFIC_CHARACTER_SET);
        let text = self.attributes.value(tag).map(|value| charset::text(value, set)).unwrap_or_default();
        text.chars().filter(|letter| !letter.is_control()).take(MAX_TEXT).collect()
    }

    /// Free text: nothing where it repeats who the patient is.
    fn description(&self, tag: Tag) -> String {
        let text = self.of(tag);
        let is_hidden = self.patient_data == PatientData::Masked && repeats_patient(self.attributes, &text);
        if is_hidden { String::new() } else { text }
    }
}

/// Whether a text has in it what the object itself says of names and ids of its patient: parts of three letters or more.
pub(crate) fn repeats_patient(attributes: &Attributes, text: &str) -> bool {
    let set = attributes.value(Tag::SPECIFIC_CHARACTER_SET);
    let text = text.to_lowercase();
    OF_PATIENT.iter().any(|tag| {
        let value = attributes.value(*tag).map(|value| charset::text(value, set)).unwrap_or_default().to_lowercase();
        value
            .split(|letter: char| !letter.is_alphanumeric())
            .any(|part| part.chars().count() >= 3 && text.contains(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Attribute;
    use crate::element::Vr;
    use crate::record::ObjectId;
    use bytes::Bytes;

    fn object(id: u8, study: &str, instance: &str) -> Metadata {
        let texts = [
            (STUDY_DATE, format!("202401{id:02}")),
            (MODALITY, "CT".to_owned()),
            (STUDY_DESCRIPTION, format!("Knee of {study}")),
            (SERIES_DESCRIPTION, "Report for MEIER, axial".to_owned()),
            (PATIENT_NAME, "Meier^Anna".to_owned()),
            (PATIENT_ID, "P-123".to_owned()),
        ];
        let attribute = |(tag, text): (Tag, String)| Attribute {
            tag,
            vr: Vr::UN,
            offset: 0,
            length: text.len() as u64,
            value: Some(Bytes::from(text)),
            items: Vec::new(),
        };
        Metadata {
            object_id: ObjectId::from_bytes([id; 16]),
            file_length: 10,
            file_sha256: [0; 32],
            header: Bytes::new(),
            tail: Bytes::new(),
            chunks: Vec::new(),
            opaque: None,
            transfer_syntax: None,
            identity: crate::attributes::Identity {
                sop_instance: Some(instance.to_owned()),
                study: Some(study.to_owned()),
                series: Some(format!("{study}.1")),
                ..Default::default()
            },
            pixels: None,
            attributes: Attributes { list: texts.into_iter().map(attribute).collect(), ..Attributes::default() },
            findings: Vec::new(),
        }
    }

    const fn at(offset: i64) -> Place {
        Place { partition: 0, first: offset, last: offset }
    }

    #[test]
    fn what_is_sent_again_takes_its_place_and_what_is_trimmed_goes() {
        let mut catalogue = Catalogue::new(PatientData::Masked);
        for (offset, instance) in [(0, "1.1"), (1, "1.2"), (2, "1.1")] {
            catalogue.take(at(offset), 5, &object(1, "1", instance));
        }
        catalogue.take(at(3), 5, &object(2, "2", "2.1"));
        let counts = |catalogue: &Catalogue| {
            catalogue.studies("").iter().map(|(_, study)| (study.objects, study.bytes)).collect::<Vec<_>>()
        };
        assert_eq!((catalogue.len(), counts(&catalogue)), (3, vec![(1, 10), (2, 20)]), "the newest date first");
        catalogue.forget_below(&BTreeMap::from([(0, 2)]));
        assert_eq!(counts(&catalogue), [(1, 10), (1, 10)]);
        catalogue.forget_below(&BTreeMap::from([(0, 9)]));
        assert!(catalogue.is_empty() && catalogue.studies("").is_empty() && catalogue.by_order.is_empty());
        assert_eq!(catalogue.forgotten(), 0);
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_forgotten() {
        let mut catalogue = Catalogue::new(PatientData::Masked).bounded(10);
        for number in 0..25_u8 {
            catalogue.take(at(number.into()), 5, &object(1, "1", &format!("1.{number}")));
        }
        assert_eq!((catalogue.len(), catalogue.forgotten()), (10, 15));
        let (study, entry) = catalogue.studies("")[0];
        let (series, _) = entry.series()[0];
        let offsets: Vec<_> = catalogue.objects(study, series).map(|(_, object)| object.place.first).collect();
        assert_eq!(offsets, (15..25).collect::<Vec<_>>());
    }

    #[test]
    fn masked_nothing_of_the_patient_is_known_or_found() {
        for (patient_data, name, found) in
            [(PatientData::Masked, "", 0), (PatientData::Shown, "Report for MEIER, axial", 1)]
        {
            let mut catalogue = Catalogue::new(patient_data);
            catalogue.take(at(0), 5, &object(1, "1.2.3", "1.1"));
            let studies = catalogue.studies("ct knee");
            assert_eq!(studies[0].1.series()[0].1.description, name);
            assert_eq!(catalogue.studies("meier").len(), found);
            assert_eq!(format!("{catalogue:?}").to_lowercase().contains("meier"), found == 1);
            assert!(!studies[0].0.to_string().contains("1.2.3") && catalogue.study(studies[0].0).is_some());
        }
        assert!("x".parse::<Name>().is_err() && "+0000000000000000000000000000001".parse::<Name>().is_err());
    }
}
