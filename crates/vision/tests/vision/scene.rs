//! Drawn scenes: a textured background with noise, things and shadows.

use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat, RawFrame};
use lumenbus_vision::Bounds;

/// Pictures a second.
pub(crate) const RATE: i64 = 25;

/// What every picture of a scene has in common.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    width: u32,
    height: u32,
    /// Of all light; 1 is usual.
    pub(crate) light: f32,
    /// Levels around the true one, uniformly.
    noise: f32,
    /// By how much the camera is off.
    pub(crate) shift: (i32, i32),
    /// Another one is another view.
    pub(crate) view: u32,
    random: u32,
    pictures: i64,
}

/// Something on top of the background: a thing of this luma, or a shadow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    Thing { luma: f32, u: u8 },
    Shadow(f32),
}

impl Scene {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self { width, height, light: 1.0, noise: 4.0, shift: (0, 0), view: 1, random: 0x9E37_79B9, pictures: 0 }
    }

    pub(crate) fn with_noise(self, noise: f32) -> Self {
        Self { noise, ..self }
    }

    /// Xorshift: the same scene every time.
    pub(crate) fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    fn noise_level(&mut self) -> f32 {
        let random = (self.random() >> 8) as f32 / (1 << 24) as f32;
        (random - 0.5) * 2.0 * self.noise
    }

    /// Blocks of eight pixels with levels of their own, between 70 and 150.
    fn background(&self, x: u32, y: u32) -> f32 {
        let at = |at: u32, shift: i32| (at.wrapping_add_signed(shift) / 8).wrapping_mul(2_654_435_761);
        let mixed = at(x, self.shift.0).rotate_left(13) ^ at(y, self.shift.1).wrapping_mul(self.view | 1);
        70.0 + (mixed.wrapping_mul(0x85EB_CA6B) >> 24) as f32 / 255.0 * 80.0
    }

    /// The next picture, with things painted in order.
    pub(crate) fn picture(&mut self, painted: &[(Bounds, Paint)]) -> RawFrame {
        let size = Dimensions::new(self.width, self.height);
        let mut pixels = vec![128; PixelFormat::I420.frame_bytes(size).unwrap()];
        let (luma, chroma) = pixels.split_at_mut((self.width * self.height) as usize);
        for y in 0..self.height {
            for x in 0..self.width {
                let mut level = self.background(x, y);
                for (bounds, paint) in painted.iter().filter(|(bounds, _)| holds(bounds, x, y)) {
                    level = match paint {
                        Paint::Thing { luma, .. } => {
                            *luma + if (y as f32 - bounds.y) % 12.0 < 6.0 { 12.0 } else { 0.0 }
                        }
                        Paint::Shadow(part) => level * part,
                    };
                }
                let level = level * self.light + self.noise_level();
                luma[(y * self.width + x) as usize] = level.round().clamp(0.0, 255.0) as u8;
            }
        }
        for (at, chroma) in chroma.iter_mut().take(size_of_chroma(size)).enumerate() {
            let width = self.width.div_ceil(2) as usize;
            let (x, y) = ((at % width * 2) as u32, (at / width * 2) as u32);
            for (bounds, paint) in painted {
                if let Paint::Thing { u, .. } = paint
                    && holds(bounds, x, y)
                {
                    *chroma = *u;
                }
            }
        }
        let capture = CaptureTime::sensor(1_700_000_000_000_000_000 + self.pictures * 1_000_000_000 / RATE);
        self.pictures += 1;
        RawFrame::new(PixelFormat::I420, size, Bytes::from(pixels), capture).unwrap()
    }
}

fn size_of_chroma(size: Dimensions) -> usize {
    (size.width.div_ceil(2) * size.height.div_ceil(2)) as usize
}

fn holds(bounds: &Bounds, x: u32, y: u32) -> bool {
    let (x, y) = (x as f32, y as f32);
    x >= bounds.x && y >= bounds.y && x < bounds.right() && y < bounds.bottom()
}
