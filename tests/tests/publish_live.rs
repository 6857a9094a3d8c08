//! `lumenbus publish rtsp://…` and `up` with such a camera: unit by unit to the reader, through outages, and no
//! secret anywhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lumenbus_frame::bitstream::{NalCodec, content_nal_units};
use lumenbus_source::{SourceItem, SourceOptions, open};
use lumenbus_tests::cli::{Background, BrokerProcess, footage, lumenbus, words};
use lumenbus_tests::http::get;
use lumenbus_tests::python::in_repository;
use lumenbus_tests::rtsp::RtspServer;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

type Units = Vec<Vec<Bytes>>;

fn content(codec: NalCodec, unit: &Bytes) -> Vec<Bytes> {
    content_nal_units(codec, unit).map(|nal| unit.slice_ref(nal)).collect()
}

fn units_of_file(path: &Path, codec: NalCodec) -> Units {
    let mut source = open(path.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut units = Units::new();
    while let Some(item) = source.next_frame().unwrap() {
        let SourceItem::Encoded { frame, .. } = item else { panic!("{item:?}") };
        units.push(content(codec, &frame.payload));
    }
    units
}

/// Files named by epoch and seq sort as the log does.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn is_state(object: &Value, state: &str) -> bool {
    object["type"] == "camera" && object["state"] == state
}

/// Waits until the reader has seen so many keyframes and frames in all.
fn wait_for_frames(reader: &Background, frames: usize) {
    reader.wait_for_objects(frames, |object| object["type"] == "frame");
}

fn frames_so_far(reader: &Background) -> usize {
    reader.stdout_so_far().matches("\"type\":\"frame\"").count()
}

#[test]
fn a_camera_that_goes_and_comes_back_goes_on_in_the_same_stream() {
    let (Some(clip), Some(other)) = (footage("street1080.264"), footage("flower720.264")) else { return };
    let Some(server) = RtspServer::start(&clip, &["--fps", "10"]) else { return };
    let (broker, out) = (BrokerProcess::start(), TempDir::new().unwrap());
    let camera = broker.spawn(&format!("publish {} --camera gate --json", server.url("")));
    camera.wait_for_objects(1, |object| is_state(object, "live"));
    let folder = out.path().join("coded");
    let reader = broker
        .spawn(&format!("subscribe --camera gate --from start --json --as coded --out {}", folder.to_str().unwrap()));
    let units = units_of_file(&clip, NalCodec::H264);
    wait_for_frames(&reader, units.len() + 10);

    // Away, and back.
    let absent = server.kill();
    reader.wait_for_objects(1, |object| object["type"] == "offline");
    let before_outage = frames_so_far(&reader);
    let server = absent.start();
    camera.wait_for_objects(2, |object| is_state(object, "live"));
    wait_for_frames(&reader, before_outage + 10);
    // Away again, and another camera at its place, with another size.
    let absent = server.kill();
    reader.wait_for_objects(2, |object| object["type"] == "offline");
    let before_change = frames_so_far(&reader);
    let _server = absent.start_with([other.to_str().unwrap(), "--fps", "10"]);
    wait_for_frames(&reader, before_change + 20);

    let published = camera.interrupt().code(3).summary();
    reader.wait_for_objects(1, |object| object["type"] == "end");
    let read = reader.interrupt().code(3);
    let stream = &read.summary()["streams"][0];
    assert_eq!(stream["unexplained"], 0, "{stream}");
    assert_eq!(stream["missing"], serde_json::json!({ "source-lost": 2 }));
    assert_eq!(stream["published_in_ended_epochs"], published["published"]);
    let frames = read.objects("frame");
    let epochs: BTreeSet<_> = frames.iter().map(|frame| frame["epoch"].as_str().unwrap().to_owned()).collect();
    assert_eq!(epochs.len(), 1, "the same stream, and the same epoch");
    // Behind each gap: a keyframe after a jump.
    let jumps: Vec<_> = frames.iter().filter(|frame| frame["discontinuity"] == true).collect();
    assert_eq!(jumps.len(), 2);
    assert!(jumps.iter().all(|frame| frame["keyframe"] == true));

    let found: Units = files_in(&folder.join("gate"))
        .iter()
        .map(|file| content(NalCodec::H264, &std::fs::read(file).unwrap().into()))
        .collect();
    assert_eq!(found.len(), frames.len());
    let others = units_of_file(&other, NalCodec::H264);
    for (number, unit) in found.iter().take(before_outage).enumerate() {
        assert!(*unit == units[number % units.len()], "unit {number} differs");
    }
    assert!(found[found.len() - 20..].iter().all(|unit| others.contains(unit)));
}

