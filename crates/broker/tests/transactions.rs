//! Transactions over a real socket, request by request.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod support;

use std::time::Duration;

use kafka_protocol::ResponseError::*;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::*;
use lumenbus_broker::{Authorizer, Broker, Operation, Principal, Resource, RunningBroker};
use support::groups::Member;
use support::transactions::*;
use support::*;
use tempfile::TempDir;

fn with_topic(partitions: i32) -> (TempDir, RunningBroker, Client) {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    assert_eq!(client.create_topic("t", partitions, &[]), 0);
    (folder, broker, client)
}

#[test]
fn committed_records_are_seen_and_aborted_ones_are_not() {
    let (_folder, broker, mut reader) = with_topic(2);
    let mut one = Producer::ready(broker.addr(), "one");
    assert_eq!(one.write("t", 0, &[b"a", b"b"]), 0);
    one.write("t", 1, &[b"c"]);
    assert!(reader.read_committed("t", 0).is_empty());
    assert_eq!(reader.read_all("t", 0).len(), 2, "read_uncommitted sees them at once");
    assert_eq!(one.end(true), 0);
    assert_eq!(reader.read_committed("t", 0), [&b"a"[..], b"b"]);
    assert_eq!(reader.read_committed("t", 1), [&b"c"[..]]);

    one.write("t", 0, &[b"lost"]);
    assert_eq!(one.end(false), 0);
    let found = reader.fetch_committed("t", 0, 3);
    assert_eq!((found.high_watermark, found.last_stable_offset), (5, 5));
    let aborted = found.aborted_transactions.unwrap();
    assert_eq!((aborted.len(), *aborted[0].producer_id, aborted[0].first_offset), (1, one.producer.0, 3));
    assert!(reader.fetch("t", 0, 3).aborted_transactions.is_none());
    one.write("t", 0, &[b"kept"]);
    assert_eq!(one.end(true), 0);
    assert_eq!(reader.read_committed("t", 0), [&b"a"[..], b"b", b"kept"]);
}

#[test]
fn a_waiting_reader_of_committed_records_wakes_when_the_transaction_ends() {
    let (_folder, broker, mut reader) = with_topic(1);
    let mut one = Producer::ready(broker.addr(), "one");
    for commit in [true, false] {
        let first = one.write("t", 0, &[b"a"]);
        let long = committed_request("t", 0, first).with_max_wait_ms(60_000);
        let asked = reader.send(&long, 12);
        // What does not move the last stable offset must not end the wait.
        let mut other = Producer::ready(broker.addr(), "other");
        other.write("t", 0, &[b"x"]);
        assert_eq!(other.end(true), 0);
        assert_eq!(one.end(commit), 0);
        let mut values = Vec::new();
        deliver(only_partition(reader.receive::<FetchRequest>(asked, 12)), first, &mut values);
        let expected: &[&[u8]] = if commit { &[b"a", b"x"] } else { &[b"x"] };
        assert_eq!(values, expected);
    }
}

#[test]
fn a_new_instance_takes_the_transaction_from_the_old_one() {
    let (_folder, broker, mut reader) = with_topic(1);
    let mut old = Producer::ready(broker.addr(), "one");
    old.write("t", 0, &[b"zombie"]);
    let mut new = Producer::ready(broker.addr(), "one");
    assert_eq!(new.producer.0, old.producer.0);
    assert!(new.producer.1 > old.producer.1);
    assert_eq!(reader.fetch_committed("t", 0, 0).last_stable_offset, 2, "its transaction was aborted");
    assert_eq!(old.produce("t", 0, &[b"late"]).error_code, InvalidProducerEpoch.code());
    assert_eq!(old.add("t", &[0]), [ProducerFenced.code()]);
    assert_eq!(old.add_offsets("g"), ProducerFenced.code());
    assert_eq!(old.end(true), ProducerFenced.code());
    let older = old.end_request(true);
    assert_eq!(old.client.call(&older, 1).error_code, InvalidProducerEpoch.code(), "before fencing had a name");
    assert_eq!(old.init_as(60_000, old.producer), ProducerFenced.code());
    new.write("t", 0, &[b"new"]);
    assert_eq!(new.end(true), 0);
    assert_eq!(reader.read_committed("t", 0), [&b"new"[..]]);
}

