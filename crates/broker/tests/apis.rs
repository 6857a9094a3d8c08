//! Every API over a real socket, in every version the broker claims to speak.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod support;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::*;
use lumenbus_broker::{Authorizer, AutoCreate, Broker, Operation, Principal, Resource};
use support::*;

fn ranges(client: &mut Client) -> Vec<(i16, i16, i16)> {
    let request = ApiVersionsRequest::default();
    let ranges = client.call(&request, 0).api_keys;
    let ranges = ranges.iter();
    ranges.map(|range| (range.api_key, range.min_version, range.max_version)).collect()
}

fn versions(client: &mut Client, key: ApiKey) -> std::ops::RangeInclusive<i16> {
    let ranges = ranges(client);
    let range = ranges.iter().find(|range| range.0 == key as i16).unwrap();
    range.1..=range.2
}

#[test]
fn api_versions_answers_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    let all = ranges(&mut client);
    for version in 0..=3 {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(if version >= 3 { text("t") } else { text("") })
            .with_client_software_version(if version >= 3 { text("1") } else { text("") });
        let answer = client.call(&request, version);
        assert_eq!((answer.error_code, answer.api_keys.len()), (0, all.len()));
    }
    assert!(all.contains(&(0, 0, 12)), "librdkafka compresses only from Produce 0 on");
    for (key, highest) in [(ApiKey::JoinGroup, 9), (ApiKey::Fetch, 12), (ApiKey::EndTxn, 3)] {
        assert_eq!(*versions(&mut client, key).end(), highest);
    }
    // A version from the future is answered in version 0, and the connection goes on.
    let future = [0, 0, 0, 13, 0, 18, 0, 99, 0, 0, 0, 42, 0, 1, b'c', 9, 9];
    std::io::Write::write_all(&mut client.stream, &future).unwrap();
    let (correlation_id, mut body) = client.receive_any();
    use kafka_protocol::protocol::Decodable;
    let answer = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!((correlation_id, answer.error_code), (42, 35));
    assert_eq!(answer.api_keys.len(), all.len());
    assert_eq!(ranges(&mut client), all);
}

#[test]
fn topics_are_created_described_and_deleted_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    for version in versions(&mut client, ApiKey::CreateTopics) {
        let name = format!("created-by-{version}");
        let request =
            CreateTopicsRequest::default().with_topics(vec![creatable(&name, 3, &[("retention.ms", "60000")])]);
        let dry = client.call(&request.clone().with_validate_only(true), version);
        assert_eq!(dry.topics[0].error_code, 0, "{:?}", dry.topics[0].error_message);
        let created = client.call(&request, version).topics.remove(0);
        assert_eq!(created.error_code, 0, "a check creates nothing");
        if version >= 5 {
            assert_eq!((created.num_partitions, created.replication_factor), (3, 1));
            let settings = created.configs.unwrap();
            let retention = settings.iter().find(|c| &*c.name == "retention.ms").unwrap();
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("60000"), 1));
        }
        let again = client.call(&request, version);
        assert_eq!(again.topics[0].error_code, ResponseError::TopicAlreadyExists.code());
    }
    for version in versions(&mut client, ApiKey::Metadata) {
        let wanted = ["created-by-2", "missing", "bad/name", "created-by-2"];
        let wanted = wanted.map(|name| MetadataRequestTopic::default().with_name(Some(topic(name))));
        let request = MetadataRequest::default().with_topics(Some(wanted.to_vec()));
        let answer = client.call(&request, version);
        let codes: Vec<i16> = answer.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [0, 3, 17], "each topic once");
        assert_eq!(answer.topics[0].partitions.len(), 3);
        assert_eq!(answer.brokers[0].port, i32::from(broker.addr().port()));
        let all = MetadataRequest::default().with_topics((version == 0).then(Vec::new));
        let all = client.call(&all, version).topics;
        let is_visible = all.iter().filter(|t| t.name.as_ref().unwrap().starts_with("created-"));
        assert_eq!(is_visible.count(), 6);
    }
    for version in versions(&mut client, ApiKey::DeleteTopics) {
        let name = topic(&format!("created-by-{}", version + 1));
        let request = match version {
            ..=5 => DeleteTopicsRequest::default().with_topic_names(vec![name]),
            _ => {
                let state = delete_topics_request::DeleteTopicState::default().with_name(Some(name));
                DeleteTopicsRequest::default().with_topics(vec![state])
            }
        };
        assert_eq!(client.call(&request, version).responses[0].error_code, 0);
        assert_eq!(client.call(&request, version).responses[0].error_code, 3);
    }
}

