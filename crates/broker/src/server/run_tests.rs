use super::*;
use crate::log::on_disk::{self, Disk};
use crate::log::{Overrides, within_transaction};
use crate::server::group::encode_batch;
use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

/// Only a broken broker meets it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A disk whose syncs take as long as the test wants.
#[derive(Debug, Default)]
struct SlowDisk {
    state: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    is_closed: bool,
    waiting: usize,
}

impl Disk for SlowDisk {
    fn sync(&self, file: &File) -> io::Result<()> {
        let mut gate = self.state.lock().unwrap();
        gate.waiting += 1;
        self.changed.notify_all();
        let mut gate = self.changed.wait_while(gate, |gate| gate.is_closed).unwrap();
        gate.waiting -= 1;
        file.sync_data()
    }
}

impl SlowDisk {
    fn close(&self, is_closed: bool) {
        self.state.lock().unwrap().is_closed = is_closed;
        self.changed.notify_all();
    }

    /// Until somebody's append is being synced.
    fn wait_for_sync(&self) {
        let gate = self.state.lock().unwrap();
        let (gate, _) = self.changed.wait_timeout_while(gate, PATIENCE, |gate| gate.waiting == 0).unwrap();
        assert!(gate.waiting > 0, "nothing is synced");
    }
}

struct Client(StdStream);

impl Client {
    fn connect(broker: &RunningBroker) -> Self {
        let stream = StdStream::connect(broker.addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) {
        let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
        let mut frame = BytesMut::zeroed(4);
        header.encode(&mut frame, ApiKey::try_from(R::KEY).unwrap().request_header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.0.write_all(&frame).unwrap();
    }

    fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut body).unwrap();
        let mut body = Bytes::from(body);
        ResponseHeader::decode(&mut body, R::Response::header_version(version)).unwrap();
        let response = R::Response::decode(&mut body, version).unwrap();
        assert!(!body.has_remaining());
        response
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.receive::<R>(version)
    }
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn config(folder: &tempfile::TempDir) -> BrokerConfig {
    let mut config = BrokerConfig::new(folder.path()).listen(([127, 0, 0, 1], 0).into());
    // One thread serves all connections, and nothing is flushed in the background.
    config.worker_threads = Some(1);
    config.housekeeping_interval = Duration::from_secs(3600);
    config.groups.initial_rebalance_delay = Duration::ZERO;
    config
}

/// A client whose requests wait for the disk, and another one.
struct Bench {
    disk: Arc<SlowDisk>,
    writer: Client,
    other: Client,
    broker: RunningBroker,
}

impl Bench {
    fn start(config: BrokerConfig, topic_settings: &[(&str, &str)]) -> Self {
        let disk = Arc::new(SlowDisk::default());
        let broker = Broker::start_by(config, |config, advertised| {
            let opened = on_disk::open(&config.store, Arc::clone(&disk) as Arc<dyn Disk>)?;
            Server::open_on(opened, config, advertised)
        })
        .unwrap();
        let settings: Overrides =
            topic_settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        broker.server.store.create_topic("t", 1, &settings).unwrap();
        Self { disk, writer: Client::connect(&broker), other: Client::connect(&broker), broker }
    }

    /// The answer to a request that syncs the disk; meanwhile another connection is served.
    fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.disk.close(true);
        self.writer.send(request, version);
        self.disk.wait_for_sync();
        assert!(!self.other.call(&ApiVersionsRequest::default(), 0).api_keys.is_empty());
        self.disk.close(false);
        self.writer.receive::<R>(version)
    }
}

fn produce_request(records: Bytes, id: Option<TransactionalId>) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(TopicName(text("t"))).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(-1).with_transactional_id(id).with_topic_data(vec![topic])
}

fn records() -> Bytes {
    encode_batch(vec![(Bytes::from_static(b"key"), Some(Bytes::from_static(b"value")))], 1).unwrap()
}

fn produce_error(answer: &ProduceResponse) -> i16 {
    answer.responses[0].partition_responses[0].error_code
}

