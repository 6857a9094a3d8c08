//! A made picture that moves, with counter and time in it.

mod digits;
mod marker;

use crate::item::{due, ticks};
use crate::{Source, SourceError, SourceItem, SourceOptions};
use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Clock, Codec, Dimensions, FrameRate, PixelFormat, RawFrame, StreamParameters};
pub use marker::{Marker, read_marker};
use std::sync::Arc;
use std::time::Duration;

/// Largest side of a pattern.
const MAX_SIDE: u32 = 16_384;

/// What a test pattern looks like; [`parse`](Self::parse) reads it from `test:1920x1080@30,noise=4,format=i420`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternConfig {
    /// Width and height; at least 128 × 48, so that the marker fits.
    pub dimensions: Dimensions,
    /// Frames per second.
    pub frame_rate: FrameRate,
    /// Layout of the pixels.
    pub pixel_format: PixelFormat,
    /// Amplitude of the noise in luma, 0 to 64: makes frames expensive to code.
    pub noise: u8,
    /// End after so many frames; `None` for ever.
    pub frames: Option<u64>,
}

impl PatternConfig {
    /// I420 without noise and without end.
    #[must_use]
    pub fn new(dimensions: Dimensions, frame_rate: FrameRate) -> Self {
        Self { dimensions, frame_rate, pixel_format: PixelFormat::I420, noise: 0, frames: None }
    }

    /// Reads what follows `test:`: `WIDTHxHEIGHT[@FPS][,noise=N][,format=NAME][,frames=N]`; FPS may be `30000/1001`.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let refuse = |why| SourceError::Specification { spec: format!("test:{text}"), why };
        let mut parts = text.split(',');
        let picture = parts.next().unwrap_or_default();
        let (size, rate) = picture.split_once('@').unwrap_or((picture, "30"));
        let size = size.split_once('x').and_then(|(w, h)| Some(Dimensions::new(w.parse().ok()?, h.parse().ok()?)));
        let size = size.ok_or_else(|| refuse("a test pattern begins with its size, such as 1920x1080"))?;
        let rate =
            parse_rate(rate).ok_or_else(|| refuse("the frame rate must be a number such as 30 or 30000/1001"))?;
        let mut config = Self::new(size, rate);
        for part in parts {
            match part.split_once('=') {
                Some(("noise", value)) => {
                    config.noise =
                        value.parse().ok().filter(|&noise| noise <= 64).ok_or_else(|| refuse("noise is 0 to 64"))?;
                }
                Some(("format", value)) => {
                    config.pixel_format =
                        value.parse().map_err(|_| refuse("format is i420, gray8, gray16le or rgb8"))?;
                }
                Some(("frames", value)) => {
                    config.frames = Some(value.parse().map_err(|_| refuse("frames is a number"))?);
                }
                _ => return Err(refuse("the options are noise=, format= and frames=")),
            }
        }
        config.check().map_err(refuse)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), &'static str> {
        let Dimensions { width, height } = self.dimensions;
        if width < marker::MIN_SIZE.width || height < marker::MIN_SIZE.height || width.max(height) > MAX_SIDE {
            return Err("a test pattern has 128x48 to 16384x16384 pixels");
        }
        Ok(())
    }
}

fn parse_rate(text: &str) -> Option<FrameRate> {
    let (frames, seconds) = text.split_once('/').unwrap_or((text, "1"));
    let rate = FrameRate { frames: frames.parse().ok()?, seconds: seconds.parse().ok()? };
    (rate.frames > 0 && rate.seconds > 0 && rate.frames / rate.seconds <= 1000).then_some(rate)
}

/// Bars and gradients that scroll, a square that wanders, the frame's number and time as text and as a [`Marker`].
///
/// Without noise a frame depends on nothing but its number and time.
pub struct PatternSource {
    name: String,
    config: PatternConfig,
    clock: Arc<dyn Clock>,
    parameters: Arc<StreamParameters>,
    /// One row of luma, twice as long as the picture is wide, to scroll through.
    texture: Vec<u8>,
    /// A ring of noise, read from a new place each row.
    noise: Vec<u8>,
    random: u64,
    index: u64,
}

impl PatternSource {
    /// Checks the size and prepares the texture.
    pub fn new(config: PatternConfig, options: &SourceOptions) -> Result<Self, SourceError> {
        let Dimensions { width, height } = config.dimensions;
        let name = format!("test:{width}x{height}");
        config.check().map_err(|why| SourceError::Specification { spec: name.clone(), why })?;
        let mut parameters = StreamParameters::new(Codec::Raw, config.dimensions);
        parameters.pixel_format = Some(config.pixel_format);
        parameters.frame_rate = Some(config.frame_rate);
        let mut source = Self {
            name,
            texture: texture(width as usize),
            noise: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
            clock: options.clock.clone(),
            parameters: Arc::new(parameters),
            config,
            index: 0,
        };
        if source.config.noise > 0 {
            source.noise = (0..65_536 + width).map(|_| source.next_random().to_be_bytes()[0]).collect();
        }
        Ok(source)
    }

    fn is_done(&self) -> bool {
        self.config.frames.is_some_and(|frames| self.index >= frames)
    }

