//! The lane against a naive twin that keeps every frame's fate.

use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Codec, Deadline, EncodedFrame, Seq};
use lumenbus_lanes::{Admission, Lane, LedgerMark};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Step {
    Push {
        bytes: usize,
        keyframe: bool,
        discardable: bool,
        deadline_millis: Option<u32>,
    },
    Pop,
    Fail,
    Acknowledge,
    Wait {
        millis: u64,
    },
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
            Step::Push {
                bytes,
                keyframe,
                discardable,
                deadline_millis,
            } => {
                let mut frame = EncodedFrame::new(
                    Codec::H264,
                    CaptureTime::arrival(0),
                    Bytes::from(vec![0; bytes]),
                );
                frame.is_keyframe = keyframe;
                frame.is_discardable = discardable;
                frame.deadline = deadline_millis.map(|after_capture_millis| Deadline {
                    after_capture_millis,
                });
                let (Admission::Queued(seq) | Admission::Dropped(seq, _)) = lane.push(frame, now);
                assert_eq!(
                    seq.0, submitted,
                    "numbers are given before any drop decision"
                );
                submitted += 1;
            }
            Step::Pop => {
                if let Some(entry) = lane.pop(now) {
                    assert!(entry.expires_nanos.is_none_or(|at| at >= now));
                    let gaps = lane.gaps_before(entry.seq).copied().collect();
                    let (keyframe, discardable) =
                        (entry.frame.is_keyframe, entry.frame.is_discardable);
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
