//! DICOM studies: what `dicom_metadata` lists, images and attributes of single objects, and what destinations lack.
//!
//! A thread follows the metadata into a catalogue ([`lumenbus_dicom::catalogue`]); pixels are read when somebody looks, the
//! chunks of one frame only. Whoever gets attributes or pixels is in the audit trail before they are sent.

mod access;
mod answers;
mod desk;
mod follow;
mod http;

pub(crate) use http::{destinations, frame, list, object, search, series, study};

use access::Accesses;
use desk::Desk;
use lumenbus_bus::BusConfig;
use lumenbus_dicom::catalogue::{Catalogue, PatientData};
use lumenbus_ops::audit::AuditEvent;
use lumenbus_pipeline::Shutdown;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Where it is put down who looked at what. `confirm` may block, and returns when the event is on record.
pub trait AccessTrail: Send + Sync {
    /// Puts an access down.
    ///
    /// # Errors
    /// Why that cannot be done; then nothing is shown.
    fn confirm(&self, event: AuditEvent) -> Result<(), String>;
}

/// Puts nothing down.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAccessTrail;

impl AccessTrail for NoAccessTrail {
    fn confirm(&self, _: AuditEvent) -> Result<(), String> {
        Ok(())
    }
}

/// Whether and how studies are shown.
#[derive(Clone)]
pub struct StudiesConfig {
    /// Otherwise what could be of a patient does not leave the server.
    pub show_patient_data: bool,
    /// Who looked at what.
    pub trail: Arc<dyn AccessTrail>,
}

impl fmt::Debug for StudiesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StudiesConfig").field("show_patient_data", &self.show_patient_data).finish_non_exhaustive()
    }
}

/// How far the catalogue is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// There are no DICOM topics.
    Absent,
    /// The topic is read for the first time.
    Reading,
    Ready,
    /// Kafka does not answer; what is known is shown.
    Away(String),
}

/// What the screen needs.
pub(crate) struct Studies {
    patient_data: PatientData,
    catalogue: Mutex<Catalogue>,
    state: Mutex<State>,
    unreadable: Mutex<u64>,
    desk: Desk,
    accesses: Accesses,
    shutdown: Arc<Shutdown>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Studies {
    pub(crate) fn start(bus: &BusConfig, config: &StudiesConfig) -> std::io::Result<Arc<Self>> {
        let patient_data = if config.show_patient_data { PatientData::Shown } else { PatientData::Masked };
        let studies = Arc::new(Self {
            patient_data,
            catalogue: Mutex::new(Catalogue::new(patient_data)),
            state: Mutex::new(State::Absent),
            unreadable: Mutex::new(0),
            desk: Desk::new(bus.clone()),
            accesses: Accesses::new(Arc::clone(&config.trail)),
            shutdown: Arc::new(Shutdown::default()),
            thread: Mutex::new(None),
        });
        let (following, bus) = (Arc::clone(&studies), bus.clone());
        let follow = move || following.follow(&bus);
        let thread = std::thread::Builder::new().name("viewer-studies".to_owned()).spawn(follow)?;
        *lock(&studies.thread) = Some(thread);
        Ok(studies)
    }

    /// Whether there are DICOM topics.
    pub(crate) fn are_there(&self) -> bool {
        *lock(&self.state) != State::Absent
    }

    pub(crate) fn close(&self) {
        self.shutdown.request();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that follows studies panicked");
        }
    }

    fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        lock(&self.catalogue)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
