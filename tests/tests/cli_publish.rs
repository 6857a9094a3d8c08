//! `lumenbus publish`: damage, codecs, ends of every kind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_frame::CameraId;
use lumenbus_source::{SourceItem, SourceOptions, open, read_marker};
use lumenbus_tests::cli::{BrokerProcess, Ran, footage, skip};
use lumenbus_tests::python::in_repository;
use lumenbus_tests::rtsp::RtspServer;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const READ: &str = "subscribe --from start --until-end --json";

/// Everything that is in a topic, read by a plain consumer that knows nothing of frames.
fn plain_consumer(brokers: &str, topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "plain").create().unwrap();
    let wait = Duration::from_secs(30);
    let metadata = consumer.fetch_metadata(Some(topic), wait).unwrap();
    let (mut list, mut expected) = (TopicPartitionList::new(), 0);
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), wait).unwrap();
        list.add_partition_offset(topic, partition.id(), Offset::Offset(low)).unwrap();
        expected += usize::try_from(high - low).unwrap();
    }
    consumer.assign(&list).unwrap();
    std::iter::repeat_with(|| consumer.poll(wait).expect("a record in time").unwrap().detach()).take(expected).collect()
}

fn header<'a>(message: &'a OwnedMessage, key: &str) -> Option<&'a [u8]> {
    message.headers()?.iter().find(|header| header.key == key)?.value
}

#[test]
fn on_raw_images_a_value_is_exactly_a_jpeg_file() {
    let Some(path) = footage("street1080.264") else { return };
    let broker = BrokerProcess::start();
    let publish = format!("publish {} --camera street --codec jpeg --unpaced --json --json-header", path.display());
    let summary = broker.run(&publish).code(0).summary();
    assert_eq!((&summary["topic"], &summary["published"]), (&"raw_images".into(), &54.into()));
    let records = plain_consumer(broker.address(), "raw_images");
    assert_eq!(records.len(), 54, "no control record is among them");
    for record in &records {
        assert_eq!(record.key(), Some(&b"street"[..]));
        assert_eq!(header(record, "content-type"), Some(&b"image/jpeg"[..]));
        let value = record.payload().unwrap();
        assert!(value.starts_with(&[0xff, 0xd8]) && value.ends_with(&[0xff, 0xd9]));
        let dimensions = lumenbus_codec::jpeg_dimensions(value).unwrap();
        assert_eq!((dimensions.width, dimensions.height), (1920, 1080));
        let told: serde_json::Value = serde_json::from_slice(header(record, "lb-json").unwrap()).unwrap();
        assert_eq!(told["epoch"], summary["epoch"]);
    }
    let summary = broker.run(READ).code(0).summary();
    assert_eq!(summary["streams"][0]["frames"], 54);
}

/// Beside the video: pictures for any client, each with the name of the frame that it shows.
#[test]
fn stills_of_a_video_are_pictures_that_name_their_frames() {
    let broker = BrokerProcess::start();
    let publish = "publish test:320x240@25 --camera gate --snapshots 200ms --for 4s --json --json-header";
    let summary = broker.run(publish).code(0).summary();
    let records = plain_consumer(broker.address(), "raw_images");
    assert!(!records.is_empty() && summary["snapshots"] == records.len(), "{} of {summary}", records.len());
    for record in &records {
        assert_eq!(header(record, "content-type"), Some(&b"image/jpeg"[..]));
        let told: serde_json::Value = serde_json::from_slice(header(record, "lb-json").unwrap()).unwrap();
        let named = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!((named(&told["of"]["epoch"]), &told["stream"]), (named(&summary["epoch"]), &"snapshots".into()));
        let seq: u64 = named(&told["of"]["seq"]).parse().unwrap();
        assert!(seq < summary["published"].as_u64().unwrap(), "{told}");
    }
    broker.run("publish test:320x240@25 --camera gate --snapshots 0s").code(2).says("longer than 0");
}

#[test]
fn stills_of_a_live_camera_are_counted_at_its_end() {
    let Some(clip) = footage("flower720.264") else { return };
    let Some(server) = RtspServer::start(&clip, &["--fps", "10"]) else { return };
    let broker = BrokerProcess::start();
    let camera = broker.spawn(&format!("publish {} --camera gate --snapshots 200ms --json", server.url("")));
    camera.wait_for_objects(1, |object| object["type"] == "camera" && object["state"] == "live");
    broker.run("subscribe --topic raw_images --from start --frames 1 --json").code(0);
    let summary = camera.interrupt().summary();
    let made = plain_consumer(broker.address(), "raw_images").len();
    assert!(made > 0 && summary["snapshots"] == made, "{made} of {summary}");
}

