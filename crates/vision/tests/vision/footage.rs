//! Real footage: people who cross a yard.

use lumenbus_codec::DecoderConfig;
use lumenbus_frame::{CaptureTime, Epoch, FrameId, RawFrame, Seq};
use lumenbus_pipeline::decode::Decoding;
use lumenbus_source::{SourceItem, SourceOptions};
use lumenbus_vision::{Bounds, Detection, DetectorKind};
use std::path::PathBuf;

/// The clip's path; says so loudly when it is missing.
pub(crate) fn clip(name: &str) -> Option<PathBuf> {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var("LUMENBUS_DATA").unwrap_or_else(|_| shared.to_owned());
    let path = PathBuf::from(data).join("video").join(name);
    if !path.is_file() {
        assert!(std::env::var_os("LUMENBUS_REQUIRE_ALL").is_none(), "{} is absent", path.display());
        eprintln!("SKIPPED: {} is absent; set LUMENBUS_DATA to the folder with the shared data", path.display());
        return None;
    }
    Some(path)
}

/// The first pictures of a clip at ten a second, in the order in which they are shown.
pub(crate) fn for_each_picture(path: &std::path::Path, count: usize, mut look: impl FnMut(usize, &RawFrame)) {
    let mut source = lumenbus_source::open(path.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut decoding = Decoding::new(DecoderConfig::default());
    let (mut seq, mut shown, mut pictures) = (0, 0, Vec::new());
    while shown < count
        && let Some(item) = source.next_frame().unwrap()
    {
        let SourceItem::Encoded { frame, .. } = item else { panic!("{item:?}") };
        decoding.push(FrameId { epoch: Epoch(1), seq: Seq(seq) }, &frame, &mut pictures).unwrap();
        seq += 1;
        for decoded in pictures.drain(..) {
            let mut picture = decoded.picture;
            picture.capture = CaptureTime::sensor(i64::try_from(shown).unwrap() * 100_000_000);
            look(shown, &picture);
            shown += 1;
        }
    }
    assert!(shown >= count, "{shown} pictures");
}

#[test]
fn people_in_a_yard_are_found() {
    let Some(path) = clip("vtest_768x576.mp4") else {
        return;
    };
    // Looked up by eye in picture 250: two together, and five alone.
    let people = [
        Bounds::new(632.0, 122.0, 46.0, 66.0),
        Bounds::new(596.0, 254.0, 46.0, 102.0),
        Bounds::new(374.0, 230.0, 52.0, 100.0),
        Bounds::new(542.0, 190.0, 38.0, 78.0),
        Bounds::new(192.0, 152.0, 36.0, 76.0),
        Bounds::new(40.0, 178.0, 24.0, 66.0),
    ];
    let mut detector = DetectorKind::Motion.open().unwrap();
    let (mut most, mut boxes) = (0, 0);
    for_each_picture(&path, 300, |index, picture| {
        let found: Vec<Detection> = detector.detect(picture).unwrap();
        (most, boxes) = (most.max(found.len()), boxes + found.len());
        if index == 250 {
            for person in people {
                let best = found.iter().map(|found| found.bounds.iou(&person)).fold(0.0, f32::max);
                assert!(best > 0.5, "{person:?} in {found:?}");
            }
        }
    });
    // Some six people are in the yard all the time; a picture full of boxes would be leaves and noise.
    assert!(most <= 12 && boxes > 900, "at most {most}, {boxes} in all");
}
