//! What was recorded: stretches, pictures of moments, playing, the way back, clips.

use crate::support::{
    Answer, Media, Message, PATIENCE, PATTERN_INTERVAL_MILLIS, Socket, World, connect, get, now_nanos, pattern, stills,
};
use lumenbus_bus::index::IndexReader;
use lumenbus_codec::{DecoderConfig, Ticket, decoder};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, StreamId};
use lumenbus_source::read_marker;
use lumenbus_web::packet::{CATCH_UP, DISCONTINUITY, KEYFRAME, PREROLL, RECORDED};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const GOP: u64 = 10;
const INTERVAL_NANOS: i64 = PATTERN_INTERVAL_MILLIS.cast_signed() * 1_000_000;

/// Forty pictures of a minute ago, as a camera that has ended.
struct Recorded {
    world: World,
    begin: i64,
}

impl Recorded {
    fn new(codec: Codec) -> Self {
        let world = World::new();
        // Pages know of microseconds, capture times have nanoseconds.
        let begin = (now_nanos() - 60_000_000_000) / 1_000_000 * 1_000_000 + 123_789;
        let stream = world.stream("gate", if codec == Codec::Jpeg { "raw_images" } else { "raw_video" });
        world.submit(&stream, pattern(codec, 4 * GOP, u32::try_from(GOP).unwrap(), begin));
        drop(stream);
        Self { world, begin }
    }

    /// When picture `n` was taken, as a page has it, to the microsecond.
    fn at_ms(&self, n: u64) -> String {
        let nanos = self.begin + i64::try_from(n).unwrap() * INTERVAL_NANOS;
        format!("{}.{:03}", nanos / 1_000_000, nanos / 1_000 % 1_000)
    }

    fn at(&self, n: u64) -> f64 {
        self.at_ms(n).parse().unwrap()
    }

    fn picture(&self, n: u64, more: &str) -> Answer {
        get(self.world.addr(), &format!("/api/v1/cameras/gate/snapshot?stream=0&at_ms={}{more}", self.at_ms(n)))
    }

    fn timeline(&self, from: u64, to: u64) -> Value {
        let (from, to) = (self.at_ms(from), self.at_ms(to));
        let path = format!("/api/v1/cameras/gate/timeline?stream=0&from_ms={from}&to_ms={to}&width=500");
        let answer = get(self.world.addr(), &path);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    fn watcher(&self, form: &str) -> Socket {
        let mut client = Socket::open(self.world.addr());
        client.watch(0, form);
        client
    }
}

/// What is there once the publisher has written its index, which it does behind the frames: no reader is told when.
#[track_caller]
fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The counter burnt into a picture of the test pattern.
fn counter(file: &[u8]) -> u64 {
    let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), file.to_vec().into());
    let mut pictures = Vec::new();
    decoder(Codec::Jpeg, &DecoderConfig::default()).unwrap().decode(Ticket(0), &frame, &mut pictures).unwrap();
    u64::from(read_marker(&pictures[0].frame).expect("the pattern has a marker").counter)
}

/// An answer that comes in pieces, to its end.
fn download(addr: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut stream = connect(addr);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "closed after {head:?}");
    }
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        stream.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or_else(|_| panic!("{size:?} after {head}"));
        let from = body.len();
        body.resize(from + size + 2, 0);
        stream.read_exact(&mut body[from..]).unwrap();
        body.truncate(from + size);
        if size == 0 {
            return (head, body);
        }
    }
}