#[test]
fn a_producer_that_names_itself_gets_its_next_epoch() {
    let (_folder, broker, _) = with_topic(1);
    let mut one = Producer::ready(broker.addr(), "one");
    let first = one.producer;
    assert_eq!(one.init_as(60_000, first), 0);
    assert_eq!(one.producer, (first.0, first.1 + 1));
    assert_eq!(one.init_as(60_000, first), 0, "the answer was lost and it asks again");
    assert_eq!(one.producer, (first.0, first.1 + 1));
    assert_eq!(one.init_as(60_000, (first.0, 9)), ProducerFenced.code());
    assert_eq!(one.init_as(60_000, (first.0 + 1, 0)), ProducerFenced.code());
    assert_eq!(one.init_as(60_000, (-1, 3)), InvalidRequest.code());
    let mut new = Producer::connect(broker.addr(), "unknown");
    assert_eq!(new.init_as(60_000, (77, 5)), 0, "an expired id begins anew");
    assert_eq!(new.producer.1, 0);
}

#[test]
fn what_is_out_of_order_is_refused_and_changes_nothing() {
    let (_folder, broker, mut reader) = with_topic(2);
    let mut one = Producer::connect(broker.addr(), "one");
    one.producer = (5, 0);
    assert_eq!(one.add("t", &[0]), [InvalidProducerIdMapping.code()]);
    assert_eq!(one.end(true), InvalidProducerIdMapping.code());
    assert_eq!(one.produce("t", 0, &[b"x"]).error_code, InvalidProducerIdMapping.code());
    for timeout_ms in [0, -1, 900_001] {
        assert_eq!(one.init(timeout_ms), InvalidTransactionTimeout.code());
    }
    assert_eq!(Producer::connect(broker.addr(), "").init(1000), InvalidRequest.code());
    assert_eq!(one.init(60_000), 0);
    assert_eq!(one.end(true), InvalidTxnState.code(), "nothing was begun");
    assert_eq!(one.produce("t", 0, &[b"x"]).error_code, InvalidTxnState.code());
    assert_eq!(one.add("t", &[0, 7]), [OperationNotAttempted.code(), UnknownTopicOrPartition.code()]);
    assert_eq!(one.add("missing", &[0]), [UnknownTopicOrPartition.code()]);
    assert_eq!(one.add("__consumer_offsets", &[0]), [InvalidTopicException.code()]);
    assert_eq!(one.produce("t", 0, &[b"x"]).error_code, InvalidTxnState.code());
    one.write("t", 0, &[b"a"]);
    assert_eq!(one.add("t", &[0]), [0], "twice is fine");
    assert_eq!(one.produce("t", 1, &[b"x"]).error_code, InvalidTxnState.code(), "not in the transaction");
    // The same producer, outside of its transaction.
    let plain = idempotent_batch(&[b"x"], one.producer, 1);
    assert_eq!(one.client.produce("t", 0, plain).error_code, InvalidTxnState.code());
    let unnamed = transactional_batch(&[b"x"], one.producer, 1);
    assert_eq!(one.client.produce("t", 0, unnamed).error_code, TransactionalIdAuthorizationFailed.code());
    assert_eq!(one.commit_offset("g", 1, (-1, "")), InvalidTxnState.code(), "the group was not added");
    assert_eq!(one.end(true), 0);
    assert_eq!(one.end(true), 0, "the answer was lost and it asks again");
    assert_eq!(one.end(false), InvalidTxnState.code());
    assert_eq!(one.produce("t", 0, &[b"x"]).error_code, InvalidTxnState.code());
    assert_eq!(reader.read_committed("t", 0), [&b"a"[..]]);
    assert!(reader.read_all("t", 1).is_empty());
    assert_eq!(reader.produce("__transaction_state", 0, batch(&[b"x"])).error_code, InvalidTopicException.code());
}

