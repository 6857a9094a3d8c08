//! The demo's cameras: real footage in the ways that cameras and programs send it, side by side.

use crate::demo::clips::{self, Clip};
use crate::detection::DetectOptions;
use lumenbus_frame::{CameraId, TopicName};
use lumenbus_pipeline::fleet::{CameraCodec, CameraConfig, CameraSource};
use lumenbus_pipeline::video::{Gop, VideoOptions};
use lumenbus_vision::DetectorKind;
use std::time::Duration;

/// Sent as it was coded, 720p at 30 frames a second.
pub(crate) const FLOWER: &str = "flower";
/// The plaza, coded by us as H.264 while it runs.
pub(crate) const PLAZA_H264: &str = "plaza-h264";
/// The plaza once more, one JPEG per frame.
pub(crate) const PLAZA_JPEG: &str = "plaza-jpeg";
/// Of the plaza's footage.
pub(crate) const PLAZA_FPS: f64 = 10.0;
/// With it the pictures come as close to the footage as the JPEG ones do, by SSIM.
const PLAZA_BITS_PER_SECOND: u32 = 650_000;
/// Where the watched cameras send.
const VIDEO: &str = "raw_video";
/// A keyframe is where a reader that fell behind goes on.
const KEYFRAMES: Duration = Duration::from_secs(2);
/// What is looked at for what moves: the cameras that stand still, each scene once.
const WATCHED: [&str; 2] = [PLAZA, CORRIDOR];
const PLAZA: &str = "plaza";
const CORRIDOR: &str = "corridor";
const PATTERN: &str = "test:640x360@15";

/// An id that is right.
pub(crate) fn id(name: &str) -> CameraId {
    CameraId::new(name).expect("the demo's camera ids are valid")
}

fn camera(name: &str, shown: &str, group: &str, source: CameraSource, codec: CameraCodec) -> CameraConfig {
    let gop = (codec == CameraCodec::H264).then_some(Gop::Time(KEYFRAMES));
    CameraConfig {
        name: Some(shown.to_owned()),
        group: Some(group.to_owned()),
        codec,
        video: VideoOptions { gop, ..VideoOptions::default() },
        is_looped: true,
        ..CameraConfig::new(id(name), source)
    }
}

fn clip(clip: Clip) -> CameraSource {
    CameraSource::Bytes { name: clip.name.into(), bytes: clip.bytes() }
}

/// Looks for what moves, at the newest picture whenever it has looked at the last one: it takes no more than it gets.
pub(crate) fn detection() -> DetectOptions {
    DetectOptions {
        camera: WATCHED.map(str::to_owned).to_vec(),
        topic: vec![TopicName::new(VIDEO).expect("it is a topic's name")],
        ..DetectOptions::new(DetectorKind::Motion)
    }
}

/// Six of them.
pub(crate) fn cameras() -> Vec<CameraConfig> {
    let pattern = CameraSource::Spec(PATTERN.to_owned());
    let plaza = |name, shown, codec| camera(name, shown, "plaza", clip(clips::PLAZA), codec);
    vec![
        camera(FLOWER, "Flower, 720p", "garden", clip(clips::FLOWER), CameraCodec::Passthrough),
        plaza(PLAZA, "Plaza, as recorded", CameraCodec::Passthrough),
        CameraConfig {
            bitrate: Some(PLAZA_BITS_PER_SECOND),
            ..plaza(PLAZA_H264, "Plaza, H.264 made here", CameraCodec::H264)
        },
        plaza(PLAZA_JPEG, "Plaza, JPEG", CameraCodec::Jpeg),
        camera(CORRIDOR, "Corridor", "inside", clip(clips::CORRIDOR), CameraCodec::Passthrough),
        camera("pattern", "Test pattern", "test", pattern, CameraCodec::H264),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::Codec;
    use lumenbus_source::{Source as _, SourceItem, SourceOptions};

    #[test]
    fn every_clip_is_whole_and_can_be_decoded() {
        use lumenbus_codec::DecoderConfig;
        use lumenbus_frame::{Epoch, FrameId, Seq};
        use lumenbus_pipeline::decode::Decoding;
        for (footage, frames) in [(clips::FLOWER, 240_u64), (clips::PLAZA, 200), (clips::CORRIDOR, 400)] {
            let mut source = clip(footage).open(&SourceOptions::default()).unwrap();
            assert_eq!(source.codec(), Codec::H264);
            let (mut decoding, mut pictures, mut seq) = (Decoding::new(DecoderConfig::default()), Vec::new(), 0);
            while let Some(item) = source.next_frame().unwrap() {
                let SourceItem::Encoded { frame, .. } = item else { panic!("{}: {item:?}", footage.name) };
                decoding.push(FrameId { epoch: Epoch(1), seq: Seq(seq) }, &frame, &mut pictures).unwrap();
                pictures.clear();
                seq += 1;
            }
            decoding.finish(&mut pictures);
            assert_eq!((seq, decoding.counts().decoded), (frames, frames), "{}", footage.name);
        }
    }

    #[test]
    fn cameras_differ_and_their_sources_are_right() {
        let cameras = cameras();
        let ids: std::collections::BTreeSet<_> = cameras.iter().map(|camera| camera.id.clone()).collect();
        assert_eq!(ids.len(), cameras.len());
        for name in [FLOWER, PLAZA_H264, PLAZA_JPEG] {
            assert!(ids.contains(&id(name)), "{name}");
        }
        for camera in &cameras {
            camera.source.check().unwrap();
        }
    }
}
