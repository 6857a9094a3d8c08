//! Cameras on the network as sources: one suite, against GStreamer's RTSP server and against servers that are broken
//! on purpose.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lumenbus_codec::{DecoderConfig, Ticket, decoder, jpeg_dimensions};
use lumenbus_frame::bitstream::{NalCodec, content_nal_units};
use lumenbus_frame::{CaptureSource, Clock, Codec, EncodedFrame};
use lumenbus_source::{
    CameraFault, Credentials, Interrupt, Source, SourceError, SourceItem, SourceOptions, SystemClock, open,
};
use lumenbus_tests::cli::footage;
use lumenbus_tests::python::in_repository;
use lumenbus_tests::rtsp::{RtspServer, ScriptedCamera};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The NAL units of an access unit without parameter sets and delimiters, which are repeated where they are missing.
fn content(codec: NalCodec, unit: &Bytes) -> Vec<Bytes> {
    content_nal_units(codec, unit).map(|nal| unit.slice_ref(nal)).collect()
}

fn units_of_file(path: &Path, codec: NalCodec) -> Vec<Vec<Bytes>> {
    let mut source = open(path.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut units = Vec::new();
    while let Some(item) = source.next_frame().unwrap() {
        let SourceItem::Encoded { frame, .. } = item else { panic!("{item:?}") };
        units.push(content(codec, &frame.payload));
    }
    units
}

/// Small pictures: nothing is lost on the way, by UDP either.
fn small_h265() -> PathBuf {
    in_repository("crates/source/tests/data/h265_open_gop.h265")
}

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

/// Holds more than a whole loop to the units of the file.
fn expect_units(source: &mut dyn Source, units: &[Vec<Bytes>], codec: NalCodec) {
    let first = next(source);
    assert!(first.is_keyframe && first.parameters.is_some());
    let first = content(codec, &first.payload);
    let begin = units.iter().position(|unit| *unit == first).expect("it begins with a unit of the file");
    for step in 1..units.len() + 10 {
        let place = (begin + step) % units.len();
        let found = content(codec, &next(source).payload);
        assert!(found == units[place], "unit {place} of the file is another, {step} after the first");
    }
}

fn fault(error: SourceError) -> CameraFault {
    match error {
        SourceError::Camera { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

/// Reads to the error that ends it.
fn end_of(source: &mut dyn Source) -> SourceError {
    loop {
        if let Err(error) = source.next_frame() {
            return error;
        }
    }
}

fn refused(url: &str, options: &SourceOptions) -> (CameraFault, String) {
    let error = open(url, options).err().expect("it cannot be opened");
    let text = error.to_string();
    (fault(error), text)
}

#[test]
fn h264_over_tcp_is_the_file_unit_by_unit() {
    let Some(clip) = footage("street1080.264") else { return };
    let Some(server) = RtspServer::start(&clip, &["--fps", "50"]) else { return };
    let mut source = connect(&server.url(""));
    assert_eq!((source.codec(), source.is_live()), (Codec::H264, true));
    let size = source.parameters().dimensions;
    assert_eq!((size.width, size.height), (1920, 1080));
    expect_units(source.as_mut(), &units_of_file(&clip, NalCodec::H264), NalCodec::H264);
}

#[test]
fn h265_is_the_file_unit_by_unit_over_either_transport() {
    let Some(server) = RtspServer::start(&small_h265(), &["--codec", "h265"]) else { return };
    let units = units_of_file(&small_h265(), NalCodec::H265);
    for transport in ["", "#transport=udp"] {
        let mut source = connect(&format!("{}{transport}", server.url("")));
        assert_eq!(source.codec(), Codec::H265);
        expect_units(source.as_mut(), &units, NalCodec::H265);
    }
}

#[test]
fn jpeg_pictures_are_files_that_can_be_decoded() {
    let Some(server) = RtspServer::start(Path::new("-"), &["--codec", "jpeg"]) else { return };
    let mut source = connect(&server.url(""));
    assert_eq!(source.codec(), Codec::Jpeg);
    for _ in 0..10 {
        let frame = next(source.as_mut());
        let size = jpeg_dimensions(&frame.payload).unwrap();
        assert_eq!((size.width, size.height, frame.is_keyframe), (320, 240, true));
        let mut decoder = decoder(Codec::Jpeg, &DecoderConfig::default()).unwrap();
        let mut pictures = Vec::new();
        decoder.decode(Ticket(0), &frame, &mut pictures).unwrap();
        assert_eq!(pictures.len(), 1);
    }
}

#[test]
fn a_password_is_asked_for_and_told_to_nobody_else() {
    let more = ["--codec", "h265", "--user", "viewer", "--password", "s3cret word"];
    let Some(server) = RtspServer::start(&small_h265(), &more) else { return };
    let of = |password: &str| {
        let credentials = Credentials { username: "viewer".to_owned(), password: password.to_owned() };
        SourceOptions { credentials: Some(credentials), ..SourceOptions::default() }
    };
    let url = server.url("");
    let (nobody, _) = refused(&url, &SourceOptions::default());
    assert!(matches!(nobody, CameraFault::NeedsPassword), "{nobody}");
    let (wrong, text) = refused(&url, &of("wr0ng"));
    assert!(matches!(wrong, CameraFault::WrongPassword) && !text.contains("wr0ng"), "{text}");
    next(open(&url, &of("s3cret word")).unwrap().as_mut());
    let mut source = connect(&server.url("viewer:s3cret%20word@"));
    assert_eq!(source.name(), url);
    next(source.as_mut());
}

#[test]
fn a_wrong_address_is_told_as_what_it_is() {
    let Some(server) = RtspServer::start(&small_h265(), &["--codec", "h265"]) else { return };
    let (fault, _) = refused(&server.url("").replace("/cam", "/other"), &SourceOptions::default());
    assert!(matches!(fault, CameraFault::Refused { status: 404, .. }), "{fault}");
    let url = server.url("");
    drop(server.kill());
    let (fault, text) = refused(&url, &SourceOptions::default());
    assert!(matches!(fault, CameraFault::Unreachable { .. }) && text.contains(&url), "{text}");
}

#[test]
fn a_camera_that_goes_ends_the_source_and_can_be_opened_again() {
    let Some(server) = RtspServer::start(&small_h265(), &["--codec", "h265"]) else { return };
    let url = server.url("");
    let mut source = connect(&url);
    next(source.as_mut());
    let absent = server.kill();
    let error = fault(end_of(source.as_mut()));
    assert!(matches!(error, CameraFault::Ended | CameraFault::Protocol { .. }), "{error}");
    assert!(source.next_frame().is_err(), "an error is final");
    let _server = absent.start();
    next(connect(&url).as_mut());
}

#[test]
fn a_camera_that_says_nothing_more_is_given_up() {
    let Some(server) = RtspServer::start(&small_h265(), &["--codec", "h265"]) else { return };
    let mut source = connect(&server.url(""));
    next(source.as_mut());
    server.hold();
    assert!(matches!(fault(end_of(source.as_mut())), CameraFault::Silent { .. }));
}

/// A server that does with each connection what it is told to, until the test is over.
struct Broken {
    url: String,
    address: std::net::SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Broken {
    fn serve(behave: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                behave(connection.unwrap());
            }
        });
        Self { url: format!("rtsp://{address}/cam"), address, is_over, thread: Some(thread) }
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Reads the request, and answers with these bytes.
fn answer(mut connection: TcpStream, bytes: &[u8]) {
    let mut request = [0; 4096];
    if connection.read(&mut request).is_ok() {
        // The other side may have had enough.
        drop(connection.write_all(bytes));
    }
}

#[test]
fn a_camera_that_gives_only_reports_is_given_up() {
    let server = Broken::serve(|connection| {
        let mut camera = ScriptedCamera::play(connection);
        camera.picture().unwrap();
        let began = Instant::now();
        // Until the other side has had enough, or never will.
        while began.elapsed() < PATIENCE && camera.report().is_ok() {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    });
    let mut source = connect(&server.url);
    assert!(next(source.as_mut()).is_keyframe);
    let error = fault(end_of(source.as_mut()));
    assert!(matches!(error, CameraFault::Silent { .. }), "{error}");
}

#[test]
fn a_camera_that_is_left_is_told_nothing_more() {
    let (told, rest) = std::sync::mpsc::channel();
    let server = Broken::serve(move |connection| {
        let mut camera = ScriptedCamera::play(connection);
        camera.picture().unwrap();
        told.send(camera.rest()).unwrap();
    });
    let mut source = connect(&server.url);
    next(source.as_mut());
    drop(source);
    let rest = rest.recv_timeout(PATIENCE).unwrap();
    assert!(!rest.windows(8).any(|word| word == b"TEARDOWN"), "{}", String::from_utf8_lossy(&rest));
}

/// Stands for a defect in what reads packets.
struct Defective;

impl Clock for Defective {
    fn unix_nanos(&self) -> i64 {
        panic!("a defect that this test wants");
    }

    fn monotonic_nanos(&self) -> u64 {
        0
    }
}

#[test]
fn a_defect_while_reading_a_camera_ends_its_source() {
    let server = Broken::serve(|connection| {
        let mut camera = ScriptedCamera::play(connection);
        camera.picture().unwrap();
        drop(camera.rest());
    });
    let since = Instant::now();
    let interrupt = Interrupt::new(move || since.elapsed() > PATIENCE);
    let options = SourceOptions { clock: Arc::new(Defective), interrupt, ..SourceOptions::default() };
    let (fault, text) = refused(&server.url, &options);
    assert!(matches!(fault, CameraFault::Defect), "{text}");
    next(connect(&server.url).as_mut());
}

#[test]
fn answers_that_are_no_rtsp_are_refused() {
    let noise: Vec<u8> = (0_u32..200_000).map(|step| (step.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sdp = |sdp: &str| {
        let length = sdp.len();
        format!("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}")
    };
    let answers: [(&str, Vec<u8>); 10] = [
        ("nothing", Vec::new()),
        ("noise", noise),
        ("HTTP", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()),
        ("a huge length", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 99999999999\r\n\r\n".to_vec()),
        ("a negative length", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n".to_vec()),
        ("packets", [b"$\0\xff\xff".as_slice(), &[0; 100_000]].concat()),
        ("no session", sdp("v=0\r\n").into_bytes()),
        ("no video", sdp("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n").into_bytes()),
        ("a header cut off", [b"RTSP/1.0 200 OK\r\n".as_slice(), &b"A: b\r\n".repeat(100_000)].concat()),
        ("noise as SDP", sdp(&"\u{fffd}=\r\n".repeat(1_000)).into_bytes()),
    ];
    for (name, bytes) in answers {
        let server = Broken::serve(move |connection| answer(connection, &bytes));
        let (fault, text) = refused(&server.url, &SourceOptions::default());
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
fn a_camera_that_drips_is_given_up() {
    let server = Broken::serve(|mut connection| {
        // Until the other side has had enough.
        while connection.write_all(b"\r").is_ok() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let (fault, _) = refused(&server.url, &SourceOptions::default());
    assert!(matches!(fault, CameraFault::Silent { .. } | CameraFault::Protocol { .. }), "{fault}");
}

#[test]
fn opening_a_camera_that_hangs_can_be_interrupted() {
    let (accepted, is_accepted) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<TcpStream>>>::default());
    let (seen, kept) = (Arc::clone(&accepted), Arc::clone(&is_accepted));
    let server = Broken::serve(move |connection| {
        kept.lock().unwrap().push(connection);
        seen.store(true, Ordering::SeqCst);
    });
    let options = SourceOptions {
        interrupt: Interrupt::new(move || accepted.load(Ordering::SeqCst)),
        ..SourceOptions::default()
    };
    let (fault, _) = refused(&server.url, &options);
    assert!(matches!(fault, CameraFault::Interrupted), "{fault}");
}

#[test]
fn sender_reports_date_the_frames() {
    let Some(server) = RtspServer::start(&small_h265(), &["--codec", "h265"]) else { return };
    let mut source = connect(&server.url(""));
    let clock = SystemClock::default();
    let (mut last, mut reported, since) = (0, 0, Instant::now());
    while reported < 20 {
        let frame = next(source.as_mut());
        let capture = frame.capture;
        let age = clock.unix_nanos() - capture.unix_nanos;
        assert!(capture.unix_nanos > last, "time goes on");
        assert!((-1_000_000_000..60_000_000_000).contains(&age), "{age} ns ago");
        last = capture.unix_nanos;
        reported += u32::from(capture.source == CaptureSource::Rtcp);
        assert!(since.elapsed() < PATIENCE, "no sender report comes");
    }
}

/// Counts how often it is asked: once a packet.
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
    let Some(clip) = footage("street1080.264") else { return };
    let Some(server) = RtspServer::start(&clip, &["--fps", "200"]) else { return };
    let clock = Arc::<CountingClock>::default();
    let options = SourceOptions { clock: Arc::clone(&clock) as _, ..SourceOptions::default() };
    let mut source = open(&server.url(""), &options).unwrap();
    // Packets have at most 1400 bytes: these are 28 MB, while nobody reads.
    let asked = clock.asked.lock().unwrap();
    let (asked, waited) = clock.more.wait_timeout_while(asked, PATIENCE, |asked| *asked < 20_000).unwrap();
    assert!(!waited.timed_out(), "{asked} packets");
    drop(asked);
    let mut held = 0;
    let left_out = loop {
        match source.next_frame().unwrap().unwrap() {
            SourceItem::Encoded { frame, .. } => held += frame.payload.len(),
            SourceItem::Damaged { error: SourceError::Overrun { .. }, frames } => break frames.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert!((MOST_BYTES / 2..=MOST_BYTES + 1024 * 1024).contains(&held), "{held} bytes waited");
    assert!(left_out > 0);
    // Until the next keyframe everything is left out.
    let behind = loop {
        match source.next_frame().unwrap().unwrap() {
            SourceItem::Encoded { frame, .. } => break frame,
            SourceItem::Nothing | SourceItem::Damaged { error: SourceError::Overrun { .. }, .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(behind.is_keyframe);
}