/// Every file below a folder.
fn all_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn a_password_reaches_neither_logs_nor_topics_nor_metrics() {
    const SECRET: &str = "s3cretw0rd";
    let more = ["--codec", "h265", "--fps", "25", "--user", "viewer", "--password", SECRET];
    let clip = in_repository("crates/source/tests/data/h265_open_gop.h265");
    let Some(server) = RtspServer::start(&clip, &more) else { return };
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    let file = folder.path().join("gate.password");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let brokers = format!("topics = {{ create = true }}\nbrokers = \"{}\"\n", broker.address());
    let (url, with_secret) = (server.url(""), server.url(&format!("viewer:{SECRET}@")));
    let site = folder.path().join("lumenbus.toml");
    let text = format!(
        "{brokers}[viewer]\nenabled = false\n\
         [[camera]]\nid = \"by-file\"\nsource = \"{url}\"\nusername = \"viewer\"\npassword_file = \"gate.password\"\n\
         [[camera]]\nid = \"by-env\"\nsource = \"{url}\"\nusername = \"viewer\"\npassword_env = \"GATE\"\n\
         [[camera]]\nid = \"in-url\"\nsource = \"{with_secret}\"\n\
         [[camera]]\nid = \"wrong\"\nsource = \"{}\"\n",
        server.url(&format!("other:{SECRET}@"))
    );
    std::fs::write(&site, text).unwrap();
    let mut up = lumenbus(["up", "--json", "-vv", "--config", site.to_str().unwrap()]);
    up.env("GATE", SECRET);
    let up = Background::start(up);
    for camera in ["by-file", "by-env", "in-url"] {
        up.wait_for_objects(1, |object| object["camera"] == camera && object["state"] == "live");
    }
    up.wait_for_objects(1, |object| object["camera"] == "wrong" && object["state"] == "failed");

    let line = format!("publish {url} --camera typed --json -vv --metrics 127.0.0.1:0 --brokers {}", broker.address());
    let mut publish = lumenbus(words(&line));
    publish.env("LUMENBUS_CAMERA_USERNAME", "viewer").env("LUMENBUS_CAMERA_PASSWORD", SECRET);
    let publish = Background::start(publish);
    publish.wait_for_objects(1, |object| is_state(object, "live"));
    let metrics = publish.wait_for_objects(1, |object| object["type"] == "metrics");
    let metrics = get(metrics["listen"].as_str().unwrap(), "/metrics").unwrap().body;
    assert!(metrics.contains("typed"), "{metrics}");
    // Gone, so that the directory and the stream are told of it, too.
    drop(server.kill());
    publish.wait_for_objects(1, |object| is_state(object, "offline"));
    let published = publish.interrupt().code(3);
    let refused = broker.run(&format!("publish {with_secret} --camera late --json -vv")).code(1);
    let listed = Background::start(lumenbus(["cameras", "list", "--config", site.to_str().unwrap()])).finish();
    let up = up.interrupt();

    let mut said = vec![("metrics".to_owned(), metrics.into_bytes())];
    for (name, ran) in [("publish", published), ("refused", refused), ("up", up), ("cameras list", listed)] {
        assert!(!ran.stdout.is_empty() || !ran.stderr.is_empty(), "{name}");
        said.push((format!("standard output of {name}"), ran.stdout.into_bytes()));
        said.push((format!("standard error of {name}"), ran.stderr.into_bytes()));
    }
    let mut files = Vec::new();
    all_files(broker.data(), &mut files);
    assert!(files.iter().any(|file| file.to_string_lossy().contains("lumenbus.cameras")), "{files:?}");
    // The broker lives, and may have put another file in the place of one.
    said.extend(files.iter().filter_map(|file| Some((file.display().to_string(), std::fs::read(file).ok()?))));
    for (name, bytes) in said {
        assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "the password is in {name}");
    }
}

#[test]
fn what_cannot_work_is_told_at_once() {
    let broker = BrokerProcess::start();
    broker.run("publish rtsp://127.0.0.1:9/cam --camera gate --loop").code(2).says("--loop");
    broker.run("publish rtsps://127.0.0.1/cam --camera gate").code(2).says("rtsp://");
    broker.run("publish rtsp://127.0.0.1:9/cam --camera gate").code(1).says("cannot be reached");
    broker
        .run("publish rtsp://127.0.0.1:9/cam --camera gate --username me --password-file absent")
        .code(1)
        .says("cannot read the password file absent");
}
