//! Beats of the nodes of shared fleets: further values of the topic `lumenbus.control`.

use crate::control_request::{MAX_BY_BYTES, MAX_REQUEST_BYTES};
use crate::fields::{check_version, check_version_first};
use crate::{WIRE_VERSION, WireError, proto};
use bytes::Bytes;
use prost::Message;

/// How a node stands in its fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FleetStanding {
    /// It has come, or lost sight of the others for a while, and is given no cameras yet.
    Joining,
    /// It is given cameras.
    Member,
    /// It ends its streams and goes.
    Draining,
}

/// That a node of a shared fleet is there; the fleet's name is the record's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetBeat {
    /// The node: at random, one per process.
    pub node: u64,
    /// The node's beats so far, from 1. One that is not higher than the node's last is late or repeated.
    pub sequence: u64,
    /// How it stands.
    pub standing: FleetStanding,
    /// Of its list of cameras: equal lists have equal revisions.
    pub revision: u64,
    /// When the node started, by its own clock, Unix time in nanoseconds; for people.
    pub started_unix_nanos: i64,
    /// What people call the node; cut to [`MAX_BY_BYTES`] when written.
    pub by: String,
}

impl FleetBeat {
    /// The beat as a record value: a control request of a kind of its own, which older publishers ignore.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let standing = match self.standing {
            FleetStanding::Joining => proto::FleetStanding::Joining,
            FleetStanding::Member => proto::FleetStanding::Member,
            FleetStanding::Draining => proto::FleetStanding::Draining,
        };
        let beat = proto::FleetBeat {
            node: self.node,
            sequence: self.sequence,
            standing: standing.into(),
            revision: self.revision,
            started_unix_nanos: self.started_unix_nanos,
        };
        let message = proto::ControlRequest {
            version: WIRE_VERSION,
            kind: proto::RequestKind::FleetBeat.into(),
            by: self.by[..self.by.floor_char_boundary(MAX_BY_BYTES)].to_owned(),
            beat: Some(beat),
            ..proto::ControlRequest::default()
        };
        message.encode_to_vec().into()
    }

    /// Reads a beat; `None`: a well-formed value of another kind.
    ///
    /// # Errors
    /// An unknown major version, more than [`MAX_REQUEST_BYTES`], or bytes that are no beat that this version knows.
    pub fn decode(value: &[u8]) -> Result<Option<Self>, WireError> {
        if value.len() > MAX_REQUEST_BYTES {
            let (bytes, limit) = (value.len() as u64, MAX_REQUEST_BYTES as u64);
            return Err(WireError::TooLarge { what: "a fleet's beat", bytes, limit });
        }
        check_version_first(value)?;
        let message = proto::ControlRequest::decode(value).map_err(|source| WireError::Request { source })?;
        check_version(message.version)?;
        if message.kind() != proto::RequestKind::FleetBeat {
            return Ok(None);
        }
        let beat = message.beat.unwrap_or_default();
        let wrong = |field, found: u64, expected| Err(WireError::Field { field, found: found.to_string(), expected });
        let standing = match beat.standing() {
            proto::FleetStanding::Joining => FleetStanding::Joining,
            proto::FleetStanding::Member => FleetStanding::Member,
            proto::FleetStanding::Draining => FleetStanding::Draining,
            proto::FleetStanding::Unspecified => {
                let (field, found) = ("standing", beat.standing.to_string());
                return Err(WireError::Field { field, found, expected: "1 (joining), 2 (member) or 3 (draining)" });
            }
        };
        if beat.sequence == 0 {
            return wrong("sequence", 0, "beats are counted from 1");
        }
        if message.by.len() > MAX_BY_BYTES {
            return wrong("by", message.by.len() as u64, "at most 128 bytes long");
        }
        Ok(Some(Self {
            node: beat.node,
            sequence: beat.sequence,
            standing,
            revision: beat.revision,
            started_unix_nanos: beat.started_unix_nanos,
            by: message.by,
        }))
    }
}
