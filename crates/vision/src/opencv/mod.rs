//! People and faces by the system's OpenCV. Only in builds with the feature `opencv`.
//!
//! Each picture is looked at by itself, in gray, at a bounded size; the many windows around one thing become one box.
//! How, and how well: `docs/design/vision.md`.

mod groups;

use crate::{Bounds, Detection, Detector, Model, VisionError};
use groups::{Group, group};
use lumenbus_frame::{Dimensions, PixelFormat, RawFrame};
use lumenbus_opencv::Gray;
use lumenbus_wire::MAX_DETECTIONS;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Changes with everything here that changes what is found.
const VERSION: &str = "1";
/// Windows of one picture that are put together; a street full of people gives some hundred.
const MAX_WINDOWS: usize = 4096;
/// The largest that OpenCV brings has 3 MB.
const MAX_CASCADE_BYTES: u64 = 16 << 20;
/// Where the packages of OpenCV put their data.
const DATA: [&str; 3] = ["/usr/share/opencv4", "/usr/local/share/opencv4", "/opt/homebrew/share/opencv4"];
const FACE_CASCADE: &str = "haarcascades/haarcascade_frontalface_default.xml";

/// How a detector looks at a picture.
#[derive(Debug)]
struct Search {
    name: &'static str,
    class: &'static str,
    /// The longest side of the picture that is looked at.
    working_side: f64,
    /// Small pictures are made at most so much larger.
    max_scale: f64,
    /// The longer side of the smallest window.
    window: f64,
    /// Windows of less count for nothing.
    least_weight: f64,
    /// Windows around a thing, at least.
    least_windows: u16,
    /// What of a window's sides the thing in it takes up: it is in the middle.
    fill: (f32, f32),
    score: fn(&Group) -> f32,
}

/// A window has room around the person. The weight is a distance from the border between the classes.
static PEOPLE: Search = Search {
    name: "people",
    class: "person",
    working_side: 1024.0,
    max_scale: 2.0,
    window: 128.0,
    least_weight: 0.2,
    least_windows: 3,
    fill: (0.5, 0.75),
    score: |group| 1.0 / (1.0 + (-2.0 * group.weight).exp()),
};

/// A cascade says only yes or no: how many windows say yes tells how sure it is.
static FACE: Search = Search {
    name: "face",
    class: "face",
    working_side: 1024.0,
    max_scale: 1.0,
    window: 24.0,
    least_weight: 0.0,
    least_windows: 5,
    fill: (1.0, 1.0),
    score: |group| f32::from(group.windows) / (f32::from(group.windows) + 5.0),
};

/// What the detectors of all streams share.
#[derive(Debug, Clone)]
pub(crate) struct OpencvLoaded {
    search: &'static Search,
    /// The text of the cascade, where the detector is one.
    cascade: Option<Arc<str>>,
}

impl OpencvLoaded {
    /// Standing and walking people.
    pub(crate) fn people() -> Result<Self, VisionError> {
        Self { search: &PEOPLE, cascade: None }.tried()
    }

    /// Faces that look at the camera.
    pub(crate) fn face() -> Result<Self, VisionError> {
        let paths = DATA.map(|folder| Path::new(folder).join(FACE_CASCADE));
        let found = paths.iter().find(|path| path.is_file()).unwrap_or(&paths[0]);
        Self { search: &FACE, cascade: Some(read_cascade(FACE.name, found)?) }.tried()
    }

    /// Says now what would keep every picture from being looked at.
    fn tried(self) -> Result<Self, VisionError> {
        self.engine()?;
        Ok(self)
    }

    fn engine(&self) -> Result<lumenbus_opencv::Detector, VisionError> {
        match &self.cascade {
            None => lumenbus_opencv::Detector::people(),
            Some(xml) => lumenbus_opencv::Detector::cascade(xml),
        }
        .map_err(|error| VisionError::Opencv { detector: self.search.name, error })
    }

    /// A detector for one stream.
    pub(crate) fn open(&self) -> OpencvDetector {
        let version = format!("{VERSION}-opencv-{}", lumenbus_opencv::version());
        OpencvDetector {
            model: Model::new(self.search.name, version.as_str()),
            class: self.search.class.into(),
            loaded: self.clone(),
            engine: None,
            gray: Vec::new(),
        }
    }
}

fn read_cascade(detector: &'static str, path: &Path) -> Result<Arc<str>, VisionError> {
    let mut text = String::new();
    let read = |text: &mut String| std::fs::File::open(path)?.take(MAX_CASCADE_BYTES).read_to_string(text);
    match read(&mut text) {
        Ok(_) => Ok(text.into()),
        Err(source) => Err(VisionError::Data { detector, path: PathBuf::from(path), package: "opencv-data", source }),
    }
}

