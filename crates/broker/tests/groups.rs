//! Consumer groups over real sockets: membership, rebalances, committed offsets.

mod support;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::*;
use lumenbus_broker::Broker;
use support::groups::*;
use support::*;

#[test]
fn one_member_goes_through_its_life_in_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    for version in 0..=9 {
        let mut member = Member::new(broker.addr(), version);
        member.client.create_topic("t", 1, &[]);
        let joined = member.join();
        assert_eq!((joined.generation_id, joined.members.len()), (2 * i32::from(version) + 1, 1));
        assert_eq!((joined.leader, joined.protocol_name.unwrap()), (member.id.clone(), text("range")));
        assert_eq!(joined.protocol_type.is_some(), version >= 7);
        assert_eq!(joined.members[0].metadata, subscription("t"));
        let all = [(member.id.clone(), "everything")];
        assert_eq!(member.sync(&all), (0, Bytes::from_static(b"everything")));
        assert_eq!((member.beat(), member.commit(7)), (0, 0));
        assert_eq!(member.leave(), 0);
        assert_eq!((member.leave(), member.beat()), (25, 25));
    }
}

/// What a static member is told when it comes back, in all versions that have static members.
#[test]
fn a_static_member_comes_back_to_its_assignment() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    for version in 5..=9 {
        let mut leader = Member::named(broker.addr(), "box-1", version);
        let mut follower = Member::named(broker.addr(), "box-2", version);
        leader.join();
        let sent = follower.send_join();
        leader.beat_until(REBALANCING);
        let led = leader.join();
        follower.receive_join(sent);
        let instances: Vec<_> = led.members.iter().map(|m| m.group_instance_id.clone().unwrap()).collect();
        assert_eq!(instances, [text("box-1"), text("box-2")]);
        assert_eq!(leader.sync(&[(leader.id.clone(), "0"), (follower.id.clone(), "1")]).0, 0);

        let mut back = Member::named(broker.addr(), "box-2", version);
        let joined = back.join();
        assert_eq!((joined.generation_id, &joined.leader), (leader.generation, &leader.id));
        assert_eq!(back.sync(&[]), (0, Bytes::from_static(b"1")));
        let fenced = ResponseError::FencedInstanceId.code();
        assert_eq!((follower.beat(), follower.sync(&[]).0, follower.leave()), (fenced, fenced, fenced));
        assert_eq!(leader.beat(), 0, "nobody else noticed");

        let mut back_to_lead = Member::named(broker.addr(), "box-1", version);
        let joined = back_to_lead.join();
        let skips = version >= 9;
        assert_eq!((joined.skip_assignment, joined.members.len()), (skips, if skips { 2 } else { 0 }));
        assert_eq!(joined.leader == back_to_lead.id, skips);
        assert_eq!(back_to_lead.sync(&[]), (0, Bytes::from_static(b"0")));
        assert_eq!((back_to_lead.beat(), back.beat()), (0, 0));

        let by_name =
            ["box-1", "box-2", "box-3"].map(|name| MemberIdentity::default().with_group_instance_id(Some(text(name))));
        let leave = LeaveGroupRequest::default().with_group_id(group("g")).with_members(by_name.to_vec());
        let left = back.client.call(&leave, (version - 2).min(5)).members;
        assert_eq!(left.iter().map(|m| m.error_code).collect::<Vec<_>>(), [0, 0, 25]);
        assert_eq!((back.beat(), back_to_lead.beat()), (25, 25));
    }
}

#[test]
fn a_member_that_believes_in_another_protocol_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut member = Member::new(broker.addr(), 9);
    let joined = member.join();
    assert_eq!(joined.protocol_type, Some(text("consumer")));
    let request = member.sync_request(&[]);
    let other = request.clone().with_protocol_name(Some(text("sticky")));
    assert_eq!(member.client.call(&other, 5).error_code, ResponseError::InconsistentGroupProtocol.code());
    let synced = member.client.call(&request, 5);
    assert_eq!((synced.protocol_type, synced.protocol_name), (Some(text("consumer")), Some(text("range"))));
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
    let long = "x".repeat(40_000);
    for (request, expected) in [
        (good.clone().with_group_id(group(&long)), 24),
        (good.clone().with_member_id(text(&long)), 42),
        (good.clone().with_group_instance_id(Some(text(&long))), 42),
        (good.clone().with_protocols(vec![good.protocols[0].clone(); 65]), 42),
        (good.clone().with_group_id(group("")), 24),
        (good.clone().with_session_timeout_ms(1), 26),
        (good.clone().with_session_timeout_ms(i32::MAX), 26),
        (good.clone().with_protocols(Vec::new()), 23),
        (good.clone().with_member_id(text("nobody")), 25),
    ] {
        let answer = member.client.call(&request, 9);
        assert_eq!((answer.error_code, answer.protocol_name), (expected, None));
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
    for version in 2..=9 {
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
        assert_eq!(offsets, [(1, 9), (2, -1)]);
    }
    for version in 8..=9 {
        let wanted = OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![1, 2, 1]);
        let of = |name: &str| OffsetFetchRequestGroup::default().with_group_id(group(name));
        let groups = vec![of("g").with_topics(Some(vec![wanted])), of("g"), of("h").with_topics(None)];
        let found = client.call(&OffsetFetchRequest::default().with_groups(groups), version).groups;
        let names: Vec<_> = found.iter().map(|g| (g.group_id.to_string(), g.error_code, g.topics.len())).collect();
        assert_eq!(names, [("g".to_owned(), 0, 1), ("h".to_owned(), 0, 0)], "each group once");
        let offsets: Vec<_> =
            found[0].topics[0].partitions.iter().map(|p| (p.partition_index, p.committed_offset)).collect();
        assert_eq!(offsets, [(1, 9), (2, -1)]);
    }
    let long = "x".repeat(4096);
    let too_long = "x".repeat(4097);
    for (request, expected) in [
        (commit_request("t", 0, 1, &long), 0),
        (commit_request("t", 0, 1, &too_long), 12),
        (commit_request("t", 9, 1, ""), 3),
        (commit_request("missing", 0, 1, ""), 3),
        (commit_request("t", 0, 1, "").with_generation_id_or_member_epoch(3), 25),
    ] {
        let answer = client.call(&request, 6);
        assert_eq!(answer.topics[0].partitions[0].error_code, expected);
    }
    let unknown = commit_request("t", 0, 1, "").with_group_id(group("nobody")).with_generation_id_or_member_epoch(3);
    for (version, expected) in [(8, ResponseError::IllegalGeneration), (9, ResponseError::GroupIdNotFound)] {
        assert_eq!(client.call(&unknown, version).topics[0].partitions[0].error_code, expected.code());
    }
    let long = commit_request("t", 0, 1, "").with_group_id(group(&"x".repeat(40_000)));
    assert_eq!(client.call(&long, 8).topics[0].partitions[0].error_code, 24);
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
