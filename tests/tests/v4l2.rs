//! Cameras at this machine: the program on devices that are played to it (`tests/v4l2/player.c`), with real footage.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_source::{SourceItem, SourceOptions, open};
use lumenbus_tests::cli::{Background, BrokerProcess, footage, lumenbus, skip, words};
use lumenbus_tests::python::in_repository;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

// Of the kernel's header and of errno.
const FLAG_ERROR: u32 = 0x40;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const ENOTTY: i32 = 25;

/// What a device does with one frame.
struct Frame {
    file: String,
    /// As the driver says; all of them where it is `None`.
    bytes_used: Option<i64>,
    /// Frames before it that the driver had no buffer for.
    skipped: u32,
    flags: u32,
    error: i32,
}

impl Frame {
    fn of(file: &str) -> Self {
        Self { file: file.to_owned(), bytes_used: None, skipped: 0, flags: 0, error: 0 }
    }
}

/// Devices that the program finds at `/dev/video7` and the like.
struct Player {
    folder: TempDir,
}

impl Player {
    /// `None`, said loudly, where there is no C compiler.
    fn build() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o", "player.so"]).current_dir(folder.path());
        let built = compiler.arg(in_repository("tests/v4l2/player.c")).args(["-ldl", "-lpthread"]).output();
        let Ok(built) = built else { return skip_none("there is no cc") };
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Some(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One opening of a device after the other; the last one is for all that follow.
    fn device(&self, number: u32, openings: &[String]) {
        fs::write(self.path(&number.to_string()), openings.concat()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = lumenbus(arguments);
        command.env("LD_PRELOAD", self.path("player.so")).env("V4L2_PLAYED", self.folder.path());
        command
    }

    fn start(&self, broker: &BrokerProcess, line: &str) -> Background {
        let mut arguments = words(line);
        arguments.extend(["--brokers", broker.address()]);
        Background::start(self.command(&arguments))
    }
}

fn skip_none<T>(why: &str) -> Option<T> {
    skip(why);
    None
}

fn opening(format: &str, frames: &[Frame], end: &str) -> String {
    let mut text = format!("opening\nformat {format}\nrate 25 1\n");
    for Frame { file, bytes_used, skipped, flags, error } in frames {
        let used = bytes_used.unwrap_or(-1);
        writeln!(text, "frame {file} {used} {skipped} {flags} 0 {error}").unwrap();
    }
    text + end + "\n"
}

fn refused(error: i32) -> String {
    format!("opening\nrefuse {error}\n")
}

/// Pictures of a clip as files of the player's folder.
fn pictures(player: &Player, count: usize, kind: &[&str], pattern: &str) -> Option<Vec<String>> {
    let clip = footage("vtest_768x576.mp4")?;
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(clip).args(["-frames:v", &count.to_string()]);
    let made = ffmpeg.args(kind).arg(player.path(pattern)).output();
    let Ok(made) = made else { return skip_none("there is no ffmpeg") };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some((1..=count).map(|number| pattern.replace("%03d", &format!("{number:03}"))).collect())
}

/// What a subscriber wrote, in the log's order.
fn received(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder.join("desk")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn reader(broker: &BrokerProcess, topic: &str, out: &Path) -> Background {
    let out = out.to_str().unwrap();
    broker.spawn(&format!("subscribe --camera desk --topic {topic} --from start --json --as coded --out {out}"))
}

fn is_state(object: &Value, state: &str) -> bool {
    object["type"] == "camera" && object["state"] == state
}

#[test]
fn pictures_pass_through_as_they_are_and_what_is_lost_is_a_gap() {
    let Some(player) = Player::build() else { return };
    let Some(files) = pictures(&player, 40, &["-q:v", "5"], "%03d.jpg") else { return };
    let mut frames: Vec<_> = files.iter().map(|file| Frame::of(file)).collect();
    frames[20].skipped = 3;
    frames[22].flags = FLAG_ERROR;
    // A driver that lies about its buffer's size, one that has cut a picture short, and a moment's trouble.
    frames[24].bytes_used = Some(1 << 30);
    frames[26].bytes_used = Some(100);
    frames[28].error = EIO;
    let spoilt = [22, 24, 26, 28];
    player.device(7, &[opening("MJPG 768 576", &frames, "")]);
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let out = tempfile::tempdir().unwrap();
    let reader = reader(&broker, "raw_images", out.path());
    let camera = player.start(&broker, "publish /dev/video7 --camera desk --json");
    let good = files.len() - spoilt.len();
    reader.wait_for_objects(good, |object| object["type"] == "frame");
    let published = camera.interrupt().code(3).summary();
    // Of the moment's trouble nobody knows whether it cost a picture.
    let damaged = published["gaps"]["source-damaged"].as_u64().unwrap();
    assert!((6..=7).contains(&damaged), "{published}");
    reader.wait_for_objects(1, |object| object["type"] == "end");
    let read = reader.interrupt().code(3);
    assert_eq!(read.summary()["streams"][0]["unexplained"], 0);
    let whole = files.iter().enumerate().filter(|(number, _)| !spoilt.contains(number));
    let expected: Vec<_> = whole.map(|(_, file)| fs::read(player.path(file)).unwrap()).collect();
    assert!(received(out.path()) == expected, "pictures are other ones");
    // The device is told to stop, and closed.
    assert!(fs::read_to_string(player.path("log")).unwrap().ends_with("7 off\n7 close\n"));
}

#[test]
fn a_device_that_is_unplugged_goes_on_in_its_stream_when_it_is_back() {
    let Some(player) = Player::build() else { return };
    let Some(clip) = footage("flower720.264") else { return };
    let mut source = open(clip.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut units = Vec::new();
    while let Some(SourceItem::Encoded { frame, .. }) = source.next_frame().unwrap() {
        fs::write(player.path(&format!("{:03}.unit", units.len())), &frame.payload).unwrap();
        units.push(frame.payload.to_vec());
        if units.len() == 40 {
            break;
        }
    }
    let frames: Vec<_> = (0..units.len()).map(|number| Frame::of(&format!("{number:03}.unit"))).collect();
    let plays = |end: &str| opening("H264 1280 720", &frames, end);
    player.device(7, &[plays("gone"), refused(19), plays("")]);
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let out = tempfile::tempdir().unwrap();
    let reader = reader(&broker, "raw_video", out.path());
    let camera = player.start(&broker, "publish /dev/video7 --camera desk --json");
    reader.wait_for_objects(2 * units.len(), |object| object["type"] == "frame");
    camera.wait_for_objects(1, |object| is_state(object, "offline"));
    camera.wait_for_objects(2, |object| is_state(object, "live"));
    let published = camera.interrupt().code(3).summary();
    assert_eq!(published["gaps"], json!({ "source-lost": 1 }), "{published}");
    reader.wait_for_objects(1, |object| object["type"] == "end");
    let read = reader.interrupt().code(3);
    let frames = read.objects("frame");
    assert!(frames.iter().all(|frame| frame["epoch"] == frames[0]["epoch"]), "the same epoch");
    assert_eq!(frames[units.len()]["discontinuity"], true);
    // By the driver's stamps, not by when somebody read them: ever later, and not in the future.
    let captured: Vec<i64> =
        frames.iter().map(|frame| frame["capture_unix_nanos"].as_str().unwrap().parse().unwrap()).collect();
    assert!(captured.is_sorted(), "{captured:?}");
    let expected = [units.clone(), units].concat();
    assert!(received(out.path()) == expected, "access units are other ones");
}

#[test]
fn pixels_are_encoded_and_look_the_same() {
    let Some(player) = Player::build() else { return };
    let kind = ["-f", "image2", "-c:v", "rawvideo", "-pix_fmt", "yuyv422"];
    let Some(files) = pictures(&player, 10, &kind, "%03d.yuyv") else { return };
    let frames: Vec<_> = files.iter().map(|file| Frame::of(file)).collect();
    player.device(7, &[opening("YUYV 768 576", &frames, "")]);
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("desk.y4m");
    let camera = player.start(&broker, "publish /dev/video7?format=yuyv422 --camera desk --json");
    let reader = broker
        .spawn(&format!("subscribe --camera desk --from start --json --frames 10 --out {}", file.to_str().unwrap()));
    let _ = reader.finish().code(0);
    let _ = camera.interrupt();
    let video = fs::read(&file).unwrap();
    let header = video.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let (pixels, frame) = (768 * 576, b"FRAME\n".len() + 768 * 576 * 3 / 2);
    assert_eq!((video.len() - header) / frame, files.len());
    for (number, name) in files.iter().enumerate() {
        let luma = &video[header + number * frame + 6..][..pixels];
        let sent: Vec<u8> = fs::read(player.path(name)).unwrap().into_iter().step_by(2).collect();
        let error: u64 = luma.iter().zip(&sent).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
        let psnr = 10.0 * (255.0_f64.powi(2) * pixels as f64 / error as f64).log10();
        assert!(psnr > 28.0, "picture {number}: {psnr:.1} dB");
    }
}

#[test]
fn what_is_there_is_listed_and_what_is_wrong_is_told() {
    let Some(player) = Player::build() else { return };
    let Some(files) = pictures(&player, 10, &["-q:v", "5"], "%03d.jpg") else { return };
    let frames: Vec<_> = files.iter().map(|file| Frame::of(file)).collect();
    player.device(7, &[opening("MJPG 768 576", &frames, "loop")]);
    player.device(8, &[refused(EACCES)]);
    player.device(9, &[refused(ENOTTY)]);
    let found = Background::start(player.command(&["cameras", "discover", "--json", "--for", "100ms"])).finish();
    let devices = found.objects("device");
    let of = |path: &str| devices.iter().find(|device| device["path"] == path).unwrap();
    let played = of("/dev/video7");
    assert_eq!((&played["formats"], &played["driver"]), (&json!(["mjpeg 768x576@25"]), &"played".into()));
    assert!(of("/dev/video8")["fault"].as_str().unwrap().contains("usermod -aG video"), "{devices:?}");
    let shown = Background::start(player.command(&["cameras", "discover", "--for", "100ms"])).finish().stdout;
    assert!(shown.contains("lumenbus cameras add deskcamera-7 /dev/video7"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");

    let broker = BrokerProcess::start();
    let publish = |address: &str| {
        let line = format!("publish {address} --camera desk");
        let ran = player.start(&broker, &line).finish();
        assert!(!ran.status.success(), "{address}");
        ran.stderr
    };
    for (address, parts) in [
        ("/dev/video7?format=h264", &["does not give h264", "mjpeg 768x576@25"][..]),
        ("/dev/video7?size=9x9", &["mjpeg 768x576@25"]),
        ("/dev/video7?size=big", &["size"]),
        ("/dev/video8", &["Permission denied", "usermod -aG video"]),
        ("/dev/video9", &["no device of Video4Linux"]),
        ("/dev/video63", &["plug it in", "lumenbus cameras discover"]),
    ] {
        let said = publish(address);
        assert!(parts.iter().all(|part| said.contains(part)), "{address}: {said}");
    }
    let first = player.start(&broker, "publish /dev/video7 --camera first --json");
    first.wait_for_objects(1, |object| is_state(object, "live"));
    let said = publish("/dev/video7");
    assert!(said.contains("another program is using it") && said.contains("fuser -v /dev/video7"), "{said}");
    let _ = first.interrupt();
    let tested = Background::start(player.command(&["cameras", "test", "/dev/video7"])).finish().code(0).stdout;
    assert!(tested.contains("768x576"), "{tested}");
}
