//! Names of files from attributes: `{PatientID}/{StudyInstanceUID}/{SOPInstanceUID}.dcm`.
//!
//! Whatever the values are, a path has as many components as its layout, each of them a name that every file system takes
//! and none does anything with: at most [`MAX_COMPONENT_BYTES`] bytes of printable characters, no separators of any
//! system, no `.` or `..`, no leading or trailing dot or space, no name that Windows reserves.
//!
//! Characters that cannot be in a name become `=XX`, one per UTF-8 byte, as does `=` itself: different values have
//! different names. A value that is too long keeps its beginning and ends in `~` and 16 hex digits of its SHA-256; an
//! empty or absent one is `_` and the placeholder's name. Two objects whose paths agree, also where only upper and lower
//! case tell them apart, are told apart by [`Layout::path_distinct`].

use crate::DicomError;
use crate::attributes::Attributes;
use crate::charset;
use crate::element::Tag;
use crate::record::Metadata;
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

/// Longest name of a file or folder in a path.
pub const MAX_COMPONENT_BYTES: usize = 200;
/// Most components of a layout.
pub const MAX_COMPONENTS: usize = 16;
const MAX_LAYOUT_BYTES: usize = 1024;
/// Bytes of `~` and a hash.
const HASH_BYTES: usize = 17;
/// What `lumenbus dicom receive` uses unless told otherwise.
pub const DEFAULT_LAYOUT: &str = "{PatientID}/{StudyInstanceUID}/{SOPInstanceUID}.dcm";
/// For de-identified objects: by pseudonym.
pub const DEFAULT_DEID_LAYOUT: &str = "{PatientID}/{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm";

/// Attributes by their keywords (DICOM PS3.6); all of them are text.
const PLACEHOLDERS: [(&str, Tag); 18] = [
    ("AccessionNumber", Tag(0x0008_0050)),
    ("AcquisitionDate", Tag(0x0008_0022)),
    ("InstanceNumber", Tag(0x0020_0013)),
    ("InstitutionName", Tag(0x0008_0080)),
    ("IssuerOfPatientID", Tag(0x0010_0021)),
    ("Modality", Tag(0x0008_0060)),
    ("PatientBirthDate", Tag(0x0010_0030)),
    ("PatientID", Tag(0x0010_0020)),
    ("PatientName", Tag(0x0010_0010)),
    ("SOPClassUID", Tag::SOP_CLASS_UID),
    ("SOPInstanceUID", Tag::SOP_INSTANCE_UID),
    ("SeriesDate", Tag(0x0008_0021)),
    ("SeriesInstanceUID", Tag::SERIES_INSTANCE_UID),
    ("SeriesNumber", Tag(0x0020_0011)),
    ("StationName", Tag(0x0008_1010)),
    ("StudyDate", Tag(0x0008_0020)),
    ("StudyID", Tag(0x0020_0010)),
    ("StudyInstanceUID", Tag::STUDY_INSTANCE_UID),
];
/// The SHA-256 of the file, which no attribute has.
const FILE_HASH: &str = "SHA256";

/// A pattern for paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Of each component its pieces.
    components: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Value(&'static str, Tag),
    FileHash,
}

impl Layout {
    /// Reads a layout.
    ///
    /// # Errors
    /// [`DicomError::Layout`] for an unknown placeholder, an absolute or empty path, `..`, or one without a placeholder
    /// in its last component.
    pub fn parse(layout: &str) -> Result<Self, DicomError> {
        let wrong = |what| DicomError::Layout { layout: layout.chars().take(200).collect(), what };
        if layout.is_empty() || layout.len() > MAX_LAYOUT_BYTES {
            return Err(wrong("it is empty or has more than 1024 bytes"));
        }
        let components: Vec<&str> = layout.split('/').collect();
        if components.len() > MAX_COMPONENTS {
            return Err(wrong("it has more than 16 components"));
        }
        if components.iter().any(|component| component.is_empty()) {
            return Err(wrong("it is absolute or has an empty component; begin with a name or a placeholder"));
        }
        let components = components.into_iter().map(|component| pieces(component).map_err(wrong));
        let components = components.collect::<Result<Vec<_>, _>>()?;
        let tells_apart = |pieces: &Vec<Piece>| pieces.iter().any(|piece| !matches!(piece, Piece::Literal(_)));
        if !components.last().is_some_and(tells_apart) {
            return Err(wrong("its last component has no placeholder: all files would have one name"));
        }
        Ok(Self { components })
    }

