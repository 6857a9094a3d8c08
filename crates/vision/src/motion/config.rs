//! How motion is looked for.

/// What [`MotionDetector`](super::MotionDetector) goes by. Sizes are parts of the picture, so that one setting fits all.
#[derive(Debug, Clone, PartialEq)]
pub struct MotionConfig {
    /// The picture is halved until neither side is longer, in pixels. Work grows with its square.
    pub working_side: u32,
    /// Seconds after which a background that changes slowly has been followed by two thirds.
    pub adapt_seconds: f32,
    /// Seconds after which a thing that stands still is background; at least 1. It is sooner where the background
    /// was seen for less.
    pub absorb_seconds: f32,
    /// Seconds at the beginning, and after everything changed, in which nothing is reported.
    pub warm_up_seconds: f32,
    /// How many standard deviations of a pixel's own noise are a difference.
    pub noise_factor: f32,
    /// The least difference in luma, in levels, however quiet the pixel is.
    pub min_contrast: f32,
    /// The least difference in chroma, in levels.
    pub min_colour: f32,
    /// Whether shadows are taken out.
    pub drop_shadows: bool,
    /// Darkest shadow: its level in parts of the background's.
    pub shadow_darkest: f32,
    /// Faintest shadow: its level in parts of the background's.
    pub shadow_brightest: f32,
    /// How far a shadow's chroma may be from that of the darkened background, in levels.
    pub shadow_colour: f32,
    /// How much the darkening may vary in the neighbourhood of a pixel: its standard deviation in parts of the background's level.
    pub shadow_evenness: f32,
    /// Parts of a thing are joined across gaps of this part of the longer side, along rows and along columns. At
    /// least one working pixel.
    pub join: (f32, f32),
    /// The least number of changed pixels, in parts of the picture's.
    pub min_area: f32,
    /// A rectangle that covers more than this part of the picture tells nothing: the camera moves.
    pub max_area: f32,
    /// The least width and height, in parts of the longer side.
    pub min_side: f32,
    /// The least part of its rectangle that a thing fills.
    pub min_fill: f32,
    /// Of two rectangles, the smaller is taken in when this part of it lies inside the larger.
    pub nested: f32,
    /// When more of the picture than this has changed, the picture has, and nothing is reported.
    pub max_coverage: f32,
    /// Most things reported of a picture; the largest are.
    pub max_detections: usize,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self {
            working_side: 480,
            adapt_seconds: 12.0,
            absorb_seconds: 40.0,
            warm_up_seconds: 1.0,
            noise_factor: 3.5,
            min_contrast: 11.0,
            min_colour: 12.0,
            drop_shadows: true,
            shadow_darkest: 0.5,
            shadow_brightest: 0.95,
            shadow_colour: 7.0,
            shadow_evenness: 0.06,
            join: (0.003, 0.006),
            min_area: 0.000_4,
            max_area: 0.8,
            min_side: 0.008,
            min_fill: 0.2,
            nested: 0.6,
            max_coverage: 0.5,
            max_detections: 64,
        }
    }
}