#[test]
fn the_picture_of_a_moment_is_the_right_one() {
    let recorded = Recorded::new(Codec::H264);
    for n in [0, 3, 9, 10, 17, 25, 39] {
        let exact = recorded.picture(n, "&exact=1");
        assert_eq!(exact.status, 200, "{exact:?}");
        assert_eq!((exact.header("x-lumenbus-seq"), counter(&exact.body)), (Some(n.to_string().as_str()), n));
        let nanos = recorded.begin + i64::try_from(n).unwrap() * INTERVAL_NANOS;
        assert_eq!(exact.header("x-lumenbus-capture-unix-nanos"), Some(nanos.to_string().as_str()));
        assert_eq!(exact.header("x-lumenbus-moments"), Some("1"));
        let near = recorded.picture(n, "");
        assert_eq!(counter(&near.body), n / GOP * GOP, "the keyframe before it");
        // Asked again, it comes out of what is kept.
        assert_eq!(recorded.picture(n, "").body, near.body);
    }
    // Between two pictures, the one before; after the last one, that.
    let between = recorded.begin + 17 * INTERVAL_NANOS + INTERVAL_NANOS / 2;
    let path = format!("/api/v1/cameras/gate/snapshot?at_ms={}&exact=1", between / 1_000_000);
    assert_eq!(counter(&get(recorded.world.addr(), &path).body), 17);
    assert_eq!(counter(&recorded.picture(400, "&exact=1").body), 39);
}

#[test]
fn the_last_frame_before_a_keyframe_is_found_though_the_index_does_not_know_it() {
    let recorded = Recorded::new(Codec::H264);
    let gate = StreamId::main("gate".parse().unwrap(), "raw_video".parse().unwrap());
    let mut index = IndexReader::open(&recorded.world.bus).unwrap();
    let keyframe = index.find(&gate, recorded.begin + 35 * INTERVAL_NANOS).unwrap().remove(0);
    assert_eq!(keyframe.id.seq.0, 3 * GOP);
    let mut before = |keyframe| index.last_frame_before(&gate, keyframe).unwrap().map(|found| found.seq.0);
    assert_eq!((before(Some(&keyframe)), before(None)), (Some(3 * GOP - 1), Some(4 * GOP - 1)));
    let other = StreamId::main("other".parse().unwrap(), "raw_video".parse().unwrap());
    assert_eq!(index.last_frame_before(&other, Some(&keyframe)).unwrap(), None);
    assert_eq!(index.last_frame_before(&other, None).unwrap(), None);
}

#[test]
fn jpeg_streams_have_every_moment() {
    let recorded = Recorded::new(Codec::Jpeg);
    for n in [0, 7, 39] {
        let exact = recorded.picture(n, "&exact=1");
        assert_eq!((exact.status, counter(&exact.body)), (200, n));
    }
}

#[test]
fn the_timeline_says_where_there_is_footage() {
    let recorded = Recorded::new(Codec::H264);
    let told = until(|| Some(recorded.timeline(0, 100)).filter(|told| told["is_complete"] == true));
    let keyframes: Vec<f64> = told["keyframes"].as_array().unwrap().iter().map(|at| at.as_f64().unwrap()).collect();
    assert_eq!(keyframes, [0, 10, 20, 30].map(|n| recorded.at(n)), "{told}");
    assert_eq!((&told["oldest_ms"], &told["is_complete"]), (&json!(recorded.at(0)), &json!(true)), "{told}");
    let footage = told["footage"].as_array().unwrap();
    assert_eq!((footage.len(), &footage[0]["from_ms"]), (1, &json!(recorded.at(0))), "{told}");
    let end = footage[0]["to_ms"].as_f64().unwrap();
    assert!(end >= recorded.at(39) && end < recorded.at(60), "{told}");
    assert_eq!(told["gaps"], json!([]), "{told}");
    let before = get(recorded.world.addr(), "/api/v1/cameras/gate/timeline?from_ms=1000&to_ms=2000").json();
    assert_eq!((&before["footage"], &before["keyframes"]), (&json!([]), &json!([])));
}

/// A message about playing, passing by everything else.
fn told(client: &mut Socket, state: &str) -> Value {
    loop {
        let playback = client.told("playback");
        if playback["state"] == state {
            return playback;
        }
    }
}

/// That playing is over, by its number: live where the viewer still takes the silent camera for that.
fn over(client: &mut Socket) -> Value {
    loop {
        let playback = client.told("playback");
        if playback["state"] == "live" || playback["state"] == "ended" {
            return playback["id"].clone();
        }
    }
}

fn recorded_media(client: &mut Socket) -> Media {
    loop {
        let media = client.media();
        if media.flags & RECORDED != 0 {
            return media;
        }
    }
}

