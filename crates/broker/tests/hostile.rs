//! Peers that are not Kafka clients, broken ones and malicious ones: none hurts the others.

mod support;

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use kafka_protocol::messages::{
    DescribeTransactionsRequest, FetchRequest, ListTransactionsRequest, MetadataRequest, ProducerId,
};
use lumenbus_broker::{Broker, BrokerStatistics, RunningBroker, check_request};
use proptest::prelude::*;
use rustix::process::{Resource, getrlimit};
use support::transactions::{Producer, transactional_id};
use support::*;

fn works(broker: &RunningBroker) {
    let mut client = Client::connect(broker.addr());
    let answer = client.call(&MetadataRequest::default(), 9);
    assert_eq!(answer.brokers.len(), 1);
}

#[test]
fn bytes_that_are_no_requests_close_only_their_connection() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let metadata = frame(&MetadataRequest::default(), 9, 1);
    let hostile: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client hello".to_vec(),
        vec![0xff; 64],
        vec![0; 64],
        // As long as allowed and far longer than what follows is not hostile, but more is.
        [&[0x7f, 0xff, 0xff, 0xff][..], &metadata[4..]].concat(),
        // A known API of an unknown version, an unknown API, a body that claims too much.
        vec![0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0, 0],
        vec![0, 0, 0, 10, 3, 232, 0, 0, 0, 0, 0, 1, 0, 0],
        vec![0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xff],
        // Produce 0 is advertised for librdkafka's sake, but not spoken.
        vec![0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    ];
    for bytes in hostile {
        let mut client = Client::connect(broker.addr());
        // The broker may hang up before everything is written.
        let _ = client.stream.write_all(&bytes);
        assert!(client.is_closed(), "{bytes:?}");
    }
    works(&broker);
}

#[test]
fn partial_requests_and_half_open_connections_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.limits.stall_timeout = Duration::from_millis(50);
    settings.limits.idle_timeout = Duration::from_millis(50);
    let broker = Broker::start_blocking(settings).unwrap();
    let whole = frame(&MetadataRequest::default(), 9, 1);
    for cut in [0, 1, 3, 4, 5, 12, whole.len() - 1] {
        let mut client = Client::connect(broker.addr());
        client.stream.write_all(&whole[..cut]).unwrap();
        assert!(client.is_closed(), "cut at {cut}, connection left open");
        let mut client = Client::connect(broker.addr());
        client.stream.write_all(&whole[..cut]).unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert!(client.is_closed(), "cut at {cut}, half closed");
    }
    works(&broker);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    for byte in &frame(&MetadataRequest::default(), 9, 7) {
        client.stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(client.receive::<MetadataRequest>(7, 9).brokers.len(), 1);
}

#[test]
fn a_reader_that_takes_nothing_is_dropped_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.limits.stall_timeout = Duration::from_millis(100);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[("max.message.bytes", "10000000")]);
    client.produce("t", 0, batch(&[&vec![1; 4 << 20]]));
    let mut greedy = Client::connect(broker.addr());
    let request = frame(&fetch_request(&[("t", 0, 0)]), 12, 1);
    // Answers of 4 MiB each, none of them read, until the broker has had enough.
    while greedy.stream.write_all(&request).is_ok() {
        works(&broker);
    }
}

#[test]
fn connections_beyond_the_limit_are_refused_until_others_close() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.limits.max_connections = 2;
    let broker = Broker::start_blocking(settings).unwrap();
    let request = MetadataRequest::default();
    let mut held: Vec<Client> = (0..2).map(|_| Client::connect(broker.addr())).collect();
    for client in &mut held {
        client.call(&request, 9);
    }
    assert!(Client::connect(broker.addr()).is_closed());
    held.pop();
    let began = std::time::Instant::now();
    while Client::connect(broker.addr()).is_closed_at_once() {
        assert!(began.elapsed() < PATIENCE, "the place of a closed connection stays taken");
    }
}

impl Client {
    fn is_closed_at_once(&mut self) -> bool {
        let request = frame(&MetadataRequest::default(), 9, 1);
        self.stream.write_all(&request).is_err() || self.is_closed()
    }
}

#[test]
fn large_requests_share_a_budget_and_still_get_through() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.limits.max_request_bytes = 6 << 20;
    settings.limits.large_request_budget_bytes = 6 << 20;
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 4, &[("max.message.bytes", "10000000")]);
    let address = broker.addr();
    let writers: Vec<_> = (0..4)
        .map(|index| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for _ in 0..5 {
                    let produced = client.produce("t", index, batch(&[&vec![1; 4 << 20]]));
                    assert_eq!(produced.error_code, 0);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let mut too_large = Client::connect(address);
    let request = produce_request("t", 0, batch(&[&vec![1; 7 << 20]]), -1);
    let _ = too_large.stream.write_all(&frame(&request, 9, 1));
    assert!(too_large.is_closed());
}

/// Peers that announce as much as may be and send it byte by byte, or stop in the middle of it.
#[test]
fn dripping_peers_hold_up_no_large_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.limits.max_request_bytes = 16 << 20;
    settings.limits.large_request_budget_bytes = 40 << 20;
    // However slow the machine, none of them is dropped for it.
    settings.limits.stall_timeout = Duration::from_secs(3600);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[("max.message.bytes", "10000000")]);
    let announced = (16_i32 << 20).to_be_bytes();
    // A request that gets no room blocks while it is written.
    client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut dripping: Vec<Client> = (0..8).map(|_| Client::connect(broker.addr())).collect();
    for peer in &mut dripping {
        peer.stream.write_all(&[&announced[..], &[0, 0, 0, 9]].concat()).unwrap();
    }
    let record = batch(&[&vec![1; 4 << 20]]);
    for _ in 0..10 {
        for peer in &mut dripping {
            peer.stream.write_all(&[0]).unwrap();
        }
        assert_eq!(client.produce("t", 0, record.clone()).error_code, 0);
    }
    // What has arrived does count, in steps of 1 MiB.
    for peer in &mut dripping {
        peer.stream.write_all(&vec![0; 3 << 19]).unwrap();
    }
    settle(&broker, |now| now.held_bytes >= 8 * (2 << 20), "arrived bytes are not counted");
    for _ in 0..10 {
        assert_eq!(client.produce("t", 0, record.clone()).error_code, 0);
    }
    drop((dripping, client));
    settle(&broker, |now| now.connections == 0 && now.held_bytes == 0, "closed connections hold something");
}

