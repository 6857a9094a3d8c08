//! Results as JSON: the names of the `.proto` file, 64-bit integers as decimal strings (both are read), and the
//! box in parts of the picture beside the one in pixels, which alone is read.

use super::{AnalysisResult, Bounds, DetectedObject, MAX_DETECTIONS, Model, StageTimes, error_text, size};
use crate::fields::check_version;
use crate::form::{Form as _, Named, Wide};
use crate::message::{source_from_proto, source_to_proto};
use crate::{WIRE_VERSION, WireError, proto};
use lumenbus_frame::{CaptureTime, Dimensions, Epoch, FrameId, Seq, StreamName};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct ResultObject<'a> {
    version: u32,
    camera: Cow<'a, str>,
    topic: Cow<'a, str>,
    #[serde(default = "main_stream")]
    stream: Cow<'a, str>,
    epoch: Wide<u64>,
    seq: Wide<u64>,
    capture_unix_nanos: Wide<i64>,
    #[serde(default)]
    capture_source: Named<proto::CaptureSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pts: Option<Wide<i64>>,
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    model: ModelObject<'a>,
    #[serde(default)]
    detections: Detections,
    #[serde(default)]
    stages: StagesObject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, str>>,
}

fn main_stream() -> Cow<'static, str> {
    StreamName::MAIN.into()
}

#[derive(Serialize, Deserialize)]
struct ModelObject<'a> {
    name: Cow<'a, str>,
    version: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct DetectionObject {
    class: String,
    score: f32,
    bounds: BoundsObject,
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    normalised: Option<BoundsObject>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    track_id: Option<Wide<u64>>,
}

#[derive(Serialize, Deserialize)]
struct BoundsObject {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

#[derive(Default, Serialize, Deserialize)]
struct StagesObject {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receive_micros: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_micros: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decode_micros: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detect_micros: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    track_micros: Option<u32>,
}

/// What must be readable of a result of any version.
#[derive(Deserialize)]
struct AnyResult {
    version: u32,
}

/// Detections, at most [`MAX_DETECTIONS`] of them.
#[derive(Default, Serialize)]
#[serde(transparent)]
struct Detections(Vec<DetectionObject>);

impl<'de> Visitor<'de> for Detections {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("at most 1000 detections")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while let Some(detection) = items.next_element()? {
            if self.0.len() == MAX_DETECTIONS {
                return Err(de::Error::invalid_length(MAX_DETECTIONS + 1, &"at most 1000 detections"));
            }
            self.0.push(detection);
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for Detections {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_seq(Self::default())
    }
}

pub(super) fn encode(result: &AnalysisResult) -> Vec<u8> {
    let detections = result.detections.iter().map(|object| detection_object(object, result.size));
    let object = ResultObject {
        version: WIRE_VERSION,
        camera: result.stream.camera.as_str().into(),
        topic: result.stream.topic.as_str().into(),
        stream: result.stream.name.as_str().into(),
        epoch: Wide(result.id.epoch.0),
        seq: Wide(result.id.seq.0),
        capture_unix_nanos: Wide(result.capture.unix_nanos),
        capture_source: Named::from_message(source_to_proto(result.capture.source).into()),
        pts: result.pts.map(Wide),
        width: result.size.map_or(0, |size| size.width),
        height: result.size.map_or(0, |size| size.height),
        model: ModelObject { name: (&*result.model.name).into(), version: (&*result.model.version).into() },
        detections: Detections(detections.collect()),
        stages: StagesObject::from(result.stages),
        error: error_text(result.error.as_ref()).map(Cow::from),
    };
    serde_json::to_vec(&object).expect("the object holds nothing that JSON cannot")
}

pub(super) fn decode(value: &[u8]) -> Result<AnalysisResult, WireError> {
    let unreadable = |source| {
        let version = serde_json::from_slice(value).ok().map(|any: AnyResult| any.version);
        version.and_then(|found| check_version(found).err()).unwrap_or(WireError::ResultJson { source })
    };
    let object: ResultObject<'_> = serde_json::from_slice(value).map_err(unreadable)?;
    check_version(object.version)?;
    Ok(AnalysisResult {
        stream: super::stream_id(&object.camera, &object.topic, &object.stream)?,
        id: FrameId { epoch: Epoch(object.epoch.0), seq: Seq(object.seq.0) },
        capture: CaptureTime {
            unix_nanos: object.capture_unix_nanos.0,
            source: source_from_proto(object.capture_source.into_message()),
        },
        pts: object.pts.map(|pts| pts.0),
        size: size(object.width, object.height),
        model: Model::new(&object.model.name, &object.model.version),
        detections: object.detections.0.into_iter().map(DetectedObject::from).collect(),
        stages: object.stages.into(),
        error: error_text(object.error.map(Cow::into_owned).as_ref()).map(str::to_owned),
    })
}

#[expect(clippy::cast_precision_loss, reason = "sides of pictures are exact in f32")]
fn detection_object(object: &DetectedObject, size: Option<Dimensions>) -> DetectionObject {
    let normalised = size.map(|size| object.bounds.normalised(size.width as f32, size.height as f32));
    DetectionObject {
        class: (*object.class).into(),
        score: object.score,
        bounds: object.bounds.into(),
        normalised: normalised.map(rounded).map(BoundsObject::from),
        track_id: object.track_id.map(Wide),
    }
}

/// Six digits tell pixels of every picture apart, and halve the text.
fn rounded(bounds: Bounds) -> Bounds {
    let digits = |part: f32| (part * 1e6).round() / 1e6;
    Bounds::new(digits(bounds.x), digits(bounds.y), digits(bounds.width), digits(bounds.height))
}

impl From<DetectionObject> for DetectedObject {
    fn from(object: DetectionObject) -> Self {
        let BoundsObject { x, y, width, height } = object.bounds;
        let class: Arc<str> = object.class.into();
        let track_id = object.track_id.map(|id| id.0);
        Self { class, score: object.score, bounds: Bounds { x, y, width, height }, track_id }
    }
}

impl From<Bounds> for BoundsObject {
    fn from(bounds: Bounds) -> Self {
        let Bounds { x, y, width, height } = bounds;
        Self { x, y, width, height }
    }
}

impl From<StageTimes> for StagesObject {
    fn from(stages: StageTimes) -> Self {
        let StageTimes { receive_micros, wait_micros, decode_micros, detect_micros, track_micros } = stages;
        Self { receive_micros, wait_micros, decode_micros, detect_micros, track_micros }
    }
}

impl From<StagesObject> for StageTimes {
    fn from(stages: StagesObject) -> Self {
        let StagesObject { receive_micros, wait_micros, decode_micros, detect_micros, track_micros } = stages;
        Self { receive_micros, wait_micros, decode_micros, detect_micros, track_micros }
    }
}