#[test]
fn playing_begins_at_the_moment_and_ends_with_the_recording() {
    let recorded = Recorded::new(Codec::H264);
    let mut client = recorded.watcher("annexb");
    client.say(&json!({ "type": "play", "n": 0, "id": 9, "at_ms": recorded.at(13), "speed": 1 }));
    let answer = told(&mut client, "playing");
    assert_eq!((&answer["id"], &answer["n"], &answer["speed"]), (&json!(9), &json!(0), &json!(1.0)));
    for seq in 10..40 {
        let media = recorded_media(&mut client);
        let mut flags = RECORDED;
        flags |= if seq % GOP == 0 { KEYFRAME } else { 0 };
        flags |= if seq == 10 { DISCONTINUITY } else { 0 };
        flags |= if seq < 13 { PREROLL | CATCH_UP } else { 0 };
        assert_eq!((media.seq, media.flags), (seq, flags));
        assert_eq!(media.capture_micros, (recorded.begin + i64::try_from(seq).unwrap() * INTERVAL_NANOS) / 1_000);
    }
    assert_eq!(over(&mut client), 9);
}

#[test]
fn backwards_goes_from_keyframe_to_keyframe() {
    let recorded = Recorded::new(Codec::H264);
    let mut client = recorded.watcher("annexb");
    client.say(&json!({ "type": "play", "n": 0, "id": 1, "at_ms": recorded.at(35), "speed": -16 }));
    let mut last_pts = i64::MIN;
    for seq in [30, 20, 10, 0] {
        let media = recorded_media(&mut client);
        assert_eq!((media.seq, media.flags & (KEYFRAME | RECORDED | PREROLL)), (seq, KEYFRAME | RECORDED));
        assert!(media.pts_micros > last_pts, "times rise, or a decoder holds pictures back");
        last_pts = media.pts_micros;
    }
    assert_eq!(told(&mut client, "ended")["id"], 1);
}

#[test]
fn fast_playing_shows_keyframes_only() {
    let recorded = Recorded::new(Codec::H264);
    let mut client = recorded.watcher("annexb");
    client.say(&json!({ "type": "play", "n": 0, "id": 1, "at_ms": recorded.at(0), "speed": 16 }));
    // Close to the newest frame it may go live with what is left.
    let mut seen = Vec::new();
    loop {
        match client.next() {
            Message::Media(media) if media.flags & RECORDED != 0 => seen.push(media.seq),
            Message::Text(told) if told["state"] == "live" || told["state"] == "ended" => break,
            Message::Media(_) | Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(!seen.is_empty() && [0, 10, 20, 30].starts_with(&seen), "{seen:?}");
}

#[test]
fn the_newest_wish_wins_and_pausing_is_silence() {
    let recorded = Recorded::new(Codec::H264);
    let mut client = recorded.watcher("annexb");
    for (id, n) in [(1, 5), (2, 25), (3, 12)] {
        client.say(&json!({ "type": "play", "n": 0, "id": id, "at_ms": recorded.at(n), "speed": 0.25 }));
    }
    while told(&mut client, "playing")["id"] != 3 {}
    assert_eq!(recorded_media(&mut client).seq, 10);
    client.say(&json!({ "type": "pause", "n": 0, "id": 4 }));
    assert_eq!(told(&mut client, "paused")["id"], 4);
    let stream = recorded.world.stream("gate", "raw_video");
    recorded.world.submit(&stream, pattern(Codec::H264, 3, 10, now_nanos()));
    client.say(&json!({ "type": "ping", "t0": 1.0 }));
    loop {
        match client.next() {
            Message::Text(message) if message["type"] == "pong" => break,
            Message::Text(_) => {}
            other => panic!("{other:?} while it is paused"),
        }
    }
    client.say(&json!({ "type": "live", "n": 0, "id": 5 }));
    assert_eq!(told(&mut client, "live")["id"], 5);
    let media = client.media();
    assert_eq!((media.seq, media.epoch, media.flags & RECORDED), (0, stream.epoch().0, 0));
}

#[test]
fn who_changes_their_mind_often_gets_the_newest_wish() {
    let recorded = Recorded::new(Codec::H264);
    let mut client = recorded.watcher("annexb");
    // More wishes than recordings are read at a time by all clients together.
    let newest = 60;
    for id in 1..=newest {
        let n = if id == newest { 25 } else { 5 };
        client.say(&json!({ "type": "play", "n": 0, "id": id, "at_ms": recorded.at(n), "speed": 1 }));
    }
    loop {
        let answer = client.told("playback");
        assert_eq!(answer["state"], "playing", "{answer}");
        if answer["id"] == newest {
            break;
        }
    }
    assert_eq!(recorded_media(&mut client).seq, 20);
}

#[test]
fn who_catches_up_goes_on_with_what_comes() {
    let recorded = Recorded::new(Codec::H264);
    let stream = recorded.world.stream("gate", "raw_video");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A camera: as long as the test looks, a picture each twentieth of a second.
            for frame in pattern(Codec::H264, 50, 10, 0).iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                stream.submit(EncodedFrame { capture: CaptureTime::arrival(now_nanos()), ..frame.clone() }).unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let _over = SetOnDrop(&is_over);
        // Before its first keyframe came, what was recorded would be what comes.
        recorded.world.wait("the camera", |snapshot| snapshot.streams.iter().any(|stream| stream.frames > 4 * GOP));
        let mut client = recorded.watcher("annexb");
        client.say(&json!({ "type": "play", "n": 0, "id": 1, "at_ms": recorded.at(38), "speed": 16 }));
        assert_eq!(told(&mut client, "live")["id"], 1);
        let mut last = client.media();
        assert_eq!(last.flags & RECORDED, 0, "what comes now is not recorded");
        for _ in 0..10 {
            let next = client.media();
            assert_eq!((next.epoch, next.flags & RECORDED), (stream.epoch().0, 0));
            assert!(next.seq > last.seq);
            last = next;
        }
    });
}