#[test]
fn impossible_topics_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    let assigned = |index, node: i32| {
        CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(vec![node.into()])
    };
    let by_hand = |assignments| creatable("by-hand", -1, &[]).with_replication_factor(-1).with_assignments(assignments);
    let cases = [
        (creatable("t", 1, &[]).with_replication_factor(3), 38),
        (creatable("t", 1, &[("retention.parsecs", "1")]), 40),
        (creatable("t", 1, &[("retention.ms", "soon")]), 40),
        (creatable("a/b", 1, &[]), 17),
        (creatable("t", 0, &[]), 37),
        (by_hand(vec![assigned(0, 1), assigned(2, 1)]), 39),
        (by_hand(vec![assigned(0, 2)]), 39),
        (by_hand(vec![assigned(1, 1), assigned(0, 1)]), 0),
        (creatable("default-count", -1, &[]).with_replication_factor(-1), 0),
    ];
    for (wanted, expected) in cases {
        let request = CreateTopicsRequest::default().with_topics(vec![wanted.clone()]);
        let result = client.call(&request, 6).topics.remove(0);
        assert_eq!(result.error_code, expected, "{wanted:?}");
        assert_eq!(result.error_message.is_some(), expected != 0);
    }
    let twice = vec![creatable("twice", 1, &[]), creatable("twice", 1, &[])];
    let twice = client.call(&CreateTopicsRequest::default().with_topics(twice), 6).topics;
    assert_eq!((twice.len(), twice[0].error_code), (1, 42));
    let all = client.call(&MetadataRequest::default().with_topics(None), 9).topics;
    let of = |name: &str| all.iter().find(|t| &**t.name.as_ref().unwrap() == name);
    assert_eq!(of("default-count").unwrap().partitions.len(), 12);
    assert!(of("t").is_none() && of("twice").is_none());
}

#[test]
fn records_go_in_and_come_out_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let mut expected = 0;
    for version in 3..=*versions(&mut client, ApiKey::Produce).end() {
        for acks in [-1, 1] {
            let request = produce_request("t", 0, batch(&[b"one", b"two"]), acks);
            let answer = client.call(&request, version);
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!((partition.error_code, partition.base_offset), (0, expected));
            expected += 2;
        }
    }
    for version in versions(&mut client, ApiKey::Fetch) {
        let answer = client.call(&fetch_request(&[("t", 0, 2), ("t", 9, 0), ("x", 0, 0)]), version);
        let partitions: Vec<_> = answer.responses.iter().map(|t| &t.partitions[0]).collect();
        assert_eq!(partitions[0].high_watermark, expected);
        assert!(!partitions[0].records.as_ref().unwrap().is_empty());
        for unknown in &partitions[1..] {
            assert_eq!((unknown.error_code, unknown.high_watermark), (3, -1));
            assert_eq!(unknown.records.as_deref(), Some(&[][..]), "never null");
        }
    }
    let records = client.read_all("t", 0);
    let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..expected).collect::<Vec<_>>());
    assert_eq!(records[3].value.as_deref(), Some(&b"two"[..]));
    let beyond = client.fetch("t", 0, expected + 1);
    assert_eq!((beyond.error_code, beyond.high_watermark), (1, expected));
    assert_eq!(client.fetch("t", 0, -5).error_code, 1);
}

#[test]
fn what_cannot_be_appended_is_refused_by_partition() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let good = batch(&[b"value"]);
    for (name, index, records, expected) in [
        ("missing", 0, good.clone(), 3),
        ("t", 1, good.clone(), 3),
        ("t", -1, good.clone(), 3),
        ("t", 0, bytes::Bytes::new(), 87),
        ("t", 0, good.slice(..good.len() - 1), 87),
        ("t", 0, [&good[..], &good[..]].concat().into(), 87),
        ("__consumer_offsets", 0, good.clone(), 17),
        ("__transaction_state", 0, good.clone(), 17),
    ] {
        assert_eq!(client.produce(name, index, records).error_code, expected, "{name}-{index}");
    }
    let unknown_acks = produce_request("t", 0, good, 2);
    let answer = client.call(&unknown_acks, 9);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 21);
    assert!(client.read_all("t", 0).is_empty());
}

#[test]
fn without_acknowledgement_there_is_silence_or_a_hangup() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    client.send(&produce_request("t", 0, batch(&[b"silent"]), 0), 9);
    assert_eq!(client.read_all("t", 0).len(), 1, "the next answer is that of the next request");
    client.send(&produce_request("missing", 0, batch(&[b"lost"]), 0), 9);
    assert!(client.is_closed());
}

#[test]
fn offsets_are_found_by_time_and_by_end() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    client.create_topic("empty", 1, &[]);
    let before = now_ms();
    for _ in 0..3 {
        client.produce("t", 0, batch(&[b"a", b"b"]));
    }
    for version in versions(&mut client, ApiKey::ListOffsets) {
        let mut find = |name: &str, timestamp: i64| {
            let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
            let wanted = ListOffsetsTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![wanted]);
            let answer = client.call(&request, version);
            let found = &answer.topics[0].partitions[0];
            (found.error_code, found.offset)
        };
        assert_eq!(find("t", -1), (0, 6));
        assert_eq!(find("t", -2), (0, 0));
        assert_eq!(find("t", before), (0, 0));
        assert_eq!(find("t", before + 3_600_000), (0, -1));
        assert_eq!(find("empty", -1), (0, 0));
        assert_eq!(find("missing", -1), (3, -1));
        let (error, offset) = find("t", -3);
        if version >= 7 {
            assert!(error == 0 && (0..6).contains(&offset));
            assert_eq!(find("empty", -3), (0, -1));
        } else {
            assert_eq!(error, 35);
        }
        assert_eq!(find("t", -99).0, 35);
    }
    for version in versions(&mut client, ApiKey::OffsetForLeaderEpoch) {
        let mut end = |epoch: i32, current: i32| {
            let partition =
                OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
            let wanted = OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![partition]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![wanted]);
            let answer = client.call(&request, version);
            let found = &answer.topics[0].partitions[0];
            (found.error_code, found.end_offset)
        };
        assert_eq!(end(0, -1), (0, 6));
        assert_eq!(end(7, -1), (0, -1));
        assert_eq!(end(0, 9).0, ResponseError::UnknownLeaderEpoch.code());
    }
}

