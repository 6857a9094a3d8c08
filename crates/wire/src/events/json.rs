//! Events as JSON: 64-bit integers as decimal strings, except lengths of time (both forms are read).

use super::{CameraEvent, EventId, EventKind, PresencePhase};
use crate::fields::check_version;
use crate::form::Wide;
use crate::{HealthState, WIRE_VERSION, WireError};
use lumenbus_frame::{Epoch, FrameId, Seq, StreamName};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

#[derive(Serialize, Deserialize)]
struct EventObject<'a> {
    version: u32,
    id: Cow<'a, str>,
    kind: Cow<'a, str>,
    camera: Cow<'a, str>,
    topic: Cow<'a, str>,
    #[serde(default = "main_stream")]
    stream: Cow<'a, str>,
    epoch: Wide<u64>,
    seq: Wide<u64>,
    capture_unix_nanos: Wide<i64>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    group: Cow<'a, str>,
    state: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasted_millis: Option<u64>,
}

fn main_stream() -> Cow<'static, str> {
    StreamName::MAIN.into()
}

/// What must be readable of an event of any version and kind.
#[derive(Deserialize)]
struct AnyEvent<'a> {
    version: u32,
    #[serde(default)]
    kind: Cow<'a, str>,
}

const HEALTH: &str = "health";
const PRESENCE: &str = "presence";

pub(super) fn encode(event: &CameraEvent) -> Vec<u8> {
    let mut object = EventObject {
        version: WIRE_VERSION,
        id: event.id.to_string().into(),
        kind: event.kind.as_str().into(),
        camera: event.stream.camera.as_str().into(),
        topic: event.stream.topic.as_str().into(),
        stream: event.stream.name.as_str().into(),
        epoch: Wide(event.frame.epoch.0),
        seq: Wide(event.frame.seq.0),
        capture_unix_nanos: Wide(event.capture_unix_nanos),
        group: event.group.as_str().into(),
        state: event.kind.state().into(),
        previous: None,
        class: None,
        count: None,
        score: None,
        lasted_millis: None,
    };
    match &event.kind {
        EventKind::Health { previous, lasted_millis, .. } => {
            object.previous = Some(previous.as_str().into());
            object.lasted_millis = *lasted_millis;
        }
        EventKind::Presence { class, count, score, lasted_millis, .. } => {
            object.class = Some((&**class).into());
            (object.count, object.score, object.lasted_millis) = (Some(*count), Some(*score), *lasted_millis);
        }
    }
    serde_json::to_vec(&object).expect("the object holds nothing that JSON cannot")
}

pub(super) fn decode(value: &[u8]) -> Result<Option<CameraEvent>, WireError> {
    let unreadable = |source| WireError::Event { source };
    let any: AnyEvent<'_> = serde_json::from_slice(value).map_err(unreadable)?;
    check_version(any.version)?;
    if ![HEALTH, PRESENCE].contains(&&*any.kind) {
        return Ok(None);
    }
    let object: EventObject<'_> = serde_json::from_slice(value).map_err(unreadable)?;
    Ok(Some(CameraEvent {
        id: EventId(crate::features::hex(&object.id)?),
        stream: crate::results::stream_id(&object.camera, &object.topic, &object.stream)?,
        frame: FrameId { epoch: Epoch(object.epoch.0), seq: Seq(object.seq.0) },
        capture_unix_nanos: object.capture_unix_nanos.0,
        kind: kind(&object)?,
        group: object.group.into_owned(),
    }))
}

fn kind(object: &EventObject<'_>) -> Result<EventKind, WireError> {
    let lasted_millis = object.lasted_millis;
    if object.kind == HEALTH {
        let previous = object.previous.as_deref().unwrap_or_default();
        return Ok(EventKind::Health {
            state: HealthState::from_field("state", &object.state)?,
            previous: HealthState::from_field("previous", previous)?,
            lasted_millis,
        });
    }
    let phase = [PresencePhase::Begin, PresencePhase::End].into_iter().find(|phase| phase.as_str() == object.state);
    let phase = phase.ok_or_else(|| WireError::Field {
        field: "state",
        found: format!("{:?}", object.state.chars().take(32).collect::<String>()),
        expected: "begin or end",
    })?;
    let class = object.class.as_deref().unwrap_or_default().into();
    let (count, score) = (object.count.unwrap_or(0), object.score.unwrap_or(0.0));
    Ok(EventKind::Presence { class, phase, count, score, lasted_millis })
}
