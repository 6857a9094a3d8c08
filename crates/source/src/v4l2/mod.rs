//! Cameras at this machine: capture devices of Video4Linux, such as `/dev/video0`.
//!
//! A device is set to one of its formats ([`choice`]), and a thread takes its buffers, copies what they hold and hands
//! them back at once: a device has few, and who reads slowly must not cost those. What cannot wait in the queue is left
//! out up to a keyframe and counted. Such a source does not reconnect by itself, as no live source does.

mod address;
#[cfg(target_os = "linux")]
mod choice;
#[cfg(target_os = "linux")]
mod fault;
#[cfg(target_os = "linux")]
mod intake;
#[cfg(target_os = "linux")]
mod list;
#[cfg(target_os = "linux")]
mod pixels;
#[cfg(target_os = "linux")]
mod source;

pub use address::{DeviceAddress, DeviceFormat};
#[cfg(target_os = "linux")]
pub use source::DeviceSource;

use crate::{Source, SourceError, SourceOptions};

/// A device of this machine that gives frames, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDevice {
    /// Such as `/dev/video0`.
    pub path: String,
    /// What it calls itself.
    pub card: String,
    /// Its driver.
    pub driver: String,
    /// A line for each format with its sizes and rates; why not, where it cannot be asked.
    pub formats: Result<Vec<String>, String>,
}

/// The devices of this machine that give frames, by number; at most 64. Nothing where there is no Video4Linux.
#[cfg(target_os = "linux")]
#[must_use]
pub fn local_devices() -> Vec<LocalDevice> {
    list::all()
}

/// Nothing: there is no Video4Linux.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn local_devices() -> Vec<LocalDevice> {
    Vec::new()
}

/// Starts a device and waits for its first frame.
#[cfg(target_os = "linux")]
pub(crate) fn open(address: &DeviceAddress, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(DeviceSource::open(address, options)?))
}

/// Refuses it by name.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open(address: &DeviceAddress, _options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Err(SourceError::Unsupported {
        name: address.name().clone(),
        what: "devices of Video4Linux".to_owned(),
        remedy: "they are of Linux; send a stream through a pipe instead",
    })
}
