//! The administrators' APIs over a real socket, in every version the broker claims to speak.

mod support;

use kafka_protocol::ResponseError;
use kafka_protocol::ResponseError::InvalidTopicException;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use lumenbus_broker::{AutoCreate, Broker};
use support::process::Process;
use support::transactions::Producer;
use support::*;
use uuid::Uuid;

/// Not a test of its own: what [`Process`] runs.
#[test]
fn broker_process() {
    support::process::run();
}

fn topic_id(client: &mut Client, name: &str) -> Uuid {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    client.call(&request, 12).topics[0].topic_id
}

fn partitions_of(client: &mut Client, name: &str) -> usize {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    client.call(&request, 9).topics[0].partitions.len()
}

#[test]
fn partitions_are_added_in_every_version_and_work_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let assigned = |node: &i32| CreatePartitionsAssignment::default().with_broker_ids(vec![(*node).into()]);
    let mut count = 1;
    for version in client.versions(ApiKey::CreatePartitions) {
        let to = |name: &str, count| CreatePartitionsTopic::default().with_name(topic(name)).with_count(count);
        let mut call = |wanted: Vec<CreatePartitionsTopic>, check: bool| {
            let request = CreatePartitionsRequest::default().with_topics(wanted).with_validate_only(check);
            let results = client.call(&request, version).results;
            for result in &results {
                assert_eq!(result.error_message.is_some(), result.error_code != 0);
            }
            results.iter().map(|result| result.error_code).collect::<Vec<_>>()
        };
        let by_hand = |nodes: &[i32]| to("t", count + 1).with_assignments(Some(nodes.iter().map(assigned).collect()));
        assert_eq!(call(vec![to("t", count), to("x", 4)], false), [37, 3]);
        assert_eq!(call(vec![to("t", count - 1)], false), [37]);
        assert_eq!(call(vec![to("t", 10_001)], false), [37]);
        assert_eq!(call(vec![to("t", count + 1), to("t", count + 2)], false), [42]);
        assert_eq!(call(vec![to("__consumer_offsets", 9)], false), [17]);
        assert_eq!(call(vec![by_hand(&[1, 1])], false), [39], "one is added, not two");
        assert_eq!(call(vec![by_hand(&[2])], false), [39]);
        assert_eq!(call(vec![by_hand(&[1])], true), [0], "and nothing happens");
        assert_eq!(call(vec![by_hand(&[1])], false), [0]);
        count += 1;
        assert_eq!(partitions_of(&mut client, "t"), usize::try_from(count).unwrap());
        assert_eq!(client.produce("t", count - 1, batch(&[b"new"])).error_code, 0);
    }
    broker.shutdown_blocking().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    assert_eq!(partitions_of(&mut client, "t"), usize::try_from(count).unwrap());
    assert_eq!(client.read_all("t", count - 1).len(), 1);
}

#[test]
fn topics_go_by_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    let request = CreateTopicsRequest::default().with_topics(vec![creatable("t", 1, &[])]);
    let checked = client.call(&request.clone().with_validate_only(true), 7).topics.remove(0);
    assert_eq!((checked.error_code, checked.topic_id), (0, Uuid::nil()));
    let id = client.call(&request, 7).topics[0].topic_id;
    assert!(!id.is_nil());
    assert_eq!(topic_id(&mut client, "t"), id);
    let stranger = Uuid::from_u128(77);
    for version in 10..=13 {
        let by_id = [id, stranger].map(|id| MetadataRequestTopic::default().with_topic_id(id).with_name(None));
        let both = MetadataRequestTopic::default().with_topic_id(id).with_name(Some(topic("t")));
        // Before version 12 a name may not be null.
        let by_id = by_id.map(|wanted| if version < 12 { wanted.with_name(Some(topic("other"))) } else { wanted });
        let request = MetadataRequest::default().with_topics(Some([by_id.to_vec(), vec![both]].concat()));
        let topics = client.call(&request, version).topics;
        let found: Vec<_> = topics.iter().map(|topic| (topic.error_code, topic.topic_id)).collect();
        let expected = if version < 12 { [42, 42, 42] } else { [0, 100, 42] };
        assert_eq!(found, [(expected[0], id), (expected[1], stranger), (expected[2], id)], "version {version}");
        let name = if version < 12 { "other" } else { "t" };
        assert_eq!(topics[0].name, Some(topic(name)));
    }
    let delete = |topics: Vec<DeleteTopicState>| DeleteTopicsRequest::default().with_topics(topics);
    let by_id = |id| DeleteTopicState::default().with_name(None).with_topic_id(id);
    let both = by_id(id).with_name(Some(topic("t")));
    let refused = client.call(&delete(vec![by_id(stranger), both]), 6).responses;
    assert_eq!(refused.iter().map(|r| r.error_code).collect::<Vec<_>>(), [100, 42]);
    assert!(refused[0].name.is_none() && refused[0].topic_id == stranger);
    let twice = client.call(&delete(vec![by_id(id), by_id(id)]), 6).responses;
    assert_eq!((twice.len(), twice[0].error_code), (1, 42));
    let gone = client.call(&delete(vec![by_id(id)]), 6).responses.remove(0);
    assert_eq!((gone.error_code, gone.name, gone.topic_id), (0, Some(topic("t")), id));
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    assert_ne!(topic_id(&mut client, "t"), id, "another topic of the same name");
}

