//! Keys: one per instance, made on first use, and the public ones that a verifier is told to trust.

use super::AuditError;
use super::error::crypto;
use lumenbus_wire::audit::{CHECKPOINT_DOMAIN, Hash, PublicKey, RECORD_DOMAIN, SIGNATURE_BYTES, SealedRecord};
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::{Signer, Verifier};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Largest key file read.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// A private key; it shows itself nowhere.
#[derive(Clone)]
pub struct SigningKey {
    key: PKey<Private>,
    public: PublicKey,
}

impl SigningKey {
    /// A new key, kept nowhere.
    ///
    /// # Errors
    /// What OpenSSL says.
    pub fn generate() -> Result<Self, AuditError> {
        Self::of(PKey::generate_ed25519().map_err(crypto("make an Ed25519 key"))?)
    }

    fn of(key: PKey<Private>) -> Result<Self, AuditError> {
        let raw = key.raw_public_key().map_err(crypto("read an Ed25519 key"))?;
        let public = raw.try_into().unwrap_or([0; 32]);
        Ok(Self { key, public })
    }

    /// Reads a private key in PEM (PKCS #8); one that is not there is made, for its owner alone, with the public key
    /// beside it as `FILE.pub`.
    ///
    /// # Errors
    /// A file that cannot be read or written, holds no Ed25519 key, or that others may read.
    pub fn open_or_create(path: &Path) -> Result<Self, AuditError> {
        match Self::open(path) {
            Err(AuditError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::create(path),
            opened => opened,
        }
    }

    fn open(path: &Path) -> Result<Self, AuditError> {
        let file = |source| AuditError::File { path: path.to_owned(), source };
        let key = |what: &str| AuditError::Key { path: path.to_owned(), what: what.to_owned() };
        let opened = fs::File::open(path).map_err(file)?;
        if opened.metadata().map_err(file)?.mode() & 0o077 != 0 {
            return Err(key("others may read this private key; chmod 600, and think about who may have read it"));
        }
        let mut pem = Vec::new();
        opened.take(MAX_KEY_FILE_BYTES).read_to_end(&mut pem).map_err(file)?;
        let private = PKey::private_key_from_pem(&pem).ok().filter(|private| private.id() == Id::ED25519);
        Self::of(private.ok_or_else(|| key("not an Ed25519 private key in PEM"))?)
    }

    fn create(path: &Path) -> Result<Self, AuditError> {
        let file = |source| AuditError::File { path: path.to_owned(), source };
        let made = Self::generate()?;
        let pem = made.key.private_key_to_pem_pkcs8().map_err(crypto("write an Ed25519 key"))?;
        // Written whole under another name first: a process that is killed here leaves no half key.
        let draft = draft_of(path);
        let mut written =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(file)?;
        written.write_all(&pem).and_then(|()| written.sync_all()).map_err(file)?;
        // A link, not a rename: of two processes at the same moment one makes the key, the other reads it.
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft).map_err(file)?;
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Self::open(path),
            Err(error) => return Err(file(error)),
        }
        let public = path.with_extension("pub");
        fs::write(&public, made.public_pem()?).map_err(|source| AuditError::File { path: public, source })?;
        Ok(made)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The public key in PEM, to be kept where the trail is verified.
    ///
    /// # Errors
    /// What OpenSSL says.
    pub fn public_pem(&self) -> Result<String, AuditError> {
        let pem = self.key.public_key_to_pem().map_err(crypto("write a public key"))?;
        Ok(String::from_utf8_lossy(&pem).into_owned())
    }

    pub(super) fn sign_record(&self, body: &[u8]) -> Result<[u8; SIGNATURE_BYTES], AuditError> {
        self.sign(RECORD_DOMAIN, body)
    }

    pub(super) fn sign_checkpoint(&self, body: &[u8]) -> Result<[u8; SIGNATURE_BYTES], AuditError> {
        self.sign(CHECKPOINT_DOMAIN, body)
    }

