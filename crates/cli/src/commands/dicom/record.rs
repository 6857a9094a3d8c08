//! What commands put into the audit trail about objects: UIDs, sizes and hashes, nothing of the patient.

use super::hex;
use crate::trail::operator;
use lumenbus_dicom::attributes::Identity;
use lumenbus_dicom::gateway::Peer;
use lumenbus_ops::audit::{Action, Actor, AuditEvent, DicomEvent, DicomMessage, ObjectKind, Participant, StudyObject};
use std::net::SocketAddr;

/// An object on its way.
pub(super) struct Moved<'a> {
    pub(super) identity: &'a Identity,
    pub(super) sha256: &'a [u8; 32],
    pub(super) bytes: u64,
}

impl Moved<'_> {
    /// By whoever runs the command, from one place to another.
    pub(super) fn event(
        &self,
        action: Action,
        actor: Actor,
        source: Participant,
        destination: Participant,
    ) -> AuditEvent {
        let hash = hex(self.sha256);
        let (kind, reference) = match &self.identity.sop_instance {
            Some(uid) => (ObjectKind::SopInstance, uid.as_str()),
            // Not DICOM, or without an identity.
            None => (ObjectKind::File, hash.as_str()),
        };
        let event = AuditEvent::new(action, actor).object(kind, reference);
        let event = event.detail("bytes", self.bytes).detail("sha256", &hash);
        match &self.identity.study {
            None => event,
            Some(study) => {
                let class = self.identity.sop_class.as_deref().unwrap_or_default();
                let study = StudyObject::new(study).sop_class(class, 1);
                let what = match action {
                    Action::Export => DicomEvent::Export,
                    Action::Import => DicomEvent::Import,
                    _ => DicomEvent::InstancesTransferred,
                };
                event.dicom(DicomMessage::transfer(what, source, destination).study(study))
            }
        }
    }
}

/// A file went into the topics.
pub(super) fn imported(moved: &Moved<'_>) -> AuditEvent {
    let (source, destination) = (Participant::source("file").requestor(), Participant::destination("lumenbus"));
    moved.event(Action::Send, operator(), source, destination)
}

/// An object came out of the topics into a folder, for this destination.
pub(super) fn stored(moved: &Moved<'_>, destination: &str) -> AuditEvent {
    let (source, to) = (Participant::source("lumenbus"), Participant::destination(destination).requestor());
    moved.event(Action::Receive, operator(), source, to).detail("destination", destination)
}

/// An object came from a peer into the topics.
pub(super) fn arrived(moved: &Moved<'_>, calling: &str, from: SocketAddr, own: &str) -> AuditEvent {
    let source = Participant::source(calling).ae_title(calling).at(from).requestor();
    let destination = Participant::destination(own).ae_title(own);
    moved.event(Action::Receive, Actor::ae_title(calling), source, destination).peer(from)
}

/// A peer has an object from the topics.
pub(super) fn delivered(moved: &Moved<'_>, own: &str, peer: &Peer, destination: &str) -> AuditEvent {
    let source = Participant::source(own).ae_title(own).requestor();
    let to = Participant::destination(&peer.ae_title).ae_title(&peer.ae_title);
    let event = moved.event(Action::Send, Actor::ae_title(own), source, to);
    event.peer(format!("{}:{}", peer.host, peer.port)).detail("destination", destination)
}

/// An association that was not accepted.
pub(super) fn turned_away(from: SocketAddr, why: &str) -> AuditEvent {
    let caller = Participant::user("unknown").at(from).requestor();
    AuditEvent::new(Action::Alert, Actor::process("dicom gateway"))
        .peer(from)
        .failed(lumenbus_ops::audit::Outcome::MinorFailure, why)
        .dicom(DicomMessage::new(DicomEvent::NodeAuthentication).participant(caller))
}

/// Something was not taken, or could not be delivered.
pub(super) fn refused(reference: &str, why: &str) -> AuditEvent {
    AuditEvent::new(Action::Reject, operator())
        .object(ObjectKind::File, reference)
        .failed(lumenbus_ops::audit::Outcome::MinorFailure, why)
}
