//! Analysis workers: each frame has exactly one committed result, whoever was killed; and slow ones hold nobody up.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, Publisher, PublisherConfig, StreamOptions, SystemClock};
use lumenbus_codec::{EncoderConfig, encoder};
use lumenbus_frame::{CameraId, CaptureTime, Clock as _, Codec, Dimensions, FrameId, PixelFormat, RawFrame};
use lumenbus_pipeline::Shutdown;
use lumenbus_tests::backend::start_kafka;
use lumenbus_tests::cli::{Background, BrokerProcess, footage, spawn_at};
use lumenbus_tests::load::{PATIENCE, await_that};
use lumenbus_tests::results::{Judge, Name, RESULTS};
use lumenbus_tests::soak::{Dice, number};
use lumenbus_vision::worker::{DetectorSource, Worker, WorkerConfig};
use lumenbus_vision::{Detection, Detector, Model, VisionError};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rustix::process::Signal;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use xtask::kafka::KafkaOptions;

/// A worker that was killed is missed, and its transaction given up, after this many milliseconds.
const QUICKLY: &str = "-X session.timeout.ms=3000 -X heartbeat.interval.ms=500 -X transaction.timeout.ms=3000";
const DEFAULT_KILLS: u64 = 10;
/// Each takes seconds until the group has missed the worker.
const DEFAULT_KILLS_ON_KAFKA: u64 = 3;

/// Every frame that is in the log.
fn frames_in_the_log(brokers: &str) -> Vec<Name> {
    let bus = BusConfig::new(brokers);
    let mut config = SubscriberConfig::new(bus.clone(), vec![bus.topic_prefix.topic("raw_video")]);
    config.start = Start::Earliest;
    let mut reader = Subscriber::open(config).unwrap();
    let horizon = reader.horizon().unwrap();
    let mut frames = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !reader.has_reached(&horizon) {
        assert!(Instant::now() < deadline, "the log does not end");
        if let Some(Event::Frame(frame)) = reader.recv(Duration::from_millis(50)).unwrap() {
            let id = frame.id();
            frames.push((frame.stream.camera.to_string(), id.epoch.0, id.seq.0));
        }
    }
    frames
}

fn publish(brokers: &str, source: &str, cameras: u32) {
    let publish =
        |number| spawn_at(brokers, &format!("publish {source} --camera camera-{number} --unpaced --codec h264"));
    let running: Vec<_> = (0..cameras).map(publish).collect();
    running.into_iter().for_each(|publisher| drop(publisher.finish().code(0)));
}

fn detect(brokers: &str, more: &str) -> Background {
    spawn_at(brokers, &format!("detect --detector motion --from start --policy lossless --json {more}"))
}

fn kill(worker: Background) {
    worker.signal(Signal::KILL);
    drop(worker.finish());
}

#[test]
fn footage_has_one_result_a_frame_in_both_forms_and_a_second_run_finds_nothing_left() {
    let Some(clip) = footage("vtest_768x576.mp4") else { return };
    let broker = BrokerProcess::start();
    let line = format!("publish {} --camera walkers --unpaced", clip.display());
    let _ = broker.run(&line).code(0);
    let ran = detect(broker.address(), "--until-end").finish().code(0);
    let summary = ran.summary();
    assert_eq!((&summary["frames"], &summary["results"]), (&795.into(), &795.into()), "{summary}");
    let judge = Judge::new(broker.address());
    judge.assert_once_each(&frames_in_the_log(broker.address()));
    let results = judge.results();
    assert!(results.is_sorted_by_key(|result| result.id.seq), "one stream's results are in the order of its frames");
    assert!(results.iter().all(|result| result.size.is_some() && result.error.is_none()));
    assert!(results.iter().any(|result| result.detections.iter().any(|object| object.track_id.is_some())));
    let again = detect(broker.address(), "--until-end").finish().code(0).summary();
    assert_eq!((&again["frames"], &again["results"]), (&0.into(), &0.into()), "{again}");
    // Another group looks for itself, at keyframes, and writes the other form.
    let other = detect(broker.address(), "--until-end --group other --keyframes-only --format protobuf --workers 2");
    let other = other.finish().code(0).summary();
    let counts = judge.counts();
    let looked_at_twice = counts.values().filter(|count| **count == 2).count();
    assert!(counts.values().all(|count| *count <= 2) && counts.len() == 795, "{other}");
    // The counts of what was passed over may hold frames twice, when the workers shared the cameras anew in between.
    assert!(other["skipped"].as_u64() > Some(0) && looked_at_twice > 0, "{other}");
    assert_eq!(other["results"], looked_at_twice, "{other}");
}

