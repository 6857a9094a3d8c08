//! De-identification by DICOM PS3.15, annex E: the Basic Application Level Confidentiality Profile and its options.
//!
//! A file's bytes go in; a de-identified file (or the reasons why there is none) and a report come out. No I/O, no clock,
//! no random numbers: the same key, profile and file give the same bytes. What cannot be read strictly is refused with a
//! [`DeidError`]; what can be read and may still show a patient (text in pixels, documents, speech) is
//! [`Verdict::Quarantined`]. Only [`Verdict::Released`] has bytes. `docs/design/deidentification.md` says what this
//! guarantees and what it does not.
//!
//! ```
//! use lumenbus_dicom::deid::{Deidentifier, Profile, ProfileOption, ProjectKey};
//!
//! let key = ProjectKey::from_bytes(&[7; 32])?;
//! let profile = Profile::default().with(ProfileOption::RetainModifiedDates);
//! let engine = Deidentifier::new(key, profile)?;
//! let refused = engine.deidentify(&b"no DICOM"[..].into()).unwrap_err();
//! assert_eq!(refused.code(), "deid-no-preamble");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dataset;
mod dates;
mod engine;
mod keyed;
mod leak;
pub(crate) mod pixels;
mod report;
pub(crate) mod table;
mod tag;
mod values;

use bytes::Bytes;
use dicom_core::Tag;
use std::collections::BTreeSet;

pub use keyed::{ProjectKey, ProjectKeyError};
pub use pixels::{MaskRule, Rectangle};
pub use report::{Change, Done, ObjectReport, PixelWork, Quarantine, Rule, StudyReport};
pub use table::{Action, EDITION, Row, rows};

/// The options of PS3.15, E.3, that are columns of Table E.1-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProfileOption {
    /// E.3.10: private elements that the standard lists as safe stay.
    RetainSafePrivate,
    /// E.3.9: UIDs stay.
    RetainUids,
    /// E.3.8: serial numbers and the like stay.
    RetainDeviceIdentity,
    /// E.3.11: the institution's name and address stay.
    RetainInstitutionIdentity,
    /// E.3.7: age, sex, size, weight and the like stay; ages above 89 become 90.
    RetainPatientCharacteristics,
    /// E.3.6: dates and times stay.
    RetainFullDates,
    /// E.3.6: dates move back by a number of days that is the patient's own.
    RetainModifiedDates,
    /// E.3.5: of descriptions, words of a list stay.
    CleanDescriptors,
    /// E.3.4: structured content is gone through instead of replaced.
    CleanStructuredContent,
    /// E.3.3: graphics and overlays are cleaned. Not offered: they are removed.
    CleanGraphics,
}

impl ProfileOption {
    /// Code and meaning in PS3.16 CID 7050, scheme DCM.
    #[must_use]
    pub fn method_code(self) -> (&'static str, &'static str) {
        match self {
            Self::CleanGraphics => ("113103", "Clean Graphics Option"),
            Self::CleanStructuredContent => ("113104", "Clean Structured Content Option"),
            Self::CleanDescriptors => ("113105", "Clean Descriptors Option"),
            Self::RetainFullDates => ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
            Self::RetainModifiedDates => ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
            Self::RetainPatientCharacteristics => ("113108", "Retain Patient Characteristics Option"),
            Self::RetainDeviceIdentity => ("113109", "Retain Device Identity Option"),
            Self::RetainUids => ("113110", "Retain UIDs Option"),
            Self::RetainSafePrivate => ("113111", "Retain Safe Private Option"),
            Self::RetainInstitutionIdentity => ("113112", "Retain Institution Identity Option"),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Profile {
    /// Options beside the basic profile.
    pub options: BTreeSet<ProfileOption>,
    /// With [`ProfileOption::RetainModifiedDates`]: dates move back by 1 to this many days.
    pub shift_range_days: u16,
    /// With [`ProfileOption::CleanDescriptors`]: words that stay beside the built-in ones, in any case.
    pub descriptor_words: BTreeSet<String>,
    /// Where text is in the pixels.
    pub masks: Vec<MaskRule>,
    /// Images of kinds that often have text in them are released when (0028,0301) says NO.
    pub trust_declared_no: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            options: BTreeSet::new(),
            shift_range_days: 3650,
            descriptor_words: BTreeSet::new(),
            masks: Vec::new(),
            trust_declared_no: false,
        }
    }
}

impl Profile {
    /// With one more option.
    #[must_use]
    pub fn with(mut self, option: ProfileOption) -> Self {
        self.options.insert(option);
        self
    }

