//! `lumenbus demo`: it shows real cameras, survives being hurt, and its books add up.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, Ran, lumenbus, words};
use lumenbus_tests::http::{Answer, get, request, wait_for};
use lumenbus_tests::load::await_that;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The six cameras.
const CAMERAS: [&str; 6] = ["corridor", "flower", "pattern", "plaza", "plaza-h264", "plaza-jpeg"];
/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A demo under way.
struct Demo {
    process: Background,
    ready: Value,
}

impl Demo {
    fn start(more: &str) -> Self {
        Self::of(lumenbus(words(&format!("demo --json --no-browser {more}"))))
    }

    /// With a folder of its own for temporary files.
    fn start_in(folder: &Path) -> Self {
        let mut command = lumenbus(["demo", "--json", "--no-browser"]);
        command.env("TMPDIR", folder);
        Self::of(command)
    }

    fn of(command: Command) -> Self {
        let process = Background::start(command);
        let ready = serde_json::from_str(&process.wait_for_line("\"ready\"")).unwrap();
        Self { process, ready }
    }

    /// `host:port` of one of its addresses.
    fn address(&self, field: &str) -> &str {
        let text = self.ready[field].as_str().unwrap();
        text.trim_start_matches("http://").trim_end_matches('/')
    }

    fn folder(&self) -> PathBuf {
        self.ready["data"].as_str().unwrap().into()
    }

    fn state(&self) -> Value {
        serde_json::from_str(&get(self.address("url"), "/api/v1/state").unwrap().body).unwrap()
    }

    /// Presses a button of the page.
    fn press(&self, action: &str, camera: Option<&str>) -> (u16, Value) {
        let body = camera.map_or_else(|| json!({}), |camera| json!({ "camera": camera }));
        let path = format!("/api/v1/actions/{action}");
        let answer = request(self.address("url"), "POST", &path, &body.to_string()).unwrap();
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// Looks at the page's state until it is as wanted.
    #[track_caller]
    fn wait_until(&self, is_so: impl Fn(&Value) -> bool) {
        wait_for(self.address("url"), "/api/v1/state", |page| is_so(&serde_json::from_str(&page.body).unwrap()));
    }

    /// The page has frames of every camera.
    fn wait_for_pictures(&self) {
        let has_come = |state: &Value| CAMERAS.iter().all(|camera| figures(state, camera)["frames"].as_u64() > Some(0));
        self.wait_until(has_come);
    }

    fn end(self) -> Value {
        let folder = self.folder();
        let ran = self.process.interrupt().code(0);
        assert!(!folder.exists(), "{} is still there", folder.display());
        books(&ran)
    }
}

/// What the page is told of a camera; null before it knows the camera.
fn figures<'a>(state: &'a Value, camera: &str) -> &'a Value {
    let of = |list: &'a Value, is_it: &dyn Fn(&Value) -> bool| {
        list.as_array().and_then(|list| list.iter().find(|one| is_it(one))).unwrap_or(&Value::Null)
    };
    let n = &of(&state["streams"], &|stream| stream["camera"] == camera)["n"];
    of(&state["stats"]["streams"], &|stream| n.is_u64() && stream["n"] == *n)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn sum(reasons: &Value) -> u64 {
    reasons.as_object().unwrap().values().map(number).sum()
}

fn stream<'a>(books: &'a Value, camera: &str) -> &'a Value {
    let streams = books["streams"].as_array().unwrap();
    streams.iter().find(|stream| stream["camera"] == camera).unwrap_or_else(|| panic!("no {camera} in {books:#}"))
}

/// The summary, after its sums were done again.
fn books(ran: &Ran) -> Value {
    let books = ran.summary();
    assert_eq!(books["failures"], json!({}), "{books:#}");
    let mut totals = [0; 3];
    for camera in CAMERAS {
        let stream = stream(&books, camera);
        let (published, delivered) = (number(&stream["published"]), number(&stream["delivered"]));
        let explained = sum(&stream["explained"]);
        assert!(delivered > 0, "{books:#}");
        assert_eq!(published, delivered + explained, "{books:#}");
        assert_eq!(stream["published_by_log"], published, "{books:#}");
        assert_eq!(stream["unexplained"], 0, "{books:#}");
        for (total, part) in totals.iter_mut().zip([published, delivered, explained]) {
            *total += part;
        }
    }
    assert_eq!(books["streams"].as_array().unwrap().len(), CAMERAS.len());
    let total = &books["total"];
    assert_eq!(totals, ["published", "delivered", "explained"].map(|part| number(&total[part])), "{books:#}");
    assert_eq!(total["unexplained"], 0);
    books
}

