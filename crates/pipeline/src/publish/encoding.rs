//! Pixels → coded frames of a stream: encoder, what comes before it, and keyframes on request.

use crate::video::VideoOptions;
use lumenbus_codec::scene::{Denoiser, RestMeter};
use lumenbus_codec::{CodecError, Encoder, EncoderConfig, encoder, has_h264_assembly};
use lumenbus_frame::{Codec, EncodedFrame, RawFrame};
use std::fs::File;
use std::sync::Once;
use std::thread;
use std::time::Duration;

/// A scene at rest sends a picture after this all the same.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coded {
    /// Frames may have come of it.
    Sent,
    /// It repeats the last one, and was not coded.
    Repeat,
}

/// The way of one stream's pictures through filter, idle skip and encoder.
pub(super) struct Encoding {
    encoder: Box<dyn Encoder>,
    denoiser: Option<Denoiser>,
    rest: Option<RestMeter>,
    /// Of a GOP, and since the newest keyframe, those left out counted.
    gop: u32,
    since_keyframe: u32,
}

impl Encoding {
    pub(super) fn new(config: &EncoderConfig, options: &VideoOptions) -> Result<Self, CodecError> {
        let pictures = |time: Duration| crate::video::Gop::Time(time).pictures(config.frame_rate);
        // Stills and raw pixels stand alone; none of them is left out.
        let is_video = !config.codec.is_intra_only();
        if config.codec == Codec::H264 {
            tell_of_missing_assembly();
        }
        // The picture after those left out comes in time.
        let most = pictures(LONGEST_REST) - 1;
        Ok(Self {
            encoder: encoder(config)?,
            denoiser: (is_video && options.denoise).then(Denoiser::default),
            rest: (is_video && options.skips_idle()).then(|| RestMeter::new(most)),
            gop: pictures(config.keyframe_interval),
            since_keyframe: 0,
        })
    }

    /// The next picture is a keyframe, and sent.
    pub(super) fn force_keyframe(&mut self) {
        self.encoder.force_keyframe();
        self.send_next();
    }

    /// The next picture is sent, whatever it shows: readers may not have the last one.
    pub(super) fn send_next(&mut self) {
        if let Some(rest) = &mut self.rest {
            rest.forget();
        }
    }

    /// Codes a picture, unless it repeats the last one.
    pub(super) fn encode(&mut self, picture: &RawFrame, out: &mut Vec<EncodedFrame>) -> Result<Coded, CodecError> {
        let filtered = self.denoiser.as_mut().map(|denoiser| denoiser.filter(picture));
        let picture = filtered.as_ref().unwrap_or(picture);
        if let Some(rest) = &mut self.rest {
            // The encoder counts only what it is given.
            if self.since_keyframe >= self.gop {
                self.encoder.force_keyframe();
                rest.forget();
            }
            if rest.is_repeat(picture) {
                self.since_keyframe += 1;
                return Ok(Coded::Repeat);
            }
        }
        self.encoder.encode(picture, out)?;
        for frame in out.iter() {
            self.since_keyframe = if frame.is_keyframe { 1 } else { self.since_keyframe.saturating_add(1) };
        }
        Ok(Coded::Sent)
    }
}

