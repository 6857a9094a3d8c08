//! An instance's chain on the writing side: what the next record follows, and the file that remembers it.

use super::AuditError;
use super::key::{SigningKey, draft_of, hex, is_signed_by, record_hash};
use lumenbus_wire::audit::{AuditBody, Hash, SealedRecord};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// The newest record of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) sequence: u64,
    pub(super) hash: Hash,
    pub(super) offset: u64,
}

/// Gives the body its place after `last` and signs it.
pub(super) fn seal(
    mut body: AuditBody,
    last: Option<(u64, Hash)>,
    key: &SigningKey,
) -> Result<(SealedRecord, (u64, Hash)), AuditError> {
    body.sequence = last.map_or(1, |(sequence, _)| sequence + 1);
    body.previous = last.map(|(_, hash)| hash);
    body.public_key = last.is_none().then(|| key.public());
    let bytes = body.encode().map_err(AuditError::Record)?;
    let link = (body.sequence, record_hash(&bytes));
    let signature = key.sign_record(&bytes)?;
    Ok((SealedRecord { body: bytes, signature }, link))
}

/// Finds the instance's newest record among those of the log.
#[derive(Debug)]
pub(super) struct Tail<'a> {
    instance: &'a str,
    key: &'a SigningKey,
    newest: Option<Link>,
}

impl<'a> Tail<'a> {
    pub(super) fn new(instance: &'a str, key: &'a SigningKey) -> Self {
        Self { instance, key, newest: None }
    }

    /// Looks at a record. Whoever may write to the topic can write nonsense under our name, so only what we signed counts.
    pub(super) fn see(&mut self, offset: u64, record_key: &[u8], value: &[u8]) {
        if record_key != self.instance.as_bytes() {
            return;
        }
        let Ok(record) = SealedRecord::decode(value) else { return };
        let Ok(body) = AuditBody::decode(&record.body) else { return };
        let is_newer = self.newest.is_none_or(|newest| newest.sequence < body.sequence);
        if is_newer && body.instance == self.instance && is_signed_by(&record, &self.key.public()) {
            self.newest = Some(Link { sequence: body.sequence, hash: record_hash(&record.body), offset });
        }
    }

    pub(super) fn newest(&self) -> Option<Link> {
        self.newest
    }
}

/// What to go on from: the log, unless it has lost what the file remembers. Then the hole stays to be seen.
pub(super) fn go_on_from(remembered: Option<Link>, found: Option<Link>) -> Option<Link> {
    match (remembered, found) {
        (Some(remembered), Some(found)) if remembered.sequence > found.sequence => Some(remembered),
        (remembered, found) => found.or(remembered),
    }
}

/// The file that remembers the newest record that is known to be in the log. It saves reading the whole log at a start,
/// and shows where the log's tail was lost; being older than the log does no harm.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    public_key: String,
    sequence: u64,
    hash: String,
    offset: u64,
}

impl StateFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// `None` where there is no file, or one of another key.
    pub(super) fn read(&self, key: &SigningKey) -> Result<Option<Link>, AuditError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AuditError::File { path: self.path.clone(), source }),
        };
        let wrong = || AuditError::Key {
            path: self.path.clone(),
            what: "this does not say how far the audit chain had come; remove it, and the log is read instead"
                .to_owned(),
        };
        let remembered: Remembered = serde_json::from_str(&text).map_err(|_| wrong())?;
        if remembered.public_key != hex(&key.public()) {
            return Ok(None);
        }
        let hash = parse_hash(&remembered.hash).filter(|_| remembered.sequence > 0).ok_or_else(wrong)?;
        Ok(Some(Link { sequence: remembered.sequence, hash, offset: remembered.offset }))
    }

    pub(super) fn write(&self, key: &SigningKey, link: &Link) -> Result<(), AuditError> {
        let remembered = Remembered {
            public_key: hex(&key.public()),
            sequence: link.sequence,
            hash: hex(&link.hash),
            offset: link.offset,
        };
        let text = serde_json::to_string(&remembered).unwrap_or_default();
        let draft = draft_of(&self.path);
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &self.path));
        written.map_err(|source| AuditError::File { path: self.path.clone(), source })
    }
}

fn parse_hash(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(sequence: u64) -> Link {
        Link { sequence, hash: [7; 32], offset: 3 * sequence }
    }

    #[test]
    fn the_log_goes_before_the_file_unless_it_lost_something() {
        assert_eq!(go_on_from(None, None), None);
        assert_eq!(go_on_from(Some(link(3)), None), Some(link(3)));
        assert_eq!(go_on_from(None, Some(link(3))), Some(link(3)));
        assert_eq!(go_on_from(Some(link(3)), Some(link(5))), Some(link(5)));
        assert_eq!(go_on_from(Some(link(5)), Some(link(3))), Some(link(5)));
    }

    #[test]
    fn the_file_remembers_and_belongs_to_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let file = StateFile::new(folder.path().join("a.chain"));
        assert_eq!(file.read(&key).unwrap(), None);
        file.write(&key, &link(9)).unwrap();
        assert_eq!(file.read(&key).unwrap(), Some(link(9)));
        assert_eq!(file.read(&other).unwrap(), None);
        fs::write(&file.path, "{}").unwrap();
        assert!(file.read(&key).is_err());
    }
}
