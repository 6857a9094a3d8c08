//! Tracking: things keep their numbers, and numbers their things.

use lumenbus_frame::{CaptureTime, Epoch, FrameId, Seq};
use lumenbus_vision::track::{TrackConfig, TrackState, Tracked, Tracker};
use lumenbus_vision::{Bounds, Detection};
use lumenbus_wire::MAX_DETECTIONS;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Ten pictures a second.
const NANOS: i64 = 100_000_000;

fn found(class: &str, bounds: Bounds) -> Detection {
    Detection { class: class.into(), score: 0.9, bounds }
}

fn update(tracker: &mut Tracker, seq: u64, boxes: &[Bounds]) -> Vec<Tracked> {
    let id = FrameId { epoch: Epoch(7), seq: Seq(seq) };
    let capture = CaptureTime::sensor(i64::try_from(seq).unwrap() * NANOS);
    tracker.update(id, capture, boxes.iter().map(|bounds| found("motion", *bounds)).collect())
}

fn ids(tracked: &[Tracked]) -> Vec<u64> {
    tracked.iter().map(|tracked| tracked.track_id).collect()
}

fn tracker() -> Tracker {
    Tracker::new(TrackConfig::default())
}

#[test]
fn a_track_is_confirmed_by_its_third_picture_and_ends_after_a_second() {
    let mut tracker = tracker();
    let bounds = Bounds::new(50.0, 50.0, 20.0, 40.0);
    let states: Vec<_> = (0..4).map(|seq| update(&mut tracker, seq, &[bounds])[0].state).collect();
    use TrackState::{Confirmed, Tentative};
    assert_eq!(states, [Tentative, Tentative, Confirmed, Confirmed]);
    // Nine pictures without it are no end, eleven are.
    assert!((4..13).all(|seq| update(&mut tracker, seq, &[]).is_empty()));
    let again = update(&mut tracker, 13, &[bounds]);
    assert_eq!((again[0].track_id, again[0].state), (0, Confirmed));
    (14..25).for_each(|seq| drop(update(&mut tracker, seq, &[])));
    assert_eq!(tracker.open_tracks(), 0);
    assert_ne!(update(&mut tracker, 25, &[bounds])[0].track_id, 0);
}

#[test]
fn two_who_pass_each_other_keep_their_numbers() {
    let mut tracker = tracker();
    let (mut first, mut second) = (BTreeSet::new(), BTreeSet::new());
    for seq in 0..40_u16 {
        let step = f32::from(seq) * 5.0;
        let boxes = [Bounds::new(step, 50.0, 20.0, 60.0), Bounds::new(200.0 - step, 62.0, 22.0, 60.0)];
        let tracked = update(&mut tracker, seq.into(), &boxes);
        first.insert(tracked[0].track_id);
        second.insert(tracked[1].track_id);
    }
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
}

#[test]
fn a_fast_one_is_followed_at_two_pictures_a_second() {
    let mut tracker = tracker();
    for seq in 0..10_u16 {
        let bounds = Bounds::new(f32::from(seq) * 30.0, 50.0, 24.0, 60.0);
        let id = FrameId { epoch: Epoch(7), seq: Seq(seq.into()) };
        let capture = CaptureTime::sensor(i64::from(seq) * 5 * NANOS);
        let tracked = tracker.update(id, capture, vec![found("motion", bounds)]);
        assert_eq!(tracked[0].track_id, 0, "picture {seq}");
    }
}

#[test]
fn classes_are_not_mixed_and_a_new_epoch_begins_anew() {
    let mut tracker = tracker();
    let bounds = Bounds::new(50.0, 50.0, 20.0, 40.0);
    let at = |epoch, seq| FrameId { epoch: Epoch(epoch), seq: Seq(seq) };
    let both = || vec![found("person", bounds), found("dog", bounds)];
    for seq in 0..5 {
        let tracked = tracker.update(at(1, seq), CaptureTime::sensor(0), both());
        assert_eq!(ids(&tracked), [0, 1]);
    }
    let tracked = tracker.update(at(2, 9), CaptureTime::sensor(0), both());
    assert!(tracked.iter().all(|tracked| tracked.state == TrackState::Tentative));
}

