//! Long GOPs with keyframes on request, and scenes at rest: what a fixed camera's publisher leaves out, and readers get.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus::pipeline::Shutdown;
use lumenbus::pipeline::publish::{Feed, FeedConfig, FeedReport};
use lumenbus::pipeline::video::VideoOptions;
use lumenbus_bus::control::ControlSender;
use lumenbus_bus::publisher::{Publisher, PublisherConfig, StreamHandle, StreamOptions};
use lumenbus_bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_codec::EncoderConfig;
use lumenbus_frame::{
    CaptureTime, Codec, Deadline, Dimensions, Epoch, FrameId, PixelFormat, RawFrame, StreamId, StreamParameters,
};
use lumenbus_source::{Source, SourceError, SourceItem};
use lumenbus_tests::cli::BrokerProcess;
use lumenbus_tests::embedded::EmbeddedProcess;
use lumenbus_tests::load::await_that;
use rustix::process::Signal;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

/// Reads on, and asks for a keyframe where `sender` is there, until one comes that is not its epoch's first frame.
fn keyframe(subscriber: &mut Subscriber, sender: &ControlSender, gate: &StreamId, after: Option<Epoch>) -> FrameId {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "no keyframe came");
        if let Some(Event::Frame(frame)) = subscriber.recv(Duration::from_millis(100)).unwrap() {
            let is_new = after.is_none_or(|epoch| frame.id().epoch > epoch);
            if is_new && frame.header.is_keyframe && frame.id().seq.0 > 0 {
                return frame.id();
            }
            if is_new {
                sender.request_keyframe(gate);
            }
        }
    }
}

#[test]
fn a_reader_asks_a_publisher_for_a_keyframe_also_after_it_was_killed() {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let publish = "publish test:320x240@30 --camera gate --gop 1h";
    let publisher = broker.spawn(publish);
    broker.run("subscribe --from start --frames 3").code(0);
    let bus = BusConfig::new(broker.address());
    let gate = StreamId::main("gate".parse().unwrap(), "raw_video".parse().unwrap());
    let sender = ControlSender::open(&bus, "a test").unwrap();
    let mut config = SubscriberConfig::new(bus, vec!["raw_video".parse().unwrap()]);
    config.start = Start::Live;
    let mut subscriber = Subscriber::open(config).unwrap();
    let first = keyframe(&mut subscriber, &sender, &gate, None);
    publisher.signal(Signal::KILL);
    drop(publisher.finish());
    let publisher = broker.spawn(publish);
    keyframe(&mut subscriber, &sender, &gate, Some(first.epoch));
    publisher.interrupt().code(0);
}

#[test]
fn who_wants_no_requests_gives_no_keyframe() {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let publisher = broker.spawn("publish test:320x240@30 --camera gate --gop 1h --keyframe-requests off");
    let publisher_that_answers = broker.spawn("publish test:320x240@30 --camera yard --gop 1h");
    let bus = BusConfig::new(broker.address());
    let [gate, yard] =
        ["gate", "yard"].map(|camera| StreamId::main(camera.parse().unwrap(), "raw_video".parse().unwrap()));
    let sender = ControlSender::open(&bus, "a test").unwrap();
    let mut config = SubscriberConfig::new(bus, vec!["raw_video".parse().unwrap()]);
    config.start = Start::Earliest;
    let mut subscriber = Subscriber::open(config).unwrap();
    let (began, mut frames_of_gate, mut is_answered) = (Instant::now(), 0, false);
    // Asked first each time, in the same partition: what the other was asked for later is there, and this is not.
    while !is_answered || frames_of_gate < 60 {
        assert!(began.elapsed() < PATIENCE, "{frames_of_gate} frames, answered: {is_answered}");
        sender.request_keyframe(&gate);
        sender.request_keyframe(&yard);
        let Some(Event::Frame(frame)) = subscriber.recv(Duration::from_millis(100)).unwrap() else { continue };
        let is_asked_for = frame.header.is_keyframe && frame.id().seq.0 > 0;
        if *frame.stream == gate {
            frames_of_gate += 1;
            assert!(!is_asked_for, "{frame:?}");
        } else {
            is_answered |= is_asked_for;
        }
    }
    publisher.interrupt().code(0);
    publisher_that_answers.interrupt().code(0);
}

