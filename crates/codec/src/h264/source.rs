//! An I420 picture of even size, as the library reads it.

use lumenbus_frame::RawFrame;
use openh264::formats::YUVSource;

pub(super) struct I420Source<'a>(pub(super) &'a RawFrame);

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
