//! Audit messages of DICOM PS3.15 A.5 in XML, as IHE ATNA (ITI-20) wants them.
//!
//! The elements, their order and the codes are those of the schema in A.5.1 and of A.5.3. A message names at most
//! [`MAX_OBJECTS`] studies, and fewer where it would become too long for a record: a message is of one study, as a rule.

use super::event::Source;
use lumenbus_wire::audit::{MAX_DICOM_MESSAGE_BYTES, Outcome};
use quick_xml::Writer;
use quick_xml::events::{BytesText, Event};
use std::io;

/// Most studies that a message names.
pub const MAX_OBJECTS: usize = 64;
/// Most participants, and nodes, of a message.
const MAX_PARTICIPANTS: usize = 8;
/// Most AE titles of a participant.
const MAX_TITLES: usize = 8;
/// Most SOP classes of an object that a message names.
const MAX_SOP_CLASSES: usize = 16;
/// Longest text in a message, in bytes: with all limits together a message stays below what a record takes.
const MAX_TEXT_BYTES: usize = 256;
/// In place of a patient's id where none is to be told.
pub const WITHHELD: &str = "withheld";

/// A code of DICOM's: value and meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Code(&'static str, &'static str);

const SOURCE_ROLE: Code = Code("110153", "Source Role ID");
const DESTINATION_ROLE: Code = Code("110152", "Destination Role ID");
const APPLICATION_ROLE: Code = Code("110150", "Application");
const STUDY_UID: Code = Code("110180", "Study Instance UID");
const NODE_ID: Code = Code("110182", "Node ID");
const PATIENT_NUMBER: Code = Code("2", "Patient Number");

/// Which message of A.5.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DicomEvent {
    /// Application Activity: a program began.
    ApplicationStart,
    /// Application Activity: a program ended.
    ApplicationStop,
    /// Begin Transferring DICOM Instances.
    BeginTransferring,
    /// DICOM Instances Accessed, to read them.
    InstancesAccessed,
    /// DICOM Instances Transferred; outcome and participants tell who got what.
    InstancesTransferred,
    /// Export.
    Export,
    /// Import.
    Import,
    /// Security Alert: Node Authentication, such as an AE title or certificate that was refused.
    NodeAuthentication,
    /// Security Alert: Software Configuration.
    SoftwareConfiguration,
    /// Security Alert: Use of Restricted Function.
    RestrictedFunction,
    /// User Authentication: Login.
    Login,
    /// User Authentication: Logout.
    Logout,
}

impl DicomEvent {
    /// Event id, event type, action.
    fn codes(self) -> (Code, Option<Code>, &'static str) {
        const ALERT: Code = Code("110113", "Security Alert");
        match self {
            Self::ApplicationStart => {
                (Code("110100", "Application Activity"), Some(Code("110120", "Application Start")), "E")
            }
            Self::ApplicationStop => {
                (Code("110100", "Application Activity"), Some(Code("110121", "Application Stop")), "E")
            }
            Self::BeginTransferring => (Code("110102", "Begin Transferring DICOM Instances"), None, "E"),
            Self::InstancesAccessed => (Code("110103", "DICOM Instances Accessed"), None, "R"),
            Self::InstancesTransferred => (Code("110104", "DICOM Instances Transferred"), None, "C"),
            Self::Export => (Code("110106", "Export"), None, "R"),
            Self::Import => (Code("110107", "Import"), None, "C"),
            Self::NodeAuthentication => (ALERT, Some(Code("110126", "Node Authentication")), "E"),
            Self::SoftwareConfiguration => (ALERT, Some(Code("110131", "Software Configuration")), "E"),
            Self::RestrictedFunction => (ALERT, Some(Code("110132", "Use of Restricted Function")), "E"),
            Self::Login => (Code("110114", "User Authentication"), Some(Code("110122", "Login")), "E"),
            Self::Logout => (Code("110114", "User Authentication"), Some(Code("110123", "Logout")), "E"),
        }
    }
}

