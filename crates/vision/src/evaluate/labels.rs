//! What is known of a clip.

use crate::Bounds;
use serde::Deserialize;

/// The version of the form that is read.
const VERSION: u32 = 1;

/// What was seen in a clip by eye. Frames are numbered from 0, in the order in which they are shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Of the form; see `tests/labels/README.md`.
    pub version: u32,
    /// The clip's file name.
    pub clip: String,
    /// The clip's SHA-256, in hexadecimal.
    pub sha256: String,
    /// Columns of its pictures.
    pub width: u32,
    /// Rows of its pictures.
    pub height: u32,
    /// Its pictures in a second.
    pub frames_per_second: u32,
    /// The pictures in which everything is labelled, rising.
    pub frames: Vec<LabelledFrame>,
    /// When anything is there at all, rising.
    pub presence: Vec<Interval>,
}

/// A picture and everything in it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledFrame {
    /// Its number.
    pub seq: u64,
    /// Everything in it.
    pub boxes: Vec<LabelledBox>,
}

/// A thing in a picture.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledBox {
    /// Left edge in pixels.
    pub x: f32,
    /// Upper edge in pixels.
    pub y: f32,
    /// Columns.
    pub width: f32,
    /// Rows.
    pub height: f32,
    /// What it is.
    pub class: String,
    /// It does not move from its place.
    #[serde(default)]
    pub still: bool,
    /// Neither to be found nor wrong when found.
    #[serde(default)]
    pub ignore: bool,
}

impl LabelledBox {
    /// Where it is.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds::new(self.x, self.y, self.width, self.height)
    }
}

/// Pictures from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The first.
    pub begin: u64,
    /// The last.
    pub end: u64,
}

/// Labels that say nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// Not the form that is read.
    #[error("labels are not of the form in tests/labels/README.md")]
    Form {
        /// Where and what.
        #[source]
        source: serde_json::Error,
    },
    /// A newer form.
    #[error("labels are of version {found}; this build reads version {VERSION}")]
    Version {
        /// Their version.
        found: u32,
    },
    /// Frames or intervals that don't rise.
    #[error("{what} of the labels must rise; {seq} comes too late")]
    Order {
        /// Frames or intervals.
        what: &'static str,
        /// The number at which they don't.
        seq: u64,
    },
    /// A box that lies outside of the picture, or is empty.
    #[error("a labelled box in frame {seq} is empty or not inside of {width} x {height} pixels")]
    Outside {
        /// The frame.
        seq: u64,
        /// Columns of the picture.
        width: u32,
        /// Rows of the picture.
        height: u32,
    },
}

impl Labels {
    /// Reads and checks them.
    ///
    /// # Errors
    /// What of them says nothing.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        let labels: Self = serde_json::from_str(text).map_err(|source| LabelError::Form { source })?;
        if labels.version != VERSION {
            return Err(LabelError::Version { found: labels.version });
        }
        rising("frames", labels.frames.iter().map(|frame| frame.seq))?;
        rising("presence", labels.presence.iter().flat_map(|interval| [interval.begin, interval.end]))?;
        labels.frames.iter().try_for_each(|frame| labels.check(frame))?;
        Ok(labels)
    }

    #[expect(clippy::cast_precision_loss, reason = "sides of pictures are exact")]
    fn check(&self, frame: &LabelledFrame) -> Result<(), LabelError> {
        let (width, height) = (self.width, self.height);
        let is_inside = |labelled: &LabelledBox| {
            let bounds = labelled.bounds();
            bounds.area() > 0.0 && bounds.clipped(width as f32, height as f32) == Some(bounds)
        };
        if frame.boxes.iter().all(is_inside) {
            return Ok(());
        }
        Err(LabelError::Outside { seq: frame.seq, width, height })
    }

    /// The labels of a picture, when it is a labelled one.
    #[must_use]
    pub fn frame(&self, seq: u64) -> Option<&LabelledFrame> {
        let at = self.frames.binary_search_by_key(&seq, |frame| frame.seq).ok()?;
        self.frames.get(at)
    }
}

fn rising(what: &'static str, seqs: impl Iterator<Item = u64>) -> Result<(), LabelError> {
    let mut last = None;
    for seq in seqs {
        if last.replace(seq).is_some_and(|last| last >= seq) {
            return Err(LabelError::Order { what, seq });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(version: u32, frames: &str, presence: &str) -> Result<Labels, LabelError> {
        Labels::parse(&format!(
            r#"{{"version": {version}, "clip": "a", "sha256": "", "width": 100, "height": 50, "frames_per_second": 10,
                "frames": [{frames}], "presence": [{presence}]}}"#
        ))
    }

    fn frame(seq: u64, x: f32) -> String {
        format!(r#"{{"seq": {seq}, "boxes": [{{"x": {x}, "y": 0, "width": 10, "height": 50, "class": "person"}}]}}"#)
    }

    #[test]
    fn labels_are_read_and_checked() {
        let read = labels(1, &[frame(3, 0.0), frame(5, 90.0)].join(","), r#"{"begin": 1, "end": 4}"#).unwrap();
        assert_eq!(read.frame(5).unwrap().boxes[0].bounds(), Bounds::new(90.0, 0.0, 10.0, 50.0));
        assert!(read.frame(4).is_none() && !read.frames[0].boxes[0].still);
        let check = |labels: Result<Labels, LabelError>, words: &str| {
            let message = labels.unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        };
        check(labels(2, "", ""), "version 2");
        check(labels(1, &[frame(3, 0.0), frame(3, 0.0)].join(","), ""), "frames of the labels must rise");
        check(labels(1, "", r#"{"begin": 4, "end": 1}"#), "presence of the labels must rise");
        check(labels(1, &frame(3, 91.0), ""), "not inside of 100 x 50");
        check(Labels::parse("{}"), "form");
    }
}