fn last_offset(client: &mut Client, isolation: i8) -> i64 {
    let partition = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
    let wanted = ListOffsetsTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_isolation_level(isolation).with_topics(vec![wanted]);
    client.call(&request, 7).topics[0].partitions[0].offset
}

#[test]
fn offsets_are_listed_up_to_the_last_stable_one() {
    let (_folder, broker, mut reader) = with_topic(1);
    reader.produce("t", 0, batch(&[b"plain"]));
    let mut one = Producer::ready(broker.addr(), "one");
    one.write("t", 0, &[b"a"]);
    assert_eq!((last_offset(&mut reader, 0), last_offset(&mut reader, 1)), (2, 1));
    one.end(true);
    assert_eq!((last_offset(&mut reader, 0), last_offset(&mut reader, 1)), (3, 3));
}

/// Offset or error of group `g` on partition 0, told only when it is stable.
fn stable_offset(client: &mut Client, version: i16) -> Result<i64, i16> {
    let wanted = OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![0]);
    let grouped = OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_require_stable(true);
    let (offset, error) = if version < 8 {
        let request = request.with_group_id(group("g")).with_topics(Some(vec![wanted]));
        let found = client.call(&request, version).topics.remove(0).partitions.remove(0);
        (found.committed_offset, found.error_code)
    } else {
        let grouped = OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(Some(vec![grouped]));
        let mut answer = client.call(&request.with_groups(vec![grouped]), version);
        let found = answer.groups.remove(0).topics.remove(0).partitions.remove(0);
        (found.committed_offset, found.error_code)
    };
    if error == 0 { Ok(offset) } else { Err(error) }
}

fn committed_offset(client: &mut Client) -> i64 {
    let wanted = OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(vec![wanted]));
    client.call(&request, 7).topics.remove(0).partitions.remove(0).committed_offset
}

fn commit_plainly(client: &mut Client, offset: i64) {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let wanted = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![wanted]);
    assert_eq!(client.call(&request, 6).topics[0].partitions[0].error_code, 0);
}

#[test]
fn offsets_count_when_their_transaction_is_committed() {
    let (folder, broker, mut reader) = with_topic(1);
    let mut one = Producer::ready(broker.addr(), "one");
    let mut two = Producer::ready(broker.addr(), "two");
    commit_plainly(&mut reader, 1);
    assert_eq!(one.add_offsets("g"), 0);
    assert_eq!(one.commit_offset("g", 10, (-1, "")), 0);
    for version in [7, 8, 9] {
        assert_eq!(stable_offset(&mut reader, version), Err(UnstableOffsetCommit.code()));
    }
    assert_eq!(committed_offset(&mut reader), 1, "who does not insist sees what was committed");
    assert_eq!(one.end(false), 0);
    assert_eq!(stable_offset(&mut reader, 7), Ok(1));

    one.add_offsets("g");
    one.commit_offset("g", 20, (-1, ""));
    two.add_offsets("g");
    two.commit_offset("g", 30, (-1, ""));
    assert_eq!(two.end(true), 0);
    assert_eq!(stable_offset(&mut reader, 7), Ok(30));
    assert_eq!(one.end(true), 0);
    assert_eq!(stable_offset(&mut reader, 7), Ok(30), "the later commit wins");

    one.add_offsets("g");
    assert_eq!(one.commit_offset("g", 40, (3, "nobody")), UnknownMemberId.code());
    assert_eq!(one.commit_offset("h", 40, (3, "nobody")), IllegalGeneration.code());
    assert_eq!(one.commit_offset("g", 40, (-1, "")), 0);
    broker.shutdown_blocking().unwrap();
    let broker = start(&folder);
    let mut reader = Client::connect(broker.addr());
    assert_eq!(stable_offset(&mut reader, 7), Err(UnstableOffsetCommit.code()), "known across a restart");
    assert_eq!(committed_offset(&mut reader), 30);
    one.client = Client::connect(broker.addr());
    assert_eq!(one.end(true), 0);
    assert_eq!(stable_offset(&mut reader, 7), Ok(40));
}

