//! What moves in front of a still background.
//!
//! The picture is made small, each of its pixels compared with what it usually is, and what differs is cleaned of
//! shadows and specks and cut into rectangles. How, and why so: `docs/design/vision.md`.

mod background;
mod blobs;
mod clean;
mod config;
mod scale;

use crate::{Bounds, Detection, Detector, Model, VisionError};
use background::{Background, Step};
use blobs::{Blob, Labeller, merge_nested};
use lumenbus_frame::{Dimensions, RawFrame};
use scale::Reduced;
use std::sync::Arc;

pub use config::MotionConfig;

const DETECTOR: &str = "motion";
/// Changes with everything that changes what is found.
const VERSION: &str = "1";
/// The class of what is found.
const CLASS: &str = "motion";
/// Shortest side of a picture.
const MIN_SIDE: u32 = 16;
/// Shortest side at the working scale.
const MIN_WORKING_SIDE: usize = 8;
/// Time between pictures: what is outside says nothing of how fast the view changes.
const SECONDS: std::ops::RangeInclusive<f32> = 0.01..=1.0;
/// Where capture times don't rise.
const UNKNOWN_SECONDS: f32 = 0.04;
/// Part of the way that the background goes with one picture, at least and at most.
const RATES: std::ops::RangeInclusive<f32> = 0.002..=0.1;
/// Pictures that belong to the warm-up, however far apart they are.
const WARM_UP_PICTURES: u32 = 8;

/// Learns the background of one stream and reports what differs from it, with the class `motion`.
///
/// Reads I420, 8-bit gray (shadows are told by luma alone) and RGB. The same pictures give the same boxes. Time is
/// the pictures' capture time.
#[derive(Debug)]
pub struct MotionDetector {
    config: MotionConfig,
    model: Model,
    class: Arc<str>,
    background: Background,
    /// Of the pictures that were learnt.
    size: Option<Dimensions>,
    captured_unix_nanos: i64,
    /// Pictures and seconds since the background was begun.
    pictures: u32,
    age_seconds: f32,
    /// For how long most of the picture has been different.
    changed_seconds: f32,
    work: Work,
}

/// Buffers that are used again for every picture.
#[derive(Debug, Default)]
struct Work {
    picture: Reduced,
    marks: Vec<u8>,
    excess: Vec<u8>,
    mask: Vec<u8>,
    scratch: Vec<u8>,
    grown: Vec<u8>,
    labeller: Labeller,
}

impl MotionDetector {
    /// A detector that has seen nothing yet.
    #[must_use]
    pub fn new(config: MotionConfig) -> Self {
        Self {
            config,
            model: Model::new(DETECTOR, VERSION),
            class: CLASS.into(),
            background: Background::default(),
            size: None,
            captured_unix_nanos: 0,
            pictures: 0,
            age_seconds: 0.0,
            changed_seconds: 0.0,
            work: Work::default(),
        }
    }

    fn begin(&mut self) {
        self.background.start(&self.work.picture);
        (self.pictures, self.age_seconds, self.changed_seconds) = (1, 0.0, 0.0);
    }

    fn is_warm(&self) -> bool {
        self.pictures > WARM_UP_PICTURES && self.age_seconds > self.config.warm_up_seconds
    }

    /// Seconds since the last picture.
    #[expect(clippy::cast_precision_loss, reason = "only up to a second counts")]
    fn elapsed(&mut self, picture: &RawFrame) -> f32 {
        let nanos = picture.capture.unix_nanos.saturating_sub(self.captured_unix_nanos);
        self.captured_unix_nanos = picture.capture.unix_nanos;
        if nanos <= 0 { UNKNOWN_SECONDS } else { (nanos as f32 / 1e9).clamp(*SECONDS.start(), *SECONDS.end()) }
    }

    #[expect(clippy::cast_precision_loss, reason = "precise enough for a rate")]
    fn step(&self, seconds: f32) -> Step {
        let usual = (seconds / self.config.adapt_seconds).clamp(*RATES.start(), *RATES.end());
        // At first the background is the mean of all pictures.
        let rate = usual.max(1.0 / (self.pictures as f32 + 1.0));
        // The least keeps the limits of a look's seconds in order.
        Step { rate, seconds, absorb_seconds: self.config.absorb_seconds.max(background::LEAST_ABSORB_SECONDS) }
    }

    /// Whether this picture tells something: the background is known, and the view is still the same.
    #[expect(clippy::cast_precision_loss, reason = "a part of the picture")]
    fn is_telling(&mut self, marked: usize, seconds: f32) -> bool {
        let coverage = marked as f32 / self.work.picture.luma.len() as f32;
        if coverage <= self.config.max_coverage {
            self.changed_seconds = 0.0;
            return self.is_warm();
        }
        self.changed_seconds += seconds;
        if self.changed_seconds > self.config.warm_up_seconds {
            self.begin();
        }
        false
    }