/// Ends the camera of a test also when the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn media_source_gets_recorded_segments() {
    let recorded = Recorded::new(Codec::H264);
    let mut client = recorded.watcher("fmp4");
    client.say(&json!({ "type": "play", "n": 0, "id": 1, "at_ms": recorded.at(12), "speed": 1 }));
    let first = recorded_media(&mut client);
    assert_eq!((first.kind, &first.payload[4..8]), (2, &b"ftyp"[..]));
    let mut last = i64::MIN;
    for seq in 10..20 {
        let media = recorded_media(&mut client);
        assert_eq!((media.kind, media.seq), (3, seq));
        assert!(media.pts_micros > last);
        last = media.pts_micros;
    }
}

#[test]
fn what_cannot_be_played_says_why() {
    let recorded = Recorded::new(Codec::H264);
    let mut client = Socket::open(recorded.world.addr());
    client.say(&json!({ "type": "play", "n": 0, "id": 1, "at_ms": 1.0, "speed": 1 }));
    let refused = told(&mut client, "failed");
    assert_eq!((&refused["code"], &refused["id"]), (&json!("not-watched"), &json!(1)), "{refused}");
    client.watch(0, "annexb");
    client.say(&json!({ "type": "play", "n": 0, "id": 2, "at_ms": 1.0, "speed": -1 }));
    assert_eq!(told(&mut client, "failed")["code"], "no-footage");
    // Forwards, it begins with the oldest there is.
    client.say(&json!({ "type": "play", "n": 0, "id": 3, "at_ms": 1.0, "speed": 1 }));
    assert_eq!(recorded_media(&mut client).seq, 0);
    client.say(&json!({ "type": "play", "n": 0, "id": 4, "at_ms": 1.0, "speed": 99 }));
    assert_eq!(client.refusal().0, "malformed");
}

