//! Frames of images as samples that a screen can show, one frame at a time.
//!
//! [`Image`] says from a metadata record alone what the pixels are, [`Image::place`] which bytes of the blob are a frame's,
//! and [`Image::decode`] makes samples of these (DICOM PS3.3, C.7.6.3; PS3.5, sections 8 and annex A). Values are the stored
//! ones; the modality's rescale and the windows are beside them (PS3.3, C.11.1, C.11.2). Lookup tables other than palettes are not applied.
//! This is for looking at images, not for diagnosis.

mod color;
#[cfg(feature = "pictures")]
mod compressed;
mod decode;
mod places;
mod values;

use crate::attributes::Attributes;
use crate::element::{ByteOrder, Tag};
use crate::record::Metadata;
use crate::syntax;
use color::Palette;
use values::Values;

pub use places::FramePlace;

/// Most bytes of a frame, encoded or decoded.
pub const MAX_FRAME_BYTES: u64 = 64 << 20;
/// Most windows listed of a frame.
pub const MAX_WINDOWS: usize = 16;

pub(crate) mod tag {
    use crate::element::Tag;

    pub(crate) const PLANAR_CONFIGURATION: Tag = Tag(0x0028_0006);
    pub(crate) const BITS_STORED: Tag = Tag(0x0028_0101);
    pub(crate) const HIGH_BIT: Tag = Tag(0x0028_0102);
    pub(crate) const PIXEL_REPRESENTATION: Tag = Tag(0x0028_0103);
    pub(crate) const WINDOW_CENTER: Tag = Tag(0x0028_1050);
    pub(crate) const WINDOW_WIDTH: Tag = Tag(0x0028_1051);
    pub(crate) const RESCALE_INTERCEPT: Tag = Tag(0x0028_1052);
    pub(crate) const RESCALE_SLOPE: Tag = Tag(0x0028_1053);
    pub(crate) const WINDOW_EXPLANATION: Tag = Tag(0x0028_1055);
    pub(crate) const PALETTE_DESCRIPTORS: [Tag; 3] = [Tag(0x0028_1101), Tag(0x0028_1102), Tag(0x0028_1103)];
    pub(crate) const PALETTE_DATA: [Tag; 3] = [Tag(0x0028_1201), Tag(0x0028_1202), Tag(0x0028_1203)];
    pub(crate) const SHARED_GROUPS: Tag = Tag(0x5200_9229);
    pub(crate) const FRAME_GROUPS: Tag = Tag(0x5200_9230);
}

/// Why there is no picture; the texts hold no value that could be of a patient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPicture {
    /// Not an image.
    #[error("the object has no pixels")]
    NoPixels,
    /// Bytes that could not be taken apart.
    #[error("the object could not be taken apart when it was sent, so nothing is known of its pixels")]
    Opaque,
    /// A transfer syntax without a decoder here.
    #[error("images of transfer syntax {uid} cannot be shown here")]
    Syntax {
        /// Which; `unknown` where the object does not say it.
        uid: String,
    },
    /// Pixels of a form without a decoder here.
    #[error("{what} cannot be shown here")]
    Form {
        /// Which form.
        what: &'static str,
    },
    /// Attributes and pixels do not go together.
    #[error("the image is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// More than [`MAX_FRAME_BYTES`].
    #[error("a frame of the image has more than {} MiB", MAX_FRAME_BYTES >> 20)]
    TooLarge,
    /// No such frame.
    #[error("the image has no frame of this number")]
    NoFrame,
}

impl NoPicture {
    /// A stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPixels => "no-pixels",
            Self::Opaque => "opaque",
            Self::Syntax { .. } => "transfer-syntax",
            Self::Form { .. } => "pixel-format",
            Self::Damaged { .. } => "damaged",
            Self::TooLarge => "too-large",
            Self::NoFrame => "no-frame",
        }
    }
}

/// How the pixels are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Native,
    /// Native pixels in fragments.
    Wrapped,
    /// Each frame a raw deflate stream (PS3.5, section A.4.12).
    DeflatedFrames,
    Rle,
    Jpeg,
    Jpeg2000,
}

/// How colours are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Photometric {
    /// The least value is white.
    Monochrome1,
    Monochrome2,
    Palette,
    Rgb,
    /// YBR_FULL; also what decoders have made of the other kinds.
    Ybr,
    Ybr422,
}

/// What samples are numbers of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Integer,
    Float,
    Double,
}

/// A range of values from black to white (PS3.3, C.11.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its middle, in rescaled values.
    pub center: f64,
    /// Its width, in rescaled values; at least 1 in what the standard allows.
    pub width: f64,
}