#[test]
fn others_are_served_while_records_and_groups_are_synced() {
    let folder = tempfile::tempdir().unwrap();
    let mut synced = config(&folder);
    synced.store.defaults.flush_messages = 1;
    let mut bench = Bench::start(synced, &[]);
    let produced = bench.call(&produce_request(records(), None), 9);
    assert_eq!(produce_error(&produced), 0);
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default().with_group_id(GroupId(text("by hand"))).with_topics(vec![topic]);
    let committed = bench.call(&commit.with_generation_id_or_member_epoch(-1), 8);
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(60_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![JoinGroupRequestProtocol::default().with_name(text("range"))]);
    let joined = bench.writer.call(&join, 3);
    let sync = SyncGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    assert_eq!(bench.call(&sync, 2).error_code, 0);
    let leave = LeaveGroupRequest::default().with_group_id(GroupId(text("g"))).with_member_id(joined.member_id);
    assert_eq!(bench.call(&leave, 2).error_code, 0);
    bench.broker.shutdown_blocking().unwrap();
}

fn one() -> TransactionalId {
    TransactionalId(text("one"))
}

fn init_request() -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(one()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

#[test]
fn others_are_served_while_transactions_are_synced() {
    let folder = tempfile::tempdir().unwrap();
    let mut synced = config(&folder);
    synced.store.defaults.flush_messages = 1;
    let mut bench = Bench::start(synced, &[]);
    let init = init_request();
    let producer = bench.call(&init, 4);
    assert_eq!(producer.error_code, 0);
    let (producer, epoch) = (producer.producer_id, producer.producer_epoch);
    let wanted = AddPartitionsToTxnTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![0]);
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(one())
        .with_v3_and_below_producer_id(producer)
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(vec![wanted]);
    let added = bench.call(&add, 3);
    assert_eq!(added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code, 0);
    let batch = within_transaction(&records(), (*producer, epoch)).unwrap();
    // Numbered from 0 on, as the first batch of a producer.
    let batch = first_of_producer(&batch);
    assert_eq!(produce_error(&bench.call(&produce_request(batch, Some(one())), 9)), 0);
    let offsets = AddOffsetsToTxnRequest::default()
        .with_transactional_id(one())
        .with_producer_id(producer)
        .with_producer_epoch(epoch)
        .with_group_id(GroupId(text("g")));
    assert_eq!(bench.call(&offsets, 3).error_code, 0);
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = TxnOffsetCommitRequestTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![partition]);
    let commit = TxnOffsetCommitRequest::default()
        .with_transactional_id(one())
        .with_group_id(GroupId(text("g")))
        .with_producer_id(producer)
        .with_producer_epoch(epoch)
        .with_topics(vec![topic]);
    assert_eq!(bench.call(&commit, 3).topics[0].partitions[0].error_code, 0);
    let end = EndTxnRequest::default()
        .with_transactional_id(one())
        .with_producer_id(producer)
        .with_producer_epoch(epoch)
        .with_committed(true);
    assert_eq!(bench.call(&end, 3).error_code, 0);
    bench.broker.shutdown_blocking().unwrap();
}

fn first_of_producer(batch: &[u8]) -> Bytes {
    let mut batch = batch.to_vec();
    batch[53..57].copy_from_slice(&0_i32.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

#[test]
fn others_are_served_while_a_topic_of_its_own_setting_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(config(&folder), &[("flush.messages", "1")]);
    assert_eq!(produce_error(&bench.call(&produce_request(records(), None), 9)), 0);
    bench.broker.shutdown_blocking().unwrap();
}

#[test]
fn others_are_served_while_idle_transactional_ids_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut synced = config(&folder);
    synced.store.defaults.flush_messages = 1;
    synced.transactions.id_expiration = Duration::ZERO;
    let mut bench = Bench::start(synced, &[]);
    assert_eq!(bench.call(&init_request(), 4).error_code, 0);
    let used_ms = bench.broker.server.now_ms();
    // Idle is what was not used in this millisecond.
    while bench.broker.server.now_ms() <= used_ms {}
    bench.disk.close(true);
    let server = Arc::clone(&bench.broker.server);
    let expiry = std::thread::spawn(move || server.transactions.expire(server.world()));
    bench.disk.wait_for_sync();
    let mut known = |id: TransactionalId| {
        let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id]);
        bench.other.call(&request, 0).transaction_states[0].error_code == 0
    };
    assert!(!known(TransactionalId(text("another"))));
    bench.disk.close(false);
    expiry.join().unwrap();
    assert!(!known(one()), "it is forgotten");
    bench.broker.shutdown_blocking().unwrap();
}

