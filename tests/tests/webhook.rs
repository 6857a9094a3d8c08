//! Webhooks: the real program, and a receiver in Python that checks what it gets by itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_frame::{Epoch, FrameId, Seq, StreamId};
use lumenbus_tests::cli::{Background, BrokerProcess, lumenbus, quiet_port, run, spawn_at, words};
use lumenbus_tests::http;
use lumenbus_tests::python::{in_repository, python};
use lumenbus_wire::{CameraEvent, EventKind, HealthState};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const SECRET: &str = "whsec-0123456789abcdef";
const TOKEN: &str = "T0KEN-in-the-path";

struct Receiver {
    process: Background,
    port: u16,
}

impl Receiver {
    fn start(python: &OsString, port: u16, more: &str) -> Self {
        let mut command = Command::new(python);
        command.arg(in_repository("tests/webhook/receiver.py")).args(["--secret", SECRET]);
        command.args(["--port", &port.to_string()]).args(words(more));
        let process = Background::start(command);
        let ready: Value = serde_json::from_str(&process.wait_for_line("ready")).unwrap();
        Self { process, port: ready["port"].as_u64().unwrap().try_into().unwrap() }
    }

    fn wait_for(&self, requests: usize) {
        self.process.wait_for_objects(requests, |object| object["type"] == "request");
    }

    /// The ids that it accepted, in order; everything that came was as it should be.
    fn ids(&self) -> Vec<String> {
        let text = self.process.stdout_so_far();
        assert!(!text.contains("stray"), "{text}");
        let requests = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut ids = Vec::new();
        for request in requests {
            assert_eq!((&request["signed"], &request["same"]), (&true.into(), &true.into()), "{request}");
            assert_eq!(request["path"], format!("/{TOKEN}"), "{request}");
            if matches!(request["answer"].as_str(), Some("204" | "body")) {
                ids.push(request["id"].as_str().unwrap().to_owned());
            }
        }
        ids
    }
}

/// Files with the address and the secret.
struct Files(TempDir);

impl Files {
    fn new(scheme: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("url"), format!("{scheme}://127.0.0.1:{port}/{TOKEN}\n")).unwrap();
        std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
        Self(folder)
    }

    fn options(&self) -> String {
        let folder = self.0.path().to_str().unwrap();
        format!("--to-file {folder}/url --secret-file {folder}/secret")
    }

    fn forward(&self, more: &str) -> String {
        format!("events forward --json --name hook --from start {} {more}", self.options())
    }
}

fn broker() -> BrokerProcess {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    broker
}

/// Writes events as a worker does; their ids.
fn write(broker: &BrokerProcess, events: Range<u64>) -> Vec<String> {
    write_at(broker.address(), events)
}

