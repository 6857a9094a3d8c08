//! The 61-byte header of a record batch, format v2 (Kafka protocol guide, "Record Batch").

use bytes::{Buf, BufMut};

use super::crc;

/// Size of the header in front of the records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before the span that `batchLength` counts: base offset and the length itself.
pub(crate) const LENGTH_OVERHEAD: usize = 12;
/// The checksum covers everything from the attributes on.
pub(crate) const CRC_START: usize = 21;
/// The only message format this log holds.
pub(crate) const MAGIC_V2: i8 = 2;
/// `producerId` of a batch without idempotence.
pub(crate) const NO_PRODUCER_ID: i64 = -1;
/// Stands for "no timestamp".
pub(crate) const NO_TIMESTAMP: i64 = -1;

const MAGIC_AT: usize = 16;
const ATTRIBUTE_COMPRESSION: i16 = 0x07;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
pub(crate) const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
pub(crate) const ATTRIBUTE_CONTROL: i16 = 0x20;
const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;
const ATTRIBUTES_KNOWN: i16 = 0x7f;

/// Why bytes are not a v2 batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// An older message format, or garbage.
    Magic(i8),
    /// The record count or the last offset delta is below zero.
    Counts,
    /// A field contradicts the format.
    Field(&'static str),
}

impl HeaderFault {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Magic(_) => "its magic byte is not 2",
            Self::Counts => "its record count or last offset delta is negative",
            Self::Field(reason) => reason,
        }
    }
}

/// A parsed header. Fields keep the protocol's meaning; `size` includes the whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    pub(crate) size: usize,
    pub(crate) leader_epoch: i32,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
}

impl BatchHeader {
    /// Parses and checks a stored header. The caller compares `size` with the bytes it has.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let header = Self::parse_any_offset(bytes)?;
        if header.base_offset < 0 || header.base_offset.checked_add(i64::from(header.last_offset_delta) + 1).is_none() {
            return Err(HeaderFault::Field("its base offset is out of range"));
        }
        Ok(header)
    }

    /// Parses a header whose base offset means nothing yet, as producers send it.
    pub(crate) fn parse_any_offset(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let short = HeaderFault::Field("there are fewer bytes than a batch header");
        // Old formats have shorter headers with the magic byte in the same place.
        let magic = i8::from_be_bytes([*bytes.get(MAGIC_AT).ok_or(short)?]);
        if magic != MAGIC_V2 {
            return Err(HeaderFault::Magic(magic));
        }
        let mut fields = bytes.get(..HEADER_BYTES).ok_or(short)?;
        let base_offset = fields.get_i64();
        let length = fields.get_i32();
        let leader_epoch = fields.get_i32();
        fields.advance(1);
        let header = Self {
            base_offset,
            size: usize::try_from(length).unwrap_or(0) + LENGTH_OVERHEAD,
            leader_epoch,
            crc: fields.get_u32(),
            attributes: fields.get_i16(),
            last_offset_delta: fields.get_i32(),
            base_timestamp: fields.get_i64(),
            max_timestamp: fields.get_i64(),
            producer_id: fields.get_i64(),
            producer_epoch: fields.get_i16(),
            base_sequence: fields.get_i32(),
            count: fields.get_i32(),
        };
        header.check()
    }

    fn check(self) -> Result<Self, HeaderFault> {
        if self.size < HEADER_BYTES {
            return Err(HeaderFault::Field("its length is smaller than a batch header"));
        }
        if self.last_offset_delta < 0 || self.count < 0 {
            return Err(HeaderFault::Counts);
        }
        Ok(self)
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut fields = &mut out[..];
        fields.put_i64(self.base_offset);
        fields.put_i32(i32::try_from(self.size - LENGTH_OVERHEAD).unwrap_or(i32::MAX));
        fields.put_i32(self.leader_epoch);
        fields.put_i8(MAGIC_V2);
        fields.put_u32(self.crc);
        fields.put_i16(self.attributes);
        fields.put_i32(self.last_offset_delta);
        fields.put_i64(self.base_timestamp);
        fields.put_i64(self.max_timestamp);
        fields.put_i64(self.producer_id);
        fields.put_i16(self.producer_epoch);
        fields.put_i32(self.base_sequence);
        fields.put_i32(self.count);
        out
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(crate) fn size_u64(&self) -> u64 {
        self.size as u64
    }

    /// Compression as the attributes number it: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub(crate) fn compression(&self) -> i16 {
        self.attributes & ATTRIBUTE_COMPRESSION
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// The time after which compaction may drop this batch's tombstones; it lives in the base timestamp then.
    pub(crate) fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & ATTRIBUTE_DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    pub(crate) fn mark_delete_horizon(&mut self) {
        self.attributes |= ATTRIBUTE_DELETE_HORIZON;
    }

    /// For a batch that lost its records: nothing is compressed and no tombstone waits.
    pub(crate) fn clear_contents_attributes(&mut self) {
        self.attributes &= !(ATTRIBUTE_COMPRESSION | ATTRIBUTE_DELETE_HORIZON);
    }

    pub(crate) fn has_unknown_attributes(&self) -> bool {
        self.attributes & !ATTRIBUTES_KNOWN != 0
    }

    pub(crate) fn has_producer(&self) -> bool {
        self.producer_id != NO_PRODUCER_ID
    }

    /// Stamps the batch with the broker's time; `crc` follows without reading the records again where that is cheaper.
    pub(crate) fn stamp_append_time(&mut self, now_ms: i64, batch: &[u8]) {
        let before = self.encode();
        self.attributes |= ATTRIBUTE_LOG_APPEND_TIME;
        self.max_timestamp = now_ms;
        let after = self.encode();
        let (old, new) = (&before[CRC_START..], &after[CRC_START..]);
        self.crc = crc::replace_prefix(self.crc, old, new, &batch[HEADER_BYTES..]);
    }
}