    /// The names that can stand in braces.
    pub fn placeholders() -> impl Iterator<Item = &'static str> {
        PLACEHOLDERS.iter().map(|(name, _)| *name).chain([FILE_HASH])
    }

    /// The object's path, relative to the folder of all objects.
    #[must_use]
    pub fn path(&self, metadata: &Metadata) -> PathBuf {
        self.components(metadata).into_iter().collect()
    }

    /// The same with `~` and 16 hex digits of the file's SHA-256 in front of the name's extension, for when
    /// [`Self::path`] belongs to another object: the same object has the same path always.
    #[must_use]
    pub fn path_distinct(&self, metadata: &Metadata) -> PathBuf {
        let mut components = self.components(metadata);
        if let Some(name) = components.last_mut() {
            let (stem, extension) = split_extension(name);
            let stem = shortened(stem, MAX_COMPONENT_BYTES - HASH_BYTES - extension.len());
            *name = format!("{stem}~{}{extension}", hex(&metadata.file_sha256, HASH_BYTES - 1));
        }
        components.into_iter().collect()
    }

    /// Equal for paths that a file system without upper and lower case takes for one.
    #[must_use]
    pub fn folded(path: &std::path::Path) -> String {
        path.to_string_lossy().chars().flat_map(char::to_lowercase).collect()
    }

    fn components(&self, metadata: &Metadata) -> Vec<String> {
        self.components.iter().map(|pieces| component(pieces, metadata)).collect()
    }
}

fn pieces(component: &str) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = component;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}').ok_or("a brace is not closed")?;
        literal(before, &mut pieces)?;
        let known = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
        pieces.push(match known {
            Some(&(name, tag)) => Piece::Value(name, tag),
            None if name == FILE_HASH => Piece::FileHash,
            None => return Err("a placeholder is not known; the documentation lists them"),
        });
        rest = behind;
    }
    literal(rest, &mut pieces)?;
    Ok(pieces)
}

fn literal(text: &str, pieces: &mut Vec<Piece>) -> Result<(), &'static str> {
    if text.contains('}') {
        return Err("a brace is not opened");
    }
    if escape(text) != text || text == "." || text == ".." {
        return Err("it has a character that is not portable in names, or a component `.` or `..`");
    }
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.to_owned()));
    }
    Ok(())
}

fn component(pieces: &[Piece], metadata: &Metadata) -> String {
    let name: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::FileHash => hex(&metadata.file_sha256, 64),
            Piece::Value(name, tag) => {
                let value = value(&metadata.attributes, *tag).filter(|value| !value.is_empty());
                let value = value.or_else(|| known_otherwise(metadata, *tag));
                value.map_or_else(|| format!("_{name}"), |value| escape(&value))
            }
        })
        .collect();
    let name = settled(&name);
    if name.len() <= MAX_COMPONENT_BYTES {
        return name;
    }
    let hash = hex(&Sha256::digest(&name).into(), HASH_BYTES - 1);
    let (stem, extension) = split_extension(&name);
    format!("{}~{hash}{extension}", shortened(stem, MAX_COMPONENT_BYTES - HASH_BYTES - extension.len()))
}

fn value(attributes: &Attributes, tag: Tag) -> Option<String> {
    let set = attributes.value(Tag::SPECIFIC_CHARACTER_SET);
    Some(charset::text(attributes.value(tag)?, set))
}