#[test]
fn coordinators_clusters_settings_and_producers_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[("cleanup.policy", "compact")]);
    for version in versions(&mut client, ApiKey::FindCoordinator) {
        let key = if version >= 4 { text("") } else { text("g") };
        let keys = if version >= 4 { vec![text("g")] } else { Vec::new() };
        let request = FindCoordinatorRequest::default().with_key(key).with_coordinator_keys(keys);
        let answer = client.call(&request, version);
        let port = answer.coordinators.first().map_or(answer.port, |found| found.port);
        assert_eq!(port, i32::from(broker.addr().port()));
        if version >= 1 {
            let answer = client.call(&request.with_key_type(1), version);
            let port = answer.coordinators.first().map_or(answer.port, |found| found.port);
            assert_eq!(port, i32::from(broker.addr().port()), "transactions as well");
        }
    }
    for version in versions(&mut client, ApiKey::DescribeCluster) {
        let answer = client.call(&DescribeClusterRequest::default(), version);
        assert_eq!((answer.brokers.len(), answer.cluster_id.len()), (1, 22));
    }
    for version in versions(&mut client, ApiKey::DescribeConfigs) {
        let resource = |kind: i8, name: &str| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        };
        let keyed = resource(2, "t").with_configuration_keys(Some(vec![text("cleanup.policy")]));
        let resources = [keyed, resource(2, "missing"), resource(4, "1"), resource(4, "9")];
        let request = DescribeConfigsRequest::default().with_resources(resources.to_vec()).with_include_synonyms(true);
        let answer = client.call(&request, version).results;
        let codes: Vec<i16> = answer.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 3, 0, 42]);
        let policy = &answer[0].configs[0];
        assert_eq!((answer[0].configs.len(), policy.value.as_deref()), (1, Some("compact")));
        assert!(answer[2].configs.iter().any(|c| &*c.name == "log.retention.ms"));
    }
    let mut seen = std::collections::HashSet::new();
    for version in versions(&mut client, ApiKey::InitProducerId) {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let answer = client.call(&request, version);
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        assert!(seen.insert(answer.producer_id));
        let request = request.with_transactional_id(Some(TransactionalId(text("tx"))));
        let refused = client.call(&request, version);
        assert_eq!((refused.error_code, *refused.producer_id), (50, -1), "a transaction needs a timeout");
        let answer = client.call(&request.with_transaction_timeout_ms(1000), version);
        assert_eq!((answer.error_code, answer.producer_epoch), (0, version));
    }
}

#[test]
fn topics_come_into_being_only_when_that_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.auto_create_topics = AutoCreate::On;
    settings.default_partitions = 4;
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    let wanted = MetadataRequestTopic::default().with_name(Some(topic("wanted")));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    let refused = client.call(&request.clone().with_allow_auto_topic_creation(false), 9);
    assert_eq!(refused.topics[0].error_code, 3);
    let created = client.call(&request.with_allow_auto_topic_creation(true), 9);
    assert_eq!((created.topics[0].error_code, created.topics[0].partitions.len()), (0, 4));
}

#[derive(Debug)]
struct NothingSecret;

impl Authorizer for NothingSecret {
    fn allows(&self, _: &Principal, operation: Operation, resource: Resource<'_>) -> bool {
        match resource {
            Resource::Topic(name) | Resource::Group(name) => name != "secret",
            // Otherwise everybody could create every topic.
            _ => operation != Operation::Create,
        }
    }
}

#[test]
fn what_is_not_allowed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.authorizer = Arc::new(NothingSecret);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    let topic_refused = ResponseError::TopicAuthorizationFailed.code();
    let group_refused = ResponseError::GroupAuthorizationFailed.code();
    assert_eq!(client.create_topic("secret", 1, &[]), topic_refused);
    assert_eq!(client.produce("secret", 0, batch(&[b"x"])).error_code, topic_refused);
    assert_eq!(client.fetch("secret", 0, 0).error_code, topic_refused);
    let request = FindCoordinatorRequest::default().with_key(text("secret"));
    assert_eq!(client.call(&request, 2).error_code, group_refused);
    let request = HeartbeatRequest::default().with_group_id(group("secret"));
    assert_eq!(client.call(&request, 2).error_code, group_refused);
    assert_eq!(client.create_topic("public", 1, &[]), 0);
}