/// Once a process, when it first encodes H.264. The program's file is read on a thread of its own: frames do not wait for
/// it. An unoptimised build is slow in any case, and its file is large.
fn tell_of_missing_assembly() {
    static ONCE: Once = Once::new();
    if cfg!(debug_assertions) {
        return;
    }
    let look = || {
        let found = std::env::current_exe().and_then(File::open).and_then(has_h264_assembly);
        if let Ok(Some(false)) = found {
            tracing::warn!(
                "this program was built without nasm: H.264 encoding takes 2.7 times the processor time; `lumenbus doctor` \
                 says how to build it with"
            );
        }
    };
    ONCE.call_once(|| drop(thread::Builder::new().name("h264-assembly".to_owned()).spawn(look)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoding;
    use crate::video::Gop;
    use lumenbus_codec::DecoderConfig;
    use lumenbus_frame::{CaptureTime, Dimensions, Epoch, FrameId, FrameRate, PixelFormat, Seq};
    use lumenbus_source::SourceItem;

    const SIZE: Dimensions = Dimensions { width: 64, height: 48 };

    fn wall(number: i64, luma: u8) -> RawFrame {
        let pixels = vec![luma; PixelFormat::I420.frame_bytes(SIZE).unwrap()];
        let mut picture = RawFrame::new(PixelFormat::I420, SIZE, pixels.into(), CaptureTime::arrival(number)).unwrap();
        picture.pts = Some(number);
        picture
    }

    fn encoding(options: VideoOptions) -> Encoding {
        let mut config = EncoderConfig::new(Codec::H264);
        config.frame_rate = FrameRate::per_second(10);
        options.apply(&mut config);
        Encoding::new(&config, &options).unwrap()
    }

    /// The numbers of the pictures that were sent, and of those that are keyframes.
    fn run(encoding: &mut Encoding, pictures: impl Iterator<Item = RawFrame>) -> (Vec<i64>, Vec<i64>) {
        let (mut sent, mut keyframes, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for picture in pictures {
            let coded = encoding.encode(&picture, &mut out).unwrap();
            assert_eq!(coded == Coded::Sent, out.len() == 1);
            for frame in out.drain(..) {
                sent.push(frame.pts.unwrap());
                assert_eq!(Some(frame.capture.unix_nanos), frame.pts);
                keyframes.extend(frame.pts.filter(|_| frame.is_keyframe));
            }
        }
        (sent, keyframes)
    }

    #[test]
    fn a_scene_at_rest_is_sent_once_a_second_with_its_own_times_and_keyframes() {
        let options = VideoOptions {
            idle_skip: Some(true),
            gop: Some(Gop::Time(Duration::from_secs(2))),
            scene_cuts: false,
            ..VideoOptions::default()
        };
        let mut encoding = encoding(options);
        let (sent, keyframes) = run(&mut encoding, (0..45).map(|number| wall(number, 90)));
        assert_eq!(sent, [0, 10, 20, 30, 40]);
        assert_eq!(keyframes, [0, 20, 40]);
        encoding.force_keyframe();
        let (sent, keyframes) =
            run(&mut encoding, (45..50).map(|number| wall(number, if number < 48 { 90 } else { 120 })));
        assert_eq!((sent, keyframes), (vec![45, 48], vec![45]));
    }

    #[test]
    fn without_idle_skip_every_picture_is_sent() {
        let (sent, keyframes) = run(&mut encoding(VideoOptions::default()), (0..25).map(|number| wall(number, 90)));
        assert_eq!((sent.len(), keyframes), (25, vec![0, 20]));
    }

    #[test]
    fn stills_are_never_left_out() {
        let options = VideoOptions { is_fixed_camera: true, denoise: true, ..VideoOptions::default() };
        let mut encoding = Encoding::new(&EncoderConfig::new(Codec::Jpeg), &options).unwrap();
        let (sent, _) = run(&mut encoding, (0..3).map(|number| wall(number, 90)));
        assert_eq!(sent, [0, 1, 2]);
    }

    /// The first pictures of a clip that is always there.
    fn clip(name: &str, count: usize) -> Vec<RawFrame> {
        let path = format!("{}/../../fixtures/clips/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut source = lumenbus_source::open(&path, &lumenbus_source::SourceOptions::default()).unwrap();
        let mut decoding = Decoding::new(DecoderConfig::default());
        let (mut decoded, mut seq) = (Vec::new(), 0);
        while decoded.len() < count {
            if let Some(SourceItem::Encoded { frame, .. }) = source.next_frame().unwrap() {
                decoding.push(FrameId { epoch: Epoch(0), seq: Seq(seq) }, &frame, &mut decoded).unwrap();
                seq += 1;
            }
        }
        decoded.into_iter().map(|frame| frame.picture).collect()
    }

    /// Nine pixels, as much brighter or darker as there is room.
    fn with_object(picture: &RawFrame, left: usize, top: usize) -> RawFrame {
        let width = picture.dimensions().width as usize;
        let mut pixels = picture.pixels().to_vec();
        for at in (0..9).map(|at| (top + at / 3) * width + left + at % 3) {
            pixels[at] = if pixels[at] < 128 { pixels[at] + 40 } else { pixels[at] - 40 };
        }
        RawFrame::new(picture.format(), picture.dimensions(), pixels.into(), picture.capture).unwrap()
    }

    #[test]
    fn on_real_footage_an_object_of_nine_pixels_is_never_left_out() {
        for name in ["corridor.mp4", "plaza.mp4"] {
            let pictures = clip(name, 12);
            let size = pictures[0].dimensions();
            let (width, height) = (size.width as usize, size.height as usize);
            for (number, pair) in pictures.windows(2).enumerate() {
                let (left, top) = ((number * 97 + 5) % (width - 3), (number * 71 + 3) % (height - 3));
                for (before, after) in [(&pair[0], &pair[0]), (&pair[0], &pair[1])] {
                    let mut rest = RestMeter::new(100);
                    assert!(!rest.is_repeat(before));
                    assert!(!rest.is_repeat(&with_object(after, left, top)), "{name} {number} at {left}, {top}");
                }
            }
            let mut rest = RestMeter::new(100);
            assert!(!rest.is_repeat(&pictures[0]) && rest.is_repeat(&pictures[0].clone()), "{name} at rest");
        }
    }
}