#[test]
fn the_books_add_up() {
    let demo = Demo::start("--for 6s");
    let folder = demo.folder();
    assert!(folder.exists());
    let books = books(&demo.process.finish().code(0));
    assert!(!folder.exists(), "{}", folder.display());
    assert_eq!((&books["broker_kills"], &books["total"]["explained"]), (&0.into(), &0.into()), "{books:#}");
    assert!(books["against_jpeg"]["ratio"].as_f64().unwrap() > 3.0, "{books:#}");
    assert!(books["first_frame_seconds"].as_f64().unwrap() > 0.0, "{books:#}");
    assert_eq!(books["first_picture_seconds"], Value::Null, "no browser was there: {books:#}");
    assert_eq!(stream(&books, "plaza-jpeg")["topic"], "raw_images");
    let detection = &books["detection"];
    assert!(number(&detection["pictures"]) > 0 && number(&detection["results"]) > 0, "{books:#}");
    for stage in ["encode", "queue", "append", "acknowledge", "receive", "delivered"] {
        assert!(books["stages_ms"][stage]["p99"].as_f64().unwrap() > 0.0, "{stage} in {books:#}");
    }
}

#[test]
fn metrics_are_of_publisher_and_viewer() {
    let demo = Demo::start("");
    demo.wait_for_pictures();
    let parts = [
        "lumenbus_stage_seconds_count{stage=\"acknowledge\"} ",
        "lumenbus_published_frames_total{camera=\"flower\"} ",
        "lumenbus_producer_record_send_rate ",
        "lumenbus_consumer_poll_rate ",
    ];
    let has_all = |page: &Answer| parts.iter().all(|part| page.body.lines().any(|line| line.starts_with(part)));
    let figures = wait_for(demo.address("url"), "/metrics", has_all);
    assert_eq!(figures.matches("# TYPE lumenbus_consumer_poll_rate ").count(), 1, "{figures}");
    demo.end();
}

#[test]
fn people_get_a_table_and_words() {
    let ran = Background::start(lumenbus(["demo", "--no-browser", "--for", "6s"])).finish().code(0);
    let ran = ran.says("Mbit/s").says("CC BY 4.0");
    for part in
        ["viewer on http://127.0.0.1:", "UNEXPLAINED", "total", "Against JPEG", "first frame delivered", "Next:"]
    {
        assert!(ran.stdout.contains(part), "{part:?} is not in:\n{}", ran.stdout);
    }
}

#[test]
fn a_broker_that_is_killed_costs_nothing() {
    let demo = Demo::start("");
    demo.wait_for_pictures();
    let (status, answer) = demo.press("kill-broker", None);
    assert_eq!((status, &answer["ok"]), (200, &true.into()), "{answer}");
    let (status, answer) = demo.press("kill-broker", None);
    assert_ne!(status, 200, "it is away: {answer}");
    demo.process.wait_for_line("the broker is back");
    let frames = |state: &Value| number(&state["stats"]["totals"]["frames"]);
    let before = frames(&demo.state());
    demo.wait_until(|state| frames(state) > before + 100);
    let books = demo.end();
    assert!(books["broker_recovery_ms"].as_f64().is_some_and(|millis| millis > 0.0), "{books:#}");
    assert_eq!((&books["broker_kills"], &books["total"]["explained"]), (&1.into(), &0.into()), "{books:#}");
}

/// Its frames are brought in before the end.
#[test]
fn an_end_while_the_broker_is_away_loses_nothing() {
    let demo = Demo::start("");
    demo.wait_for_pictures();
    assert_eq!(demo.press("kill-broker", None).0, 200);
    let books = demo.end();
    assert_eq!((&books["broker_kills"], &books["total"]["explained"]), (&1.into(), &0.into()), "{books:#}");
}

#[test]
fn an_unplugged_camera_is_a_gap_and_comes_back() {
    let demo = Demo::start("");
    demo.wait_for_pictures();
    let (status, answer) = demo.press("unplug", Some("flower"));
    assert_eq!(status, 200, "{answer}");
    let lost = |state: &Value| figures(state, "flower")["missing"]["source-lost"].as_u64().unwrap_or(0);
    demo.wait_until(|state| lost(state) > 20);
    assert_eq!(demo.press("unplug", Some("flower")).0, 200);
    demo.process.wait_for_line("flower is plugged in again");
    let before = demo.state();
    let of_flower = |state: &Value| number(&figures(state, "flower")["frames"]);
    let before = of_flower(&before);
    demo.wait_until(|state| of_flower(state) > before + 30);
    let books = demo.end();
    for camera in CAMERAS {
        let explained = &stream(&books, camera)["explained"];
        if camera == "flower" {
            assert!(number(&explained["source-lost"]) > 20, "{books:#}");
        } else {
            assert_eq!(*explained, json!({}), "nothing happens to {camera}: {books:#}");
        }
    }
}

