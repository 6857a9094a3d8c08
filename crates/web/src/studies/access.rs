//! Who looks at what: an event in the audit trail before anything is sent.

use super::{AccessTrail, lock};
use crate::http::Peer;
use lumenbus_dicom::catalogue::{Name, PatientData};
use lumenbus_dicom::record::Metadata;
use lumenbus_ops::audit::{Action, Actor, AuditEvent, DicomEvent, DicomMessage, ObjectKind, Participant, StudyObject};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Who goes on looking at the same is put down again after this time.
const GOES_ON: Duration = Duration::from_secs(300);
/// Accesses remembered; beyond that each request is put down.
const MAX_REMEMBERED: usize = 4_096;
/// All who come through the page: it knows no names, only who has the token.
const ACTOR: &str = "viewer";

/// What of an object is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum What {
    Attributes,
    Pixels,
}

/// Who, and what of which object; `None`: the list of studies.
type Access = (IpAddr, Option<(Name, What)>);

pub(super) struct Accesses {
    trail: Arc<dyn AccessTrail>,
    remembered: Mutex<HashMap<Access, Instant>>,
}

impl Accesses {
    pub(super) fn new(trail: Arc<dyn AccessTrail>) -> Self {
        Self { trail, remembered: Mutex::default() }
    }

    /// Returns when the access to an object is on record.
    pub(super) fn object(
        &self,
        Peer(peer): Peer,
        (name, what): (Name, What),
        metadata: &Metadata,
        patient_data: PatientData,
    ) -> Result<(), String> {
        let event = || {
            let hash: String = metadata.file_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            let identity = &metadata.identity;
            let (kind, reference) = match &identity.sop_instance {
                Some(uid) => (ObjectKind::SopInstance, uid.as_str()),
                None => (ObjectKind::File, hash.as_str()),
            };
            let what = if what == What::Pixels { "pixels" } else { "attributes" };
            let event = AuditEvent::new(Action::Access, Actor::user(ACTOR)).peer(peer).object(kind, reference);
            let event = event.detail("what", what).detail("patient-data", shown(patient_data)).detail("sha256", &hash);
            let Some(study) = &identity.study else { return event };
            let study = StudyObject::new(study).sop_class(identity.sop_class.as_deref().unwrap_or_default(), 1);
            let viewer = Participant::user(ACTOR).at(peer).requestor();
            let message = DicomMessage::new(DicomEvent::InstancesAccessed).participant(viewer);
            event.dicom(message.study(study))
        };
        self.once((peer.ip(), Some((name, what))), event)
    }

    /// Returns when the access to a list with patients' names is on record.
    pub(super) fn list(&self, Peer(peer): Peer, patient_data: PatientData) -> Result<(), String> {
        if patient_data == PatientData::Masked {
            return Ok(());
        }
        let event = || {
            let event = AuditEvent::new(Action::Access, Actor::user(ACTOR)).peer(peer);
            event.detail("what", "list of studies").detail("patient-data", shown(patient_data))
        };
        self.once((peer.ip(), None), event)
    }

    fn once(&self, key: Access, event: impl FnOnce() -> AuditEvent) -> Result<(), String> {
        let goes_on = |at: &Instant| at.elapsed() < GOES_ON;
        if lock(&self.remembered).get(&key).is_some_and(goes_on) {
            return Ok(());
        }
        self.trail.confirm(event())?;
        let mut remembered = lock(&self.remembered);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, at| goes_on(at));
        }
        if remembered.len() < MAX_REMEMBERED {
            remembered.insert(key, Instant::now());
        }
        Ok(())
    }
}

fn shown(patient_data: PatientData) -> &'static str {
    if patient_data == PatientData::Shown { "shown" } else { "masked" }
}
