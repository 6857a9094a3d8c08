//! H.264 (ITU-T H.264) by openh264, built from source.

mod assembly;
mod budget;
mod change;
mod decode;
mod encode;
mod options;
mod order;
mod rate;
mod source;
mod syntax;

pub use assembly::has_h264_assembly;
pub use options::{Entropy, H264Options, RateControl};

use crate::registry::{Entry, Side};
use lumenbus_frame::Codec;

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::H264,
    encoder: Side::Built(|config| Ok(Box::new(encode::H264Encoder::new(config)?))),
    decoder: Side::Built(|config| Ok(Box::new(decode::H264Decoder::new(config)?))),
};
