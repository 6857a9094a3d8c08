//! Leader epochs as clients meet them: one for every start, and truth about where the earlier ones ended.

mod support;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, OffsetForLeaderEpochRequest};
use support::process::Process;
use support::*;

/// Not a test of its own: what [`Process`] runs.
#[test]
fn broker_process() {
    support::process::run();
}

fn told_epoch(client: &mut Client) -> i32 {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic("t")));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    client.call(&request, 9).topics[0].partitions[0].leader_epoch
}

/// Error, epoch and end offset.
fn end_of(client: &mut Client, epoch: i32, current: i32) -> (i16, i32, i64) {
    let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
    let wanted = OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default().with_replica_id((-2).into()).with_topics(vec![wanted]);
    let answer = client.call(&request, 4);
    let found = &answer.topics[0].partitions[0];
    (found.error_code, found.leader_epoch, found.end_offset)
}

fn list(client: &mut Client, timestamp: i64, current: i32) -> ListOffsetsResponse {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(current);
    let wanted = ListOffsetsTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    client.call(&ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![wanted]), 10)
}

fn fetch_with(client: &mut Client, current: i32) -> i16 {
    let mut request = fetch_request(&[("t", 0, 0)]);
    request.topics[0].partitions[0].current_leader_epoch = current;
    only_partition(client.call(&request, 12)).error_code
}

#[test]
fn an_epoch_begins_with_every_start_and_old_ones_are_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let mut epochs = Vec::new();
    for round in 0..4 {
        let broker = Process::start(folder.path());
        let mut client = Client::connect(broker.address);
        if round == 0 {
            client.create_topic("t", 1, &[]);
        }
        epochs.push(told_epoch(&mut client));
        let newest = *epochs.last().unwrap();
        assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
        for (begun, epoch) in (1..).zip(&epochs) {
            let end = if *epoch == newest { i64::from(round) } else { begun };
            assert_eq!(end_of(&mut client, *epoch, newest), (0, *epoch, end));
        }
        assert_eq!(end_of(&mut client, newest + 1, newest), (0, -1, -1));
        let [fenced, unknown] = [ResponseError::FencedLeaderEpoch, ResponseError::UnknownLeaderEpoch].map(|e| e.code());
        for (current, expected) in [(newest, 0), (-1, 0), (newest - 1, fenced), (newest + 1, unknown)] {
            // Below the first there is only "no epoch".
            let expected = if current < 0 { 0 } else { expected };
            assert_eq!(end_of(&mut client, newest, current).0, expected);
            assert_eq!(fetch_with(&mut client, current), expected);
            assert_eq!(list(&mut client, -1, current).topics[0].partitions[0].error_code, expected);
        }
        assert_eq!(client.produce("t", 0, batch(&[b"x"])).base_offset, i64::from(round));
    }
    let broker = Process::start(folder.path());
    let mut client = Client::connect(broker.address);
    let records = client.read_all("t", 0);
    let written: Vec<i32> = records.iter().map(|record| record.partition_leader_epoch).collect();
    assert_eq!(written, epochs, "batches carry the epoch they were appended in");
    let mut listed = |timestamp| {
        let answer = list(&mut client, timestamp, -1);
        let found = &answer.topics[0].partitions[0];
        (found.error_code, found.offset, found.leader_epoch)
    };
    assert_eq!(listed(-2), (0, 0, epochs[0]));
    assert_eq!(listed(-4), (0, 0, epochs[0]), "all of it is on the broker's own disk");
    assert_eq!(listed(-5), (0, -1, -1), "and nothing is elsewhere");
    assert_eq!(listed(records[2].timestamp), (0, 2, epochs[2]));
    assert_eq!(listed(-1).1, 4);
}
