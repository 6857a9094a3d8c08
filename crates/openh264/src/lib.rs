//! The options of openh264's encoder that its binding offers by raw pointer only: CABAC, slices, temporal layers, and
//! a quantiser for the next picture.
//!
//! With `lumenbus-ffmpeg` the only crate of this project with `unsafe`: three calls in `raw.rs`, each with its argument. Everything
//! else, the encoder itself included, stays with the binding's safe interface.
//!
//! ```
//! use lumenbus_openh264::{Options, Tuned};
//! use openh264::encoder::{Encoder, EncoderConfig, RateControlMode};
//! use openh264::{OpenH264API, formats::YUVBuffer};
//!
//! let config = EncoderConfig::new().rate_control_mode(RateControlMode::Off);
//! let encoder = Encoder::with_api_config(OpenH264API::from_source(), config)?;
//! let picture = YUVBuffer::from_vec(vec![90; 64 * 48 * 3 / 2], 64, 48);
//! // Opening codes the picture once, because the library takes options only then.
//! let mut tuned = Tuned::open(encoder, &picture, Options::default())?;
//! tuned.set_qp(31)?;
//! assert!(!tuned.encoder().encode(&picture)?.to_vec().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod raw;

use openh264::encoder::Encoder;
use openh264::formats::YUVSource;
use openh264_sys2::{PRO_BASELINE, PRO_MAIN, SEncParamExt, SM_FIXEDSLCNUM_SLICE, SM_SINGLE_SLICE};

/// What an option could not be set for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library refused an option.
    #[error("openh264 refused to {what} (code {code}); the setting does not fit the size or the other settings")]
    Refused {
        /// What it should have done.
        what: &'static str,
        /// Its own number, `CM_RETURN` in `codec_api.h`.
        code: i32,
    },
    /// The library failed to code.
    #[error("openh264 could not code a picture")]
    Coding(#[from] openh264::Error),
}

/// How coefficients become bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Entropy {
    /// Constrained baseline, for decoders that know nothing else.
    Cavlc,
    /// Main profile: some 5 to 13 % fewer bits.
    #[default]
    Cabac,
}

/// Options beyond the binding's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How coefficients become bits.
    pub entropy: Entropy,
    /// Slices of a picture, each on a thread of its own; 1 to 4.
    pub slices: u8,
    /// 1, or 2: every other picture is then referred to by no other.
    pub temporal_layers: u8,
    /// Quantiser of the next picture, 10 to 51; only without the library's own rate control.
    pub qp: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self { entropy: Entropy::default(), slices: 1, temporal_layers: 1, qp: 26 }
    }
}

/// An encoder with [`Options`], for pictures of one size.
pub struct Tuned {
    encoder: Encoder,
    parameters: Box<SEncParamExt>,
    opening_bytes: usize,
}

/// Stops the library's own words on standard error, which it begins with before its level can be set otherwise.
pub fn silence(encoder: &mut Encoder) -> Result<(), Error> {
    raw::set_trace_level(encoder, 0)
}

impl Tuned {
    /// Opens the library with `first`, a picture of the size to come, and sets the options.
    ///
    /// The next picture is a keyframe.
    pub fn open(mut encoder: Encoder, first: &impl YUVSource, options: Options) -> Result<Self, Error> {
        silence(&mut encoder)?;
        let opening_bytes = encoder.encode(first)?.to_vec().len();
        let mut parameters = Box::new(raw::parameters(&mut encoder)?);
        let layer = &mut parameters.sSpatialLayers[0];
        // The library has rounded them up to whole macroblocks and would take them for a new size.
        let (width, height) = first.dimensions_i32();
        (layer.iVideoWidth, layer.iVideoHeight) = (width, height);
        let is_cabac = options.entropy == Entropy::Cabac;
        layer.uiProfileIdc = if is_cabac { PRO_MAIN } else { PRO_BASELINE };
        layer.iDLayerQp = i32::from(options.qp);
        let slices = options.slices.clamp(1, 4);
        layer.sSliceArgument.uiSliceMode = if slices > 1 { SM_FIXEDSLCNUM_SLICE } else { SM_SINGLE_SLICE };
        layer.sSliceArgument.uiSliceNum = u32::from(slices);
        parameters.iMultipleThreadIdc = u16::from(slices);
        parameters.bUseLoadBalancing = false;
        parameters.iEntropyCodingModeFlag = i32::from(is_cabac);
        parameters.iTemporalLayerNum = i32::from(options.temporal_layers.clamp(1, 2));
        raw::set_parameters(&mut encoder, &mut parameters)?;
        encoder.force_intra_frame();
        Ok(Self { encoder, parameters, opening_bytes })
    }

    /// Size of the picture given to [`open`](Self::open), coded as a keyframe with the binding's configuration alone.
    #[must_use]
    pub fn opening_bytes(&self) -> usize {
        self.opening_bytes
    }

    /// Sets the quantiser of the next picture.
    pub fn set_qp(&mut self, qp: u8) -> Result<(), Error> {
        let qp = i32::from(qp);
        let layer = &mut self.parameters.sSpatialLayers[0];
        if layer.iDLayerQp == qp {
            return Ok(());
        }
        layer.iDLayerQp = qp;
        raw::set_parameters(&mut self.encoder, &mut self.parameters)
    }

    /// For coding and keyframes.
    pub fn encoder(&mut self) -> &mut Encoder {
        &mut self.encoder
    }
}
