//! What every pixel looks like when nothing is there.
//!
//! Per pixel: the background, how much it varies, and one other look, each with the seconds that it was seen.
//! Whatever stays as it is for long becomes the background, and the look before is remembered: where a car was
//! parked, the street is known.

use super::MotionConfig;
use super::scale::Reduced;

/// A first guess of a pixel's variance, in squared levels.
const FIRST_VARIANCE: f32 = 36.0;
/// Thresholds beyond this would see nothing.
const MAX_THRESHOLD: f32 = 48.0;
/// How fast a look that does not show is forgotten, against how fast it is learnt.
const FORGETTING: f32 = 0.1;
/// A look becomes background when it was seen this much longer than the background was.
const MAJORITY: f32 = 1.5;
/// However little the background was seen.
pub(super) const LEAST_ABSORB_SECONDS: f32 = 1.0;
/// How fast the other look follows its pixel.
const FOLLOWING: f32 = 0.1;
/// Added to levels before they are divided by each other: ratios of dark pixels are noise.
const DARK: f32 = 8.0;
/// Steps per unit in the histogram of ratios.
const RATIO_STEPS: f32 = 128.0;
/// Every this many rows and columns one pixel votes on the light.
const LIGHT_STEP: usize = 3;
/// Changes of the light below this are left to learning.
const LIGHT_TOLERANCE: f32 = 0.012;

/// A pixel's mark when it is background.
pub(super) const BACKGROUND: u8 = 0;
/// A pixel's mark when it is not; higher marks are 256 times its level in parts of the background's: it may be a
/// shadow.
pub(super) const FOREGROUND: u8 = 1;

#[derive(Debug, Clone, Copy)]
struct Pixel {
    look: [f32; 3],
    look_seconds: f32,
    variance: f32,
    other: [f32; 3],
    other_seconds: f32,
    /// Whether the other look was the background once.
    is_known: bool,
}

/// The background of one stream.
#[derive(Debug, Default)]
pub(super) struct Background {
    pixels: Vec<Pixel>,
}

/// How much one picture counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Part of the way that the background goes towards its pixel.
    pub(super) rate: f32,
    /// Since the last picture.
    pub(super) seconds: f32,
    /// What stays as it is this long is background; the most that a look's seconds count.
    pub(super) absorb_seconds: f32,
}

/// Squared thresholds.
struct Limits {
    noise: f32,
    least: f32,
    colour: f32,
    shadow_colour: f32,
    shadow: std::ops::RangeInclusive<f32>,
}

impl Limits {
    fn new(config: &MotionConfig) -> Self {
        Self {
            noise: config.noise_factor * config.noise_factor,
            least: config.min_contrast * config.min_contrast,
            colour: config.min_colour * config.min_colour,
            shadow_colour: config.shadow_colour * config.shadow_colour,
            shadow: config.shadow_darkest..=config.shadow_brightest,
        }
    }
}

fn squared_distances(a: [f32; 3], b: [f32; 3]) -> (f32, f32) {
    let [y, u, v] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    (y * y, u * u + v * v)
}

fn towards(look: &mut [f32; 3], pixel: [f32; 3], rate: f32) {
    for (look, pixel) in look.iter_mut().zip(pixel) {
        *look += rate * (pixel - *look);
    }
}

impl Background {
    /// Takes one picture for the background.
    pub(super) fn start(&mut self, picture: &Reduced) {
        let looks = looks(picture);
        self.pixels.clear();
        self.pixels.extend(looks.map(Pixel::new));
    }

    pub(super) fn is_for(&self, picture: &Reduced) -> bool {
        !self.pixels.is_empty() && self.pixels.len() == picture.luma.len()
    }

    /// Follows a change of the light on the whole picture at once.
    pub(super) fn follow_light(&mut self, picture: &Reduced) {
        let gain = self.light(picture);
        if (gain - 1.0).abs() <= LIGHT_TOLERANCE {
            return;
        }
        let scale = |look: [f32; 3]| {
            let chroma = |part: f32| (128.0 + (part - 128.0) * gain).clamp(0.0, 255.0);
            [((look[0] + DARK) * gain - DARK).clamp(0.0, 255.0), chroma(look[1]), chroma(look[2])]
        };
        for pixel in &mut self.pixels {
            pixel.look = scale(pixel.look);
            pixel.other = scale(pixel.other);
        }
    }