/// How the values of one frame are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Rescaled value = stored value × slope + intercept.
    pub slope: f64,
    /// See `slope`.
    pub intercept: f64,
    /// Windows that the file names.
    pub windows: Vec<Window>,
}

/// What samples of a decoded frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// One byte a pixel.
    U8,
    /// Two bytes a pixel, little endian.
    U16,
    /// Two bytes a pixel, little endian, two's complement.
    I16,
    /// Four bytes a pixel, little endian, IEEE 754: integers of 32 bits lose what exceeds 24.
    F32,
    /// Three bytes a pixel, sRGB as far as the file is.
    Rgb,
}

impl SampleKind {
    /// A stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::F32 => "f32",
            Self::Rgb => "rgb",
        }
    }
}

/// One decoded frame: rows from the top, pixels from the left, nothing between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Of the bytes.
    pub kind: SampleKind,
    /// `rows × columns` pixels.
    pub bytes: Vec<u8>,
}

/// What the pixels of an object are.
#[derive(Debug, Clone)]
pub struct Image {
    /// Rows of a frame.
    pub rows: u16,
    /// Columns of a frame.
    pub columns: u16,
    /// Number of frames, at least 1.
    pub frames: u64,
    samples: usize,
    allocated: u16,
    stored: u16,
    high_bit: u16,
    is_signed: bool,
    is_planar: bool,
    number: Number,
    photometric: Photometric,
    coding: Coding,
    palette: Option<Palette>,
    /// Of native numbers.
    byte_order: ByteOrder,
    /// Bytes of 8 bits in words of 16, most significant first.
    is_swapped: bool,
}

impl Image {
    /// What a record says of the pixels.
    ///
    /// # Errors
    /// Why its frames cannot be shown.
    pub fn of(metadata: &Metadata) -> Result<Self, NoPicture> {
        let attributes = &metadata.attributes;
        if metadata.opaque.is_some() {
            return Err(NoPicture::Opaque);
        }
        let uid = metadata.transfer_syntax.as_deref();
        if uid.is_some_and(syntax::is_deflated) {
            return Err(NoPicture::Syntax { uid: uid.unwrap_or_default().to_owned() });
        }
        let pixels = metadata.pixels.as_ref().ok_or(NoPicture::NoPixels)?;
        let coding = coding(uid, pixels.is_encapsulated())?;
        let number = match pixels.tag {
            Tag::FLOAT_PIXEL_DATA => Number::Float,
            Tag::DOUBLE_FLOAT_PIXEL_DATA => Number::Double,
            _ => Number::Integer,
        };
        let u16 = |tag| attributes.u16(tag);
        const SIZE: NoPicture = NoPicture::Damaged { what: "its attributes do not say its size" };
        let (rows, columns) = (u16(Tag::ROWS).ok_or(SIZE)?, u16(Tag::COLUMNS).ok_or(SIZE)?);
        let allocated = match number {
            Number::Integer => u16(Tag::BITS_ALLOCATED).ok_or(SIZE)?,
            Number::Float => 32,
            Number::Double => 64,
        };
        let stored = u16(tag::BITS_STORED).filter(|bits| *bits > 0 && *bits <= allocated).unwrap_or(allocated);
        let high_bit =
            u16(tag::HIGH_BIT).filter(|bit| *bit < allocated && *bit + 1 >= stored).unwrap_or(stored - stored.min(1));
        let samples = usize::from(u16(Tag::SAMPLES_PER_PIXEL).unwrap_or(1));
        let photometric = photometric(attributes, samples)?;
        if rows == 0 || columns == 0 {
            return Err(SIZE);
        }
        let palette = if photometric == Photometric::Palette { Some(Palette::of(metadata)?) } else { None };
        let image = Self {
            rows,
            columns,
            frames: pixels.frames.max(1),
            samples,
            allocated,
            stored,
            high_bit,
            is_signed: u16(tag::PIXEL_REPRESENTATION) == Some(1),
            is_planar: samples > 1 && u16(tag::PLANAR_CONFIGURATION) == Some(1),
            number,
            photometric,
            coding,
            palette,
            byte_order: attributes.byte_order,
            is_swapped: attributes.byte_order == ByteOrder::Big && pixels.vr.as_str() == "OW" && allocated == 8,
        };
        image.check()?;
        Ok(image)
    }