#[test]
fn a_broker_without_its_housekeeping_ends_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut faulty = config(&folder);
    // No clock ticks so often: the task panics.
    faulty.housekeeping_interval = Duration::ZERO;
    let broker = Broker::start_blocking(faulty).unwrap();
    let observe = broker.observer();
    let (tell, told) = std::sync::mpsc::channel();
    broker.on_failure(move || tell.send(()).unwrap());
    told.recv_timeout(PATIENCE).unwrap();
    assert!(broker.has_failed() && observe().is_none());
    assert!(StdStream::connect(broker.addr()).is_err(), "nobody is served any more");
    assert!(matches!(broker.shutdown_blocking(), Err(BrokerError::Stopped)));

    let folder = tempfile::tempdir().unwrap();
    let sound = Broker::start_blocking(config(&folder)).unwrap();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    sound.on_failure(move || tell.send(()).unwrap());
    assert!(!sound.has_failed());
    sound.shutdown_blocking().unwrap();
    assert!(told.recv().is_err(), "a stop is no fault");
}

/// A disk that a round of housekeeping panics on.
#[derive(Debug, Default)]
struct PanickingDisk {
    is_next: AtomicBool,
}

impl Disk for PanickingDisk {
    fn sync(&self, file: &File) -> io::Result<()> {
        assert!(!self.is_next.swap(false, Ordering::SeqCst), "meant by the test");
        file.sync_data()
    }
}

#[test]
fn a_broker_whose_housekeeping_panics_ends_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.housekeeping_interval = Duration::from_millis(10);
    config.store.flush_interval = Duration::ZERO;
    let disk = Arc::new(PanickingDisk::default());
    let broker = Broker::start_by(config, |config, advertised| {
        let opened = on_disk::open(&config.store, Arc::clone(&disk) as Arc<dyn Disk>)?;
        Server::open_on(opened, config, advertised)
    })
    .unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    broker.on_failure(move || tell.send(()).unwrap());
    broker.server.store.create_topic("t", 1, &Overrides::default()).unwrap();
    disk.is_next.store(true, Ordering::SeqCst);
    let produced = Client::connect(&broker).call(&produce_request(records(), None), 9);
    assert_eq!(produce_error(&produced), 0);
    told.recv_timeout(PATIENCE).unwrap();
    assert!(broker.has_failed());
    assert!(matches!(broker.shutdown_blocking(), Err(BrokerError::Stopped)));
}

#[test]
fn answers_with_errors_are_counted_by_api() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start_blocking(config(&folder)).unwrap();
    let mut client = Client::connect(&broker);
    for version in 0..=4 {
        let heartbeat = HeartbeatRequest::default().with_group_id(GroupId(text("nobody's")));
        assert_ne!(client.call(&heartbeat, version).error_code, 0);
    }
    assert_ne!(produce_error(&client.call(&produce_request(records(), None), 9)), 0, "no such topic");
    let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1);
    let topic = fetch_request::FetchTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![partition]);
    client.call(&FetchRequest::default().with_max_bytes(1).with_topics(vec![topic]), 12);
    client.call(&MetadataRequest::default().with_topics(None), 9);
    // Nobody waits for an answer, so the connection ends.
    let unacknowledged = produce_request(records(), None).with_acks(0);
    client.send(&unacknowledged, 9);
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
    let counted = |api: &str| {
        let row = broker.requests().into_iter().find(|row| row.api == api).unwrap();
        (row.errors, row.times.counts.iter().sum::<u64>())
    };
    assert_eq!((counted("Heartbeat"), counted("Produce"), counted("Metadata")), ((5, 5), (2, 2), (0, 1)));
    assert_eq!(counted("Fetch"), (1, 1));
    broker.shutdown_blocking().unwrap();
}