    /// The median of level / background: what moves covers less than half of the picture.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ratios are positive, bins clamped")]
    #[expect(clippy::cast_precision_loss, reason = "a bin's number is small")]
    fn light(&self, picture: &Reduced) -> f32 {
        let mut bins = [0_u32; 512];
        let mut votes = 0;
        let rows = self.pixels.chunks_exact(picture.width).zip(picture.luma.chunks_exact(picture.width));
        for (pixels, luma) in rows.step_by(LIGHT_STEP) {
            for (pixel, level) in pixels.iter().zip(luma).step_by(LIGHT_STEP) {
                let ratio = (f32::from(*level) + DARK) / (pixel.look[0] + DARK);
                bins[((ratio * RATIO_STEPS + 0.5) as usize).min(511)] += 1;
                votes += 1;
            }
        }
        let mut below = 0;
        let median = bins.iter().position(|count| {
            below += count;
            below * 2 > votes
        });
        median.map_or(1.0, |bin| bin as f32 / RATIO_STEPS)
    }

    /// Marks every pixel, learns from it, and tells how many are not background.
    ///
    /// `excess` is how far beyond its threshold a marked pixel is, in eighths of it.
    pub(super) fn mark(
        &mut self,
        picture: &Reduced,
        config: &MotionConfig,
        step: Step,
        marks: &mut [u8],
        excess: &mut [u8],
    ) -> usize {
        let limits = Limits::new(config);
        let mut marked = 0;
        let outputs = marks.iter_mut().zip(excess);
        for ((pixel, seen), (mark, excess)) in self.pixels.iter_mut().zip(looks(picture)).zip(outputs) {
            (*mark, *excess) = pixel.judge(seen, &limits, step);
            marked += usize::from(*mark != BACKGROUND);
        }
        marked
    }
}

fn looks(picture: &Reduced) -> impl Iterator<Item = [f32; 3]> {
    let chroma = picture.u.iter().zip(&picture.v);
    picture.luma.iter().zip(chroma).map(|(y, (u, v))| [f32::from(*y), f32::from(*u), f32::from(*v)])
}

impl Pixel {
    fn new(look: [f32; 3]) -> Self {
        let (variance, other) = (FIRST_VARIANCE, look);
        Self { look, look_seconds: 0.0, variance, other, other_seconds: 0.0, is_known: false }
    }

    #[inline]
    fn judge(&mut self, seen: [f32; 3], limits: &Limits, step: Step) -> (u8, u8) {
        let limit = (self.variance * limits.noise).clamp(limits.least, MAX_THRESHOLD * MAX_THRESHOLD);
        let (luma, colour) = squared_distances(seen, self.look);
        if luma <= limit && colour <= limits.colour {
            towards(&mut self.look, seen, step.rate);
            self.variance += step.rate * (luma - self.variance);
            self.look_seconds = (self.look_seconds + step.seconds).min(step.absorb_seconds);
            self.other_seconds = (self.other_seconds - FORGETTING * step.seconds).max(0.0);
            return (BACKGROUND, 0);
        }
        let (other_luma, other_colour) = squared_distances(seen, self.other);
        if other_luma <= limit && other_colour <= limits.colour {
            towards(&mut self.other, seen, FOLLOWING);
            self.other_seconds = (self.other_seconds + step.seconds).min(step.absorb_seconds);
            let needed = (MAJORITY * self.look_seconds).clamp(LEAST_ABSORB_SECONDS, step.absorb_seconds);
            if self.is_known || self.other_seconds >= needed {
                self.swap();
                return (BACKGROUND, 0);
            }
        } else {
            self.forget_other(seen, step.seconds);
        }
        (self.kind(seen, limits), eighths((luma / limit).max(colour / limits.colour)))
    }

    fn swap(&mut self) {
        std::mem::swap(&mut self.look, &mut self.other);
        std::mem::swap(&mut self.look_seconds, &mut self.other_seconds);
        self.is_known = true;
    }

    /// A look that is neither: it takes the other's place when that has not been seen for long.
    fn forget_other(&mut self, seen: [f32; 3], seconds: f32) {
        self.other_seconds -= if self.is_known { FORGETTING * seconds } else { seconds };
        if self.other_seconds <= 0.0 {
            (self.other, self.other_seconds, self.is_known) = (seen, 0.0, false);
        }
    }

    /// A shadow is darker by a part, and as colourful as before by the same part.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio lies within 0 to 1")]
    fn kind(&self, seen: [f32; 3], limits: &Limits) -> u8 {
        let ratio = (seen[0] + 1.0) / (self.look[0] + 1.0);
        if !limits.shadow.contains(&ratio) {
            return FOREGROUND;
        }
        let [u, v] = [1, 2].map(|part| (seen[part] - 128.0) - ratio * (self.look[part] - 128.0));
        if u * u + v * v > limits.shadow_colour {
            return FOREGROUND;
        }
        ((ratio * 256.0) as u8).max(FOREGROUND + 1)
    }
}

/// The root of a square, in eighths, as a byte.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn eighths(square: f32) -> u8 {
    (square.sqrt() * 8.0).clamp(0.0, 255.0) as u8
}
