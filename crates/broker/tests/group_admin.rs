//! Looking after groups over real sockets: listing, describing, deleting.

mod support;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use support::groups::*;
use support::*;

fn texts(names: &[&str]) -> Vec<StrBytes> {
    names.iter().map(|name| text(name)).collect()
}

/// One member of `g` with its assignment.
fn settled(member: &mut Member) {
    member.client.create_topic("t", 2, &[]);
    member.join();
    let id = member.id.clone();
    assert_eq!(member.sync(&[(id, "assignment")]).0, 0);
}

fn delete(client: &mut Client, names: &[&str], version: i16) -> Vec<i16> {
    let request = DeleteGroupsRequest::default().with_groups_names(names.iter().map(|name| group(name)).collect());
    client.call(&request, version).results.iter().map(|result| result.error_code).collect()
}

fn delete_offsets(client: &mut Client, wanted: &[(&str, i32)]) -> (i16, Vec<i16>) {
    let topics = wanted.iter().map(|(name, index)| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(*index);
        OffsetDeleteRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition])
    });
    let request = OffsetDeleteRequest::default().with_group_id(group("g")).with_topics(topics.collect());
    let answer = client.call(&request, 0);
    (answer.error_code, answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect())
}

#[test]
fn groups_are_listed_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut member = Member::new(broker.addr(), 4);
    member.client.create_topic("t", 1, &[]);
    member.join();
    let listed = |client: &mut Client, states: &[&str], types: &[&str]| {
        let request = ListGroupsRequest::default().with_states_filter(texts(states)).with_types_filter(texts(types));
        let groups = client.call(&request, 5).groups;
        assert!(groups.iter().all(|g| g.group_type == text("classic")));
        groups.iter().map(|g| (g.group_id.to_string(), g.group_state.to_string())).collect::<Vec<_>>()
    };
    let mut client = Client::connect(broker.addr());
    let row = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    assert_eq!(listed(&mut client, &[], &[]), [row("g", "CompletingRebalance")]);
    member.sync(&[]);
    client.call(&commit_request("t", 0, 5, "").with_group_id(group("left")), 6);
    assert_eq!(listed(&mut client, &[], &["Classic"]), [row("g", "Stable"), row("left", "Empty")]);
    assert_eq!(listed(&mut client, &["empty"], &[]), [row("left", "Empty")]);
    assert_eq!(listed(&mut client, &[], &["consumer", "share"]), []);
    for version in 0..=5 {
        let listed = client.call(&ListGroupsRequest::default(), version);
        assert_eq!(listed.groups.iter().map(|g| &*g.protocol_type).collect::<Vec<_>>(), ["consumer", ""]);
    }
    assert_eq!(member.leave(), 0);
    assert_eq!(listed(&mut client, &["Empty"], &[]), [row("g", "Empty"), row("left", "Empty")]);
}

#[test]
fn groups_are_described_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut member = Member::named(broker.addr(), "box", 9);
    settled(&mut member);
    let mut client = Client::connect(broker.addr());
    client.call(&commit_request("t", 0, 5, "").with_group_id(group("left")), 6);
    for version in 0..=6 {
        let names = ["g", "left", "nobody", "g"].map(group).to_vec();
        let request = DescribeGroupsRequest::default().with_groups(names);
        let request = if version >= 3 { request.with_include_authorized_operations(true) } else { request };
        let found = client.call(&request, version).groups;
        assert_eq!(found.iter().map(|g| &*g.group_state).collect::<Vec<_>>(), ["Stable", "Empty", "Dead"]);
        assert_eq!((&*found[0].protocol_data, found[0].members.len(), found[1].members.len()), ("range", 1, 0));
        let of_ours = &found[0].members[0];
        assert_eq!((&of_ours.member_id, &*of_ours.client_host), (&member.id, "/127.0.0.1"));
        assert_eq!(of_ours.group_instance_id.is_some(), version >= 4);
        assert_eq!(
            (&of_ours.member_metadata, &of_ours.member_assignment[..]),
            (&subscription("t"), &b"assignment"[..])
        );
        let (read, delete, describe) = (1 << 3, 1 << 6, 1 << 8);
        let told = if version >= 3 { read | delete | describe } else { i32::MIN };
        assert_eq!(found[0].authorized_operations, told);
        let missing = (found[2].error_code, found[2].error_message.as_deref());
        let expected = match version {
            6 => (ResponseError::GroupIdNotFound.code(), Some("Group nobody not found.")),
            _ => (0, None),
        };
        assert_eq!(missing, expected);
    }
    let plain = client.call(&DescribeGroupsRequest::default().with_groups(vec![group("g")]), 6);
    assert_eq!(plain.groups[0].authorized_operations, i32::MIN);
}