/// There is no event for the broker's counters, so they are asked again and again.
fn settle(broker: &RunningBroker, is_so: impl Fn(&BrokerStatistics) -> bool, otherwise: &str) {
    let began = std::time::Instant::now();
    while !is_so(&broker.statistics()) {
        assert!(began.elapsed() < 3 * PATIENCE, "{otherwise}: {:?}", broker.statistics());
        std::thread::yield_now();
    }
}

#[test]
fn many_waiting_readers_are_served_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.limits.max_fetch_wait = Duration::from_secs(600);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    // Both ends of a connection are files of this process.
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let request = fetch_request(&[("t", 0, 0)]).with_max_wait_ms(600_000);
    let mut readers: Vec<(Client, i32)> = (0..2000.min(files / 4))
        .map(|_| {
            let mut reader = Client::connect(broker.addr());
            reader.stream.set_read_timeout(Some(6 * PATIENCE)).unwrap();
            let sent = reader.send(&request, 12);
            (reader, sent)
        })
        .collect();
    let record = batch(&[&[7; 1000]]);
    assert_eq!(client.produce("t", 0, record.clone()).error_code, 0);
    for (reader, sent) in &mut readers {
        let found = only_partition(reader.receive::<FetchRequest>(*sent, 12));
        assert_eq!(found.records.map(|records| records.len()), Some(record.len()));
    }
    drop((readers, client));
    settle(&broker, |now| now.connections == 0 && now.held_bytes == 0, "closed connections hold something");
    works(&broker);
}

#[test]
fn a_stop_answers_waiting_fetches() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let sent = client.send(&fetch_request(&[("t", 0, 0)]).with_max_wait_ms(60_000), 12);
    works(&broker);
    broker.shutdown_blocking().unwrap();
    // Either it was waiting, and is answered, or it had not been read yet.
    let mut first = [0; 1];
    if client.stream.peek(&mut first).is_ok_and(|read| read == 1) {
        assert_eq!(client.receive::<FetchRequest>(sent, 12).error_code, 0);
    }
    assert!(client.is_closed());
}

#[test]
fn answers_that_nobody_takes_make_the_others_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.limits.answer_budget_bytes = 32 << 20;
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let record = batch(&[&vec![1; 500_000]]);
    for _ in 0..64 {
        client.produce("t", 0, record.clone());
    }
    let mut request = fetch_request(&[("t", 0, 0)]);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    let mut fetched = || only_partition(client.call(&request, 12)).records.unwrap().len() / record.len();
    assert_eq!(fetched(), 64);
    // Far more than the system's socket buffers take in.
    let mut greedy = Vec::new();
    while fetched() > 4 {
        assert!(greedy.len() < 100, "unread answers are not counted");
        let mut one = Client::connect(broker.addr());
        one.send(&request, 12);
        greedy.push(one);
    }
    drop(greedy);
    let began = std::time::Instant::now();
    while fetched() != 64 {
        assert!(began.elapsed() < PATIENCE, "the share of a closed connection is lost");
    }
}

/// As many repeats as a request may hold: each would be told with all its partitions.
#[test]
fn transactions_named_again_and_again_are_told_once() {
    const REPEATS: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    Client::connect(broker.addr()).create_topic("t", 100, &[]);
    let mut one = Producer::ready(broker.addr(), "one");
    one.add("t", &(0..100).collect::<Vec<_>>());
    let ids = vec![transactional_id("one"); REPEATS];
    let described = one.client.call(&DescribeTransactionsRequest::default().with_transactional_ids(ids), 0);
    assert_eq!(described.transaction_states.len(), 1);
    assert_eq!(described.transaction_states[0].topics[0].partitions.len(), 100);
    let mut states = vec![text("Odd"); REPEATS / 2 - 1];
    states.push(text("Ongoing"));
    let producers = (0..REPEATS / 2).map(|id| ProducerId(i64::try_from(id).unwrap()));
    let request = ListTransactionsRequest::default()
        .with_state_filters(states)
        .with_producer_id_filters(producers.collect())
        .with_duration_filter(-1);
    let listed = one.client.call(&request, 1);
    assert_eq!((listed.transaction_states.len(), listed.unknown_state_filters.len()), (1, 1));
}

#[tokio::test]
async fn a_broker_runs_inside_an_async_program() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(config(&folder)).await.unwrap();
    let address = broker.addr();
    let asked = tokio::task::spawn_blocking(move || {
        Client::connect(address).call(&MetadataRequest::default(), 9).brokers.len()
    });
    assert_eq!(asked.await.unwrap(), 1);
    broker.shutdown().await.unwrap();
    let dropped = Broker::start(config(&folder)).await.unwrap();
    drop(dropped);
}

#[test]
fn an_address_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let other = tempfile::tempdir().unwrap();
    let taken = config(&other).listen(broker.addr());
    let error = Broker::start_blocking(taken).unwrap_err().to_string();
    assert!(error.contains(&broker.addr().to_string()), "{error}");
}

proptest! {
    #[test]
    fn checking_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_request(&bytes);
    }
}
