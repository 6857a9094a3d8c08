//! `lumenbus subscribe`: where it begins, where it ends, and what it says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{BrokerProcess, Ran};
use rustix::process::Signal;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

fn publish(broker: &BrokerProcess, camera: &str, frames: usize) {
    let line = format!("publish test:320x240@30,frames={frames} --camera {camera} --unpaced");
    broker.run(&line).code(0);
}

fn seqs(ran: &Ran) -> Vec<u64> {
    ran.objects("frame").iter().map(|frame| frame["seq"].as_u64().unwrap()).collect()
}

fn total(summary: &Value) -> u64 {
    let frames = |stream: &Value| stream["frames"].as_u64().unwrap();
    summary["streams"].as_array().unwrap().iter().map(frames).sum()
}

#[test]
fn ndjson_tells_every_frame_and_ends_in_one_summary() {
    let broker = BrokerProcess::start();
    publish(&broker, "gate", 30);
    let ran = broker.run("subscribe --from start --until-end --json").code(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(seqs(&ran), (0..30).collect::<Vec<_>>());
    let first = &ran.objects("frame")[0];
    for (name, value) in [("camera", "gate"), ("topic", "raw_video"), ("stream", "main"), ("codec", "h264")] {
        assert_eq!(first[name], value);
    }
    assert_eq!((&first["keyframe"], &first["role"]), (&true.into(), &"current".into()));
    let (end, summary) = (ran.objects("end"), ran.summary());
    assert_eq!((end.len(), &end[0]["last_seq"]), (1, &29.into()));
    assert_eq!(summary["command"], "subscribe");
    let stream = &summary["streams"][0];
    assert_eq!((&stream["frames"], &stream["unexplained"], &stream["open_gaps"]), (&30.into(), &0.into(), &0.into()));
    assert_eq!(stream["live_age_ms"], Value::Null, "a recording has no age worth telling");
    assert_eq!(summary["records"]["foreign"], 0);
}

#[test]
fn people_read_one_line_a_stream() {
    let broker = BrokerProcess::start();
    publish(&broker, "gate", 5);
    let ran = broker.run("subscribe --from start --until-end").code(0);
    assert!(ran.stdout.starts_with("raw_video/gate: 5 frames, "), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 1);
    assert!(!ran.stdout.contains("age"), "{}", ran.stdout);
    let nothing = broker.run("subscribe --camera nobody --for 1s").code(0).says("no frame came");
    assert_eq!(nothing.stdout, "");
}

/// Neither a second camera nor a second run of the first is cut off by the end of the first.
#[test]
fn until_end_reads_all_that_was_there() {
    let broker = BrokerProcess::start();
    for (camera, frames) in [("a", 10), ("b", 20), ("a", 30), ("c", 40)] {
        publish(&broker, camera, frames);
    }
    let jpeg = "publish test:320x240@30,frames=15 --camera d --codec jpeg --unpaced";
    broker.run(jpeg).code(0);
    let summary = broker.run("subscribe --from start --until-end --json").code(0).summary();
    assert_eq!(total(&summary), 10 + 20 + 30 + 40 + 15);
    assert_eq!(summary["streams"].as_array().unwrap().len(), 4);
    let some = broker.run("subscribe --camera a --camera c --from start --until-end --json").code(0).summary();
    assert_eq!(total(&some), 10 + 30 + 40);
}

#[test]
fn frames_and_for_are_limits() {
    let broker = BrokerProcess::start();
    publish(&broker, "gate", 30);
    let ran = broker.run("subscribe --from start --frames 7 --json").code(0);
    assert_eq!(seqs(&ran), (0..7).collect::<Vec<_>>());
    // The stream has ended; only the time ends this.
    let ran = broker.run("subscribe --from start --for 1s --json").code(0);
    assert_eq!(total(&ran.summary()), 30);
}

fn now_rfc3339() -> String {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap().to_string()
}

/// Moments have whole milliseconds: two must not fall into one.
fn next_millisecond() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let since = now();
    while now() < since + 2 {
        std::thread::yield_now();
    }
}

#[test]
fn a_stretch_of_time_holds_what_was_captured_in_it() {
    let broker = BrokerProcess::start();
    let mut moments = Vec::new();
    for (camera, frames) in [("a", 10), ("b", 20), ("c", 30)] {
        publish(&broker, camera, frames);
        next_millisecond();
        moments.push(now_rfc3339());
        next_millisecond();
    }
    let read = |range: &str| total(&broker.run(&format!("subscribe {range} --json")).code(0).summary());
    let (after_a, after_b) = (&moments[0], &moments[1]);
    assert_eq!(read(&format!("--from start --to {after_a}")), 10);
    assert_eq!(read(&format!("--from start --to {after_b}")), 30);
    assert_eq!(read(&format!("--from {after_a} --to {after_b}")), 20);
    assert_eq!(read(&format!("--from {after_a} --until-end")), 50);
    assert_eq!(read(&format!("--from -1h --to {after_b}")), 30);
    assert_eq!(read("--from -2h --to -1h"), 0);
    let files = "--out /nonexistent/x.mp4";
    broker.run(&format!("subscribe --from {after_b} --to {after_a} {files}")).code(2).says("backwards").says(".mjpeg");
}

#[test]
fn a_group_goes_on_where_it_was() {
    let broker = BrokerProcess::start();
    publish(&broker, "gate", 60);
    let first = broker.run("subscribe --group archive --from start --frames 20 --json").code(0);
    assert_eq!(seqs(&first), (0..20).collect::<Vec<_>>());
    let second = broker.run("subscribe --group archive --from start --until-end --json").code(0);
    assert_eq!(seqs(&second), (20..60).collect::<Vec<_>>());
    let other = broker.run("subscribe --group other --from start --until-end --json").code(0);
    assert_eq!(seqs(&other).len(), 60);
}

