//! The viewer as a process beside a broker and publishers that are killed and come back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with the viewer's own tests, which use all of it")]
#[path = "../../crates/web/tests/viewer/client.rs"]
mod client;

use client::{Media, Socket, get};
use lumenbus_codec::{DecoderConfig, Ticket, decoder};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame};
use lumenbus_source::read_marker;
use lumenbus_tests::cli::{Background, lumenbus, words};
use lumenbus_tests::embedded::EmbeddedProcess;
use std::net::SocketAddr;

fn start(broker: &EmbeddedProcess, line: &str) -> Background {
    Background::start(lumenbus(words(&format!("--brokers {} {line}", broker.bootstrap()))))
}

/// A viewer, and where it is.
fn view(broker: &EmbeddedProcess, more: &str) -> (Background, SocketAddr) {
    let viewer = start(broker, &format!("view --no-browser --listen 127.0.0.1:0 --json {more}"));
    let ready: serde_json::Value = serde_json::from_str(&viewer.wait_for_line("\"viewer\"")).unwrap();
    let address = ready["listen"].as_str().unwrap().parse().unwrap();
    (viewer, address)
}

/// A client that watches the one stream there is, as soon as there is one.
fn watch(address: SocketAddr, form: &str) -> Socket {
    let mut client = Socket::open(address);
    while client.told("streams")["streams"].as_array().is_none_or(Vec::is_empty) {}
    client.watch(0, form);
    client
}

/// The counter burnt into a picture of the test pattern.
fn counter(media: &Media) -> u64 {
    let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), media.payload.clone());
    let mut pictures = Vec::new();
    decoder(Codec::Jpeg, &DecoderConfig::default()).unwrap().decode(Ticket(0), &frame, &mut pictures).unwrap();
    u64::from(read_marker(&pictures[0].frame).expect("the pattern has a marker").counter)
}

#[test]
fn pictures_are_the_right_ones_and_come_back_after_the_broker_was_killed() {
    let mut broker = EmbeddedProcess::new();
    let publisher = start(&broker, "publish test:320x240@20 --camera pattern --codec jpeg");
    let (viewer, address) = view(&broker, "");
    let mut client = watch(address, "jpeg");
    let first = client.media().seq;
    for _ in 0..20 {
        let media = client.media();
        assert_eq!(counter(&media), media.seq, "the picture is that of its seq");
    }
    broker.kill();
    while client.told("notice")["kind"] != "disconnected" {}
    broker.start();
    let mut last = 0;
    for _ in 0..40 {
        let media = client.media();
        assert_eq!(counter(&media), media.seq);
        assert!(media.seq > last || last == 0, "each frame once, in order");
        last = media.seq;
    }
    publisher.interrupt().code(0);
    while client.told("event")["kind"] != "end" {}
    let stats = loop {
        let stats = client.told("stats");
        if stats["streams"][0]["state"] == "ended" {
            break stats;
        }
    };
    let stream = &stats["streams"][0];
    assert_eq!((&stream["unexplained"], &stream["open_gaps"]), (&0.into(), &0.into()), "{stream}");
    let received = stream["frames"].as_u64().unwrap();
    let joining = stream["joining"].as_u64().unwrap();
    let missing: u64 = stream["missing"].as_object().unwrap().values().map(|frames| frames.as_u64().unwrap()).sum();
    let ran = viewer.interrupt().code(0);
    assert_eq!(ran.summary()["totals"]["unexplained"], 0);
    assert!(received + joining + missing > last - first, "{stream}: from {first} to {last}");
}

#[test]
fn a_snapshot_shows_what_is_in_front_of_the_camera() {
    let broker = EmbeddedProcess::new();
    let _publisher = start(&broker, "publish test:320x240@10 --camera pattern --codec h264 --bitrate 2M");
    let (_viewer, address) = view(&broker, "");
    let mut client = watch(address, "annexb");
    client.media();
    let answer = get(address, "/api/v1/cameras/pattern/snapshot");
    assert_eq!(answer.status, 200);
    let seq: u64 = answer.header("x-lumenbus-seq").unwrap().parse().unwrap();
    let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), answer.body.clone().into());
    let mut pictures = Vec::new();
    decoder(Codec::Jpeg, &DecoderConfig::default()).unwrap().decode(Ticket(0), &frame, &mut pictures).unwrap();
    let marker = read_marker(&pictures[0].frame).expect("the pattern has a marker");
    assert_eq!(u64::from(marker.counter), seq);
}
