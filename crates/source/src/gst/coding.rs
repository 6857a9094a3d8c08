//! From caps and buffers to frames.

use crate::error::CameraFault;
use crate::nal_stream::{NalStream, Rates};
use crate::{SourceError, jpeg};
use bytes::Bytes;
use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoFrameExt as _, VideoFrameRef, VideoInfo};
use lumenbus_frame::bitstream::{BitstreamError, DecoderConfiguration, MAX_ACCESS_UNIT_BYTES, NalCodec, Normaliser};
use lumenbus_frame::{
    CaptureTime, Codec, Dimensions, EncodedFrame, FrameRate, PixelFormat, RawFrame, StreamParameters, Timebase,
};
use std::sync::Arc;

/// What is read, the best first: `appsink` asks for it.
pub(super) const CAPS: &str = "video/x-h264, stream-format=(string){ byte-stream, avc, avc3 }, alignment=(string)au; \
     video/x-h265, stream-format=(string){ byte-stream, hvc1, hev1 }, alignment=(string)au; image/jpeg; \
     video/x-raw, format=(string){ I420, RGB, GRAY8, GRAY16_LE }";
/// The same for people.
const TAKEN: &str = "video/x-raw with format I420, RGB, GRAY8 or GRAY16_LE (videoconvert ! video/x-raw,format=I420), \
     video/x-h264 or video/x-h265 with alignment=au (h264parse, h265parse), image/jpeg (jpegenc, jpegparse)";

/// Caps that are not read.
pub(super) fn refuse(given: impl std::fmt::Display) -> CameraFault {
    let given = given.to_string().replace("(string)", "").replace("(int)", "").replace("(fraction)", "");
    CameraFault::Caps { given: given.chars().take(300).collect(), taken: TAKEN }
}

/// How the buffers of some caps become frames.
pub(super) enum Coding {
    Nal { stream: NalStream, layout: Layout },
    Jpeg(Arc<StreamParameters>),
    Raw { info: VideoInfo, parameters: Arc<StreamParameters> },
}

/// How access units are delimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    codec: NalCodec,
    /// Absent for byte streams.
    record: Option<DecoderConfiguration>,
}

impl Layout {
    fn normaliser(&self) -> Result<Normaliser, BitstreamError> {
        self.record.as_ref().map_or_else(|| Ok(Normaliser::annex_b(self.codec)), Normaliser::length_prefixed)
    }
}

/// What a buffer holds.
pub(super) enum Content {
    Encoded(EncodedFrame),
    Raw(RawFrame),
    /// Parameter sets alone.
    Nothing,
}

/// Why a buffer is no frame.
pub(super) enum Defect {
    Bitstream(BitstreamError),
    Lost(&'static str),
}

impl Defect {
    /// For the message about many.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Bitstream(_) => "its coded data cannot be read",
            Self::Lost(what) => what,
        }
    }

    pub(super) fn error(self, name: &Arc<str>, unit: u64) -> SourceError {
        let name = Arc::clone(name);
        match self {
            Self::Bitstream(source) => SourceError::Bitstream { name, unit, source },
            Self::Lost(what) => SourceError::Lost { name, what },
        }
    }
}

impl Coding {
    /// `stated` goes before every other rate.
    pub(super) fn of(caps: &gst::CapsRef, stated: Option<FrameRate>) -> Result<Self, CameraFault> {
        let structure = caps.structure(0).ok_or_else(|| refuse("nothing"))?;
        // Frames in the memory of a graphics card, or as fields, would be read as something else.
        let is_plain = caps.features(0).is_none_or(|features| {
            features.is_equal(gst::CapsFeatures::new_empty().as_ref())
                || features.is_equal(gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.as_ref())
        });
        if !is_plain {
            return Err(refuse(caps));
        }
        let rate = rate(structure);
        match structure.name().as_str() {
            "video/x-h264" | "video/x-h265" => {
                let layout = layout(structure).ok_or_else(|| refuse(caps))?;
                let normaliser = layout.normaliser().map_err(|_| refuse(caps))?;
                let rates = Rates { stated, fallback: rate };
                Ok(Self::Nal { stream: NalStream::new(normaliser, Timebase::MPEG, rates), layout })
            }
            "image/jpeg" => {
                let mut parameters = StreamParameters::new(Codec::Jpeg, Dimensions::new(0, 0));
                parameters.frame_rate = stated.or(rate);
                Ok(Self::Jpeg(Arc::new(parameters)))
            }
            "video/x-raw" => {
                let info = VideoInfo::from_caps(caps).map_err(|_| refuse(caps))?;
                let format = pixel_format(info.format()).ok_or_else(|| refuse(caps))?;
                let size = Dimensions::new(info.width(), info.height());
                let mut parameters = StreamParameters::new(Codec::Raw, size);
                (parameters.pixel_format, parameters.frame_rate) = (Some(format), stated.or(rate));
                Ok(Self::Raw { info, parameters: Arc::new(parameters) })
            }
            _ => Err(refuse(caps)),
        }
    }

    /// Goes on with other caps; what is known of the stream stays where it still holds.
    pub(super) fn change(&mut self, next: Self) -> Result<(), CameraFault> {
        let (before, after) = (self.codec(), next.codec());
        if before != after {
            return Err(CameraFault::CodecChanged { before, after });
        }
        match (&mut *self, next) {
            (Self::Nal { layout, .. }, Self::Nal { layout: next, .. }) if *layout == next => {}
            (Self::Nal { stream, layout }, Self::Nal { layout: next @ Layout { record: Some(_), .. }, .. })
                if layout.record.is_some() =>
            {
                // The order of pictures goes on.
                let record = next.record.as_ref().expect("matched");
                stream.normaliser.apply(record).map_err(|_| refuse("a decoder configuration that cannot be read"))?;
                *layout = next;
            }
            (_, next) => *self = next,
        }
        Ok(())
    }

