//! How encoded video is made: what users choose, and what that means for an encoder and a feed.

use lumenbus_codec::{EncoderConfig, H264Options, Library, RateControl};
use lumenbus_frame::{Codec, FrameRate};
use std::num::NonZeroU32;
use std::time::Duration;

/// Between keyframes, unless something else is said.
pub const DEFAULT_GOP: Gop = Gop::Time(Duration::from_secs(2));
/// Between keyframes of a fixed camera: its pictures repeat each other, and a reader asks for a keyframe.
pub const FIXED_CAMERA_GOP: Gop = Gop::Time(Duration::from_secs(10));

/// How long a group of pictures is: from one keyframe to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gop {
    /// So long, by the frame rate.
    Time(Duration),
    /// So many pictures.
    Frames(NonZeroU32),
}

impl Gop {
    /// As a time.
    #[must_use]
    pub fn interval(self, rate: FrameRate) -> Duration {
        match self {
            Self::Time(time) => time,
            Self::Frames(frames) => {
                let nanos = u128::from(frames.get()) * u128::from(rate.seconds) * 1_000_000_000;
                Duration::from_nanos(u64::try_from(nanos / u128::from(rate.frames.max(1))).unwrap_or(u64::MAX))
            }
        }
    }

    /// In pictures, one at least.
    #[must_use]
    pub fn pictures(self, rate: FrameRate) -> u32 {
        match self {
            Self::Time(time) => {
                let pictures = time.as_secs_f64() * rate.as_f64();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, clamped")]
                let pictures = pictures.round().clamp(1.0, 1e6) as u32;
                pictures
            }
            Self::Frames(frames) => frames.get(),
        }
    }
}

/// What can be chosen of encoded video besides its bit rate. `None` is what [`is_fixed_camera`](Self::is_fixed_camera)
/// makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOptions {
    /// A camera that does not move: a long GOP, and nothing is sent of a scene at rest.
    pub is_fixed_camera: bool,
    /// Between keyframes. Default: 2 s, 10 s of a fixed camera.
    pub gop: Option<Gop>,
    /// Pictures that repeat the last one are not sent, but told. Default: of a fixed camera.
    pub idle_skip: Option<bool>,
    /// Takes noise out before encoding. Default: no.
    pub denoise: bool,
    /// Whether readers may ask for keyframes. Default: yes.
    pub keyframe_requests: bool,
    /// Who chooses the quantiser of H.264. The following need [`RateControl::Budget`], the default.
    pub rate_control: RateControl,
    /// A keyframe where the scene is cut. Default: yes.
    pub scene_cuts: bool,
    /// Two slices of a picture, each on a thread. Default: no.
    pub two_slices: bool,
    /// Two temporal layers, the upper one discardable. Default: no.
    pub two_layers: bool,
}

impl Default for VideoOptions {
    fn default() -> Self {
        Self {
            is_fixed_camera: false,
            gop: None,
            idle_skip: None,
            denoise: false,
            keyframe_requests: true,
            rate_control: RateControl::Budget,
            scene_cuts: true,
            two_slices: false,
            two_layers: false,
        }
    }
}

/// Choices that would do nothing, by the names of fields in the settings file, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Futile {
    /// Such as `fixed_camera`; never empty.
    pub names: Vec<&'static str>,
    /// Why they do nothing.
    pub why: &'static str,
}

