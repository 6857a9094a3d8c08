//! `lumenbus demo`: it shows real cameras, survives being hurt, and its books add up.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, Ran, lumenbus, words};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The six cameras.
const CAMERAS: [&str; 6] = ["corridor", "flower", "pattern", "plaza", "plaza-h264", "plaza-jpeg"];
/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A demo under way.
struct Demo {
    process: Background,
    ready: Value,
}

impl Demo {
    fn start(more: &str) -> Self {
        let process = Background::start(lumenbus(words(&format!("demo --json --no-browser {more}"))));
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

    fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let host = self.address("url");
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let text = body.find('{').map_or("", |begin| &body[begin..=body.rfind('}').unwrap()]);
        (status, serde_json::from_str(text).unwrap_or_default())
    }

    /// Presses a button of the page.
    fn press(&self, action: &str, camera: Option<&str>) -> (u16, Value) {
        let body = camera.map_or_else(|| json!({}), |camera| json!({ "camera": camera }));
        self.http("POST", &format!("/api/v1/actions/{action}"), &body.to_string())
    }

    /// Looks at the page's state until it is as wanted.
    fn wait_until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, state) = self.http("GET", "/api/v1/state", "");
            if is_so(&state) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {state:#}");
            std::thread::sleep(POLL);
        }
    }

    /// The page has frames of every camera.
    fn wait_for_pictures(&self) {
        let has_come = |state: &Value| CAMERAS.iter().all(|camera| figures(state, camera)["frames"].as_u64() > Some(0));
        self.wait_until("every camera gives frames", has_come);
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

fn is_gone(address: &str, folder: &Path) -> bool {
    TcpStream::connect(address).is_err() && !folder.exists()
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
    assert!(books["stages_ms"]["delivered"]["p99"].as_f64().unwrap() > 0.0, "{books:#}");
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
    let (_, before) = demo.http("GET", "/api/v1/state", "");
    let before = frames(&before);
    demo.wait_until("pictures come again", |state| frames(state) > before + 100);
    let books = demo.end();
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
    demo.wait_until("the gap is told", |state| lost(state) > 20);
    assert_eq!(demo.press("unplug", Some("flower")).0, 200);
    demo.process.wait_for_line("flower is plugged in again");
    let (_, before) = demo.http("GET", "/api/v1/state", "");
    let of_flower = |state: &Value| number(&figures(state, "flower")["frames"]);
    let before = of_flower(&before);
    demo.wait_until("flower shows pictures again", |state| of_flower(state) > before + 30);
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
    demo.wait_until("it falls behind", |state| {
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

/// Nothing is left of a demo that was killed.
#[test]
fn the_broker_ends_with_a_demo_that_is_killed() {
    let demo = Demo::start("");
    demo.wait_for_pictures();
    let (address, folder) = (demo.address("brokers").to_owned(), demo.folder());
    assert!(!is_gone(&address, &folder));
    demo.process.signal(Signal::KILL);
    assert_eq!(demo.process.finish().status.code(), None);
    let deadline = Instant::now() + PATIENCE;
    while !is_gone(&address, &folder) {
        assert!(Instant::now() < deadline, "broker or folder outlived the demo: {address} {}", folder.display());
        std::thread::sleep(POLL);
    }
}

/// As printed, one after the other, in a folder of a newcomer.
#[test]
fn the_next_commands_work() {
    let ran = Background::start(lumenbus(words("demo --json --no-browser --for 1s"))).finish();
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
