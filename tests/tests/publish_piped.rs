//! `lumenbus publish -`: what other programs send through a pipe.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, BrokerProcess, Ran, binary, footage, skip};
use lumenbus_tests::python::in_repository;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const PICTURES: &str = "videotestsrc pattern=ball num-buffers=25 ! video/x-raw,width=320,height=240,framerate=25/1";

/// `from | lumenbus publish - WORDS`
fn publish(broker: &BrokerProcess, from: &str, words: &str) -> Ran {
    let mut shell = Command::new("sh");
    let line = format!("{from} | \"$0\" publish - --json --brokers {} {words}", broker.address());
    shell.arg("-c").arg(line).arg(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LUMENBUS_")) {
        shell.env_remove(name);
    }
    Background::start(shell).finish()
}

fn subscribe(broker: &BrokerProcess, to: &Path) -> Ran {
    broker.run(&format!("subscribe --from start --until-end --json --out {}", to.to_str().unwrap()))
}

/// The frames of a Y4M file, one behind the other.
fn pixels(file: &Path, frame_bytes: usize) -> Vec<u8> {
    let file = std::fs::read(file).unwrap();
    let header = file.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let frames = file[header..].chunks(b"FRAME\n".len() + frame_bytes);
    frames.flat_map(|frame| &frame[b"FRAME\n".len()..]).copied().collect()
}

fn has_gstreamer() -> bool {
    let found = Command::new("gst-inspect-1.0").args(["--exists", "videotestsrc"]).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        skip("GStreamer's tools are not installed");
    }
    is_there
}

#[test]
fn pixels_of_another_program_arrive_as_they_are() {
    if !has_gstreamer() {
        return;
    }
    let (broker, out) = (BrokerProcess::start(), TempDir::new().unwrap());
    let (sent, received) = (out.path().join("sent"), out.path().join("received.y4m"));
    let from = format!(
        "gst-launch-1.0 -q {PICTURES},format=I420 ! tee name=two ! queue ! fdsink fd=1  two. ! queue ! filesink location={}",
        sent.to_str().unwrap()
    );
    let words = "--camera dock --format yuv420p --size 320x240 --fps 25 --codec raw --unpaced";
    let summary = publish(&broker, &from, words).code(0).summary();
    assert_eq!((&summary["topic"], &summary["published"]), (&"raw_pixels".into(), &25.into()));
    let read = subscribe(&broker, &received).code(0).summary();
    assert_eq!(read["streams"][0]["frames"], 25);
    assert!(pixels(&received, 320 * 240 * 3 / 2) == std::fs::read(&sent).unwrap(), "the pixels differ");
}

#[test]
fn a_coded_stream_is_recognised_and_passes_through() {
    let Some(clip) = footage("street1080.264") else { return };
    let (broker, out) = (BrokerProcess::start(), TempDir::new().unwrap());
    let summary = publish(&broker, &format!("cat {}", clip.display()), "--camera street --unpaced").code(0).summary();
    assert_eq!((&summary["topic"], &summary["published"]), (&"raw_video".into(), &54.into()));
    let received = out.path().join("received.h264");
    subscribe(&broker, &received).code(0);
    assert!(std::fs::metadata(&received).unwrap().len() >= std::fs::metadata(&clip).unwrap().len());
}

#[test]
fn a_pipe_that_ends_within_a_frame_is_told() {
    let broker = BrokerProcess::start();
    let words = "--camera dock --format gray8 --size 320x240 --fps 50 --codec jpeg";
    let ran = publish(&broker, "head -c 200000 /dev/zero", words).code(3);
    let summary = ran.summary();
    assert_eq!((&summary["published"], &summary["gaps"]), (&3.into(), &serde_json::json!({ "source-damaged": 1 })));
    let told = ran.objects("damaged");
    assert_eq!(told.len(), 1);
    assert!(told[0]["what"].as_str().unwrap().contains("the last frame at byte 153600 needs 76800 bytes"), "{told:?}");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let broker = BrokerProcess::start();
    let mjpeg = format!("cat {}", in_repository("crates/source/tests/data/two.mjpeg").display());
    for (words, code, told) in [
        ("--loop", 2, "leave --loop out"),
        ("--format nv12 --size 2x2", 2, "yuyv422"),
        ("--format rgb8", 2, "--size"),
        ("--size 2x2", 2, "--format"),
        ("--format mjpeg --size 2x2", 2, "leave --size out"),
        ("--format y4m", 1, "is damaged at byte 0"),
    ] {
        publish(&broker, &mjpeg, &format!("--camera a {words}")).code(code).says(told);
    }
    publish(&broker, "printf nothing", "--camera a").code(1).says("--format h264");
    broker.run("publish test:320x240@5 --camera a --format h264").code(2).says("comes through -");
    broker.run("publish - --camera a").code(1).says("standard input is empty");
}
