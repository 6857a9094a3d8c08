//! Requests of readers to publishers: the values of the topic `lumenbus.control`.

use crate::fields::{check_version, check_version_first};
use crate::message::{stream_from_proto, stream_to_proto, topic_from_proto};
use crate::{WIRE_VERSION, WireError, proto};
use bytes::Bytes;
use lumenbus_frame::{StreamName, TopicName};
use prost::Message;

/// Longest request written or read.
pub const MAX_REQUEST_BYTES: usize = 1024;
/// Longest [`ControlRequest::by`], in bytes.
pub const MAX_BY_BYTES: usize = 128;

/// What a publisher is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// That the stream's next picture is a keyframe.
    Keyframe,
    /// Reserved for another bit rate: nobody sends it, every publisher ignores it.
    Rate,
}

/// A request to the publisher of a stream; the camera's id is the record's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRequest {
    /// At random; the same when a request is sent again.
    pub request_id: u64,
    /// What is asked for.
    pub kind: RequestKind,
    /// Full name of the stream's topic.
    pub topic: TopicName,
    /// Name of the stream within camera and topic.
    pub stream: StreamName,
    /// When it was asked, by the asker's clock, Unix time in nanoseconds.
    pub asked_unix_nanos: i64,
    /// Who asks, for people; cut to [`MAX_BY_BYTES`] when written.
    pub by: String,
}

impl ControlRequest {
    /// The request as a record value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let kind = match self.kind {
            RequestKind::Keyframe => proto::RequestKind::Keyframe,
            RequestKind::Rate => proto::RequestKind::Rate,
        };
        let message = proto::ControlRequest {
            version: WIRE_VERSION,
            request_id: self.request_id,
            kind: kind.into(),
            topic: self.topic.as_str().to_owned(),
            stream: stream_to_proto(Some(&self.stream)),
            asked_unix_nanos: self.asked_unix_nanos,
            by: self.by[..self.by.floor_char_boundary(MAX_BY_BYTES)].to_owned(),
            beat: None,
        };
        message.encode_to_vec().into()
    }

    /// Reads a request.
    ///
    /// # Errors
    /// An unknown major version, more than [`MAX_REQUEST_BYTES`], or bytes that are no request that this version knows.
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        if value.len() > MAX_REQUEST_BYTES {
            let (bytes, limit) = (value.len() as u64, MAX_REQUEST_BYTES as u64);
            return Err(WireError::TooLarge { what: "a control request", bytes, limit });
        }
        check_version_first(value)?;
        let message = proto::ControlRequest::decode(value).map_err(|source| WireError::Request { source })?;
        check_version(message.version)?;
        let kind = match message.kind() {
            proto::RequestKind::Keyframe => RequestKind::Keyframe,
            proto::RequestKind::Rate => RequestKind::Rate,
            // A beat is nothing that a publisher is asked for: see `FleetBeat`.
            proto::RequestKind::FleetBeat | proto::RequestKind::Unspecified => {
                let (field, found) = ("kind", message.kind.to_string());
                return Err(WireError::Field { field, found, expected: "1 (keyframe) or 2 (rate)" });
            }
        };
        Ok(Self {
            request_id: message.request_id,
            kind,
            topic: topic_from_proto(&message.topic)?,
            stream: stream_from_proto(&message.stream)?.unwrap_or_default(),
            asked_unix_nanos: message.asked_unix_nanos,
            by: message.by,
        })
    }
}