#[test]
fn operations_are_told_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let bits = |operations: &[u32]| operations.iter().fold(0, |bits, operation| bits | 1 << operation);
    for version in 8..=13 {
        let request = MetadataRequest::default().with_topics(None);
        let answer = client.call(&request, version);
        assert_eq!(answer.topics[0].topic_authorized_operations, i32::MIN);
        let asking = request
            .with_include_topic_authorized_operations(true)
            .with_include_cluster_authorized_operations(version <= 10);
        let answer = client.call(&asking, version);
        let topic = answer.topics.iter().find(|t| t.name.as_ref().is_some_and(|name| &**name == "t")).unwrap();
        assert_eq!(topic.topic_authorized_operations, bits(&[3, 4, 5, 6, 7, 8, 10, 11]));
        assert_eq!(answer.error_code, 0);
        if version <= 10 {
            assert_eq!(answer.cluster_authorized_operations, bits(&[5, 7, 8, 10, 11, 12]));
        }
    }
    for version in client.versions(ApiKey::DescribeCluster) {
        let answer = client.call(&DescribeClusterRequest::default(), version);
        assert_eq!(answer.cluster_authorized_operations, i32::MIN);
        let asking = DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(true)
            .with_include_fenced_brokers(version >= 2);
        let answer = client.call(&asking, version);
        assert_eq!(answer.cluster_authorized_operations, bits(&[5, 7, 8, 10, 11, 12]));
        assert_eq!((answer.brokers.len(), answer.brokers[0].is_fenced), (1, false));
    }
}

#[test]
fn records_are_deleted_up_to_an_offset_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut client = Client::connect(process.address);
    client.create_topic("t", 2, &[]);
    client.create_topic("compacted", 1, &[("cleanup.policy", "compact")]);
    for _ in 0..10 {
        client.produce("t", 0, batch(&[b"a"]));
    }
    let versions = client.versions(ApiKey::DeleteRecords);
    let delete = |client: &mut Client, name: &str, wanted: &[(i32, i64)], version: i16| {
        let partitions = wanted
            .iter()
            .map(|(index, offset)| DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset));
        let topics = DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(partitions.collect());
        let request = DeleteRecordsRequest::default().with_topics(vec![topics]).with_timeout_ms(5000);
        let results = client.call(&request, version).topics.remove(0).partitions;
        results.iter().map(|result| (result.error_code, result.low_watermark)).collect::<Vec<_>>()
    };
    for version in versions {
        let upto = i64::from(version) + 1;
        let wanted = [(0, upto), (0, 0), (0, 11), (0, -2), (1, 0), (2, 0)];
        let expected = [(0, upto), (0, upto), (1, -1), (1, -1), (0, 0), (3, -1)];
        assert_eq!(delete(&mut client, "t", &wanted, version), expected, "never backwards, never beyond the end");
        assert_eq!(delete(&mut client, "compacted", &[(0, 0)], version), [(44, -1)]);
        assert_eq!(delete(&mut client, "missing", &[(0, 0)], version), [(3, -1)]);
        assert_eq!(delete(&mut client, "__consumer_offsets", &[(0, 0)], version), [(17, -1)]);
    }
    drop(process);
    let process = Process::start(folder.path());
    let mut client = Client::connect(process.address);
    let early = client.fetch("t", 0, 2);
    assert_eq!((early.error_code, early.log_start_offset), (1, 3), "also after a kill");
    assert_eq!(client.fetch("t", 0, 3).error_code, 0);
    assert_eq!(delete(&mut client, "t", &[(0, -1)], 2), [(0, 10)], "-1 is the high watermark");
    assert_eq!(client.produce("t", 0, batch(&[b"b"])).base_offset, 10);
}

