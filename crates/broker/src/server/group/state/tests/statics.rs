//! Static members: they come back under their name.

use super::*;

fn named(name: &str, new_id: &str, id: Option<&str>) -> Join {
    Join { instance_id: Some(name.to_owned()), ..request(new_id, id, &["range"]) }
}

fn as_instance<'a>(member_id: &'a str, name: &'a str, generation: i32) -> Caller<'a> {
    Caller { member_id, instance_id: Some(name), generation }
}

/// Two static members, `x` as `x-1` and `y` as `y-1`; the first leads.
fn settled() -> Bench {
    let mut bench = Bench::new();
    bench.join_with(named("x", "x-1", None));
    bench.join_with(named("y", "y-1", None));
    bench.pass(DELAY);
    bench.sync("y-1", &[]);
    bench.sync("x-1", &[("x-1", "0-5"), ("y-1", "6-11")]);
    assert_eq!(bench.group.phase, Phase::Stable);
    assert!(bench.group.take_unsaved(1).is_some());
    bench
}

/// Lets the members' sessions last longer than any rebalance.
fn be_patient(bench: &mut Bench, ids: &[&str]) {
    for id in ids {
        bench.group.members.get_mut(id).unwrap().session_timeout = PATIENT;
        bench.beat(id).unwrap();
    }
}

const PATIENT: Duration = Duration::from_secs(3600);

#[test]
fn a_static_member_that_comes_back_finds_its_assignment_without_a_rebalance() {
    let mut bench = settled();
    let back = bench.join_with(named("y", "y-2", None));
    let joined = bench.joined[&back].clone().unwrap();
    assert_eq!((&*joined.member_id, joined.generation, &*joined.leader), ("y-2", 1, "x-1"));
    assert!(!joined.skip_assignment && joined.members.is_empty());
    let synced = bench.sync("y-2", &[]);
    assert_eq!(bench.synced[&synced], Ok(Bytes::from_static(b"6-11")));
    assert_eq!(bench.beat("x-1"), Ok(()), "nobody has to join again");
    let kept = bench.group.take_unsaved(2).unwrap();
    assert_eq!(kept.members[1].id, "y-2", "its new id is kept");
}

#[test]
fn what_still_speaks_under_the_old_id_is_fenced() {
    let mut bench = settled();
    bench.join_with(named("y", "y-2", None));
    let now = bench.now;
    for id in ["y-1", "nonsense"] {
        let old = as_instance(id, "y", 1);
        assert_eq!(bench.group.heartbeat(now, old), Err(ResponseError::FencedInstanceId));
        assert_eq!(bench.group.may_commit(now, old, Commit::Plain), Err(ResponseError::FencedInstanceId));
        assert_eq!(bench.group.leave(now, old), Err(ResponseError::FencedInstanceId));
        let rejoin = bench.join_with(named("y", "y-3", Some(id)));
        assert_eq!(bench.joined[&rejoin].clone().unwrap_err().error, ResponseError::FencedInstanceId);
    }
    assert_eq!(bench.group.heartbeat(now, who("y-1", 1)), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.group.heartbeat(now, as_instance("y-2", "z", 1)), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.group.heartbeat(now, as_instance("y-2", "y", 1)), Ok(()));
}

#[test]
fn a_leader_that_comes_back_assigns_nothing() {
    let mut bench = settled();
    let back = bench.join_with(named("x", "x-2", None));
    let joined = bench.joined[&back].clone().unwrap();
    assert_eq!((&*joined.leader, joined.skip_assignment, joined.members.len()), ("x-2", true, 2));
    let before_skipping = Join { return_of_leader: ReturnOfLeader::AsFollower, ..named("x", "x-3", None) };
    let back = bench.join_with(before_skipping);
    let joined = bench.joined[&back].clone().unwrap();
    assert_eq!((&*joined.leader, joined.skip_assignment, joined.members.len()), ("x-2", false, 0));
    assert_eq!(bench.group.leader, "x-3", "it leads all the same");
    let synced = bench.sync("x-3", &[]);
    assert_eq!(bench.synced[&synced], Ok(Bytes::from_static(b"0-5")));
}

#[test]
fn one_that_comes_back_with_another_assignor_makes_all_join_again() {
    let mut bench = Bench::new();
    let both = |name: &str| Join { instance_id: Some(name.to_owned()), ..request(name, None, &["sticky", "range"]) };
    bench.join_with(both("x"));
    bench.join_with(both("y"));
    bench.pass(DELAY);
    bench.sync("x", &[]);
    bench.sync("y", &[]);
    let back = bench.join_with(named("y", "y-2", None));
    assert!(!bench.joined.contains_key(&back));
    assert_eq!(bench.beat("x"), Err(ResponseError::RebalanceInProgress));
    bench.join_with(Join { member_id: Some("x".to_owned()), ..both("x") });
    assert_eq!(bench.joined[&back].clone().unwrap().protocol, "range");
}

