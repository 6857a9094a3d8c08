//! What the bytes are: codecs, pixel formats, sizes and rates.

use std::fmt;
use std::str::FromStr;

/// A name that is not in the list it should be in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}; known: {known}")]
pub struct UnknownName {
    /// What was being named.
    pub what: &'static str,
    /// The name as given, at most 64 characters of it.
    pub name: String,
    /// The names that exist.
    pub known: String,
}

/// How a payload is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// JPEG (ITU-T T.81): one JFIF file per frame.
    Jpeg,
    /// PNG (ISO/IEC 15948).
    Png,
    /// WebP (RFC 9649).
    Webp,
    /// JPEG 2000 (ITU-T T.800), JP2 or codestream.
    Jpeg2000,
    /// H.264 (ITU-T H.264), one Annex B access unit per frame.
    H264,
    /// H.265 (ITU-T H.265), one Annex B access unit per frame.
    H265,
    /// AV1, one temporal unit of OBUs per frame.
    Av1,
    /// Uncompressed pixels, tightly packed; the pixel format is in the stream parameters.
    Raw,
}

impl Codec {
    /// Every codec with its stable name and content type.
    const TABLE: [(Self, &'static str, &'static str); 8] = [
        (Self::Jpeg, "jpeg", "image/jpeg"),
        (Self::Png, "png", "image/png"),
        (Self::Webp, "webp", "image/webp"),
        (Self::Jpeg2000, "jpeg2000", "image/jp2"),
        (Self::H264, "h264", "video/h264"),
        (Self::H265, "h265", "video/h265"),
        (Self::Av1, "av1", "video/av1"),
        (Self::Raw, "raw", "video/raw"),
    ];

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        Self::TABLE.iter().find(|row| row.0 == self).expect("every codec has a row")
    }

    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The content type of an ordinary record.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        self.row().2
    }

    /// The codec of an ordinary record's content type.
    #[must_use]
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.2 == content_type).map(|row| row.0)
    }

    /// Whether every frame stands alone.
    #[must_use]
    pub fn is_intra_only(self) -> bool {
        !matches!(self, Self::H264 | Self::H265 | Self::Av1)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Codec {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::TABLE.iter().find(|row| row.1 == name).map(|row| row.0).ok_or_else(|| UnknownName {
            what: "codec",
            name: name.chars().take(64).collect(),
            known: Self::TABLE.map(|row| row.1).join(", "),
        })
    }
}

/// How uncompressed pixels lie in memory, planes tightly packed one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// 8-bit luma.
    Gray8,
    /// 16-bit luma, little endian.
    Gray16Le,
    /// 8-bit R, G, B interleaved.
    Rgb8,
    /// 8-bit planar Y, U, V with 4:2:0 chroma; chroma planes are ⌈w/2⌉ × ⌈h/2⌉.
    I420,
}

impl PixelFormat {
    const TABLE: [(Self, &'static str); 4] =
        [(Self::Gray8, "gray8"), (Self::Gray16Le, "gray16le"), (Self::Rgb8, "rgb8"), (Self::I420, "i420")];

    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.0 == self).expect("every format has a row").1
    }

    /// Bytes of one frame; `None` when it would not fit memory arithmetic.
    #[must_use]
    pub fn frame_bytes(self, size: Dimensions) -> Option<usize> {
        let luma = (size.width as usize).checked_mul(size.height as usize)?;
        match self {
            Self::Gray8 => Some(luma),
            Self::Gray16Le => luma.checked_mul(2),
            Self::Rgb8 => luma.checked_mul(3),
            Self::I420 => {
                let chroma = (size.width.div_ceil(2) as usize).checked_mul(size.height.div_ceil(2) as usize)?;
                luma.checked_add(chroma.checked_mul(2)?)
            }
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PixelFormat {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::TABLE.iter().find(|row| row.1 == name).map(|row| row.0).ok_or_else(|| UnknownName {
            what: "pixel format",
            name: name.chars().take(64).collect(),
            known: Self::TABLE.map(|row| row.1).join(", "),
        })
    }
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimensions {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Dimensions {
    /// Width × height.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

impl fmt::Display for Dimensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Seconds per pts tick, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timebase {
    /// Numerator in seconds.
    pub numerator: u32,
    /// Denominator; never 0.
    pub denominator: u32,
}

impl Timebase {
    /// MPEG's 90 kHz clock.
    pub const MPEG: Self = Self { numerator: 1, denominator: 90_000 };

    /// Ticks → nanoseconds, saturating.
    #[must_use]
    pub fn nanos(self, ticks: i64) -> i64 {
        let nanos =
            i128::from(ticks) * i128::from(self.numerator) * 1_000_000_000 / i128::from(self.denominator.max(1));
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Frames per second, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    /// Frames …
    pub frames: u32,
    /// … in this many seconds; never 0.
    pub seconds: u32,
}

impl FrameRate {
    /// A whole number of frames each second.
    #[must_use]
    pub fn per_second(frames: u32) -> Self {
        Self { frames, seconds: 1 }
    }

    /// As a number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds.max(1))
    }

    /// Time between two frames.
    #[must_use]
    pub fn interval(self) -> std::time::Duration {
        let nanos = u64::from(self.seconds.max(1)) * 1_000_000_000 / u64::from(self.frames.max(1));
        std::time::Duration::from_nanos(nanos)
    }
}

/// What a decoder must know before the first frame; travels on keyframes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamParameters {
    /// The codec.
    pub codec: Codec,
    /// Size of the shown picture.
    pub dimensions: Dimensions,
    /// Layout of uncompressed pixels; `None` for coded ones.
    pub pixel_format: Option<PixelFormat>,
    /// Unit of pts.
    pub timebase: Timebase,
    /// Nominal rate, when known.
    pub frame_rate: Option<FrameRate>,
    /// RFC 6381 codec string such as `avc1.640028`, when known.
    pub codec_string: Option<String>,
}

impl StreamParameters {
    /// Parameters with the 90 kHz timebase and nothing else known.
    #[must_use]
    pub fn new(codec: Codec, dimensions: Dimensions) -> Self {
        Self { codec, dimensions, pixel_format: None, timebase: Timebase::MPEG, frame_rate: None, codec_string: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_content_types_round_trip() {
        for (codec, name, content_type) in Codec::TABLE {
            assert_eq!(name.parse(), Ok(codec));
            assert_eq!(Codec::from_content_type(content_type), Some(codec));
        }
        for (format, name) in PixelFormat::TABLE {
            assert_eq!(name.parse(), Ok(format));
        }
        assert!("h.264".parse::<Codec>().unwrap_err().to_string().contains("h264"));
    }

    #[test]
    fn odd_sizes_round_chroma_up() {
        assert_eq!(PixelFormat::I420.frame_bytes(Dimensions::new(3, 5)), Some(15 + 2 * 2 * 3));
        assert_eq!(PixelFormat::Rgb8.frame_bytes(Dimensions::new(2, 2)), Some(12));
        assert!(PixelFormat::Rgb8.frame_bytes(Dimensions::new(u32::MAX, u32::MAX)).is_none_or(|n| n > 1 << 40));
    }

    #[test]
    fn ticks_become_nanoseconds_without_overflow() {
        assert_eq!(Timebase::MPEG.nanos(90_000), 1_000_000_000);
        assert_eq!(Timebase { numerator: u32::MAX, denominator: 1 }.nanos(i64::MIN), i64::MIN);
    }
}
