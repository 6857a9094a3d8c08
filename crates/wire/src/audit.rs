//! Audit records and checkpoints: the values of the topic `lumenbus.audit`, and what is exported of them.
//!
//! A record is an envelope ([`SealedRecord`]) around the bytes of a body ([`AuditBody`]), so that a reader hashes and
//! verifies what was signed, and not what it would write itself. Hashes and signatures are the business of `crates/ops`.

use crate::fields::{check_version, check_version_first};
use crate::{WIRE_VERSION, WireError, proto};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;

/// Value of `content-type` of a record.
pub const AUDIT_CONTENT_TYPE: &str = "application/vnd.lumenbus.audit+protobuf";
/// Before the body in what is hashed and signed.
pub const RECORD_DOMAIN: &[u8] = b"lumenbus.audit.v1\0";
/// Before a checkpoint's body in what is signed.
pub const CHECKPOINT_DOMAIN: &[u8] = b"lumenbus.audit.checkpoint.v1\0";
/// Longest record written or read.
pub const MAX_AUDIT_BYTES: usize = 128 * 1024;
/// Longest actor, peer, program, host or object, in bytes.
pub const MAX_AUDIT_NAME_BYTES: usize = 256;
/// Longest reason, and longest value of a detail, in bytes.
pub const MAX_AUDIT_TEXT_BYTES: usize = 1024;
/// Most details of a record.
pub const MAX_AUDIT_DETAILS: usize = 32;
/// Longest DICOM message, in bytes.
pub const MAX_DICOM_MESSAGE_BYTES: usize = 64 * 1024;
/// Most instances in a checkpoint.
pub const MAX_CHECKPOINT_INSTANCES: usize = 10_000;
/// Largest checkpoint read.
pub const MAX_CHECKPOINT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a SHA-256 hash.
pub const HASH_BYTES: usize = 32;
/// Bytes of an Ed25519 public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// SHA-256.
pub type Hash = [u8; HASH_BYTES];
/// Ed25519.
pub type PublicKey = [u8; PUBLIC_KEY_BYTES];

