//! What was acknowledged is there after a clean stop and after a process was killed.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    DescribeClusterRequest, InitProducerIdRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use support::groups::*;
use support::process::Process;
use support::*;

/// Not a test of its own: what [`Process`] runs.
#[test]
fn broker_process() {
    support::process::run();
}

fn new_producer(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    *client.call(&request, 4).producer_id
}

fn cluster_id(client: &mut Client) -> String {
    let request = DescribeClusterRequest::default();
    client.call(&request, 0).cluster_id.to_string()
}

#[test]
fn topics_records_ids_and_sequences_survive_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut producers = std::collections::HashSet::new();
    let mut clusters = std::collections::HashSet::new();
    let first_producer = {
        let broker = start(&folder);
        let mut client = Client::connect(broker.addr());
        client.create_topic("t", 3, &[("message.timestamp.type", "LogAppendTime")]);
        let producer = new_producer(&mut client);
        producers.insert(producer);
        clusters.insert(cluster_id(&mut client));
        broker.shutdown_blocking().unwrap();
        producer
    };
    for round in 0..3 {
        let broker = start(&folder);
        let mut client = Client::connect(broker.addr());
        assert!(producers.insert(new_producer(&mut client)), "a producer id was given twice");
        clusters.insert(cluster_id(&mut client));
        let records = idempotent_batch(&[b"a", b"b"], (first_producer, 0), 2 * round);
        let produced = client.produce("t", 2, records);
        let base_offset = i64::from(2 * round);
        assert_eq!((produced.error_code, produced.base_offset), (0, base_offset));
        assert!(produced.log_append_time_ms > 0);
        broker.shutdown_blocking().unwrap();
    }
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    assert_eq!(clusters.len(), 1, "the cluster id is for ever");
    let repeated = idempotent_batch(&[b"a", b"b"], (first_producer, 0), 4);
    let repeated = client.produce("t", 2, repeated);
    assert_eq!((repeated.error_code, repeated.base_offset), (0, 4), "a repeat is known");
    let gap = idempotent_batch(&[b"a"], (first_producer, 0), 60);
    assert_eq!(client.produce("t", 2, gap).error_code, 45);
    assert_eq!(client.read_all("t", 2).len(), 6);
}

#[test]
fn repeated_batches_are_appended_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let producer = (new_producer(&mut client), 0);
    for sequence in 0..5 {
        let records = idempotent_batch(&[b"value"], producer, sequence);
        for _ in 0..2 {
            let produced = client.produce("t", 0, records.clone());
            assert_eq!((produced.error_code, produced.base_offset), (0, i64::from(sequence)));
        }
    }
    let late = client.produce("t", 0, idempotent_batch(&[b"value"], producer, 0));
    assert_eq!((late.error_code, late.base_offset), (0, 0), "five batches are remembered");
    let stale = client.produce("t", 0, idempotent_batch(&[b"value"], (producer.0, -1), 0));
    assert_ne!(stale.error_code, 0);
    assert_eq!(client.read_all("t", 0).len(), 5);
}

/// Produces numbered records until the broker dies; counts those acknowledged.
fn produce_until_killed(address: SocketAddr, index: i32, acknowledged: &AtomicI64) {
    let mut client = Client::connect(address);
    loop {
        let next = acknowledged.load(Ordering::SeqCst);
        let value = [&next.to_be_bytes()[..], &[7; 3000]].concat();
        let request = produce_request("t", index, batch(&[&value]), -1);
        let Ok(answer) = client.try_call(&request, 9) else {
            return;
        };
        let produced = &answer.responses[0].partition_responses[0];
        assert_eq!((produced.error_code, produced.base_offset), (0, next));
        acknowledged.store(next + 1, Ordering::SeqCst);
    }
}

fn commit(client: &mut Client, offset: i64) {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(&format!("marks of {offset}"))));
    let wanted = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![wanted]);
    assert_eq!(client.call(&request, 6).topics[0].partitions[0].error_code, 0);
}