impl Futile {
    /// `None` where nothing is futile.
    fn of<const N: usize>(choices: [(&'static str, bool); N], why: &'static str) -> Option<Self> {
        let names: Vec<_> = choices.into_iter().filter_map(|(name, is_chosen)| is_chosen.then_some(name)).collect();
        (!names.is_empty()).then_some(Self { names, why })
    }
}

impl VideoOptions {
    /// What was chosen of all this.
    #[must_use]
    pub fn chosen(&self) -> Vec<&'static str> {
        self.without_video("").map_or_else(Vec::new, |futile| futile.names)
    }

    /// What was chosen and does nothing with this encoder.
    #[must_use]
    pub fn futile(&self, codec: Codec, library: Option<Library>) -> Option<Futile> {
        let is_library = self.rate_control == RateControl::Library;
        let (layers, slices) = (("temporal_layers", self.two_layers), ("slices", self.two_slices));
        if codec.is_intra_only() {
            return self.without_video("each picture stands for itself, and is sent");
        }
        if codec != Codec::H264 || library.is_some_and(|library| library != Library::OpenH264) {
            let cuts = ("scene_cuts", self.scene_cuts != Self::default().scene_cuts);
            let of_ours = [("rate_control", is_library), cuts, layers, slices];
            return Futile::of(of_ours, "they are for H.264 by openh264");
        }
        // Without scene cuts is how the library's control is in any case.
        let budget_only = if is_library { [layers, slices] } else { [("", false); 2] };
        Futile::of(budget_only, "they need rate control \"budget\"")
    }

    /// All that was chosen, where no video is encoded.
    fn without_video(&self, why: &'static str) -> Option<Futile> {
        let default = Self::default();
        let choices = [
            ("gop", self.gop.is_some()),
            ("fixed_camera", self.is_fixed_camera),
            ("idle_skip", self.idle_skip.is_some()),
            ("denoise", self.denoise),
            ("keyframe_requests", self.keyframe_requests != default.keyframe_requests),
            ("rate_control", self.rate_control != default.rate_control),
            ("scene_cuts", self.scene_cuts != default.scene_cuts),
            ("temporal_layers", self.two_layers),
            ("slices", self.two_slices),
        ];
        Futile::of(choices, why)
    }

    /// From one keyframe to the next.
    #[must_use]
    pub fn gop(&self) -> Gop {
        self.gop.unwrap_or(if self.is_fixed_camera { FIXED_CAMERA_GOP } else { DEFAULT_GOP })
    }

    /// Whether what repeats the last picture is left out.
    #[must_use]
    pub fn skips_idle(&self) -> bool {
        self.idle_skip.unwrap_or(self.is_fixed_camera)
    }

    /// Puts what is chosen into an encoder's settings, by their frame rate.
    pub fn apply(&self, encoder: &mut EncoderConfig) {
        encoder.keyframe_interval = self.gop().interval(encoder.frame_rate);
        let is_budget = self.rate_control == RateControl::Budget;
        encoder.h264 = H264Options {
            rate_control: self.rate_control,
            scene_cuts: is_budget && self.scene_cuts,
            two_slices: is_budget && self.two_slices,
            two_layers: is_budget && self.two_layers,
            ..H264Options::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_camera_is_a_preset_that_single_choices_go_before() {
        let of = |options: VideoOptions| {
            let mut encoder = EncoderConfig::new(Codec::H264);
            options.apply(&mut encoder);
            (encoder.keyframe_interval.as_millis(), options.skips_idle())
        };
        let (any, fixed) = (VideoOptions::default(), VideoOptions { is_fixed_camera: true, ..VideoOptions::default() });
        assert_eq!(of(any), (2_000, false));
        assert_eq!(of(fixed), (10_000, true));
        let frames = Gop::Frames(NonZeroU32::new(45).unwrap());
        assert_eq!(of(VideoOptions { gop: Some(frames), idle_skip: Some(false), ..fixed }), (1_500, false));
        assert_eq!(of(VideoOptions { idle_skip: Some(true), ..any }), (2_000, true));
    }

    #[test]
    fn a_gop_is_counted_in_pictures() {
        let rate = FrameRate { frames: 30_000, seconds: 1_001 };
        assert_eq!(DEFAULT_GOP.pictures(rate), 60);
        assert_eq!(Gop::Time(Duration::from_millis(1)).pictures(rate), 1);
        assert_eq!(Gop::Frames(NonZeroU32::MIN).pictures(rate), 1);
    }

    #[test]
    fn the_librarys_control_has_none_of_ours() {
        let options = VideoOptions { rate_control: RateControl::Library, two_layers: true, ..VideoOptions::default() };
        let mut encoder = EncoderConfig::new(Codec::H264);
        options.apply(&mut encoder);
        assert_eq!(encoder.h264, H264Options::default());
    }

    #[test]
    fn what_does_nothing_is_named() {
        let options = VideoOptions {
            is_fixed_camera: true,
            denoise: true,
            rate_control: RateControl::Library,
            two_slices: true,
            ..VideoOptions::default()
        };
        let names = |codec, library| options.futile(codec, library).map(|futile| futile.names);
        let all = ["fixed_camera", "denoise", "rate_control", "slices"];
        assert_eq!(names(Codec::Jpeg, None).unwrap(), all);
        assert_eq!(options.chosen(), all);
        assert_eq!(names(Codec::H264, Some(Library::X264)).unwrap(), ["rate_control", "slices"]);
        assert_eq!(names(Codec::Av1, None).unwrap(), ["rate_control", "slices"]);
        assert_eq!(names(Codec::H264, Some(Library::OpenH264)).unwrap(), ["slices"]);
        let budget = VideoOptions { rate_control: RateControl::Budget, ..options };
        assert_eq!(budget.futile(Codec::H264, None), None);
        assert_eq!(VideoOptions::default().futile(Codec::Raw, None), None);
        assert!(VideoOptions::default().chosen().is_empty());
    }
}
