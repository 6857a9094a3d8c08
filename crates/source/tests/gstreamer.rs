//! Pipelines of GStreamer as sources: what every source must do, and what only these can get wrong.

#![cfg_attr(
    not(feature = "gstreamer"),
    allow(unused, clippy::allow_attributes, reason = "most of it needs the feature")
)]

mod support;

use lumenbus_source::{SourceError, open};
use support::options;

fn refusal(spec: &str) -> String {
    open(spec, &options()).err().unwrap_or_else(|| panic!("{spec} was opened")).to_string()
}

#[test]
fn a_pipeline_must_end_in_an_appsink() {
    for spec in ["gst:", "gst:videotestsrc ! fakesink", "gst:videotestsrc user-pw=hunter2"] {
        let message = refusal(spec);
        assert!(message.contains("must end in ! appsink") && !message.contains("hunter2"), "{message}");
    }
}

#[cfg(not(feature = "gstreamer"))]
#[test]
fn a_build_without_gstreamer_says_which_build_can() {
    let message = refusal("gst:rtspsrc location=rtsp://me:hunter2@cam/1 user-pw=hunter2 ! appsink");
    assert!(message.contains("cannot read pipelines of GStreamer"), "{message}");
    assert!(message.contains("--features gstreamer") && !message.contains("hunter2"), "{message}");
}

#[cfg(feature = "gstreamer")]
mod with_gstreamer {
    use super::support::{data, shared_clip};
    use super::*;
    use lumenbus_frame::bitstream::nal_units;
    use lumenbus_frame::{
        CaptureSource, Clock, Codec, Dimensions, EncodedFrame, FrameRate, PixelFormat, RawFrame, Timebase,
    };
    use lumenbus_source::{CameraFault, Interrupt, Source, SourceItem, SourceOptions, SystemClock};
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    /// For what must happen some time, on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(90);

    /// `O_NONBLOCK`: to open a pipe for writing that nobody reads fails at once.
    const NONBLOCK: i32 = 0o4000;

    /// A small live camera without parameters of its own in the caps.
    const LIVE: &str = "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=25/1 ! \
         openh264enc gop-size=5 ! h264parse ! appsink";

