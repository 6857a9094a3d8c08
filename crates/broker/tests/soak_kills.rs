//! Kills under mixed load: idempotent producers that repeat what was not answered, transactions, offset commits.
//!
//! `LUMENBUS_SOAK_KILLS` says how often.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use kafka_protocol::messages::InitProducerIdRequest;
use support::groups::{commit_request, committed};
use support::process::Process;
use support::transactions::*;
use support::*;

const PLAIN: &str = "plain";
const TRANSACTIONAL: &str = "t";
const IDS: [&str; 3] = ["a", "b", "c"];
/// Records between a start and the kill, in each partition.
const RECORDS: i64 = 200;

/// Not a test of its own: what [`Process`] runs.
#[test]
fn broker_process() {
    support::process::run();
}

fn kills() -> u64 {
    std::env::var("LUMENBUS_SOAK_KILLS").map_or(3, |text| text.parse().unwrap())
}

/// One partition's producer: its sequence is the offset, because nobody else writes there.
struct Idempotent {
    index: i32,
    producer: (i64, i16),
    acknowledged: AtomicI64,
}

impl Idempotent {
    fn new(client: &mut Client, index: i32) -> Self {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let id = *client.call(&request, 4).producer_id;
        Self { index, producer: (id, 0), acknowledged: AtomicI64::new(0) }
    }

    /// Begins with what was not answered before the last kill, whether it is there or not.
    fn produce_until_killed(&self, address: SocketAddr) {
        let mut client = Client::connect(address);
        loop {
            let next = self.acknowledged.load(Ordering::SeqCst);
            let value = [&next.to_be_bytes()[..], &[7; 2000]].concat();
            let records = idempotent_batch(&[&value], self.producer, i32::try_from(next).unwrap());
            let Ok(answer) = client.try_call(&produce_request(PLAIN, self.index, records, -1), 9) else { return };
            let produced = &answer.responses[0].partition_responses[0];
            assert_eq!((produced.error_code, produced.base_offset), (0, next), "partition {}", self.index);
            self.acknowledged.store(next + 1, Ordering::SeqCst);
        }
    }

    fn check(&self, reader: &mut Client) {
        let (records, acknowledged) = (reader.read_all(PLAIN, self.index), self.acknowledged.load(Ordering::SeqCst));
        let count = i64::try_from(records.len()).unwrap();
        assert!((acknowledged..=acknowledged + 1).contains(&count), "{acknowledged} acknowledged, {count} there");
        for (expected, record) in (0..).zip(&records) {
            let number = i64::from_be_bytes(record.value.as_ref().unwrap()[..8].try_into().unwrap());
            assert_eq!((record.offset, number), (expected, expected));
        }
    }
}

fn commit_until_killed(address: SocketAddr, acknowledged: &AtomicI64) {
    let mut client = Client::connect(address);
    loop {
        let next = acknowledged.load(Ordering::SeqCst) + 1;
        let Ok(answer) = client.try_call(&commit_request(PLAIN, 0, next, ""), 6) else { return };
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        acknowledged.store(next, Ordering::SeqCst);
    }
}

/// All loads at once until the broker has taken enough and dies.
fn one_life(folder: &std::path::Path, plain: &[Idempotent], commits: &AtomicI64, round: u64) -> Vec<Tried> {
    let broker = Process::start(folder);
    let address = broker.address;
    let mut reader = Client::connect(address);
    let (known, found) = (commits.load(Ordering::SeqCst), committed(&mut reader).first().map_or(0, |one| one.2));
    assert!((known..=known + 1).contains(&found), "{known} committed, {found} there");
    commits.store(found, Ordering::SeqCst);
    let before = reader.fetch(TRANSACTIONAL, 0, 0).high_watermark;
    let goals: Vec<_> = plain.iter().map(|one| one.acknowledged.load(Ordering::SeqCst) + RECORDS).collect();
    thread::scope(|scope| {
        for one in plain {
            scope.spawn(move || one.produce_until_killed(address));
        }
        scope.spawn(move || commit_until_killed(address, commits));
        let producers = IDS.map(|id| scope.spawn(move || transact_until_killed(address, TRANSACTIONAL, id, round)));
        let is_enough = |reader: &mut Client| {
            let plain = plain.iter().zip(&goals).all(|(one, goal)| one.acknowledged.load(Ordering::SeqCst) >= *goal);
            plain && reader.fetch(TRANSACTIONAL, 0, before).high_watermark >= before + RECORDS
        };
        while !is_enough(&mut reader) {
            thread::yield_now();
        }
        drop(broker);
        producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect()
    })
}

#[test]
fn soak_mixed_load_survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    let plain = {
        let broker = Process::start(folder.path());
        let mut client = Client::connect(broker.address);
        client.create_topic(PLAIN, 2, &[("segment.bytes", "262144")]);
        client.create_topic(TRANSACTIONAL, 2, &[("segment.bytes", "65536")]);
        [0, 1].map(|index| Idempotent::new(&mut client, index))
    };
    let (commits, mut tried) = (AtomicI64::new(0), Vec::new());
    let kills = kills();
    for round in 0..kills {
        tried.extend(one_life(folder.path(), &plain, &commits, round));
        if round % 20 == 19 {
            eprintln!("{} of {kills} kills, {} transactions so far", round + 1, tried.len());
        }
    }
    let broker = Process::start(folder.path());
    let mut reader = Client::connect(broker.address);
    plain.iter().for_each(|one| one.check(&mut reader));
    check_transactions(broker.address, TRANSACTIONAL, &IDS, &tried);
    let ids: HashSet<_> = tried.iter().map(|one| &one.value).collect();
    assert_eq!(ids.len(), tried.len(), "values are told apart");
    eprintln!(
        "{kills} kills: {:?} records and {} transactions, none lost, none doubled",
        plain.each_ref().map(|one| one.acknowledged.load(Ordering::SeqCst)),
        tried.len()
    );
}
