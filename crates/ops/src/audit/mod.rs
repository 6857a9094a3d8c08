//! The audit trail: who did what, when, from where, and how it went; chained, signed and verified.
//!
//! Place in the data flow: beside it. Every instance (a process under a name that stays) has a key and a chain of records
//! on the topic `lumenbus.audit`: [`AuditWriter`]. [`Verifier`] goes through the topic and tells what is missing, changed
//! or not ours; a [`Checkpoint`] that is kept elsewhere shows a tail that was cut off. [`syslog`] passes records on.
//!
//! What the trail shows and what it cannot is in docs/design/audit.md.

mod chain;
mod checkpoint;
mod dicom;
mod error;
mod event;
mod json;
mod key;
pub mod syslog;
mod verify;
mod writer;

pub use checkpoint::Checkpoint;
pub use dicom::{DicomEvent, DicomMessage, MAX_OBJECTS, Participant, StudyObject, WITHHELD};
pub use error::AuditError;
pub use event::{Actor, AuditEvent};
pub use json::to_json;
pub use key::{SigningKey, fingerprint, is_signed_by, read_public_key, record_hash};
pub use lumenbus_wire::audit::{Action, ActorKind, AuditBody, ObjectKind, Outcome, PublicKey, SealedRecord};
pub use verify::{Finding, FindingKind, InstanceReport, Trust, Verdict, Verifier};
pub use writer::{AuditConfig, AuditCounts, AuditTicket, AuditWriter, Need, Receipt};
