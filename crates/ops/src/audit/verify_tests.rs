//! Every way of tampering that the verifier is to find, and none that it is not to.

use super::*;
use crate::audit::chain::seal;
use crate::audit::event::Source;
use crate::audit::{Action, Actor, AuditEvent, Checkpoint, SigningKey};
use bytes::Bytes;
use proptest::prelude::*;

/// An instance, and where its chain is.
struct Author {
    name: String,
    key: SigningKey,
    last: Option<(u64, Hash)>,
}

/// Key and value.
type Record = (Vec<u8>, Bytes);

impl Author {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), key: SigningKey::generate().unwrap(), last: None }
    }

    fn write(&mut self, object: u32) -> Record {
        let source = Source { instance: self.name.clone(), program: "test".to_owned(), host: "here".to_owned() };
        let event = AuditEvent::new(Action::Send, Actor::process("test")).detail("object", object);
        let (record, last) = seal(event.into_body(&source, i64::from(object)), self.last, &self.key).unwrap();
        self.last = Some(last);
        (self.name.clone().into_bytes(), record.encode())
    }

    fn records(&mut self, count: u32) -> Vec<Record> {
        (0..count).map(|object| self.write(object)).collect()
    }
}

fn judge(mut verifier: Verifier, log: &[Record], start: u64) -> Verdict {
    for (offset, (key, value)) in (start..).zip(log) {
        verifier.see(offset, key, value);
    }
    verifier.finish((start, start + log.len() as u64))
}

fn kinds(verdict: &Verdict) -> Vec<FindingKind> {
    verdict.findings.iter().map(|finding| finding.kind).collect()
}

#[track_caller]
fn check(log: &[Record], expected: &[FindingKind]) -> Verdict {
    let verdict = judge(Verifier::default(), log, 0);
    assert_eq!(kinds(&verdict), expected, "{:#?}", verdict.findings);
    verdict
}

/// A checkpoint of a log as it is.
fn checkpoint(verifier: Verifier, log: &[Record], start: u64, signer: &SigningKey) -> Checkpoint {
    let bounds = (start, start + log.len() as u64);
    let body = judge(verifier, log, start).checkpoint("lumenbus.audit", bounds, 7_000_000_000);
    Checkpoint::parse(&Checkpoint::to_text(&body, signer).unwrap()).unwrap()
}

fn flip(record: &mut Record, at: usize) {
    let mut value = record.1.to_vec();
    value[at] ^= 1;
    record.1 = value.into();
}

#[test]
fn chains_of_several_instances_are_clean_however_they_are_mixed() {
    let (mut a, mut b) = (Author::new("a"), Author::new("b"));
    let log: Vec<Record> = (0..20).map(|at| if at % 3 == 0 { a.write(at) } else { b.write(at) }).collect();
    let verdict = check(&log, &[]);
    let found = verdict.instances.iter().map(|one| (one.instance.as_str(), one.records, one.sequences));
    assert_eq!(found.collect::<Vec<_>>(), [("a", 7, Some((1, 7))), ("b", 13, Some((1, 13)))]);
    assert!(verdict.instances.iter().all(|one| one.trust == Some(Trust::FirstUse)));
}

#[test]
fn every_flipped_byte_is_found() {
    let log = Author::new("a").records(3);
    for victim in 0..log.len() {
        for at in 0..log[victim].1.len() {
            let mut log = log.clone();
            flip(&mut log[victim], at);
            assert!(!judge(Verifier::default(), &log, 0).is_clean(), "record {victim}, byte {at}");
        }
    }
}

#[test]
fn a_changed_record_is_told_once_and_the_rest_is_still_good() {
    let mut log = Author::new("a").records(5);
    let at = log[2].1.windows(6).position(|window| window == b"object").unwrap();
    flip(&mut log[2], at);
    let verdict = check(&log, &[FindingKind::Signature]);
    assert_eq!((verdict.findings[0].offset, verdict.findings[0].sequence), (Some(2), Some(3)));
    assert_eq!(verdict.instances[0].records, 4);
}

#[test]
fn dropped_swapped_and_repeated_records_are_found() {
    let log = Author::new("a").records(8);
    let mut dropped = log.clone();
    dropped.drain(3..5);
    let verdict = check(&dropped, &[FindingKind::Missing]);
    assert!(verdict.findings[0].what.contains("records 4 to 5"), "{:?}", verdict.findings);
    let mut swapped = log.clone();
    swapped.swap(3, 4);
    check(&swapped, &[FindingKind::OutOfOrder]);
    let mut repeated = log.clone();
    repeated.insert(6, log[2].clone());
    check(&repeated, &[FindingKind::Repeated]);
    check(&log[1..], &[FindingKind::NoKey]);
}

#[test]
fn records_that_others_put_in_are_found() {
    let (mut a, mut b) = (Author::new("a"), Author::new("b"));
    let log = a.records(4);
    let with = |record: Record| {
        let mut log = log.clone();
        log.insert(2, record);
        log
    };
    check(&with((b"a".to_vec(), Bytes::from_static(b"hello"))), &[FindingKind::NotARecord]);
    check(&with((b"a".to_vec(), b.write(0).1)), &[FindingKind::WrongKey]);
    let mut forger = Author { name: "a".to_owned(), key: SigningKey::generate().unwrap(), last: a.last };
    let forged = [log.clone(), vec![forger.write(9)]].concat();
    check(&forged, &[FindingKind::Signature]);
}

#[test]
fn a_forged_first_record_does_not_carry_the_rest() {
    let mut forged = Author::new("a").records(3);
    forged[0] = Author::new("a").write(0);
    check(&forged, &[FindingKind::Signature, FindingKind::Signature]);
}

