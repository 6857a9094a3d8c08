//! What can be chosen about H.264 beyond rate and keyframes.

pub use lumenbus_openh264::Entropy;

/// Who chooses the quantiser of each picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RateControl {
    /// openh264's own control.
    #[default]
    Library,
    /// This crate's: as constant as the budget permits; see docs/design/h264.md.
    Budget,
}

/// Options of the H.264 encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct H264Options {
    /// Who chooses the quantiser. The options below need [`RateControl::Budget`].
    pub rate_control: RateControl,
    /// How coefficients become bits.
    pub entropy: Entropy,
    /// A keyframe where the scene is cut.
    pub scene_cuts: bool,
    /// Two slices, each on a thread: less waiting where a second processor is idle.
    pub two_slices: bool,
    /// Two temporal layers: every other picture is [discardable](lumenbus_frame::EncodedFrame::is_discardable).
    pub two_layers: bool,
}
