//! Encodes fetch responses around the records, which stay where the log has put them.
//!
//! The generated encoder would copy all records into one buffer. Layout: FetchResponse.json of
//! Apache Kafka, versions 4 to 12.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;

use crate::log::{AbortedTransaction, Isolation};

/// Smaller record sets are copied: one more slice to write would cost more.
const COPY_BELOW_BYTES: usize = 1024;
const FLEXIBLE: i16 = 12;
const NULL: i32 = -1;
const NO_REPLICA: i32 = -1;

/// A fetch response before it is encoded.
#[derive(Debug)]
pub(crate) struct FetchBody {
    /// What is wrong with the request as a whole.
    pub(crate) error: Option<ResponseError>,
    /// What the client asked for.
    pub(crate) isolation: Isolation,
    /// In the order of the request.
    pub(crate) topics: Vec<FetchedTopic>,
}

/// The partitions of one topic.
#[derive(Debug)]
pub(crate) struct FetchedTopic {
    pub(crate) name: TopicName,
    pub(crate) partitions: Vec<FetchedPartition>,
}

/// What was read from one partition.
#[derive(Debug)]
pub(crate) struct FetchedPartition {
    pub(crate) index: i32,
    pub(crate) error_code: i16,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) log_start_offset: i64,
    /// Told to clients that want committed records only.
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// Empty when there is nothing; a null record set would make clients stumble.
    pub(crate) records: Bytes,
}

impl FetchBody {
    pub(crate) fn failed(error: ResponseError, isolation: Isolation) -> Self {
        Self { error: Some(error), isolation, topics: Vec::new() }
    }

    /// Bytes of all record sets.
    pub(crate) fn record_bytes(&self) -> usize {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.records.len()).sum()
    }

    /// Whether it tells of an error.
    pub(crate) fn is_failure(&self) -> bool {
        let mut partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        self.error.is_some() || partitions.any(|partition| partition.error_code != 0)
    }

    /// Encodes the body behind `head`; gives back the slices that follow each other on the wire.
    pub(crate) fn encode(self, version: i16, head: BytesMut) -> (BytesMut, Vec<Bytes>) {
        let mut out = Output { version, buffer: head, slices: Vec::new() };
        out.buffer.put_i32(0);
        if version >= 7 {
            out.buffer.put_i16(self.error.map_or(0, |error| error.code()));
            out.buffer.put_i32(0);
        }
        out.length(self.topics.len());
        for topic in self.topics {
            out.string(&topic.name);
            out.length(topic.partitions.len());
            for partition in topic.partitions {
                out.partition(partition, self.isolation);
            }
            out.no_tags();
        }
        out.no_tags();
        out.finish()
    }
}

struct Output {
    version: i16,
    buffer: BytesMut,
    slices: Vec<Bytes>,
}