    fn start(pipeline: &str) -> Box<dyn Source> {
        open(&format!("gst:{pipeline}"), &SourceOptions::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Everything up to the end, or to the error that ends it.
    fn read(source: &mut dyn Source) -> (Vec<SourceItem>, Option<SourceError>) {
        let mut items = Vec::new();
        loop {
            match source.next_frame() {
                Ok(Some(SourceItem::Nothing)) => {}
                Ok(Some(item)) => items.push(item),
                Ok(None) => return (items, None),
                Err(error) => return (items, Some(error)),
            }
        }
    }

    fn all(pipeline: &str) -> Vec<SourceItem> {
        let mut source = start(pipeline);
        let (items, error) = read(source.as_mut());
        assert!(error.is_none(), "{error:?}");
        assert!(source.next_frame().expect("nothing is wrong").is_none(), "the end stays the end");
        let times: Vec<_> = items.iter().filter_map(SourceItem::media_time).collect();
        assert!(times.is_sorted(), "media time never decreases: {times:?}");
        items
    }

    fn coded(items: Vec<SourceItem>) -> Vec<EncodedFrame> {
        let frame = |item| match item {
            SourceItem::Encoded { frame, .. } => frame,
            other => panic!("not coded: {other:?}"),
        };
        items.into_iter().map(frame).collect()
    }

    fn raw(items: Vec<SourceItem>) -> Vec<(RawFrame, bool)> {
        let frame = |item| match item {
            SourceItem::Raw { frame, is_discontinuity, .. } => (frame, is_discontinuity),
            other => panic!("not raw: {other:?}"),
        };
        items.into_iter().map(frame).collect()
    }

    fn own(path: &Path) -> (Vec<EncodedFrame>, Timebase) {
        let mut source = open(path.to_str().expect("a plain path"), &options()).expect("it opens");
        let (items, error) = read(source.as_mut());
        assert!(error.is_none(), "{error:?}");
        (coded(items), source.parameters().timebase)
    }

    fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_live_camera_gives_frames_with_the_times_of_its_clock() {
        let before = SystemClock::default().unix_nanos();
        let mut source = start(LIVE);
        assert!(source.is_live() && source.codec() == Codec::H264);
        assert_eq!(source.parameters().dimensions, Dimensions::new(160, 120));
        assert_eq!(source.nominal_rate(), Some(FrameRate::per_second(25)));
        let mut frames = Vec::new();
        while frames.len() < 12 {
            match source.next_frame().unwrap().unwrap() {
                SourceItem::Encoded { frame, .. } => frames.push(frame),
                SourceItem::Nothing | SourceItem::Damaged { error: SourceError::Overrun { .. }, .. } => {}
                other => panic!("{other:?}"),
            }
        }
        let after = SystemClock::default().unix_nanos();
        assert!(frames[0].is_keyframe && frames[0].parameters.is_some() && !frames[0].is_discontinuity);
        assert!(frames.iter().any(|frame| !frame.is_keyframe));
        let pts: Vec<_> = frames.iter().map(|frame| frame.pts.unwrap()).collect();
        assert!(pts.is_sorted_by(|a, b| (b - a) % 3600 == 0 && b > a), "{pts:?}");
        for pair in frames.windows(2) {
            let (first, second) = (&pair[0], &pair[1]);
            assert!((before..after).contains(&first.capture.unix_nanos));
            if first.capture.source == CaptureSource::Sensor && second.capture.source == CaptureSource::Sensor {
                assert!(first.capture.unix_nanos < second.capture.unix_nanos);
            }
        }
        assert!(frames.iter().any(|frame| frame.capture.source == CaptureSource::Sensor));
    }

    #[test]
    fn pixels_are_those_that_another_writer_gets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pattern.y4m");
        let camera =
            "videotestsrc num-buffers=3 pattern=circular ! video/x-raw,format=I420,width=48,height=32,framerate=10/1";
        let writing = format!("-q {camera} ! y4menc ! filesink location={}", path.display());
        assert!(Command::new("gst-launch-1.0").args(writing.split(' ')).status().unwrap().success());
        let pixels = |items| raw(items).into_iter().map(|(frame, _)| frame.pixels().clone()).collect::<Vec<_>>();
        let theirs = pixels(read(open(path.to_str().unwrap(), &options()).unwrap().as_mut()).0);
        let ours = all(&format!("{camera} ! appsink"));
        let times: Vec<_> = ours.iter().map(|item| item.media_time().unwrap().as_millis()).collect();
        assert_eq!(times, [0, 100, 200]);
        assert!(theirs.len() == 3 && pixels(ours) == theirs);
        // Odd sizes have padding in each row.
        let of = |format: &str| {
            let camera = "videotestsrc num-buffers=1 pattern=solid-color foreground-color=0xff405060";
            raw(all(&format!("{camera} ! video/x-raw,format={format},width=35,height=17 ! appsink")))
        };
        let planes = of("I420")[0].0.pixels().clone();
        let (luma, chroma) = planes.split_at(35 * 17);
        for plane in [luma, &chroma[..18 * 9], &chroma[18 * 9..]] {
            assert!(plane[0] != 0 && plane.iter().all(|value| *value == plane[0]));
        }
        let rgb = of("RGB");
        assert_eq!(rgb[0].0.format(), PixelFormat::Rgb8);
        assert!(rgb[0].0.pixels().chunks(3).all(|pixel| pixel == [0x40, 0x50, 0x60]));
        let gray = of("GRAY16_LE");
        assert_eq!((gray[0].0.format(), gray[0].0.pixels().len()), (PixelFormat::Gray16Le, 35 * 17 * 2));
        let first = &gray[0].0.pixels()[..2];
        assert!(first != [0, 0] && gray[0].0.pixels().chunks(2).all(|pixel| pixel == first));
    }

    #[test]
    fn jpeg_comes_as_files() {
        let frames = coded(all("videotestsrc num-buffers=2 ! video/x-raw,width=64,height=48 ! jpegenc ! appsink"));
        assert_eq!(frames.len(), 2);
        for frame in &frames {
            assert!(frame.is_keyframe && frame.parameters.as_ref().unwrap().dimensions == Dimensions::new(64, 48));
            let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(&frame.payload[..]));
            assert!(decoder.decode().is_ok());
        }
    }

