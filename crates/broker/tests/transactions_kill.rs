//! Transactions across kills: what was decided is carried out, what was open stays open, nothing is seen twice.

mod support;

use std::thread;

use support::process::Process;
use support::transactions::*;
use support::*;

/// Not a test of its own: what [`Process`] runs, in a process that can be killed.
#[test]
fn broker_process() {
    support::process::run();
}

#[test]
fn an_open_transaction_stays_open_across_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Process::start(folder.path());
    let mut client = Client::connect(broker.address);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, batch(&[b"before"]));
    let mut one = Producer::ready(broker.address, "one");
    let mut two = Producer::ready(broker.address, "two");
    one.write("t", 0, &[b"a"]);
    assert_eq!(one.add_offsets("g"), 0);
    two.write("t", 0, &[b"b"]);
    drop(broker);

    let broker = Process::start(folder.path());
    let mut client = Client::connect(broker.address);
    assert_eq!(client.fetch_committed("t", 0, 0).last_stable_offset, 1);
    one.client = Client::connect(broker.address);
    one.write("t", 0, &[b"c"]);
    assert_eq!(one.end(true), 0);
    assert_eq!(client.fetch_committed("t", 0, 0).last_stable_offset, 2, "the other one is still open");
    // Its producer died with the broker; the next instance ends what it left.
    let two = Producer::ready(broker.address, "two");
    assert!(two.producer.1 > 0);
    assert_eq!(client.read_committed("t", 0), [&b"before"[..], b"a", b"c"]);
}

#[test]
fn committed_transactions_survive_kills_whole_and_aborted_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    {
        let broker = Process::start(folder.path());
        Client::connect(broker.address).create_topic("t", 2, &[("segment.bytes", "16384")]);
    }
    let mut tried: Vec<Tried> = Vec::new();
    for round in 0..4 {
        let broker = Process::start(folder.path());
        let address = broker.address;
        let mut reader = Client::connect(address);
        let before = reader.fetch("t", 0, 0).high_watermark;
        tried.extend(thread::scope(|scope| {
            let producers =
                ["a", "b", "c"].map(|id| scope.spawn(move || transact_until_killed(address, "t", id, round)));
            while reader.fetch("t", 0, before).high_watermark < before + 300 {
                thread::yield_now();
            }
            drop(broker);
            producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect::<Vec<_>>()
        }));
    }
    let broker = Process::start(folder.path());
    check_transactions(broker.address, "t", &["a", "b", "c"], &tried);
}