/// A side of a transfer, a user or a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    user_id: String,
    alternative: Vec<String>,
    is_requestor: bool,
    network: Option<String>,
    roles: Vec<Code>,
}

impl Participant {
    fn new(user_id: &str, role: Option<Code>) -> Self {
        let roles = role.into_iter().collect();
        Self { user_id: user_id.to_owned(), alternative: Vec::new(), is_requestor: false, network: None, roles }
    }

    /// Who sends: an AE title or another name of it.
    #[must_use]
    pub fn source(id: &str) -> Self {
        Self::new(id, Some(SOURCE_ROLE))
    }

    /// Who receives.
    #[must_use]
    pub fn destination(id: &str) -> Self {
        Self::new(id, Some(DESTINATION_ROLE))
    }

    /// A program of this system.
    #[must_use]
    pub fn application(id: &str) -> Self {
        Self::new(id, Some(APPLICATION_ROLE))
    }

    /// Somebody, or another node.
    #[must_use]
    pub fn user(id: &str) -> Self {
        Self::new(id, None)
    }

    /// That it was the one who asked for it.
    #[must_use]
    pub fn requestor(mut self) -> Self {
        self.is_requestor = true;
        self
    }

    /// A further AE title.
    #[must_use]
    pub fn ae_title(mut self, title: &str) -> Self {
        if self.alternative.len() < MAX_TITLES {
            self.alternative.push(title.trim().to_owned());
        }
        self
    }

    /// Its address: an IP address (with or without a port), or a host name.
    #[must_use]
    pub fn at(mut self, address: impl std::fmt::Display) -> Self {
        self.network = Some(address.to_string());
        self
    }

    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        let mut attributes = vec![("UserID", text(&self.user_id))];
        if !self.alternative.is_empty() {
            // A.5.2.2: `AETITLES=` and the titles, separated by semicolons.
            attributes.push(("AlternativeUserID", text(&format!("AETITLES={}", self.alternative.join(";")))));
        }
        attributes.push(("UserIsRequestor", self.is_requestor.to_string()));
        if let Some(network) = &self.network {
            let (id, kind) = access_point(network);
            attributes.push(("NetworkAccessPointID", text(&id)));
            attributes.push(("NetworkAccessPointTypeCode", kind.to_owned()));
        }
        element(xml, "ActiveParticipant", &attributes, |xml| {
            self.roles.iter().try_for_each(|role| coded(xml, "RoleIDCode", *role))
        })
    }
}

/// An address without its port, and its type: 1 a name, 2 an IP address.
fn access_point(address: &str) -> (String, &'static str) {
    if let Ok(address) = address.parse::<std::net::SocketAddr>() {
        return (address.ip().to_string(), "2");
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<std::net::IpAddr>() {
        return (ip.to_string(), "2");
    }
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = address.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(address, |(host, _)| host);
    (host.to_owned(), "1")
}

/// A study, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyObject {
    uid: String,
    sop_classes: Vec<(String, u64)>,
    is_anonymized: Option<bool>,
}

impl StudyObject {
    /// A study by its UID.
    #[must_use]
    pub fn new(study_instance_uid: &str) -> Self {
        Self { uid: study_instance_uid.to_owned(), sop_classes: Vec::new(), is_anonymized: None }
    }

    /// So many instances of a SOP class.
    #[must_use]
    pub fn sop_class(mut self, uid: &str, instances: u64) -> Self {
        self.sop_classes.push((uid.to_owned(), instances));
        self
    }

