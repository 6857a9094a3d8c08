//! What a second of a stream looked like: the values of the topic `image_features`.

mod health;
mod json;

use crate::WireError;
use crate::results::check_name;
use bytes::Bytes;
use lumenbus_frame::{Epoch, Seq, StreamId};
use std::sync::Arc;

pub use health::{Health, HealthState};
pub(crate) use json::hex;

/// Longest feature record written or read.
pub const MAX_FEATURES_BYTES: usize = 16 * 1024;
/// Bins of [`PictureFeatures::histogram`] per colour.
pub const HISTOGRAM_BINS: usize = 16;
/// Most classes counted in a record.
pub const MAX_CLASSES: usize = 64;
/// Longest [`Features::window`], in bytes.
pub const MAX_WINDOW_BYTES: usize = 4 * 1024;
/// Longest name of a consumer group, in bytes.
pub const MAX_GROUP_BYTES: usize = 255;

/// One second of a stream, as a consumer group of workers saw it. The record's key is the camera id.
///
/// ```
/// use lumenbus_frame::{Epoch, Seq, StreamId};
/// use lumenbus_wire::{Features, HealthState};
///
/// let stream = StreamId::main("gate-7".parse()?, "raw_video".parse()?);
/// let mut features = Features::new(stream, Epoch(1 << 16), Seq(60), 1_750_000_012_345_678_901);
/// (features.last_seq, features.frames) = (Seq(89), 30);
/// assert_eq!(features.second_unix, 1_750_000_012);
/// assert_eq!(features.health.state, HealthState::Ok);
/// assert_eq!(Features::decode_json(&features.encode_json()?)?, features);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The stream.
    pub stream: StreamId,
    /// Its epoch. A record is of one only.
    pub epoch: Epoch,
    /// The second's first frame.
    pub first_seq: Seq,
    /// Its last one.
    pub last_seq: Seq,
    /// When the first frame was taken.
    pub capture_unix_nanos: i64,
    /// The second: whole seconds of Unix time.
    pub second_unix: i64,
    /// The group of workers that looked; empty where it is not said.
    pub group: String,
    /// Frames of the second.
    pub frames: u32,
    /// Pictures among them that were looked at.
    pub looked_at: u32,
    /// What they looked like; `None` when none was looked at.
    pub picture: Option<PictureFeatures>,
    /// Of each class, the most that were in one picture; by name.
    pub counts: Vec<(Arc<str>, u32)>,
    /// How the camera is, at the end of the second.
    pub health: Health,
    /// What the next owner of the stream needs to go on: opaque, at most [`MAX_WINDOW_BYTES`].
    pub window: Bytes,
}

/// What the pictures of a second look like, on average.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureFeatures {
    /// Part of the picture that changes from one picture to the next, 0 to 1; `None` when there was only one picture.
    pub motion: Option<f32>,
    /// Mean of the luma, 0 to 1.
    pub brightness: f32,
    /// How much of the luma's variation is fine detail, 0 to 1.
    pub sharpness: f32,
    /// Standard deviation of the luma as a part of the largest possible one, 0 to 1.
    pub contrast: f32,
    /// Parts of the picture by brightness of red, then green, then blue; each colour's add up to 1.
    pub histogram: [f32; 3 * HISTOGRAM_BINS],
    /// Perceptual hash (DCT) of the last picture: few bits differ between pictures that look alike.
    pub phash: u64,
}

impl Features {
    /// A record of the second in which this frame was taken, with nothing in it.
    #[must_use]
    pub fn new(stream: StreamId, epoch: Epoch, first_seq: Seq, capture_unix_nanos: i64) -> Self {
        Self {
            stream,
            epoch,
            first_seq,
            last_seq: first_seq,
            capture_unix_nanos,
            second_unix: capture_unix_nanos.div_euclid(1_000_000_000),
            group: String::new(),
            frames: 0,
            looked_at: 0,
            picture: None,
            counts: Vec::new(),
            health: Health { state: HealthState::Ok, since_unix_nanos: capture_unix_nanos },
            window: Bytes::new(),
        }
    }

    /// The record as a JSON object.
    ///
    /// # Errors
    /// [`WireError::Field`] and [`WireError::TooLarge`] for what [`decode_json`](Self::decode_json) would refuse.
    pub fn encode_json(&self) -> Result<Bytes, WireError> {
        self.check()?;
        let bytes = json::encode(self);
        check_bytes(bytes.len())?;
        Ok(bytes.into())
    }

    /// Reads a record. Fields that are not known here are ignored.
    ///
    /// # Errors
    /// Another major version, bytes that are no feature record, or numbers beyond the limits.
    pub fn decode_json(value: &[u8]) -> Result<Self, WireError> {
        check_bytes(value.len())?;
        let features = json::decode(value)?;
        features.check()?;
        Ok(features)
    }

    fn check(&self) -> Result<(), WireError> {
        check_group(&self.group)?;
        if self.first_seq > self.last_seq {
            let found = format!("{} after {}", self.first_seq, self.last_seq);
            return Err(WireError::Field { field: "first_seq", found, expected: "not after last_seq" });
        }
        if self.looked_at > self.frames || (self.looked_at > 0) != self.picture.is_some() {
            let found = format!("{} of {} frames", self.looked_at, self.frames);
            return Err(WireError::Field {
                field: "looked_at",
                found,
                expected: "at most frames; 0 exactly where there is no brightness",
            });
        }
        if self.counts.len() > MAX_CLASSES {
            let found = self.counts.len().to_string();
            return Err(WireError::Field { field: "counts", found, expected: "at most 64 classes" });
        }
        if self.window.len() > MAX_WINDOW_BYTES {
            let (bytes, limit) = (self.window.len() as u64, MAX_WINDOW_BYTES as u64);
            return Err(WireError::TooLarge { what: "the window of a feature record", bytes, limit });
        }
        self.counts.iter().try_for_each(|(class, _)| check_name("counts", class))?;
        self.picture.as_ref().map_or(Ok(()), PictureFeatures::check)
    }
}

impl PictureFeatures {
    fn check(&self) -> Result<(), WireError> {
        check_part("motion", self.motion.unwrap_or(0.0))?;
        check_part("brightness", self.brightness)?;
        check_part("sharpness", self.sharpness)?;
        check_part("contrast", self.contrast)?;
        self.histogram.iter().try_for_each(|part| check_part("histogram", *part))
    }
}

fn check_part(field: &'static str, part: f32) -> Result<(), WireError> {
    if (0.0..=1.0).contains(&part) {
        return Ok(());
    }
    Err(WireError::Field { field, found: part.to_string(), expected: "0 to 1" })
}

pub(crate) fn check_group(group: &str) -> Result<(), WireError> {
    if group.len() <= MAX_GROUP_BYTES {
        return Ok(());
    }
    let found = format!("{} bytes long", group.len());
    Err(WireError::Field { field: "group", found, expected: "at most 255 bytes" })
}

fn check_bytes(bytes: usize) -> Result<(), WireError> {
    if bytes <= MAX_FEATURES_BYTES {
        return Ok(());
    }
    let (bytes, limit) = (bytes as u64, MAX_FEATURES_BYTES as u64);
    Err(WireError::TooLarge { what: "a feature record", bytes, limit })
}
