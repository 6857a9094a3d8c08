//! The lane against a naive twin that keeps every frame's fate.

use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Codec, Deadline, EncodedFrame, Seq};
use lumenbus_lanes::{Admission, Lane, LedgerMark, Need};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Step {
    Push { bytes: usize, keyframe: bool, discardable: bool, deadline_millis: Option<u32> },
    Pop,
    Fail,
    Acknowledge,
    Wait { millis: u64 },
    Lose(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_000_usize, prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::option::weighted(0.3, 1..50_u32))
            .prop_map(|(bytes, keyframe, discardable, deadline_millis)| Step::Push {
                bytes, keyframe, discardable: discardable && !keyframe, deadline_millis
            }),
        4 => Just(Step::Pop),
        1 => Just(Step::Fail),
        2 => Just(Step::Acknowledge),
        2 => (1..40_u64).prop_map(|millis| Step::Wait { millis }),
        1 => (0..3_u64).prop_map(Step::Lose),
    ]
}

/// A record as the reader would see it.
struct Sent {
    seq: Seq,
    keyframe: bool,
    discardable: bool,
    gaps: Vec<lumenbus_frame::Gap>,
    mark: LedgerMark,
    failed: bool,
    acknowledged: bool,
}

const MAX_BYTES: usize = 10_000;

fn run(steps: Vec<Step>) -> (Lane, Vec<Sent>, u64) {
    let mut lane = Lane::new(MAX_BYTES);
    let (mut now, mut sent, mut submitted) = (0_u64, Vec::<Sent>::new(), 0);
    for step in steps {
        match step {
            Step::Push { bytes, keyframe, discardable, deadline_millis } => {
                let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), Bytes::from(vec![0; bytes]));
                frame.is_keyframe = keyframe;
                frame.is_discardable = discardable;
                frame.deadline = deadline_millis.map(|after_capture_millis| Deadline { after_capture_millis });
                let (Admission::Queued(seq) | Admission::Dropped(seq, _)) = lane.push(frame, now);
                assert_eq!(seq.0, submitted, "numbers are given before any drop decision");
                submitted += 1;
            }
            Step::Pop => {
                if let Some(entry) = lane.pop(now) {
                    assert!(entry.expires_nanos.is_none_or(|at| at >= now));
                    let gaps = lane.gaps_before(entry.seq).copied().collect();
                    let (keyframe, discardable) = (entry.frame.is_keyframe, entry.frame.is_discardable);
                    sent.push(Sent {
                        seq: entry.seq,
                        keyframe,
                        discardable,
                        gaps,
                        mark: lane.mark(),
                        failed: false,
                        acknowledged: false,
                    });
                }
            }
            Step::Fail => {
                let unresolved = |record: &&mut Sent| !record.failed && !record.acknowledged;
                if let Some(last) = sent.iter_mut().rfind(unresolved) {
                    last.failed = true;
                    lane.delivery_failed(last.seq, last.discardable);
                }
            }
            Step::Acknowledge => {
                let unresolved = |record: &&mut Sent| !record.failed && !record.acknowledged;
                if let Some(last) = sent.iter_mut().find(unresolved) {
                    last.acknowledged = true;
                    lane.acknowledged(last.seq, last.mark);
                }
            }
            Step::Wait { millis } => now += millis * 1_000_000,
            Step::Lose(count) => {
                lane.lose(count, lumenbus_frame::GapReason::SourceLost);
                submitted += count;
            }
        }
        assert!(lane.bytes() <= MAX_BYTES);
    }
    (lane, sent, submitted)
}

proptest! {
    #[test]
    fn every_frame_is_sent_or_explained_exactly_once(steps in prop::collection::vec(step(), 0..300)) {
        let (mut lane, mut sent, submitted) = run(steps);
        while let Some(entry) = lane.pop(0) {
            let gaps = lane.gaps_before(entry.seq).copied().collect();
            let (keyframe, discardable) = (entry.frame.is_keyframe, entry.frame.is_discardable);
            sent.push(Sent { seq: entry.seq, keyframe, discardable, gaps, mark: lane.mark(), failed: false, acknowledged: false });
        }
        let mut fate = BTreeMap::<u64, usize>::new();
        for record in sent.iter().filter(|record| !record.failed) {
            *fate.entry(record.seq.0).or_default() += 1;
        }
        prop_assert!(sent.windows(2).all(|pair| pair[0].seq < pair[1].seq), "log order is seq order");
        // What the log knows: gaps of delivered records, and those a control record at the end would carry.
        let told = sent.iter().filter(|record| !record.failed).flat_map(|record| record.gaps.clone());
        let open = lane.gaps_before(Seq(u64::MAX)).copied().collect::<Vec<_>>();
        let mut explained = std::collections::BTreeSet::new();
        for gap in told.chain(open) {
            explained.extend(gap.first.0..=gap.last.unwrap().0);
        }
        for seq in 0..submitted {
            let delivered = fate.get(&seq).copied().unwrap_or(0);
            prop_assert_eq!(delivered + usize::from(explained.contains(&seq)), 1, "seq {}", seq);
        }
        prop_assert_eq!(lane.dropped_frames(), explained.len() as u64);
    }

    #[test]
    fn what_is_sent_can_be_decoded(steps in prop::collection::vec(step(), 0..300)) {
        let (_, sent, _) = run(steps);
        let mut chain_ok = false;
        let mut previous: Option<Seq> = None;
        for record in &sent {
            let hole = previous.is_some_and(|previous| record.seq != previous.next());
            let harmless = record.gaps.iter().filter(|gap| gap.last.is_some_and(|last| last.next() == record.seq)).all(|gap| gap.is_discardable);
            if record.keyframe { chain_ok = true } else if hole && !harmless { chain_ok = false }
            prop_assert!(chain_ok || record.failed || sent.iter().any(|other| other.failed && other.seq < record.seq), "seq {} has no chain", record.seq);
            previous = Some(record.seq);
        }
    }
}

