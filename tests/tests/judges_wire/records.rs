//! Record sets byte by byte, right ones and wrong ones.

use flate2::Crc;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const GZIP: i16 = 1;
pub(crate) const SNAPPY: i16 = 2;
pub(crate) const LZ4: i16 = 3;
pub(crate) const ZSTD: i16 = 4;

/// Of the fields in front of the records.
const HEADER_BYTES: usize = 61;
/// What the batch's own length does not count.
const LENGTH_OVERHEAD: usize = 12;
const CRC_AT: std::ops::Range<usize> = 17..21;

/// A batch whose fields may say anything; whatever they say, the checksum is right unless it is spoilt.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    /// Instead of the right one.
    pub(crate) length: Option<i32>,
    pub(crate) magic: i8,
    pub(crate) spoils_checksum: bool,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) timestamp_ms: i64,
    /// Id, epoch, first sequence.
    pub(crate) producer: (i64, i16, i32),
    pub(crate) count: i32,
    pub(crate) body: Vec<u8>,
}

impl Batch {
    /// Whole and right: one record.
    pub(crate) fn good() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            base_offset: 0,
            length: None,
            magic: 2,
            spoils_checksum: false,
            attributes: 0,
            last_offset_delta: 0,
            timestamp_ms: i64::try_from(now.as_millis()).unwrap(),
            producer: (-1, -1, -1),
            count: 1,
            body: record(b"value"),
        }
    }

    /// One record, compressed as it should be.
    pub(crate) fn compressed(codec: i16, contents: &[u8]) -> Self {
        Self { attributes: codec, body: compress(codec, contents), ..Self::good() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = i32::try_from(HEADER_BYTES - LENGTH_OVERHEAD + self.body.len()).unwrap();
        let mut out = Vec::with_capacity(HEADER_BYTES + self.body.len());
        out.extend(self.base_offset.to_be_bytes());
        out.extend(self.length.unwrap_or(length).to_be_bytes());
        out.extend((-1_i32).to_be_bytes());
        out.extend(self.magic.to_be_bytes());
        out.extend([0; 4]);
        out.extend(self.attributes.to_be_bytes());
        out.extend(self.last_offset_delta.to_be_bytes());
        out.extend(self.timestamp_ms.to_be_bytes());
        out.extend(self.timestamp_ms.to_be_bytes());
        out.extend(self.producer.0.to_be_bytes());
        out.extend(self.producer.1.to_be_bytes());
        out.extend(self.producer.2.to_be_bytes());
        out.extend(self.count.to_be_bytes());
        out.extend(&self.body);
        let crc = crc32c::crc32c(&out[CRC_AT.end..]) ^ u32::from(self.spoils_checksum);
        out[CRC_AT].copy_from_slice(&crc.to_be_bytes());
        out
    }
}

/// The first record of a batch, without a key and without headers.
pub(crate) fn record(value: &[u8]) -> Vec<u8> {
    let mut fields = vec![0, 0, 0, 1];
    fields.extend(varint(value.len()));
    fields.extend(value);
    fields.push(0);
    [varint(fields.len()), fields].concat()
}

/// A length, which is zigzagged as all numbers of a record are.
pub(crate) fn varint(number: usize) -> Vec<u8> {
    let mut rest = number * 2;
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
    out
}

/// A message as clients sent it before Kafka 0.11.
pub(crate) fn old_message(magic: u8) -> Vec<u8> {
    let mut fields = vec![magic, 0];
    if magic == 1 {
        fields.extend(Batch::good().timestamp_ms.to_be_bytes());
    }
    fields.extend((-1_i32).to_be_bytes());
    fields.extend([0, 0, 0, 5]);
    fields.extend(b"value");
    let mut crc = Crc::new();
    crc.update(&fields);
    let size = i32::try_from(fields.len() + 4).unwrap();
    [&[0; 8][..], &size.to_be_bytes(), &crc.sum().to_be_bytes(), &fields].concat()
}

fn compress(codec: i16, contents: &[u8]) -> Vec<u8> {
    if codec == ZSTD {
        return zstd::stream::encode_all(contents, 0).unwrap();
    }
    assert_eq!(codec, GZIP, "the other codecs are only claimed here");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}
