//! What is derived from the project's key: UIDs, pseudonyms, days.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fmt;

/// The secret of one project. Who has it can follow a known patient into the de-identified data.
#[derive(Clone)]
pub struct ProjectKey([u8; 32]);

/// A key with too few bytes to be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the project key has {found} bytes; give 32 bytes of a random source (`openssl rand -hex 32`)")]
pub struct ProjectKeyError {
    /// How many bytes there are.
    pub found: usize,
}

impl ProjectKey {
    /// Takes exactly 32 random bytes.
    ///
    /// # Errors
    /// When there are fewer or more.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProjectKeyError> {
        bytes.try_into().map(Self).map_err(|_| ProjectKeyError { found: bytes.len() })
    }

    fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        for part in parts {
            // Lengths keep "ab" + "c" apart from "a" + "bc".
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The UID in the place of another: `2.25.` and 128 bits (PS3.5, annex B.2).
    pub(crate) fn uid(&self, uid: &str) -> String {
        let digest = self.derive("uid", &[uid.as_bytes()]);
        let mut bits = [0; 16];
        bits.copy_from_slice(&digest[..16]);
        format!("2.25.{}", u128::from_be_bytes(bits))
    }

    /// A patient's pseudonym: 16 characters, 60 bits of them derived.
    pub(crate) fn pseudonym(&self, patient: &[&[u8]]) -> String {
        let digest = self.derive("patient", patient);
        let mut bits = [0; 8];
        bits.copy_from_slice(&digest[..8]);
        format!("P{:015X}", u64::from_be_bytes(bits) >> 4)
    }

    /// How many days to go back, from 1 to `range`.
    pub(crate) fn days(&self, patient: &[&[u8]], range: u16) -> i64 {
        let digest = self.derive("days", patient);
        let mut bits = [0; 8];
        bits.copy_from_slice(&digest[..8]);
        let days = u64::from_be_bytes(bits) % u64::from(range.max(1));
        1 + i64::try_from(days).unwrap_or_default()
    }
}

impl fmt::Debug for ProjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProjectKey(…)")
    }
}