fn write_at(brokers: &str, events: Range<u64>) -> Vec<String> {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let mut ids = Vec::new();
    for seq in events {
        let stream = StreamId::main("gate".parse().unwrap(), "raw_video".parse().unwrap());
        let kind = EventKind::Health { state: HealthState::Dark, previous: HealthState::Ok, lasted_millis: None };
        let event =
            CameraEvent::new(stream, FrameId { epoch: Epoch(7 << 16), seq: Seq(seq) }, 1_764_000_000_000_000_000, kind);
        let value = event.encode_json().unwrap();
        producer
            .send(BaseRecord::to("lumenbus.events").key("gate").payload(&value[..]))
            .map_err(|(error, _)| error)
            .unwrap();
        ids.push(event.id.to_string());
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    ids
}

fn assert_hidden(text: &str) {
    assert!(!text.contains(TOKEN) && !text.contains(SECRET), "{text}");
}

/// Nothing below a folder holds token or secret.
fn assert_not_stored(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_not_stored(&path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for hidden in [TOKEN, SECRET] {
            assert!(!bytes.windows(hidden.len()).any(|part| part == hidden.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn a_receiver_that_was_away_misses_nothing_and_gets_all_in_order() {
    let Some(python) = python() else { return };
    let (broker, port) = (broker(), quiet_port());
    let files = Files::new("http", port);
    let mut expected = write(&broker, 0..5);
    let forward = broker.spawn(&format!("-vv {}", files.forward("")));
    forward.wait_for_objects(1, |object| object["type"] == "failed");
    let first = Receiver::start(&python, port, "");
    first.wait_for(5);
    assert_eq!(first.ids(), expected);
    forward.wait_for_objects(5, |object| object["type"] == "delivered");
    drop(first);
    let more = write(&broker, 5..12);
    forward.wait_for_objects(1, |object| object["type"] == "failed" && object["id"] == more[0].as_str());
    let second = Receiver::start(&python, port, "--answers 500,503,204");
    second.wait_for(9);
    expected.extend(more);
    assert_eq!(second.ids(), expected[5..]);
    forward.wait_for_objects(12, |object| object["type"] == "delivered");
    if let Ok(arguments) = std::fs::read(format!("/proc/{}/cmdline", forward.id())) {
        assert_hidden(&String::from_utf8_lossy(&arguments));
    }
    let ran = forward.interrupt();
    assert_hidden(&ran.stdout);
    assert_hidden(&ran.stderr);
    assert_eq!(ran.summary()["delivered"], 12, "{}", ran.stderr);
    assert_not_stored(broker.data());
}

#[test]
fn after_a_kill_every_event_arrives_and_doubles_have_the_same_id() {
    let Some(python) = python() else { return };
    let broker = broker();
    let receiver = Receiver::start(&python, 0, "");
    let files = Files::new("http", receiver.port);
    let quickly = "-X session.timeout.ms=3000 -X heartbeat.interval.ms=500";
    let mut expected = Vec::new();
    for kill in 0..3 {
        expected.extend(write(&broker, kill * 50..(kill + 1) * 50));
        let forward = broker.spawn(&format!("{} {quickly}", files.forward("")));
        forward.wait_for_objects(10, |object| object["type"] == "delivered");
        // Dropping it is SIGKILL.
        drop(forward);
    }
    let last = broker.run(&format!("{} {quickly} --until-end", files.forward(""))).code(0);
    assert_eq!(last.summary()["passed_over"], 0);
    let (mut seen, mut distinct) = (std::collections::HashSet::new(), receiver.ids());
    distinct.retain(|id| seen.insert(id.clone()));
    assert_eq!(distinct, expected);
    // All of it is done: nothing comes again.
    assert_eq!(broker.run(&format!("{} --until-end", files.forward(""))).code(0).summary()["delivered"], 0);
}

#[test]
fn odd_answers_are_survived_and_a_redirect_is_not_followed() {
    let Some(python) = python() else { return };
    let broker = broker();
    let receiver = Receiver::start(&python, 0, "--answers 500,hang,head,429,body,302,204");
    let files = Files::new("http", receiver.port);
    let expected = write(&broker, 0..3);
    let ran = broker.run(&files.forward("--timeout 2s --refusals 1 --until-end")).code(3);
    // The first after four failures; the second was redirected.
    assert_eq!(receiver.ids(), [expected[0].clone(), expected[2].clone()]);
    let summary = ran.summary();
    assert_eq!((&summary["delivered"], &summary["passed_over"]), (&2.into(), &1.into()), "{summary}");
    assert_eq!(summary["failed_attempts"], 5, "{}", ran.stdout);
    assert!(ran.stdout.contains("redirects are not followed"), "{}", ran.stdout);
    let gone = Receiver::start(&python, 0, "--answers 410");
    let files = Files::new("http", gone.port);
    let ran = broker.run(&files.forward("--group others")).code(3);
    assert_eq!((ran.summary()["gone"].clone(), ran.summary()["delivered"].clone()), (true.into(), 0.into()));
}

#[test]
fn a_receiver_is_believed_by_its_certificate_only() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["right", "wrong"] {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hook"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &format!("{name}.key"), "-out"])
            .arg(format!("{name}.pem"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    let at = folder.path().to_str().unwrap();
    let receiver = Receiver::start(&python, 0, &format!("--certificate {at}/right.pem {at}/right.key"));
    let files = Files::new("https", receiver.port);
    for ca in [String::new(), format!("--ca-file {at}/wrong.pem")] {
        let ran = run(&format!("events test {} {ca}", files.options())).code(3);
        assert!(ran.stdout.contains("its certificate is not trusted"), "{}", ran.stdout);
        assert_hidden(&format!("{}{}", ran.stdout, ran.stderr));
    }
    assert_eq!(receiver.ids().len(), 0);
    let ran = run(&format!("events test --json {} --ca-file {at}/right.pem", files.options())).code(0);
    assert_eq!(ran.summary()["accepted"], true);
    receiver.wait_for(1);
    assert!(receiver.process.wait_for_line("request").contains("\"test\": true"));
    assert_eq!(receiver.ids().len(), 1);
}

#[test]
fn up_follows_its_webhook_sections() {
    let Some(python) = python() else { return };
    let (first, second) = (Receiver::start(&python, 0, ""), Receiver::start(&python, 0, ""));
    let files = Files::new("http", first.port);
    let folder = files.0.path();
    std::fs::write(folder.join("url2"), format!("http://127.0.0.1:{}/{TOKEN}\n", second.port)).unwrap();
    let metrics = format!("127.0.0.1:{}", quiet_port());
    let plain = format!(
        "[broker]\nlisten = \"127.0.0.1:0\"\nkeep_free = \"0%\"\n[viewer]\nenabled = false\n[metrics]\nlisten = \"{metrics}\"\n"
    );
    let section = |url: &str| {
        format!(
            "{plain}[[webhook]]\nname = \"hook\"\nurl_file = \"{url}\"\nsecret_file = \"secret\"\nfrom = \"start\"\n"
        )
    };
    // As editors do it: the old or the new one, never half of it.
    let settings = |text: &str| {
        std::fs::write(folder.join("new"), text).unwrap();
        std::fs::rename(folder.join("new"), folder.join("lumenbus.toml")).unwrap();
    };
    settings(&plain);
    let file = folder.join("lumenbus.toml");
    let up = Background::start(lumenbus(["up", "--json", "--config", file.to_str().unwrap()]));
    let ready: Value = serde_json::from_str(&up.wait_for_line("ready")).unwrap();
    let brokers = ready["brokers"].as_str().unwrap();
    let reload = |what: &str, times: usize| {
        up.wait_for_objects(times, |object| {
            object["type"] == "reload" && object["webhooks"][what] == Value::from(vec!["hook"])
        })
    };
    let _ = spawn_at(brokers, "topics apply").finish().code(0);
    let expected = write_at(brokers, 0..10);
    settings(&section("url"));
    reload("added", 1);
    first.wait_for(10);
    assert_eq!(first.ids(), expected);
    // What was delivered is remembered under the group's name, wherever the receiver is.
    http::wait_for(&metrics, "/metrics", |answer| {
        assert_hidden(&answer.body);
        answer.body.contains("lumenbus_webhook_events_total{webhook=\"hook\",outcome=\"delivered\"} 10")
    });
    settings(&section("url2"));
    reload("changed", 1);
    let more = write_at(brokers, 10..15);
    second.process.wait_for_line(more.last().unwrap());
    // What was under way when the section changed may still go where it went before.
    let mut got = [&first.ids()[10..], &second.ids()].concat();
    got.retain(|id| !expected.contains(id));
    assert_eq!(got, more);
    settings(&plain);
    reload("removed", 1);
    let listed = spawn_at(brokers, "events list --json --kind health:dark").finish().code(0);
    let listed: Vec<_> = listed.objects("event").iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, [expected, more].concat());
    let ran = up.interrupt();
    assert_hidden(&format!("{}{}", ran.stdout, ran.stderr));
}