#[test]
fn log_directories_tell_true_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 2, &[]);
    client.produce("t", 1, batch(&[&[7; 5000]]));
    let size = std::fs::metadata(folder.path().join("t-1/00000000000000000000.log")).unwrap().len();
    for version in client.versions(ApiKey::DescribeLogDirs) {
        let named = DescribableLogDirTopic::default().with_topic(topic("t")).with_partitions(vec![1, 1, 9]);
        let missing = DescribableLogDirTopic::default().with_topic(topic("missing")).with_partitions(vec![0]);
        let request = DescribeLogDirsRequest::default().with_topics(Some(vec![named, missing]));
        let answer = client.call(&request, version);
        let result = &answer.results[0];
        assert_eq!((answer.error_code, answer.results.len(), result.error_code), (0, 1, 0));
        assert_eq!(&*result.log_dir, folder.path().to_str().unwrap());
        assert_eq!((result.topics.len(), result.topics[0].partitions.len()), (1, 1));
        let partition = &result.topics[0].partitions[0];
        assert_eq!((partition.partition_index, partition.offset_lag, partition.is_future_key), (1, 0, false));
        assert_eq!(u64::try_from(partition.partition_size).unwrap(), size);
        if version >= 4 {
            assert!(0 < result.usable_bytes && result.usable_bytes <= result.total_bytes);
        }
        let all = client.call(&DescribeLogDirsRequest::default().with_topics(None), version);
        let names: Vec<&str> = all.results[0].topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["__consumer_offsets", "t"]);
    }
}

#[test]
fn topic_partitions_come_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    for (name, partitions) in [("a", 2), ("b", 3), ("c", 1)] {
        client.create_topic(name, partitions, &[]);
    }
    let mut pages = |names: &[&str], limit: i32| {
        let named = names.iter().map(|name| TopicRequest::default().with_name(topic(name)));
        let mut request = DescribeTopicPartitionsRequest::default()
            .with_topics(named.collect())
            .with_response_partition_limit(limit)
            .with_cursor(None);
        let mut pages = Vec::new();
        loop {
            let answer = client.call(&request, 0);
            let page: Vec<String> = answer
                .topics
                .iter()
                .map(|topic| {
                    let indexes: Vec<i32> = topic.partitions.iter().map(|p| p.partition_index).collect();
                    format!("{} {} {indexes:?}", topic.name.as_ref().unwrap().as_str(), topic.error_code)
                })
                .collect();
            pages.push(page);
            let Some(next) = answer.next_cursor else {
                return pages;
            };
            let next = Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index);
            request = request.with_cursor(Some(next));
        }
    };
    let whole = ["a 0 [0, 1]", "b 0 [0, 1, 2]", "c 0 [0]", "x 3 []"];
    assert_eq!(pages(&["c", "x", "b", "a", "a"], 2000), [whole]);
    let expected: [&[&str]; 3] = [&["a 0 [0, 1]"], &["b 0 [0, 1]"], &["b 0 [2]", "c 0 [0]"]];
    assert_eq!(pages(&["a", "b", "c"], 2), expected);
    assert_eq!(pages(&[], 0).len(), 7, "at least one partition a page: six of ours, one of the broker's");
}

#[test]
fn what_a_broker_of_one_cannot_do_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    for version in client.versions(ApiKey::ElectLeaders) {
        let named = TopicPartitions::default().with_topic(topic("t")).with_partitions(vec![0, 1]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![named])).with_timeout_ms(5000);
        let answer = client.call(&request, version);
        let results = &answer.replica_election_results[0].partition_result;
        assert_eq!((answer.error_code, results[0].error_code, results[1].error_code), (0, 84, 3));
        let all = client.call(&request.clone().with_topic_partitions(None), version);
        assert!(all.replica_election_results.is_empty() && all.error_code == 0);
        if version >= 1 {
            assert_eq!(client.call(&request.with_election_type(7), version).error_code, 42);
        }
    }
    for version in client.versions(ApiKey::AlterPartitionReassignments) {
        let to = |index, replicas: Option<&[i32]>| {
            let replicas = replicas.map(|ids| ids.iter().map(|id| (*id).into()).collect());
            ReassignablePartition::default().with_partition_index(index).with_replicas(replicas)
        };
        let wanted = vec![to(0, Some(&[1])), to(0, Some(&[2])), to(0, Some(&[1, 2])), to(0, None), to(1, Some(&[1]))];
        let named = ReassignableTopic::default().with_name(topic("t")).with_partitions(wanted);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![named]).with_timeout_ms(5000);
        let results = client.call(&request, version).responses.remove(0).partitions;
        assert_eq!(results.iter().map(|r| r.error_code).collect::<Vec<_>>(), [0, 39, 39, 85, 3]);
    }
    let listed = client.call(&ListPartitionReassignmentsRequest::default().with_topics(None), 0);
    assert!(listed.error_code == 0 && listed.topics.is_empty());
}