#[test]
fn a_clip_is_a_file_with_a_name() {
    let recorded = Recorded::new(Codec::H264);
    let path = |name: &str, from: u64, to: u64, more: &str| {
        format!(
            "/api/v1/cameras/gate/{name}?stream=0&from_ms={}&to_ms={}{more}",
            recorded.at_ms(from),
            recorded.at_ms(to)
        )
    };
    let addr = recorded.world.addr();
    assert_eq!(get(addr, &path("clip.mp4", 5, 25, "&check=1")).status, 200);
    let (head, file) = download(addr, &path("clip.mp4", 5, 25, ""));
    assert!(head.contains("200 OK") && head.to_lowercase().contains("content-type: video/mp4"), "{head}");
    assert!(head.contains("attachment; filename=\"gate-20") && head.contains("Z.mp4\""), "{head}");
    assert_eq!(&file[4..8], b"ftyp");
    let movies = file.windows(4).filter(|name| name == b"moof").count();
    assert!(movies >= 2, "{movies} fragments");
    let code = |path: &str| {
        let answer = get(addr, path);
        (answer.status, answer.code())
    };
    assert_eq!(code(&path("clip.mjpeg", 5, 25, "")), (409, "other-form".to_owned()));
    assert_eq!(code(&path("clip.mp4", 25, 5, "")), (400, "bad-stretch".to_owned()));
    assert_eq!(code(&path("clip.mp4", 0, 40_000, "")), (400, "bad-stretch".to_owned()));
    assert_eq!(code("/api/v1/cameras/gate/clip.mp4?from_ms=1000&to_ms=2000"), (404, "no-footage".to_owned()));
    assert_eq!(code("/api/v1/cameras/other/clip.mp4?from_ms=1000&to_ms=2000"), (404, "unknown-camera".to_owned()));
    assert_eq!(code("/api/v1/cameras/gate/snapshot?at_ms=-5"), (400, "bad-stretch".to_owned()));
    assert_eq!(code("/api/v1/cameras/gate/snapshot?at_ms=5"), (404, "no-footage".to_owned()));
    for path in ["timeline?from_ms=x", "snapshot?stream=70000", "clip.mp4?from_ms=1", "clip.mp4?from_ms=1&to_ms="] {
        assert_eq!(code(&format!("/api/v1/cameras/gate/{path}")), (400, "bad-query".to_owned()), "{path}");
    }
    assert_eq!(code("/api/v1/cameras/%ff/timeline"), (400, "bad-path".to_owned()));
}

#[test]
fn a_clip_of_jpeg_is_its_files_one_after_another() {
    let recorded = Recorded::new(Codec::Jpeg);
    let (from, to) = (recorded.at_ms(5), recorded.at_ms(9));
    let path = format!("/api/v1/cameras/gate/clip.mjpeg?stream=0&from_ms={from}&to_ms={to}");
    let (_, file) = download(recorded.world.addr(), &path);
    let begins: Vec<usize> = (0..file.len() - 2).filter(|at| file[*at..*at + 3] == [0xff, 0xd8, 0xff]).collect();
    assert_eq!(begins.len(), 5);
    for (at, expected) in begins.iter().zip(5..) {
        assert_eq!(counter(&file[*at..]), expected);
    }
}

#[test]
fn asking_too_much_at_once_is_refused_and_hurts_nobody() {
    let recorded = Recorded::new(Codec::H264);
    let at = recorded.at_ms(15);
    std::thread::scope(|scope| {
        let ask = || get(recorded.world.addr(), &format!("/api/v1/cameras/gate/snapshot?at_ms={at}&exact=1")).status;
        let all: Vec<_> = (0..60).map(|_| scope.spawn(ask)).collect();
        let all: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(all.iter().all(|status| matches!(status, 200 | 503)) && all.contains(&200), "{all:?}");
    });
    assert_eq!(counter(&recorded.picture(15, "&exact=1").body), 15);
}

#[test]
fn stills_are_handed_on_as_they_were_published() {
    let world = World::new();
    let stream = world.stream("gate", "raw_images");
    world.submit(&stream, stills(3, 2_000));
    let at = now_nanos() / 1_000_000;
    let answer = get(world.addr(), &format!("/api/v1/cameras/gate/snapshot?at_ms={at}"));
    assert_eq!((answer.status, answer.body.len(), &answer.body[..2]), (200, 2_000, &[0xff, 0xd8][..]));
}
