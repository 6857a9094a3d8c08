//! Feature records as JSON: 64-bit integers as decimal strings (both are read).

use super::{Features, HISTOGRAM_BINS, Health, HealthState, MAX_CLASSES, PictureFeatures};
use crate::fields::check_version;
use crate::form::{Blob, Wide};
use crate::{WIRE_VERSION, WireError};
use lumenbus_frame::{Epoch, Seq, StreamName};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct FeaturesObject<'a> {
    version: u32,
    camera: Cow<'a, str>,
    topic: Cow<'a, str>,
    #[serde(default = "main_stream")]
    stream: Cow<'a, str>,
    epoch: Wide<u64>,
    first_seq: Wide<u64>,
    last_seq: Wide<u64>,
    capture_unix_nanos: Wide<i64>,
    seconds_unix: Wide<i64>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    group: Cow<'a, str>,
    frames: u32,
    looked_at: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    motion: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    brightness: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharpness: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contrast: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    histogram: Option<[[f32; HISTOGRAM_BINS]; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phash: Option<Cow<'a, str>>,
    #[serde(default)]
    counts: Counts,
    health: HealthObject<'a>,
    #[serde(default)]
    window: Blob,
}

fn main_stream() -> Cow<'static, str> {
    StreamName::MAIN.into()
}

#[derive(Serialize, Deserialize)]
struct HealthObject<'a> {
    state: Cow<'a, str>,
    since_unix_nanos: Wide<i64>,
}

/// What must be readable of a record of any version.
#[derive(Deserialize)]
struct AnyFeatures {
    version: u32,
}

/// An object of names and numbers, at most [`MAX_CLASSES`] of them, each name once.
#[derive(Default)]
struct Counts(Vec<(Arc<str>, u32)>);

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(self.0.len()))?;
        for (class, count) in &self.0 {
            map.serialize_entry(&**class, count)?;
        }
        map.end()
    }
}

impl<'de> Visitor<'de> for Counts {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counts of at most 64 classes, each once")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while let Some((class, count)) = items.next_entry::<String, u32>()? {
            if self.0.len() == MAX_CLASSES || self.0.iter().any(|(known, _)| **known == *class) {
                return Err(de::Error::custom("counts has more than 64 classes, or one twice"));
            }
            self.0.push((class.into(), count));
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(Self::default())
    }
}

pub(super) fn encode(features: &Features) -> Vec<u8> {
    let picture = features.picture.as_ref();
    let object = FeaturesObject {
        version: WIRE_VERSION,
        camera: features.stream.camera.as_str().into(),
        topic: features.stream.topic.as_str().into(),
        stream: features.stream.name.as_str().into(),
        epoch: Wide(features.epoch.0),
        first_seq: Wide(features.first_seq.0),
        last_seq: Wide(features.last_seq.0),
        capture_unix_nanos: Wide(features.capture_unix_nanos),
        seconds_unix: Wide(features.second_unix),
        group: features.group.as_str().into(),
        frames: features.frames,
        looked_at: features.looked_at,
        motion: picture.and_then(|picture| picture.motion),
        brightness: picture.map(|picture| picture.brightness),
        sharpness: picture.map(|picture| picture.sharpness),
        contrast: picture.map(|picture| picture.contrast),
        histogram: picture.map(|picture| by_colour(&picture.histogram)),
        phash: picture.map(|picture| format!("{:016x}", picture.phash).into()),
        counts: Counts(features.counts.clone()),
        health: HealthObject {
            state: features.health.state.as_str().into(),
            since_unix_nanos: Wide(features.health.since_unix_nanos),
        },
        window: Blob(features.window.clone()),
    };
    serde_json::to_vec(&object).expect("the object holds nothing that JSON cannot")
}

pub(super) fn decode(value: &[u8]) -> Result<Features, WireError> {
    let unreadable = |source| {
        let version = serde_json::from_slice(value).ok().map(|any: AnyFeatures| any.version);
        version.and_then(|found| check_version(found).err()).unwrap_or(WireError::Features { source })
    };
    let object: FeaturesObject<'_> = serde_json::from_slice(value).map_err(unreadable)?;
    check_version(object.version)?;
    let picture = picture(&object)?;
    Ok(Features {
        stream: crate::results::stream_id(&object.camera, &object.topic, &object.stream)?,
        epoch: Epoch(object.epoch.0),
        first_seq: Seq(object.first_seq.0),
        last_seq: Seq(object.last_seq.0),
        capture_unix_nanos: object.capture_unix_nanos.0,
        second_unix: object.seconds_unix.0,
        group: object.group.into_owned(),
        frames: object.frames,
        looked_at: object.looked_at,
        picture,
        counts: object.counts.0,
        health: Health {
            state: HealthState::from_field("health.state", &object.health.state)?,
            since_unix_nanos: object.health.since_unix_nanos.0,
        },
        window: object.window.0,
    })
}

/// All of it or nothing; motion may be missing by itself.
fn picture(object: &FeaturesObject<'_>) -> Result<Option<PictureFeatures>, WireError> {
    let FeaturesObject { motion, brightness, sharpness, contrast, histogram, phash, .. } = object;
    match (brightness, sharpness, contrast, histogram, phash) {
        (Some(brightness), Some(sharpness), Some(contrast), Some(histogram), Some(phash)) => {
            Ok(Some(PictureFeatures {
                motion: *motion,
                brightness: *brightness,
                sharpness: *sharpness,
                contrast: *contrast,
                histogram: in_turn(histogram),
                phash: hex(phash)?,
            }))
        }
        (None, None, None, None, None) => Ok(None),
        _ => Err(WireError::Field {
            field: "brightness, sharpness, contrast, histogram, phash",
            found: "some of them".to_owned(),
            expected: "all or none",
        }),
    }
}

/// Sixteen hexadecimal digits.
pub(crate) fn hex(text: &str) -> Result<u64, WireError> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_hex).ok_or_else(|| WireError::Field {
        field: "id or phash",
        found: format!("{:?}", text.chars().take(32).collect::<String>()),
        expected: "16 hexadecimal digits",
    })
}

fn by_colour(histogram: &[f32; 3 * HISTOGRAM_BINS]) -> [[f32; HISTOGRAM_BINS]; 3] {
    // Four digits are more than a histogram of samples knows.
    let digits = |part: f32| (part * 1e4).round() / 1e4;
    std::array::from_fn(|colour| std::array::from_fn(|bin| digits(histogram[colour * HISTOGRAM_BINS + bin])))
}

fn in_turn(histogram: &[[f32; HISTOGRAM_BINS]; 3]) -> [f32; 3 * HISTOGRAM_BINS] {
    std::array::from_fn(|at| histogram[at / HISTOGRAM_BINS][at % HISTOGRAM_BINS])
}
