//! x264 and AV1 encoding by FFmpeg, in real time: no lookahead, no B-pictures, each picture out before the next goes in.

use crate::coder::{Library, check_video_size, default_bitrate};
use crate::h264::codec_string as h264_codec_string;
use crate::{CodecError, Color, Direction, Encoder, EncoderConfig, Matrix, Range, convert, share};
use lumenbus_ffmpeg::Settings;
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame, StreamParameters};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What SVT-AV1 takes.
const MIN_SIDE_OF_SVT: u32 = 64;

/// Name in FFmpeg.
pub(super) fn name(library: Library) -> &'static str {
    match library {
        Library::OpenH264 => "libopenh264",
        Library::X264 => "libx264",
        Library::Aom => "libaom-av1",
        Library::SvtAv1 => "libsvtav1",
    }
}

/// Pixels a second up to which libaom's slower presets keep up on half of a small machine: 768×432 at 10/s, 768×576 at 30/s.
const MAX_PIXELS_OF_SLOWEST_AOM: f64 = 3.5e6;
const MAX_PIXELS_OF_SLOWER_AOM: f64 = 14e6;

/// Who chooses the quantiser, as the libraries know it.
#[derive(Debug, Clone, Copy)]
enum Rate {
    /// So many bits per second.
    Target(u32),
    /// A quality, and by x264 so many bits per second at most.
    Quality { quality: u8, most: u32 },
}

impl Rate {
    fn of(config: &EncoderConfig, size: Dimensions) -> Self {
        let most = default_bitrate(size, config.frame_rate);
        config.bits_per_second.map_or(Self::Quality { quality: config.quality, most }, Self::Target)
    }

    fn bits_per_second(self) -> u32 {
        match self {
            Self::Target(bits) | Self::Quality { most: bits, .. } => bits,
        }
    }

    /// What FFmpeg is told. libaom with a rate spends it on its first keyframe, whatever the quality, so it gets none.
    fn told(self, library: Library) -> u32 {
        match self {
            Self::Quality { .. } if library == Library::Aom => 0,
            _ => self.bits_per_second(),
        }
    }
}

/// What makes the library work in real time; docs/design/codecs.md says what was measured.
fn options(library: Library, rate: Rate, pixels_per_second: f64) -> String {
    let bits = u64::from(rate.bits_per_second());
    match library {
        Library::OpenH264 => String::new(),
        Library::X264 => {
            // Quality 85 is a rate factor of 19, 50 one of 31.
            let (factor, most) = match rate {
                // Room for a keyframe: a second at twice the rate.
                Rate::Target(_) => (String::new(), bits * 2),
                Rate::Quality { quality, .. } => (format!("crf={:.1}:", 48.0 - 0.34 * f64::from(quality)), bits),
            };
            format!("{factor}preset=veryfast:tune=zerolatency:forced-idr=1:maxrate={most}:bufsize={most}")
        }
        Library::Aom => aom_options(rate, pixels_per_second),
        Library::SvtAv1 => "preset=10:svtav1-params=pred-struct=1".to_owned(),
    }
}

fn aom_options(rate: Rate, pixels_per_second: f64) -> String {
    let speed = match pixels_per_second {
        pixels if pixels <= MAX_PIXELS_OF_SLOWEST_AOM => 5,
        pixels if pixels <= MAX_PIXELS_OF_SLOWER_AOM => 6,
        _ => 7,
    };
    // Cyclic refresh is what brings a rate into shape, and in the way of constant quality.
    let (quality, refresh) = match rate {
        Rate::Target(_) => (String::new(), 3),
        Rate::Quality { quality, .. } => {
            let quantiser = 63 - u32::from(quality) * 45 / 100;
            // Without a limit a keyframe takes three times the bytes, whatever the quality; tighter ones cost still scenes theirs.
            (format!("crf={quantiser}:qmin={}:", quantiser / 2), 0)
        }
    };
    // Bits go where the eye and SSIM miss them; the fastest preset hardly decides by cost.
    let tuning = if speed < 7 { ":tune=ssim:aom-params=enable-qm=1" } else { "" };
    format!("{quality}usage=realtime:cpu-used={speed}:lag-in-frames=0:row-mt=1:aq-mode={refresh}{tuning}")
}

pub(super) struct SystemEncoder {
    library: Library,
    config: EncoderConfig,
    color: Option<Color>,
    session: Option<Session>,
    is_keyframe_asked: bool,
    parameters: Option<Arc<StreamParameters>>,
}

/// The library, set up for one size and colour.
struct Session {
    coder: lumenbus_ffmpeg::Encoder,
    size: Dimensions,
    color: Color,
    next: i64,
}

impl SystemEncoder {
    pub(super) fn new(library: Library, config: &EncoderConfig) -> Result<Self, CodecError> {
        config.check_video()?;
        if !super::has(library) {
            let (codec, direction) = (library.codec(), Direction::Encode);
            return Err(CodecError::NotBuilt { codec, direction, reason: library.missing() });
        }
        let config = config.clone();
        Ok(Self { library, config, color: None, session: None, is_keyframe_asked: false, parameters: None })
    }

