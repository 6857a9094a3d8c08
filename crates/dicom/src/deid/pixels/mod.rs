//! Pixels: whether text is likely in them, masks over it, and what compressed frames carry beside the picture.

mod codestream;
mod mask;
mod risk;
pub(crate) mod rle;

use super::dataset::{Dataset, Encoding, Value};
use super::{PixelWork, Profile, Quarantine, tag};
use bytes::Bytes;
use dicom_core::Tag;
use mask::Geometry;

pub(crate) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
const RLE: &str = "1.2.840.10008.1.2.5";

/// A rectangle in pixels, from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rectangle {
    /// The first column.
    pub x: u16,
    /// The first row.
    pub y: u16,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Where images of one kind have text. Conditions are compared without regard to case; absent ones always hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MaskRule {
    /// Modality (0008,0060).
    pub modality: Option<String>,
    /// Manufacturer (0008,0070).
    pub manufacturer: Option<String>,
    /// Manufacturer's Model Name (0008,1090).
    pub model: Option<String>,
    /// Rows (0028,0010).
    pub rows: Option<u16>,
    /// Columns (0028,0011).
    pub columns: Option<u16>,
    /// Painted over in every frame. None at all: somebody looked and says that such images have no text.
    pub rectangles: Vec<Rectangle>,
}

impl MaskRule {
    /// A rule for one modality.
    #[must_use]
    pub fn modality(modality: &str, rectangles: Vec<Rectangle>) -> Self {
        Self { modality: Some(modality.to_owned()), rectangles, ..Self::default() }
    }

    fn holds(&self, image: &Image) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.trim().eq_ignore_ascii_case(found))
        };
        let equal = |wanted: Option<u16>, found: Option<u16>| wanted.is_none() || wanted == found;
        same(&self.modality, &image.modality)
            && same(&self.manufacturer, &image.manufacturer)
            && same(&self.model, &image.model)
            && equal(self.rows, image.rows)
            && equal(self.columns, image.columns)
    }
}

/// What decides about an image, as it was before anything was removed.
pub(crate) struct Image {
    modality: String,
    manufacturer: String,
    model: String,
    sop_class: String,
    transfer_syntax: String,
    image_type: String,
    burned_in: String,
    converted: bool,
    document: bool,
    rows: Option<u16>,
    columns: Option<u16>,
    geometry: Option<Geometry>,
    encoding: Encoding,
    /// Bits of the pixels that hold an overlay.
    overlay_bits: u32,
}

impl Image {
    pub(crate) fn of(dataset: &Dataset, sop_class: &str, transfer_syntax: &str, encoding: Encoding) -> Self {
        let text = |tag| dataset.text(tag).unwrap_or_default();
        Self {
            modality: text(tag::MODALITY),
            manufacturer: text(tag::MANUFACTURER),
            model: text(tag::MODEL),
            sop_class: sop_class.to_owned(),
            transfer_syntax: transfer_syntax.to_owned(),
            image_type: text(tag::IMAGE_TYPE).to_ascii_uppercase(),
            burned_in: text(tag::BURNED_IN_ANNOTATION),
            converted: !text(tag::CONVERSION_TYPE).is_empty(),
            document: dataset.get(tag::ENCAPSULATED_DOCUMENT).is_some(),
            rows: dataset.u16(tag::ROWS, encoding),
            columns: dataset.u16(tag::COLUMNS, encoding),
            geometry: Geometry::of(dataset, encoding),
            encoding,
            overlay_bits: overlay_bits(dataset, encoding),
        }
    }
}

/// (60xx,0102) of overlays that have no data of their own (PS3.3, C.9.2.1.1, retired).
fn overlay_bits(dataset: &Dataset, encoding: Encoding) -> u32 {
    let groups = (0x6000..=0x601E).step_by(2);
    let embedded = groups.filter(|group| dataset.get(Tag(*group, 0x3000)).is_none());
    let bits = embedded.filter_map(|group| dataset.u16(Tag(group, 0x0102), encoding));
    bits.filter(|bit| (1..32).contains(bit)).fold(0, |bits, bit| bits | 1 << bit)
}

