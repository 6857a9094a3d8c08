//! One settings file for the whole box: read, checked with line numbers, edited, watched for changes, and run.

mod board;
mod check;
mod edit;
mod fault;
mod file;
mod folder;
mod inspect;
mod playback;
mod running;
mod sharing;
pub(crate) mod signals;
mod template;
mod watch;

pub(crate) use board::Board;
use check::{BrokerSettings, TracesSettings, ViewerSettings};
pub(crate) use check::{LogSettings, Site, codec_name, is_no_path};
pub(crate) use edit::{Draft, write_file};
pub(crate) use fault::FileError;
pub(crate) use inspect::{Inspection, inspect};
pub(crate) use playback::{Verdict, profile_and_level};
pub(crate) use running::{Applied, Running, Stopped};
pub(crate) use sharing::{NodeBoard, share_head};
pub(crate) use template::template;
pub(crate) use watch::Watch;

/// The file's usual name.
pub(crate) const FILE_NAME: &str = "lumenbus.toml";
