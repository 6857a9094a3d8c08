//! Codecs that are known by name but not held by this build, each with the reason a user reads.
//!
//! All of them pass through: publishing and subscribing coded frames needs no codec.

use crate::registry::{Entry, Side};
use lumenbus_frame::Codec;

const VIDEO: &str = "it needs a build with the `ffmpeg` feature; coded frames still pass through";

pub(crate) const H265: Entry = Entry { codec: Codec::H265, encoder: Side::Absent(VIDEO), decoder: Side::Absent(VIDEO) };
pub(crate) const AV1: Entry = Entry { codec: Codec::Av1, encoder: Side::Absent(VIDEO), decoder: Side::Absent(VIDEO) };
