//! What a stream hands to the Kafka client, one record at a time.

use crate::trace::TRACEPARENT_HEADER;
use bytes::{Bytes, BytesMut};
use lumenbus_frame::TraceContext;
use lumenbus_wire::{ChunkPlan, Header, HeaderPlace, content_type};

/// One record, borrowed for the call that sends it.
#[derive(Debug)]
pub(crate) struct OutRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) key: &'a str,
    pub(crate) content_type: &'a str,
    /// The header `lb`; absent where the envelope carries it.
    pub(crate) header: Option<&'a [u8]>,
    /// The header `lb-json`.
    pub(crate) json: Option<&'a str>,
    /// The header `traceparent`.
    pub(crate) traceparent: Option<&'a [u8]>,
    pub(crate) value: &'a [u8],
    /// Comes back with the delivery report: which unit of the stream it belongs to.
    pub(crate) slot: u32,
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not now: the client's queue is full, or the client is being replaced.
    Later,
    /// Never.
    Failed,
}

/// Takes records in order; the Kafka client, or a test.
pub(crate) trait RecordSink {
    fn send(&self, record: &OutRecord<'_>) -> Result<(), Refusal>;
}

/// The headers' names, `content-type`, `lb` and `lb-json`, and what Kafka's record format adds per field.
const RECORD_FRAME_BYTES: usize = 128;
/// A `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;
/// Room for what a chunk adds to its frame's header.
const CHUNK_HEADER_BYTES: usize = 192;
/// Parts are not made smaller than this, whatever the limit.
const MIN_PART_BYTES: usize = 4 * 1024;

/// What becomes of a header beside the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LbJson {
    /// No `lb-json` header.
    #[default]
    Off,
    /// Each record repeats its header as JSON in `lb-json`, for people and simple tools.
    On,
}

/// A unit (frame, batch or control record) on its way into the client, with the encoded header of its next record.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) slot: u32,
    pub(crate) partition: u32,
    content_type: &'static str,
    header: Header,
    place: HeaderPlace,
    value: Bytes,
    plan: Option<ChunkPlan>,
    /// Until the first record is with the client.
    traceparent: Option<[u8; TRACEPARENT_BYTES]>,
}

/// Buffers that are used again for every record.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    header: BytesMut,
    json: Option<String>,
}

/// Limits of one record and what is written into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordForm {
    /// Key + headers + value, in bytes.
    pub(crate) limit_bytes: usize,
    pub(crate) lb_json: LbJson,
}

impl Outgoing {
    /// Encodes the first record; cuts the value when it does not fit into one.
    pub(crate) fn new(parts: OutgoingParts, key: &str, form: RecordForm, scratch: &mut Scratch) -> Self {
        let OutgoingParts { slot, partition, content_type, header, place, value, trace } = parts;
        let traceparent = trace.map(|trace| trace.to_traceparent());
        let mut outgoing = Self { slot, partition, content_type, header, place, value, plan: None, traceparent };
        let trace_bytes = traceparent.map_or(0, |text| TRACEPARENT_HEADER.len() + text.len() + 4);
        outgoing.encode(form, scratch);
        let overhead = key.len() + scratch.bytes() + content_type.len() + trace_bytes + RECORD_FRAME_BYTES;
        if overhead + outgoing.value.len() > form.limit_bytes {
            // The header of chunk 0 as a record of its own, wherever the envelope puts it.
            let mut whole = BytesMut::new();
            outgoing.header.encode(&mut whole);
            let json = scratch.json.as_ref().map_or(0, |json| 2 * json.len());
            let taken = key.len() + whole.len() + json + trace_bytes + CHUNK_HEADER_BYTES + RECORD_FRAME_BYTES;
            let part_bytes = form.limit_bytes.saturating_sub(taken).max(MIN_PART_BYTES);
            let value = std::mem::take(&mut outgoing.value);
            outgoing.plan = Some(ChunkPlan::new(value, content_type, part_bytes));
            outgoing.encode_part(form, scratch);
        }
        outgoing
    }

    /// The record to send now.
    pub(crate) fn record<'a>(&'a self, topic: &'a str, key: &'a str, scratch: &'a Scratch) -> OutRecord<'a> {
        let is_chunk = self.plan.is_some();
        let is_header_beside = is_chunk || self.place == HeaderPlace::Record;
        OutRecord {
            topic,
            partition: self.partition,
            key,
            content_type: if is_chunk { content_type::CHUNK } else { self.content_type },
            header: is_header_beside.then_some(&scratch.header),
            json: scratch.json.as_deref(),
            traceparent: self.traceparent.as_ref().map(<[u8; TRACEPARENT_BYTES]>::as_slice),
            value: &self.value,
            slot: self.slot,
        }
    }

    pub(crate) fn value_bytes(&self) -> usize {
        self.value.len()
    }

    /// Goes on to the next record of the unit; `false` when there is none.
    pub(crate) fn next_part(&mut self, form: RecordForm, scratch: &mut Scratch) -> bool {
        self.traceparent = None;
        self.encode_part(form, scratch)
    }

    fn encode_part(&mut self, form: RecordForm, scratch: &mut Scratch) -> bool {
        let Some((chunk, part)) = self.plan.as_mut().and_then(Iterator::next) else {
            return false;
        };
        let header = self.header.for_chunk(chunk, &part);
        self.value = part;
        scratch.encode(&header, form.lb_json);
        true
    }

    /// The vector of gaps, to be used again.
    pub(crate) fn into_gaps(self) -> Vec<lumenbus_frame::Gap> {
        self.header.gaps
    }

    fn encode(&self, form: RecordForm, scratch: &mut Scratch) {
        if self.place == HeaderPlace::Record {
            scratch.encode(&self.header, form.lb_json);
        } else {
            scratch.clear();
        }
    }
}

/// What an [`Outgoing`] is made from.
#[derive(Debug)]
pub(crate) struct OutgoingParts {
    pub(crate) slot: u32,
    pub(crate) partition: u32,
    pub(crate) content_type: &'static str,
    pub(crate) header: Header,
    pub(crate) place: HeaderPlace,
    pub(crate) value: Bytes,
    pub(crate) trace: Option<TraceContext>,
}

impl Scratch {
    fn clear(&mut self) {
        self.header.clear();
        self.json = None;
    }

    fn encode(&mut self, header: &Header, lb_json: LbJson) {
        self.header.clear();
        header.encode(&mut self.header);
        self.json = match lb_json {
            LbJson::On => Some(header.to_json()),
            LbJson::Off => None,
        };
    }

    fn bytes(&self) -> usize {
        self.header.len() + self.json.as_ref().map_or(0, String::len)
    }
}
