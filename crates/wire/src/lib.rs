//! Frames, control records and the camera directory as bytes: the wire format, frozen in version 1.
//!
//! Data flow: encode → **envelope** → publish → Kafka → subscribe → **open** → decode.
//! Pure: bytes in, values out; no I/O, no clock. The `.proto` files are in `proto/`, golden bytes in `fixtures/wire`.
//!
//! A record has two headers, `content-type` and `lb` (a [`Header`]), and a value. What the value is follows from
//! the content type: the payload itself ([`Codec::content_type`](lumenbus_frame::Codec::content_type)), an
//! [`Envelope`], a part of one ([`ChunkAssembler`]), several ([`content_type::BATCH`]) or nothing
//! (a [`Control`] record).
//!
//! ```
//! use bytes::Bytes;
//! use lumenbus_frame::{CaptureTime, Codec, Epoch, FrameId, Seq};
//! use lumenbus_wire::{Envelope, Header, Opened, RawRecord, open_record};
//!
//! let id = FrameId { epoch: Epoch(1 << 16), seq: Seq(3) };
//! let mut header = Header::new(id, CaptureTime::arrival(1_700_000_000_000_000_000));
//! let payload = Bytes::from_static(b"\xff\xd8 a picture \xff\xd9");
//! let wrapped = Envelope::Native.wrap(&mut header, Codec::Jpeg, &payload);
//! let record = RawRecord {
//!     content_type: Some(wrapped.content_type.as_bytes()),
//!     header: Some(header.to_bytes()),
//!     value: Some(wrapped.value),
//! };
//! let Opened::Frame(frame) = open_record(record)? else { panic!("a frame went in") };
//! assert_eq!(frame.header.id, id);
//! assert_eq!(frame.payload, payload);
//! # Ok::<(), lumenbus_wire::WireError>(())
//! ```

pub mod audit;
mod batch;
mod chunk;
pub mod content_type;
mod control_request;
mod directory;
mod envelope;
mod error;
mod events;
mod excerpt;
mod features;
mod fields;
mod fleet_beat;
mod form;
mod header;
mod index;
mod json;
mod message;
mod record;
mod results;

/// The generated Protobuf types, for tools that need them as they are; the rest of the crate is easier to use.
#[path = "proto/generated.rs"]
pub mod proto;

pub use batch::{BatchItem, BatchWriter, MAX_BATCH_FRAMES};
pub use chunk::{Assembled, ChunkAssembler, ChunkPlan, MAX_FRAME_BYTES, OpenFrame};
pub use control_request::{ControlRequest, MAX_BY_BYTES, MAX_REQUEST_BYTES, RequestKind};
pub use directory::{CameraEntry, MAX_ENTRY_BYTES, MAX_LABELS, MAX_STREAMS, StreamEntry, StreamState, UnreadStream};
pub use envelope::{Envelope, HeaderPlace, Wrapped, open_value};
pub use error::WireError;
pub use events::{CameraEvent, EventId, EventKind, MAX_EVENT_BYTES, PresencePhase};
pub use features::{
    Features, HISTOGRAM_BINS, Health, HealthState, MAX_CLASSES, MAX_FEATURES_BYTES, MAX_GROUP_BYTES, MAX_WINDOW_BYTES,
    PictureFeatures,
};
pub use fleet_beat::{FleetBeat, FleetStanding};
pub use header::{
    Batch, Chunk, Control, FrameRef, Header, KeyframeHint, MAX_GAPS, MAX_HEADER_BYTES, Moved, Seal, WIRE_VERSION,
};
pub use index::{IndexEntry, IndexPosition, IndexSection, MAX_INDEX_ENTRY_BYTES};
pub use record::{
    CONTENT_TYPE_HEADER, ControlRecord, FRAME_HEADER, FrameRecord, JSON_HEADER, Opened, RawRecord, TRACEPARENT_HEADER,
    open_record,
};
pub use results::{
    AnalysisResult, Bounds, DetectedObject, MAX_DETECTIONS, MAX_ERROR_BYTES, MAX_NAME_BYTES, MAX_RESULT_BYTES, Model,
    ResultForm, StageTimes,
};
