//! Pictures made as large as a model wants them, without changing their proportions.

use super::engine::{Element, Numbers};
use crate::{Bounds, VisionError};
use lumenbus_frame::{Dimensions, PixelFormat, RawFrame};

/// What is around the picture, as in the training of the usual models.
const AROUND: f32 = 114.0;

/// A picture as a model wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PictureForm {
    pub(super) width: usize,
    pub(super) height: usize,
    /// 3 (red, green, blue) or 1 (luma).
    pub(super) channels: usize,
    /// Whole planes one after the other, else the channels of each pixel together.
    pub(super) is_planar: bool,
    /// 0 to 1 as `F32`, 0 to 255 as `U8`.
    pub(super) element: Element,
}

impl PictureForm {
    pub(super) fn shape(&self) -> [usize; 4] {
        match self.is_planar {
            true => [1, self.channels, self.height, self.width],
            false => [1, self.height, self.width, self.channels],
        }
    }

    /// The picture with nothing in it.
    pub(super) fn gray(&self) -> Numbers {
        let len = self.width * self.height * self.channels;
        match self.element {
            Element::F32 => Numbers::F32(vec![AROUND / 255.0; len]),
            Element::U8 => Numbers::U8(vec![byte(AROUND); len]),
        }
    }
}

/// Where a picture lies in the model's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Letterbox {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    /// Pixels of the picture for one of the model's, across and down.
    scale: (f32, f32),
    size: (f32, f32),
}

impl Letterbox {
    #[expect(clippy::cast_precision_loss, reason = "sides of pictures are exact")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the model's side")]
    pub(super) fn new(picture: Dimensions, form: &PictureForm) -> Self {
        let size = (picture.width as f32, picture.height as f32);
        let factor = (form.width as f32 / size.0).min(form.height as f32 / size.1);
        let width = ((size.0 * factor).round() as usize).clamp(1, form.width);
        let height = ((size.1 * factor).round() as usize).clamp(1, form.height);
        Self {
            left: (form.width - width) / 2,
            top: (form.height - height) / 2,
            width,
            height,
            scale: (size.0 / width as f32, size.1 / height as f32),
            size,
        }
    }

    /// What has these corners (left, top, right, bottom) in the model's picture, in pixels of the picture and clipped.
    #[expect(clippy::cast_precision_loss, reason = "sides of pictures are exact")]
    pub(super) fn bounds(&self, corners: [f32; 4]) -> Option<Bounds> {
        let x = |x: f32| (x - self.left as f32) * self.scale.0;
        let y = |y: f32| (y - self.top as f32) * self.scale.1;
        let [left, top, right, bottom] = [x(corners[0]), y(corners[1]), x(corners[2]), y(corners[3])];
        let is_whole = [left, top, right, bottom].iter().all(|side| side.is_finite());
        let bounds = Bounds::new(left, top, right - left, bottom - top);
        if is_whole && right > left && bottom > top { bounds.clipped(self.size.0, self.size.1) } else { None }
    }

    /// The whole picture of the model.
    pub(super) fn fill(&self, picture: &RawFrame, form: &PictureForm) -> Result<Numbers, VisionError> {
        let rows = Rows::new(picture, self)?;
        let mut row = vec![[0.0; 3]; self.width];
        let mut fill = |put: &mut dyn FnMut(usize, f32)| {
            for y in 0..self.height {
                rows.read(y, &mut row);
                let at = (self.top + y) * form.width + self.left;
                for (x, colour) in row.iter().enumerate() {
                    for channel in 0..form.channels {
                        let value = if form.channels == 1 { luma(*colour) } else { colour[channel] };
                        let index = match form.is_planar {
                            true => channel * form.width * form.height + at + x,
                            false => (at + x) * form.channels + channel,
                        };
                        put(index, value);
                    }
                }
            }
        };
        let mut numbers = form.gray();
        match &mut numbers {
            Numbers::F32(numbers) => fill(&mut |index, value| numbers[index] = value / 255.0),
            Numbers::U8(numbers) => fill(&mut |index, value| numbers[index] = byte(value)),
        }
        Ok(numbers)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "colours are 0 to 255")]
