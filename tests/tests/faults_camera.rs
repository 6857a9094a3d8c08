//! Cameras that come back as others or whose clocks are wrong, from the network to readers and results.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_bus::subscriber::{DeliveredFrame, Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_codec::DecoderConfig;
use lumenbus_frame::bitstream::NalCodec;
use lumenbus_frame::{CaptureSource, Clock as _, Dimensions, FrameId};
use lumenbus_pipeline::decode::Decoding;
use lumenbus_pipeline::subscribe::encoded;
use lumenbus_tests::cli::{Background, BrokerProcess, Ran};
use lumenbus_tests::coded::{content, h264, units_of_file};
use lumenbus_tests::load::{PATIENCE, await_that};
use lumenbus_tests::python::in_repository;
use lumenbus_tests::results::Judge;
use lumenbus_tests::rtsp::{RtspServer, ScriptedCamera};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SMALL: Dimensions = Dimensions { width: 160, height: 128 };
const LARGE: Dimensions = Dimensions { width: 320, height: 192 };
const SECOND: i64 = 1_000_000_000;

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn is_state(object: &Value, state: &str) -> bool {
    object["type"] == "camera" && object["state"] == state
}

fn wait_for_frames(reader: &Background, codec: &str, frames: usize) {
    reader.wait_for_objects(frames, |object| object["type"] == "frame" && object["codec"] == codec);
}

fn frames_of(reader: &Background, codec: &str) -> usize {
    reader.stdout_so_far().matches(&format!("\"codec\":\"{codec}\"")).count()
}

/// Everything that is in the log, up to the stream's end.
fn frames_in_the_log(brokers: &str) -> Vec<DeliveredFrame> {
    let bus = BusConfig::new(brokers);
    let mut config = SubscriberConfig::new(bus.clone(), vec![bus.topic_prefix.topic("raw_video")]);
    config.start = Start::Earliest;
    let mut reader = Subscriber::open(config).unwrap();
    let horizon = reader.horizon().unwrap();
    let (mut frames, since) = (Vec::new(), Instant::now());
    while !reader.has_reached(&horizon) {
        assert!(since.elapsed() < PATIENCE, "the log does not end");
        if let Some(Event::Frame(frame)) = reader.recv(Duration::from_millis(50)).unwrap() {
            frames.push(frame);
        }
    }
    frames
}

/// The results of one camera's frames, as sizes or errors; exactly one a frame.
fn results(brokers: &str, frames: usize) -> BTreeMap<FrameId, Result<Dimensions, String>> {
    let judge = Judge::new(brokers);
    await_that("each frame has a result", || judge.counts().len() >= frames);
    let results = judge.results();
    assert_eq!(results.len(), frames, "one each");
    let look = |result: &lumenbus_wire::AnalysisResult| match (&result.error, result.size) {
        (Some(error), _) => Err(error.clone()),
        (None, size) => Ok(size.unwrap()),
    };
    results.iter().map(|result| (result.id, look(result))).collect()
}

fn detect(broker: &BrokerProcess) -> Background {
    let worker = broker.spawn("detect --detector motion --from start --policy lossless --json");
    worker.wait_for_line("ready");
    worker
}

/// The units in the files of a folder, one a frame, in the log's order.
fn units_stored(folder: &Path, codec: NalCodec, extension: &str) -> Vec<Vec<bytes::Bytes>> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths.iter().map(|path| content(codec, &std::fs::read(path).unwrap().into())).collect()
}