#[test]
fn groups_are_deleted_when_nobody_is_in_them() {
    for version in 0..=2 {
        let folder = tempfile::tempdir().unwrap();
        let broker = start(&folder);
        let mut member = Member::new(broker.addr(), 9);
        settled(&mut member);
        assert_eq!(member.commit(3), 0);
        let mut client = Client::connect(broker.addr());
        client.call(&commit_request("t", 0, 5, "").with_group_id(group("left")), 6);
        let (busy, missing) = (ResponseError::NonEmptyGroup.code(), ResponseError::GroupIdNotFound.code());
        assert_eq!(delete(&mut client, &["g", "left", "nobody", ""], version), [busy, 0, missing, 24]);
        assert_eq!((member.beat(), committed(&mut client).len()), (0, 1));
        member.leave();
        assert_eq!(delete(&mut client, &["g", "g"], version), [0]);
        assert_eq!(delete(&mut client, &["g"], version), [missing]);
        assert!(committed(&mut client).is_empty());
        broker.shutdown_blocking().unwrap();
        let broker = start(&folder);
        let mut client = Client::connect(broker.addr());
        assert!(client.call(&ListGroupsRequest::default(), 5).groups.is_empty(), "also by the files");
    }
}

#[test]
fn offsets_are_deleted_where_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut member = Member::new(broker.addr(), 9);
    let mut client = Client::connect(broker.addr());
    assert_eq!(delete_offsets(&mut client, &[("t", 0)]), (ResponseError::GroupIdNotFound.code(), vec![]));
    settled(&mut member);
    client.create_topic("other", 1, &[]);
    assert_eq!(member.commit(3), 0);
    let request = commit_request("other", 0, 9, "")
        .with_generation_id_or_member_epoch(member.generation)
        .with_member_id(member.id.clone());
    client.call(&request, 9);
    let in_use = ResponseError::GroupSubscribedToTopic.code();
    assert_eq!(delete_offsets(&mut client, &[("t", 0), ("other", 0), ("missing", 0)]), (0, vec![in_use, 0, 3]));
    assert_eq!(committed(&mut client).iter().map(|c| &*c.0).collect::<Vec<_>>(), ["t"]);
    member.leave();
    assert_eq!(delete_offsets(&mut client, &[("t", 0), ("t", 1)]), (0, vec![0, 0]));
    assert!(committed(&mut client).is_empty());
}

#[test]
fn offsets_of_other_group_protocols_are_left_alone_while_somebody_is_in_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut member = Member::new(broker.addr(), 3);
    let request = member.join_request().with_protocol_type(text("connect"));
    let joined = member.client.call(&request, 3);
    assert_eq!(joined.error_code, 0);
    assert_eq!(delete_offsets(&mut member.client, &[("t", 0)]).0, ResponseError::NonEmptyGroup.code());
}

#[test]
fn coordinators_are_found_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    for version in 0..=3 {
        let found = client.call(&FindCoordinatorRequest::default().with_key(text("g")), version);
        assert_eq!((found.error_code, found.port), (0, i32::from(broker.addr().port())));
    }
    for version in 4..=6 {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(texts(&["g", "h"]));
        let found = client.call(&request, version).coordinators;
        assert_eq!(found.iter().map(|c| (c.key.as_str(), c.error_code)).collect::<Vec<_>>(), [("g", 0), ("h", 0)]);
        let shares = client.call(&request.with_key_type(2), version).coordinators;
        assert_eq!(shares[0].error_code, ResponseError::InvalidRequest.code(), "no share groups here");
    }
}
