//! Analysis workers in this process: what they are told, by options or by a settings file, and keeping them at work.

mod options;
mod sums;

pub(crate) use options::DetectOptions;
pub(crate) use sums::Sums;