macro_rules! named {
    ($(#[$doc:meta])* $name:ident = $proto:ident, $field:literal { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in searches, JSON and exports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            fn to_proto(self) -> i32 {
                match self { $(Self::$variant => proto::$proto::$variant.into()),+ }
            }

            fn from_proto(number: i32) -> Result<Self, WireError> {
                let found = Self::ALL.iter().copied().find(|one| one.to_proto() == number);
                found.ok_or_else(|| WireError::Field {
                    field: $field,
                    found: number.to_string(),
                    expected: "one that this version knows; update the reader",
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = lumenbus_frame::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().copied().find(|one| one.as_str() == name);
                found.ok_or_else(|| lumenbus_frame::UnknownName {
                    what: $field,
                    name: name.chars().take(64).collect(),
                    known: Self::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named! {
    /// What kind of name [`AuditBody::actor`] is.
    ActorKind = AuditActorKind, "actor kind" {
        /// Somebody who logged in, or an account of the system.
        User = "user",
        /// A DICOM application entity, by its title.
        AeTitle = "ae-title",
        /// The program itself.
        Process = "process",
    }
}

named! {
    /// What was done.
    Action = AuditAction, "action" {
        /// A program began.
        Start = "start",
        /// A program ended.
        Stop = "stop",
        /// Objects began to be transferred.
        Begin = "begin",
        /// Objects went out.
        Send = "send",
        /// Objects came in.
        Receive = "receive",
        /// Objects were refused.
        Reject = "reject",
        /// Objects were looked at.
        Access = "access",
        /// Objects left the domain.
        Export = "export",
        /// Objects came from media or another domain.
        Import = "import",
        /// Objects were de-identified.
        Deidentify = "deidentify",
        /// Something was deleted.
        Delete = "delete",
        /// Settings or topics were changed.
        Configure = "configure",
        /// Somebody logged in, or tried to.
        Login = "login",
        /// Somebody logged out.
        Logout = "logout",
        /// Something that concerns security.
        Alert = "alert",
        /// The audit trail was read.
        ReadAudit = "read-audit",
    }
}

named! {
    /// What kind of reference [`AuditBody::object`] is.
    ObjectKind = AuditObjectKind, "object kind" {
        /// Study instance UID.
        Study = "study",
        /// Series instance UID.
        Series = "series",
        /// SOP instance UID.
        SopInstance = "sop-instance",
        /// A file.
        File = "file",
        /// A Kafka topic.
        Topic = "topic",
        /// A camera.
        Camera = "camera",
        /// Where objects are forwarded to.
        Destination = "destination",
        /// The program, or the host.
        System = "system",
    }
}

named! {
    /// How it went; the numbers are those of DICOM's EventOutcomeIndicator: 0, 4, 8, 12.
    Outcome = AuditOutcome, "outcome" {
        /// Done.
        Success = "success",
        /// Not done, and may go well when tried again.
        MinorFailure = "minor-failure",
        /// Not done.
        SeriousFailure = "serious-failure",
        /// The system cannot be used any more.
        MajorFailure = "major-failure",
    }
}

impl Outcome {
    /// DICOM's EventOutcomeIndicator.
    #[must_use]
    pub fn indicator(self) -> i32 {
        self.to_proto()
    }
}

/// What an instance of a program wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBody {
    /// Who wrote the record: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    pub instance: String,
    /// Of the instance's records, from 1.
    pub sequence: u64,
    /// Hash of the instance's record before this one; `None` in the first.
    pub previous: Option<Hash>,
    /// In the first record only.
    pub public_key: Option<PublicKey>,
    /// When, by the instance's clock, Unix time in nanoseconds.
    pub unix_nanos: i64,
    /// What kind of name `actor` is.
    pub actor_kind: ActorKind,
    /// Who did it.
    pub actor: String,
    /// Program and version.
    pub program: String,
    /// The program's host.
    pub host: String,
    /// `HOST:PORT` of the other side; empty where there is none.
    pub peer: String,
    /// What was done.
    pub action: Action,
    /// What kind of reference `object` is; `None`: there is no object.
    pub object_kind: Option<ObjectKind>,
    /// To what; no patient data.
    pub object: String,
    /// How it went.
    pub outcome: Outcome,
    /// Why, where it failed; no patient data.
    pub reason: String,
    /// Further names and values; no patient data.
    pub details: Vec<(String, String)>,
    /// The instance's records that were given up since the one before this.
    pub lost_before: u64,
    /// DICOM PS3.15 A.5 in XML; empty where none applies.
    pub dicom_message: String,
}

fn too_large(what: &'static str, bytes: usize, limit: usize) -> WireError {
    WireError::TooLarge { what, bytes: bytes as u64, limit: limit as u64 }
}

fn field(field: &'static str, found: impl std::fmt::Display, expected: &'static str) -> WireError {
    WireError::Field { field, found: found.to_string(), expected }
}

/// Whether a name can be that of an instance, and so the key of a record.
#[must_use]
pub fn is_instance_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn check_instance(name: &str) -> Result<(), WireError> {
    if is_instance_name(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    Err(field("instance", format!("{shown:?}"), "1 to 64 characters of A-Z a-z 0-9 . _ -"))
}

fn array<const N: usize>(what: &'static str, bytes: &[u8], expected: &'static str) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| field(what, format!("{} bytes", bytes.len()), expected))
}

fn optional<const N: usize>(
    what: &'static str,
    bytes: &[u8],
    expected: &'static str,
) -> Result<Option<[u8; N]>, WireError> {
    if bytes.is_empty() { Ok(None) } else { array(what, bytes, expected).map(Some) }
}

impl AuditBody {
    /// The body as bytes, to be hashed and signed.
    ///
    /// # Errors
    /// What [`decode`](Self::decode) would refuse.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        self.check()?;
        let details = self.details.iter();
        let message = proto::AuditBody {
            instance: self.instance.clone(),
            sequence: self.sequence,
            previous: self.previous.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash)),
            public_key: self.public_key.map_or_else(Bytes::new, |key| Bytes::copy_from_slice(&key)),
            unix_nanos: self.unix_nanos,
            actor_kind: self.actor_kind.to_proto(),
            actor: self.actor.clone(),
            program: self.program.clone(),
            host: self.host.clone(),
            peer: self.peer.clone(),
            action: self.action.to_proto(),
            object_kind: self.object_kind.map_or(0, ObjectKind::to_proto),
            object: self.object.clone(),
            outcome: self.outcome.to_proto(),
            reason: self.reason.clone(),
            details: details
                .map(|(name, value)| proto::AuditDetail { name: name.clone(), value: value.clone() })
                .collect(),
            lost_before: self.lost_before,
            dicom_message: self.dicom_message.clone(),
        };
        let bytes = message.encode_to_vec();
        // Room for signature and envelope.
        if bytes.len() + 128 > MAX_AUDIT_BYTES {
            return Err(too_large("an audit record", bytes.len(), MAX_AUDIT_BYTES - 128));
        }
        Ok(bytes.into())
    }

    /// Reads a body; fields that a newer version added are passed over.
    ///
    /// # Errors
    /// Bytes that are no body, or one that breaks a rule of the format.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_AUDIT_BYTES {
            return Err(too_large("an audit record", bytes.len(), MAX_AUDIT_BYTES));
        }
        let message = proto::AuditBody::decode(bytes)
            .map_err(|source| WireError::Audit { what: "audit record's body", source })?;
        let object_kind = match message.object_kind {
            0 => None,
            kind => Some(ObjectKind::from_proto(kind)?),
        };
        let body = Self {
            sequence: message.sequence,
            previous: optional("previous", &message.previous, "32 bytes, or none in the first record")?,
            public_key: optional("public_key", &message.public_key, "32 bytes, in the first record")?,
            unix_nanos: message.unix_nanos,
            actor_kind: ActorKind::from_proto(message.actor_kind)?,
            action: Action::from_proto(message.action)?,
            object_kind,
            outcome: Outcome::from_proto(message.outcome)?,
            details: message.details.into_iter().map(|detail| (detail.name, detail.value)).collect(),
            lost_before: message.lost_before,
            instance: message.instance,
            actor: message.actor,
            program: message.program,
            host: message.host,
            peer: message.peer,
            object: message.object,
            reason: message.reason,
            dicom_message: message.dicom_message,
        };
        body.check()?;
        Ok(body)
    }

    fn check(&self) -> Result<(), WireError> {
        check_instance(&self.instance)?;
        match self.sequence {
            0 => return Err(field("sequence", 0, "records are counted from 1")),
            1 if self.previous.is_some() || self.public_key.is_none() => {
                return Err(field("sequence", 1, "the first record has a public key and no hash of one before it"));
            }
            2.. if self.previous.is_none() || self.public_key.is_some() => {
                let expected = "a later record has the hash of the one before it and no public key";
                return Err(field("sequence", self.sequence, expected));
            }
            _ => {}
        }
        let names = [
            ("an actor", &self.actor),
            ("a program", &self.program),
            ("a host", &self.host),
            ("a peer", &self.peer),
            ("an object", &self.object),
        ];
        for (what, name) in names {
            check_text(what, name, MAX_AUDIT_NAME_BYTES)?;
        }
        if self.object_kind.is_none() && !self.object.is_empty() {
            return Err(field("object_kind", 0, "an object has a kind"));
        }
        check_text("a reason", &self.reason, MAX_AUDIT_TEXT_BYTES)?;
        if self.details.len() > MAX_AUDIT_DETAILS {
            return Err(field("details", self.details.len(), "at most 32"));
        }
        for (name, value) in &self.details {
            check_text("a detail's name", name, MAX_AUDIT_NAME_BYTES)?;
            check_text("a detail", value, MAX_AUDIT_TEXT_BYTES)?;
        }
        check_text("a DICOM message", &self.dicom_message, MAX_DICOM_MESSAGE_BYTES)
    }
}

