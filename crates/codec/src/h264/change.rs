//! How much a picture differs from the one before: what tells a cut, and a picture whose background is new.

use lumenbus_frame::RawFrame;

/// One luma sample of so many is compared: 0.2 ms at 1080p, and spread over the columns: of the usual widths only 2688 and 3584 are multiples of it.
const STEP: usize = 7;
/// Mean difference, in levels, from which a picture may be a new scene, and how far above the usual it has to be.
const CUT_LEVELS: f64 = 20.0;
const CUT_RATIO: f64 = 5.0;
/// A picture that differs so much more than usual, without a cut, renews what the ones after it will repeat.
const REFRESH_RATIO: f64 = 2.0;
/// Pictures that the usual difference is an average of.
const MEMORY: f64 = 8.0;

/// What a picture is to those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Like the ones before.
    Usual,
    /// Much of it is new, such as the noise of a camera's own keyframe.
    Refresh,
    /// Another scene.
    Cut,
}

#[derive(Debug, Default)]
pub(super) struct ChangeMeter {
    last: Vec<u8>,
    /// Mean difference per sample; `None` until there are two pictures.
    usual: Option<f64>,
}

impl ChangeMeter {
    /// Compares an I420 picture with the last one.
    pub(super) fn next(&mut self, picture: &RawFrame) -> Change {
        let size = picture.dimensions();
        let luma = &picture.pixels()[..size.width as usize * size.height as usize];
        let samples = luma.iter().step_by(STEP);
        if self.last.len() != luma.len().div_ceil(STEP) {
            self.last = samples.copied().collect();
            self.usual = None;
            return Change::Usual;
        }
        let mut sum = 0_u64;
        for (last, now) in self.last.iter_mut().zip(samples) {
            sum += u64::from(last.abs_diff(*now));
            *last = *now;
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean of samples")]
        let levels = sum as f64 / self.last.len() as f64;
        self.judge(levels)
    }

    fn judge(&mut self, levels: f64) -> Change {
        let usual = *self.usual.get_or_insert(levels);
        if levels > CUT_LEVELS && levels > CUT_RATIO * usual {
            // The new scene has a usual difference of its own.
            self.usual = None;
            return Change::Cut;
        }
        self.usual = Some(usual + (levels - usual) / MEMORY);
        if levels > REFRESH_RATIO * usual { Change::Refresh } else { Change::Usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat};

    #[test]
    fn cuts_and_refreshes_stand_out_from_what_is_usual() {
        let check = |levels: &[f64], expected: Change| {
            let mut meter = ChangeMeter::default();
            let changes: Vec<_> = levels.iter().map(|levels| meter.judge(*levels)).collect();
            assert_eq!(*changes.last().unwrap(), expected, "{levels:?}");
        };
        check(&[1.0, 1.0, 1.0], Change::Usual);
        check(&[1.0, 1.0, 2.5], Change::Refresh);
        check(&[0.0, 0.0, 0.1], Change::Refresh);
        check(&[0.0, 0.0, 0.0], Change::Usual);
        check(&[1.0, 1.0, 30.0], Change::Cut);
        // Fast motion is no cut, and what comes after a cut is not compared with what was before.
        check(&[15.0, 15.0, 30.0], Change::Usual);
        check(&[1.0, 30.0, 8.0, 9.0], Change::Usual);
    }

    #[test]
    fn pictures_are_compared_with_the_last_one_of_their_size() {
        let picture = |width: u32, luma: u8| {
            let size = Dimensions::new(width, 16);
            let pixels = vec![luma; PixelFormat::I420.frame_bytes(size).unwrap()];
            RawFrame::new(PixelFormat::I420, size, pixels.into(), CaptureTime::arrival(0)).unwrap()
        };
        let mut meter = ChangeMeter::default();
        for (width, luma, expected) in [
            (32, 10, Change::Usual),
            (32, 11, Change::Usual),
            (32, 12, Change::Usual),
            (32, 90, Change::Cut),
            (64, 10, Change::Usual),
            (64, 11, Change::Usual),
        ] {
            assert_eq!(meter.next(&picture(width, luma)), expected, "{width} {luma}");
        }
    }
}
