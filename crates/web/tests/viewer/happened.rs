//! Events that analysis writes reach the clients that look at them, and what is wrong with a picture all of them.

use crate::support::{Message, PATIENCE, Socket, World, get};
use lumenbus_bus::BusConfig;
use lumenbus_bus::subscriber::CameraFilter;
use lumenbus_bus::topics::{EVENTS, ensure_topics};
use lumenbus_frame::{Epoch, FrameId, Seq, StreamId};
use lumenbus_wire::{CameraEvent, EventKind, HealthState, PresencePhase};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Somebody who writes events by hand.
struct Witness(BaseProducer);

impl Witness {
    fn new(bus: &BusConfig) -> Self {
        ensure_topics(bus, &[EVENTS]).unwrap();
        Self(ClientConfig::new().set("bootstrap.servers", &bus.brokers).create().unwrap())
    }

    fn write(&self, camera: &str, seconds: i64, kind: EventKind) {
        let stream = StreamId::main(camera.parse().unwrap(), "raw_video".parse().unwrap());
        let frame = FrameId { epoch: Epoch(7), seq: Seq(seconds.unsigned_abs()) };
        let event = CameraEvent::new(stream, frame, seconds * 1_000_000_000, kind);
        self.send(camera, &event.encode_json().unwrap());
    }

    fn send(&self, camera: &str, value: &[u8]) {
        self.0.send(BaseRecord::to(EVENTS).partition(0).key(camera).payload(value)).unwrap();
        self.0.flush(PATIENCE).unwrap();
    }
}

fn person(lasted: Option<u64>) -> EventKind {
    let phase = if lasted.is_some() { PresencePhase::End } else { PresencePhase::Begin };
    EventKind::Presence { class: "person".into(), phase, count: 1, score: 0.5, lasted_millis: lasted }
}

fn dark() -> EventKind {
    EventKind::Health { state: HealthState::Dark, previous: HealthState::Ok, lasted_millis: None }
}

/// Asks until the answer is so: nothing tells a client that does not follow.
fn ask_until(client: &mut Socket, wish: &Value, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.say(wish);
        let answer = client.told("events");
        // Who follows is told of changes, too.
        if answer["id"] != wish["id"] {
            continue;
        }
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never came to that: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_the_topic_pages_are_told_so() {
    let world = World::new();
    let mut client = Socket::open(world.addr());
    let answer = ask_until(&mut client, &json!({ "type": "events", "id": 9, "limit": 5 }), |answer| {
        answer["state"] == "missing"
    });
    assert_eq!((&answer["id"], &answer["events"], &answer["has_more"]), (&json!(9), &json!([]), &json!(false)));
}

#[test]
fn events_of_before_are_listed_and_new_ones_are_told() {
    let world = World::new();
    let _stream = world.stream("gate", "raw_video");
    let witness = Witness::new(&world.bus);
    witness.write("gate", 100, person(None));
    witness.send("gate", b"{ nonsense");
    witness.send("gate", br#"{"version":1,"kind":"of another time"}"#);
    witness.write("gate", 200, dark());
    let mut client = Socket::open(world.addr());
    let wish = json!({ "type": "events", "id": 1, "limit": 5, "follow": true });
    let answer = ask_until(&mut client, &wish, |answer| {
        answer["state"] == "ready" && answer["events"].as_array().is_some_and(|events| events.len() == 2)
    });
    assert_eq!((&answer["events"][0]["state"], &answer["events"][1]["class"]), (&json!("dark"), &json!("person")));
    assert_eq!((&answer["events"][1]["is_open"], &answer["classes"]), (&json!(true), &json!(["person"])));
    let listed = answer["events"][1]["id"].clone();

    witness.write("gate", 112, person(Some(12_000)));
    // What the answer has already may be told once more.
    let told = loop {
        let told = client.told("happened");
        if told["event"].is_null() {
            break told;
        }
    };
    assert_eq!(told["changed"][0]["id"], listed);
    assert_eq!(told["changed"][0]["lasted_ms"], json!(12_000));
    witness.write("gate", 300, person(None));
    let told = client.told("happened");
    assert_eq!((&told["event"]["at_ms"], &told["event"]["n"]), (&json!(300_000.0), &json!(0)));

    // What is wrong with the picture is in the list of streams, for everybody.
    let state = get(world.addr(), "/api/v1/state").json();
    assert_eq!(state["streams"][0]["health"], json!({ "state": "dark", "since_ms": 200_000.0 }));

    // Who looks elsewhere hears no more of it.
    client.say(&json!({ "type": "events", "id": 2, "limit": 0 }));
    client.told("events");
    witness.write("gate", 400, person(Some(1_000)));
    let mut other = Socket::open(world.addr());
    ask_until(&mut other, &wish, |answer| answer["events"][0]["lasted_ms"] == json!(1_000));
    client.say(&json!({ "type": "ping", "t0": 1.0 }));
    loop {
        match client.next() {
            Message::Text(message) if message["type"] == "pong" => break,
            Message::Text(message) => assert_ne!(message["type"], "happened"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn events_of_cameras_that_are_not_shown_are_not_told() {
    let world = World::with(|config| config.cameras = CameraFilter::new(["gate"]).unwrap());
    let witness = Witness::new(&world.bus);
    witness.write("vault", 100, person(None));
    witness.write("gate", 200, person(None));
    let mut client = Socket::open(world.addr());
    let answer = ask_until(&mut client, &json!({ "type": "events", "id": 1, "limit": 5 }), |answer| {
        answer["events"].as_array().is_some_and(|events| !events.is_empty())
    });
    assert_eq!((&answer["events"][0]["camera"], answer["events"].as_array().unwrap().len()), (&json!("gate"), 1));
}
