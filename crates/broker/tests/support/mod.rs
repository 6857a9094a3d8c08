//! A broker in a folder of its own and a client that speaks the protocol request by request.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "part of every test; each uses another part of it"
)]

pub mod groups;
pub mod process;
pub mod transactions;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, FetchRequest, FetchResponse, GroupId, ProduceRequest,
    RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use tempfile::TempDir;

/// Long enough that only a broken broker meets it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn config(folder: &TempDir) -> BrokerConfig {
    let mut config = BrokerConfig::new(folder.path()).listen(([127, 0, 0, 1], 0).into());
    config.groups.initial_rebalance_delay = Duration::ZERO;
    config.groups.min_session_timeout = Duration::from_millis(10);
    config
}

pub fn start(folder: &TempDir) -> RunningBroker {
    Broker::start_blocking(config(folder)).unwrap()
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

pub fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request and gives back its correlation id.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.correlation_id += 1;
        let frame = frame(request, version, self.correlation_id);
        self.stream.write_all(&frame).unwrap();
        self.correlation_id
    }

    /// The next response, whatever it answers: correlation id and the rest.
    pub fn receive_any(&mut self) -> (i32, Bytes) {
        self.try_receive_any().unwrap()
    }

    fn try_receive_any(&mut self) -> std::io::Result<(i32, Bytes)> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut body)?;
        let mut body = Bytes::from(body);
        let correlation_id = i32::from_be_bytes(body.split_to(4)[..].try_into().unwrap());
        Ok((correlation_id, body))
    }

    pub fn receive<R: Request>(&mut self, correlation_id: i32, version: i16) -> R::Response {
        let received = self.receive_any();
        decode::<R>(received, correlation_id, version)
    }

    /// [`Client::call`] for a broker that may die meanwhile.
    pub fn try_call<R: Request>(&mut self, request: &R, version: i16) -> std::io::Result<R::Response> {
        self.correlation_id += 1;
        let correlation_id = self.correlation_id;
        self.stream.write_all(&frame(request, version, correlation_id))?;
        let received = self.try_receive_any()?;
        Ok(decode::<R>(received, correlation_id, version))
    }

    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let correlation_id = self.send(request, version);
        self.receive::<R>(correlation_id, version)
    }

    /// The versions of an API that the broker tells of.
    pub fn versions(&mut self, key: ApiKey) -> std::ops::RangeInclusive<i16> {
        let all = self.call(&ApiVersionsRequest::default(), 0).api_keys;
        let range = all.iter().find(|range| range.api_key == key as i16).unwrap();
        range.min_version..=range.max_version
    }

    /// Whether the broker has closed the connection, waiting for it.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub fn create_topic(&mut self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> i16 {
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable(name, partitions, settings)])
            .with_timeout_ms(5000);
        self.call(&request, 6).topics[0].error_code
    }

    pub fn produce(&mut self, name: &str, index: i32, records: Bytes) -> PartitionProduceResponse {
        let response = self.call(&produce_request(name, index, records, -1), 9);
        response.responses[0].partition_responses[0].clone()
    }

    /// Reads one partition without waiting.
    pub fn fetch(&mut self, name: &str, index: i32, offset: i64) -> PartitionData {
        let request = fetch_request(&[(name, index, offset)]);
        only_partition(self.call(&request, 12))
    }

    /// Keys and values of one partition from its beginning.
    pub fn read_all(&mut self, name: &str, index: i32) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        loop {
            let next = records.last().map_or(0, |record| record.offset + 1);
            let found = self.fetch(name, index, next);
            assert_eq!(found.error_code, 0);
            let mut bytes = found.records.unwrap();
            if bytes.is_empty() {
                return records;
            }
            let batches = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
            let found = batches.into_iter().flat_map(|batch| batch.records);
            records.extend(found.filter(|record| record.offset >= next));
        }
    }
}

fn decode<R: Request>(received: (i32, Bytes), correlation_id: i32, version: i16) -> R::Response {
    let (got, body) = received;
    assert_eq!(got, correlation_id, "responses come in the order of their requests");
    let mut whole = BytesMut::from(&got.to_be_bytes()[..]);
    whole.extend_from_slice(&body);
    let mut whole = whole.freeze();
    ResponseHeader::decode(&mut whole, R::Response::header_version(version)).unwrap();
    let response = R::Response::decode(&mut whole, version).unwrap();
    assert!(whole.is_empty(), "{} bytes too many", whole.len());
    response
}

pub fn frame<R: Request>(request: &R, version: i16, correlation_id: i32) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(text("tester")));
    let header_version = ApiKey::try_from(R::KEY).unwrap().request_header_version(version);
    let mut body = BytesMut::zeroed(4);
    header.encode(&mut body, header_version).unwrap();
    request.encode(&mut body, version).unwrap();
    let length = i32::try_from(body.len() - 4).unwrap();
    body[..4].copy_from_slice(&length.to_be_bytes());
    body.freeze()
}

pub fn creatable(name: &str, partitions: i32, settings: &[(&str, &str)]) -> CreatableTopic {
    let settings = settings
        .iter()
        .map(|(key, value)| CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value))));
    CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(settings.collect())
}

pub fn produce_request(name: &str, index: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(index).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(5000).with_topic_data(vec![topic])
}

/// `(topic, partition, offset)`, no waiting, large budgets.
pub fn fetch_request(wanted: &[(&str, i32, i64)]) -> FetchRequest {
    let topics = wanted.iter().map(|(name, index, offset)| {
        let partition = FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20);
        FetchTopic::default().with_topic(topic(name)).with_partitions(vec![partition])
    });
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(topics.collect())
}

pub fn only_partition(mut response: FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, 0);
    response.responses.remove(0).partitions.remove(0)
}

/// One batch without producer id.
pub fn batch(values: &[&[u8]]) -> Bytes {
    idempotent_batch(values, (-1, -1), -1)
}

/// One batch of producer `(id, epoch)` that begins with `sequence`.
pub fn idempotent_batch(values: &[&[u8]], producer: (i64, i16), sequence: i32) -> Bytes {
    let records: Vec<Record> = (0..)
        .zip(values)
        .map(|(index, value)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: producer.0,
            producer_epoch: producer.1,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(index),
            sequence: sequence + index,
            timestamp: now_ms(),
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::copy_from_slice(value)),
            headers: Default::default(),
        })
        .collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}
