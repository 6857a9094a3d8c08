//! What comes through a pipe, as users name it.

use crate::SourceError;
use bytes::Bytes;
use lumenbus_frame::bitstream::NalCodec;
use lumenbus_frame::{Dimensions, PixelFormat};

/// Largest frame: 16K × 16K in 4:2:0.
pub(crate) const MAX_FRAME_BYTES: usize = 400 * 1024 * 1024;

/// How the bytes of a stream are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamFormat {
    /// One frame of pixels after the other, without anything between them.
    Pixels(PixelLayout),
    /// A byte stream (annex B) of H.264 or H.265.
    ByteStream(NalCodec),
    /// JPEG files one after the other.
    Mjpeg,
    /// YUV4MPEG2.
    Y4m,
}

/// How the pixels of a frame lie in a stream, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelLayout {
    order: Order,
    dimensions: Dimensions,
}

/// Names are those of this project, and those of FFmpeg.
const PIXELS: [(&str, Order); 9] = [
    ("gray8", Order::As(PixelFormat::Gray8)),
    ("gray", Order::As(PixelFormat::Gray8)),
    ("gray16le", Order::As(PixelFormat::Gray16Le)),
    ("rgb8", Order::As(PixelFormat::Rgb8)),
    ("rgb24", Order::As(PixelFormat::Rgb8)),
    ("i420", Order::As(PixelFormat::I420)),
    ("yuv420p", Order::As(PixelFormat::I420)),
    ("bgr24", Order::Bgr),
    ("yuyv422", Order::Yuyv),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    As(PixelFormat),
    /// 8-bit B, G, R interleaved.
    Bgr,
    /// 8-bit Y, U, Y, V for each two pixels of a line.
    Yuyv,
}

impl StreamFormat {
    /// By name; pixels need their size, and nothing else may have one.
    ///
    /// # Errors
    /// [`SourceError::Specification`] with what is wrong.
    pub fn named(name: &str, size: Option<Dimensions>) -> Result<Self, SourceError> {
        let refuse = |why| SourceError::Format { format: name.chars().take(32).collect(), why };
        let coded = match name {
            "h264" => Some(Self::ByteStream(NalCodec::H264)),
            "h265" | "hevc" => Some(Self::ByteStream(NalCodec::H265)),
            "mjpeg" => Some(Self::Mjpeg),
            "y4m" => Some(Self::Y4m),
            _ => None,
        };
        if let Some(coded) = coded {
            return if size.is_none() {
                Ok(coded)
            } else {
                Err(refuse("it says its size by itself; leave --size out"))
            };
        }
        let Some(&(_, order)) = PIXELS.iter().find(|row| row.0 == name) else {
            return Err(refuse(
                "it is not known; there are h264, h265, mjpeg, y4m, and of pixels gray8, gray16le, rgb8, \
                               i420, bgr24 and yuyv422",
            ));
        };
        let dimensions = size.ok_or_else(|| refuse("pixels do not say how many they are; add --size WIDTHxHEIGHT"))?;
        if order == Order::Yuyv && dimensions.width % 2 != 0 {
            return Err(refuse("its pixels come in pairs; the width must be even"));
        }
        let layout = PixelLayout { order, dimensions };
        let is_right =
            layout.format().frame_bytes(dimensions).is_some_and(|bytes| (1..=MAX_FRAME_BYTES).contains(&bytes));
        let is_right = is_right && layout.stream_bytes().is_some();
        if is_right {
            Ok(Self::Pixels(layout))
        } else {
            Err(refuse("a frame of this size has no pixels, or more than 400 MiB"))
        }
    }
}

impl PixelLayout {
    /// What frames of it become.
    #[must_use]
    pub fn format(self) -> PixelFormat {
        match self.order {
            Order::As(format) => format,
            Order::Bgr => PixelFormat::Rgb8,
            Order::Yuyv => PixelFormat::I420,
        }
    }

    /// Width and height.
    #[must_use]
    pub fn dimensions(self) -> Dimensions {
        self.dimensions
    }

    /// Bytes of a frame in the stream.
    pub(crate) fn stream_bytes(self) -> Option<usize> {
        match self.order {
            Order::As(format) => format.frame_bytes(self.dimensions),
            Order::Bgr => PixelFormat::Rgb8.frame_bytes(self.dimensions),
            Order::Yuyv => PixelFormat::Gray16Le.frame_bytes(self.dimensions),
        }
    }

    /// A frame of the stream in its format.
    pub(crate) fn arrange(self, mut frame: Vec<u8>) -> Bytes {
        match self.order {
            Order::As(_) => {}
            Order::Bgr => frame.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2)),
            Order::Yuyv => frame = i420_of_yuyv(&frame, self.dimensions),
        }
        Bytes::from(frame)
    }
}

/// Chroma of two lines becomes that of one: their mean. An odd last line keeps its own.
fn i420_of_yuyv(frame: &[u8], size: Dimensions) -> Vec<u8> {
    let (width, height) = (size.width as usize, size.height as usize);
    let chroma = width / 2 * height.div_ceil(2);
    let mut planes = Vec::with_capacity(width * height + 2 * chroma);
    planes.extend(frame.iter().step_by(2));
    let lines = || frame.chunks(4 * width);
    for place in [1, 3] {
        for pair in lines() {
            let (first, second) = pair.split_at(2 * width);
            let second = if second.is_empty() { first } else { second };
            let at = |line: &[u8]| line.iter().skip(place).step_by(4).copied().map(u16::from).collect::<Vec<_>>();
            let means = at(first).into_iter().zip(at(second)).map(|(a, b)| (a + b).div_ceil(2));
            planes.extend(means.map(|mean| u8::try_from(mean).unwrap_or(u8::MAX)));
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ffmpeg_and_our_own_mean_the_same() {
        let size = Some(Dimensions::new(6, 4));
        for (one, other) in [("gray", "gray8"), ("rgb24", "rgb8"), ("yuv420p", "i420")] {
            assert_eq!(StreamFormat::named(one, size).unwrap(), StreamFormat::named(other, size).unwrap());
        }
        for (name, size, part) in [
            ("nv12", size, "not known"),
            ("rgb8", None, "--size"),
            ("h264", size, "leave --size out"),
            ("yuyv422", Some(Dimensions::new(3, 2)), "even"),
            ("rgb8", Some(Dimensions::new(0, 2)), "no pixels"),
            ("gray8", Some(Dimensions::new(u32::MAX, u32::MAX)), "400 MiB"),
        ] {
            let error = StreamFormat::named(name, size).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn pixels_are_arranged() {
        let of = |name, width, height| match StreamFormat::named(name, Some(Dimensions::new(width, height))).unwrap() {
            StreamFormat::Pixels(layout) => layout,
            other => panic!("{other:?}"),
        };
        assert_eq!(*of("bgr24", 2, 1).arrange(vec![1, 2, 3, 4, 5, 6]), [3, 2, 1, 6, 5, 4]);
        let yuyv = of("yuyv422", 2, 3);
        assert_eq!((yuyv.stream_bytes(), yuyv.format().frame_bytes(yuyv.dimensions())), (Some(12), Some(10)));
        let lines = vec![1, 10, 2, 20, 3, 11, 4, 30, 5, 50, 6, 60];
        assert_eq!(*yuyv.arrange(lines), [1, 2, 3, 4, 5, 6, 11, 50, 25, 60]);
    }
}