#[test]
fn a_broken_picture_among_good_ones_is_a_gap_and_the_rest_goes_on() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    broker.run("publish test:320x240@10,frames=6 --camera maker --codec jpeg --unpaced").code(0);
    let stills = folder.path().join("stills");
    broker.run(&format!("subscribe --from start --until-end --out {}", stills.display())).code(0);
    let mut pictures: Vec<_> =
        std::fs::read_dir(stills.join("maker")).unwrap().map(|file| file.unwrap().path()).collect();
    pictures.sort();
    let broken = &pictures[2];
    std::fs::write(broken, "this is no JPEG").unwrap();

    let ran = broker.run(&format!("publish {} --camera gate --unpaced", stills.join("maker").display())).code(3);
    let ran = ran.says(broken.file_name().unwrap().to_str().unwrap());
    assert!(ran.stdout.contains("source-damaged"), "{}", ran.stdout);
    let read = broker.run(&format!("{READ} --camera gate")).code(3);
    let gaps = read.objects("gap");
    assert_eq!(gaps.len(), 1, "{}", read.stdout);
    assert_eq!((&gaps[0]["first"], &gaps[0]["last"]), (&2.into(), &2.into()));
    assert_eq!(gaps[0]["reason"], "source-damaged");
    let stream = &read.summary()["streams"][0];
    assert_eq!(stream["frames"], 5);
    assert_eq!(stream["missing"]["source-damaged"], 1);
    assert_eq!((&stream["unexplained"], &stream["published_in_ended_epochs"]), (&0.into(), &6.into()));
}

/// The counters burnt into the pictures of a Y4M file.
fn counters(path: &Path) -> Vec<u32> {
    let mut source = open(path.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut counters = Vec::new();
    while let Some(item) = source.next_frame().unwrap() {
        let SourceItem::Raw { frame, .. } = item else { panic!("{item:?}") };
        counters.push(read_marker(&frame).expect("every picture has its marker").counter);
    }
    counters
}

#[test]
fn the_test_pattern_comes_back_picture_by_picture() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    for codec in ["h264", "jpeg", "raw"] {
        let publish = format!("publish test:320x240@30,frames=40 --camera {codec} --codec {codec} --unpaced");
        broker.run(&publish).code(0);
        let out = folder.path().join(format!("{codec}.y4m"));
        broker.run(&format!("{READ} --camera {codec} --out {}", out.display())).code(0);
        assert_eq!(counters(&out), (0..40).collect::<Vec<_>>(), "{codec}");
    }
}

#[test]
fn every_envelope_carries_the_same_frames() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    for envelope in ["native", "protobuf", "msgpack", "json"] {
        let publish = format!("publish test:320x240@30,frames=10 --camera {envelope} --envelope {envelope} --unpaced");
        broker.run(&publish).code(0);
        let out = folder.path().join(format!("{envelope}.y4m"));
        broker.run(&format!("{READ} --camera {envelope} --out {}", out.display())).code(0);
        assert_eq!(counters(&out), (0..10).collect::<Vec<_>>(), "{envelope}");
    }
}

#[test]
fn a_loop_marks_its_seams() {
    let Some(path) = footage("street1080.264") else { return };
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let publisher = broker.spawn(&format!("publish {} --camera street --loop --json", path.display()));
    broker.run("subscribe --camera street --from start --frames 60 --json").code(0);
    let published = publisher.interrupt().code(0).summary()["published"].as_u64().unwrap();
    assert!(published > 54, "{published}");
    let read = broker.run(READ).code(0);
    let frames = read.objects("frame");
    assert_eq!(frames.len() as u64, published);
    for (seq, frame) in frames.iter().enumerate() {
        assert_eq!(frame["seq"], seq, "in order");
        let is_seam = seq > 0 && seq % 54 == 0;
        assert_eq!(frame["discontinuity"], is_seam, "frame {seq}");
        assert!(!is_seam || frame["keyframe"] == true, "frame {seq}");
    }
    let pts: Vec<i64> = frames.iter().map(|frame| frame["pts"].as_i64().unwrap()).collect();
    assert!(pts[54] > pts[0], "time goes on at the seam: {} {}", pts[0], pts[54]);
}

#[test]
fn a_loop_ends_when_its_time_is_over() {
    let broker = BrokerProcess::start();
    let summary = broker.run("publish test:320x240@30 --camera gate --loop --for 3s --json").code(0).summary();
    assert!(summary["published"].as_u64().unwrap() > 0);
    let read = broker.run(READ).code(0).summary();
    assert_eq!(read["streams"][0]["frames"], summary["published"]);
}