/// Looks for one class with OpenCV. Reads I420, 8-bit gray and RGB.
pub(crate) struct OpencvDetector {
    model: Model,
    class: Arc<str>,
    loaded: OpencvLoaded,
    /// Opened with the first picture: it belongs to one thread at a time and cannot be shared.
    engine: Option<lumenbus_opencv::Detector>,
    /// Of pictures whose luma is no plane of its own; used again.
    gray: Vec<u8>,
}

impl OpencvDetector {
    /// A group as something in the picture, without the room that a window has around it.
    #[expect(clippy::cast_precision_loss, reason = "sides of pictures are exact")]
    fn detection(&self, group: &Group, size: Dimensions) -> Option<Detection> {
        let search = self.loaded.search;
        let (x, y) = group.bounds.centre();
        let (width, height) = (group.bounds.width * search.fill.0, group.bounds.height * search.fill.1);
        let bounds = Bounds::new(x - width / 2.0, y - height / 2.0, width, height);
        let bounds = bounds.clipped(size.width as f32, size.height as f32)?;
        Some(Detection { class: Arc::clone(&self.class), score: (search.score)(group).clamp(0.0, 1.0), bounds })
    }
}

/// How many times as large the picture is looked at.
fn scale(search: &Search, size: Dimensions) -> Result<f64, VisionError> {
    let longest = f64::from(size.width.max(size.height));
    let scale = (search.working_side / longest).min(search.max_scale);
    let shortest = size.width.min(size.height);
    if f64::from(shortest) * scale >= search.window {
        return Ok(scale);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^32: the scale is above 2^-22")]
    let least = (search.window / scale).ceil() as u32;
    Err(VisionError::Small { detector: search.name, least, width: size.width, height: size.height })
}

/// The picture's luma; BT.601 of RGB.
fn luma<'a>(detector: &'static str, picture: &'a RawFrame, gray: &'a mut Vec<u8>) -> Result<&'a [u8], VisionError> {
    let size = picture.dimensions();
    match picture.format() {
        PixelFormat::I420 | PixelFormat::Gray8 => Ok(&picture.pixels()[..size.width as usize * size.height as usize]),
        PixelFormat::Rgb8 => {
            gray.clear();
            let (pixels, _) = picture.pixels().as_chunks::<3>();
            #[expect(clippy::cast_possible_truncation, reason = "the weights are 2^8 together")]
            let luma =
                |[r, g, b]: &[u8; 3]| ((77 * u32::from(*r) + 150 * u32::from(*g) + 29 * u32::from(*b)) >> 8) as u8;
            gray.extend(pixels.iter().map(luma));
            Ok(gray)
        }
        format => Err(VisionError::Format { detector, format, readable: "i420, gray8, rgb8" }),
    }
}

impl Detector for OpencvDetector {
    fn model(&self) -> &Model {
        &self.model
    }

    fn detect(&mut self, picture: &RawFrame) -> Result<Vec<Detection>, VisionError> {
        let (search, size) = (self.loaded.search, picture.dimensions());
        let pixels = luma(search.name, picture, &mut self.gray)?;
        let scale = scale(search, size)?;
        let engine = match &mut self.engine {
            Some(engine) => engine,
            none => none.insert(self.loaded.engine()?),
        };
        let gray = Gray { pixels, stride: size.width as usize, size: (size.width, size.height) };
        let found = engine.find(&gray, scale, MAX_WINDOWS);
        let mut windows = found.map_err(|error| VisionError::Opencv { detector: search.name, error })?;
        windows.retain(|window| window.weight >= search.least_weight);
        let groups = group(&windows, search.least_windows);
        Ok(groups.iter().filter_map(|group| self.detection(group, size)).take(MAX_DETECTIONS).collect())
    }

    /// Nothing is learnt.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_cascade_names_the_package_that_brings_it() {
        let error = read_cascade("face", Path::new("/nowhere/cascade.xml")).unwrap_err().to_string();
        for part in ["face", "/nowhere/cascade.xml", "opencv-data"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_cascade_is_refused() {
        for text in ["", "not XML", "<opencv_storage><a>1</a></opencv_storage>"] {
            let error = OpencvLoaded { search: &FACE, cascade: Some(text.into()) }.tried().unwrap_err();
            assert!(matches!(error, VisionError::Opencv { detector: "face", .. }), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn scales_are_bounded_and_leave_room_for_a_window() {
        let people = |width, height| scale(&PEOPLE, Dimensions::new(width, height));
        assert!((people(64, 64).unwrap() - 2.0).abs() < 1e-9);
        assert!((people(4096, 2048).unwrap() - 0.25).abs() < 1e-9);
        assert!(matches!(people(63, 200), Err(VisionError::Small { least: 64, width: 63, height: 200, .. })));
        assert!(matches!(people(4096, 511), Err(VisionError::Small { least: 512, .. })));
    }
}