/// Forty pictures of a wall, ten a second, at which for one picture something small is.
fn wall(path: &Path) {
    let (width, height) = (320_usize, 240_usize);
    let mut file = format!("YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n").into_bytes();
    for number in 0..40 {
        let mut picture: Vec<u8> =
            (0..width * height * 3 / 2).map(|at| 60 + u8::try_from(at * 7 % 90).unwrap()).collect();
        if number == 25 {
            for at in [0, 1, width, width + 1] {
                picture[100 * width + 77 + at] = 250;
            }
        }
        file.extend_from_slice(b"FRAME\n");
        file.extend_from_slice(&picture);
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_scene_at_rest_is_not_sent_again_and_a_small_object_is() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    let path = folder.path().join("wall.y4m");
    wall(&path);
    for (camera, options, sent) in [
        ("every", "", 40),
        ("fixed", "--fixed-camera", 6),
        ("all", "--fixed-camera --idle-skip off --denoise", 40),
        ("some", "--idle-skip on --gop 5", 9),
    ] {
        let publish = format!("publish {} --camera {camera} --unpaced --json {options}", path.display());
        let summary = broker.run(&publish).code(0).summary();
        let told = (&summary["published"], &summary["acknowledged"], &summary["repeated"]);
        assert_eq!(told, (&json!(40), &json!(sent), &json!(40 - sent)), "{camera}");
        let read = broker.run(&format!("subscribe --from start --until-end --json --camera {camera}")).code(0);
        let stream = &read.summary()["streams"][0];
        assert_eq!((&stream["frames"], &stream["unexplained"]), (&json!(sent), &json!(0)), "{camera}");
        let seqs: Vec<_> = read.objects("frame").iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
        if camera == "fixed" {
            assert_eq!(seqs, [0, 10, 20, 25, 26, 36], "once a second, and where something comes or goes");
        }
        // Each at its own time.
        let pts: Vec<_> = read.objects("frame").iter().map(|frame| frame["pts"].as_u64().unwrap()).collect();
        let is_in_time = |at: usize| (pts[at] - pts[0]) * seqs[1] == (pts[1] - pts[0]) * seqs[at];
        assert!((0..pts.len()).all(is_in_time), "{camera}: {pts:?} {seqs:?}");
    }
}

#[test]
fn what_cannot_be_chosen_is_wrong_usage_and_what_has_no_effect_is_told() {
    let broker = BrokerProcess::start();
    for wrong in ["--gop 0", "--gop 0s", "--slices 3", "--temporal-layers 0", "--idle-skip maybe", "--rate-control abr"]
    {
        broker.run(&format!("publish test:320x240@30,frames=2 --camera gate --unpaced {wrong}")).code(2);
    }
    let folder = TempDir::new().unwrap();
    broker
        .run("publish test:320x240@30,frames=8 --camera gate --unpaced --gop 4 --temporal-layers 2 --slices 2")
        .code(0);
    let out = folder.path().join("gate.h264");
    broker.run(&format!("subscribe --from start --until-end --camera gate --out {}", out.display())).code(0);
    let again = format!("publish {} --camera again --unpaced --fixed-camera", out.display());
    broker.run(&again).code(0).says("passes through").says("--fixed-camera would count");
    let pixels = "publish test:320x240@30,frames=2 --camera gate --unpaced";
    broker
        .run(&format!("{pixels} --codec jpeg --fixed-camera --denoise"))
        .code(2)
        .says("--fixed-camera, --denoise would do nothing with jpeg");
    broker.run(&format!("{pixels} --codec raw --idle-skip on")).code(2).says("--idle-skip would do nothing with raw");
    broker
        .run(&format!("{pixels} --rate-control library --slices 2 --temporal-layers 2"))
        .code(2)
        .says("--temporal-layers, --slices would do nothing");
    broker
        .run(&format!("publish {} --camera again --encoder openh264", out.display()))
        .code(2)
        .says("--encoder openh264: nothing is encoded")
        .says("--codec h264");
}

const SIZE: (u32, u32) = (160, 96);

/// A camera in front of a wall as bright as the test says, picture by picture.
struct Wall {
    shades: Receiver<u8>,
    parameters: Arc<StreamParameters>,
}

impl Source for Wall {
    fn name(&self) -> &str {
        "a wall"
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        let Ok(shade) = self.shades.recv() else { return Ok(None) };
        let pixels: Vec<u8> =
            (0..SIZE.0 * SIZE.1 * 3 / 2).map(|at| shade + u8::try_from(at * 7 % 90).unwrap()).collect();
        let size = Dimensions::new(SIZE.0, SIZE.1);
        let frame = RawFrame::new(PixelFormat::I420, size, pixels.into(), CaptureTime::arrival(0)).unwrap();
        Ok(Some(SourceItem::Raw { frame, media_time: Duration::ZERO, is_discontinuity: false }))
    }
}

/// Feeds what `shades` gives until it is closed.
fn feed(stream: &StreamHandle, shades: Receiver<u8>, frames: &Sender<u64>) -> FeedReport {
    let config = FeedConfig {
        encoder: Some(EncoderConfig::new(Codec::H264)),
        video: VideoOptions { is_fixed_camera: true, ..VideoOptions::default() },
        deadline: Some(Deadline { after_capture_millis: 4_000 }),
        ..FeedConfig::default()
    };
    let parameters = Arc::new(StreamParameters::new(Codec::Raw, Dimensions::new(SIZE.0, SIZE.1)));
    let feed = Feed::new(stream, Codec::Raw, config, Arc::new(SystemClock)).unwrap();
    let told = |report: &FeedReport| frames.send(report.frames).unwrap();
    feed.run(&mut Wall { shades, parameters }, &Shutdown::default(), |_| {}, told).unwrap()
}

#[test]
fn a_picture_that_was_lost_while_the_scene_rests_is_not_repeated_but_sent_again() {
    let mut broker = EmbeddedProcess::new();
    let bus = BusConfig::new(broker.bootstrap());
    let mut config = PublisherConfig::new(bus.clone());
    // One frame at a time is on its way; the others wait here.
    config.stream_window_bytes = 1;
    let publisher = Publisher::open(config).unwrap();
    let gate = StreamId::main("gate".parse().unwrap(), "raw_video".parse().unwrap());
    let stream = publisher.stream(gate, StreamOptions::new(Codec::H264)).unwrap();
    let ((shades, given), (frames, fed)) = (channel(), channel());
    let report = std::thread::scope(|scope| {
        let feeding = scope.spawn(|| feed(&stream, given, &frames));
        let show = |shade: u8| {
            shades.send(shade).unwrap();
            fed.recv_timeout(PATIENCE).unwrap();
        };
        show(20);
        assert!(stream.flush(PATIENCE));
        broker.kill();
        // The first of them is with the Kafka client, which keeps it until there is a broker.
        show(60);
        show(100);
        // A lane tells nobody that a frame expired.
        await_that("a frame expires", || stream.stats().dropped_frames() > 0);
        broker.start();
        assert!(stream.flush(PATIENCE), "{:?}", stream.stats());
        show(100);
        assert!(stream.flush(PATIENCE));
        show(100);
        drop(shades);
        feeding.join().unwrap()
    });
    assert_eq!((report.frames, report.repeated), (5, 1), "only what is there is repeated");
    let summary = stream.finish(PATIENCE).unwrap();
    assert!(summary.is_end_written, "{summary:?}");
    let mut config = SubscriberConfig::new(bus, vec!["raw_video".parse().unwrap()]);
    config.start = Start::Earliest;
    let mut subscriber = Subscriber::open(config).unwrap();
    let (began, mut keyframes, mut repeats) = (Instant::now(), Vec::new(), Vec::new());
    loop {
        assert!(began.elapsed() < PATIENCE, "no end: {keyframes:?} {repeats:?}");
        match subscriber.recv(Duration::from_millis(100)).unwrap() {
            Some(Event::Frame(frame)) if frame.header.is_keyframe => keyframes.push(frame.id().seq.0),
            Some(Event::Repeat { range, .. }) => repeats.push((range.first.0, range.last.0)),
            Some(Event::End { .. }) => break,
            _ => {}
        }
    }
    assert_eq!((keyframes, repeats), (vec![0, 3], vec![(4, 4)]));
}