    fn sign(&self, domain: &[u8], body: &[u8]) -> Result<[u8; SIGNATURE_BYTES], AuditError> {
        let mut signer = Signer::new_without_digest(&self.key).map_err(crypto("sign"))?;
        let mut signature = [0; SIGNATURE_BYTES];
        signer.sign_oneshot(&mut signature, &[domain, body].concat()).map_err(crypto("sign"))?;
        Ok(signature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("fingerprint", &fingerprint(&self.public)).finish_non_exhaustive()
    }
}

/// Beside the file, of this process alone.
pub(super) fn draft_of(path: &Path) -> PathBuf {
    path.with_extension(format!("{}-{:08x}.new", std::process::id(), rand::random::<u32>()))
}

/// What people compare: the first half of the SHA-256 of a public key, in hexadecimal.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    hex(&openssl::sha::sha256(key)[..16])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash by which the next record of an instance names this one.
#[must_use]
pub fn record_hash(body: &[u8]) -> Hash {
    let mut hash = openssl::sha::Sha256::new();
    hash.update(RECORD_DOMAIN);
    hash.update(body);
    hash.finish()
}

/// Whether the key's owner signed the record.
#[must_use]
pub fn is_signed_by(record: &SealedRecord, key: &PublicKey) -> bool {
    is_signed(RECORD_DOMAIN, &record.body, &record.signature, key)
}

pub(super) fn is_checkpoint_signed(body: &[u8], signature: &[u8], key: &PublicKey) -> bool {
    is_signed(CHECKPOINT_DOMAIN, body, signature, key)
}

fn is_signed(domain: &[u8], body: &[u8], signature: &[u8], key: &PublicKey) -> bool {
    let verify = || -> Result<bool, openssl::error::ErrorStack> {
        let key = PKey::public_key_from_raw_bytes(key, Id::ED25519)?;
        Verifier::new_without_digest(&key)?.verify_oneshot(signature, &[domain, body].concat())
    };
    // Bytes that are no key, or no signature, are an error of OpenSSL's: not signed.
    verify().unwrap_or(false)
}

/// Reads a public key in PEM, as `FILE.pub` holds it; of a private key its public one.
///
/// # Errors
/// A file that cannot be read, or holds no Ed25519 key.
pub fn read_public_key(path: &Path) -> Result<PublicKey, AuditError> {
    let file = |source| AuditError::File { path: path.to_owned(), source };
    let mut pem = Vec::new();
    fs::File::open(path).map_err(file)?.take(MAX_KEY_FILE_BYTES).read_to_end(&mut pem).map_err(file)?;
    let public = PKey::public_key_from_pem(&pem).ok().filter(|key| key.id() == Id::ED25519);
    let raw = public.and_then(|key| key.raw_public_key().ok());
    let raw = raw.or_else(|| {
        let private = PKey::private_key_from_pem(&pem).ok().filter(|key| key.id() == Id::ED25519)?;
        private.raw_public_key().ok()
    });
    let raw = raw.and_then(|raw| raw.try_into().ok());
    raw.ok_or_else(|| AuditError::Key {
        path: path.to_owned(),
        what: "not an Ed25519 public key in PEM; an instance's is in DIR/INSTANCE.pub".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let first = SigningKey::open_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = SigningKey::open_or_create(&path).unwrap();
        assert_eq!(first.public(), again.public());
        assert_eq!(read_public_key(&folder.path().join("a.pub")).unwrap(), first.public());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no draft is left");
        assert!(!format!("{first:?}").contains("PRIVATE"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SigningKey::open_or_create(&path), Err(AuditError::Key { .. })));
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        fs::write(&path, "hello").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(SigningKey::open_or_create(&path), Err(AuditError::Key { .. })));
        assert!(matches!(read_public_key(&path), Err(AuditError::Key { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello");
    }

    #[test]
    fn a_signature_is_for_one_body_one_purpose_and_one_key() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let signature = key.sign_record(b"body").unwrap();
        assert!(is_signed(RECORD_DOMAIN, b"body", &signature, &key.public()));
        assert!(!is_signed(RECORD_DOMAIN, b"bodY", &signature, &key.public()));
        assert!(!is_signed(CHECKPOINT_DOMAIN, b"body", &signature, &key.public()));
        assert!(!is_signed(RECORD_DOMAIN, b"body", &signature, &other.public()));
        assert!(!is_signed(RECORD_DOMAIN, b"body", &signature, &[0xff; 32]));
    }
}
