//! H.264 encoding: one Annex B access unit per picture, closed GOPs, no B-frames; constrained baseline with the library's
//! rate control, main profile with ours ([`super::budget`]).
//!
//! openh264's own defaults are made for video calls (120 kbit/s, frames skipped at will, no periodic
//! keyframe); every one that matters is set here. It skips a picture when its rate is ahead of the target, and is then
//! given the same picture again, until it takes it: no frame is missing. Without leave to skip it would say on standard
//! error, before it can be told to be quiet, that it cannot keep the rate; and it would keep it no better.

use super::budget::BudgetSession;
use super::options::RateControl;
use super::rate::Budget;
use super::source::I420Source;
use super::{codec_string, syntax::nal_units};
use crate::coder::{check_video_size, default_bitrate};
use crate::{CodecError, Color, Direction, Encoder, EncoderConfig, Matrix, Range, convert};
use bytes::Bytes;
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame, StreamParameters};
use openh264::encoder::{
    BitRate, Complexity, EncoderConfig as LibraryConfig, FrameRate as LibraryRate, IntraFramePeriod, QpRange,
    RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::{OpenH264API, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// The library's limits.
const MAX_LONG_SIDE: u32 = 3840;
const MAX_SHORT_SIDE: u32 = 2160;

pub(super) struct H264Encoder {
    config: EncoderConfig,
    color: Option<Color>,
    session: Option<Session>,
    parameters: Option<Arc<StreamParameters>>,
}

/// How often one picture is offered. Real footage takes one or two; a rate that is absurd for the size takes more,
/// each of them about a millisecond, and is then no longer asked for ([`Skipping::Off`]).
const MAX_OFFERS: usize = 64;

/// Whether the library may leave a picture out when its rate is ahead of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipping {
    On,
    Off,
}

/// The library, set up for one size and colour.
struct Session {
    coder: Coder,
    size: Dimensions,
    color: Color,
    pictures: u32,
}

enum Coder {
    Library { coder: openh264::encoder::Encoder, skipping: Skipping },
    Budget(BudgetSession),
}

impl H264Encoder {
    pub(super) fn new(config: &EncoderConfig) -> Result<Self, CodecError> {
        config.check_video()?;
        Ok(Self { config: config.clone(), color: None, session: None, parameters: None })
    }

    /// The access unit of an I420 picture.
    fn unit(&mut self, i420: &RawFrame, color: Color) -> Result<Bytes, CodecError> {
        let interval = self.config.frame_rate.interval();
        let fits = |session: &Session| session.size == i420.dimensions() && session.color == color;
        if !self.session.as_ref().is_some_and(fits) {
            self.session = Some(Session::open(&self.config, i420, color, Skipping::On)?);
            self.parameters = None;
        }
        let session = self.session.as_mut().expect("opened above");
        if let Some(unit) = session.encode(i420, interval)? {
            return Ok(unit);
        }
        let mut session = Session::open(&self.config, i420, color, Skipping::Off)?;
        let unit = session.encode(i420, interval)?;
        self.session = Some(session);
        unit.ok_or(CodecError::NoOutput { codec: Codec::H264 })
    }

    fn parameters_from(&mut self, unit: &[u8], size: Dimensions) -> Arc<StreamParameters> {
        let read = || {
            let codec_string = codec_string(unit);
            Arc::new(StreamParameters { codec_string, ..self.config.parameters(size) })
        };
        let parameters = self.parameters.take().unwrap_or_else(read);
        Arc::clone(self.parameters.insert(parameters))
    }
}

impl Session {
    fn open(config: &EncoderConfig, first: &RawFrame, color: Color, skipping: Skipping) -> Result<Self, CodecError> {
        let size = first.dimensions();
        let settings = library_config(config, size, color);
        let coder = match config.h264.rate_control {
            RateControl::Library => {
                let settings = settings.skip_frames(skipping == Skipping::On);
                let coder = openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), settings);
                Coder::Library { coder: coder.map_err(failed)?, skipping }
            }
            RateControl::Budget => {
                let budget = budget(config, size);
                Coder::Budget(BudgetSession::open(settings, config.h264, budget, first)?)
            }
        };
        Ok(Self { coder, size, color, pictures: 0 })
    }

    /// `None` when the library leaves the picture out again and again.
    fn encode(&mut self, picture: &RawFrame, interval: Duration) -> Result<Option<Bytes>, CodecError> {
        let elapsed = interval.saturating_mul(self.pictures);
        let at = Timestamp::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(0));
        self.pictures = self.pictures.saturating_add(1);
        match &mut self.coder {
            Coder::Library { coder, skipping } => offer(coder, *skipping, picture, at),
            Coder::Budget(session) => session.encode(picture, at).map(Some),
        }
    }

    fn force_keyframe(&mut self) {
        match &mut self.coder {
            // Before the first picture there is nothing to force: it will be a keyframe anyway.
            Coder::Library { coder, .. } if self.pictures > 0 => coder.force_intra_frame(),
            Coder::Library { .. } => {}
            Coder::Budget(session) => session.force_keyframe(),
        }
    }
}

