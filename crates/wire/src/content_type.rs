//! Content types of records. Everything that is not simply a coded frame begins with [`PREFIX`].

/// Chunk, batch, control, sealed and enveloped records begin with this.
pub const PREFIX: &str = "application/vnd.lumenbus.";
/// A part of a stored value.
pub const CHUNK: &str = "application/vnd.lumenbus.chunk";
/// Several frames in one record.
pub const BATCH: &str = "application/vnd.lumenbus.batch";
/// A sealed payload.
pub const SEALED: &str = "application/vnd.lumenbus.sealed";
/// Control record: gaps.
pub const GAP: &str = "application/vnd.lumenbus.gap";
/// Control record: the epoch is complete.
pub const END: &str = "application/vnd.lumenbus.end";
/// Control record: the camera is away.
pub const OFFLINE: &str = "application/vnd.lumenbus.offline";
/// Control record: frames equal to the last one.
pub const REPEAT: &str = "application/vnd.lumenbus.repeat";
/// Control record: the stream goes on in another partition.
pub const MOVED: &str = "application/vnd.lumenbus.moved";
/// Header and payload in one Protobuf message (`FrameEnvelope`).
pub const ENVELOPE_PROTOBUF: &str = "application/vnd.lumenbus.frame+protobuf";
/// Header and payload in one MessagePack map.
pub const ENVELOPE_MSGPACK: &str = "application/vnd.lumenbus.frame+msgpack";
/// An analysis result as JSON: a plain type, so that writers in any language may set it.
pub const RESULT_JSON: &str = "application/json";
/// An analysis result as Protobuf (`AnalysisResult`).
pub const RESULT_PROTOBUF: &str = "application/vnd.lumenbus.result+protobuf";
/// A feature record as JSON.
pub const FEATURES_JSON: &str = "application/json";
/// An event as JSON.
pub const EVENT_JSON: &str = "application/json";
/// Header and Base64 payload in one JSON object.
pub const ENVELOPE_JSON: &str = "application/vnd.lumenbus.frame+json";
