mod kept;
mod statics;

use super::*;
use crate::server::group::member::{Admission, Join, ReturnOfLeader};
use proptest::prelude::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_secs(3);

/// A group with a clock of its own and answers kept by ticket.
struct Bench {
    group: Group,
    now: Instant,
    tickets: u64,
    joined: HashMap<Ticket, Result<Joined, JoinRefused>>,
    synced: HashMap<Ticket, Result<Bytes, ResponseError>>,
}

impl Bench {
    fn new() -> Self {
        let rules = Rules { initial_delay: DELAY, max_members: 5 };
        Self {
            group: Group::new(rules),
            now: Instant::now(),
            tickets: 0,
            joined: HashMap::new(),
            synced: HashMap::new(),
        }
    }

    fn collect(&mut self) {
        for answer in self.group.take_answers() {
            match answer {
                Answer::Join(ticket, answer) => {
                    assert!(self.joined.insert(ticket, answer).is_none(), "answered twice");
                }
                Answer::Sync(ticket, answer) => {
                    let answer = answer.map(|synced| synced.assignment);
                    assert!(self.synced.insert(ticket, answer).is_none(), "answered twice");
                }
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn join_with(&mut self, join: Join) -> Ticket {
        let ticket = self.ticket();
        self.group.join(self.now, ticket, join);
        self.collect();
        ticket
    }

    fn join(&mut self, id: &str) -> Ticket {
        let known = self.group.members.contains(id) || self.group.pending.contains_key(id);
        self.join_with(request(id, known.then_some(id), &["range"]))
    }

    fn sync(&mut self, id: &str, assignments: &[(&str, &'static str)]) -> Ticket {
        let ticket = self.ticket();
        let assignments =
            assignments.iter().map(|(id, data)| ((*id).to_owned(), Bytes::from_static(data.as_bytes()))).collect();
        let caller = Caller { member_id: id, instance_id: None, generation: self.group.generation };
        self.group.sync(self.now, ticket, Sync { caller, believes: [None; 2], assignments });
        self.collect();
        ticket
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.tick(self.now);
        self.collect();
    }

    fn beat(&mut self, id: &str) -> Result<(), ResponseError> {
        self.group.heartbeat(self.now, who(id, self.group.generation))
    }

    /// `ids` join together and get their assignments.
    fn settle(&mut self, ids: &[&str]) {
        for id in ids {
            self.join(id);
        }
        self.pass(DELAY);
        for id in ids {
            self.sync(id, &[]);
        }
        assert_eq!(self.group.phase, Phase::Stable);
    }
}

fn who(member_id: &str, generation: i32) -> Caller<'_> {
    Caller { member_id, instance_id: None, generation }
}

fn request(new_id: &str, id: Option<&str>, protocols: &[&str]) -> Join {
    Join {
        client_id: "test".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        member_id: id.map(str::to_owned),
        instance_id: None,
        return_of_leader: ReturnOfLeader::SkipAssignment,
        new_id: new_id.to_owned(),
        admission: Admission::AtOnce,
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: protocols
            .iter()
            .map(|name| ((*name).to_owned(), Bytes::copy_from_slice(new_id.as_bytes())))
            .collect(),
    }
}

#[test]
fn members_that_come_together_share_the_first_generation() {
    let mut bench = Bench::new();
    let first = bench.join("a");
    bench.pass(DELAY / 2);
    let second = bench.join("b");
    bench.pass(DELAY / 2);
    assert!(bench.joined.is_empty(), "a newcomer extends the delay");
    bench.pass(DELAY / 2);
    let leader = bench.joined[&first].clone().unwrap();
    assert_eq!((leader.generation, &*leader.leader, &*leader.protocol), (1, "a", "range"));
    let names: Vec<_> = leader.members.iter().map(|member| &*member.id).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(bench.joined[&second].clone().unwrap().members.is_empty());

    let follower = bench.sync("b", &[]);
    assert!(bench.synced.is_empty(), "followers wait for the leader");
    let leader = bench.sync("a", &[("a", "0-5"), ("b", "6-11")]);
    assert_eq!(bench.synced[&leader], Ok(Bytes::from_static(b"0-5")));
    assert_eq!(bench.synced[&follower], Ok(Bytes::from_static(b"6-11")));
    let again = bench.sync("b", &[]);
    assert_eq!(bench.synced[&again], Ok(Bytes::from_static(b"6-11")));
}

#[test]
fn a_third_member_makes_the_others_join_again() {
    let mut bench = Bench::new();
    bench.settle(&["a", "b"]);
    let third = bench.join("c");
    assert_eq!(bench.beat("a"), Err(ResponseError::RebalanceInProgress));
    assert_eq!(bench.beat("b"), Err(ResponseError::RebalanceInProgress));
    bench.join("a");
    assert!(!bench.joined.contains_key(&third));
    bench.join("b");
    assert_eq!(bench.joined[&third].clone().unwrap().generation, 2);
    assert_eq!(bench.beat("a"), Ok(()));
    assert_eq!(bench.group.heartbeat(bench.now, who("a", 1)), Err(ResponseError::IllegalGeneration));
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut bench = Bench::new();
    bench.settle(&["a", "b"]);
    let third = bench.join("c");
    bench.join("a");
    while bench.now < bench.group.next_deadline().unwrap() - SESSION {
        bench.pass(SESSION / 2);
        let _ = bench.beat("b");
    }
    bench.pass(REBALANCE);
    assert_eq!(bench.joined[&third].clone().unwrap().leader, "a");
    assert_eq!(bench.beat("b"), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_silent_member_expires_and_the_rest_divide_its_work() {
    let mut bench = Bench::new();
    bench.settle(&["a", "b"]);
    bench.pass(SESSION - Duration::from_millis(1));
    assert_eq!(bench.beat("a"), Ok(()));
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.beat("b"), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.beat("a"), Err(ResponseError::RebalanceInProgress));
    let alone = bench.join("a");
    assert_eq!(bench.joined[&alone].clone().unwrap().members.len(), 1);
    bench.pass(REBALANCE);
    assert!(bench.group.is_vacant(), "and when nobody syncs, the group is empty");
}

#[test]
fn waiting_members_do_not_expire_until_their_connection_is_gone() {
    let mut bench = Bench::new();
    bench.settle(&["a", "b"]);
    bench.pass(SESSION / 2);
    let third = bench.join("c");
    let first = bench.join("a");
    bench.pass(SESSION / 2);
    assert_eq!(bench.group.members.len(), 2, "b was silent, a and c wait: {:?}", bench.joined);
    assert!(bench.joined.contains_key(&first) && bench.joined.contains_key(&third));

    let mut bench = Bench::new();
    let lost = bench.join("a");
    bench.group.abandon(bench.now, lost);
    bench.pass(SESSION);
    assert!(bench.group.is_vacant() && bench.joined.is_empty());
}

#[test]
fn the_leader_must_bring_the_assignment_in_time() {
    let mut bench = Bench::new();
    bench.join("a");
    bench.join("b");
    bench.pass(DELAY);
    let waiting = bench.sync("b", &[]);
    bench.pass(SESSION);
    assert_eq!(bench.synced[&waiting], Err(ResponseError::RebalanceInProgress));
    let next = bench.join("b");
    assert_eq!(bench.joined[&next].clone().unwrap().leader, "b");
}

#[test]
fn newcomers_of_version_4_come_back_with_their_id() {
    let mut bench = Bench::new();
    let by_id = |id: Option<&str>| Join { admission: Admission::ByIdFirst, ..request("x", id, &["range"]) };
    let refused = bench.join_with(by_id(None));
    let refused = bench.joined[&refused].clone().unwrap_err();
    assert_eq!((refused.error, &*refused.member_id), (ResponseError::MemberIdRequired, "x"));
    let ticket = bench.join_with(by_id(Some("x")));
    bench.pass(DELAY);
    assert_eq!(bench.joined[&ticket].clone().unwrap().member_id, "x");

    let mut bench = Bench::new();
    bench.join_with(by_id(None));
    bench.pass(SESSION);
    let late = bench.join_with(by_id(Some("x")));
    let late = bench.joined[&late].clone().unwrap_err();
    assert_eq!(late.error, ResponseError::UnknownMemberId);
    assert!(bench.group.is_vacant());
}

#[test]
fn protocols_must_meet() {
    let mut bench = Bench::new();
    bench.join_with(request("a", None, &["sticky", "range"]));
    bench.join_with(request("b", None, &["range", "sticky"]));
    let third = bench.join_with(request("c", None, &["range"]));
    let stranger = bench.join_with(request("d", None, &["cooperative"]));
    let mut other_type = request("e", None, &["range"]);
    other_type.protocol_type = "connect".to_owned();
    let other_type = bench.join_with(other_type);
    for refused in [stranger, other_type] {
        let refused = bench.joined[&refused].clone().unwrap_err();
        assert_eq!(refused.error, ResponseError::InconsistentGroupProtocol);
    }
    bench.pass(DELAY);
    assert_eq!(bench.joined[&third].clone().unwrap().protocol, "range");
}

#[test]
fn a_changed_subscription_rebalances_and_an_unchanged_one_does_not() {
    let mut bench = Bench::new();
    bench.settle(&["a", "b"]);
    let same = bench.join("b");
    assert_eq!(bench.joined[&same].clone().unwrap().generation, 1);
    bench.join_with(request("other topics", Some("b"), &["range"]));
    assert_eq!(bench.beat("a"), Err(ResponseError::RebalanceInProgress));
    let leader = bench.join("a");
    let leader = bench.joined[&leader].clone().unwrap();
    assert_eq!(leader.members[1].subscription, Bytes::from_static(b"other topics"));
}

#[test]
fn leaving_ends_membership_and_the_last_one_ends_the_group() {
    let mut bench = Bench::new();
    bench.settle(&["a", "b"]);
    assert_eq!(bench.group.leave(bench.now, who("a", -1)), Ok(()));
    assert_eq!(bench.group.leave(bench.now, who("a", -1)), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.beat("b"), Err(ResponseError::RebalanceInProgress));
    assert_eq!(bench.group.leave(bench.now, who("b", -1)), Ok(()));
    assert!(bench.group.is_vacant());
    assert_eq!(bench.group.next_deadline(), None);
}

#[test]
fn offsets_are_committed_by_members_of_this_generation() {
    let mut bench = Bench::new();
    let now = bench.now;
    assert_eq!(bench.group.may_commit(now, who("", -1), Commit::Plain), Ok(()), "assigned by hand");
    bench.settle(&["a"]);
    assert_eq!(bench.group.may_commit(now, who("a", 1), Commit::Plain), Ok(()));
    for (id, generation, expected) in [
        ("a", 0, ResponseError::IllegalGeneration),
        ("b", 1, ResponseError::UnknownMemberId),
        ("", -1, ResponseError::UnknownMemberId),
    ] {
        assert_eq!(bench.group.may_commit(now, who(id, generation), Commit::Plain), Err(expected));
    }
    bench.join("b");
    assert_eq!(bench.group.may_commit(now, who("a", 1), Commit::Plain), Ok(()), "also while others join");
    bench.join("a");
    let refused = bench.group.may_commit(now, who("a", 2), Commit::Plain);
    assert_eq!(refused, Err(ResponseError::RebalanceInProgress));
    let transactional = |bench: &mut Bench, caller| bench.group.may_commit(now, caller, Commit::Transactional);
    assert_eq!(transactional(&mut bench, who("a", 2)), Ok(()), "its producer's transaction has to end");
    assert_eq!(transactional(&mut bench, who("a", 1)), Err(ResponseError::IllegalGeneration));
}

#[test]
fn a_full_group_takes_nobody() {
    let mut bench = Bench::new();
    for id in ["a", "b", "c", "d", "e"] {
        bench.join(id);
    }
    let sixth = bench.join("f");
    let sixth = bench.joined[&sixth].clone().unwrap_err();
    assert_eq!(sixth.error, ResponseError::GroupMaxSizeReached);
}

#[derive(Debug, Clone)]
enum Step {
    Join(u8),
    JoinById(u8),
    /// A static member comes, or comes back.
    Return(u8),
    Sync(u8),
    /// The member in this place asks for its assignment.
    SyncNth(usize),
    Beat(u8),
    Leave(u8),
    Abandon(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..7_u8;
    prop_oneof![
        who.clone().prop_map(Step::Join),
        who.clone().prop_map(Step::JoinById),
        (0..3_u8).prop_map(Step::Return),
        who.clone().prop_map(Step::Sync),
        (0..5_usize).prop_map(Step::SyncNth),
        who.clone().prop_map(Step::Beat),
        who.prop_map(Step::Leave),
        (0..100_u64).prop_map(Step::Abandon),
        (0..40_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens, every ticket is answered exactly once or abandoned, generations never go
    /// back, a leader's list is the membership, and a group left alone becomes empty.
    #[test]
    fn any_history_ends_well(steps in proptest::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        let mut abandoned = HashSet::new();
        let mut generation = 0;
        for step in steps {
            match step {
                Step::Join(who) => drop(bench.join(&who.to_string())),
                Step::JoinById(who) => {
                    let id = who.to_string();
                    let known = bench.group.members.contains(&id) || bench.group.pending.contains_key(&id);
                    let join = request(&id, known.then_some(&id), &["range"]);
                    bench.join_with(Join { admission: Admission::ByIdFirst, ..join });
                }
                Step::Return(name) => {
                    let id = format!("{name}-{}", bench.tickets);
                    let instance_id = Some(format!("s{name}"));
                    bench.join_with(Join { instance_id, ..request(&id, None, &["range"]) });
                }
                Step::SyncNth(place) => {
                    let id = bench.group.members.iter().nth(place).map(|m| m.id.clone());
                    if let Some(id) = id {
                        bench.sync(&id, &[]);
                    }
                }
                Step::Sync(who) => drop(bench.sync(&who.to_string(), &[])),
                Step::Beat(who) => drop(bench.beat(&who.to_string())),
                Step::Leave(name) => drop(bench.group.leave(bench.now, who(&name.to_string(), -1))),
                Step::Abandon(ticket) => {
                    bench.group.abandon(bench.now, Ticket(ticket));
                    abandoned.insert(Ticket(ticket));
                }
                Step::Pass(millis) => bench.pass(Duration::from_millis(millis)),
            }
            bench.collect();
            prop_assert!(bench.group.generation >= generation);
            generation = bench.group.generation;
            let members = bench.group.members.len();
            prop_assert!(members + bench.group.pending.len() <= 5);
            prop_assert_eq!(members == 0, bench.group.phase == Phase::Empty);
            prop_assert!(bench.group.members.iter().all(|m| bench.group.members.contains(&m.id)));
            if matches!(bench.group.phase, Phase::Completing | Phase::Stable) {
                prop_assert!(bench.group.members.iter().any(|m| m.id == bench.group.leader));
                prop_assert!(bench.group.members.iter().all(|m| m.joining.is_none()));
            }
        }
        for _ in 0..4 * 7 {
            bench.pass(REBALANCE);
        }
        prop_assert!(bench.group.is_vacant());
        for ticket in (1..=bench.tickets).map(Ticket) {
            let answered = bench.joined.contains_key(&ticket) || bench.synced.contains_key(&ticket);
            prop_assert!(answered || abandoned.contains(&ticket), "{:?} is still waiting", ticket);
        }
    }
}