    pub(super) fn codec(&self) -> Codec {
        match self {
            Self::Nal { layout, .. } => layout.codec.into(),
            Self::Jpeg(_) => Codec::Jpeg,
            Self::Raw { .. } => Codec::Raw,
        }
    }

    /// As far as they are known.
    pub(super) fn parameters(&self) -> Option<&Arc<StreamParameters>> {
        match self {
            Self::Nal { stream, .. } => stream.parameters(),
            Self::Jpeg(parameters) | Self::Raw { parameters, .. } => Some(parameters),
        }
    }

    /// The buffer's bytes are copied: devices have few buffers, and want them back.
    pub(super) fn content(&mut self, buffer: &gst::BufferRef, capture: CaptureTime) -> Result<Content, Defect> {
        match self {
            Self::Nal { stream, .. } => match stream.frame(&bytes(buffer)?, capture) {
                Ok((frame, _)) => Ok(Content::Encoded(frame)),
                Err(BitstreamError::NoPicture { .. }) if buffer.flags().contains(gst::BufferFlags::HEADER) => {
                    Ok(Content::Nothing)
                }
                Err(error) => Err(Defect::Bitstream(error)),
            },
            Self::Jpeg(parameters) => {
                let picture = jpeg::complete(&bytes(buffer)?).map_err(|defect| Defect::Lost(defect.what))?;
                if parameters.dimensions != picture.dimensions {
                    Arc::make_mut(parameters).dimensions = picture.dimensions;
                }
                let frame = EncodedFrame::new(Codec::Jpeg, capture, picture.bytes);
                Ok(Content::Encoded(frame.with_parameters(Arc::clone(parameters))))
            }
            Self::Raw { info, parameters } => {
                let pixels = pixels(buffer, info).ok_or(Defect::Lost("its pixels do not fit its caps"))?;
                let format = parameters.pixel_format.ok_or(Defect::Lost("it has no pixel format"))?;
                let frame = RawFrame::new(format, parameters.dimensions, pixels, capture);
                frame.map(Content::Raw).map_err(|_| Defect::Lost("its pixels do not fit its caps"))
            }
        }
    }
}

fn bytes(buffer: &gst::BufferRef) -> Result<Bytes, Defect> {
    if buffer.size() > MAX_ACCESS_UNIT_BYTES {
        return Err(Defect::Lost("it is larger than any access unit or picture may be"));
    }
    let map = buffer.map_readable().map_err(|_| Defect::Lost("its memory cannot be read"))?;
    Ok(Bytes::copy_from_slice(&map))
}

fn rate(structure: &gst::StructureRef) -> Option<FrameRate> {
    let rate = structure.get::<gst::Fraction>("framerate").ok()?;
    let (frames, seconds) = (u32::try_from(rate.numer()).ok()?, u32::try_from(rate.denom()).ok()?);
    (frames > 0 && seconds > 0).then_some(FrameRate { frames, seconds })
}

/// Whole access units only; `None` for any other form.
fn layout(structure: &gst::StructureRef) -> Option<Layout> {
    if structure.get::<&str>("alignment").ok() != Some("au") {
        return None;
    }
    let codec = if structure.name() == "video/x-h264" { NalCodec::H264 } else { NalCodec::H265 };
    let record = match (codec, structure.get::<&str>("stream-format").ok()?) {
        (_, "byte-stream") => None,
        (NalCodec::H264, "avc" | "avc3") => {
            Some(DecoderConfiguration::from_avcc(&codec_data(structure)?.map_readable().ok()?).ok()?)
        }
        (NalCodec::H265, "hvc1" | "hev1") => {
            Some(DecoderConfiguration::from_hvcc(&codec_data(structure)?.map_readable().ok()?).ok()?)
        }
        _ => return None,
    };
    Some(Layout { codec, record })
}

fn codec_data(structure: &gst::StructureRef) -> Option<gst::Buffer> {
    structure.get::<gst::Buffer>("codec_data").ok()
}

fn pixel_format(format: VideoFormat) -> Option<PixelFormat> {
    match format {
        VideoFormat::I420 => Some(PixelFormat::I420),
        VideoFormat::Rgb => Some(PixelFormat::Rgb8),
        VideoFormat::Gray8 => Some(PixelFormat::Gray8),
        VideoFormat::Gray16Le => Some(PixelFormat::Gray16Le),
        _ => None,
    }
}

/// Tightly packed; GStreamer's rows have padding.
fn pixels(buffer: &gst::BufferRef, info: &VideoInfo) -> Option<Bytes> {
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info).ok()?;
    let mut out = Vec::with_capacity(info.size());
    let planes = if info.format() == VideoFormat::I420 { 3 } else { 1 };
    for plane in 0..planes {
        // Each plane of I420 is one component; in the others all of them lie together.
        let pixel_bytes = usize::try_from(info.comp_pstride(plane)).ok()?;
        let row_bytes = pixel_bytes.checked_mul(usize::try_from(info.comp_width(plane)).ok()?)?;
        let rows = usize::try_from(info.comp_height(plane)).ok()?;
        let stride =
            usize::try_from(*frame.plane_stride().get(usize::from(plane))?).ok().filter(|&stride| stride > 0)?;
        let data = frame.plane_data(u32::from(plane)).ok()?;
        for row in 0..rows {
            let start = row.checked_mul(stride)?;
            out.extend_from_slice(data.get(start..start.checked_add(row_bytes)?)?);
        }
    }
    Some(Bytes::from(out))
}
