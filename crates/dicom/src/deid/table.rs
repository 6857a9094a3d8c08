//! PS3.15 Table E.1-1 as data, read once from `data/ps3.15-e1-1.tsv`.

use super::ProfileOption;
use dicom_core::{Tag, VR};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The edition of the standard that the table is from.
pub const EDITION: &str = "2026d";

const TEXT: &str = include_str!("../../data/ps3.15-e1-1.tsv");
const SAFE_PRIVATE: &str = include_str!("../../data/safe_private.tsv");

/// The basic profile's action for an attribute, as the table writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub enum Action {
    /// Replace with a dummy value.
    #[serde(rename = "D")]
    D,
    /// Replace with an empty value.
    #[serde(rename = "Z")]
    Z,
    /// Remove.
    #[serde(rename = "X")]
    X,
    /// Replace with another UID, the same wherever it stands.
    #[serde(rename = "U")]
    U,
    /// Empty, or dummy where the attribute's type wants a value.
    #[serde(rename = "Z/D")]
    ZD,
    /// Remove, or empty where the attribute must be there.
    #[serde(rename = "X/Z")]
    XZ,
    /// Remove, or dummy where the attribute must have a value.
    #[serde(rename = "X/D")]
    XD,
    /// Remove, empty or dummy, by the attribute's type.
    #[serde(rename = "X/Z/D")]
    XZD,
    /// Remove or empty a sequence, or replace the UIDs in it.
    #[serde(rename = "X/Z/U*")]
    XZU,
}

impl Action {
    /// As the table writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::D => "D",
            Self::Z => "Z",
            Self::X => "X",
            Self::U => "U",
            Self::ZD => "Z/D",
            Self::XZ => "X/Z",
            Self::XD => "X/D",
            Self::XZD => "X/Z/D",
            Self::XZU => "X/Z/U*",
        }
    }
}

/// What a column of an option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionAction {
    Keep,
    Clean,
}

/// One row of Table E.1-1.
#[derive(Debug)]
pub struct Row {
    /// The tag as eight hexadecimal digits, with `X` for any, or `PRIVATE`.
    pub tag: &'static str,
    /// The attribute's name.
    pub name: &'static str,
    /// What the basic profile does.
    pub basic: Action,
    options: Vec<(ProfileOption, OptionAction)>,
}

impl Row {
    pub(crate) fn option(&self, option: ProfileOption) -> Option<OptionAction> {
        self.options.iter().find(|(present, _)| *present == option).map(|(_, action)| *action)
    }
}

pub(crate) struct Table {
    rows: Vec<Row>,
    by_tag: HashMap<Tag, usize>,
    safe_private: HashMap<(u16, u8), Vec<(&'static str, VR)>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::read);

/// The columns behind the basic action, in the file's order.
const COLUMNS: [ProfileOption; 10] = [
    ProfileOption::RetainSafePrivate,
    ProfileOption::RetainUids,
    ProfileOption::RetainDeviceIdentity,
    ProfileOption::RetainInstitutionIdentity,
    ProfileOption::RetainPatientCharacteristics,
    ProfileOption::RetainFullDates,
    ProfileOption::RetainModifiedDates,
    ProfileOption::CleanDescriptors,
    ProfileOption::CleanStructuredContent,
    ProfileOption::CleanGraphics,
];

/// All rows, in the order of their tags.
#[must_use]
pub fn rows() -> &'static [Row] {
    &TABLE.rows
}

pub(crate) fn row(tag: Tag) -> Option<&'static Row> {
    TABLE.by_tag.get(&tag).map(|index| &TABLE.rows[*index])
}

/// The VR of a private element that PS3.15 Table E.3.10-1 lists as safe.
pub(crate) fn safe_private(creator: &str, tag: Tag) -> Option<VR> {
    let low = u8::try_from(tag.1 & 0xFF).unwrap_or_default();
    let creators = TABLE.safe_private.get(&(tag.0, low))?;
    creators.iter().find(|(listed, _)| *listed == creator).map(|(_, vr)| *vr)
}

impl Table {
    fn read() -> Self {
        let lines = TEXT.lines().filter(|line| !line.starts_with('#')).skip(1);
        let rows: Vec<Row> =
            lines.map(|line| read_row(line).expect("the table in the program is well formed")).collect();
        let by_tag = rows.iter().enumerate().filter_map(|(index, row)| Some((exact_tag(row.tag)?, index))).collect();
        let mut safe_private: HashMap<_, Vec<_>> = HashMap::new();
        for line in SAFE_PRIVATE.lines().filter(|line| !line.starts_with('#')) {
            let (tag, creator) = read_safe(line).expect("the table in the program is well formed");
            safe_private.entry(tag).or_default().push(creator);
        }
        Self { rows, by_tag, safe_private }
    }
}

fn read_row(line: &'static str) -> Option<Row> {
    let mut fields = line.split('\t');
    let (tag, _vr, name) = (fields.next()?, fields.next()?, fields.next()?);
    let basic = match fields.next()? {
        "D" => Action::D,
        "Z" => Action::Z,
        "X" => Action::X,
        "U" => Action::U,
        "Z/D" => Action::ZD,
        "X/Z" => Action::XZ,
        "X/D" => Action::XD,
        "X/Z/D" => Action::XZD,
        "X/Z/U*" => Action::XZU,
        _ => return None,
    };
    let mut options = Vec::new();
    for option in COLUMNS {
        // Empty ones at a line's end are not written.
        match fields.next().unwrap_or_default() {
            "" => {}
            "K" => options.push((option, OptionAction::Keep)),
            "C" => options.push((option, OptionAction::Clean)),
            _ => return None,
        }
    }
    fields.next().is_none().then_some(Row { tag, name, basic, options })
}

fn exact_tag(text: &str) -> Option<Tag> {
    let number = u32::from_str_radix(text, 16).ok()?;
    let [a, b, c, d] = number.to_be_bytes();
    Some(Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// A group and the low byte of an element, and who reserved the block with which VR.
type SafePrivate = ((u16, u8), (&'static str, VR));

/// `7053xx09<TAB>Philips PET Private Group<TAB>DS`
fn read_safe(line: &'static str) -> Option<SafePrivate> {
    let mut fields = line.split('\t');
    let tag = fields.next()?;
    let group = u16::from_str_radix(tag.get(..4)?, 16).ok()?;
    let low = u8::from_str_radix(tag.get(6..8)?, 16).ok()?;
    let creator = fields.next()?;
    let vr = VR::from_binary(fields.next()?.as_bytes().try_into().ok()?)?;
    Some(((group, low), (creator, vr)))
}