/// First signal: what was begun is finished, the end is written, and the report comes.
#[test]
fn ctrl_c_finishes_and_reports() {
    let broker = BrokerProcess::start();
    for (signal, camera) in [(Signal::INT, "int"), (Signal::TERM, "term")] {
        let reader =
            broker.spawn(&format!("subscribe --camera {camera} --from start --frames 5 --json --topic raw_video"));
        let publisher = broker.spawn(&format!("publish test:320x240@30 --camera {camera} --json"));
        // The topic may not have been there for the first reader.
        drop(reader);
        broker.run("topics apply").code(0);
        broker.run(&format!("subscribe --camera {camera} --from start --frames 5 --json")).code(0);
        publisher.signal(signal);
        let summary = publisher.finish().code(0).says("once more aborts").summary();
        assert_eq!((&summary["clean"], &summary["unresolved"]), (&true.into(), &0.into()));
        let read = broker.run(&format!("{READ} --camera {camera}")).code(0).summary();
        assert_eq!(read["streams"][0]["frames"], summary["published"]);
        assert_eq!(read["streams"][0]["published_in_ended_epochs"], summary["published"]);
    }
}

#[test]
fn a_file_that_was_interrupted_is_exit_code_130() {
    let Some(path) = footage("vtest_768x576.mp4") else { return };
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let publisher = broker.spawn(&format!("publish {} --camera hall --json", path.display()));
    broker.run("subscribe --camera hall --from start --frames 3").code(0);
    let summary = publisher.interrupt().code(130).summary();
    assert!(summary["published"].as_u64().unwrap() < 795);
    assert_eq!(summary["clean"], true);
}

/// A frozen broker takes nothing: finishing would last half a minute.
#[test]
fn the_second_signal_aborts() {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let publisher = broker.spawn("publish test:320x240@30 --camera gate");
    broker.run("subscribe --camera gate --from start --frames 3").code(0);
    broker.signal(Signal::STOP);
    publisher.signal(Signal::INT);
    publisher.wait_for_word("once more aborts");
    publisher.signal(Signal::INT);
    let ran = publisher.finish().code(130);
    assert_eq!(ran.stdout, "", "no report, because nothing is finished");
    broker.signal(Signal::CONT);
    broker.run("topics check").code(0);
}

/// The dead publisher's stream is closed by its successor; the reader explains it and goes on.
#[test]
fn a_killed_publisher_is_followed_by_another() {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let killed = broker.spawn("publish test:320x240@30 --camera gate");
    broker.run("subscribe --camera gate --from start --frames 10").code(0);
    killed.signal(Signal::KILL);
    assert_eq!(killed.finish().status.code(), None);
    let again = broker.run("publish test:320x240@30,frames=20 --camera gate --unpaced --json").code(0).summary();
    let read = broker.run(READ).code(3);
    let gaps = read.objects("gap");
    assert_eq!(gaps.len(), 1, "{}", read.stdout);
    assert_eq!((&gaps[0]["reason"], &gaps[0]["last"]), (&"aborted".into(), &serde_json::Value::Null));
    assert_ne!(gaps[0]["epoch"], again["epoch"]);
    let frames = read.objects("frame");
    let (old, new): (Vec<_>, Vec<_>) = frames.iter().partition(|frame| frame["epoch"] != again["epoch"]);
    for epoch in [&old, &new] {
        assert!(epoch.iter().enumerate().all(|(seq, frame)| frame["seq"] == seq), "{}", read.stdout);
    }
    assert_eq!(gaps[0]["first"], old.len(), "from the last one delivered on");
    assert_eq!(new.len(), 20);
    assert_eq!(read.summary()["streams"][0]["open_gaps"], 1);
}

#[test]
fn a_second_publisher_of_the_same_stream_takes_over_and_the_first_stops() {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let first = broker.spawn("publish test:320x240@30 --camera gate --json");
    broker.run("subscribe --camera gate --from start --frames 10").code(0);
    let second = broker.spawn("publish test:320x240@30 --camera gate --json");
    let told = first.finish().code(1).says("was taken over").says("LB-E0205");
    assert_eq!(told.summary()["error"]["code"], "LB-E0205");
    let summary = second.interrupt().code(0).summary();
    let read = broker.run(READ);
    let newest: Vec<_> = read.objects("frame").into_iter().filter(|frame| frame["epoch"] == summary["epoch"]).collect();
    assert_eq!(summary["published"], newest.len());
    assert_eq!(read.summary()["streams"][0]["unexplained"], 0);
}