    fn codec(&self) -> Codec {
        self.library.codec()
    }

    fn failed(&self, source: lumenbus_ffmpeg::Error) -> CodecError {
        CodecError::Ffmpeg { codec: self.codec(), direction: Direction::Encode, source }
    }

    fn check(&self, dimensions: Dimensions) -> Result<(), CodecError> {
        let codec = self.codec();
        check_video_size(codec, dimensions)?;
        let shorter = dimensions.width.min(dimensions.height);
        if self.library == Library::SvtAv1 && shorter < MIN_SIDE_OF_SVT {
            let reason = "for SVT-AV1 its sides must be at least 64 pixels";
            return Err(CodecError::Size { codec, dimensions, reason });
        }
        Ok(())
    }

    fn open(&self, size: Dimensions, color: Color) -> Result<Session, CodecError> {
        let rate = self.config.frame_rate;
        let wanted = Rate::of(&self.config, size);
        let pixels_per_second = f64::from(size.width) * f64::from(size.height) * rate.as_f64();
        let threads = self.config.threads.map_or_else(share::usual_threads, NonZeroUsize::get);
        let settings = Settings {
            library: name(self.library),
            options: &options(self.library, wanted, pixels_per_second),
            size: (size.width, size.height),
            rate: (rate.frames, rate.seconds),
            bits_per_second: wanted.told(self.library),
            gop: self.config.pictures_per_keyframe(),
            threads: u32::try_from(threads).unwrap_or(1),
            is_full_range: color.range == Range::Full,
            is_bt709: color.matrix == Matrix::Bt709,
        };
        let coder = lumenbus_ffmpeg::Encoder::open(&settings).map_err(|source| self.failed(source))?;
        Ok(Session { coder, size, color, next: 0 })
    }

    /// The coded picture and whether it is a keyframe.
    fn coded(&mut self, i420: &RawFrame, color: Color) -> Result<(Vec<u8>, bool), CodecError> {
        let fits = |session: &Session| session.size == i420.dimensions() && session.color == color;
        if !self.session.as_ref().is_some_and(fits) {
            self.session = Some(self.open(i420.dimensions(), color)?);
            self.parameters = None;
        }
        let library = self.library;
        let is_keyframe = std::mem::take(&mut self.is_keyframe_asked);
        let session = self.session.as_mut().expect("opened above");
        let number = session.next;
        session.next += 1;
        let coded = session.coder.encode(i420.pixels(), number, is_keyframe);
        let packet = coded.and_then(|()| session.coder.next_packet()).map_err(|source| self.failed(source))?;
        match packet.filter(|packet| packet.ticket == number) {
            Some(packet) => Ok((packet.bytes, packet.is_keyframe)),
            // What comes later would need an end that a live stream does not have.
            None => Err(CodecError::HeldBack { codec: library.codec(), library: name(library) }),
        }
    }

    fn parameters_from(&mut self, payload: &[u8], size: Dimensions) -> Arc<StreamParameters> {
        let known = self.parameters.take().unwrap_or_else(|| {
            let mut parameters = self.config.parameters(size);
            parameters.codec_string = match parameters.codec {
                Codec::H264 => h264_codec_string(payload),
                _ => crate::av1_codec_string(payload),
            };
            Arc::new(parameters)
        });
        Arc::clone(self.parameters.insert(known))
    }
}

impl Encoder for SystemEncoder {
    fn codec(&self) -> Codec {
        self.library.codec()
    }

    fn encode(&mut self, picture: &RawFrame, out: &mut Vec<EncodedFrame>) -> Result<(), CodecError> {
        let size = picture.dimensions();
        self.check(size)?;
        let color = self.color.unwrap_or(Color::assumed(size));
        let i420 = convert(picture, PixelFormat::I420, color)?;
        let (payload, is_keyframe) = self.coded(&i420, color).inspect_err(|_| self.session = None)?;
        let mut frame = EncodedFrame::new(self.library.codec(), picture.capture, payload.into());
        frame.pts = picture.pts;
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
        self.is_keyframe_asked = true;
    }

    fn parameters(&self) -> Option<&Arc<StreamParameters>> {
        self.parameters.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libaom_is_as_slow_as_a_small_machine_can_be() {
        let quality = |quality| Rate::Quality { quality, most: 1_000_000 };
        let of = |rate, pixels| options(Library::Aom, rate, pixels);
        let small = of(quality(85), 768.0 * 432.0 * 10.0);
        assert!(
            ["cpu-used=5:", "crf=25:qmin=12:", "aq-mode=0:tune=ssim"].iter().all(|part| small.contains(part)),
            "{small}"
        );
        let medium = of(Rate::Target(500_000), 768.0 * 576.0 * 30.0);
        assert!(medium.contains("cpu-used=6:") && medium.contains("aq-mode=3:tune=ssim"), "{medium}");
        assert!(!medium.contains("crf") && !medium.contains("qmin"), "{medium}");
        let large = of(quality(1), 1920.0 * 1080.0 * 30.0);
        assert!(large.contains("cpu-used=7:") && !large.contains("tune"), "{large}");
    }
}