    /// Whether it is de-identified.
    #[must_use]
    pub fn anonymized(mut self, is_anonymized: bool) -> Self {
        self.is_anonymized = Some(is_anonymized);
        self
    }

    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        let attributes = [("ParticipantObjectID", &*self.uid), ("ParticipantObjectTypeCode", "2")];
        let attributes = attributes.into_iter().chain([("ParticipantObjectTypeCodeRole", "3")]);
        let attributes: Vec<_> = attributes.map(|(name, value)| (name, text(value))).collect();
        element(xml, "ParticipantObjectIdentification", &attributes, |xml| {
            coded(xml, "ParticipantObjectIDTypeCode", STUDY_UID)?;
            // The schema wants a name or a query; a study's name may be patient data.
            words(xml, "ParticipantObjectName", &self.uid)?;
            let left_out = self.sop_classes.len().saturating_sub(MAX_SOP_CLASSES);
            if left_out > 0 {
                detail(xml, "sop-classes-left-out", &left_out.to_string())?;
            }
            element(xml, "ParticipantObjectDescription", &[], |xml| {
                for (uid, instances) in self.sop_classes.iter().take(MAX_SOP_CLASSES) {
                    let attributes = [("UID", text(uid)), ("NumberOfInstances", instances.to_string())];
                    element(xml, "SOPClass", &attributes, |_| Ok(()))?;
                }
                match self.is_anonymized {
                    Some(is_anonymized) => words(xml, "Anonymized", &is_anonymized.to_string()),
                    None => Ok(()),
                }
            })
        })
    }
}

/// An audit message, without what is the record's: time, outcome, source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DicomMessage {
    event: DicomEvent,
    participants: Vec<Participant>,
    studies: Vec<StudyObject>,
    patient: Option<String>,
    has_patient: bool,
    nodes: Vec<String>,
}

impl DicomMessage {
    /// A message of which participants and objects are to be added.
    #[must_use]
    pub fn new(event: DicomEvent) -> Self {
        use DicomEvent as E;
        let has_patient = matches!(
            event,
            E::BeginTransferring | E::InstancesAccessed | E::InstancesTransferred | E::Export | E::Import
        );
        Self { event, participants: Vec::new(), studies: Vec::new(), patient: None, has_patient, nodes: Vec::new() }
    }

    /// A transfer between two application entities: the message is [`DicomEvent::BeginTransferring`] or
    /// [`DicomEvent::InstancesTransferred`].
    #[must_use]
    pub fn transfer(event: DicomEvent, source: Participant, destination: Participant) -> Self {
        Self::new(event).participant(source).participant(destination)
    }

    /// Who took part; a message has at least one, which is the program itself where none is given.
    #[must_use]
    pub fn participant(mut self, participant: Participant) -> Self {
        self.participants.push(participant);
        self
    }

    /// Which study.
    #[must_use]
    pub fn study(mut self, study: StudyObject) -> Self {
        self.studies.push(study);
        self
    }

    /// Whose study, as a pseudonym. Without it, messages that name a patient in DICOM say [`WITHHELD`].
    #[must_use]
    pub fn patient(mut self, pseudonym: &str) -> Self {
        (self.patient, self.has_patient) = (Some(pseudonym.to_owned()), true);
        self
    }

    /// Which node a security alert is about.
    #[must_use]
    pub fn node(mut self, id: &str) -> Self {
        self.nodes.push(id.to_owned());
        self
    }

    pub(super) fn to_xml(&self, outcome: Outcome, reason: &str, source: &Source, unix_nanos: i64) -> String {
        let mut message = self.clone();
        message.participants.truncate(MAX_PARTICIPANTS);
        message.nodes.truncate(MAX_PARTICIPANTS);
        message.studies.truncate(MAX_OBJECTS);
        loop {
            let mut xml = Writer::new(Vec::new());
            let written = message.write(&mut xml, (outcome, reason), source, unix_nanos);
            let bytes = written.map(|()| xml.into_inner()).unwrap_or_default();
            if bytes.len() <= MAX_DICOM_MESSAGE_BYTES {
                return String::from_utf8(bytes).unwrap_or_default();
            }
            // Without any studies the limits of the other parts keep it within its own.
            message.studies.truncate(message.studies.len() / 2);
        }
    }