    fn nals(frame: &EncodedFrame) -> Vec<&[u8]> {
        nal_units(&frame.payload).collect()
    }

    fn same_units(path: &Path, elements: &str) {
        // GStreamer's parser writes the start codes of byte streams anew, with four bytes each.
        let length_of_start_codes_is_free = !elements.contains("demux");
        let (expected, timebase) = own(path);
        let got = coded(all(&format!("filesrc location={} ! {elements} ! appsink", path.display())));
        assert_eq!(got.len(), expected.len(), "{elements}");
        for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let sizes = (got.payload.len(), expected.payload.len());
            let is_same =
                got.payload == expected.payload || (length_of_start_codes_is_free && nals(got) == nals(expected));
            assert!(is_same, "{elements}, access unit {at}, bytes {sizes:?}");
            assert_eq!((got.codec, got.is_keyframe), (expected.codec, expected.is_keyframe), "access unit {at}");
            assert_eq!(got.is_discardable, expected.is_discardable, "access unit {at}");
            assert_eq!(got.parameters.is_some(), expected.parameters.is_some(), "access unit {at}");
        }
        if elements.contains("demux") {
            let relative = |frames: &[EncodedFrame], timebase: Timebase| {
                let first = timebase.nanos(frames[0].pts.expect("it has a pts"));
                frames.iter().map(|frame| timebase.nanos(frame.pts.expect("it has a pts")) - first).collect::<Vec<_>>()
            };
            let differ = relative(&got, Timebase::MPEG).into_iter().zip(relative(&expected, timebase));
            // Both are rounded to their clock.
            assert!(differ.clone().all(|(a, b)| (a - b).abs() < 25_000), "{:?}", differ.collect::<Vec<_>>());
        }
    }

    #[test]
    fn real_footage_is_what_our_own_reader_gives() {
        let plaza = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/clips/plaza.mp4");
        for elements in ["qtdemux ! h264parse", "qtdemux", "qtdemux ! h264parse ! video/x-h264,stream-format=avc"] {
            same_units(&plaza, elements);
        }
        same_units(&data("h265_open_gop.mp4"), "qtdemux ! h265parse");
        same_units(&data("h265_open_gop.h265"), "h265parse");
        for clip in ["street1080.264", "flower720.264"] {
            if let Some(path) = shared_clip(clip) {
                same_units(&path, "h264parse");
            }
        }
    }

    #[test]
    fn what_is_not_read_is_refused_with_what_is() {
        let nal = "videotestsrc num-buffers=1 ! openh264enc ! h264parse ! video/x-h264,alignment=nal ! appsink";
        for (pipeline, given) in [
            ("videotestsrc num-buffers=1 ! video/x-raw,format=NV12 ! appsink", "format=NV12"),
            ("videotestsrc num-buffers=1 ! appsink caps=video/x-raw,format=NV12", "format=NV12"),
            ("audiotestsrc num-buffers=1 ! appsink", "audio/x-raw"),
            (nal, "alignment=nal"),
        ] {
            let message = refusal(&format!("gst:{pipeline}"));
            assert!(message.contains(given) && message.contains("videoconvert"), "{pipeline}: {message}");
        }
    }

    #[test]
    fn what_is_no_pipeline_is_refused_and_why() {
        for (pipeline, why) in [
            ("videotestsrc ! nosuchelement ! appsink", "install the plug-in of GStreamer that has nosuchelement"),
            ("videotestsrc name=appsink ! fakesink", "it has no appsink"),
            ("videotestsrc ! tee name=t ! queue ! appsink t. ! queue ! appsink", "it has 2 appsinks"),
            ("appsink", "an element alone is no pipeline"),
            ("videotestsrc ! ! appsink", "GStreamer cannot make a pipeline of it"),
            ("filesrc location=/no/such/file ! h264parse ! appsink", "says: Resource not found. No such file"),
            ("videotestsrc num-buffers=0 ! appsink", "it has ended without a frame"),
        ] {
            let message = refusal(&format!("gst:{pipeline}"));
            assert!(message.contains(why), "{pipeline}: {message}");
        }
    }

    #[test]
    fn passwords_are_in_no_message() {
        let missing = "gst:rtspsrc location=rtsp://me:hunter%402@127.0.0.1:1/x user-pw=\"hunter@2\" ! nosuch ! appsink";
        let refused = "gst:rtspsrc location=rtsp://me:hunter%402@127.0.0.1:1/x ! rtph264depay ! h264parse ! appsink";
        for spec in [missing, refused] {
            let message = refusal(spec);
            assert!(!message.contains("hunter") && message.contains("rtsp://***@127.0.0.1:1/x"), "{message}");
        }
    }

    #[test]
    fn other_caps_in_mid_stream_are_other_parameters_behind_a_jump() {
        let concat = |first: &str, second: &str, end: &str| format!("concat name=c ! {end} {first} ! c. {second} ! c.");
        let pixels = |width| {
            format!("videotestsrc num-buffers=3 ! video/x-raw,format=I420,width={width},height=48,framerate=10/1")
        };
        let mut source = start(&concat(&pixels(64), &pixels(80), "appsink"));
        let (items, error) = read(source.as_mut());
        assert!(error.is_none(), "{error:?}");
        let frames = raw(items);
        let seen: Vec<_> = frames.iter().map(|(frame, jump)| (frame.dimensions().width, *jump)).collect();
        assert_eq!(seen, [(64, false), (64, false), (64, false), (80, true), (80, false), (80, false)]);
        assert_eq!(source.parameters().dimensions, Dimensions::new(80, 48));

        let video = |width| format!("{} ! openh264enc", pixels(width));
        let mut source = start(&concat(&video(64), &video(80), "h264parse ! appsink"));
        let (items, error) = read(source.as_mut());
        assert!(error.is_none(), "{error:?}");
        let frames = coded(items);
        let width = |frame: &EncodedFrame| frame.parameters.as_ref().map(|parameters| parameters.dimensions.width);
        assert_eq!((frames.len(), width(&frames[0]), width(&frames[3])), (6, Some(64), Some(80)));
        let jumps: Vec<_> = frames.iter().map(|frame| frame.is_discontinuity).collect();
        assert_eq!(jumps, [false, false, false, true, false, false]);

        let mut source = start(&concat(&pixels(64), &format!("{} ! jpegenc", pixels(64)), "appsink"));
        let (items, error) = read(source.as_mut());
        assert_eq!(items.len(), 3);
        let message = error.expect("another codec is another source").to_string();
        assert!(message.contains("changed from raw to jpeg"), "{message}");
    }

    /// Tells how often it was asked: once a frame.
    #[derive(Default)]
    struct CountingClock(SystemClock, AtomicU64);

    impl Clock for CountingClock {
        fn unix_nanos(&self) -> i64 {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.unix_nanos()
        }

        fn monotonic_nanos(&self) -> u64 {
            self.0.monotonic_nanos()
        }
    }

    #[test]
    fn a_live_camera_that_is_not_read_loses_frames_and_they_are_counted() {
        let clock = Arc::new(CountingClock::default());
        let options = SourceOptions { clock: clock.clone(), ..SourceOptions::default() };
        let camera = "gst:videotestsrc is-live=true num-buffers=30 pattern=black ! \
             video/x-raw,format=I420,width=1920,height=1080,framerate=100/1 ! appsink";
        let mut source = open(camera, &options).unwrap();
        await_that("the camera gives its frames", || clock.1.load(Ordering::SeqCst) == 30);
        let (items, error) = read(source.as_mut());
        assert!(error.is_none(), "{error:?}");
        let (mut given, mut lost) = (0, 0);
        for item in items {
            match item {
                SourceItem::Raw { .. } => given += 1,
                SourceItem::Damaged { error: SourceError::Overrun { frames: told, .. }, frames } => {
                    assert_eq!(Some(told), frames);
                    lost += told;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(lost > 0 && given >= 5, "{given} given, {lost} lost");
        assert_eq!(given + lost, 30);
    }

    #[test]
    fn a_pipeline_that_can_wait_loses_nothing() {
        let clock = Arc::new(CountingClock::default());
        let options = SourceOptions { clock: clock.clone(), ..SourceOptions::default() };
        let file =
            "gst:videotestsrc num-buffers=20 pattern=black ! video/x-raw,format=I420,width=1920,height=1080 ! appsink";
        let mut source = open(file, &options).unwrap();
        assert!(!source.is_live());
        let (items, error) = read(source.as_mut());
        assert!(error.is_none() && raw(items).len() == 20);
    }

    #[test]
    fn a_jump_that_the_pipeline_marks_is_told() {
        let pipeline = "videotestsrc is-live=true num-buffers=60 ! \
             video/x-raw,format=GRAY8,width=64,height=48,framerate=100/1 ! \
             queue leaky=downstream max-size-buffers=1 ! identity sleep-time=50000 ! appsink";
        let jumps: Vec<_> = raw(all(pipeline)).into_iter().map(|(_, jump)| jump).collect();
        assert!(!jumps[0] && jumps.iter().any(|&jump| jump), "{jumps:?}");
    }

    #[test]
    fn an_element_that_fails_ends_the_source_with_what_it_says() {
        let mut source =
            start("videotestsrc ! video/x-raw,format=GRAY8,width=64,height=48 ! identity error-after=5 ! appsink");
        let (items, error) = read(source.as_mut());
        assert!(!items.is_empty());
        let error = error.expect("it fails");
        let by = match &error {
            SourceError::Camera { fault: CameraFault::Element { element, .. }, .. } => element.as_str(),
            other => panic!("{other}"),
        };
        assert!(by.starts_with("identity"), "{error}");
        assert!(source.next_frame().unwrap().is_none(), "told once");
    }

    #[test]
    fn waiting_for_the_first_frame_can_be_given_up() {
        let options = SourceOptions { interrupt: Interrupt::new(|| true), ..SourceOptions::default() };
        let error = open("gst:appsrc ! appsink", &options).err().expect("nothing comes");
        assert!(matches!(error, SourceError::Camera { fault: CameraFault::Interrupted, .. }), "{error}");
    }

    #[test]
    fn an_element_that_does_not_let_go_costs_one_thread_and_not_the_caller() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let spec = format!("gst:filesrc location={} ! h264parse ! appsink", pipe.display());
        let interrupt = Interrupt::new(|| true);
        let options = SourceOptions { interrupt, ..SourceOptions::default() };
        let failing = || match open(&spec, &options).err() {
            Some(SourceError::Camera { fault, .. }) => fault,
            other => panic!("{other:?}"),
        };
        // Nobody writes: opening the file waits for ever.
        assert!(matches!(failing(), CameraFault::Interrupted));
        assert!(matches!(failing(), CameraFault::NotStopped), "no second thread for the same pipeline");
        // A writer that goes lets it go; the element may open the file more than once.
        await_that("the first run stops", || {
            drop(std::fs::OpenOptions::new().write(true).custom_flags(NONBLOCK).open(&pipe));
            !matches!(failing(), CameraFault::NotStopped)
        });
    }
}
