//! Consumer groups over real sockets: membership, rebalances, committed offsets.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use lumenbus_broker::Broker;
use support::*;

const REBALANCING: i16 = 27;

/// A member of group `g` that speaks the protocol step by step.
struct Member {
    client: Client,
    id: StrBytes,
    generation: i32,
    session_ms: i32,
    version: i16,
}

impl Member {
    fn new(address: SocketAddr, version: i16) -> Self {
        Self { client: Client::connect(address), id: text(""), generation: -1, session_ms: 10_000, version }
    }

    fn join_request(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"subscription"));
        let request = JoinGroupRequest::default()
            .with_group_id(group("g"))
            .with_session_timeout_ms(self.session_ms)
            .with_member_id(self.id.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        if self.version >= 1 { request.with_rebalance_timeout_ms(10_000) } else { request }
    }

    fn send_join(&mut self) -> i32 {
        if self.id.is_empty() && self.version >= 4 {
            let refused = self.client.call(&self.join_request(), self.version);
            assert_eq!(refused.error_code, ResponseError::MemberIdRequired.code());
            self.id = refused.member_id;
        }
        let request = self.join_request();
        self.client.send(&request, self.version)
    }

    fn receive_join(&mut self, sent: i32) -> JoinGroupResponse {
        let answer = self.client.receive::<JoinGroupRequest>(sent, self.version);
        assert_eq!(answer.error_code, 0);
        self.id = answer.member_id.clone();
        self.generation = answer.generation_id;
        answer
    }

    fn join(&mut self) -> JoinGroupResponse {
        let sent = self.send_join();
        self.receive_join(sent)
    }

    fn sync_request(&self, assignments: &[(StrBytes, &'static str)]) -> SyncGroupRequest {
        let assignments = assignments.iter().map(|(id, data)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(id.clone())
                .with_assignment(Bytes::from_static(data.as_bytes()))
        });
        SyncGroupRequest::default()
            .with_group_id(group("g"))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_assignments(assignments.collect())
    }

    fn sync(&mut self, assignments: &[(StrBytes, &'static str)]) -> (i16, Bytes) {
        let request = self.sync_request(assignments);
        let answer = self.client.call(&request, self.version.min(2));
        (answer.error_code, answer.assignment)
    }

    fn beat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group("g"))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        self.client.call(&request, self.version.min(2)).error_code
    }

    fn leave(&mut self) -> i16 {
        let request = LeaveGroupRequest::default().with_group_id(group("g")).with_member_id(self.id.clone());
        self.client.call(&request, self.version.min(2)).error_code
    }

    fn commit(&mut self, offset: i64) -> i16 {
        let request = commit_request("t", 0, offset, "")
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone());
        self.client.call(&request, 6).topics[0].partitions[0].error_code
    }

    /// Beats until the broker says something else.
    fn beat_until(&mut self, expected: i16) {
        let began = std::time::Instant::now();
        while self.beat() != expected {
            assert!(began.elapsed() < PATIENCE, "never answered {expected}");
        }
    }
}

fn commit_request(name: &str, index: i32, offset: i64, note: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(note)));
    let topic = OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// `(topic, partition, offset, note)` of everything group `g` has committed.
fn committed(client: &mut Client) -> Vec<(String, i32, i64, String)> {
    let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(None);
    let answer = client.call(&request, 7);
    assert_eq!(answer.error_code, 0);
    let topics = answer.topics.into_iter();
    topics
        .flat_map(|topic| {
            topic.partitions.into_iter().map(move |p| {
                let note = p.metadata.unwrap().to_string();
                (topic.name.to_string(), p.partition_index, p.committed_offset, note)
            })
        })
        .collect()
}

#[test]
fn one_member_goes_through_its_life_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    for version in 0..=4 {
        let mut member = Member::new(broker.addr(), version);
        let joined = member.join();
        assert_eq!((joined.generation_id, joined.members.len()), (1, 1));
        assert_eq!((joined.leader, joined.protocol_name.unwrap()), (member.id.clone(), text("range")));
        assert_eq!(joined.members[0].metadata, Bytes::from_static(b"subscription"));
        let all = [(member.id.clone(), "everything")];
        assert_eq!(member.sync(&all), (0, Bytes::from_static(b"everything")));
        assert_eq!(member.beat(), 0);
        assert_eq!(member.leave(), 0);
        assert_eq!(member.leave(), 25);
        assert_eq!(member.beat(), 25);
    }
}