    fn write(
        &self,
        xml: &mut Xml,
        (outcome, reason): (Outcome, &str),
        source: &Source,
        unix_nanos: i64,
    ) -> io::Result<()> {
        let (id, kind, action) = self.event.codes();
        let identification = [
            ("EventActionCode", action.to_owned()),
            ("EventDateTime", date_time(unix_nanos)),
            ("EventOutcomeIndicator", outcome.indicator().to_string()),
        ];
        element(xml, "AuditMessage", &[], |xml| {
            element(xml, "EventIdentification", &identification, |xml| {
                coded(xml, "EventID", id)?;
                kind.map_or(Ok(()), |kind| coded(xml, "EventTypeCode", kind))?;
                if reason.is_empty() { Ok(()) } else { words(xml, "EventOutcomeDescription", reason) }
            })?;
            let own = [Participant::application(&source.instance).at(&source.host)];
            let participants = if self.participants.is_empty() { &own[..] } else { &self.participants[..] };
            participants.iter().try_for_each(|participant| participant.write(xml))?;
            // 4: application server process.
            element(xml, "AuditSourceIdentification", &[("AuditSourceID", text(&source.instance))], |xml| {
                element(xml, "AuditSourceTypeCode", &[("csd-code", "4".to_owned())], |_| Ok(()))
            })?;
            self.studies.iter().try_for_each(|study| study.write(xml))?;
            if self.has_patient {
                let id = self.patient.as_deref().unwrap_or(WITHHELD);
                let code = PATIENT_NUMBER;
                object(xml, (id, "1", Some("1")), |xml| {
                    coded_in(xml, "ParticipantObjectIDTypeCode", code, "RFC-3881")
                })?;
            }
            self.nodes.iter().try_for_each(|node| {
                object(xml, (node, "2", None), |xml| coded(xml, "ParticipantObjectIDTypeCode", NODE_ID))
            })
        })
    }
}

type Xml = Writer<Vec<u8>>;

/// An object that is nothing but its id: type code and role beside it.
fn object(
    xml: &mut Xml,
    (id, kind, role): (&str, &str, Option<&str>),
    code: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    let mut attributes = vec![("ParticipantObjectID", text(id)), ("ParticipantObjectTypeCode", kind.to_owned())];
    attributes.extend(role.map(|role| ("ParticipantObjectTypeCodeRole", role.to_owned())));
    element(xml, "ParticipantObjectIdentification", &attributes, |xml| {
        code(xml)?;
        words(xml, "ParticipantObjectName", id)
    })
}

/// Cut, and without characters that XML 1.0 cannot hold.
fn text(text: &str) -> String {
    let is_allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..);
    let printable: String = text.chars().take(MAX_TEXT_BYTES).filter(is_allowed).collect();
    super::event::cut(&printable, MAX_TEXT_BYTES)
}

/// `xsd:dateTime` in UTC.
fn date_time(unix_nanos: i64) -> String {
    let timestamp = jiff::Timestamp::from_nanosecond(i128::from(unix_nanos)).unwrap_or_default();
    format!("{timestamp:.6}")
}

fn element(
    xml: &mut Xml,
    name: &str,
    attributes: &[(&str, String)],
    content: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    let attributes = attributes.iter().map(|(name, value)| (*name, value.as_str()));
    xml.create_element(name).with_attributes(attributes).write_inner_content(content)?;
    Ok(())
}

fn words(xml: &mut Xml, name: &str, words: &str) -> io::Result<()> {
    element(xml, name, &[], |xml| xml.write_event(Event::Text(BytesText::new(&text(words)))))
}

fn coded(xml: &mut Xml, name: &str, code: Code) -> io::Result<()> {
    coded_in(xml, name, code, "DCM")
}

fn coded_in(xml: &mut Xml, name: &str, Code(value, meaning): Code, system: &str) -> io::Result<()> {
    let attributes = [("csd-code", value), ("codeSystemName", system), ("originalText", meaning)];
    element(xml, name, &attributes.map(|(name, value)| (name, value.to_owned())), |_| Ok(()))
}

/// A value is Base64 in the schema.
fn detail(xml: &mut Xml, kind: &str, value: &str) -> io::Result<()> {
    let value = openssl::base64::encode_block(value.as_bytes());
    element(xml, "ParticipantObjectDetail", &[("type", kind.to_owned()), ("value", value)], |_| Ok(()))
}
