//! How a camera is.

use crate::WireError;
use lumenbus_frame::UnknownName;
use std::fmt;
use std::str::FromStr;

/// How a camera is, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// How it is.
    pub state: HealthState,
    /// Capture time of the frame that it is so since.
    pub since_unix_nanos: i64,
}

/// What may be wrong with a camera's pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HealthState {
    /// Nothing.
    #[default]
    Ok,
    /// Hardly any light.
    Dark,
    /// Far less detail than before.
    Blurred,
    /// The same picture again and again.
    Frozen,
    /// Something even lies before the lens.
    Covered,
    /// It looks somewhere else.
    Moved,
}

impl HealthState {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Ok, Self::Dark, Self::Blurred, Self::Frozen, Self::Covered, Self::Moved];

    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Dark => "dark",
            Self::Blurred => "blurred",
            Self::Frozen => "frozen",
            Self::Covered => "covered",
            Self::Moved => "moved",
        }
    }

    pub(crate) fn from_field(field: &'static str, name: &str) -> Result<Self, WireError> {
        let wrong = |unknown: UnknownName| WireError::Field {
            field,
            found: format!("{:?}", unknown.name),
            expected: "ok, dark, blurred, frozen, covered or moved",
        };
        name.parse().map_err(wrong)
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HealthState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| UnknownName {
            what: "state of a camera",
            name: name.chars().take(64).collect(),
            known: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}