    fn check(&self) -> Result<(), NoPicture> {
        let form = |what| Err(NoPicture::Form { what });
        match (self.number, self.allocated) {
            (Number::Integer, 8 | 16 | 32) | (Number::Float | Number::Double, _) => {}
            (Number::Integer, 1) if self.samples == 1 && self.coding == Coding::Native => {}
            _ => return form("samples of this number of bits"),
        }
        if self.samples == 3 && !matches!(self.allocated, 8 | 16) {
            return form("colours of this number of bits");
        }
        if self.photometric == Photometric::Ybr422 && (self.allocated != 8 || !self.columns.is_multiple_of(2)) {
            return form("subsampled colours of this number of bits or columns");
        }
        // Four bytes a pixel are the most that decoding makes.
        if self.pixels() as u64 * 4 > MAX_FRAME_BYTES * 2 || self.native_bits() / 8 > MAX_FRAME_BYTES {
            return Err(NoPicture::TooLarge);
        }
        Ok(())
    }

    /// Of a frame.
    fn pixels(&self) -> usize {
        usize::from(self.rows) * usize::from(self.columns)
    }

    /// Bits of a frame without compression.
    fn native_bits(&self) -> u64 {
        let pixels = self.pixels() as u64;
        match self.photometric {
            Photometric::Ybr422 => pixels * 16,
            _ => pixels * self.samples as u64 * u64::from(self.allocated),
        }
    }

    /// Whether the least value is white.
    #[must_use]
    pub fn is_inverted(&self) -> bool {
        self.photometric == Photometric::Monochrome1
    }

    /// Whether frames have colours, and no window.
    #[must_use]
    pub fn is_color(&self) -> bool {
        !matches!(self.photometric, Photometric::Monochrome1 | Photometric::Monochrome2)
    }

    /// Bits that values use.
    #[must_use]
    pub fn bits(&self) -> u16 {
        self.stored
    }

    /// How the values of a frame, from 0, are shown: what it says of itself, else what is said of all.
    #[must_use]
    pub fn shown(metadata: &Metadata, frame: u64) -> Shown {
        let values = Values { attributes: &metadata.attributes, frame };
        let one = |tag, other| values.decimals(tag).first().copied().unwrap_or(other);
        let slope = one(tag::RESCALE_SLOPE, 1.0);
        let (centers, widths) = (values.decimals(tag::WINDOW_CENTER), values.decimals(tag::WINDOW_WIDTH));
        let windows = centers.into_iter().zip(widths).filter(|(_, width)| *width > 0.0).take(MAX_WINDOWS);
        Shown {
            slope: if slope == 0.0 { 1.0 } else { slope },
            intercept: one(tag::RESCALE_INTERCEPT, 0.0),
            windows: windows.map(|(center, width)| Window { center, width }).collect(),
        }
    }
}

/// The names of a frame's windows, for people: free text of the file.
#[must_use]
pub fn window_names(metadata: &Metadata, frame: u64) -> Vec<String> {
    Values { attributes: &metadata.attributes, frame }.texts(tag::WINDOW_EXPLANATION)
}

fn coding(uid: Option<&str>, is_encapsulated: bool) -> Result<Coding, NoPicture> {
    if !is_encapsulated {
        return Ok(Coding::Native);
    }
    let coding = match uid.unwrap_or_default() {
        syntax::ENCAPSULATED_UNCOMPRESSED => Some(Coding::Wrapped),
        "1.2.840.10008.1.2.8.1" => Some(Coding::DeflatedFrames),
        "1.2.840.10008.1.2.5" => Some(Coding::Rle),
        "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" if cfg!(feature = "pictures") => Some(Coding::Jpeg),
        "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" if cfg!(feature = "pictures") => Some(Coding::Jpeg2000),
        _ => None,
    };
    coding.ok_or_else(|| NoPicture::Syntax { uid: uid.unwrap_or("unknown").to_owned() })
}

fn photometric(attributes: &Attributes, samples: usize) -> Result<Photometric, NoPicture> {
    let value = attributes.value(Tag::PHOTOMETRIC_INTERPRETATION).unwrap_or_default().trim_ascii();
    let (photometric, wanted) = match value {
        b"MONOCHROME1" => (Photometric::Monochrome1, 1),
        b"MONOCHROME2" => (Photometric::Monochrome2, 1),
        b"PALETTE COLOR" => (Photometric::Palette, 1),
        b"RGB" => (Photometric::Rgb, 3),
        b"YBR_FULL" | b"YBR_ICT" | b"YBR_RCT" => (Photometric::Ybr, 3),
        b"YBR_FULL_422" => (Photometric::Ybr422, 3),
        _ if samples == 1 => (Photometric::Monochrome2, 1),
        _ => return Err(NoPicture::Form { what: "colours of this photometric interpretation" }),
    };
    if samples != wanted {
        return Err(NoPicture::Damaged { what: "its colours and its number of samples disagree" });
    }
    Ok(photometric)
}