#[test]
fn a_slow_reader_skips_and_nobody_else_notices() {
    let demo = Demo::start("");
    demo.wait_for_pictures();
    assert_eq!(demo.press("slow-reader", None).0, 200);
    demo.wait_until(|state| {
        let mut actions = state["stats"]["actions"].as_array().unwrap().iter();
        let action = actions.find(|action| action["id"] == "slow-reader").unwrap();
        action["is_on"] == true && action["label_en"].as_str().unwrap().contains("lagging")
    });
    let books = demo.end();
    assert_eq!(books["total"]["explained"], 0, "{books:#}");
    let slow = &books["slow_readers"][0];
    assert!(number(&slow["missing"]["lagging"]) > 0, "{books:#}");
    assert_eq!((&slow["camera"], &slow["unexplained"]), (&"flower".into(), &0.into()), "{books:#}");
}

#[test]
fn wrong_buttons_are_refused() {
    let demo = Demo::start("");
    for (action, camera) in [("unplug", None), ("unplug", Some("nobody")), ("unplug", Some("..")), ("explode", None)] {
        let (status, answer) = demo.press(action, camera);
        assert!((400..500).contains(&status), "{action} {camera:?}: {status} {answer}");
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    demo.wait_for_pictures();
    demo.end();
}

#[test]
fn two_demos_at_once_do_not_meet() {
    let (one, other) = (Demo::start(""), Demo::start(""));
    for field in ["url", "brokers", "data"] {
        assert_ne!(one.ready[field], other.ready[field]);
    }
    one.wait_for_pictures();
    other.wait_for_pictures();
    one.end();
    other.end();
}

/// Waits until neither demo nor broker holds the folder: both are gone.
fn wait_until_unused(folder: File) {
    let (sender, unused) = channel();
    std::thread::spawn(move || sender.send(folder.lock()));
    unused.recv_timeout(PATIENCE).expect("broker or demo are still there").unwrap();
}

/// The broker of a demo, its only child.
fn broker_of(demo: &Demo) -> Pid {
    let demo = demo.process.id().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_child = |pid: &String| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&demo)
    };
    let broker = processes.filter(is_child).find_map(|pid| pid.parse().ok());
    broker.and_then(Pid::from_raw).expect("the demo has a broker")
}

/// Nothing is left of a demo that was killed.
#[test]
fn the_broker_ends_with_a_demo_that_is_killed() {
    let demo = Demo::start("");
    demo.wait_for_pictures();
    let (address, folder) = (demo.address("brokers").to_owned(), demo.folder());
    let in_use = File::open(&folder).unwrap();
    demo.process.signal(Signal::KILL);
    assert_eq!(demo.process.finish().status.code(), None);
    wait_until_unused(in_use);
    assert!(!folder.exists(), "{}", folder.display());
    // Under load the port may belong to somebody else by now, for as long as that takes.
    await_that("nobody listens there", || TcpStream::connect(&address).is_err());
}

/// Nor of one that was killed together with its broker, once there is another demo.
#[test]
fn the_next_demo_clears_up_after_a_demo_and_a_broker_that_were_killed() {
    let base = tempfile::tempdir().unwrap();
    let demo = Demo::start_in(base.path());
    let (broker, left) = (broker_of(&demo), demo.folder());
    let in_use = File::open(&left).unwrap();
    // Stopped first, so that it cannot clear up by itself.
    kill_process(broker, Signal::STOP).unwrap();
    demo.process.signal(Signal::KILL);
    assert_eq!(demo.process.finish().status.code(), None);
    kill_process(broker, Signal::KILL).unwrap();
    wait_until_unused(in_use);
    assert!(left.exists(), "that is what this is about");
    let next = Demo::start_in(base.path());
    assert!(!left.exists() && next.folder().exists(), "{}", left.display());
    // At once: an end before the first frame is a clean one too.
    next.process.interrupt().code(0);
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

/// As printed, one after the other, in a folder of a newcomer.
#[test]
fn the_next_commands_work() {
    let ran = Background::start(lumenbus(words("demo --json --no-browser --for 1s"))).finish().code(0);
    let next = ran.summary()["next"].clone();
    let folder = tempfile::tempdir().unwrap();
    for command in next.as_array().unwrap() {
        let words: Vec<&str> = command.as_str().unwrap().split(' ').skip(1).collect();
        let mut command = lumenbus(words.iter().chain(&["--json"]));
        let process = Background::start({
            command.current_dir(folder.path());
            command
        });
        let ran = if words[0] == "up" {
            process.wait_for_line("brokers");
            process.interrupt()
        } else {
            process.finish()
        };
        assert!(ran.status.success(), "{words:?}: {}\n{}\n{}", ran.status, ran.stdout, ran.stderr);
    }
}
