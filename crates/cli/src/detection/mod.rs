//! Analysis workers in this process: what they are told, by options or by a settings file, and keeping them at work.

mod crews;
mod options;
mod post;
mod sums;
mod tell;
mod topics;

pub(crate) use crews::{CrewChanges, CrewStatus, Crews};
pub(crate) use options::{DetectOptions, MAX_WORKERS, OptionError, PolicyChoice};
pub(crate) use sums::Sums;
pub(crate) use tell::{CrewBoard, changes_json, changes_line, crew_json};