/// H.264, then H.265 at its place, then H.264 of another size: readers and workers of the first stay for the last.
#[test]
fn another_codec_behind_an_outage_is_a_new_epoch_and_readers_stay() {
    let folder = TempDir::new().unwrap();
    let first = file(&folder, "first.264", &h264(SMALL, 20));
    let last = file(&folder, "last.264", &h264(LARGE, 20));
    let other = in_repository("crates/source/tests/data/h265_open_gop.h265");
    let Some(server) = RtspServer::start(&first, &["--fps", "25"]) else { return };
    let broker = BrokerProcess::start();
    let camera = broker.spawn(&format!("publish {} --camera gate --json", server.url("")));
    camera.wait_for_objects(1, |object| is_state(object, "live"));
    let out = folder.path().join("out");
    let reader = broker.spawn(&format!("subscribe --from start --json --as coded --out {}", out.display()));
    let worker = detect(&broker);
    wait_for_frames(&reader, "h264", 25);
    let absent = server.kill();
    reader.wait_for_objects(1, |object| object["type"] == "offline");
    let server = absent.start_with([other.to_str().unwrap(), "--codec", "h265", "--fps", "25"]);
    wait_for_frames(&reader, "h265", 15);
    let before = frames_of(&reader, "h264");
    let absent = server.kill();
    reader.wait_for_objects(2, |object| object["type"] == "offline");
    let _server = absent.start_with([last.to_str().unwrap(), "--fps", "25"]);
    wait_for_frames(&reader, "h264", before + 25);
    let _ = camera.interrupt().code(3);
    reader.wait_for_objects(3, |object| object["type"] == "end");
    let read = reader.interrupt().code(3);
    let stream = &read.summary()["streams"][0];
    assert_eq!((&stream["unexplained"], &stream["missing"]), (&0.into(), &serde_json::json!({ "source-lost": 2 })));

    let frames = read.objects("frame");
    let mut epochs: Vec<(&str, &str, usize)> = Vec::new();
    for frame in &frames {
        let (epoch, codec) = (frame["epoch"].as_str().unwrap(), frame["codec"].as_str().unwrap());
        if epochs.last().is_none_or(|(last, ..)| *last != epoch) {
            assert!(frame["keyframe"] == true && frame["seq"] == 0, "{frame}");
            epochs.push((epoch, codec, 0));
        }
        let (_, of, count) = epochs.last_mut().unwrap();
        assert_eq!(*of, codec, "one codec an epoch");
        *count += 1;
    }
    let codecs: Vec<_> = epochs.iter().map(|(_, codec, _)| *codec).collect();
    assert_eq!(codecs, ["h264", "h265", "h264"]);
    assert_eq!(epochs.iter().map(|(epoch, ..)| epoch).collect::<BTreeSet<_>>().len(), 3);

    // Unit by unit what the camera sent.
    let found = units_stored(&out.join("gate"), NalCodec::H264, "h264");
    let (ours, rest) = found.split_at(before);
    for (units, file) in [(ours, &first), (rest, &last)] {
        let of_file = units_of_file(file, NalCodec::H264);
        assert!(units.iter().all(|unit| of_file.contains(unit)), "{}", file.display());
    }
    let of_file = units_of_file(&other, NalCodec::H265);
    let found = units_stored(&out.join("gate"), NalCodec::H265, "h265");
    assert!(found.len() >= 15 && found.iter().all(|unit| of_file.contains(unit)));

    // Results on both sides; where the worker has no decoder it says so, and goes on.
    let results = results(broker.address(), frames.len());
    let of = |epoch: &str| {
        let epoch: u64 = epoch.parse().unwrap();
        results.iter().filter(move |(id, _)| id.epoch.0 == epoch).map(|(_, result)| result)
    };
    assert!(of(epochs[0].0).all(|result| *result == Ok(SMALL)), "{results:?}");
    let told = of(epochs[1].0).find_map(|result| result.as_ref().err());
    assert!(told.is_none_or(|error| error.contains("h265")), "{told:?}");
    assert!(of(epochs[2].0).all(|result| *result == Ok(LARGE)), "{results:?}");
    drop(worker.interrupt());
}

/// The camera is set to another size while it sends: no outage, no new epoch; keyframes say what follows.
#[test]
fn a_size_that_changes_in_mid_stream_is_followed() {
    let folder = TempDir::new().unwrap();
    let both = file(&folder, "both.264", &[h264(SMALL, 10), h264(LARGE, 10)].concat());
    let Some(server) = RtspServer::start(&both, &["--fps", "25"]) else { return };
    let broker = BrokerProcess::start();
    let camera = broker.spawn(&format!("publish {} --camera gate --json", server.url("")));
    camera.wait_for_objects(1, |object| is_state(object, "live"));
    let reader = broker.spawn("subscribe --from start --json");
    let worker = detect(&broker);
    wait_for_frames(&reader, "h264", 50);
    let _ = camera.interrupt().code(0);
    reader.wait_for_objects(1, |object| object["type"] == "end");
    let _ = reader.interrupt().code(0);

    let frames = frames_in_the_log(broker.address());
    let (mut decoding, mut pictures) = (Decoding::new(DecoderConfig::default()), Vec::new());
    let mut announced = Vec::new();
    for frame in &frames {
        if let Some(parameters) = &frame.header.parameters
            && announced.last() != Some(&parameters.dimensions)
        {
            assert!(frame.header.is_keyframe);
            announced.push(parameters.dimensions);
        }
        decoding.push(frame.id(), &encoded(frame), &mut pictures).unwrap();
    }
    decoding.finish(&mut pictures);
    assert!(announced.len() >= 4 && announced.iter().all(|size| [SMALL, LARGE].contains(size)), "{announced:?}");
    let sizes: BTreeMap<_, _> = pictures.iter().map(|decoded| (decoded.id, Ok(decoded.picture.dimensions()))).collect();
    assert_eq!(sizes.len(), frames.len(), "each frame is a picture");
    assert_eq!(results(broker.address(), frames.len()), sizes);
    let _ = worker.interrupt().code(0);
}

