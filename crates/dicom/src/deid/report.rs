//! What was done, to which attribute and why; never what it was.

use super::ProfileOption;
use super::table::{Action, EDITION};
use serde::Serialize;
use std::collections::BTreeMap;

/// What happened to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Done {
    /// It is gone.
    Removed,
    /// It has no value any more.
    Emptied,
    /// A fixed value of its VR stands there.
    Dummy,
    /// Its UIDs are others, the same wherever they stand.
    UidMapped,
    /// A name derived from the patient's id and the project's key stands there.
    Pseudonym,
    /// Its dates are days earlier.
    Shifted,
    /// Only words that are known to be harmless are left; or, of a sequence, its items were gone through.
    Cleaned,
    /// An age above 89 is 90.
    AgeLimited,
    /// An option keeps it.
    Kept,
    /// Written by the engine.
    Added,
}

/// Why it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// A row of PS3.15 Table E.1-1.
    Table,
    /// A private element (odd group), or the creator of none that is kept.
    Private,
    /// Curves (50xx) and overlays (60xx).
    Graphics,
    /// A group length, which would be wrong.
    GroupLength,
    /// A tag that the standard's dictionary does not have.
    Unknown,
    /// A date, time or age that the table does not list.
    UnlistedTime,
    /// A person's name that the table does not list.
    UnlistedName,
    /// Free text that the table does not list.
    UnlistedText,
    /// A UID that the table does not list and that is no well-known one.
    UnlistedUid,
    /// An application entity that the table does not list.
    UnlistedEntity,
    /// A value that its VR does not allow, so that nobody knows what it is.
    InvalidValue,
    /// A value with the patient's name, id or birth date, as found elsewhere in the object.
    Leak,
    /// The file's preamble and meta information are written anew.
    FileMeta,
    /// What the profile asks to be written.
    Method,
}

/// One kind of change at one place; places in different items of a sequence are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Tags from the top, `(0008,1140).(0008,1155)`.
    pub path: String,
    /// The attribute's keyword in the standard's dictionary; empty without one.
    pub keyword: String,
    /// What was done.
    pub done: Done,
    /// Why.
    pub rule: Rule,
    /// The basic profile's action, where a row of the table is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The option that decided instead of the basic action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub option: Option<ProfileOption>,
    /// How often.
    pub count: u64,
    /// The first value before; only when values were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// Why an object may show what the table cannot remove.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Quarantine {
    /// (0028,0301) says that there is text in the pixels.
    BurnedInDeclared,
    /// Images of this kind often have text in them, and nothing says that these do not.
    BurnedInLikely {
        /// The modality, SOP class or value that says so.
        hint: String,
    },
    /// A mask is configured and cannot be applied.
    MaskNotApplied {
        /// What stands in the way.
        why: &'static str,
    },
    /// A document (PDF, CDA, …) inside.
    EncapsulatedDocument,
    /// Moving pictures, whose containers and user data nobody has looked at.
    Video,
    /// Recorded speech.
    Audio,
    /// Compressed pixels whose segments could not be followed, so comments in them could not be cleared.
    UnreadableCodestream {
        /// What stands in the way.
        why: &'static str,
    },
    /// Overlays in unused bits of compressed pixels.
    EmbeddedOverlay,
}

impl std::fmt::Display for Quarantine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BurnedInDeclared => f.write_str("Burned In Annotation (0028,0301) is YES and no mask is configured"),
            Self::BurnedInLikely { hint } => {
                write!(f, "text in the pixels is likely ({hint}) and no mask is configured")
            }
            Self::MaskNotApplied { why } => write!(f, "the configured mask could not be applied: {why}"),
            Self::EncapsulatedDocument => f.write_str("a document is inside, which is not cleaned"),
            Self::Video => f.write_str("moving pictures are not cleaned"),
            Self::Audio => f.write_str("recorded speech is not cleaned"),
            Self::UnreadableCodestream { why } => {
                write!(f, "the compressed pixels could not be searched for comments: {why}")
            }
            Self::EmbeddedOverlay => f.write_str("an overlay lies in unused bits of compressed pixels"),
        }
    }
}

/// What was done to the pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PixelWork {
    /// Rectangles were painted over in every frame.
    Masked {
        /// How many rectangles.
        rectangles: usize,
        /// In how many frames.
        frames: usize,
    },
    /// A configured rule says that this kind of image has no text in it.
    TrustedByRule,
    /// Comments and application data inside compressed frames were overwritten.
    CommentsCleared {
        /// How many segments.
        segments: usize,
    },
    /// Bits that held an overlay were cleared.
    OverlayBitsCleared,
}

/// What was done to one object.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectReport {
    /// Edition of the standard's table.
    pub edition: &'static str,
    /// The new SOP Instance UID.
    pub sop_instance_uid: String,
    /// The new Study Instance UID.
    pub study_instance_uid: String,
    /// The SOP class.
    pub sop_class_uid: String,
    /// The options in force.
    pub options: Vec<ProfileOption>,
    /// Codes of PS3.16 CID 7050 for what was applied.
    pub method_codes: Vec<&'static str>,
    /// Changes, by path.
    pub changes: Vec<Change>,
    /// What was done to the pixels.
    pub pixels: Vec<PixelWork>,
    /// Why the object is not released; empty when it is.
    pub quarantine: Vec<Quarantine>,
}

/// What was done to the objects of one study.
#[derive(Clone, Debug, Serialize)]
pub struct StudyReport {
    /// Edition of the standard's table.
    pub edition: &'static str,
    /// The new Study Instance UID.
    pub study_instance_uid: String,
    /// Objects that were released.
    pub released: u64,
    /// Objects that were held back.
    pub quarantined: u64,
    /// Objects that could not be read, by error code. These are not known to be of this study.
    pub refused: BTreeMap<String, u64>,
    /// Why objects were held back, and how many.
    pub reasons: BTreeMap<String, u64>,
    /// Changes of all objects, added up.
    pub changes: Vec<Change>,
}

impl StudyReport {
    /// An empty report on the study with this (new) UID.
    #[must_use]
    pub fn new(study_instance_uid: &str) -> Self {
        Self {
            edition: EDITION,
            study_instance_uid: study_instance_uid.to_owned(),
            released: 0,
            quarantined: 0,
            refused: BTreeMap::new(),
            reasons: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// Adds one object.
    pub fn add(&mut self, object: &ObjectReport) {
        if object.quarantine.is_empty() {
            self.released += 1;
        } else {
            self.quarantined += 1;
        }
        for reason in &object.quarantine {
            *self.reasons.entry(reason.to_string()).or_default() += 1;
        }
        let mut changes = Changes::default();
        for change in self.changes.drain(..).chain(object.changes.iter().cloned()) {
            changes.add(Change { before: None, ..change });
        }
        self.changes = changes.finish();
    }

    /// Adds an object that was refused.
    pub fn add_refused(&mut self, error: &super::DeidError) {
        *self.refused.entry(error.code().to_owned()).or_default() += 1;
    }
}

/// Changes while they are collected: many items of a sequence make one line.
#[derive(Debug, Default)]
pub(crate) struct Changes(BTreeMap<(String, Done, Rule), Change>);

impl Changes {
    pub(crate) fn add(&mut self, change: Change) {
        let key = (change.path.clone(), change.done, change.rule);
        match self.0.entry(key) {
            std::collections::btree_map::Entry::Occupied(mut present) => present.get_mut().count += change.count,
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(change);
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<Change> {
        self.0.into_values().collect()
    }
}