proptest! {
    #[test]
    fn a_cut_lane_loses_nothing(steps in prop::collection::vec(step(), 0..200)) {
        let (mut old, mut sent, _) = run(steps);
        // Everything on its way has been reported before a lane is cut.
        for record in sent.iter_mut().filter(|record| !record.failed && !record.acknowledged) {
            old.delivery_failed(record.seq, record.discardable);
            record.failed = true;
        }
        let (submitted, dropped) = (old.next_seq().0, old.dropped_frames());
        let waiting = old.len() as u64;
        old.drop_to_keyframe(lumenbus_frame::GapReason::DeliveryFailed);
        let mut new = old.split_off();
        prop_assert!(old.is_empty() && old.bytes() == 0);
        prop_assert_eq!(old.next_seq().0 + new.next_seq().0, submitted);
        prop_assert_eq!(old.dropped_frames() + new.len() as u64, dropped + waiting);
        prop_assert!(new.peek().is_none_or(|entry| entry.seq == Seq(0) && entry.frame.is_keyframe));
        prop_assert!(old.gaps_before(Seq(u64::MAX)).all(|gap| gap.last < Some(old.next_seq())));
        let mut next = 0;
        while let Some(entry) = new.pop(0) {
            let gaps: u64 = new.gaps_before(entry.seq).filter(|gap| gap.first.0 >= next).filter_map(lumenbus_frame::Gap::count).sum();
            prop_assert_eq!(next + gaps, entry.seq.0, "what waited is numbered without holes but its gaps");
            next = entry.seq.0 + 1;
            new.acknowledged(entry.seq, new.mark());
        }
        let rest: u64 = new.gaps_before(Seq(u64::MAX)).filter_map(lumenbus_frame::Gap::count).sum();
        prop_assert_eq!(next + rest, new.next_seq().0);
    }
}

#[test]
fn a_late_failure_does_not_cost_the_gop_after_it() {
    let mut lane = Lane::new(MAX_BYTES);
    let push = |lane: &mut Lane, keyframe| {
        let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), Bytes::from_static(b"x"));
        frame.is_keyframe = keyframe;
        lane.push(frame, 0)
    };
    for keyframe in [true, false, true] {
        push(&mut lane, keyframe);
        lane.pop(0).unwrap();
    }
    push(&mut lane, false);
    lane.delivery_failed(Seq(1), false);
    assert_eq!(lane.pop(0).map(|entry| entry.seq), Some(Seq(3)));
    assert_eq!(lane.dropped_frames(), 1);
}

#[test]
fn skipped_frames_get_numbers_and_no_gap() {
    let mut lane = Lane::new(MAX_BYTES);
    assert_eq!(lane.skip(0), None);
    let range = lane.skip(3).unwrap();
    assert_eq!((range.first, range.last, lane.next_seq()), (Seq(0), Seq(2), Seq(3)));
    assert!(!lane.has_open_gaps());
}

fn picture(keyframe: bool, discardable: bool, deadline_millis: Option<u32>) -> EncodedFrame {
    let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), Bytes::from(vec![0; 1_000]));
    (frame.is_keyframe, frame.is_discardable) = (keyframe, discardable);
    frame.deadline = deadline_millis.map(|after_capture_millis| Deadline { after_capture_millis });
    frame
}

#[test]
fn a_lane_tells_what_the_next_picture_must_be_also_long_after_the_last_one() {
    let mut lane = Lane::new(MAX_BYTES);
    assert_eq!(lane.need(), Need::Keyframe, "nothing can be built on yet");
    lane.push(picture(true, false, None), 0);
    lane.push(picture(false, false, Some(10)), 0);
    assert_eq!(lane.need(), Need::Nothing);
    lane.pop(0).unwrap();
    lane.skip(20);
    lane.expire(9_000_000);
    assert_eq!(lane.need(), Need::Nothing, "it still waits");
    lane.expire(11_000_000);
    assert_eq!(lane.need(), Need::Keyframe, "the picture that twenty frames repeat is lost");
    lane.push(picture(false, false, None), 11_000_000);
    assert_eq!(lane.need(), Need::Keyframe);
    lane.push(picture(true, false, None), 11_000_000);
    assert_eq!(lane.need(), Need::Nothing);

    lane.push(picture(false, true, Some(1)), 11_000_000);
    lane.pop(11_000_000).unwrap();
    lane.expire(20_000_000);
    assert_eq!(lane.need(), Need::Picture, "nothing builds on it, but it is not there to be repeated");
    lane.push(picture(false, false, None), 20_000_000);
    assert_eq!(lane.need(), Need::Nothing);

    let sent = lane.pop(20_000_000).unwrap();
    lane.delivery_failed(sent.seq, false);
    assert_eq!(lane.need(), Need::Keyframe, "lost on its way");
    lane.push(picture(true, false, Some(1)), 20_000_000);
    lane.push(picture(true, false, None), 20_000_000);
    lane.expire(30_000_000);
    assert_eq!(lane.need(), Need::Nothing, "only what came before the newest GOP is lost");
}