fn check_text(what: &'static str, text: &str, limit: usize) -> Result<(), WireError> {
    if text.len() > limit { Err(too_large(what, text.len(), limit)) } else { Ok(()) }
}

/// A record as it lies in the topic: the body's bytes and a signature, neither verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    /// An encoded [`AuditBody`].
    pub body: Bytes,
    /// Ed25519 over [`RECORD_DOMAIN`] and the body.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl SealedRecord {
    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let signature = Bytes::copy_from_slice(&self.signature);
        let record = proto::AuditRecord { version: WIRE_VERSION, body: self.body.clone(), signature };
        record.encode_to_vec().into()
    }

    /// Reads a value.
    ///
    /// # Errors
    /// An unknown major version, more than [`MAX_AUDIT_BYTES`], or bytes that are no record.
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        if value.len() > MAX_AUDIT_BYTES {
            return Err(too_large("an audit record", value.len(), MAX_AUDIT_BYTES));
        }
        check_version_first(value)?;
        let record =
            proto::AuditRecord::decode(value).map_err(|source| WireError::Audit { what: "audit record", source })?;
        check_version(record.version)?;
        Ok(Self { signature: array("signature", &record.signature, "64 bytes")?, body: record.body })
    }
}

/// How far an instance's chain had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointEntry {
    /// The instance.
    pub instance: String,
    /// Its newest record.
    pub sequence: u64,
    /// That record's hash.
    pub hash: Hash,
    /// That record's offset.
    pub offset: u64,
    /// The instance's key.
    pub public_key: PublicKey,
    /// The instance's first record that was still there: above 1 where the log's beginning was deleted.
    pub first_sequence: u64,
}