/// The producers (id, epoch) of the transactional batches in a record set, as far as it can be read.
pub(crate) fn transactional_producers(records: &[u8]) -> impl Iterator<Item = (i64, i16)> {
    let mut rest = records;
    std::iter::from_fn(move || {
        loop {
            let header = BatchHeader::parse_any_offset(rest).ok()?;
            rest = rest.get(header.size..)?;
            if header.is_transactional() {
                return Some((header.producer_id, header.producer_epoch));
            }
        }
    })
}

/// The last offset of a batch by its header: compaction may have removed the records at its end.
pub(crate) fn last_offset(batch: &[u8]) -> Option<i64> {
    BatchHeader::parse(batch).ok().map(|header| header.last_offset())
}

/// The same batch as part of a producer's transaction, as Kafka's group coordinator writes it.
pub(crate) fn within_transaction(batch: &[u8], (producer_id, producer_epoch): (i64, i16)) -> Option<Vec<u8>> {
    let mut header = BatchHeader::parse_any_offset(batch).ok()?;
    header.attributes |= ATTRIBUTE_TRANSACTIONAL;
    (header.producer_id, header.producer_epoch, header.base_sequence) = (producer_id, producer_epoch, 0);
    let mut out = batch.get(..header.size)?.to_vec();
    out[..HEADER_BYTES].copy_from_slice(&header.encode());
    header.crc = checksum(&out);
    out[..HEADER_BYTES].copy_from_slice(&header.encode());
    Some(out)
}