/// A consumer that has just joined: what it has read was its own in the generation before.
#[test]
fn members_that_wait_for_their_assignment_commit_within_transactions() {
    let (_folder, broker, mut reader) = with_topic(1);
    let mut member = Member::new(broker.addr(), 5);
    member.join();
    let mut one = Producer::ready(broker.addr(), "one");
    assert_eq!(one.add_offsets("g"), 0);
    assert_eq!(one.commit_offset("g", 10, (member.generation, &member.id)), 0);
    assert_eq!(one.commit_offset("g", 10, (member.generation - 1, &member.id)), IllegalGeneration.code());
    assert_eq!(one.end(true), 0);
    assert_eq!(committed_offset(&mut reader), 10);
}

#[test]
fn forgotten_transactions_time_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.housekeeping_interval = Duration::from_millis(10);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut reader = Client::connect(broker.addr());
    reader.create_topic("t", 1, &[]);
    let mut one = Producer::connect(broker.addr(), "one");
    // A busy machine writes within it, too.
    assert_eq!(one.init(2_000), 0);
    one.write("t", 0, &[b"forgotten"]);
    let asked = reader.send(&committed_request("t", 0, 0).with_max_wait_ms(60_000), 12);
    let found = only_partition(reader.receive::<FetchRequest>(asked, 12));
    assert_eq!((found.last_stable_offset, found.aborted_transactions.as_ref().unwrap().len()), (2, 1));
    assert_eq!(one.produce("t", 0, &[b"late"]).error_code, InvalidProducerEpoch.code());
    assert_eq!(one.end(true), ProducerFenced.code());
    assert!(reader.read_committed("t", 0).is_empty());
    assert_eq!(one.init(60_000), 0);
}

fn describe(client: &mut Client, id: &str) -> describe_transactions_response::TransactionState {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional_id(id)]);
    client.call(&request, 0).transaction_states.remove(0)
}

#[test]
fn transactions_are_listed_and_described() {
    let (_folder, broker, mut client) = with_topic(3);
    let mut open = Producer::ready(broker.addr(), "open");
    open.add("t", &[0, 2]);
    open.add_offsets("g");
    let mut done = Producer::ready(broker.addr(), "done");
    done.write("t", 1, &[b"x"]);
    done.end(true);
    let idle = Producer::ready(broker.addr(), "idle");
    let found = describe(&mut client, "open");
    assert_eq!((&*found.transaction_state, found.transaction_timeout_ms), ("Ongoing", 60_000));
    assert_eq!((*found.producer_id, found.producer_epoch), open.producer);
    assert!(found.transaction_start_time_ms > 0);
    let topics: Vec<_> = found.topics.iter().map(|t| (t.topic.to_string(), t.partitions.clone())).collect();
    assert_eq!(topics, [("__consumer_offsets".to_owned(), vec![0]), ("t".to_owned(), vec![0, 2])]);
    assert_eq!(&*describe(&mut client, "done").transaction_state, "CompleteCommit");
    assert_eq!(&*describe(&mut client, "idle").transaction_state, "Empty");
    assert_eq!(describe(&mut client, "nobody").error_code, TransactionalIdNotFound.code());

    let mut list = |request: ListTransactionsRequest| {
        let answer = client.call(&request, 1);
        let ids: Vec<_> = answer.transaction_states.iter().map(|state| state.transactional_id.to_string()).collect();
        (ids, answer.unknown_state_filters.len())
    };
    let all = || ListTransactionsRequest::default().with_duration_filter(-1);
    assert_eq!(list(all()).0, ["done", "idle", "open"]);
    assert_eq!(list(all().with_state_filters(vec![text("Ongoing"), text("Odd")])), (vec!["open".to_owned()], 1));
    assert_eq!(list(all().with_producer_id_filters(vec![idle.producer.0.into()])).0, ["idle"]);
    assert_eq!(list(all().with_duration_filter(3_600_000)).0.len(), 0);
}

#[derive(Debug)]
struct NothingSecret;