/// A member that decodes gets the beginning of the GOP once more, and writes none of it again.
#[test]
fn a_group_of_decoders_goes_on_with_the_next_picture() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    // A burst: frames that leave before their keyframe is acknowledged do not say where it is.
    publish(&broker, "gate", 50);
    let out = folder.path().join("pictures");
    let read = format!("subscribe --group archive --from start --json --overwrite --out {}", out.display());
    let first = broker.run(&format!("{read} --frames 20")).code(0).summary();
    assert_eq!(first["sink"]["files"], 20);
    let second = broker.run(&format!("{read} --until-end")).code(0).summary();
    assert_eq!(total(&second), 30);
    assert_eq!(second["sink"]["undecodable"], 0);
    assert_eq!(std::fs::read_dir(out.join("gate")).unwrap().count(), 50);
}

#[test]
fn live_joins_at_a_keyframe_at_once_and_tells_ages() {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let publisher = broker.spawn("publish test:320x240@30 --camera gate --gop 1h --keyframe-requests off --json");
    broker.run("subscribe --from start --frames 10").code(0);
    for policy in ["lossless", "live", "live:2s", "newest"] {
        let ran = broker.run(&format!("subscribe --policy {policy} --frames 30 --json")).code(0);
        let frames = ran.objects("frame");
        assert_eq!(
            (&frames[0]["keyframe"], &frames[0]["seq"]),
            (&true.into(), &0.into()),
            "{policy}: the only keyframe"
        );
        let age = &ran.summary()["streams"][0]["live_age_ms"];
        assert!(age.is_null() || age["p50"].as_f64().unwrap() < 60_000.0, "{policy}: {age}");
    }
    publisher.interrupt().code(0);
}

#[test]
fn ctrl_c_is_the_way_to_end_without_a_limit_and_an_interruption_with_one() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    broker.run("topics apply").code(0);
    let publisher = broker.spawn("publish test:320x240@30 --camera gate");
    for (signal, limit, code) in [
        (Signal::INT, "", 0),
        (Signal::TERM, "", 0),
        (Signal::INT, "--for 1h", 130),
        (Signal::TERM, "--frames 999999", 130),
    ] {
        let out = folder.path().join(format!("{}{}.y4m", signal.as_raw(), limit.len()));
        let reader = broker.spawn(&format!("subscribe --from start --json {limit} --out {}", out.display()));
        reader.wait_for_lines("\"type\":\"frame\"", 10);
        reader.signal(signal);
        let summary = reader.finish().code(code).says("once more aborts").summary();
        let written = summary["sink"]["frames"].as_u64().unwrap();
        assert!(written >= 9, "{summary}");
        let mut file =
            lumenbus_source::open(out.to_str().unwrap(), &lumenbus_source::SourceOptions::default()).unwrap();
        let mut pictures = 0;
        while file.next_frame().unwrap().is_some() {
            pictures += 1;
        }
        assert_eq!(pictures, written, "the file is whole");
    }
    publisher.interrupt().code(0);
}

#[test]
fn one_file_holds_one_stream() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    publish(&broker, "a", 5);
    publish(&broker, "b", 5);
    broker.run("publish test:320x240@30,frames=5 --camera c --codec jpeg --unpaced").code(0);
    let read = "subscribe --from start --until-end --out";
    let path = |name: &str| folder.path().join(name).display().to_string();
    broker.run(&format!("{read} {} --camera a --camera b", path("two.h264"))).code(1).says("--camera").says("folder");
    broker.run(&format!("{read} {} --camera c", path("c.h264"))).code(1).says(".mjpeg");
    broker.run(&format!("{read} {} --camera c", path("c.mjpeg"))).code(0);
    broker.run(&format!("{read} {}", path("all"))).code(0);
    for camera in ["a", "b", "c"] {
        assert_eq!(std::fs::read_dir(folder.path().join("all").join(camera)).unwrap().count(), 5, "{camera}");
    }
}

/// What somebody else writes into our topics is left out, told once, and hurts nobody.
#[test]
fn foreign_records_are_left_out_and_told() {
    use rdkafka::config::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    let broker = BrokerProcess::start();
    publish(&broker, "gate", 10);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    let partition = {
        let ran = broker.run("subscribe --from start --frames 1 --json").code(0);
        i32::try_from(ran.objects("frame")[0]["partition"].as_i64().unwrap()).unwrap()
    };
    for _ in 0..5 {
        let record = BaseRecord::<str, str>::to("raw_video").partition(partition).key("gate").payload("hello");
        producer.send(record).unwrap();
    }
    producer.flush(std::time::Duration::from_secs(30)).unwrap();
    publish(&broker, "gate", 10);
    let ran = broker.run("subscribe --from start --until-end --json").code(0);
    assert_eq!(total(&ran.summary()), 20);
    assert_eq!(ran.summary()["records"]["foreign"], 5);
    assert_eq!(ran.objects("notice").len(), 1, "{}", ran.stdout);
}

#[test]
fn a_reader_waits_for_a_broker_that_comes_back() {
    let broker = BrokerProcess::start_restartable();
    broker.run("topics apply").code(0);
    let publisher = broker.spawn("publish test:320x240@30 --camera gate --for 8s --json");
    let reader = broker.spawn("subscribe --from start --until-end --json");
    reader.wait_for_lines("\"type\":\"frame\"", 20);
    let _broker = broker.kill_and_restart();
    let published = publisher.finish().code(0).summary();
    let read = reader.finish().code(0);
    assert_eq!(seqs(&read), (0..published["published"].as_u64().unwrap()).collect::<Vec<_>>());
}
