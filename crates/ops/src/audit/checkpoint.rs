//! Checkpoints: signed statements of how far the trail had come, to be kept where its keepers cannot reach.

use super::AuditError;
use super::key::{SigningKey, draft_of, fingerprint, is_checkpoint_signed};
use lumenbus_wire::audit::{CheckpointBody, MAX_CHECKPOINT_BYTES, PublicKey, SealedCheckpoint};
use std::fs;
use std::io::Read as _;
use std::path::Path;

const BEGIN: &str = "-----BEGIN LUMENBUS AUDIT CHECKPOINT-----";
const END: &str = "-----END LUMENBUS AUDIT CHECKPOINT-----";
/// Base64 of the largest checkpoint, line ends, the two lines, and words of people around them.
const MAX_FILE_BYTES: usize = MAX_CHECKPOINT_BYTES * 3 / 2 + 4096;

/// A checkpoint whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What it says.
    pub body: CheckpointBody,
    /// Who signed it.
    pub signer: PublicKey,
}

impl Checkpoint {
    /// The text of a checkpoint: Base64 between two lines, so that it can be mailed and printed.
    ///
    /// # Errors
    /// More instances than a checkpoint holds; what OpenSSL says.
    pub fn to_text(body: &CheckpointBody, key: &SigningKey) -> Result<String, AuditError> {
        let body = body.encode().map_err(AuditError::Record)?;
        let signature = key.sign_checkpoint(&body)?;
        let sealed = SealedCheckpoint { body, signature, public_key: key.public() };
        let encoded = openssl::base64::encode_block(&sealed.encode());
        let lines = encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
        Ok(format!("{BEGIN}\n{}{END}\n", lines.collect::<String>()))
    }

    /// Reads a text and verifies its signature against the key that it names; whether that key is to be trusted is
    /// another question.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_FILE_BYTES {
            return Err(format!("it has {} bytes, and the limit is {MAX_FILE_BYTES}", text.len()));
        }
        let begun = text.split_once(BEGIN).ok_or_else(|| format!("the line {BEGIN:?} is missing"))?.1;
        let inner = begun.split_once(END).ok_or_else(|| format!("the line {END:?} is missing: was it cut off?"))?.0;
        let encoded: String = inner.split_whitespace().collect();
        let bytes = openssl::base64::decode_block(&encoded).map_err(|_| "it is not Base64".to_owned())?;
        let sealed = SealedCheckpoint::decode(&bytes).map_err(|error| error.to_string())?;
        if !is_checkpoint_signed(&sealed.body, &sealed.signature, &sealed.public_key) {
            return Err("its signature is wrong: it was changed".to_owned());
        }
        let body = CheckpointBody::decode(&sealed.body).map_err(|error| error.to_string())?;
        Ok(Self { body, signer: sealed.public_key })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, or that [`parse`](Self::parse) refuses.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let file = |source| AuditError::File { path: path.to_owned(), source };
        let mut text = String::new();
        let limit = MAX_FILE_BYTES as u64 + 1;
        fs::File::open(path).map_err(file)?.take(limit).read_to_string(&mut text).map_err(file)?;
        Self::parse(&text).map_err(|what| AuditError::Checkpoint { path: path.to_owned(), what })
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// As [`to_text`](Self::to_text); a file that cannot be written.
    pub fn write(path: &Path, body: &CheckpointBody, key: &SigningKey) -> Result<(), AuditError> {
        let draft = draft_of(path);
        let written = fs::write(&draft, Self::to_text(body, key)?).and_then(|()| fs::rename(&draft, path));
        written.map_err(|source| AuditError::File { path: path.to_owned(), source })
    }

    /// For people: who signed it.
    #[must_use]
    pub fn signer_fingerprint(&self) -> String {
        fingerprint(&self.signer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_wire::audit::CheckpointEntry;

    fn body() -> CheckpointBody {
        let entry = |instance: &str| CheckpointEntry {
            instance: instance.to_owned(),
            sequence: 7,
            hash: [3; 32],
            offset: 12,
            public_key: [4; 32],
            first_sequence: 1,
        };
        let entries = vec![entry("a"), entry("b")];
        CheckpointBody { topic: "lumenbus.audit".to_owned(), unix_nanos: 5, log_start: 0, log_end: 20, entries }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_even_in_a_mail() {
        let key = SigningKey::generate().unwrap();
        let text = Checkpoint::to_text(&body(), &key).unwrap();
        let mailed = format!("Dear auditor,\r\n{}\r\nregards", text.replace('\n', "\r\n"));
        let read = Checkpoint::parse(&mailed).unwrap();
        assert_eq!((read.body, read.signer), (body(), key.public()));
    }

    #[test]
    fn a_changed_or_cut_checkpoint_is_refused() {
        let key = SigningKey::generate().unwrap();
        let text = Checkpoint::to_text(&body(), &key).unwrap();
        let refused = |text: &str| Checkpoint::parse(text).unwrap_err();
        assert!(refused(&text[..text.len() / 2]).contains("cut off"));
        assert!(refused("").contains("missing"));
        let start = BEGIN.len() + 1;
        for at in (start..text.len() - END.len() - 8).filter(|at| text.as_bytes()[*at] != b'\n') {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(Checkpoint::parse(&String::from_utf8(changed).unwrap()).is_err(), "at {at}");
        }
    }
}
