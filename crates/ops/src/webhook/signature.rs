//! Signatures: HMAC-SHA-256 (RFC 2104) over time and body, in the form that Stripe's webhooks have.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::fmt;
use std::fmt::Write as _;

/// Shortest secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 16;
/// Longest secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 1024;

/// What sender and receiver know; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why something is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret has {bytes} bytes; it needs 16 to 1024, such as those of `openssl rand -hex 32`")]
pub struct SecretError {
    /// How long it is.
    pub bytes: usize,
}

impl Secret {
    /// A secret of 16 to 1024 bytes.
    ///
    /// # Errors
    /// [`SecretError`] for one that is shorter or longer.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let bytes = bytes.into();
        if !(MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&bytes.len()) {
            return Err(SecretError { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// The header `X-Lumenbus-Signature`: `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA-256 of `SECONDS.BODY`.
    ///
    /// # Errors
    /// What OpenSSL says.
    pub fn sign(&self, unix_seconds: i64, body: &[u8]) -> Result<String, ErrorStack> {
        let key = PKey::hmac(&self.0)?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        signer.update(unix_seconds.to_string().as_bytes())?;
        signer.update(b".")?;
        signer.update(body)?;
        let mut header = format!("t={unix_seconds},v1=");
        for byte in signer.sign_to_vec()? {
            write!(header, "{byte:02x}").expect("a string takes everything");
        }
        Ok(header)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf '1750000000.{"version":1}' | openssl dgst -sha256 -hmac 0123456789abcdef` says.
    #[test]
    fn the_signature_is_that_of_openssl() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let expected = "t=1750000000,v1=1a202f2180f9ca2f35215bd99a3a32942db2d1ee6d70d904ac10c86719e3af83";
        assert_eq!(secret.sign(1_750_000_000, b"{\"version\":1}").unwrap(), expected);
    }

    #[test]
    fn secrets_are_long_enough_and_not_shown() {
        assert_eq!(Secret::new("short").unwrap_err().bytes, 5);
        assert!(Secret::new(vec![0; MAX_SECRET_BYTES + 1]).is_err());
        assert_eq!(format!("{:?}", Secret::new("0123456789abcdef").unwrap()), "Secret(***)");
    }
}