impl Authorizer for NothingSecret {
    fn allows(&self, _: &Principal, operation: Operation, resource: Resource<'_>) -> bool {
        match resource {
            Resource::TransactionalId("seen") => operation == Operation::Describe,
            Resource::TransactionalId(id) => id != "secret",
            Resource::Topic(name) | Resource::Group(name) => name != "secret",
            _ => true,
        }
    }
}

#[test]
fn transactional_ids_are_protected() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.authorizer = std::sync::Arc::new(NothingSecret);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let refused = TransactionalIdAuthorizationFailed.code();
    for (id, found) in [("secret", refused), ("seen", 0)] {
        let request = FindCoordinatorRequest::default().with_key(text(id)).with_key_type(1);
        assert_eq!(client.call(&request, 2).error_code, found);
        let mut one = Producer::connect(broker.addr(), id);
        assert_eq!(one.init(1000), refused);
        assert_eq!(one.add("t", &[0]), [refused]);
        assert_eq!(one.add_offsets("g"), refused);
        assert_eq!(one.commit_offset("g", 1, (-1, "")), refused);
        assert_eq!(one.end(true), refused);
        assert_eq!(one.produce("t", 0, &[b"x"]).error_code, refused);
    }
    assert_eq!(describe(&mut client, "secret").error_code, refused);
    assert_eq!(describe(&mut client, "seen").error_code, TransactionalIdNotFound.code());
    let mut one = Producer::ready(broker.addr(), "fine");
    assert_eq!(one.add("secret", &[0]), [TopicAuthorizationFailed.code()]);
    assert_eq!(one.add_offsets("secret"), GroupAuthorizationFailed.code());
}

#[test]
fn the_number_of_ids_and_partitions_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    (settings.transactions.max_ids, settings.transactions.max_partitions) = (2, 3);
    let broker = Broker::start_blocking(settings).unwrap();
    Client::connect(broker.addr()).create_topic("t", 5, &[]);
    let (mut one, mut two) = (Producer::ready(broker.addr(), "one"), Producer::ready(broker.addr(), "two"));
    assert_eq!(Producer::connect(broker.addr(), "three").init(1000), PolicyViolation.code());
    assert_eq!(one.init(60_000), 0, "who is known may come again");
    assert_eq!(one.add("t", &[0, 1]), [0, 0]);
    assert_eq!(two.add("t", &[2, 3]), [PolicyViolation.code(); 2]);
    assert_eq!(two.add("t", &[2]), [0]);
    assert_eq!(one.end(false), 0);
    assert_eq!(two.add("t", &[3, 4]), [0, 0]);
}

#[test]
fn every_version_of_the_apis_works() {
    let (_folder, broker, mut client) = with_topic(1);
    for version in 0..=3 {
        let id = format!("v{version}");
        let mut one = Producer::ready(broker.addr(), &id);
        let wanted = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![0]);
        let add = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional_id(&id))
            .with_v3_and_below_producer_id(one.producer.0.into())
            .with_v3_and_below_producer_epoch(one.producer.1)
            .with_v3_and_below_topics(vec![wanted]);
        let added = client.call(&add, version);
        assert_eq!(added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code, 0);
        assert_eq!(one.produce("t", 0, &[b"x"]).error_code, 0);
        let offsets = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transactional_id(&id))
            .with_producer_id(one.producer.0.into())
            .with_producer_epoch(one.producer.1)
            .with_group_id(group("g"));
        assert_eq!(client.call(&offsets, version).error_code, 0);
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default().with_committed_offset(5);
        let wanted = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![partition]);
        let commit = TxnOffsetCommitRequest::default()
            .with_transactional_id(transactional_id(&id))
            .with_group_id(group("g"))
            .with_producer_id(one.producer.0.into())
            .with_producer_epoch(one.producer.1)
            .with_topics(vec![wanted]);
        assert_eq!(client.call(&commit, version).topics[0].partitions[0].error_code, 0);
        let end = one.end_request(true);
        assert_eq!(client.call(&end, version).error_code, 0);
    }
    assert_eq!(client.read_committed("t", 0).len(), 4);
    assert_eq!(committed_offset(&mut client), 5);
}