fn byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

fn luma(colour: [f32; 3]) -> f32 {
    0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
}

/// One column or row of the model's picture: two of the picture's, and how much the second counts.
#[derive(Debug, Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    part: f32,
}

impl Tap {
    #[expect(clippy::cast_precision_loss, reason = "sides of pictures are exact")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the plane's side")]
    fn all(count: usize, scale: f32, side: usize) -> Vec<Self> {
        let last = side - 1;
        let tap = |index: usize| {
            let at = ((index as f32 + 0.5) * scale - 0.5).clamp(0.0, last as f32);
            let first = at as usize;
            Self { first, second: (first + 1).min(last), part: at - first as f32 }
        };
        (0..count).map(tap).collect()
    }
}

/// A plane, or interleaved planes, read between its pixels.
struct Plane<'a> {
    pixels: &'a [u8],
    width: usize,
    /// Bytes from one pixel to the next.
    step: usize,
    columns: Vec<Tap>,
    rows: Vec<Tap>,
}

impl<'a> Plane<'a> {
    fn new(pixels: &'a [u8], size: (usize, usize), step: usize, letterbox: &Letterbox, part: f32) -> Self {
        let columns = Tap::all(letterbox.width, letterbox.scale.0 * part, size.0);
        let rows = Tap::all(letterbox.height, letterbox.scale.1 * part, size.1);
        Self { pixels, width: size.0, step, columns, rows }
    }

    fn at(&self, x: usize, y: usize, channel: usize) -> f32 {
        let (column, row) = (self.columns[x], self.rows[y]);
        let pixel = |x: usize, y: usize| f32::from(self.pixels[(y * self.width + x) * self.step + channel]);
        let across = |y: usize| {
            let first = pixel(column.first, y);
            first + (pixel(column.second, y) - first) * column.part
        };
        let upper = across(row.first);
        upper + (across(row.second) - upper) * row.part
    }
}

/// The picture's rows at the model's size, in red, green and blue from 0 to 255.
enum Rows<'a> {
    Gray(Plane<'a>),
    Rgb(Plane<'a>),
    Yuv(Plane<'a>, [Plane<'a>; 2]),
}

impl<'a> Rows<'a> {
    fn new(picture: &'a RawFrame, letterbox: &Letterbox) -> Result<Self, VisionError> {
        let size = picture.dimensions();
        let (width, height) = (size.width as usize, size.height as usize);
        let whole = |pixels, step| Plane::new(pixels, (width, height), step, letterbox, 1.0);
        match picture.format() {
            PixelFormat::Gray8 => Ok(Self::Gray(whole(picture.pixels(), 1))),
            PixelFormat::Rgb8 => Ok(Self::Rgb(whole(picture.pixels(), 3))),
            PixelFormat::I420 => {
                let (luma, chroma) = picture.pixels().split_at(width * height);
                let half = (width.div_ceil(2), height.div_ceil(2));
                let (u, v) = chroma.split_at(half.0 * half.1);
                Ok(Self::Yuv(whole(luma, 1), [u, v].map(|plane| Plane::new(plane, half, 1, letterbox, 0.5))))
            }
            format => Err(VisionError::Format { detector: super::DETECTOR, format, readable: "i420, gray8, rgb8" }),
        }
    }

    fn read(&self, y: usize, out: &mut [[f32; 3]]) {
        for (x, colour) in out.iter_mut().enumerate() {
            *colour = match self {
                Self::Gray(plane) => [plane.at(x, y, 0); 3],
                Self::Rgb(plane) => [0, 1, 2].map(|channel| plane.at(x, y, channel)),
                Self::Yuv(luma, [u, v]) => rgb(luma.at(x, y, 0), u.at(x, y, 0), v.at(x, y, 0)),
            };
        }
    }
}