/// How far the whole trail had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointBody {
    /// Full name of the topic.
    pub topic: String,
    /// When, by the clock of whoever made it, Unix time in nanoseconds.
    pub unix_nanos: i64,
    /// Offset of the first record that was there.
    pub log_start: u64,
    /// Offset after the last one.
    pub log_end: u64,
    /// Each instance once.
    pub entries: Vec<CheckpointEntry>,
}

impl CheckpointBody {
    /// The body as bytes, to be signed.
    ///
    /// # Errors
    /// What [`decode`](Self::decode) would refuse.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        self.check()?;
        let entry = |entry: &CheckpointEntry| proto::AuditCheckpointEntry {
            instance: entry.instance.clone(),
            sequence: entry.sequence,
            hash: Bytes::copy_from_slice(&entry.hash),
            offset: entry.offset,
            public_key: Bytes::copy_from_slice(&entry.public_key),
            first_sequence: entry.first_sequence,
        };
        let message = proto::AuditCheckpointBody {
            topic: self.topic.clone(),
            unix_nanos: self.unix_nanos,
            log_start: self.log_start,
            log_end: self.log_end,
            entries: self.entries.iter().map(entry).collect(),
        };
        Ok(message.encode_to_vec().into())
    }

    /// Reads a body.
    ///
    /// # Errors
    /// Bytes that are no body, or one that breaks a rule of the format.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_CHECKPOINT_BYTES {
            return Err(too_large("a checkpoint", bytes.len(), MAX_CHECKPOINT_BYTES));
        }
        let message = proto::AuditCheckpointBody::decode(bytes)
            .map_err(|source| WireError::Audit { what: "checkpoint's body", source })?;
        let entry = |entry: proto::AuditCheckpointEntry| {
            Ok(CheckpointEntry {
                sequence: entry.sequence,
                hash: array("hash", &entry.hash, "32 bytes")?,
                offset: entry.offset,
                public_key: array("public_key", &entry.public_key, "32 bytes")?,
                first_sequence: entry.first_sequence,
                instance: entry.instance,
            })
        };
        let body = Self {
            unix_nanos: message.unix_nanos,
            log_start: message.log_start,
            log_end: message.log_end,
            entries: message.entries.into_iter().map(entry).collect::<Result<_, WireError>>()?,
            topic: message.topic,
        };
        body.check()?;
        Ok(body)
    }

    fn check(&self) -> Result<(), WireError> {
        check_text("a topic", &self.topic, MAX_AUDIT_NAME_BYTES)?;
        if self.entries.len() > MAX_CHECKPOINT_INSTANCES {
            return Err(field("entries", self.entries.len(), "at most 10000"));
        }
        if self.log_start > self.log_end {
            return Err(field("log_start", self.log_start, "not above log_end"));
        }
        let mut seen = BTreeSet::new();
        for entry in &self.entries {
            check_instance(&entry.instance)?;
            if !(1..=entry.sequence).contains(&entry.first_sequence) {
                let expected = "from 1, and not above sequence";
                return Err(field("first_sequence", entry.first_sequence, expected));
            }
            if !seen.insert(&entry.instance) {
                return Err(field("entries", &entry.instance, "each instance once"));
            }
        }
        Ok(())
    }
}

/// A checkpoint with its signature, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCheckpoint {
    /// An encoded [`CheckpointBody`].
    pub body: Bytes,
    /// Ed25519 over [`CHECKPOINT_DOMAIN`] and the body.
    pub signature: [u8; SIGNATURE_BYTES],
    /// Whose signature it is.
    pub public_key: PublicKey,
}

impl SealedCheckpoint {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let message = proto::AuditCheckpoint {
            version: WIRE_VERSION,
            body: self.body.clone(),
            signature: Bytes::copy_from_slice(&self.signature),
            public_key: Bytes::copy_from_slice(&self.public_key),
        };
        message.encode_to_vec().into()
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// An unknown major version, more than [`MAX_CHECKPOINT_BYTES`], or bytes that are no checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_CHECKPOINT_BYTES {
            return Err(too_large("a checkpoint", bytes.len(), MAX_CHECKPOINT_BYTES));
        }
        check_version_first(bytes)?;
        let message =
            proto::AuditCheckpoint::decode(bytes).map_err(|source| WireError::Audit { what: "checkpoint", source })?;
        check_version(message.version)?;
        Ok(Self {
            signature: array("signature", &message.signature, "64 bytes")?,
            public_key: array("public_key", &message.public_key, "32 bytes")?,
            body: message.body,
        })
    }
}