impl Output {
    fn partition(&mut self, partition: FetchedPartition, isolation: Isolation) {
        self.buffer.put_i32(partition.index);
        self.buffer.put_i16(partition.error_code);
        self.buffer.put_i64(partition.high_watermark);
        self.buffer.put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.buffer.put_i64(partition.log_start_offset);
        }
        match isolation {
            Isolation::Committed => self.aborted(&partition.aborted),
            Isolation::Uncommitted if self.version >= FLEXIBLE => self.buffer.put_u8(0),
            Isolation::Uncommitted => self.buffer.put_i32(NULL),
        }
        if self.version >= 11 {
            self.buffer.put_i32(NO_REPLICA);
        }
        self.records(partition.records);
        self.no_tags();
    }

    fn aborted(&mut self, transactions: &[AbortedTransaction]) {
        self.length(transactions.len());
        for transaction in transactions {
            self.buffer.put_i64(transaction.producer_id);
            self.buffer.put_i64(transaction.first_offset);
            self.no_tags();
        }
    }

    fn records(&mut self, records: Bytes) {
        self.length(records.len());
        if records.len() < COPY_BELOW_BYTES {
            self.buffer.put_slice(&records);
        } else {
            self.slices.push(self.buffer.split().freeze());
            self.slices.push(records);
        }
    }

    fn string(&mut self, text: &str) {
        if self.version >= FLEXIBLE {
            self.length(text.len());
        } else {
            let length = i16::try_from(text.len()).expect("the name came in a 16-bit string");
            self.buffer.put_i16(length);
        }
        self.buffer.put_slice(text.as_bytes());
    }

    /// The length of an array, of records or of a compact string.
    fn length(&mut self, length: usize) {
        let length = i32::try_from(length).expect("responses are bounded far below 2 GiB");
        if self.version >= FLEXIBLE {
            self.varint(length.unsigned_abs() + 1);
        } else {
            self.buffer.put_i32(length);
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(0x80 | (value & 0x7f).to_le_bytes()[0]);
            value >>= 7;
        }
        self.buffer.put_u8(value.to_le_bytes()[0]);
    }

    fn no_tags(&mut self) {
        if self.version >= FLEXIBLE {
            self.buffer.put_u8(0);
        }
    }

    /// The first slice stays writable: the frame's length goes into it.
    fn finish(self) -> (BytesMut, Vec<Bytes>) {
        let mut slices = self.slices.into_iter();
        match slices.next() {
            None => (self.buffer, Vec::new()),
            Some(first) => {
                let head = first.try_into_mut().unwrap_or_else(|shared| shared[..].into());
                let rest = slices.chain([self.buffer.freeze()]).collect();
                (head, rest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::FetchResponse;
    use kafka_protocol::protocol::{Decodable, StrBytes};

    fn body(isolation: Isolation, sizes: &[usize]) -> FetchBody {
        let partition = |(index, size): (i32, &usize)| FetchedPartition {
            index,
            error_code: 0,
            high_watermark: 77,
            last_stable_offset: 66,
            log_start_offset: 5,
            aborted: (0..i64::from(index))
                .map(|n| AbortedTransaction {
                    producer_id: n,
                    first_offset: n * 1000,
                    last_offset: n * 1000 + 9,
                    last_stable_offset: n,
                })
                .collect(),
            records: Bytes::from(vec![0xcd; *size]),
        };
        let name = |text: &'static str| TopicName(StrBytes::from_static_str(text));
        FetchBody {
            error: None,
            isolation,
            topics: vec![
                FetchedTopic { name: name("raw_images"), partitions: (0..).zip(sizes).map(partition).collect() },
                FetchedTopic { name: name("empty"), partitions: Vec::new() },
            ],
        }
    }

    /// What any client decodes is what was put in, in every version.
    #[test]
    fn clients_decode_what_was_encoded() {
        let sizes = [0, 1, 126, 127, 1023, 1024, 50_000, 0, 2_100_000];
        for version in 4..=12 {
            for isolation in [Isolation::Committed, Isolation::Uncommitted] {
                let body = body(isolation, &sizes);
                let (head, tail) = body.encode(version, BytesMut::new());
                assert_eq!(tail.len(), 6, "three large record sets stay slices of their own");
                let mut bytes = Bytes::from([head.freeze()].into_iter().chain(tail).collect::<Vec<_>>().concat());
                let decoded = FetchResponse::decode(&mut bytes, version).unwrap();
                assert!(bytes.is_empty());
                let topic = &decoded.responses[0];
                assert_eq!((&*topic.topic.0, decoded.responses.len()), ("raw_images", 2));
                for (partition, size) in topic.partitions.iter().zip(sizes) {
                    let records = partition.records.as_ref().expect("never null");
                    assert_eq!(records.len(), size);
                    assert_eq!((partition.high_watermark, partition.last_stable_offset), (77, 66));
                    let start = if version >= 5 { 5 } else { -1 };
                    assert_eq!(partition.log_start_offset, start);
                    let expected = (isolation == Isolation::Committed)
                        .then(|| (0..i64::from(partition.partition_index)).map(|n| (n, n * 1000)).collect::<Vec<_>>());
                    let aborted = partition.aborted_transactions.as_ref();
                    let aborted =
                        aborted.map(|all| all.iter().map(|one| (*one.producer_id, one.first_offset)).collect());
                    assert_eq!(aborted, expected);
                }
            }
        }
    }

    #[test]
    fn a_request_error_has_no_topics() {
        let error = ResponseError::FetchSessionIdNotFound;
        let (head, tail) = FetchBody::failed(error, Isolation::Committed).encode(12, BytesMut::new());
        assert!(tail.is_empty());
        let decoded = FetchResponse::decode(&mut head.freeze(), 12).unwrap();
        assert_eq!((decoded.error_code, decoded.session_id), (error.code(), 0));
    }
}
