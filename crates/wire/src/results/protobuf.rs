//! Results as Protobuf.

use super::{AnalysisResult, Bounds, DetectedObject, Model, StageTimes, check_detection_count, error_text, size};
use crate::fields::{Fields, check_version, check_version_first};
use crate::message::{source_from_proto, source_to_proto, stream_to_proto};
use crate::{WIRE_VERSION, WireError, proto};
use lumenbus_frame::{CaptureTime, Epoch, FrameId, Seq};
use prost::Message;
use std::sync::Arc;

/// Number of `detections` in the `.proto` file.
const DETECTIONS_TAG: u32 = 13;

pub(super) fn encode(result: &AnalysisResult) -> Vec<u8> {
    let message = proto::AnalysisResult {
        version: WIRE_VERSION,
        camera: result.stream.camera.as_str().to_owned(),
        topic: result.stream.topic.as_str().to_owned(),
        stream: stream_to_proto(Some(&result.stream.name)),
        epoch: result.id.epoch.0,
        seq: result.id.seq.0,
        capture_unix_nanos: result.capture.unix_nanos,
        capture_source: source_to_proto(result.capture.source).into(),
        pts: result.pts,
        width: result.size.map_or(0, |size| size.width),
        height: result.size.map_or(0, |size| size.height),
        model: Some(proto::Model { name: (*result.model.name).into(), version: (*result.model.version).into() }),
        detections: result.detections.iter().map(detection_to_proto).collect(),
        stages: (result.stages != StageTimes::default()).then(|| stages_to_proto(result.stages)),
        error: error_text(result.error.as_ref()).unwrap_or_default().to_owned(),
    };
    message.encode_to_vec()
}

pub(super) fn decode(value: &[u8]) -> Result<AnalysisResult, WireError> {
    check_version_first(value)?;
    let unreadable = |source| WireError::Result { source };
    // Counted before they are decoded: two bytes on the wire are a hundred in memory.
    let mut detections = 0;
    for field in Fields::new(value) {
        detections += usize::from(field.map_err(unreadable)?.0 == DETECTIONS_TAG);
    }
    check_detection_count(detections)?;
    let message = proto::AnalysisResult::decode(value).map_err(unreadable)?;
    check_version(message.version)?;
    let model = message.model.unwrap_or_default();
    Ok(AnalysisResult {
        stream: super::stream_id(&message.camera, &message.topic, &message.stream)?,
        id: FrameId { epoch: Epoch(message.epoch), seq: Seq(message.seq) },
        capture: CaptureTime {
            unix_nanos: message.capture_unix_nanos,
            source: source_from_proto(message.capture_source),
        },
        pts: message.pts,
        size: size(message.width, message.height),
        model: Model { name: model.name.into(), version: model.version.into() },
        detections: message.detections.into_iter().map(detection_from_proto).collect(),
        stages: message.stages.map_or_else(StageTimes::default, stages_from_proto),
        error: error_text(Some(&message.error)).map(str::to_owned),
    })
}

fn detection_to_proto(object: &DetectedObject) -> proto::Detection {
    let Bounds { x, y, width, height } = object.bounds;
    proto::Detection {
        class: (*object.class).into(),
        score: object.score,
        bounds: Some(proto::Bounds { x, y, width, height }),
        track_id: object.track_id,
    }
}

fn detection_from_proto(message: proto::Detection) -> DetectedObject {
    let proto::Bounds { x, y, width, height } = message.bounds.unwrap_or_default();
    let class: Arc<str> = message.class.into();
    DetectedObject { class, score: message.score, bounds: Bounds { x, y, width, height }, track_id: message.track_id }
}

fn stages_to_proto(stages: StageTimes) -> proto::StageTimes {
    let StageTimes { receive_micros, wait_micros, decode_micros, detect_micros, track_micros } = stages;
    proto::StageTimes { receive_micros, wait_micros, decode_micros, detect_micros, track_micros }
}

fn stages_from_proto(message: proto::StageTimes) -> StageTimes {
    let proto::StageTimes { receive_micros, wait_micros, decode_micros, detect_micros, track_micros } = message;
    StageTimes { receive_micros, wait_micros, decode_micros, detect_micros, track_micros }
}
