//! Pictures: joining, identity, forms, slow clients.

use crate::support::{Message, Socket, World, get, stills, video};
use lumenbus_frame::GapReason;
use lumenbus_web::StreamPhase;
use lumenbus_web::packet::{CATCH_UP, DISCONTINUITY, KEYFRAME};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_client_begins_at_the_newest_keyframe_and_every_byte_is_as_published() {
    let world = World::new();
    let stream = world.stream("gate", "raw_video");
    let (old, new) = (video(5), video(12));
    world.submit(&stream, old);
    world.submit(&stream, new[..8].iter().cloned());
    let mut client = Socket::open(world.addr());
    let listed = client.told("streams");
    let gate = &listed["streams"][0];
    assert_eq!((&gate["camera"], &gate["codec"], &gate["width"]), (&json!("gate"), &json!("h264"), &json!(64)));
    assert!(gate["mime"].as_str().unwrap().starts_with("video/mp4; codecs=\"avc1."));
    client.watch(0, "annexb");
    for (at, expected) in new[..8].iter().enumerate() {
        let media = client.media();
        assert_eq!(media.payload, expected.payload, "frame {at}");
        assert_eq!((media.kind, media.n, media.skipped, media.seq), (1, 0, 0, at as u64 + 5));
        assert_eq!(media.epoch, stream.epoch().0);
        assert_eq!(media.capture_micros, expected.capture.unix_nanos / 1_000);
        assert!(media.received_micros <= media.sent_micros);
        let first = if at == 0 { KEYFRAME | DISCONTINUITY | CATCH_UP } else { CATCH_UP };
        assert_eq!(media.flags, first, "frame {at}");
    }
    world.submit(&stream, new[8..].iter().cloned());
    for expected in &new[8..] {
        let media = client.media();
        assert_eq!((media.payload, media.flags), (expected.payload.clone(), 0));
    }
    client.say(&json!({ "type": "rejoin", "n": 0 }));
    let again = client.media();
    assert_eq!((again.payload, again.seq), (new[0].payload.clone(), 5));
    assert_eq!(again.flags, KEYFRAME | DISCONTINUITY | CATCH_UP);
}

#[test]
fn media_source_gets_segments_that_decode() {
    let world = World::new();
    let stream = world.stream("gate", "raw_video");
    world.submit(&stream, video(10));
    let mut client = Socket::open(world.addr());
    client.watch(0, "fmp4");
    let first = client.media();
    assert_eq!((first.kind, &first.payload[4..8]), (2, &b"ftyp"[..]));
    let mut file = first.payload.to_vec();
    let mut last_pts = -1;
    for at in 0..10 {
        let segment = client.media();
        assert_eq!((segment.kind, segment.seq, &segment.payload[4..8]), (3, at, &b"moof"[..]));
        assert!(segment.pts_micros > last_pts);
        last_pts = segment.pts_micros;
        file.extend_from_slice(&segment.payload);
    }
    client.say(&json!({ "type": "rejoin", "n": 0 }));
    assert_eq!(client.media().kind, 2, "a player that begins again needs its initialisation segment again");
    let path = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
    std::fs::write(path.path(), file).unwrap();
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]);
    let output = ffprobe.arg(path.path()).stdin(Stdio::null()).output().expect("ffprobe is installed");
    assert_eq!((String::from_utf8_lossy(&output.stdout).trim(), &output.stderr[..]), ("10", &b""[..]));
}

#[test]
fn a_slow_client_skips_and_counts_while_a_fast_one_gets_everything() {
    // Room for ten frames; no time limit, so that only bytes decide.
    let world = World::with(|config| {
        config.limits.ring_bytes_per_stream = 2_000_000;
        config.limits.max_lag = Duration::from_secs(3_600);
        config.limits.send_buffer_bytes = 64 << 10;
    });
    let stream = world.stream("dock", "raw_images");
    world.submit(&stream, stills(1, 200_000));
    let (mut slow, mut fast) = (Socket::open(world.addr()), Socket::open(world.addr()));
    slow.watch(0, "jpeg");
    fast.watch(0, "jpeg");
    assert_eq!(fast.media().seq, 0);
    for frame in stills(200, 200_000) {
        let payload = frame.payload.clone();
        world.submit(&stream, [frame]);
        let media = fast.media();
        assert_eq!((media.skipped, media.payload), (0, payload));
    }
    let (mut received, mut skipped) = (0, 0);
    loop {
        let media = slow.media();
        assert!(media.flags & KEYFRAME > 0);
        received += 1;
        skipped += u64::from(media.skipped);
        assert_eq!(media.seq + 1, received + skipped, "every frame is received or counted");
        if media.seq == 200 {
            break;
        }
    }
    assert!(skipped > 50, "{skipped}");
    assert_eq!(world.viewer.snapshot().streams[0].skipped, skipped);
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let world = World::with(|config| {
        config.limits.send_timeout = Duration::from_millis(200);
        config.limits.send_buffer_bytes = 32 << 10;
    });
    let stream = world.stream("dock", "raw_images");
    world.submit(&stream, stills(1, 100));
    let mut client = Socket::open(world.addr());
    client.watch(0, "jpeg");
    assert_eq!(world.viewer.snapshot().viewers, 1);
    world.submit(&stream, stills(20, 900_000));
    world.wait("its end", |snapshot| snapshot.viewers == 0);
    client.drain();
}