    fn has(&self, option: ProfileOption) -> bool {
        self.options.contains(&option)
    }
}

/// A profile that cannot be carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Dates cannot both stay and move.
    #[error("retain-full-dates and retain-modified-dates contradict each other; choose one")]
    BothDates,
    /// Graphics cannot be cleaned by a program that does not read them.
    #[error(
        "clean-graphics is not offered: nothing here can tell that graphics name nobody; without it they are removed"
    )]
    CleanGraphics,
    /// Nothing to shift by.
    #[error("shift_range_days is 0: dates would not move; give 1 to 36500")]
    ShiftRange,
}

/// Why a file is refused. Nothing of it was passed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeidError {
    /// Not a file of PS3.10.
    #[error("there is no preamble with `DICM`, so this is no DICOM file")]
    NoPreamble,
    /// An attribute without which the object has no identity.
    #[error("{name} {tag} is missing")]
    Missing {
        /// Its tag.
        tag: Tag,
        /// Its name.
        name: &'static str,
    },
    /// A transfer syntax whose encoding is not known.
    #[error("transfer syntax `{uid}` is not known here")]
    TransferSyntax {
        /// Its UID.
        uid: String,
    },
    /// A SOP class of no standard, whose attributes nobody can classify.
    #[error("the SOP class is not one of the standard's")]
    PrivateSopClass,
    /// A directory of files, which would name the original ones.
    #[error("this is a DICOMDIR; make a new one for the de-identified files")]
    Directory,
    /// The encoding is broken.
    #[error("the data set is broken near byte {offset}: {what}")]
    Malformed {
        /// Where, from the beginning of the part that was being read.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// More than a limit allows.
    #[error("{what} is above the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A value that does not fit its VR's length field.
    #[error("the value of {tag} is too long for its VR")]
    ValueTooLong {
        /// Whose value.
        tag: Tag,
    },
}

impl DeidError {
    /// A code that stays the same between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPreamble => "deid-no-preamble",
            Self::Missing { .. } => "deid-missing",
            Self::TransferSyntax { .. } => "deid-transfer-syntax",
            Self::PrivateSopClass => "deid-private-sop-class",
            Self::Directory => "deid-directory",
            Self::Malformed { .. } => "deid-malformed",
            Self::TooLarge { .. } => "deid-too-large",
            Self::ValueTooLong { .. } => "deid-value-too-long",
        }
    }
}

/// Whether the object may be passed on.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The bytes of the de-identified file.
    Released(Bytes),
    /// Somebody has to look at it; the report has the reasons.
    Quarantined,
}

/// What came of one file.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The file, or none.
    pub verdict: Verdict,
    /// What was done.
    pub report: ObjectReport,
}

/// Whether a dry run's report has the values that would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowValues {
    /// Only which attributes.
    No,
    /// With the first value of each. Such a report is as confidential as the file.
    Yes,
}

/// De-identifies files of one project.
#[derive(Debug)]
pub struct Deidentifier {
    key: ProjectKey,
    profile: Profile,
}

impl Deidentifier {
    /// Checks the profile.
    ///
    /// # Errors
    /// When its parts contradict each other or ask for what is not offered.
    pub fn new(key: ProjectKey, mut profile: Profile) -> Result<Self, ProfileError> {
        if profile.has(ProfileOption::RetainFullDates) && profile.has(ProfileOption::RetainModifiedDates) {
            return Err(ProfileError::BothDates);
        }
        if profile.has(ProfileOption::CleanGraphics) {
            return Err(ProfileError::CleanGraphics);
        }
        if profile.shift_range_days == 0 && profile.has(ProfileOption::RetainModifiedDates) {
            return Err(ProfileError::ShiftRange);
        }
        profile.descriptor_words = profile.descriptor_words.iter().map(|word| word.to_lowercase()).collect();
        Ok(Self { key, profile })
    }

    /// De-identifies a file (PS3.10), the whole of which is in memory.
    ///
    /// # Errors
    /// When the file cannot be read strictly, or lacks what identifies an object.
    pub fn deidentify(&self, file: &Bytes) -> Result<Outcome, DeidError> {
        engine::run(&self.key, &self.profile, file, ShowValues::No)
    }

    /// Says what [`Self::deidentify`] would do.
    ///
    /// # Errors
    /// As [`Self::deidentify`].
    pub fn dry_run(&self, file: &Bytes, values: ShowValues) -> Result<ObjectReport, DeidError> {
        Ok(engine::run(&self.key, &self.profile, file, values)?.report)
    }
}
