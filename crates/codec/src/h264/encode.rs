//! H.264 encoding: constrained baseline, one Annex B access unit per picture, closed GOPs.
//!
//! openh264's own defaults are made for video calls (120 kbit/s, frames skipped at will, no periodic
//! keyframe); every one that matters is set here. It skips a picture when its rate is ahead of the target, and is then
//! given the same picture again, until it takes it: no frame is missing. Without leave to skip it would say on standard
//! error, before it can be told to be quiet, that it cannot keep the rate; and it would keep it no better.

use super::syntax::{Sps, nal_units};
use crate::coder::default_bitrate;
use crate::{CodecError, Color, Direction, Encoder, EncoderConfig, Matrix, Range, convert};
use bytes::Bytes;
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame, StreamParameters};
use openh264::encoder::{
    BitRate, Complexity, EncoderConfig as LibraryConfig, FrameRate as LibraryRate, IntraFramePeriod, QpRange,
    RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// The library's limits.
const MIN_SIDE: u32 = 16;
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
    coder: openh264::encoder::Encoder,
    size: Dimensions,
    color: Color,
    skipping: Skipping,
    pictures: u32,
}

impl H264Encoder {
    pub(super) fn new(config: &EncoderConfig) -> Result<Self, CodecError> {
        let rate = config.frame_rate;
        if rate.frames == 0 || rate.as_f64() > 1000.0 {
            let value = u64::from(rate.frames);
            return Err(CodecError::Setting { setting: "frame rate", value, range: "above 0 and at most 1000/s" });
        }
        if let Some(bits) = config.bits_per_second.filter(|bits| !(10_000..=800_000_000).contains(bits)) {
            let (value, range) = (u64::from(bits), "10 kbit/s to 800 Mbit/s");
            return Err(CodecError::Setting { setting: "H.264 bit rate", value, range });
        }
        Ok(Self { config: config.clone(), color: None, session: None, parameters: None })
    }

    fn session(&mut self, size: Dimensions, color: Color) -> Result<&mut Session, CodecError> {
        let fits = |session: &Session| session.size == size && session.color == color;
        if !self.session.as_ref().is_some_and(fits) {
            self.session = Some(Session::open(&self.config, size, color, Skipping::On)?);
            self.parameters = None;
        }
        Ok(self.session.as_mut().expect("opened above"))
    }

    /// The access unit of an I420 picture.
    fn unit(&mut self, i420: &RawFrame, color: Color) -> Result<Bytes, CodecError> {
        let interval = self.config.frame_rate.interval();
        if let Some(unit) = self.session(i420.dimensions(), color)?.encode(i420, interval)? {
            return Ok(unit);
        }
        let mut session = Session::open(&self.config, i420.dimensions(), color, Skipping::Off)?;
        let unit = session.encode(i420, interval)?;
        self.session = Some(session);
        unit.ok_or(CodecError::NoOutput { codec: Codec::H264 })
    }

    fn parameters_from(&mut self, unit: &[u8], size: Dimensions) -> Arc<StreamParameters> {
        let read = || {
            let mut parameters = self.config.parameters(size);
            let sps = nal_units(unit).find(|nal| nal[0] & 0x1F == 7).and_then(|nal| Sps::parse(nal).ok());
            parameters.codec_string = sps.map(|sps| sps.codec_string());
            Arc::new(parameters)
        };
        let parameters = self.parameters.take().unwrap_or_else(read);
        Arc::clone(self.parameters.insert(parameters))
    }
}

impl Session {
    fn open(config: &EncoderConfig, size: Dimensions, color: Color, skipping: Skipping) -> Result<Self, CodecError> {
        let settings = library_config(config, size, color).skip_frames(skipping == Skipping::On);
        let coder = openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), settings)
            .map_err(|source| CodecError::H264 { direction: Direction::Encode, source })?;
        Ok(Self { coder, size, color, skipping, pictures: 0 })
    }

    /// `None` when the library leaves the picture out again and again.
    fn encode(&mut self, picture: &RawFrame, interval: Duration) -> Result<Option<Bytes>, CodecError> {
        let elapsed = interval.saturating_mul(self.pictures);
        let at = Timestamp::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(0));
        self.pictures = self.pictures.saturating_add(1);
        let offers = if self.skipping == Skipping::On { MAX_OFFERS } else { 1 };
        for _ in 0..offers {
            let coded = self
                .coder
                .encode_at(&I420Source(picture), at)
                .map_err(|source| CodecError::H264 { direction: Direction::Encode, source })?;
            let unit = coded.to_vec();
            if !unit.is_empty() {
                return Ok(Some(unit.into()));
            }
        }
        Ok(None)
    }
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
        if nal_units(&frame.payload).any(|nal| nal[0] & 0x1F == 5) {
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
        // Before the first picture there is nothing to force: it will be a keyframe anyway.
        if let Some(session) = self.session.as_mut().filter(|session| session.pictures > 0) {
            session.coder.force_intra_frame();
        }
    }

    fn parameters(&self) -> Option<&Arc<StreamParameters>> {
        self.parameters.as_ref()
    }
}

fn check_size(dimensions: Dimensions) -> Result<(), CodecError> {
    let Dimensions { width, height } = dimensions;
    let (long, short) = (width.max(height), width.min(height));
    let refuse = |reason| Err(CodecError::Size { codec: Codec::H264, dimensions, reason });
    if short < MIN_SIDE {
        return refuse("its sides must be at least 16 pixels");
    }
    if long > MAX_LONG_SIDE || short > MAX_SHORT_SIDE {
        return refuse("it must fit 3840x2160, upright or on its side");
    }
    if width % 2 == 1 || height % 2 == 1 {
        return refuse("with 4:2:0 chroma its sides must be even");
    }
    Ok(())
}

fn library_config(config: &EncoderConfig, size: Dimensions, color: Color) -> LibraryConfig {
    let bits = config.bits_per_second.unwrap_or_else(|| default_bitrate(size, config.frame_rate));
    let rate = config.frame_rate.as_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a frame count, clamped")]
    let keyframe_every = (config.keyframe_interval.as_secs_f64() * rate).round().clamp(1.0, 1e6) as u32;
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
        .intra_frame_period(IntraFramePeriod::from_num_frames(keyframe_every))
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .qp(QpRange::new(10, 51))
        .scene_change_detect(false)
        .sps_pps_strategy(SpsPpsStrategy::ConstantId)
        .num_threads(1)
        .vui(vui.full_range(color.range == Range::Full))
}

/// An I420 picture of even size, as the library reads it.
struct I420Source<'a>(&'a RawFrame);

impl I420Source<'_> {
    fn luma_bytes(&self) -> usize {
        let (width, height) = self.dimensions();
        width * height
    }
}

impl YUVSource for I420Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        let size = self.0.dimensions();
        (size.width as usize, size.height as usize)
    }

    fn strides(&self) -> (usize, usize, usize) {
        let (width, _) = self.dimensions();
        (width, width / 2, width / 2)
    }

    fn y(&self) -> &[u8] {
        &self.0.pixels()[..self.luma_bytes()]
    }

    fn u(&self) -> &[u8] {
        let luma = self.luma_bytes();
        &self.0.pixels()[luma..luma + luma / 4]
    }

    fn v(&self) -> &[u8] {
        let luma = self.luma_bytes();
        &self.0.pixels()[luma + luma / 4..]
    }
}