#[test]
fn three_members_rebalance_as_they_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut first = Member::new(broker.addr(), 4);
    first.join();
    let alone = [(first.id.clone(), "all")];
    first.sync(&alone);

    let mut second = Member::new(broker.addr(), 2);
    let (mut third, sent_second) = (Member::new(broker.addr(), 4), second.send_join());
    let sent_third = third.send_join();
    first.beat_until(REBALANCING);
    let led = first.join();
    second.receive_join(sent_second);
    third.receive_join(sent_third);
    assert_eq!((led.members.len(), led.leader), (3, first.id.clone()));
    assert_eq!((first.generation, second.generation, third.generation), (2, 2, 2));

    let request = second.sync_request(&[]);
    let waiting = second.client.send(&request, 2);
    let parts = [(first.id.clone(), "0"), (second.id.clone(), "1"), (third.id.clone(), "2")];
    assert_eq!(first.sync(&parts), (0, Bytes::from_static(b"0")));
    let answer = second.client.receive::<SyncGroupRequest>(waiting, 2);
    assert_eq!(answer.assignment, Bytes::from_static(b"1"));
    assert_eq!(third.sync(&[]), (0, Bytes::from_static(b"2")));

    assert_eq!(first.leave(), 0, "the leader goes");
    second.beat_until(REBALANCING);
    let sent = second.send_join();
    let led_by = third.join().leader;
    let joined = second.receive_join(sent);
    assert_eq!(joined.leader, led_by);
    assert!([&second.id, &third.id].contains(&&led_by));
    assert_eq!(second.generation, 3);
    assert_eq!(first.commit(5), 25);
}

#[test]
fn a_dead_member_makes_room_after_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let (mut alive, mut dying) = (Member::new(broker.addr(), 3), Member::new(broker.addr(), 3));
    dying.session_ms = 300;
    alive.join();
    let sent = dying.send_join();
    alive.beat_until(REBALANCING);
    alive.join();
    dying.receive_join(sent);
    alive.sync(&[]);
    drop(dying);
    alive.beat_until(REBALANCING);
    assert_eq!(alive.join().members.len(), 1);
}

#[test]
fn a_member_whose_connection_breaks_while_joining_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.groups.initial_rebalance_delay = Duration::from_secs(3600);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut lost = Member::new(broker.addr(), 2);
    lost.session_ms = 50;
    lost.send_join();
    drop(lost);
    let mut client = Client::connect(broker.addr());
    let began = std::time::Instant::now();
    // Offsets can be committed by hand only when nobody is in the group.
    client.create_topic("t", 1, &[]);
    while client.call(&commit_request("t", 0, 1, ""), 6).topics[0].partitions[0].error_code != 0 {
        assert!(began.elapsed() < PATIENCE, "the lost member stays");
    }
}

#[test]
fn a_stop_does_not_wait_for_members() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.groups.initial_rebalance_delay = Duration::from_secs(3600);
    settings.drain_timeout = Duration::from_secs(3600);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut member = Member::new(broker.addr(), 3);
    member.send_join();
    broker.shutdown_blocking().unwrap();
    assert!(member.client.is_closed());
}

#[test]
fn impossible_joins_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut member = Member::new(broker.addr(), 3);
    let good = member.join_request();
    for (request, expected) in [
        (good.clone().with_group_id(group("")), 24),
        (good.clone().with_session_timeout_ms(1), 26),
        (good.clone().with_session_timeout_ms(i32::MAX), 26),
        (good.clone().with_protocols(Vec::new()), 23),
        (good.clone().with_member_id(text("nobody")), 25),
    ] {
        assert_eq!(member.client.call(&request, 3).error_code, expected);
    }
    member.join();
    assert_eq!(member.sync(&[]).0, 0);
    member.generation += 1;
    assert_eq!((member.beat(), member.sync(&[]).0), (22, 22));
}