#[test]
fn producers_are_described_as_the_log_knows_them() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, batch(&[b"nobody's"]));
    for (producer, sequence) in [((7, 2), 0), ((7, 2), 1), ((3, 0), 5)] {
        assert_eq!(client.produce("t", 0, idempotent_batch(&[b"x"], producer, sequence)).error_code, 0);
    }
    let wanted =
        describe_producers_request::TopicRequest::default().with_name(topic("t")).with_partition_indexes(vec![0, 4, 0]);
    let mut answer = client.call(&DescribeProducersRequest::default().with_topics(vec![wanted; 2]), 0);
    assert!(answer.topics[1].partitions.is_empty(), "told above");
    let partitions = answer.topics.remove(0).partitions;
    assert_eq!(partitions.iter().map(|p| p.error_code).collect::<Vec<_>>(), [0, 3], "each once");
    let told: Vec<_> = partitions[0]
        .active_producers
        .iter()
        .map(|p| (*p.producer_id, p.producer_epoch, p.last_sequence, p.current_txn_start_offset))
        .collect();
    assert_eq!(told, [(3, 0, 5, -1), (7, 2, 1, -1)]);
    assert!(partitions[0].active_producers.iter().all(|p| p.last_timestamp > 0 && p.coordinator_epoch == -1));
}

#[test]
fn security_is_disabled_as_kafka_says_it() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    let disabled = ResponseError::SecurityDisabled.code();
    for version in client.versions(ApiKey::DescribeAcls) {
        let any = DescribeAclsRequest::default().with_resource_type_filter(1).with_pattern_type_filter(1);
        let answer = client.call(&any, version);
        assert_eq!(answer.error_code, disabled);
        assert_eq!(answer.error_message.as_deref(), Some("No Authorizer is configured on the broker"));
        let created = vec![create_acls_request::AclCreation::default(); 2];
        let answer = client.call(&CreateAclsRequest::default().with_creations(created), version);
        assert_eq!(answer.results.iter().map(|r| r.error_code).collect::<Vec<_>>(), [disabled; 2]);
        let filters = vec![delete_acls_request::DeleteAclsFilter::default()];
        let answer = client.call(&DeleteAclsRequest::default().with_filters(filters), version);
        assert_eq!(answer.filter_results.iter().map(|r| r.error_code).collect::<Vec<_>>(), [disabled]);
    }
    for version in client.versions(ApiKey::DescribeClientQuotas) {
        let answer = client.call(&DescribeClientQuotasRequest::default(), version);
        assert_eq!((answer.error_code, answer.entries), (0, Some(Vec::new())));
    }
}

#[test]
fn the_brokers_own_topics_are_not_for_clients_to_create() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.auto_create_topics = AutoCreate::On;
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    for name in ["__transaction_state", "__consumer_offsets"] {
        assert_eq!(client.create_topic(name, 12, &[]), InvalidTopicException.code(), "{name}");
    }
    let asked = |name| MetadataRequestTopic::default().with_name(Some(topic(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked("__transaction_state"), asked("mine")]))
        .with_allow_auto_topic_creation(true);
    let told = client.call(&request, 9).topics;
    let told: Vec<_> = told.iter().map(|topic| (topic.error_code, topic.partitions.len())).collect();
    assert_eq!(told, [(InvalidTopicException.code(), 0), (0, 12)]);
    let mut one = Producer::ready(broker.addr(), "one");
    one.write("mine", 0, &[b"x"]);
    assert_eq!(one.end(true), 0, "the broker makes them itself");
}