/// Cleans the pixels in place, or says why the object cannot be released.
pub(crate) fn clean(
    image: &Image,
    profile: &Profile,
    dataset: &mut Dataset,
    transfer_syntax: &mut String,
) -> (Vec<Quarantine>, Vec<PixelWork>) {
    let mut quarantine = risk::beyond_pixels(image);
    let mut work = Vec::new();
    let has_pixels =
        [tag::PIXEL_DATA, tag::FLOAT_PIXELS, tag::DOUBLE_PIXELS].iter().any(|tag| dataset.get(*tag).is_some());
    if !has_pixels {
        return (quarantine, work);
    }
    let rules: Vec<_> = profile.masks.iter().filter(|rule| rule.holds(image)).collect();
    let rectangles: Vec<_> = rules.iter().flat_map(|rule| rule.rectangles.iter().copied()).collect();
    if rules.is_empty() {
        quarantine.extend(risk::in_pixels(image, profile.trust_declared_no));
    } else if rectangles.is_empty() {
        work.push(PixelWork::TrustedByRule);
    } else {
        match mask_pixels(image, dataset, transfer_syntax, &rectangles) {
            Ok(frames) => work.push(PixelWork::Masked { rectangles: rectangles.len(), frames }),
            Err(why) => quarantine.push(Quarantine::MaskNotApplied { why }),
        }
    }
    if image.overlay_bits != 0 {
        match clear_overlay_bits(image, dataset) {
            Ok(()) => work.push(PixelWork::OverlayBitsCleared),
            Err(reason) => quarantine.push(reason),
        }
    }
    if quarantine.is_empty() {
        match clear_comments(dataset, transfer_syntax) {
            Ok(0) => {}
            Ok(segments) => work.push(PixelWork::CommentsCleared { segments }),
            Err(why) => quarantine.push(Quarantine::UnreadableCodestream { why }),
        }
    }
    (quarantine, work)
}

fn mask_pixels(
    image: &Image,
    dataset: &mut Dataset,
    transfer_syntax: &mut String,
    rectangles: &[Rectangle],
) -> Result<usize, &'static str> {
    let geometry =
        image.geometry.as_ref().ok_or("the image's size or pixel format is not one that can be painted on")?;
    let Some(element) = dataset.0.iter_mut().find(|element| element.tag == tag::PIXEL_DATA) else {
        return Err("pixels of floating point numbers cannot be painted on");
    };
    match &mut element.value {
        Value::Bytes(bytes) => {
            let mut native = bytes.to_vec();
            geometry.paint(&mut native, rectangles, image.encoding.big_endian)?;
            *bytes = native.into();
        }
        Value::Fragments(fragments) if *transfer_syntax == RLE => {
            *fragments = rle::masked(fragments, geometry, rectangles)?;
            for tag in [tag::EXTENDED_OFFSETS, tag::EXTENDED_LENGTHS] {
                dataset.remove(tag);
            }
        }
        Value::Fragments(_) => {
            return Err("the pixels are compressed by other means than RLE; decompress them first");
        }
        Value::Items(_) => return Err("the pixels are no pixels"),
    }
    if let Some(element) = dataset.0.iter_mut().find(|element| element.tag == tag::BURNED_IN_ANNOTATION) {
        element.value = Value::Bytes(Bytes::from_static(b"NO"));
    }
    Ok(geometry.frames)
}

fn clear_overlay_bits(image: &Image, dataset: &mut Dataset) -> Result<(), Quarantine> {
    let Some(element) = dataset.0.iter_mut().find(|element| element.tag == tag::PIXEL_DATA) else { return Ok(()) };
    let Value::Bytes(bytes) = &mut element.value else { return Err(Quarantine::EmbeddedOverlay) };
    let geometry = image.geometry.as_ref().ok_or(Quarantine::EmbeddedOverlay)?;
    let mut native = bytes.to_vec();
    geometry.clear_bits(&mut native, image.overlay_bits, image.encoding.big_endian);
    *bytes = native.into();
    Ok(())
}

/// Overwrites comments in compressed frames, also those of images in items (icons).
fn clear_comments(dataset: &mut Dataset, transfer_syntax: &str) -> Result<usize, &'static str> {
    let mut cleared = 0;
    for element in &mut dataset.0 {
        if let Value::Fragments(fragments) = &mut element.value {
            cleared += codestream::clear(fragments, transfer_syntax)?;
        }
    }
    Ok(cleared)
}