#[test]
fn one_that_comes_back_while_the_leader_assigns_is_assigned_anew() {
    let mut bench = Bench::new();
    bench.join_with(named("x", "x-1", None));
    bench.join_with(named("y", "y-1", None));
    bench.pass(DELAY);
    let waiting = bench.sync("y-1", &[]);
    let back = bench.join_with(named("y", "y-2", None));
    assert_eq!(bench.synced[&waiting], Err(ResponseError::FencedInstanceId));
    let late = bench.sync("x-1", &[("y-1", "6-11")]);
    assert_eq!(bench.synced[&late], Err(ResponseError::RebalanceInProgress));
    bench.join_with(named("x", "x-1", Some("x-1")));
    assert_eq!(bench.joined[&back].clone().unwrap().generation, 2);
}

#[test]
fn a_second_one_of_the_same_name_takes_the_place_of_the_first_that_waits() {
    let mut bench = Bench::new();
    let first = bench.join_with(named("x", "x-1", None));
    let second = bench.join_with(named("x", "x-2", None));
    let fenced = bench.joined[&first].clone().unwrap_err();
    assert_eq!((fenced.error, &*fenced.member_id), (ResponseError::FencedInstanceId, "x-1"));
    bench.pass(DELAY);
    let joined = bench.joined[&second].clone().unwrap();
    assert_eq!((joined.members.len(), joined.members[0].instance_id.as_deref()), (1, Some("x")));
}

#[test]
fn a_silent_static_member_stays_through_a_rebalance_until_its_session_ends() {
    let mut bench = settled();
    be_patient(&mut bench, &["x-1", "y-1"]);
    let third = bench.join("dynamic");
    bench.join_with(Join { session_timeout: PATIENT, ..named("x", "x-1", Some("x-1")) });
    bench.pass(REBALANCE);
    let joined = bench.joined[&third].clone().unwrap();
    assert_eq!((joined.generation, &*joined.leader), (2, "x-1"));
    assert_eq!(bench.group.members.len(), 3, "y may be restarting");
    assert_eq!(bench.beat("y-1"), Ok(()));
    assert_eq!(bench.group.heartbeat(bench.now, who("y-1", 1)), Err(ResponseError::IllegalGeneration));
}

#[test]
fn when_only_silent_static_members_are_left_they_are_waited_for() {
    let mut bench = settled();
    be_patient(&mut bench, &["x-1", "y-1"]);
    let lost = bench.join("dynamic");
    bench.group.abandon(bench.now, lost);
    bench.pass(REBALANCE);
    assert!(matches!(bench.group.phase, Phase::Preparing { .. }));
    assert_eq!((bench.group.members.len(), bench.group.generation), (2, 1));
    bench.pass(PATIENT);
    assert!(bench.group.is_vacant());
}

#[test]
fn static_members_are_sent_away_by_name() {
    let mut bench = settled();
    assert_eq!(bench.group.leave(bench.now, as_instance("", "nobody", -1)), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.group.leave(bench.now, as_instance("", "y", -1)), Ok(()));
    assert_eq!(bench.beat("x-1"), Err(ResponseError::RebalanceInProgress));
    assert_eq!(bench.group.leave(bench.now, as_instance("x-1", "x", -1)), Ok(()));
    assert!(bench.group.is_vacant());
}

#[test]
fn a_full_group_lets_its_static_members_back_in() {
    let mut bench = Bench::new();
    for name in ["a", "b", "c", "d", "e"] {
        bench.join_with(named(name, name, None));
    }
    bench.pass(DELAY);
    let back = bench.join_with(named("c", "c-2", None));
    assert!(!bench.joined.contains_key(&back), "the leader was assigning, so all join again");
    let stranger = bench.join_with(named("f", "f", None));
    assert_eq!(bench.joined[&stranger].clone().unwrap_err().error, ResponseError::GroupMaxSizeReached);
}

#[test]
fn a_member_must_believe_in_the_groups_protocol() {
    let mut bench = settled();
    for (believes, expected) in [
        ([Some("consumer"), Some("range")], None),
        ([Some("consumer"), Some("sticky")], Some(ResponseError::InconsistentGroupProtocol)),
        ([Some("connect"), None], Some(ResponseError::InconsistentGroupProtocol)),
    ] {
        let (ticket, caller) = (bench.ticket(), who("x-1", 1));
        bench.group.sync(bench.now, ticket, Sync { caller, believes, assignments: Vec::new() });
        bench.collect();
        assert_eq!(bench.synced[&ticket].clone().err(), expected);
    }
}
