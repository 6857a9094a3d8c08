//! Names of objects that tell nothing about patients.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// One transmission of an object: 128 random bits. An object that is sent again has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 16]);

impl ObjectId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// With these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key of an object's records: 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// From the SOP Instance UID, so that an object that is sent again meets itself in the same partition; from the
    /// object's id where there is none.
    #[must_use]
    pub fn of(sop_instance: Option<&str>, object: ObjectId) -> Self {
        let Some(uid) = sop_instance else { return Self(object.to_string()) };
        let digest = Sha256::new().chain_update(b"lumenbus dicom key 1\0").chain_update(uid).finalize();
        Self(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_the_instance_and_ids_otherwise() {
        let (one, other) = (ObjectId::from_bytes([1; 16]), ObjectId::from_bytes([2; 16]));
        assert_eq!(Key::of(Some("1.2.3"), one), Key::of(Some("1.2.3"), other));
        assert_ne!(Key::of(Some("1.2.3"), one), Key::of(Some("1.2.4"), one));
        assert_eq!(Key::of(None, one).as_str(), "01010101010101010101010101010101");
        assert_eq!(Key::of(Some("1.2.3"), one).as_str().len(), 32);
        assert_ne!(ObjectId::random(), ObjectId::random());
    }
}