#[test]
fn a_whole_forged_chain_is_found_by_the_keys_one_trusts() {
    let (mut a, mut forger) = (Author::new("a"), Author::new("a"));
    let (log, forged) = (a.records(3), forger.records(3));
    let trusted = || Verifier::new(&[a.key.public()]);
    let verdict = judge(trusted(), &log, 0);
    assert!(verdict.is_clean() && verdict.instances[0].trust == Some(Trust::Pinned), "{verdict:?}");
    assert_eq!(kinds(&judge(trusted(), &forged, 0)), [FindingKind::Untrusted]);
    // Without them it cannot be told, as docs/design/audit.md says.
    check(&forged, &[]);
    // The key of one instance does not speak for another.
    let mut imposter = Author { name: "b".to_owned(), key: a.key.clone(), last: None };
    let mixed = [log, vec![imposter.write(0)]].concat();
    assert_eq!(kinds(&judge(trusted(), &mixed, 0)), [FindingKind::Untrusted]);
}

#[test]
fn a_second_chain_by_the_holder_of_the_key_is_found() {
    let mut a = Author::new("a");
    let mut log = a.records(3);
    let branch = a.last;
    log.extend([a.write(3), a.write(4)]);
    a.last = branch;
    log.push(a.write(99));
    check(&log, &[FindingKind::Fork]);
    log.pop();
    a.last = None;
    log.push(a.write(99));
    check(&log, &[FindingKind::Restarted]);
}

#[test]
fn a_tail_that_was_cut_off_shows_by_a_checkpoint() {
    let (mut a, mut b, auditor) = (Author::new("a"), Author::new("b"), SigningKey::generate().unwrap());
    let log: Vec<Record> = (0..10).map(|at| if at % 2 == 0 { a.write(at) } else { b.write(at) }).collect();
    let kept = checkpoint(Verifier::default(), &log, 0, &auditor);
    let with = |log: &[Record]| {
        let mut verifier = Verifier::default();
        verifier.add_checkpoint(&kept);
        kinds(&judge(verifier, log, 0))
    };
    assert_eq!(with(&log), []);
    assert_eq!(with(&[log.clone(), vec![a.write(10)]].concat()), [], "a trail may grow");
    // One for the log's end, one for each chain that is shorter.
    assert_eq!(with(&log[..9]), [FindingKind::Tail; 2]);
    assert_eq!(with(&[]), [FindingKind::Tail; 3]);
    // The holder of the key writes its end anew: the hash is another.
    let mut rewritten = log.clone();
    a.last = Some((4, record_hash(&SealedRecord::decode(&log[6].1).unwrap().body)));
    rewritten[8] = a.write(77);
    assert_eq!(with(&rewritten), [FindingKind::Rewritten]);
    check(&rewritten, &[]);
}

#[test]
fn a_beginning_that_retention_took_needs_a_checkpoint() {
    let (mut a, auditor) = (Author::new("a"), SigningKey::generate().unwrap());
    let log = a.records(10);
    let pinned = || Verifier::new(&[a.key.public(), auditor.public()]);
    let with = |kept: &Checkpoint, start| {
        let mut verifier = pinned();
        verifier.add_checkpoint(kept);
        kinds(&judge(verifier, &log[4..], start))
    };
    assert_eq!(kinds(&judge(pinned(), &log[4..], 4)), [FindingKind::Beginning]);
    let before = checkpoint(pinned(), &log[..4], 0, &auditor);
    assert_eq!(with(&before, 4), []);
    // Nothing went from the log's beginning, so these records went otherwise.
    assert!(with(&before, 0).contains(&FindingKind::Beginning));
    // It had seen record 6 at an offset that is still there, which says nothing of 1 to 4.
    assert_eq!(with(&checkpoint(pinned(), &log[..6], 0, &auditor), 4), [FindingKind::Beginning]);
    // One that was made after the deletion vouches for the beginning that it had found.
    assert_eq!(with(&checkpoint(pinned(), &log[4..], 4, &auditor), 4), []);
}

#[test]
fn a_checkpoint_of_a_stranger_does_not_count() {
    let (mut a, stranger) = (Author::new("a"), SigningKey::generate().unwrap());
    let log = a.records(3);
    let mut verifier = Verifier::new(&[a.key.public()]);
    verifier.add_checkpoint(&checkpoint(Verifier::default(), &log, 0, &stranger));
    assert_eq!(kinds(&judge(verifier, &log, 0)), [FindingKind::Checkpoint]);
}

#[test]
fn numbers_at_the_end_of_their_range_break_nothing() {
    let mut a = Author::new("a");
    let mut log = a.records(1);
    a.last = Some((u64::MAX - 1, [9; 32]));
    log.push(a.write(1));
    a.last = Some((4, [9; 32]));
    log.push(a.write(2));
    check(&log, &[FindingKind::OutOfOrder, FindingKind::Missing, FindingKind::Missing]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_removal_or_exchange_inside_a_log_is_found(
        count in 3_u32..20, first in 0_usize..20, second in 0_usize..20, is_exchange in any::<bool>(),
    ) {
        let log = Author::new("a").records(count);
        let (first, second) = (first % log.len(), second % log.len());
        let mut changed = log.clone();
        if is_exchange { changed.swap(first, second) } else { drop(changed.remove(first)) }
        // What is removed at the end shows only by a checkpoint.
        let is_tail = !is_exchange && first == log.len() - 1;
        prop_assert_eq!(judge(Verifier::default(), &changed, 0).is_clean(), changed == log || is_tail);
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(log in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..8), proptest::collection::vec(any::<u8>(), 0..200)), 0..10,
    )) {
        let log: Vec<Record> = log.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
        prop_assert_eq!(judge(Verifier::default(), &log, 0).finding_count, log.len() as u64);
    }
}
