//! What `view` and `up` say of the viewer's screen of DICOM studies.

use crate::settings::Settings;
use crate::trail::{AuditOptions, Trail};
use clap::Args;
use lumenbus_bus::BusConfig;
use lumenbus_ops::audit::AuditEvent;
use lumenbus_web::{AccessTrail, NoAccessTrail, StudiesConfig};
use std::sync::{Arc, Mutex, PoisonError};

/// Options of the screen of studies.
#[derive(Debug, Clone, Args)]
pub(crate) struct StudiesOptions {
    /// Show patients' names and the other attributes that would identify them; otherwise they don't leave the viewer
    #[arg(long, env = "LUMENBUS_SHOW_PATIENT_DATA")]
    pub(crate) show_patient_data: bool,
    #[command(flatten)]
    pub(crate) audit: AuditOptions,
}

impl StudiesOptions {
    /// What they mean on this bus, for a command such as `view`.
    pub(crate) fn config(&self, command: &'static str, bus: &BusConfig) -> StudiesConfig {
        let trail: Arc<dyn AccessTrail> = if self.audit.is_off() {
            Arc::new(NoAccessTrail)
        } else {
            Arc::new(LateTrail { options: self.audit.clone(), command, bus: bus.clone(), trail: Mutex::default() })
        };
        StudiesConfig { show_patient_data: self.show_patient_data, trail }
    }
}

/// The trail of a viewer, opened by the first access: most viewers show cameras, and have nothing to put down.
struct LateTrail {
    options: AuditOptions,
    command: &'static str,
    bus: BusConfig,
    trail: Mutex<Option<Arc<Trail>>>,
}

impl LateTrail {
    fn trail(&self) -> Result<Arc<Trail>, String> {
        let mut trail = self.trail.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trail) = &*trail {
            return Ok(Arc::clone(trail));
        }
        // One that could not be opened is tried again at the next access.
        let opened =
            self.options.open(self.command, &Settings::of_bus(&self.bus)).map_err(|error| format!("{error:#}"))?;
        Ok(Arc::clone(trail.insert(Arc::new(opened))))
    }
}

impl AccessTrail for LateTrail {
    fn confirm(&self, event: AuditEvent) -> Result<(), String> {
        self.trail()?.confirm(event).map_err(|error| error.to_string())
    }
}
