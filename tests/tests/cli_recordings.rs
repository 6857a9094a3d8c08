//! The past: cutting, playing at any speed and backwards. FFmpeg and the MCAP library of others judge the files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../crates/pipeline/tests/support/ffmpeg.rs"]
mod ffmpeg;

use lumenbus::bus::BusConfig;
use lumenbus::bus::playback::Player;
use lumenbus::bus::subscriber::Event;
use lumenbus::frame::StreamId;
use lumenbus::pipeline::Shutdown;
use lumenbus::pipeline::subscribe::{SubscribeError, SubscribeLimits, run_backwards};
use lumenbus_tests::cli::{BrokerProcess, Ran, footage, skip};
use lumenbus_tests::python::{in_repository, mcap_python};
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Three GOPs of 30 frames; captured as fast as they were made.
fn publish(broker: &BrokerProcess, camera: &str) {
    let line = format!("publish test:320x240@30,frames=90 --camera {camera} --keyframe-interval 1s --unpaced");
    broker.run(&line).code(0);
}

/// A frame as `--json` tells of it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    seq: u64,
    capture: i64,
    is_keyframe: bool,
    is_preroll: bool,
}

fn seen(ran: &Ran) -> Vec<Seen> {
    let frame = |frame: &Value| Seen {
        seq: frame["seq"].as_u64().unwrap(),
        capture: frame["capture_unix_nanos"].as_str().unwrap().parse().unwrap(),
        is_keyframe: frame["keyframe"].as_bool().unwrap(),
        is_preroll: frame["role"] == "preroll",
    };
    ran.objects("frame").iter().map(frame).collect()
}

