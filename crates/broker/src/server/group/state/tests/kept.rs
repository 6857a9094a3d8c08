//! What outlives the process, and what members find after it.

use super::*;

/// The group after a restart of the broker.
fn restarted(bench: &mut Bench) {
    let kept = bench.group.take_unsaved(7).expect("a settled group is kept");
    bench.group = Group::restore(bench.group.rules, kept, bench.now, Duration::from_secs(3600));
}

#[test]
fn members_of_a_settled_group_go_on_after_a_restart() {
    let mut bench = Bench::new();
    bench.join("a");
    bench.join("b");
    bench.pass(DELAY);
    assert!(bench.group.take_unsaved(1).is_none(), "nothing is settled yet");
    bench.sync("b", &[]);
    bench.sync("a", &[("a", "0-5"), ("b", "6-11")]);
    restarted(&mut bench);
    assert!(bench.group.take_unsaved(8).is_none());
    assert_eq!((bench.beat("a"), bench.beat("b")), (Ok(()), Ok(())));
    assert_eq!(bench.group.may_commit(bench.now, who("b", 1), Commit::Plain), Ok(()));
    let synced = bench.sync("b", &[]);
    assert_eq!(bench.synced[&synced], Ok(Bytes::from_static(b"6-11")));
    let again = bench.join("b");
    assert_eq!(bench.joined[&again].clone().unwrap().generation, 1, "an unchanged subscription changes nothing");
    assert_eq!(bench.group.view().members[0].subscription, Bytes::from_static(b"a"));
    bench.pass(SESSION);
    assert!(bench.group.is_vacant(), "sessions are counted from the restart on");
}

#[test]
fn an_empty_group_is_kept_with_its_generation() {
    let mut bench = Bench::new();
    bench.settle(&["a"]);
    bench.group.take_unsaved(1);
    bench.group.leave(bench.now, who("a", -1)).unwrap();
    let kept = bench.group.take_unsaved(2).unwrap();
    assert_eq!((kept.members.len(), kept.protocol.clone(), kept.leader.clone(), kept.since_ms), (0, None, None, 2));
    assert_eq!((kept.generation, &*kept.protocol_type), (2, "consumer"));
    bench.group = Group::restore(bench.group.rules, kept, bench.now, SESSION);
    assert!(bench.group.is_vacant() && !bench.group.is_unused());
    assert_eq!(bench.group.empty_since_ms(), 2);
    bench.settle(&["b"]);
    assert_eq!(bench.group.generation, 3);
}

#[test]
fn strange_records_do_no_harm() {
    let mut bench = Bench::new();
    bench.settle(&["a", "b"]);
    let mut kept = bench.group.take_unsaved(1).unwrap();
    kept.members[1].id = "a".to_owned();
    kept.leader = Some("nobody".to_owned());
    kept.generation = -5;
    for member in &mut kept.members {
        (member.session_timeout_ms, member.rebalance_timeout_ms) = (i32::MAX, -1);
    }
    bench.group = Group::restore(bench.group.rules, kept, bench.now, SESSION);
    assert_eq!((bench.group.members.len(), &*bench.group.leader), (1, "a"));
    bench.pass(SESSION);
    assert!(bench.group.is_vacant());
}

#[test]
fn who_never_asks_for_its_assignment_is_out_also_when_the_rest_is_settled() {
    let mut bench = Bench::new();
    bench.join("a");
    bench.join("b");
    bench.pass(DELAY);
    bench.sync("a", &[]);
    assert_eq!(bench.group.phase, Phase::Stable);
    let until = bench.now + REBALANCE;
    while bench.now < until {
        bench.pass(SESSION / 2);
        let _ = (bench.beat("a"), bench.beat("b"));
    }
    assert_eq!(bench.beat("b"), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.beat("a"), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn time_in_which_nobody_was_served_does_not_count() {
    let mut bench = Bench::new();
    bench.settle(&["a", "b"]);
    bench.group.put_off(Duration::from_secs(3600));
    bench.pass(Duration::from_secs(3600));
    assert_eq!((bench.beat("a"), bench.beat("b")), (Ok(()), Ok(())));
}
