//! What is to be written down: who did what, to what, from where, and how it went.

use super::dicom::DicomMessage;
use lumenbus_wire::audit::{
    Action, ActorKind, AuditBody, MAX_AUDIT_DETAILS, MAX_AUDIT_NAME_BYTES, MAX_AUDIT_TEXT_BYTES, ObjectKind, Outcome,
};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    kind: ActorKind,
    name: String,
}

impl Actor {
    /// Somebody who logged in, or an account of the system.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self { kind: ActorKind::User, name: name.to_owned() }
    }

    /// A DICOM application entity.
    #[must_use]
    pub fn ae_title(title: &str) -> Self {
        Self { kind: ActorKind::AeTitle, name: title.trim().to_owned() }
    }

    /// The program itself, such as `dicom send`.
    #[must_use]
    pub fn process(name: &str) -> Self {
        Self { kind: ActorKind::Process, name: name.to_owned() }
    }
}

/// Something to be written down.
///
/// Nothing in it may be patient data: objects are references (UIDs, topics, paths without names), and so are reasons and
/// details. Texts that are too long are cut, and say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    pub(super) actor: Actor,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    object: Option<(ObjectKind, String)>,
    pub(super) peer: String,
    pub(super) reason: String,
    details: Vec<(String, String)>,
    dicom: Option<DicomMessage>,
}

impl AuditEvent {
    /// An event that went well.
    #[must_use]
    pub fn new(action: Action, actor: Actor) -> Self {
        Self {
            actor,
            action,
            outcome: Outcome::Success,
            object: None,
            peer: String::new(),
            reason: String::new(),
            details: Vec::new(),
            dicom: None,
        }
    }

    /// To what: a reference without patient data.
    #[must_use]
    pub fn object(mut self, kind: ObjectKind, reference: &str) -> Self {
        self.object = Some((kind, cut(reference, MAX_AUDIT_NAME_BYTES)));
        self
    }

    /// From where: `HOST:PORT` of the other side.
    #[must_use]
    pub fn peer(mut self, address: impl std::fmt::Display) -> Self {
        self.peer = cut(&address.to_string(), MAX_AUDIT_NAME_BYTES);
        self
    }

    /// That it failed, how badly and why; no patient data in the reason.
    #[must_use]
    pub fn failed(mut self, outcome: Outcome, reason: &str) -> Self {
        self.outcome = outcome;
        self.reason = cut(reason, MAX_AUDIT_TEXT_BYTES);
        self
    }

    /// A further name and value, such as `bytes` or `sha256`; at most 32, further ones are left out.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        if self.details.len() < MAX_AUDIT_DETAILS {
            self.details.push((cut(name, MAX_AUDIT_NAME_BYTES), cut(&value.to_string(), MAX_AUDIT_TEXT_BYTES)));
        }
        self
    }

    /// The DICOM audit message that goes with it; time, outcome, reason and source are filled in from the record.
    #[must_use]
    pub fn dicom(mut self, message: DicomMessage) -> Self {
        self.dicom = Some(message);
        self
    }

    /// As a record that has no place in a chain yet.
    pub(super) fn into_body(self, source: &Source, unix_nanos: i64) -> AuditBody {
        let dicom_message = self
            .dicom
            .as_ref()
            .map_or_else(String::new, |message| message.to_xml(self.outcome, &self.reason, source, unix_nanos));
        let (object_kind, object) = self.object.map_or((None, String::new()), |(kind, name)| (Some(kind), name));
        AuditBody {
            instance: source.instance.clone(),
            sequence: 0,
            previous: None,
            public_key: None,
            unix_nanos,
            actor_kind: self.actor.kind,
            actor: cut(&self.actor.name, MAX_AUDIT_NAME_BYTES),
            program: source.program.clone(),
            host: source.host.clone(),
            peer: self.peer,
            action: self.action,
            object_kind,
            object,
            outcome: self.outcome,
            reason: self.reason,
            details: self.details,
            lost_before: 0,
            dicom_message,
        }
    }
}

/// Who writes: the same in all records of a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) instance: String,
    pub(super) program: String,
    pub(super) host: String,
}

/// At most so many bytes, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    const MARK: &str = "…";
    format!("{}{MARK}", &text[..text.floor_char_boundary(limit - MARK.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters_and_say_so() {
        assert_eq!(cut("abc", 3), "abc");
        let cut = cut(&"ä".repeat(200), 256);
        assert!(cut.len() <= 256 && cut.ends_with("ä…"), "{cut}");
    }

    #[test]
    fn whatever_is_said_makes_a_record_that_can_be_written() {
        let long = "x".repeat(100_000);
        let mut event = AuditEvent::new(Action::Reject, Actor::ae_title(&long))
            .object(ObjectKind::SopInstance, &long)
            .peer(&long)
            .failed(Outcome::SeriousFailure, &long);
        for _ in 0..100 {
            event = event.detail(&long, &long);
        }
        let source = Source { instance: "i".to_owned(), program: "p".to_owned(), host: "h".to_owned() };
        let body = AuditBody { sequence: 1, public_key: Some([0; 32]), ..event.into_body(&source, 1) };
        AuditBody::decode(&body.encode().unwrap()).unwrap();
    }
}