    fn clean(&mut self) {
        let work = &mut self.work;
        let width = work.picture.width;
        work.mask.resize(work.marks.len(), 0);
        if self.config.drop_shadows {
            clean::drop_shadows(&work.marks, width, self.config.shadow_evenness, &mut work.mask);
        } else {
            let is_marked = |mark: &u8| u8::from(*mark != background::BACKGROUND);
            work.mask.iter_mut().zip(&work.marks).for_each(|(out, mark)| *out = is_marked(mark));
        }
        work.scratch.resize(work.marks.len(), 0);
        clean::majority(&mut work.mask, width, &mut work.scratch);
    }

    fn blobs(&mut self) -> Vec<Blob> {
        let longest = self.work.picture.width.max(self.work.picture.height);
        let radius = |part: f32| pixels(part, longest).div_ceil(2).max(1);
        let radius = (radius(self.config.join.0), radius(self.config.join.1));
        let work = &mut self.work;
        clean::grow(&work.mask, work.picture.width, radius, &mut work.scratch, &mut work.grown);
        let mut blobs = work.labeller.find(&work.mask, &work.grown, &work.excess, work.picture.width);
        let min_pixels = pixels(self.config.min_area, work.mask.len());
        let min_side = pixels(self.config.min_side, longest);
        blobs.retain(|blob| blob.pixels >= min_pixels && blob.width() >= min_side && blob.height() >= min_side);
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.pixels));
        // More than this are leaves in a storm; merging takes their square.
        blobs.truncate(4 * self.config.max_detections);
        merge_nested(&mut blobs, self.config.nested);
        let max_area = pixels(self.config.max_area, work.mask.len());
        blobs.retain(|blob| blob.fill() >= self.config.min_fill && blob.area() <= max_area);
        blobs.sort_by_key(|blob| (std::cmp::Reverse(blob.pixels), blob.top, blob.left));
        blobs.truncate(self.config.max_detections);
        blobs
    }

    /// A blob in pixels of the picture. Its score is 0.5 at the threshold, and nears 1 with the contrast.
    #[expect(clippy::cast_precision_loss, reason = "sides of pictures are exact, and a score is no exact thing")]
    fn detection(&self, blob: &Blob, size: Dimensions) -> Option<Detection> {
        let scale = |side: usize| (side * self.work.picture.factor) as f32;
        let bounds = Bounds::new(scale(blob.left), scale(blob.top), scale(blob.width()), scale(blob.height()));
        let contrast = blob.weight as f32 / (8.0 * blob.pixels as f32);
        let score = (contrast / (contrast + 1.0)).clamp(0.0, 1.0);
        let bounds = bounds.clipped(size.width as f32, size.height as f32)?;
        Some(Detection { class: Arc::clone(&self.class), score, bounds })
    }
}

/// A part of a number of pixels, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part is positive, and floats saturate")]
#[expect(clippy::cast_precision_loss, reason = "pictures are small here")]
fn pixels(part: f32, of: usize) -> usize {
    (part * of as f32 + 0.5) as usize
}

impl Detector for MotionDetector {
    fn model(&self) -> &Model {
        &self.model
    }

    fn detect(&mut self, picture: &RawFrame) -> Result<Vec<Detection>, VisionError> {
        let size = picture.dimensions();
        let factor = scale::factor(size, self.config.working_side);
        let shortest = size.width.min(size.height);
        if shortest < MIN_SIDE || (shortest as usize) / factor < MIN_WORKING_SIDE {
            let least = MIN_SIDE.max(u32::try_from(factor * MIN_WORKING_SIDE).unwrap_or(u32::MAX));
            return Err(VisionError::Small { detector: DETECTOR, least, width: size.width, height: size.height });
        }
        self.work.picture.load(picture, factor)?;
        let seconds = self.elapsed(picture);
        if self.size != Some(size) || !self.background.is_for(&self.work.picture) {
            self.size = Some(size);
            self.begin();
            return Ok(Vec::new());
        }
        self.background.follow_light(&self.work.picture);
        let step = self.step(seconds);
        let work = &mut self.work;
        work.marks.resize(work.picture.luma.len(), 0);
        work.excess.resize(work.picture.luma.len(), 0);
        let marked = self.background.mark(&work.picture, &self.config, step, &mut work.marks, &mut work.excess);
        self.pictures = self.pictures.saturating_add(1);
        self.age_seconds += seconds;
        if !self.is_telling(marked, seconds) {
            return Ok(Vec::new());
        }
        self.clean();
        let blobs = self.blobs();
        Ok(blobs.iter().filter_map(|blob| self.detection(blob, size)).collect())
    }

    fn reset(&mut self) {
        self.size = None;
    }
}
