//! How good `motion` with the tracker is, against labels made by eye (`tests/labels`).

use crate::footage::{clip, for_each_picture};
use lumenbus_frame::{Epoch, FrameId, Seq};
use lumenbus_vision::evaluate::{BoxScore, Labels, presence_intervals, score_presence, shows_somebody};
use lumenbus_vision::track::{TrackConfig, TrackState, Tracker};
use lumenbus_vision::{Bounds, DetectorKind};

/// Boxes match at this intersection over union.
const IOU: f32 = 0.3;
/// A little below what was reached when this was written: 0.976 and 0.823. The same pictures give the same figures.
const LEAST_PRECISION: f64 = 0.95;
const LEAST_RECALL: f64 = 0.80;

fn labels(clip: &str) -> Labels {
    let path = format!("{}/../../tests/labels/{clip}.json", env!("CARGO_MANIFEST_DIR"));
    Labels::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The confirmed boxes of each picture of a clip.
fn for_each_result(path: &std::path::Path, count: usize, mut look: impl FnMut(u64, &[Bounds])) {
    let mut detector = DetectorKind::Motion.open().unwrap();
    let mut tracker = Tracker::new(TrackConfig::default());
    for_each_picture(path, count, |index, picture| {
        let id = FrameId { epoch: Epoch(1), seq: Seq(index as u64) };
        let tracked = tracker.update(id, picture.capture, detector.detect(picture).unwrap());
        let confirmed = tracked.iter().filter(|tracked| tracked.state == TrackState::Confirmed);
        look(id.seq.0, &confirmed.map(|tracked| tracked.detection.bounds).collect::<Vec<_>>());
    });
}

#[test]
fn people_in_a_yard_are_found_as_well_as_they_were() {
    let Some(path) = clip("vtest_768x576.mp4") else {
        return;
    };
    let labels = labels("vtest_768x576");
    let mut score = BoxScore::new(IOU);
    let count = labels.frames.last().unwrap().seq + 1;
    for_each_result(&path, usize::try_from(count).unwrap(), |seq, found| {
        if let Some(frame) = labels.frame(seq) {
            score.add(&frame.boxes, found);
        }
    });
    let (precision, recall, moving) = (score.precision(), score.recall(), score.moving_recall());
    assert_eq!(score.pictures, 63);
    let is_as_good = precision >= LEAST_PRECISION && recall >= LEAST_RECALL && moving >= LEAST_RECALL;
    assert!(is_as_good, "precision {precision:.3}, recall {recall:.3}, of those who move {moving:.3}: {score:?}");
}

#[test]
fn who_enters_and_leaves_a_room_is_seen_within_a_second() {
    let Some(path) = clip("indoor_onebyone_768x432.mp4") else {
        return;
    };
    let labels = labels("indoor_onebyone_768x432");
    let second = u64::from(labels.frames_per_second);
    let mut seen = Vec::new();
    for_each_result(&path, 1_380, |seq, found| {
        if shows_somebody(found, labels.width, labels.height) {
            seen.push(seq);
        }
    });
    let found = presence_intervals(&seen, second);
    let score = score_presence(&labels.presence, &found, second);
    assert!(score.right.len() == 12 && score.missed.is_empty() && score.wrong.is_empty(), "{score:?} of {found:?}");
}