/// BT.601, limited range: I420 is what video is decoded to.
fn rgb(y: f32, u: f32, v: f32) -> [f32; 3] {
    let (y, u, v) = (1.164_38 * (y - 16.0), u - 128.0, v - 128.0);
    [y + 1.596_03 * v, y - 0.391_76 * u - 0.812_97 * v, y + 2.017_23 * u].map(|part| part.clamp(0.0, 255.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lumenbus_frame::CaptureTime;

    const FORM: PictureForm = PictureForm { width: 8, height: 8, channels: 3, is_planar: true, element: Element::U8 };

    fn filled(format: PixelFormat, size: (u32, u32), pixels: Vec<u8>, form: &PictureForm) -> Vec<u8> {
        let size = Dimensions::new(size.0, size.1);
        let picture = RawFrame::new(format, size, Bytes::from(pixels), CaptureTime::arrival(0)).unwrap();
        match Letterbox::new(size, form).fill(&picture, form).unwrap() {
            Numbers::U8(numbers) => numbers,
            Numbers::F32(numbers) => numbers.iter().map(|number| byte(number * 255.0)).collect(),
        }
    }

    #[test]
    fn bounds_go_back_to_where_they_came_from() {
        let form = PictureForm { width: 640, height: 640, ..FORM };
        let letterbox = Letterbox::new(Dimensions::new(1280, 720), &form);
        // 640 × 360 with 140 rows above.
        assert_eq!(letterbox.bounds([100.0, 190.0, 200.0, 290.0]), Some(Bounds::new(200.0, 100.0, 200.0, 200.0)));
        let clipped = letterbox.bounds([-50.0, 0.0, 700.0, 190.0]);
        assert_eq!(clipped, Some(Bounds::new(0.0, 0.0, 1280.0, 100.0)));
        for nothing in [[5.0, 0.0, 5.0, 9.0], [f32::NAN, 0.0, 9.0, 9.0], [0.0, 0.0, 90.0, 90.0], [0.0; 4]] {
            assert_eq!(letterbox.bounds(nothing), None, "{nothing:?}");
        }
        let extreme = Letterbox::new(Dimensions::new(10_000, 1), &form);
        assert_eq!((extreme.width, extreme.height), (640, 1));
    }

    #[test]
    fn gray_lies_in_the_middle_of_what_is_around() {
        let numbers = filled(PixelFormat::Gray8, (4, 2), vec![200; 8], &FORM);
        for (index, number) in numbers.iter().enumerate() {
            let is_inside = (2..6).contains(&(index / 8 % 8));
            assert_eq!(*number, if is_inside { 200 } else { 114 }, "{index}");
        }
        let single = PictureForm { channels: 1, element: Element::F32, ..FORM };
        assert_eq!(filled(PixelFormat::Gray8, (4, 2), vec![200; 8], &single), numbers[..64]);
    }

    #[test]
    fn colours_keep_their_order() {
        let red = [250, 20, 10].repeat(16);
        let planar = filled(PixelFormat::Rgb8, (4, 4), red.clone(), &FORM);
        assert_eq!([planar[0], planar[64], planar[128]], [250, 20, 10]);
        let together = filled(PixelFormat::Rgb8, (4, 4), red, &PictureForm { is_planar: false, ..FORM });
        assert_eq!(together, [250, 20, 10].repeat(64));
        // Red of full strength in BT.601.
        let yuv = [[81; 9].as_slice(), &[90; 4], &[240; 4]].concat();
        let odd = filled(PixelFormat::I420, (3, 3), yuv, &FORM);
        assert!(odd[0] > 250 && odd[64] < 4 && odd[128] < 4, "{:?}", [odd[0], odd[64], odd[128]]);
    }

    #[test]
    fn between_pixels_is_between_their_values() {
        let form = PictureForm { width: 4, height: 1, channels: 1, ..FORM };
        let numbers = filled(PixelFormat::Gray8, (2, 1), vec![0, 200], &PictureForm { height: 2, ..form });
        assert_eq!(numbers[..4], [0, 50, 150, 200]);
        let smaller = filled(PixelFormat::Gray8, (8, 2), [0, 100].repeat(8), &form);
        assert_eq!(smaller, [50; 4]);
    }
}
