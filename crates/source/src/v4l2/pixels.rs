//! From what lies in a device's buffer to pixels as they are known here.

use crate::v4l2::DeviceFormat;
use crate::{PixelLayout, StreamFormat};
use bytes::Bytes;
use lumenbus_frame::{Dimensions, PixelFormat};

/// How the pixels of a device lie: its lines may have more bytes than pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packing {
    format: DeviceFormat,
    size: Dimensions,
    line_bytes: usize,
    /// What the packed lines are taken for.
    layout: PixelLayout,
}

impl Packing {
    /// `None` for coded formats, and sizes that the format cannot have.
    pub(super) fn new(format: DeviceFormat, size: Dimensions, bytes_per_line: u32) -> Option<Self> {
        let name = match format {
            DeviceFormat::I420 | DeviceFormat::Nv12 => "i420",
            DeviceFormat::Yuyv | DeviceFormat::Uyvy => "yuyv422",
            DeviceFormat::Rgb => "rgb8",
            DeviceFormat::Bgr => "bgr24",
            DeviceFormat::Gray8 => "gray8",
            DeviceFormat::Gray16 => "gray16le",
            DeviceFormat::H264 | DeviceFormat::H265 | DeviceFormat::Mjpeg => return None,
        };
        let StreamFormat::Pixels(layout) = StreamFormat::named(name, Some(size)).ok()? else { return None };
        let mut packing = Self { format, size, line_bytes: 0, layout };
        // Half lines of chroma are half as long as lines of luma; with odd sizes drivers do not agree.
        let is_even = size.width.is_multiple_of(2) && size.height.is_multiple_of(2);
        if matches!(format, DeviceFormat::I420 | DeviceFormat::Nv12) && !is_even {
            return None;
        }
        let told = usize::try_from(bytes_per_line).ok()?;
        packing.line_bytes = told.max(packing.packed_line());
        // Padding beyond that is no padding.
        (packing.line_bytes <= 4 * packing.packed_line().max(1024)).then_some(packing)
    }

    pub(super) fn pixel_format(&self) -> PixelFormat {
        self.layout.format()
    }

    fn width(&self) -> usize {
        usize::try_from(self.size.width).unwrap_or(usize::MAX)
    }

    fn height(&self) -> usize {
        usize::try_from(self.size.height).unwrap_or(usize::MAX)
    }

    /// Bytes of a line of the first plane without padding; sides are bounded.
    fn packed_line(&self) -> usize {
        match self.format {
            DeviceFormat::Yuyv | DeviceFormat::Uyvy | DeviceFormat::Gray16 => 2 * self.width(),
            DeviceFormat::Rgb | DeviceFormat::Bgr => 3 * self.width(),
            _ => self.width(),
        }
    }

    /// The pixels of a buffer; `None` when they are too few. What lies behind them is left out.
    pub(super) fn arrange(&self, buffer: Vec<u8>) -> Option<Bytes> {
        let (height, line, packed) = (self.height(), self.line_bytes, self.packed_line());
        let luma = line.checked_mul(height)?;
        let mut out = match self.format {
            DeviceFormat::I420 => {
                let (chroma, half) = (line / 2 * (height / 2), packed / 2);
                let mut out = lines(buffer.get(..luma)?, line, packed);
                for start in [luma, luma + chroma] {
                    out.extend(lines(buffer.get(start..start + chroma)?, line / 2, half));
                }
                out
            }
            DeviceFormat::Nv12 => {
                let mut out = lines(buffer.get(..luma)?, line, packed);
                let pairs = lines(buffer.get(luma..luma + line * (height / 2))?, line, packed);
                out.extend(pairs.iter().step_by(2));
                out.extend(pairs.iter().skip(1).step_by(2));
                out
            }
            // The last line may end with its pixels.
            _ if line == packed && buffer.len() >= luma => buffer,
            _ => lines(buffer.get(..luma - (line - packed))?, line, packed),
        };
        out.truncate(self.layout.stream_bytes()?);
        if self.format == DeviceFormat::Uyvy {
            out.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        }
        (out.len() == self.layout.stream_bytes()?).then(|| self.layout.arrange(out))
    }
}

fn lines(plane: &[u8], line: usize, packed: usize) -> Vec<u8> {
    if line == packed {
        return plane.to_vec();
    }
    plane.chunks(line).flat_map(|bytes| &bytes[..packed.min(bytes.len())]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arrange(format: DeviceFormat, width: u32, line: u32, buffer: &[u8]) -> Option<Vec<u8>> {
        let packing = Packing::new(format, Dimensions::new(width, 2), line).unwrap();
        packing.arrange(buffer.to_vec()).map(|pixels| pixels.to_vec())
    }

    #[test]
    fn padding_goes_and_planes_are_sorted() {
        let padded = [1, 2, 0, 0, 3, 4, 0, 0];
        assert_eq!(arrange(DeviceFormat::Gray8, 2, 4, &padded).unwrap(), [1, 2, 3, 4]);
        assert_eq!(arrange(DeviceFormat::Gray8, 2, 4, &padded[..6]).unwrap(), [1, 2, 3, 4]);
        assert_eq!(arrange(DeviceFormat::Gray8, 2, 4, &padded[..5]), None);
        let nv12 = [1, 2, 0, 0, 3, 4, 0, 0, 50, 60, 0, 0];
        assert_eq!(arrange(DeviceFormat::Nv12, 2, 4, &nv12).unwrap(), [1, 2, 3, 4, 50, 60]);
        let i420 = [1, 2, 0, 0, 3, 4, 0, 0, 50, 0, 60, 0];
        assert_eq!(arrange(DeviceFormat::I420, 2, 4, &i420).unwrap(), [1, 2, 3, 4, 50, 60]);
        let yuyv = [1, 50, 2, 60, 3, 50, 4, 60, 99];
        assert_eq!(arrange(DeviceFormat::Yuyv, 2, 0, &yuyv).unwrap(), [1, 2, 3, 4, 50, 60]);
        let uyvy = [50, 1, 60, 2, 50, 3, 60, 4];
        assert_eq!(arrange(DeviceFormat::Uyvy, 2, 4, &uyvy).unwrap(), [1, 2, 3, 4, 50, 60]);
        assert_eq!(arrange(DeviceFormat::Bgr, 1, 3, &[3, 2, 1, 6, 5, 4]).unwrap(), [1, 2, 3, 4, 5, 6]);
        let odd = Dimensions::new(3, 3);
        assert!(Packing::new(DeviceFormat::Nv12, odd, 4).is_none());
        assert!(Packing::new(DeviceFormat::Gray8, odd, u32::MAX).is_none());
    }

    proptest! {
        #[test]
        fn no_buffer_and_no_line_length_is_a_panic(
            format in prop::sample::select(DeviceFormat::ALL.to_vec()),
            width in 0u32..70, height in 0u32..9, line: u32, padding in 0u32..64, bytes in 0usize..9000,
        ) {
            let size = Dimensions::new(width, height);
            for line in [line, padding, 3 * width + padding] {
                let Some(packing) = Packing::new(format, size, line) else { continue };
                if let Some(pixels) = packing.arrange(vec![7; bytes]) {
                    prop_assert_eq!(Some(pixels.len()), packing.pixel_format().frame_bytes(size));
                }
            }
        }
    }
}