/// What a record knows of an object whose attributes do not say it; the transmission's id where nothing does.
fn known_otherwise(metadata: &Metadata, tag: Tag) -> Option<String> {
    let identity = &metadata.identity;
    match tag {
        Tag::SOP_CLASS_UID => identity.sop_class.clone(),
        Tag::STUDY_INSTANCE_UID => identity.study.clone(),
        Tag::SERIES_INSTANCE_UID => identity.series.clone(),
        // The name of last resort is one that the same bytes always have.
        Tag::SOP_INSTANCE_UID => identity.sop_instance.clone().or_else(|| Some(hex(&metadata.file_sha256, 64))),
        _ => None,
    }
}

/// Letters and digits of any script are kept; what could mean something to a system, hide or be composed is not.
fn escape(value: &str) -> String {
    let mut name = String::with_capacity(value.len());
    for character in value.chars() {
        let plain = character.is_ascii_alphanumeric() || " .,^_-+@()~#".contains(character);
        // Latin-1 letters have one form each in NFC and are in no other character's decomposition.
        if plain || matches!(character, 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ÿ') {
            name.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                name.push_str(&format!("={byte:02X}"));
            }
        }
    }
    name
}

/// No name of a folder itself, none that hides, none that Windows changes or reserves.
fn settled(name: &str) -> String {
    let mut name = name.to_owned();
    if let Some(first @ ('.' | ' ')) = name.chars().next() {
        name.replace_range(..1, &format!("={:02X}", u32::from(first)));
    }
    if let Some(last @ ('.' | ' ')) = name.chars().next_back() {
        name.truncate(name.len() - 1);
        name.push_str(&format!("={:02X}", u32::from(last)));
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    if is_reserved(stem) {
        name.insert_str(0, "=_");
    }
    name
}

/// Names of devices on Windows, with any extension.
fn is_reserved(stem: &str) -> bool {
    let stem = stem.to_ascii_uppercase();
    let numbered =
        |device: &str| stem.strip_prefix(device).is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']));
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
}

/// At most ten bytes behind the last dot.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 10 => name.split_at(dot),
        _ => (name, ""),
    }
}

fn shortened(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

fn hex(hash: &[u8; 32], digits: usize) -> String {
    hash.iter().take(digits / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_that_lead_elsewhere_are_refused() {
        let wrong = [
            "",
            "/{PatientID}",
            "{PatientID}//{StudyID}",
            "../{PatientID}",
            "a/../{PatientID}",
            "./{PatientID}",
            "{PatientID}/",
            "{Nothing}",
            "{PatientID",
            "PatientID}",
            "{PatientID}/a.dcm",
            "C:{PatientID}",
            "a\\{PatientID}",
            "a\0{PatientID}",
            "{PatientID}\n",
        ];
        for layout in wrong {
            let error = Layout::parse(layout).expect_err(layout);
            assert!(matches!(error, DicomError::Layout { .. }), "{layout:?}: {error}");
        }
        Layout::parse(DEFAULT_LAYOUT).unwrap();
        Layout::parse("all/{Modality} {StudyDate}/{SHA256}.dcm").unwrap();
    }

    #[test]
    fn names_are_settled() {
        let check = |value: &str, expected: &str| assert_eq!(settled(&escape(value)), expected, "{value:?}");
        check("Doe^John", "Doe^John");
        check("..", "=2E=2E");
        check(".", "=2E");
        check("../../etc/passwd", "=2E.=2F..=2Fetc=2Fpasswd");
        check("a\\b:c*d", "a=5Cb=3Ac=2Ad");
        check("a\0b\u{1b}", "a=00b=1B");
        check("a=2Fb", "a=3D2Fb");
        check("NUL", "=_NUL");
        check("com1.txt", "=_com1.txt");
        check("COM", "COM");
        check("Müller", "Müller");
        check("Mu\u{308}ller", "Mu=CC=88ller");
        check("\u{202e}dcm", "=E2=80=AEdcm");
        check(" x ", "=20x=20");
    }
}