/// Whole milliseconds, the first at or after this moment.
fn moment(unix_nanos: i64) -> (String, i64) {
    let millis = unix_nanos.div_euclid(1_000_000) + 1;
    (jiff::Timestamp::from_millisecond(millis).unwrap().to_string(), millis * 1_000_000)
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Names in a folder below, sorted.
    fn names(&self, below: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(below)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn is_here(program: &str) -> bool {
    let found = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        skip(&format!("there is no {program} on this machine"));
    }
    found.is_ok()
}

fn probe(file: &Path, entries: &str) -> String {
    ffmpeg::probed(file, entries).0
}

/// A hash per decoded picture; the end of a file may be missing.
fn pictures(file: &Path) -> Vec<String> {
    ffmpeg::decoded(file).0
}

fn duration(file: &Path) -> f64 {
    probe(file, "format=duration").trim().parse().unwrap()
}

#[test]
fn a_stretch_is_cut_at_its_capture_times_exactly() {
    let (broker, folder) = (BrokerProcess::start(), Folder::new());
    publish(&broker, "gate");
    let all = seen(&broker.run("subscribe --from start --until-end --json").code(0));
    assert_eq!(all.len(), 90);
    // Both in the middle of a GOP.
    let ((from, first), (to, last)) = (moment(all[40].capture), moment(all[70].capture));
    let inside: Vec<u64> =
        all.iter().filter(|frame| (first..=last).contains(&frame.capture)).map(|frame| frame.seq).collect();
    assert!(!inside.is_empty() && inside.len() < 60);
    let read = format!("subscribe --camera gate --from {from} --to {to} --json");

    let ran = broker.run(&format!("{read} --out {}", folder.path("pictures").display())).code(0);
    let told = seen(&ran);
    let turns: Vec<u64> = told.iter().filter(|frame| !frame.is_preroll).map(|frame| frame.seq).collect();
    assert_eq!(turns, inside);
    assert!(told[0].is_keyframe && told[0].is_preroll, "the keyframe before: {:?}", told[0]);
    let named = |seq: &u64| format!("{seq:020}.jpg");
    let names: Vec<String> =
        folder.names("pictures/gate").iter().map(|name| name.split('-').nth(1).unwrap().to_owned()).collect();
    assert_eq!(names, inside.iter().map(named).collect::<Vec<_>>());

    let y4m = folder.path("x.y4m");
    let written = broker.run(&format!("{read} --out {}", y4m.display())).code(0).summary();
    assert_eq!(written["sink"]["frames"], inside.len());
    let mp4 = folder.path("x.mp4");
    let written = broker.run(&format!("{read} --out {}", mp4.display())).code(0).summary();
    assert_eq!(written["sink"]["frames"].as_u64().unwrap(), told.len() as u64, "and what it takes to decode them");
    if is_here("ffprobe") {
        assert_eq!(probe(&mp4, "packet=flags").lines().next().unwrap().chars().next(), Some('K'));
    }
}

#[test]
fn a_camera_that_comes_back_keeps_its_absence_in_the_file() {
    let (broker, folder) = (BrokerProcess::start(), Folder::new());
    let mut ends = Vec::new();
    for _ in 0..2 {
        publish(&broker, "gate");
        ends.push(seen(&broker.run("subscribe --from start --until-end --json").code(0)).len());
    }
    assert_eq!(ends, [90, 180]);
    let all = seen(&broker.run("subscribe --from start --until-end --json").code(0));
    let mp4 = folder.path("x.mp4");
    let line = format!("subscribe --from start --until-end --json --out {}", mp4.display());
    let written = broker.run(&line).code(0).summary();
    assert_eq!((&written["sink"]["frames"], &written["sink"]["files"]), (&180.into(), &1.into()));
    if is_here("ffprobe") {
        // Three seconds by their own count, the time between them by the clock.
        let away = Duration::from_nanos(u64::try_from(all[90].capture - all[89].capture).unwrap()).as_secs_f64();
        let whole = duration(&mp4);
        assert!((whole - (89.0 / 30.0 + away + 3.0)).abs() < 0.2, "{whole} with {away} away");
        assert_eq!(pictures(&mp4).len(), 180);
    }
}

#[test]
fn footage_with_pictures_out_of_order_is_shown_as_it_was() {
    let Some(clip) = footage("flower720.264") else { return };
    if !is_here("ffmpeg") {
        return;
    }
    let (broker, folder) = (BrokerProcess::start(), Folder::new());
    broker.run(&format!("publish {} --camera flower --unpaced", clip.display())).code(0);
    let mp4 = folder.path("x.mp4");
    broker.run(&format!("subscribe --from start --until-end --out {}", mp4.display())).code(0);
    assert_eq!(pictures(&mp4), pictures(&clip));
    let whole = duration(&mp4);
    assert!((whole - 10.0).abs() < 0.3, "300 pictures at 30 a second: {whole}");
}

#[test]
fn a_recording_that_is_killed_can_be_played() {
    let (broker, folder) = (BrokerProcess::start(), Folder::new());
    broker.run("topics apply").code(0);
    let publisher = broker.spawn("publish test:320x240@30 --camera gate --keyframe-interval 1s");
    let mp4 = folder.path("x.mp4");
    let reader = broker.spawn(&format!("subscribe --from start --json --out {}", mp4.display()));
    reader.wait_for_lines("\"type\":\"frame\"", 100);
    reader.signal(Signal::KILL);
    drop(reader.finish());
    publisher.interrupt().code(0);
    if is_here("ffprobe") {
        let packets = probe(&mp4, "packet=pts").lines().count();
        assert!(packets >= 60, "a second may be missing, not more: {packets}");
        assert!(pictures(&mp4).len() >= 60);
    }
}

#[test]
fn backwards_gives_keyframes_the_newest_first() {
    let (broker, folder) = (BrokerProcess::start(), Folder::new());
    publish(&broker, "gate");
    publish(&broker, "door");
    let all = seen(&broker.run("subscribe --camera gate --from start --until-end --json").code(0));
    let keyframes: Vec<u64> = all.iter().filter(|frame| frame.is_keyframe).map(|frame| frame.seq).rev().collect();
    assert_eq!(keyframes, [60, 30, 0]);
    let order = |ran: &Ran| seen(ran).iter().map(|frame| frame.seq).collect::<Vec<_>>();
    let out = folder.path("newest-first");
    let ran = broker.run(&format!("subscribe --camera gate --backwards --json --out {}", out.display())).code(0);
    assert_eq!(order(&ran), keyframes);
    assert_eq!(folder.names("newest-first/gate").len(), 3);
    // From the middle of the third GOP to the middle of the first.
    let ((newest, _), (oldest, _)) = (moment(all[70].capture), moment(all[10].capture));
    let ran = broker.run(&format!("subscribe --camera gate --from {newest} --to {oldest} --json")).code(0);
    assert_eq!(order(&ran), [60, 30]);
    let both = broker.run("subscribe --backwards --frames 5 --json").code(0);
    assert_eq!(order(&both), [60, 30, 0, 60, 30], "stream after stream, in the order of their names");
    let mjpeg = folder.path("x.mjpeg");
    broker.run(&format!("subscribe --camera gate --backwards --out {}", mjpeg.display())).code(0);
    let bytes = std::fs::read(mjpeg).unwrap();
    assert_eq!(bytes.windows(3).filter(|bytes| *bytes == [0xFF, 0xD8, 0xFF]).count(), 3);
}

/// The broker is gone before the second keyframe is looked for.
#[test]
fn backwards_is_not_over_when_the_broker_goes_away() {
    let broker = BrokerProcess::start();
    publish(&broker, "gate");
    let bus = BusConfig::new(broker.address());
    let stream = StreamId::main("gate".parse().unwrap(), bus.topic_prefix.topic("raw_video"));
    let mut player = Player::open(&bus).unwrap();
    let (mut broker, mut frames) = (Some(broker), 0);
    let (limits, shutdown) = (SubscribeLimits::default(), Shutdown::default());
    let ended = run_backwards(&mut player, &[stream], None, &limits, &shutdown, |event, _| {
        frames += u32::from(matches!(event, Event::Frame(_)));
        drop(broker.take());
    });
    let error = ended.unwrap_err();
    assert!(matches!(&error, SubscribeError::Bus(error) if error.is_broker_trouble()), "{error}");
    assert_eq!(frames, 1);
}

#[test]
fn frames_come_no_faster_than_asked() {
    let broker = BrokerProcess::start();
    publish(&broker, "gate");
    let all = seen(&broker.run("subscribe --from start --until-end --json").code(0));
    let span = Duration::from_nanos(u64::try_from(all[89].capture - all[0].capture).unwrap());
    let since = Instant::now();
    let ran = broker.run("subscribe --from start --until-end --speed 0.25 --json").code(0);
    assert_eq!(seen(&ran).len(), 90);
    assert!(since.elapsed() >= span * 4, "{:?} for {span:?}", since.elapsed());
    broker.run("subscribe --from start --speed 99").code(2).says("0.25 to 16");
    broker.run("subscribe --speed 1").code(2).says("--from");
    broker.run("subscribe --to -10m").code(2).says("--from start");
}

/// What the libraries of others read in the file.
fn judge(python: &std::ffi::OsString, file: &Path) -> Value {
    let output = Command::new(python).arg(in_repository("tests/python/read_mcap.py")).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn mcap_is_what_foxglove_reads() {
    let (broker, folder) = (BrokerProcess::start(), Folder::new());
    publish(&broker, "gate");
    broker.run("publish test:320x240@30,frames=12 --camera door --codec jpeg --unpaced").code(0);
    let all = broker.run("subscribe --from start --until-end --json").code(0);
    let file = folder.path("x.mcap");
    let written = broker.run(&format!("subscribe --from start --until-end --json --out {}", file.display())).code(0);
    assert_eq!(written.summary()["sink"]["frames"], 102);
    let Some(python) = mcap_python() else { return };
    let found = judge(&python, &file);
    for (topic, schema, format, camera, count) in [
        ("/gate/raw_video/video", "foxglove.CompressedVideo", "h264", "gate", 90),
        ("/door/raw_images/image", "foxglove.CompressedImage", "jpeg", "door", 12),
    ] {
        let channel = &found[topic];
        assert_eq!((&channel["schema"], &channel["as_published"]), (&schema.into(), &true.into()), "{topic}");
        let messages = channel["messages"].as_array().unwrap();
        assert_eq!(messages.len(), count, "{topic}");
        let frames: Vec<Value> = all.objects("frame").into_iter().filter(|frame| frame["camera"] == camera).collect();
        for (message, frame) in messages.iter().zip(&frames) {
            let capture: i64 = frame["capture_unix_nanos"].as_str().unwrap().parse().unwrap();
            assert_eq!((&message["log_time"], &message["timestamp"]), (&capture.into(), &capture.into()), "{topic}");
            assert_eq!((&message["frame_id"], &message["format"]), (&camera.into(), &format.into()));
            assert_eq!(message["bytes"], frame["bytes"]);
        }
    }
}
