//! Cameras over HTTP as sources: the suite of cameras on the network, against GStreamer's pictures and against servers
//! that are broken on purpose; and published, through an outage.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_codec::{DecoderConfig, Ticket, decoder};
use lumenbus_frame::{CaptureSource, Clock, Codec, EncodedFrame, FrameRate};
use lumenbus_source::{
    CameraFault, Credentials, Interrupt, Source, SourceError, SourceItem, SourceOptions, SystemClock, open,
};
use lumenbus_tests::cli::BrokerProcess;
use lumenbus_tests::http_camera::{HttpCamera, ScriptedServer, request};
use lumenbus_tests::python::in_repository;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n";

fn connect(url: &str) -> Box<dyn Source> {
    open(url, &SourceOptions::default()).unwrap()
}

/// The next frame; what is damaged on the way is a failure here.
fn next(source: &mut dyn Source) -> EncodedFrame {
    let since = Instant::now();
    loop {
        match source.next_frame().unwrap().unwrap() {
            SourceItem::Encoded { frame, .. } => return frame,
            SourceItem::Nothing => assert!(since.elapsed() < PATIENCE, "no frame comes"),
            other => panic!("{other:?}"),
        }
    }
}

fn fault(error: SourceError) -> CameraFault {
    match error {
        SourceError::Camera { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

/// Reads to the error that ends it.
fn end_of(source: &mut dyn Source) -> CameraFault {
    loop {
        if let Err(error) = source.next_frame() {
            return fault(error);
        }
    }
}

fn refused(url: &str, options: &SourceOptions) -> (CameraFault, String) {
    let error = open(url, options).err().expect("it cannot be opened");
    let text = error.to_string();
    (fault(error), text)
}

fn asked_by(username: &str, password: &str) -> SourceOptions {
    let credentials = Credentials { username: username.to_owned(), password: password.to_owned() };
    SourceOptions { credentials: Some(credentials), ..SourceOptions::default() }
}

/// A small picture.
fn picture() -> Vec<u8> {
    let clip = std::fs::read(in_repository("crates/source/tests/data/two.mjpeg")).unwrap();
    let end = clip.windows(2).position(|marker| marker == [0xff, 0xd9]).unwrap();
    clip[..end + 2].to_vec()
}

fn part(more: &str, picture: &[u8]) -> Vec<u8> {
    [format!("--frame\r\nContent-Type: image/jpeg\r\n{more}\r\n").as_bytes(), picture, b"\r\n"].concat()
}

/// Answers a request with a head and what `parts` gives, until the other side has had enough or there is no more.
fn answer(mut connection: TcpStream, head: &str, parts: impl IntoIterator<Item = Vec<u8>>) {
    if !request(&connection).is_empty() && connection.write_all(head.as_bytes()).is_ok() {
        for part in parts {
            if connection.write_all(&part).is_err() {
                return;
            }
        }
    }
}

#[test]
fn pictures_of_gstreamer_come_as_they_are_made() {
    let Some(camera) = HttpCamera::start(&[]) else { return };
    let mut source = connect(&camera.url("", "/stream"));
    assert_eq!((source.codec(), source.is_live()), (Codec::Jpeg, true));
    let (mut last_pts, mut decoded) = (-1, Vec::new());
    for _ in 0..10 {
        let frame = next(source.as_mut());
        assert!(frame.is_keyframe && frame.capture.source == CaptureSource::Arrival);
        assert!(frame.pts.unwrap() > last_pts, "time goes on");
        last_pts = frame.pts.unwrap();
        let mut decoder = decoder(Codec::Jpeg, &DecoderConfig::default()).unwrap();
        decoder.decode(Ticket(0), &frame, &mut decoded).unwrap();
    }
    assert_eq!(decoded.len(), 10);
    let size = source.parameters().dimensions;
    assert_eq!((size.width, size.height), (320, 240));
}

#[test]
fn a_single_picture_is_asked_for_again_and_again() {
    let Some(camera) = HttpCamera::start(&[]) else { return };
    let options = SourceOptions { frame_rate: Some(FrameRate::per_second(20)), ..SourceOptions::default() };
    let mut source = open(&camera.url("", "/snapshot"), &options).unwrap();
    let first = next(source.as_mut());
    for _ in 0..5 {
        assert_eq!(next(source.as_mut()).payload, first.payload, "it is a frame though it is the same");
    }
    assert_eq!(source.nominal_rate(), Some(FrameRate::per_second(20)));
    camera.wait_for_requests("/snapshot", 6);
}

#[test]
fn a_password_is_asked_for_and_told_to_nobody_else() {
    for scheme in ["basic", "md5", "sha-256"] {
        let more = ["--user", "viewer", "--password", "s3cret word", "--scheme", scheme];
        let Some(camera) = HttpCamera::start(&more) else { return };
        let url = camera.url("", "/snapshot?ch=1");
        let (nobody, _) = refused(&url, &SourceOptions::default());
        assert!(matches!(nobody, CameraFault::NeedsPassword), "{nobody}");
        let (wrong, text) = refused(&url, &asked_by("viewer", "wr0ng"));
        assert!(matches!(wrong, CameraFault::WrongPassword) && !text.contains("wr0ng"), "{text}");
        let mut options = asked_by("viewer", "s3cret word");
        options.frame_rate = Some(FrameRate::per_second(50));
        let mut source = open(&url, &options).unwrap();
        for _ in 0..3 {
            next(source.as_mut());
        }
        let mut source = connect(&camera.url("viewer:s3cret%20word@", "/stream"));
        assert_eq!(source.name(), camera.url("", "/stream"));
        next(source.as_mut());
        // Where there is a choice, nobody who listens learns the password.
        let is_basic = camera.requests().iter().any(|line| line.contains("Basic"));
        assert_eq!(is_basic, scheme == "basic");
        // Nothing is told before it is asked for, and what was asked once is answered at once.
        let snapshots = camera.requests();
        let (open, closed): (Vec<_>, Vec<_>) =
            snapshots.iter().filter(|line| line.contains("/snapshot")).partition(|line| line.ends_with(" -"));
        assert_eq!(open.len(), 3, "one of each visitor: {snapshots:?}");
        assert!(closed.len() >= 4, "{snapshots:?}");
    }
}

#[test]
fn a_wrong_address_is_told_as_what_it_is() {
    let Some(camera) = HttpCamera::start(&[]) else { return };
    let (fault, _) = refused(&camera.url("", "/other"), &SourceOptions::default());
    assert!(matches!(fault, CameraFault::Refused { status: 404, .. }), "{fault}");
    let url = camera.url("", "/stream");
    drop(camera.kill());
    let (fault, text) = refused(&url, &SourceOptions::default());
    assert!(matches!(fault, CameraFault::Unreachable { .. }) && text.contains(&url), "{text}");
    let error = open("https://127.0.0.1:1/stream", &SourceOptions::default()).err().unwrap().to_string();
    assert!(error.contains("https:// are not read"), "{error}");
}

#[test]
fn redirections_are_followed_and_other_hosts_learn_nothing() {
    let Some(camera) = HttpCamera::start(&["--user", "viewer", "--password", "s3cret", "--scheme", "basic"]) else {
        return;
    };
    let Some(stranger) = HttpCamera::start(&[]) else { return };
    let options = asked_by("viewer", "s3cret");
    next(open(&camera.url("", "/moved"), &options).unwrap().as_mut());
    let (fault, _) = refused(&camera.url("", "/loop"), &options);
    assert!(matches!(fault, CameraFault::Protocol { .. }), "{fault}");
    camera.wait_for_requests("/loop", 4);
    assert_eq!(camera.requests().iter().filter(|line| line.starts_with("/loop")).count(), 4);
    next(open(&camera.url("", &format!("/elsewhere?{}", stranger.port())), &options).unwrap().as_mut());
    stranger.wait_for_requests("/snapshot", 1);
    assert!(stranger.requests().iter().all(|line| line == "/snapshot -"), "{:?}", stranger.requests());
    // And a stranger that asks is told nothing.
    let (fault, text) = refused(&stranger.url("", &format!("/elsewhere?{}", camera.port())), &options);
    assert!(matches!(fault, CameraFault::Protocol { .. }) && text.contains("another host"), "{text}");
    assert!(!camera.requests().iter().any(|line| line.starts_with("/snapshot") && !line.ends_with(" -")));
}

#[test]
fn a_camera_that_goes_ends_the_source_and_can_be_opened_again() {
    let Some(camera) = HttpCamera::start(&[]) else { return };
    let url = camera.url("", "/stream");
    let mut source = connect(&url);
    next(source.as_mut());
    let absent = camera.kill();
    let error = end_of(source.as_mut());
    assert!(matches!(error, CameraFault::Ended | CameraFault::Protocol { .. }), "{error}");
    assert!(source.next_frame().is_err(), "an error is final");
    let _camera = absent.start();
    next(connect(&url).as_mut());
}

#[test]
fn a_camera_that_says_nothing_more_is_given_up() {
    let Some(camera) = HttpCamera::start(&[]) else { return };
    let mut source = connect(&camera.url("", "/stream"));
    next(source.as_mut());
    camera.hold();
    assert!(matches!(end_of(source.as_mut()), CameraFault::Silent { .. }));
}

#[test]
fn a_camera_that_drips_is_given_up() {
    // Neither a head nor a picture ever becomes whole.
    let drip = |head: &'static str| {
        ScriptedServer::serve(move |connection| {
            let slowly = std::iter::repeat_with(|| {
                std::thread::park_timeout(Duration::from_millis(20));
                b"x".to_vec()
            });
            answer(connection, head, slowly);
        })
    };
    std::thread::scope(|scope| {
        for head in ["HTTP/1.1 200 OK\r\nX-Slow: ", HEAD, "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n"] {
            scope.spawn(move || {
                let (fault, _) = refused(&drip(head).url("http"), &SourceOptions::default());
                assert!(matches!(fault, CameraFault::Silent { .. } | CameraFault::Protocol { .. }), "{fault}");
            });
        }
    });
}

#[test]
fn answers_that_are_no_pictures_are_refused() {
    let noise: Vec<u8> = (0_u32..200_000).map(|step| (step.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let of = |head: &str, body: &[u8]| [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat();
    let answers: [(&str, Vec<u8>); 12] = [
        ("nothing", Vec::new()),
        ("noise", noise.clone()),
        ("RTSP", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n".to_vec()),
        ("a page", of("Content-Type: text/html\r\nContent-Length: 2\r\n", b"hi")),
        ("no picture", of("Content-Type: image/png\r\nContent-Length: 2\r\n", b"hi")),
        ("two lengths", of("Content-Type: image/jpeg\r\nContent-Length: 2\r\nContent-Length: 3\r\n", b"hi")),
        ("a broken length", of("Content-Type: image/jpeg\r\nContent-Length: -1\r\n", b"hi")),
        ("a broken chunk", of("Content-Type: multipart/x\r\nTransfer-Encoding: chunked\r\n", b"zz\r\n")),
        ("a huge head", of(&"A: b\r\n".repeat(100_000), b"")),
        ("an empty stream", of("Content-Type: multipart/x-mixed-replace\r\nContent-Length: 0\r\n", b"")),
        ("noise in parts", of("Content-Type: multipart/x-mixed-replace; boundary=\"\"\r\n", &noise)),
        ("no address to go on", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in answers {
        let server = ScriptedServer::serve(move |connection| answer(connection, "", [bytes.clone()]));
        let (fault, text) = refused(&server.url("http"), &SourceOptions::default());
        let is_known = matches!(
            fault,
            CameraFault::Protocol { .. }
                | CameraFault::NoVideo { .. }
                | CameraFault::Refused { .. }
                | CameraFault::Ended
        );
        assert!(is_known && text.len() < 600 && !text.contains('\n'), "{name}: {text}");
    }
}

#[test]
fn a_camera_that_gives_only_garbage_is_given_up() {
    let server = ScriptedServer::serve(|connection| {
        answer(connection, HEAD, std::iter::repeat_with(|| part("", b"this is no picture")));
    });
    let (fault, _) = refused(&server.url("http"), &SourceOptions::default());
    assert!(matches!(fault, CameraFault::Garbage { .. }), "{fault}");
}

#[test]
fn damage_costs_one_picture_and_is_told() {
    let good = picture();
    let server = ScriptedServer::serve(move |connection| {
        let cut = &good[..good.len() / 2];
        let parts = [part("", &good), part("Content-Length: 99\r\n", cut), part("Content-Length: 1\r\n", &good)];
        answer(connection, HEAD, parts);
    });
    let mut source = connect(&server.url("http"));
    let mut told = Vec::new();
    loop {
        match source.next_frame() {
            Ok(Some(SourceItem::Encoded { frame, .. })) => told.push(frame.payload.to_vec() == picture()),
            Ok(Some(SourceItem::Damaged { error: SourceError::Lost { .. }, frames: Some(1) })) => told.push(false),
            Ok(Some(SourceItem::Nothing)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(matches!(fault(error), CameraFault::Ended));
                break;
            }
        }
    }
    assert_eq!(told, [true, false, true]);
}

#[test]
fn cameras_that_state_times_are_believed_when_these_can_be() {
    for (seconds_ago, expected) in [(5, CaptureSource::Sensor), (3_600, CaptureSource::Arrival)] {
        let server = ScriptedServer::serve(move |connection| {
            let seconds = SystemClock::default().unix_nanos() / 1_000_000_000 - seconds_ago;
            answer(connection, HEAD, [part(&format!("X-Timestamp: {seconds}.250000\r\n"), &picture())]);
        });
        let before = SystemClock::default().unix_nanos();
        let capture = next(connect(&server.url("http")).as_mut()).capture;
        assert_eq!(capture.source, expected);
        assert_eq!(capture.unix_nanos < before, expected == CaptureSource::Sensor);
        assert_eq!(capture.unix_nanos % 1_000_000_000 == 250_000_000, expected == CaptureSource::Sensor);
    }
}

#[test]
fn single_pictures_come_over_connections_that_close_and_broken_ones_are_told() {
    let asked = AtomicU32::new(0);
    let server = ScriptedServer::serve(move |connection| {
        let whole = picture();
        let sent = if asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { whole } else { whole[..99].to_vec() };
        answer(connection, "HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n\r\n", [sent]);
    });
    let options = SourceOptions { frame_rate: Some(FrameRate::per_second(100)), ..SourceOptions::default() };
    let mut source = open(&server.url("http"), &options).unwrap();
    let mut told = Vec::new();
    while told.len() < 6 {
        match source.next_frame().unwrap().unwrap() {
            SourceItem::Encoded { frame, .. } => told.push(frame.payload == picture()),
            SourceItem::Damaged { error: SourceError::Lost { .. }, frames: Some(1) } => told.push(false),
            SourceItem::Nothing => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, [true, false, true, false, true, false]);
}

#[test]
fn a_challenge_that_has_become_stale_is_answered_anew() {
    let asked = AtomicU32::new(0);
    let server = ScriptedServer::serve(move |mut connection| {
        // Good for one request and its repetition.
        let nonce = format!("nonce=\"{}\"", asked.fetch_add(1, Ordering::SeqCst) / 3);
        let is_known = request(&connection).iter().any(|line| line.contains(&nonce));
        let head = "Connection: close\r\nContent-Type: image/jpeg\r\n";
        let answer = if is_known {
            [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), &picture()].concat()
        } else {
            let challenge = format!("WWW-Authenticate: Digest realm=\"x\", qop=\"auth\", stale=true, {nonce}\r\n");
            format!("HTTP/1.1 401 Unauthorized\r\n{challenge}Content-Length: 0\r\n{head}\r\n").into_bytes()
        };
        connection.write_all(&answer).unwrap();
    });
    let mut options = asked_by("viewer", "s3cret");
    options.frame_rate = Some(FrameRate::per_second(100));
    let mut source = open(&server.url("http"), &options).unwrap();
    for _ in 0..6 {
        assert_eq!(next(source.as_mut()).payload, picture());
    }
}

#[test]
fn opening_a_camera_that_hangs_can_be_interrupted() {
    let (accepted, kept) = (Arc::<AtomicBool>::default(), Mutex::<Vec<TcpStream>>::default());
    let seen = Arc::clone(&accepted);
    let server = ScriptedServer::serve(move |connection| {
        kept.lock().unwrap().push(connection);
        seen.store(true, Ordering::SeqCst);
    });
    let interrupt = Interrupt::new(move || accepted.load(Ordering::SeqCst));
    let options = SourceOptions { interrupt, ..SourceOptions::default() };
    let (fault, _) = refused(&server.url("http"), &options);
    assert!(matches!(fault, CameraFault::Interrupted), "{fault}");
}

/// Counts how often it is asked: once a picture.
#[derive(Default)]
struct CountingClock {
    system: SystemClock,
    asked: Mutex<u64>,
    more: Condvar,
}

impl Clock for CountingClock {
    fn unix_nanos(&self) -> i64 {
        *self.asked.lock().unwrap() += 1;
        self.more.notify_all();
        self.system.unix_nanos()
    }

    fn monotonic_nanos(&self) -> u64 {
        self.system.monotonic_nanos()
    }
}

#[test]
fn what_a_slow_reader_does_not_take_is_bounded_and_counted() {
    const MOST_BYTES: usize = 16 * 1024 * 1024;
    const PICTURES: u64 = 60;
    // Segments that every reader skips make it 660 KB.
    let small = picture();
    let segment = [&[0xff, 0xef, 0xff, 0xff], [0; 65_533].as_slice()].concat();
    let large = [&small[..2], &segment.repeat(10), &small[2..]].concat();
    let server = ScriptedServer::serve(move |connection| {
        answer(connection, HEAD, std::iter::repeat_with(|| part("", &large)));
    });
    let clock = Arc::<CountingClock>::default();
    let options = SourceOptions { clock: Arc::clone(&clock) as _, ..SourceOptions::default() };
    let mut source = open(&server.url("http"), &options).unwrap();
    let asked = clock.asked.lock().unwrap();
    let (asked, waited) = clock.more.wait_timeout_while(asked, PATIENCE, |asked| *asked < PICTURES).unwrap();
    assert!(!waited.timed_out(), "{asked} pictures");
    drop(asked);
    let mut held = 0;
    let left_out = loop {
        match source.next_frame().unwrap().unwrap() {
            SourceItem::Encoded { frame, .. } => held += frame.payload.len(),
            SourceItem::Damaged { error: SourceError::Overrun { .. }, frames } => break frames.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert!((MOST_BYTES / 2..=MOST_BYTES + 2 * 1024 * 1024).contains(&held), "{held} bytes waited");
    assert!(left_out > 0);
}

#[test]
fn a_published_camera_goes_on_in_its_stream_after_an_outage() {
    let more = ["--user", "viewer", "--password", "hunter2", "--scheme", "sha-256", "--fps", "10"];
    let Some(camera) = HttpCamera::start(&more) else { return };
    let (broker, out) = (BrokerProcess::start(), TempDir::new().unwrap());
    let (password, folder) = (out.path().join("gate.password"), out.path().join("pictures"));
    std::fs::write(&password, "wrong\n").unwrap();
    let publish = format!(
        "publish {} --camera gate --username viewer --password-file {} --json",
        camera.url("", "/stream"),
        password.to_str().unwrap()
    );
    let refused = broker.spawn(&publish).finish();
    refused.code(1).says("does not accept this user and password");

    std::fs::write(&password, "hunter2\n").unwrap();
    let publisher = broker.spawn(&publish);
    publisher.wait_for_objects(1, |object| object["type"] == "camera" && object["state"] == "live");
    let reader = broker
        .spawn(&format!("subscribe --camera gate --from start --json --as coded --out {}", folder.to_str().unwrap()));
    reader.wait_for_objects(10, |object| object["type"] == "frame");
    let absent = camera.kill();
    reader.wait_for_objects(1, |object| object["type"] == "offline");
    let camera = absent.start();
    publisher.wait_for_objects(2, |object| object["type"] == "camera" && object["state"] == "live");
    reader.wait_for_objects(1, |object| object["type"] == "frame" && object["discontinuity"] == true);
    let published = publisher.interrupt().code(3);
    reader.wait_for_objects(1, |object| object["type"] == "end");
    let read = reader.interrupt().code(3);
    let stream = &read.summary()["streams"][0];
    assert_eq!((&stream["unexplained"], &stream["missing"]), (&0.into(), &serde_json::json!({ "source-lost": 1 })));
    assert_eq!(stream["published_in_ended_epochs"], published.summary()["published"]);
    let files = std::fs::read_dir(folder.join("gate")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.map(|file| std::fs::read(file).unwrap()).collect();
    assert_eq!(files.len(), read.objects("frame").len());
    assert!(files.iter().all(|file| file.starts_with(&[0xff, 0xd8]) && file.ends_with(&[0xff, 0xd9])));
    for text in [&published.stdout, &published.stderr, &read.stdout, &read.stderr] {
        assert!(!text.contains("hunter2"));
    }
    assert!(!camera.requests().iter().any(|line| line.contains("Basic")));
}
