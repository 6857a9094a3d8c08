//! Frames that are JPEG or JPEG 2000 files.

use super::{Image, NoPicture, Photometric, Picture, SampleKind};
use lumenbus_codec::{DecoderConfig, Ticket, decoder};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, PixelFormat};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

const SIZE: NoPicture = NoPicture::Damaged { what: "the frame's own size is another one than the image's" };

impl Image {
    /// 8 bits, baseline or progressive.
    pub(super) fn jpeg(&self, bytes: &[u8]) -> Result<Picture, NoPicture> {
        const BROKEN: NoPicture =
            NoPicture::Form { what: "JPEG frames that are broken, lossless or of more than 8 bits" };
        let (rows, columns) = (usize::from(self.rows), usize::from(self.columns));
        let options = DecoderOptions::default().set_max_width(columns).set_max_height(rows);
        let mut jpeg = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        jpeg.decode_headers().map_err(|_| BROKEN)?;
        let info = jpeg.info().ok_or(BROKEN)?;
        if (usize::from(info.width), usize::from(info.height)) != (columns, rows) {
            return Err(SIZE);
        }
        let (kind, space) = match (self.samples, info.components) {
            (1, 1) => (SampleKind::U8, ColorSpace::Luma),
            // What says RGB and not how it is coded is coded as it is.
            (3, 3) if self.photometric == Photometric::Rgb && !has_own_word(bytes) => {
                (SampleKind::Rgb, jpeg.input_colorspace().unwrap_or(ColorSpace::RGB))
            }
            (3, 3) => (SampleKind::Rgb, ColorSpace::RGB),
            _ => return Err(NoPicture::Damaged { what: "the frame has another number of samples than the image" }),
        };
        jpeg.set_options(options.jpeg_set_out_colorspace(space));
        let samples = jpeg.decode().map_err(|_| BROKEN)?;
        if samples.len() != self.pixels() * self.samples {
            return Err(SIZE);
        }
        match &self.palette {
            Some(palette) => {
                let bytes = samples.iter().flat_map(|&value| palette.color(i32::from(value))).collect();
                Ok(Picture { kind: SampleKind::Rgb, bytes })
            }
            None => Ok(Picture { kind, bytes: samples }),
        }
    }

    /// As the codec of video frames reads it, within its bounds: no signed samples.
    pub(super) fn jpeg2000(&self, bytes: &[u8]) -> Result<Picture, NoPicture> {
        const BROKEN: NoPicture =
            NoPicture::Form { what: "JPEG 2000 frames that are broken, of signed samples or of subsampled colours" };
        let mut decoder = decoder(Codec::Jpeg2000, &DecoderConfig::default()).map_err(|_| BROKEN)?;
        let capture = CaptureTime::arrival(0);
        let frame = EncodedFrame::new(Codec::Jpeg2000, capture, bytes::Bytes::copy_from_slice(bytes)).keyframe();
        let mut pictures = Vec::new();
        decoder.decode(Ticket(0), &frame, &mut pictures).map_err(|_| BROKEN)?;
        decoder.flush(&mut pictures).map_err(|_| BROKEN)?;
        let picture = &pictures.first().ok_or(BROKEN)?.frame;
        let size = picture.dimensions();
        if (size.width, size.height) != (u32::from(self.columns), u32::from(self.rows)) {
            return Err(SIZE);
        }
        let data = picture.pixels();
        match (picture.format(), self.samples) {
            (PixelFormat::Rgb8, 3) => Ok(Picture { kind: SampleKind::Rgb, bytes: data.to_vec() }),
            (PixelFormat::Gray8, 1) => Ok(self.gray(data.iter().map(|byte| u32::from(*byte)))),
            (PixelFormat::Gray16Le, 1) => {
                Ok(self.gray(data.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_le_bytes(*pair)))))
            }
            _ => Err(NoPicture::Damaged { what: "the frame has another number of samples than the image" }),
        }
    }
}

/// Whether the file says by itself how its colours are coded: JFIF, or Adobe's segment.
fn has_own_word(file: &[u8]) -> bool {
    let head = &file[..file.len().min(4096)];
    let holds = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    holds(b"JFIF\0") || holds(b"\xFF\xEE\x00\x0EAdobe")
}
