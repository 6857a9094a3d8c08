//! H.264 (ITU-T H.264) by openh264, built from source.

mod assembly;
mod decode;
mod encode;
mod order;
mod syntax;

pub use assembly::has_h264_assembly;

use crate::registry::{Entry, Side};
use lumenbus_frame::Codec;

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::H264,
    encoder: Side::Built(|config| Ok(Box::new(encode::H264Encoder::new(config)?))),
    decoder: Side::Built(|config| Ok(Box::new(decode::H264Decoder::new(config)?))),
};