fn committed(client: &mut Client) -> (i64, String) {
    let wanted = OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(vec![wanted]));
    let found = client.call(&request, 7).topics.remove(0).partitions.remove(0);
    (found.committed_offset, found.metadata.unwrap().to_string())
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(folder.path());
    let mut client = Client::connect(first.address);
    client.create_topic("t", 2, &[("segment.bytes", "1048576")]);
    drop((client, first));
    let acknowledged = [AtomicI64::new(0), AtomicI64::new(0)];
    for round in 1..=3 {
        let broker = Process::start(folder.path());
        let mut client = Client::connect(broker.address);
        // An append that was on its way at the kill may be there without having been acknowledged.
        for (index, count) in (0..).zip(&acknowledged) {
            let end = client.fetch("t", index, 0).high_watermark;
            let known = count.swap(end, Ordering::SeqCst);
            assert!((known..=known + 1).contains(&end), "{known} acknowledged, {end} there");
        }
        commit(&mut client, round);
        let expected = (round, format!("marks of {round}"));
        let address = broker.address;
        thread::scope(|scope| {
            for (index, count) in (0..).zip(&acknowledged) {
                scope.spawn(move || produce_until_killed(address, index, count));
            }
            let goal = 300 * round;
            while acknowledged.iter().any(|count| count.load(Ordering::SeqCst) < goal) {
                thread::yield_now();
            }
            drop(broker);
        });
        let broker = Process::start(folder.path());
        assert_eq!(committed(&mut Client::connect(broker.address)), expected);
    }
    let broker = Process::start(folder.path());
    let mut client = Client::connect(broker.address);
    for (index, count) in (0..).zip(&acknowledged) {
        let records = client.read_all("t", index);
        assert!(i64::try_from(records.len()).unwrap() >= count.load(Ordering::SeqCst));
        for (expected, record) in (0..).zip(&records) {
            let number = record.value.as_ref().unwrap()[..8].try_into().unwrap();
            assert_eq!((record.offset, i64::from_be_bytes(number)), (expected, expected));
        }
    }
}

/// Members that come back within their session find their assignments: no rebalance, no new ids.
fn members_go_on(mut members: [Member; 2], address: SocketAddr) {
    for member in &mut members {
        member.client = Client::connect(address);
    }
    let [first, second] = &mut members;
    assert_eq!((first.beat(), second.beat()), (0, 0));
    assert_eq!((first.commit(11), second.commit(12)), (0, 0));
    assert_eq!((&first.sync(&[]).1[..], &second.sync(&[]).1[..]), (&b"0"[..], &b"1"[..]));
    let mut back = Member::named(address, "box", 9);
    assert_eq!(back.join().generation_id, 2, "also a static one that has restarted itself");
    assert_eq!((&back.sync(&[]).1[..], second.beat()), (&b"1"[..], ResponseError::FencedInstanceId.code()));
    assert_eq!((back.leave(), first.beat()), (0, REBALANCING));
    assert_eq!(first.join().generation_id, 3);
}

/// A dynamic and a static member with their assignments.
fn settled(address: SocketAddr) -> [Member; 2] {
    let (mut first, mut second) = (Member::new(address, 9), Member::named(address, "box", 9));
    first.client.create_topic("t", 1, &[]);
    first.session_ms = 60_000;
    second.session_ms = 60_000;
    let sent = second.send_join();
    second.receive_join(sent);
    second.sync(&[]);
    let sent = first.send_join();
    second.beat_until(REBALANCING);
    let sent_second = second.send_join();
    first.receive_join(sent);
    second.receive_join(sent_second);
    let parts = [(first.id.clone(), "0"), (second.id.clone(), "1")];
    assert_eq!((second.sync(&parts).0, first.sync(&[]).0), (0, 0));
    [first, second]
}

#[test]
fn members_go_on_after_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let members = settled(broker.addr());
    broker.shutdown_blocking().unwrap();
    let broker = start(&folder);
    members_go_on(members, broker.addr());
}

#[test]
fn members_go_on_after_the_broker_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let killed = Process::start(folder.path());
    let members = settled(killed.address);
    drop(killed);
    let broker = start(&folder);
    members_go_on(members, broker.addr());
}