/// CRC-32C over attributes to end, of a batch that is whole in memory.
pub(crate) fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[CRC_START..])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    /// Key and value.
    pub(crate) type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

    /// A batch as a producer sends it, of uncompressed records with the given keys and values.
    pub(crate) struct BatchSpec {
        pub(crate) header: BatchHeader,
        pub(crate) records: Vec<KeyValue>,
    }

    impl BatchSpec {
        pub(crate) fn values(values: &[&[u8]], timestamp: i64) -> Self {
            Self::records(values.iter().map(|value| (None, Some(value.to_vec()))).collect(), timestamp)
        }

        pub(crate) fn records(records: Vec<KeyValue>, timestamp: i64) -> Self {
            let count = i32::try_from(records.len()).unwrap();
            let header = BatchHeader {
                base_offset: 0,
                size: 0,
                leader_epoch: -1,
                crc: 0,
                attributes: 0,
                last_offset_delta: count - 1,
                base_timestamp: timestamp,
                max_timestamp: timestamp,
                producer_id: -1,
                producer_epoch: -1,
                base_sequence: -1,
                count,
            };
            Self { header, records }
        }

        pub(crate) fn producer(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
            self.header.producer_id = id;
            self.header.producer_epoch = epoch;
            self.header.base_sequence = sequence;
            self
        }

        pub(crate) fn attributes(mut self, bits: i16) -> Self {
            self.header.attributes |= bits;
            self
        }

        /// A largest timestamp that no record has.
        pub(crate) fn claiming(mut self, max_timestamp: i64) -> Self {
            self.header.max_timestamp = max_timestamp;
            self
        }

        pub(crate) fn compressed(mut self, codec: i16) -> Self {
            self.header.attributes |= codec;
            self
        }

        pub(crate) fn bytes(mut self) -> Bytes {
            let mut body = Vec::new();
            for (delta, (key, value)) in self.records.iter().enumerate() {
                let delta = i32::try_from(delta).unwrap();
                crate::log::record::put_record(&mut body, (delta, 0), key.as_deref(), value.as_deref());
            }
            if matches!(self.header.compression(), 1..=4) {
                body = crate::log::compression::compress(self.header.compression(), &body).unwrap();
            }
            self.header.size = HEADER_BYTES + body.len();
            let mut out = BytesMut::from(&self.header.encode()[..]);
            out.extend_from_slice(&body);
            let crc = checksum(&out);
            out[17..21].copy_from_slice(&crc.to_be_bytes());
            out.freeze()
        }
    }

    #[test]
    fn header_survives_encoding() {
        let batch = BatchSpec::values(&[b"a", b"bc"], 7).producer(5, 1, 9).bytes();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.encode()[..], batch[..HEADER_BYTES]);
        assert_eq!((header.count, header.last_offset_delta, header.size), (2, 1, batch.len()));
        assert_eq!(header.crc, checksum(&batch));
    }

    #[test]
    fn malformed_headers_are_refused() {
        let good = BatchSpec::values(&[b"a"], 7).bytes();
        let broken = |at: usize, bytes: &[u8]| {
            let mut copy = good.to_vec();
            copy[at..at + bytes.len()].copy_from_slice(bytes);
            BatchHeader::parse(&copy)
        };
        assert_eq!(broken(16, &[1]), Err(HeaderFault::Magic(1)));
        assert!(broken(8, &48_i32.to_be_bytes()).is_err());
        assert!(broken(8, &(-1_i32).to_be_bytes()).is_err());
        assert!(broken(23, &(-1_i32).to_be_bytes()).is_err());
        assert!(broken(0, &i64::MAX.to_be_bytes()).is_err());
        assert!(BatchHeader::parse(&good[..60]).is_err());
    }

    proptest! {
        #[test]
        fn append_time_keeps_the_checksum_right(len in 0_usize..40_000, now in any::<i64>()) {
            let value = vec![0x5a; len];
            let batch = BatchSpec::values(&[&value], 1).bytes();
            let mut header = BatchHeader::parse(&batch).unwrap();
            header.stamp_append_time(now, &batch);
            let mut stamped = batch.to_vec();
            stamped[..HEADER_BYTES].copy_from_slice(&header.encode());
            prop_assert_eq!(checksum(&stamped), header.crc);
            prop_assert!(header.is_log_append_time());
        }
    }
}