#[test]
fn a_broker_that_is_killed_under_way_costs_nothing() {
    let broker = BrokerProcess::start_restartable();
    broker.run("topics apply").code(0);
    let publisher = broker.spawn("publish test:320x240@30 --camera gate --for 6s --json");
    broker.run("subscribe --camera gate --from start --frames 20").code(0);
    let broker = broker.kill_and_restart();
    let summary = publisher.finish().code(0).summary();
    assert_eq!(summary["acknowledged"], summary["published"]);
    let read = broker.run(READ).code(0).summary();
    assert_eq!(read["streams"][0]["frames"], summary["published"]);
}

#[test]
fn the_directory_knows_what_was_said_of_a_camera() {
    let broker = BrokerProcess::start();
    let publish = "publish test:320x240@30,frames=3 --camera gate-7 --unpaced --name North --camera-group yard";
    broker.run(publish).code(0);
    let bus = lumenbus_bus::BusConfig::new(broker.address());
    let directory = lumenbus_bus::Directory::open_reading(&bus).unwrap();
    let camera: CameraId = "gate-7".parse().unwrap();
    let (_, entry) = directory.cameras().into_iter().find(|(id, _)| *id == camera).expect("an entry");
    assert_eq!((entry.name.as_str(), entry.group.as_str()), ("North", "yard"));
    assert_eq!(entry.streams.len(), 1);
}

/// A file system of four megabytes; `None`, said loudly, where none can be mounted.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"];
        let mounted = std::process::Command::new("mount").args(arguments).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        skip("a small file system cannot be mounted (that needs root)");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Without it the folder cannot be removed; the test has failed or passed already.
        std::process::Command::new("umount").arg("-l").arg(self.0.path()).output().ok();
    }
}

#[test]
fn a_full_disk_stops_the_sink_with_a_word_and_keeps_what_is_written() {
    let Some(disk) = SmallDisk::mount() else { return };
    let broker = BrokerProcess::start();
    broker.run("publish test:640x480@30,frames=60 --camera gate --codec raw --unpaced").code(0);
    for (out, has_name) in [("out.y4m", "out.y4m"), ("pictures/", "pictures")] {
        let path = disk.0.path().join(out);
        let form = if out.ends_with('/') { "--as coded" } else { "" };
        let ran: Ran = broker.run(&format!("{READ} --camera gate {form} --out {}", path.display())).code(1);
        let ran = ran.says(has_name).says("No space left").says("what is written is kept");
        assert_eq!(ran.summary()["error"]["exit_code"], 1);
        std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path)).unwrap();
    }
}

/// The publisher tells, keeps trying as long as is allowed, and explains every frame that did not get in.
#[test]
fn a_brokers_full_disk_is_explained_and_other_topics_stay_readable() {
    let Some(disk) = SmallDisk::mount() else { return };
    let broker = BrokerProcess::start_in(&disk.0.path().join("data"), &["--keep-free", "0%"]);
    broker.run("publish test:320x240@30,frames=10 --camera good --unpaced").code(0);
    let publish = "publish test:640x480@30,frames=60,noise=60 --camera big --codec raw --unpaced -X message.timeout.ms=3000 --json";
    let summary = broker.run(publish).code(3).summary();
    let gaps: u64 = summary["gaps"].as_object().unwrap().values().map(|frames| frames.as_u64().unwrap()).sum();
    assert!(gaps > 0, "{summary}");
    assert_eq!(summary["acknowledged"].as_u64().unwrap() + gaps, 60);
    let good = broker.run(&format!("{READ} --camera good")).code(0).summary();
    assert_eq!(good["streams"][0]["frames"], 10);
}

/// What cannot be decoded has its seq and its gap, up to the source's next keyframe.
#[test]
fn every_frame_behind_a_damaged_one_is_told_when_transcoding() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    let mut bytes = std::fs::read(in_repository("fixtures/clips/plaza.mp4")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 400].fill(0xA5);
    let file = folder.path().join("damaged.mp4");
    std::fs::write(&file, bytes).unwrap();
    let publish = format!("publish {} --camera gate --codec h264 --unpaced --json", file.display());
    let summary = broker.run(&publish).code(3).summary();
    let lost = summary["gaps"]["source-damaged"].as_u64().unwrap();
    assert_eq!(summary["published"], 200, "{summary}");
    assert!(lost > 1, "{summary}");
    let stream = broker.run(&format!("{READ} --camera gate")).code(3).summary()["streams"][0].clone();
    assert_eq!((stream["frames"].as_u64(), &stream["unexplained"]), (Some(200 - lost), &0.into()), "{stream}");
}