#[test]
fn kcat_reads_the_results_as_lines_of_json() {
    let broker = BrokerProcess::start();
    publish(broker.address(), "test:160x120@25,frames=30", 1);
    let _ = detect(broker.address(), "--until-end").finish().code(0);
    let read = Command::new("kcat")
        .args(["-b", broker.address(), "-t", RESULTS, "-C", "-o", "beginning", "-e", "-q"])
        .args(["-X", "isolation.level=read_committed"])
        .output();
    let Ok(read) = read else { return lumenbus_tests::cli::skip("kcat is not installed") };
    let text = String::from_utf8(read.stdout).unwrap();
    let results: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<String> = results.iter().map(|result| result["seq"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seqs, (0..30).map(|seq| seq.to_string()).collect::<Vec<_>>(), "{text}");
    assert!(results.iter().all(|result| result["camera"] == "camera-0" && result["width"] == 160), "{text}");
}

/// Workers are killed while cameras send; another takes over each time.
fn kill_loop(brokers: &str, kills: u64) {
    let (kills, seed) = (number("LUMENBUS_SOAK_KILLS", kills), number("LUMENBUS_SOAK_SEED", 0x5eed));
    let mut dice = Dice(seed | 1);
    let camera = |number| spawn_at(brokers, &format!("publish test:160x120@5 --camera camera-{number} --codec h264"));
    let cameras: Vec<_> = (0..3).map(camera).collect();
    cameras.iter().for_each(|camera| camera.wait_for_word("publishing"));
    let mut worker = detect(brokers, QUICKLY);
    worker.wait_for_line("ready");
    let judge = Judge::new(brokers);
    for round in 0..kills {
        // Somewhere in the middle of things: the cameras go on.
        let enough = judge.counts().len() + 1 + usize::try_from(dice.below(20)).unwrap();
        await_that("the worker writes results", || judge.counts().len() >= enough);
        kill(worker);
        eprintln!("kill {} of {kills} (seed {seed}) after {enough} results", round + 1);
        worker = detect(brokers, QUICKLY);
    }
    cameras.into_iter().for_each(|camera| drop(camera.interrupt().code(0)));
    let frames = frames_in_the_log(brokers);
    await_that("every frame has a result", || judge.counts().len() >= frames.len());
    let summary = worker.interrupt().code(0).summary();
    assert_eq!(summary["undecodable"], 0, "{summary}");
    judge.assert_once_each(&frames);
}

#[test]
fn kills_of_workers_on_the_embedded_broker() {
    kill_loop(BrokerProcess::start().address(), DEFAULT_KILLS);
}

#[test]
fn kills_of_workers_on_apache_kafka() {
    let Some(kafka) = start_kafka("results in transactions", &KafkaOptions::default()) else { return };
    kill_loop(kafka.bootstrap(), DEFAULT_KILLS_ON_KAFKA);
}

#[test]
fn workers_share_the_cameras_and_one_goes_on_for_another_that_was_killed() {
    let broker = BrokerProcess::start();
    publish(broker.address(), "test:160x120@25,frames=25", 6);
    let first = detect(broker.address(), QUICKLY);
    let second = detect(broker.address(), QUICKLY);
    let judge = || Judge::new(broker.address()).counts().len();
    first.wait_for_line("ready");
    second.wait_for_line("ready");
    await_that("the first frames have results", || judge() >= 150);
    publish(broker.address(), "test:160x120@25,frames=50", 6);
    kill(first);
    publish(broker.address(), "test:160x120@25,frames=50", 6);
    await_that("the other has done everything", || judge() >= 6 * 125);
    let _ = second.interrupt().code(0);
    Judge::new(broker.address()).assert_once_each(&frames_in_the_log(broker.address()));
}

/// Somebody who writes results as well, and holds a transaction open in all partitions.
fn stranger(brokers: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", "a stranger")
        .set("transaction.timeout.ms", "600000")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let metadata = producer.client().fetch_metadata(Some(RESULTS), PATIENCE).unwrap();
    for partition in metadata.topics()[0].partitions() {
        let record = BaseRecord::<str, str>::to(RESULTS).partition(partition.id()).key("theirs").payload("theirs");
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    producer
}

/// More pictures than may wait: so the thread that decodes waits as well.
#[test]
fn a_strangers_open_transaction_is_named_is_waited_for_and_holds_up_no_end() {
    const FRAMES: usize = 160;
    let broker = BrokerProcess::start();
    let brokers = broker.address();
    publish(brokers, "test:128x48@25,frames=1", 1);
    let _ = detect(brokers, "--until-end --group first").finish().code(0);
    publish(brokers, &format!("test:640x480@25,frames={FRAMES}"), 1);
    let stranger = stranger(brokers);
    for (more, code) in [("--until-end", 130), ("", 0)] {
        let worker = detect(brokers, more);
        worker.wait_for_word("some producer's transaction is open in partition");
        let waiting = worker.wait_for_objects(1, |object| object["type"] == "waiting");
        assert_eq!((&waiting["for"], &waiting["topic"]), (&"transaction".into(), &RESULTS.into()), "{waiting}");
        assert!(waiting["partition"].is_u64() && waiting["offset"].is_u64(), "{waiting}");
        let asked = Instant::now();
        let summary = worker.interrupt().code(code).summary();
        // Time is what this is about: nothing but the transaction would have held it up for longer.
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        assert_eq!((&summary["results"], &summary["restarts"]), (&0.into(), &0.into()), "{summary}");
    }
    // A limit of time is kept as well.
    let limited = detect(brokers, "--for 3s").finish().code(0).summary();
    assert_eq!((&limited["results"], &limited["restarts"]), (&0.into(), &0.into()), "{limited}");
    let worker = detect(brokers, "");
    worker.wait_for_line("\"waiting\"");
    stranger.abort_transaction(PATIENCE).unwrap();
    let judge = Judge::new(brokers);
    await_that("it goes on", || judge.results().len() == 1 + FRAMES + 1);
    let summary = worker.interrupt().code(0).summary();
    assert_eq!((&summary["restarts"], &summary["aborted"]), (&0.into(), &0.into()), "{summary}");
}

/// Looks at each picture until it is told to go on.
struct Held {
    model: Model,
    looks: Sender<i64>,
    go_on: Arc<std::sync::Mutex<Receiver<()>>>,
}

impl Detector for Held {
    fn model(&self) -> &Model {
        &self.model
    }

    fn detect(&mut self, picture: &RawFrame) -> Result<Vec<Detection>, VisionError> {
        // Nobody listens when the test is over.
        let _ = self.looks.send(picture.capture.unix_nanos);
        let _ = self.go_on.lock().unwrap().recv();
        Ok(Vec::new())
    }

    fn reset(&mut self) {}
}

/// A camera whose frames are sent one by one.
struct Camera {
    handle: lumenbus_bus::StreamHandle,
    encoder: Box<dyn lumenbus_codec::Encoder>,
    sent: Vec<(FrameId, i64)>,
}

impl Camera {
    fn open(publisher: &Publisher) -> Self {
        let camera = CameraId::new("gate").unwrap();
        let handle = publisher.main_stream(camera, "raw_video", StreamOptions::new(Codec::H264)).unwrap();
        Self { handle, encoder: encoder(&EncoderConfig::new(Codec::H264)).unwrap(), sent: Vec::new() }
    }

    fn send(&mut self, frames: usize) {
        for _ in 0..frames {
            let capture = SystemClock.unix_nanos();
            let pixels = vec![u8::try_from(self.sent.len() % 200).unwrap(); 64 * 48];
            let size = Dimensions::new(64, 48);
            let picture = RawFrame::new(PixelFormat::Gray8, size, pixels.into(), CaptureTime::sensor(capture)).unwrap();
            let mut coded = Vec::new();
            self.encoder.encode(&picture, &mut coded).unwrap();
            for frame in coded {
                self.handle.submit(frame).unwrap();
            }
            let seq = u64::try_from(self.sent.len()).unwrap();
            let id = FrameId { epoch: self.handle.epoch(), seq: lumenbus_frame::Seq(seq) };
            self.sent.push((id, capture));
        }
    }
}

/// What a detector begins with is the newest picture there was when it had done the one before: so its result is at most
/// two of its own periods old, however slow it is, and nothing piles up.
#[test]
fn a_slow_detector_looks_at_the_newest_picture_and_holds_nobody_up() {
    let broker = BrokerProcess::start();
    let bus = BusConfig::new(broker.address());
    let publisher = Publisher::open(PublisherConfig::new(bus.clone())).unwrap();
    let mut camera = Camera::open(&publisher);
    camera.send(1);
    let (looks, looked) = channel();
    let (go_on, may_go_on) = channel();
    let may_go_on = Arc::new(std::sync::Mutex::new(may_go_on));
    let detectors = DetectorSource::new(move || {
        let (looks, go_on) = (looks.clone(), Arc::clone(&may_go_on));
        Ok(Box::new(Held { model: Model::new("held", "1"), looks, go_on }) as Box<dyn Detector>)
    });
    let mut config = WorkerConfig::new(bus.clone(), "slow".to_owned());
    config.start = Start::Earliest;
    let worker = Arc::new(Worker::new(config, detectors).unwrap());
    let shutdown = Arc::new(Shutdown::default());
    let thread = {
        let (worker, shutdown) = (Arc::clone(&worker), Arc::clone(&shutdown));
        std::thread::spawn(move || worker.run(&shutdown))
    };
    let mut other = SubscriberConfig::new(bus.clone(), vec![bus.topic_prefix.topic("raw_video")]);
    (other.start, other.group) = (Start::Earliest, Some("quick".to_owned()));
    let mut other = Subscriber::open(other).unwrap();
    let mut seen = 0;
    looked.recv_timeout(PATIENCE).unwrap();
    for _ in 0..4 {
        // While it looks at one picture, many come; another group has them all meanwhile.
        camera.send(20);
        let deadline = Instant::now() + PATIENCE;
        while seen < camera.sent.len() {
            assert!(Instant::now() < deadline, "{seen} of {}", camera.sent.len());
            seen += usize::from(matches!(other.recv(Duration::from_millis(50)).unwrap(), Some(Event::Frame(_))));
        }
        // Looked at, passed over here or in the log, in work, and the newest that waits.
        await_that("all but the newest are passed over", || {
            let counts = worker.counts();
            counts.superseded + counts.missing + counts.analysed + 2 == camera.sent.len() as u64
        });
        go_on.send(()).unwrap();
        let picture = looked.recv_timeout(PATIENCE).unwrap();
        assert_eq!(picture, camera.sent.last().unwrap().1, "the newest, not one that waited");
    }
    drop(go_on);
    await_that("the last result", || worker.written().results == 5);
    shutdown.request();
    thread.join().unwrap().unwrap();
    let counts = worker.counts();
    assert_eq!(counts.superseded + counts.missing, 4 * 19, "{counts:?}");
    let counts = Judge::new(broker.address()).counts();
    assert!(counts.values().all(|count| *count == 1) && counts.len() == 5, "{counts:?}");
}