#[test]
fn states_gaps_and_events_are_told() {
    let world = World::new();
    let stream = world.stream("gate", "raw_video");
    world.submit(&stream, video(3));
    let mut client = Socket::open(world.addr());
    let phase = |wanted| move |snapshot: &lumenbus_web::ViewerSnapshot| snapshot.streams[0].state == wanted;
    // Where time is short, the one frame is an old one by the time its state is looked at.
    let plays = |snapshot: &lumenbus_web::ViewerSnapshot| {
        matches!(snapshot.streams[0].state, StreamPhase::Live | StreamPhase::Late)
    };
    world.wait("live", plays);
    stream.offline("unauthorized: the camera refuses its password").unwrap();
    let event = client.told("event");
    assert_eq!((&event["kind"], &event["n"]), (&json!("offline"), &json!(0)));
    world.wait("denied", phase(StreamPhase::Denied));
    world.submit(&stream, video(1));
    assert_eq!(client.told("event")["kind"], "online");
    world.wait("live again", plays);
    stream.lose(5, GapReason::SourceLost).unwrap();
    let gap = client.told("gap");
    assert_eq!((&gap["first"], &gap["last"], &gap["reason"]), (&json!(4), &json!(8), &json!("source-lost")));
    stream.finish(Duration::from_secs(10)).unwrap();
    assert_eq!(client.told("event")["kind"], "end");
    let snapshot = world.wait("ended", phase(StreamPhase::Ended));
    assert_eq!((snapshot.totals.missing, snapshot.totals.unexplained), (5, 0));
    let state = get(world.addr(), "/api/v1/state").json();
    assert_eq!(state["stats"]["streams"][0]["missing"]["source-lost"], 5);
}

#[test]
fn what_a_page_reports_becomes_the_last_stages() {
    let world = World::new();
    let stream = world.stream("gate", "raw_video");
    world.submit(&stream, video(2));
    let mut client = Socket::open(world.addr());
    client.watch(0, "annexb");
    let media = client.media();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of today")]
    let capture_ms = media.capture_micros as f64 / 1_000.0;
    let report = |epoch: String, shown_ms: f64| {
        json!({ "type": "shown", "skipped": [{ "n": 0, "frames": 2 }], "reports": [{
            "n": 0, "epoch": epoch, "seq": media.seq, "received_ms": capture_ms + 10.0,
            "decoded_ms": capture_ms + 25.0, "shown_ms": shown_ms }] })
    };
    // Of a frame that was not sent, and of one shown in a far future: no measurements.
    client.say(&report("1".to_owned(), capture_ms + 40.0));
    client.say(&report(media.epoch.to_string(), 1e300));
    client.say(&report(media.epoch.to_string(), capture_ms + 40.0));
    let snapshot = world.wait("a first picture", |snapshot| snapshot.first_shown.is_some());
    let stages = &snapshot.streams[0].stages;
    assert!((stages["decode"].p99_ms - 15.0).abs() < 0.1 && (stages["shown"].p99_ms - 15.0).abs() < 0.1);
    assert!((stages["total"].p99_ms - 40.0).abs() < 0.1);
    assert_eq!(snapshot.streams[0].skipped, 6);
}

#[test]
fn a_stream_that_comes_later_is_listed_and_its_number_stays() {
    let world = World::new();
    let gate = world.stream("gate", "raw_video");
    world.submit(&gate, video(1));
    let mut client = Socket::open(world.addr());
    assert_eq!(client.told("streams")["streams"].as_array().unwrap().len(), 1);
    let dock = world.stream("dock", "raw_images");
    world.submit(&dock, stills(1, 100));
    loop {
        let Message::Text(message) = client.next() else { continue };
        let list = message["streams"].as_array().cloned().unwrap_or_default();
        if message["type"] == "streams" && list.len() == 2 && list[1]["codec"] == "jpeg" {
            assert_eq!((&list[0]["camera"], &list[1]["camera"]), (&json!("gate"), &json!("dock")));
            break;
        }
    }
}

#[test]
fn the_list_says_in_which_partition_a_stream_is_also_after_a_move() {
    let world = World::new();
    let stream = world.stream("gate", "raw_video");
    world.submit(&stream, video(1));
    let mut client = Socket::open(world.addr());
    let first = client.told("streams")["streams"][0]["partition"].as_u64().unwrap();
    let next = if first == 0 { 1 } else { 0 };
    stream.move_to(next).unwrap();
    world.submit(&stream, video(1));
    while client.told("streams")["streams"][0]["partition"] != next {}
}

#[test]
fn a_snapshot_is_a_jpeg_whatever_the_codec() {
    let world = World::new();
    let (gate, dock) = (world.stream("gate", "raw_video"), world.stream("dock", "raw_images"));
    world.submit(&gate, video(3));
    let still = stills(1, 5_000).next().unwrap();
    world.submit(&dock, [still.clone()]);
    let answer = get(world.addr(), "/api/v1/cameras/gate/snapshot");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/jpeg")));
    let size = lumenbus_codec::jpeg_dimensions(&answer.body).unwrap();
    assert_eq!((size.width, size.height), (64, 48));
    assert_eq!(answer.header("x-lumenbus-seq"), Some("0"));
    assert_eq!(answer.header("x-lumenbus-epoch").unwrap(), gate.epoch().to_string());
    assert_eq!(get(world.addr(), "/api/v1/cameras/dock/snapshot").body, still.payload);
    for (path, status, code) in [
        ("/api/v1/cameras/nobody/snapshot", 404, "unknown-camera"),
        ("/api/v1/cameras/%2e%2e/snapshot", 404, "unknown-camera"),
        ("/api/v1/cameras/gate/snapshot?stream=1", 404, "unknown-camera"),
    ] {
        let answer = get(world.addr(), path);
        assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{path}");
    }
    assert_eq!(get(world.addr(), "/api/v1/cameras/gate/snapshot?stream=x").status, 400);
}
