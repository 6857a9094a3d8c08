//! What is measured: every encoder of the registry, H.264 with either rate control, each at several settings.

use lumenbus_codec::{EncoderConfig, Library, RateControl, library_support, support};
use lumenbus_frame::{Codec, FrameRate};
use std::time::Duration;

/// Qualities of stills, and rates of video relative to the reference.
const QUALITIES: [u8; 8] = [1, 5, 15, 30, 50, 70, 85, 95];
const RATES: [f64; 6] = [0.06, 0.12, 0.25, 0.4, 0.65, 1.0];
/// Libraries of the system's FFmpeg that hold no picture back.
const OF_SYSTEM: [(Library, &str); 2] = [(Library::X264, "x264"), (Library::Aom, "av1")];

/// An encoder whose settings differ in one number only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Series {
    /// As in `--only`.
    pub(super) name: String,
    pub(super) codec: Codec,
    pub(super) rate_control: Option<RateControl>,
    /// Of the system; its quality is set, not its rate.
    pub(super) library: Option<Library>,
}

/// The number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Setting {
    Quality(u8),
    BitsPerSecond(u32),
    /// The codec loses nothing.
    Lossless,
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quality(quality) => write!(f, "quality {quality}"),
            Self::BitsPerSecond(bits) => write!(f, "{:.0} kbit/s", f64::from(*bits) / 1e3),
            Self::Lossless => f.write_str("lossless"),
        }
    }
}

/// What holds for all settings of a clip.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common {
    pub(super) rate: FrameRate,
    pub(super) reference_bits: f64,
    pub(super) short_interval: Duration,
    pub(super) long_interval: Duration,
}

impl Series {
    /// All that this build can encode but raw pixels.
    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for row in support().filter(|row| row.encode.is_ok() && row.codec != Codec::Raw) {
            let plain = |name: String, rate_control| Self { name, codec: row.codec, rate_control, library: None };
            if row.codec == Codec::H264 {
                all.push(plain("h264-library".to_owned(), Some(RateControl::Library)));
                all.push(plain("h264-budget".to_owned(), Some(RateControl::Budget)));
            } else if row.codec != Codec::Av1 {
                all.push(plain(row.codec.as_str().to_owned(), None));
            }
        }
        let of_system = OF_SYSTEM.into_iter().filter(|(library, _)| library_support(*library).is_ok());
        all.extend(of_system.map(|(library, name)| Self {
            name: name.to_owned(),
            codec: library.codec(),
            rate_control: None,
            library: Some(library),
        }));
        all
    }

    pub(super) fn is_video(&self) -> bool {
        !self.codec.is_intra_only()
    }

    pub(super) fn settings(&self, common: &Common) -> Vec<Setting> {
        match self.codec {
            Codec::Png => vec![Setting::Lossless],
            codec if codec.is_intra_only() || self.library.is_some() => QUALITIES.map(Setting::Quality).to_vec(),
            _ => {
                let mut settings = RATES.map(|part| bits(common.reference_bits * part)).to_vec();
                // Small clips have rates below what an encoder takes.
                settings.dedup();
                settings
            }
        }
    }

    pub(super) fn config(&self, setting: Setting, common: &Common) -> EncoderConfig {
        let mut config = EncoderConfig::new(self.codec);
        config.frame_rate = common.rate;
        config.keyframe_interval = common.long_interval;
        config.library = self.library;
        match setting {
            Setting::Quality(quality) => config.quality = quality,
            Setting::BitsPerSecond(bits) => config.bits_per_second = Some(bits),
            Setting::Lossless => {}
        }
        if let Some(rate_control) = self.rate_control {
            config.h264.rate_control = rate_control;
            config.h264.scene_cuts = rate_control == RateControl::Budget;
            if rate_control == RateControl::Library {
                config.keyframe_interval = common.short_interval;
            }
        }
        config
    }
}

impl Setting {
    /// The number, where there is one.
    pub(super) fn number(self) -> Option<f64> {
        match self {
            Self::Quality(quality) => Some(f64::from(quality)),
            Self::BitsPerSecond(bits) => Some(f64::from(bits)),
            Self::Lossless => None,
        }
    }

    /// Another setting of the same kind, as near to the number as it can be.
    pub(super) fn with(self, number: f64) -> Self {
        match self {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1 to 100")]
            Self::Quality(_) => Self::Quality(number.round().clamp(1.0, 100.0) as u8),
            Self::BitsPerSecond(_) => bits(number),
            Self::Lossless => self,
        }
    }
}

/// At least what the encoders take.
pub(super) fn bits(bits_per_second: f64) -> Setting {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what u32 holds")]
    let bits = bits_per_second.clamp(10_000.0, 800_000_000.0) as u32;
    Setting::BitsPerSecond(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoder_of_this_build_has_settings() {
        let common = Common {
            rate: FrameRate::per_second(10),
            reference_bits: 100_000.0,
            short_interval: Duration::from_secs(2),
            long_interval: Duration::from_secs(10),
        };
        let all = Series::all();
        let names: Vec<_> = all.iter().map(|series| series.name.as_str()).collect();
        assert!(["jpeg", "h264-library", "h264-budget"].iter().all(|name| names.contains(name)), "{names:?}");
        for series in &all {
            for setting in series.settings(&common) {
                let config = series.config(setting, &common);
                let is_library = series.rate_control == Some(RateControl::Library);
                assert_eq!(config.keyframe_interval.as_secs(), if is_library { 2 } else { 10 });
                assert!(lumenbus_codec::encoder(&config).is_ok(), "{} {setting}", series.name);
            }
        }
    }
}
