//! Control batches: the markers that end transactions (Kafka's `ControlRecordType` and `EndTxnMarker`).

use bytes::{Buf, BufMut, Bytes};

use super::batch::{self, BatchHeader, HEADER_BYTES};
use super::record;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// A marker's record takes about 25 bytes; nothing behind this many is looked at.
pub(crate) const MAX_RECORD_BYTES: usize = 128;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its records count.
    Commit,
    /// Its records are to be skipped.
    Abort,
}

/// What a control batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) outcome: Outcome,
    pub(crate) coordinator_epoch: i32,
}

/// The marker in the records of a control batch; `None` when compaction emptied it or it is of another kind.
pub(crate) fn parse(records: &[u8]) -> Option<Marker> {
    let record = record::records(records).next()?.ok()?;
    let outcome = outcome(record.key?)?;
    let mut value = record.value()?;
    let _version = value.try_get_i16().ok()?;
    Some(Marker { outcome, coordinator_epoch: value.try_get_i32().ok()? })
}

/// What a control record's key says; `None` for other kinds of control records.
pub(crate) fn outcome(mut key: &[u8]) -> Option<Outcome> {
    let _version = key.try_get_i16().ok()?;
    match key.try_get_i16().ok()? {
        ABORT => Some(Outcome::Abort),
        COMMIT => Some(Outcome::Commit),
        _ => None,
    }
}

/// A control batch as Kafka writes it: one uncompressed record, no sequence.
pub(crate) fn encode(producer_id: i64, producer_epoch: i16, marker: Marker, now_ms: i64) -> Bytes {
    let mut key = Vec::with_capacity(4);
    key.put_i16(KEY_VERSION);
    key.put_i16(match marker.outcome {
        Outcome::Abort => ABORT,
        Outcome::Commit => COMMIT,
    });
    let mut value = Vec::with_capacity(6);
    value.put_i16(VALUE_VERSION);
    value.put_i32(marker.coordinator_epoch);
    let mut body = Vec::with_capacity(32);
    record::put_record(&mut body, (0, 0), Some(&key), Some(&value));
    let mut header = BatchHeader {
        base_offset: 0,
        size: HEADER_BYTES + body.len(),
        leader_epoch: -1,
        crc: 0,
        attributes: batch::ATTRIBUTE_TRANSACTIONAL | batch::ATTRIBUTE_CONTROL,
        last_offset_delta: 0,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        producer_id,
        producer_epoch,
        base_sequence: -1,
        count: 1,
    };
    let mut out = [&header.encode()[..], &body].concat();
    header.crc = batch::checksum(&out);
    out[..HEADER_BYTES].copy_from_slice(&header.encode());
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_survive_and_strangers_are_ignored() {
        for outcome in [Outcome::Commit, Outcome::Abort] {
            let marker = Marker { outcome, coordinator_epoch: 7 };
            let batch = encode(5, 3, marker, 1000);
            let header = BatchHeader::parse(&batch).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (5, 3, -1));
            assert_eq!(header.crc, batch::checksum(&batch));
            assert_eq!(parse(&batch[HEADER_BYTES..]), Some(marker));
            for cut in HEADER_BYTES..batch.len() {
                assert_eq!(parse(&batch[HEADER_BYTES..cut]), None);
            }
        }
        assert_eq!(parse(&[]), None);
        let mut leader_change = Vec::new();
        record::put_record(&mut leader_change, (0, 0), Some(&[0, 0, 0, 2]), Some(&[0; 6]));
        assert_eq!(parse(&leader_change), None);
    }
}