#[test]
fn numbers_of_another_worker_in_the_same_epoch_are_others() {
    let bounds = [Bounds::new(50.0, 50.0, 20.0, 40.0), Bounds::new(150.0, 50.0, 20.0, 40.0)];
    let mut seen = BTreeSet::new();
    for first in [0, 5, 10] {
        let mut tracker = tracker();
        let all: BTreeSet<u64> = (first..first + 5).flat_map(|seq| ids(&update(&mut tracker, seq, &bounds))).collect();
        assert_eq!(all.len(), 2);
        assert!(all.is_disjoint(&seen));
        seen.extend(all);
    }
}

#[test]
fn tracks_are_bounded_whatever_is_found() {
    let mut tracker = tracker();
    for seq in 0..12_u16 {
        let boxes: Vec<_> = (0..1_200_u16)
            .map(|at| {
                Bounds::new(f32::from(at % 40) * 50.0, f32::from(at / 40) * 50.0 + f32::from(seq) * 2_000.0, 9.0, 9.0)
            })
            .collect();
        assert_eq!(update(&mut tracker, seq.into(), &boxes).len(), MAX_DETECTIONS);
        assert!(tracker.open_tracks() <= MAX_DETECTIONS);
    }
    // Numbers that are none are somebody else's mistake, and no reason to stop.
    let wrong = Bounds::new(f32::NAN, f32::INFINITY, -1.0, f32::NAN);
    (12..16).for_each(|seq| assert_eq!(update(&mut tracker, seq, &[wrong, wrong]).len(), 2));
}

/// Walkers in lanes of their own: where they begin, how fast they are, and the pictures in which they are missed.
fn walkers() -> impl Strategy<Value = Vec<(f32, f32, u64)>> {
    prop::collection::vec((0.0..600.0_f32, -8.0..8.0_f32, any::<u64>()), 1..6)
}

proptest! {
    #[test]
    fn walkers_keep_their_numbers_through_noise_and_misses(walkers in walkers(), noise in prop::array::uniform32(-2.0..2.0_f32)) {
        let mut tracker = tracker();
        let mut numbers: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
        for seq in 0..60_usize {
            let mut boxes = Vec::new();
            for (lane, (x, speed, missed)) in walkers.iter().enumerate() {
                // Never missed in the first three pictures, nor three times in a row.
                if seq > 2 && seq % 3 != 0 && missed >> (seq % 64) & 1 == 1 {
                    continue;
                }
                let (x, y) = (x + speed * seq as f32 + noise[(seq + lane) % 32], 80.0 * lane as f32 + noise[seq % 32]);
                boxes.push((lane, Bounds::new(x, y, 30.0, 60.0)));
            }
            let bounds: Vec<_> = boxes.iter().map(|(_, bounds)| *bounds).collect();
            let tracked = update(&mut tracker, seq as u64, &bounds);
            prop_assert_eq!(tracked.iter().map(|tracked| tracked.detection.bounds).collect::<Vec<_>>(), bounds);
            for ((lane, _), tracked) in boxes.iter().zip(tracked) {
                numbers.entry(*lane).or_default().insert(tracked.track_id);
            }
        }
        let all: BTreeSet<u64> = numbers.values().flatten().copied().collect();
        prop_assert_eq!(all.len(), walkers.len(), "{:?}", numbers);
    }

    #[test]
    fn in_one_picture_no_number_occurs_twice(
        pictures in prop::collection::vec(prop::collection::vec((0.0..90.0_f32, 0.0..90.0_f32, 1.0..50.0_f32), 0..12), 1..12),
    ) {
        let mut tracker = tracker();
        for (seq, boxes) in (0..).zip(pictures) {
            let boxes: Vec<_> = boxes.into_iter().map(|(x, y, side)| Bounds::new(x, y, side, side)).collect();
            let numbers = ids(&update(&mut tracker, seq, &boxes));
            prop_assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), boxes.len());
        }
    }
}