/// By so many seconds a scripted camera's clock is off in one stage after the other: right, an hour behind and ahead, right,
/// ten minutes ahead and behind, and at last so little behind that it may be true.
const STAGES: [i64; 7] = [0, -3_600, 3_600, 0, 600, -600, -5];
const PICTURES: usize = 6;

/// Of `subscribe --json`: what was asked for, not the way there.
fn turns(ran: &Ran) -> Vec<u64> {
    let frames = ran.objects("frame");
    frames.iter().filter(|frame| frame["role"] != "preroll").map(|frame| frame["seq"].as_u64().unwrap()).collect()
}

/// What cannot be true is replaced by arrival, so that no time in the log is off by it; a step that may be true is a
/// jump; and either side of it is found again.
#[test]
fn a_camera_clock_that_is_wrong_or_steps_poisons_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = BrokerProcess::start();
    let _ = broker.run("topics apply").code(0);
    let address = listener.local_addr().unwrap();
    let publisher = broker.spawn(&format!("publish rtsp://{address}/cam --camera gate --json"));
    let mut camera = ScriptedCamera::play(listener.accept().unwrap().0);
    // A report counts from the second packet on.
    camera.picture().unwrap();
    publisher.wait_for_objects(1, |object| is_state(object, "live"));
    let reader = broker.spawn("subscribe --from start --json");
    for off in STAGES {
        camera.report_at(SystemClock.unix_nanos() + off * SECOND).unwrap();
        for _ in 0..PICTURES {
            camera.picture().unwrap();
        }
    }
    wait_for_frames(&reader, "h265", 1 + STAGES.len() * PICTURES);
    let _ = publisher.interrupt().code(0);
    reader.wait_for_objects(1, |object| object["type"] == "end");
    let _ = reader.interrupt().code(0);

    let frames = frames_in_the_log(broker.address());
    assert!(
        frames.iter().map(|frame| frame.id().seq.0).eq(0..=(STAGES.len() * PICTURES) as u64),
        "each once, in order"
    );
    let first = frames[0].header.capture;
    assert_eq!(first.source, CaptureSource::Arrival, "nothing was reported yet");
    let mut last = first.unix_nanos;
    for (frame, off) in frames[1..].iter().zip(STAGES.into_iter().flat_map(|off| [off; PICTURES])) {
        let capture = frame.header.capture;
        let is_believed = off.abs() < 10;
        assert_eq!(capture.source == CaptureSource::Rtcp, is_believed, "{off} s off: {capture:?}");
        let is_step = off == STAGES[6] && frame.header.is_discontinuity;
        assert_eq!(capture.unix_nanos < last, is_step, "{off} s off: {} after {last}", capture.unix_nanos);
        // The broker's time, which no camera touches; a minute is far less than what the clock was off by.
        let age = frame.append_unix_millis.unwrap() * 1_000_000 - capture.unix_nanos;
        assert!(age.abs() < 60 * SECOND, "{off} s off: {age} ns old when it was written");
        last = capture.unix_nanos;
    }
    let jumps: Vec<_> =
        frames.iter().filter(|frame| frame.header.is_discontinuity).map(|frame| frame.id().seq.0).collect();
    assert!(jumps.contains(&(1 + 6 * PICTURES as u64)), "the one step that may be true: {jumps:?}");
    // A picture that took more than a second to arrive is one as well where its time is taken instead of the camera's.
    assert!(jumps.iter().all(|seq| seq % PICTURES as u64 == 1), "nowhere but where the clock was set: {jumps:?}");

    // Either side of the step.
    for side in [&frames[1 + 4 * PICTURES..=6 * PICTURES], &frames[1 + 6 * PICTURES..]] {
        let millis = |frame: &DeliveredFrame| frame.header.capture.unix_nanos.div_euclid(1_000_000);
        let (from, to) = (millis(&side[0]), millis(&side[PICTURES - 1]) + 1);
        let moment = |millis| jiff::Timestamp::from_millisecond(millis).unwrap();
        let line = format!("subscribe --camera gate --from {} --to {} --json", moment(from), moment(to));
        let is_meant =
            |frame: &&DeliveredFrame| (from * 1_000_000..=to * 1_000_000).contains(&frame.header.capture.unix_nanos);
        let expected: Vec<_> = frames.iter().filter(is_meant).map(|frame| frame.id().seq.0).collect();
        assert!(expected.len() >= PICTURES, "{expected:?}");
        assert_eq!(turns(&broker.run(&line).code(0)), expected, "{line}");
    }
}