fn failed(source: openh264::Error) -> CodecError {
    CodecError::H264 { direction: Direction::Encode, source }
}

/// `None` when the library leaves the picture out again and again.
fn offer(
    coder: &mut openh264::encoder::Encoder,
    skipping: Skipping,
    picture: &RawFrame,
    at: Timestamp,
) -> Result<Option<Bytes>, CodecError> {
    let offers = if skipping == Skipping::On { MAX_OFFERS } else { 1 };
    for _ in 0..offers {
        let unit = coder.encode_at(&I420Source(picture), at).map_err(failed)?.to_vec();
        if !unit.is_empty() {
            return Ok(Some(unit.into()));
        }
    }
    Ok(None)
}

impl Encoder for H264Encoder {
    fn codec(&self) -> Codec {
        Codec::H264
    }

    fn encode(&mut self, picture: &RawFrame, out: &mut Vec<EncodedFrame>) -> Result<(), CodecError> {
        let size = picture.dimensions();
        check_size(size)?;
        let color = self.color.unwrap_or(Color::assumed(size));
        let i420 = convert(picture, PixelFormat::I420, color)?;
        let payload = self.unit(&i420, color).inspect_err(|_| self.session = None)?;
        let mut frame = EncodedFrame::new(Codec::H264, picture.capture, payload);
        frame.pts = picture.pts;
        let slices = || nal_units(&frame.payload).filter(|nal| matches!(nal[0] & 0x1F, 1 | 5));
        let is_keyframe = slices().any(|nal| nal[0] & 0x1F == 5);
        frame.is_discardable = slices().all(|nal| nal[0] & 0x60 == 0);
        if is_keyframe {
            frame.is_keyframe = true;
            frame.parameters = Some(self.parameters_from(&frame.payload, size));
        }
        out.push(frame);
        Ok(())
    }

    fn set_color(&mut self, color: Color) {
        self.color = Some(color);
    }

    fn force_keyframe(&mut self) {
        if let Some(session) = &mut self.session {
            session.force_keyframe();
        }
    }

    fn parameters(&self) -> Option<&Arc<StreamParameters>> {
        self.parameters.as_ref()
    }
}

fn check_size(dimensions: Dimensions) -> Result<(), CodecError> {
    check_video_size(Codec::H264, dimensions)?;
    let Dimensions { width, height } = dimensions;
    if width.max(height) > MAX_LONG_SIDE || width.min(height) > MAX_SHORT_SIDE {
        let reason = "it must fit 3840x2160, upright or on its side";
        return Err(CodecError::Size { codec: Codec::H264, dimensions, reason });
    }
    Ok(())
}

/// By the budget, footage that was never seen needs 0.82 of the library's rate at most for the same SSIM (a camera that is
/// carried), so the pictures are as good or better.
fn bits_per_second(config: &EncoderConfig, size: Dimensions) -> u32 {
    config.bits_per_second.unwrap_or_else(|| {
        let bits = default_bitrate(size, config.frame_rate);
        if config.h264.rate_control == RateControl::Budget { bits / 5 * 4 } else { bits }
    })
}

fn budget(config: &EncoderConfig, size: Dimensions) -> Budget {
    Budget {
        bits_per_second: f64::from(bits_per_second(config, size)),
        pictures_per_second: config.frame_rate.as_f64(),
        gop: config.pictures_per_keyframe(),
    }
}

fn library_config(config: &EncoderConfig, size: Dimensions, color: Color) -> LibraryConfig {
    let bits = bits_per_second(config, size);
    let rate = config.frame_rate.as_f64();
    #[expect(clippy::cast_possible_truncation, reason = "at most 1000")]
    let rate = rate as f32;
    let vui = match color.matrix {
        Matrix::Bt601 => VuiConfig::bt601(),
        Matrix::Bt709 => VuiConfig::bt709(),
    };
    LibraryConfig::new()
        .bitrate(BitRate::from_bps(bits))
        .rate_control_mode(RateControlMode::Bitrate)
        .max_frame_rate(LibraryRate::from_hz(rate))
        .intra_frame_period(IntraFramePeriod::from_num_frames(config.pictures_per_keyframe()))
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .qp(QpRange::new(10, 51))
        .scene_change_detect(false)
        .sps_pps_strategy(SpsPpsStrategy::ConstantId)
        .num_threads(1)
        .vui(vui.full_range(color.range == Range::Full))
}
