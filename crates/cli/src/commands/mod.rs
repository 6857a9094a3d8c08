//! One file per command: arguments → library configuration → run → words and numbers.

pub(crate) mod audit;
pub(crate) mod broker;
pub(crate) mod cameras;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod detect;
pub(crate) mod dicom;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod init;
pub(crate) mod publish;
pub(crate) mod size;
pub(crate) mod subscribe;
pub(crate) mod topics;
pub(crate) mod up;
pub(crate) mod view;