    /// A small generator of our own (xorshift64*): the same noise on every run.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn draw_luma(&mut self, luma: &mut [u8], unix_nanos: i64) {
        let size = self.config.dimensions;
        let (width, height) = (size.width as usize, size.height as usize);
        let step = usize::try_from(self.index % (1 << 20)).expect("below 2^20");
        for (y, row) in luma.chunks_exact_mut(width).enumerate() {
            // Lower bands move faster; each row is a little further, so that edges slant.
            let speed = 1 + y * 4 / height;
            let from = (step * speed + y / 4) % width;
            row.copy_from_slice(&self.texture[from..from + width]);
        }
        self.draw_square(luma, step);
        if self.config.noise > 0 {
            self.add_noise(luma);
        }
        digits::write(&digits::caption(self.index, unix_nanos), luma, size);
        let counter = u32::try_from(self.index & 0xffff_ffff).expect("masked to 32 bits");
        Marker { counter, unix_nanos }.draw(luma, size);
    }

    fn draw_square(&self, luma: &mut [u8], step: usize) {
        let (width, height) = (self.config.dimensions.width as usize, self.config.dimensions.height as usize);
        let side = height / 6;
        let (left, top) = (bounce(step * 5, width - side), bounce(step * 3, height - side));
        for row in luma.chunks_exact_mut(width).skip(top).take(side) {
            row[left..left + side].fill(200);
        }
    }

    fn add_noise(&mut self, luma: &mut [u8]) {
        let width = self.config.dimensions.width as usize;
        let amplitude = i32::from(self.config.noise);
        for row in luma.chunks_exact_mut(width) {
            let from = usize::try_from(self.next_random() >> 48).expect("16 bits");
            for (pixel, &noise) in row.iter_mut().zip(&self.noise[from..]) {
                let shifted = i32::from(*pixel) + (i32::from(noise) - 128) * amplitude / 128;
                *pixel = u8::try_from(shifted.clamp(16, 235)).expect("clamped");
            }
        }
    }

    /// Two slow colour gradients; neutral where text and marker are.
    fn draw_chroma(&self, chroma: &mut [u8]) {
        let Dimensions { width, height } = self.config.dimensions;
        let (columns, rows) = (width.div_ceil(2) as usize, height.div_ceil(2) as usize);
        let phase = usize::try_from(self.index % 256).expect("below 256");
        for (plane, pixels) in chroma.chunks_exact_mut(columns * rows).enumerate() {
            for (y, row) in pixels.chunks_exact_mut(columns).enumerate() {
                let is_neutral = y < rows / 4 || y >= rows * 5 / 8;
                let value = triangle(if plane == 0 { phase + y * 128 / rows } else { phase * 2 + y * 64 / rows });
                row.fill(if is_neutral { 128 } else { 64 + value / 2 });
            }
        }
    }

    fn draw(&mut self, unix_nanos: i64) -> Bytes {
        let size = self.config.dimensions;
        let luma_bytes = size.width as usize * size.height as usize;
        let with_chroma = matches!(self.config.pixel_format, PixelFormat::I420 | PixelFormat::Rgb8);
        let layout = if with_chroma { PixelFormat::I420 } else { PixelFormat::Gray8 };
        let mut pixels = vec![0; layout.frame_bytes(size).expect("the size was checked")];
        self.draw_luma(&mut pixels[..luma_bytes], unix_nanos);
        self.draw_chroma(&mut pixels[luma_bytes..]);
        Bytes::from(match self.config.pixel_format {
            PixelFormat::Gray16Le => pixels.iter().flat_map(|&luma| [luma, luma]).collect(),
            PixelFormat::Rgb8 => to_rgb(&pixels, size),
            _ => pixels,
        })
    }
}

/// Bars, then a gradient, then fine stripes; twice, so that any window of one width lies inside.
fn texture(width: usize) -> Vec<u8> {
    let value = |x: usize| match x * 3 / width {
        0 => [48, 80, 112, 144, 176, 208][x * 18 / width % 6],
        1 => 32 + triangle(x * 512 / width),
        _ => {
            if (x / 3).is_multiple_of(2) {
                90
            } else {
                160
            }
        }
    };
    (0..2 * width).map(|x| value(x % width)).collect()
}

/// 0 up to 127 and back, with a period of 256.
fn triangle(phase: usize) -> u8 {
    let phase = phase % 256;
    u8::try_from(if phase < 128 { phase } else { 255 - phase }).expect("below 128")
}

/// To and fro between 0 and `span`.
fn bounce(step: usize, span: usize) -> usize {
    let at = step % (2 * span.max(1));
    if at < span { at } else { 2 * span - at }.min(span)
}

/// BT.601, limited range (ITU-R BT.601-7, 2.5).
fn to_rgb(i420: &[u8], size: Dimensions) -> Vec<u8> {
    let (width, height) = (size.width as usize, size.height as usize);
    let columns = width.div_ceil(2);
    let (luma, chroma) = i420.split_at(width * height);
    let (blue, red) = chroma.split_at(columns * height.div_ceil(2));
    let mut out = Vec::with_capacity(3 * width * height);
    let clamp = |value: i32| u8::try_from((value >> 8).clamp(0, 255)).expect("clamped");
    for (at, &y) in luma.iter().enumerate() {
        let c = at / width / 2 * columns + at % width / 2;
        let (y, u, v) = (298 * (i32::from(y) - 16) + 128, i32::from(blue[c]) - 128, i32::from(red[c]) - 128);
        out.extend_from_slice(&[clamp(y + 409 * v), clamp(y - 100 * u - 208 * v), clamp(y + 516 * u)]);
    }
    out
}

impl Source for PatternSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn next_media_time(&self) -> Option<Duration> {
        (!self.is_done()).then(|| due(self.index, self.config.frame_rate))
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if self.is_done() {
            return Ok(None);
        }
        let capture = CaptureTime::sensor(self.clock.unix_nanos());
        let pixels = self.draw(capture.unix_nanos);
        let mut frame = RawFrame::new(self.config.pixel_format, self.config.dimensions, pixels, capture)
            .expect("drawn in format and size");
        frame.pts = Some(ticks(self.index, self.config.frame_rate));
        let media_time = due(self.index, self.config.frame_rate);
        self.index += 1;
        Ok(Some(SourceItem::Raw { frame, media_time, is_discontinuity: false }))
    }
}