#[test]
fn offsets_are_committed_and_fetched_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 4, &[]);
    for version in 2..=6 {
        let note = format!("by version {version}");
        let request = commit_request("t", 1, i64::from(version), &note);
        let answer = client.call(&request, version);
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        let expected = ("t".to_owned(), 1, i64::from(version), note);
        assert_eq!(committed(&mut client), [expected]);
    }
    for version in 1..=7 {
        let wanted = OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![1, 2, 1]);
        let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(vec![wanted]));
        let found = client.call(&request, version).topics.remove(0).partitions;
        let offsets: Vec<_> = found.iter().map(|p| (p.partition_index, p.committed_offset)).collect();
        assert_eq!(offsets, [(1, 6), (2, -1)]);
    }
    let long = "x".repeat(4096);
    let too_long = "x".repeat(4097);
    for (request, expected) in [
        (commit_request("t", 0, 1, &long), 0),
        (commit_request("t", 0, 1, &too_long), 12),
        (commit_request("t", 9, 1, ""), 3),
        (commit_request("missing", 0, 1, ""), 3),
        (commit_request("t", 0, 1, "").with_generation_id_or_member_epoch(3), 22),
    ] {
        let answer = client.call(&request, 6);
        assert_eq!(answer.topics[0].partitions[0].error_code, expected);
    }
}

#[test]
fn members_commit_in_their_generation_only() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut member = Member::new(broker.addr(), 4);
    member.client.create_topic("t", 1, &[]);
    member.join();
    assert_eq!(member.commit(1), REBALANCING, "the assignment is still to come");
    member.sync(&[]);
    assert_eq!(member.commit(2), 0);
    member.generation -= 1;
    assert_eq!(member.commit(3), 22);
    let mut stranger = Client::connect(broker.addr());
    let answer = stranger.call(&commit_request("t", 0, 9, ""), 6);
    assert_eq!(answer.topics[0].partitions[0].error_code, 25);
    assert_eq!(committed(&mut stranger)[0].2, 2);
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    for name in ["t", "other"] {
        client.create_topic(name, 1, &[]);
        client.call(&commit_request(name, 0, 5, ""), 6);
    }
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic("t")]);
    client.call(&delete, 5);
    let left: Vec<String> = committed(&mut client).into_iter().map(|c| c.0).collect();
    assert_eq!(left, ["other"]);
}

#[test]
fn offsets_survive_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..3_i64 {
        let broker = start(&folder);
        let mut client = Client::connect(broker.addr());
        client.create_topic("t", 3, &[]);
        assert_eq!(committed(&mut client), expected);
        for offset in 0..200 {
            let note = format!("round {round}");
            client.call(&commit_request("t", 1, 1000 * round + offset, &note), 6);
        }
        expected = vec![("t".to_owned(), 1, 1000 * round + 199, format!("round {round}"))];
        assert_eq!(committed(&mut client), expected);
        broker.shutdown_blocking().unwrap();
    }
}

#[test]
fn groups_are_listed_and_described_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut member = Member::new(broker.addr(), 4);
    member.client.create_topic("t", 1, &[]);
    member.join();
    let states = |client: &mut Client, filter: &[&str]| {
        let request = ListGroupsRequest::default().with_states_filter(filter.iter().map(|name| text(name)).collect());
        let groups = client.call(&request, 4).groups;
        groups.iter().map(|g| (g.group_id.to_string(), g.group_state.to_string())).collect::<Vec<_>>()
    };
    let mut client = Client::connect(broker.addr());
    let row = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    assert_eq!(states(&mut client, &[]), [row("g", "CompletingRebalance")]);
    let id = member.id.clone();
    member.sync(&[(id, "assignment")]);
    client.call(&commit_request("t", 0, 5, "").with_group_id(group("left")), 6);
    assert_eq!(states(&mut client, &[]), [row("g", "Stable"), row("left", "Empty")]);
    assert_eq!(states(&mut client, &["empty"]), [row("left", "Empty")]);
    for version in 0..=3 {
        let listed = client.call(&ListGroupsRequest::default(), version);
        assert_eq!(listed.groups.iter().map(|g| &*g.protocol_type).collect::<Vec<_>>(), ["consumer", ""]);
    }
    for version in 0..=5 {
        let names = ["g", "left", "nobody"].map(group).to_vec();
        let found = client.call(&DescribeGroupsRequest::default().with_groups(names), version).groups;
        assert_eq!(found.iter().map(|g| &*g.group_state).collect::<Vec<_>>(), ["Stable", "Empty", "Dead"]);
        assert_eq!((&*found[0].protocol_data, found[0].members.len(), found[1].members.len()), ("range", 1, 0));
        let of_ours = &found[0].members[0];
        assert_eq!((&of_ours.member_id, &*of_ours.client_host), (&member.id, "/127.0.0.1"));
        assert_eq!(
            (&of_ours.member_metadata[..], &of_ours.member_assignment[..]),
            (&b"subscription"[..], &b"assignment"[..])
        );
    }
}
