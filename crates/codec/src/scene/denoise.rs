//! Takes noise out of what does not move.

use super::{is_alike, noise, planes};
use bytes::Bytes;
use lumenbus_frame::RawFrame;

/// How much of a small difference to the picture before is taken over, of [`WHOLE`]; more of larger ones, all from the
/// threshold on.
const LEAST: i16 = 64;
const WHOLE: i16 = 256;
/// Samples filtered at a time.
const LANES: usize = 64;
/// A difference of so many standard deviations of the noise is no noise.
const THRESHOLD_SIGMAS: f64 = 3.0;
/// Threshold, in levels: at least, so that the last step of a fading difference is noise, and at most, so that what is
/// really there is never smeared by more than an eye can see.
const THRESHOLD: std::ops::RangeInclusive<f64> = 2.0..=12.0;

/// A recursive filter over time: samples that differ little from the filtered picture before follow slowly, others at
/// once. It changes no sample by 12 levels or more, holds back no picture and needs no second one.
#[derive(Debug, Default)]
pub struct Denoiser {
    filtered: Option<RawFrame>,
}

impl Denoiser {
    /// The picture with less noise; the first one of a size, and what is not of 8-bit samples, as it is.
    #[must_use]
    pub fn filter(&mut self, picture: &RawFrame) -> RawFrame {
        let before = self.filtered.take().filter(|before| is_alike(before, picture));
        let filtered = before.and_then(|before| blend(&before, picture)).unwrap_or_else(|| picture.clone());
        self.filtered = Some(filtered.clone());
        filtered
    }
}

fn blend(before: &RawFrame, picture: &RawFrame) -> Option<RawFrame> {
    let luma = planes(picture).into_iter().next()?;
    let (last, now) = (before.pixels(), picture.pixels());
    let levels = THRESHOLD_SIGMAS * noise::sigma(last, now, luma);
    #[expect(clippy::cast_possible_truncation, reason = "at most 12")]
    let threshold = levels.clamp(*THRESHOLD.start(), *THRESHOLD.end()).round() as i16;
    let mut pixels = Vec::with_capacity(now.len());
    let ((last, last_rest), (now, now_rest)) = (last.as_chunks::<LANES>(), now.as_chunks::<LANES>());
    for (last, now) in last.iter().zip(now) {
        pixels.extend_from_slice(&follow(last, now, threshold));
    }
    let (mut last, mut now) = ([0; LANES], [0; LANES]);
    last[..last_rest.len()].copy_from_slice(last_rest);
    now[..now_rest.len()].copy_from_slice(now_rest);
    pixels.extend_from_slice(&follow(&last, &now, threshold)[..now_rest.len()]);
    let mut filtered =
        RawFrame::new(picture.format(), picture.dimensions(), Bytes::from(pixels), picture.capture).ok()?;
    filtered.pts = picture.pts;
    Some(filtered)
}

/// So many samples at a time, in a form that compilers make SIMD of.
fn follow(last: &[u8; LANES], now: &[u8; LANES], threshold: i16) -> [u8; LANES] {
    let slope = (WHOLE - LEAST) / threshold;
    let mut out = [0; LANES];
    for at in 0..LANES {
        let difference = i16::from(now[at]) - i16::from(last[at]);
        let least = difference.clamp(-threshold, threshold);
        let part = LEAST + least.abs() * slope;
        let followed = i16::from(last[at]) + ((least * part + WHOLE / 2) >> 8);
        let chosen = if difference.abs() < threshold { followed } else { i16::from(now[at]) };
        // Between the two samples, so a byte.
        out[at] = chosen.to_le_bytes()[0];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::scenes::{Noise, picture, wall};
    use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat};

    const SIZE: Dimensions = Dimensions { width: 160, height: 120 };

    fn error(one: &[u8], other: &[u8]) -> f64 {
        let squares: u32 = one.iter().zip(other).map(|(one, other)| u32::from(one.abs_diff(*other)).pow(2)).sum();
        f64::from(squares) / f64::from(u32::try_from(one.len()).unwrap())
    }

    #[test]
    fn noise_goes_and_what_moves_stays() {
        let mut noise = Noise(19);
        let clean = wall(SIZE, 0.0, &mut noise);
        let mut denoiser = Denoiser::default();
        let (mut before, mut after) = (0.0, 0.0);
        for step in 0..40_usize {
            let mut noisy = wall(SIZE, 3.0, &mut noise);
            let mut expected = clean.clone();
            // A bright square that moves by its side each time.
            for at in (0..64).map(|at| (40 + at / 8) * 160 + step % 18 * 8 + at % 8) {
                (noisy[at], expected[at]) = (240, 240);
            }
            let filtered = denoiser.filter(&picture(SIZE, noisy.clone()));
            let square = 40 * 160 + step % 18 * 8;
            assert_eq!(filtered.pixels()[square..square + 8], [240; 8], "the square is where it is");
            if step >= 10 {
                before += error(&noisy, &expected);
                after += error(filtered.pixels(), &expected);
            }
        }
        assert!(after < 0.5 * before, "{after} of {before}");
    }

    #[test]
    fn no_sample_is_changed_by_much_and_times_stay() {
        let mut noise = Noise(23);
        let mut denoiser = Denoiser::default();
        for step in 0..20 {
            let mut noisy = picture(SIZE, wall(SIZE, 12.0, &mut noise));
            (noisy.capture, noisy.pts) = (CaptureTime::arrival(step), Some(step));
            let filtered = denoiser.filter(&noisy);
            assert_eq!((filtered.capture, filtered.pts), (noisy.capture, noisy.pts));
            let most = filtered.pixels().iter().zip(noisy.pixels()).map(|(one, other)| one.abs_diff(*other)).max();
            assert!(most.unwrap() < 12, "{most:?}");
        }
    }

    #[test]
    fn another_size_begins_anew_and_16_bit_samples_pass() {
        let of = |format: PixelFormat, width: u32, byte: u8| {
            let size = Dimensions::new(width, 2);
            let pixels = vec![byte; format.frame_bytes(size).unwrap()];
            RawFrame::new(format, size, pixels.into(), CaptureTime::arrival(0)).unwrap()
        };
        let mut denoiser = Denoiser::default();
        for picture in [
            of(PixelFormat::Gray8, 2, 10),
            of(PixelFormat::Gray8, 1, 11),
            of(PixelFormat::Rgb8, 1, 12),
            of(PixelFormat::Gray16Le, 1, 13),
            of(PixelFormat::Gray16Le, 1, 14),
        ] {
            assert_eq!(denoiser.filter(&picture), picture);
        }
    }
}
