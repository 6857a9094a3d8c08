//! One settings file for the whole box: read, checked with line numbers, edited, watched for changes, and run.

mod check;
mod edit;
mod fault;
mod file;
mod template;

pub(crate) use check::{
    BrokerSettings, LogSettings, Site, TracesSettings, ViewerSettings, codec_name, is_no_path,
};
pub(crate) use edit::{Draft, write_file};
pub(crate) use fault::FileError;
pub(crate) use template::template;

/// The file's usual name.
pub(crate) const FILE_NAME: &str = "lumenbus.toml";
