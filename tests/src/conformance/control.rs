//! Readers ask publishers for keyframes.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::foreign::ForeignProducer;
use crate::load::{Camera, await_that};
use lumenbus_bus::control::{CONTROL, ControlSender, JoinAid, KEYFRAME_REST, MAX_REQUEST_AGE};
use lumenbus_bus::subscriber::{Event, Start};
use lumenbus_bus::{Publisher, SystemClock};
use lumenbus_frame::{Clock as _, StreamId};
use lumenbus_wire::{ControlRequest, RequestKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A stream that answers, with one keyframe only unless it is asked for more.
fn answering(publisher: &Publisher, camera: &str) -> Camera {
    let camera = Camera::open(publisher, camera, "raw_video").with_gop(u64::MAX);
    camera.handle.answer_keyframe_requests().unwrap();
    camera
}

/// Asks, as often as a reader may, until the publisher knows.
fn ask_until_heard(sender: &ControlSender, camera: &Camera) {
    await_that("a request is heard", || {
        sender.request_keyframe(camera.handle.id());
        camera.handle.take_keyframe_request()
    });
}

fn request(stream: &StreamId, age: Duration) -> ControlRequest {
    ControlRequest {
        request_id: 1,
        kind: RequestKind::Keyframe,
        topic: stream.topic.clone(),
        stream: stream.name.clone(),
        asked_unix_nanos: SystemClock.unix_nanos() - i64::try_from(age.as_nanos()).unwrap(),
        by: "a test".to_owned(),
    }
}

/// The topic is made by the first publisher that answers; streams that do not answer are left alone.
pub fn a_keyframe_is_asked_for(site: &Site) {
    site.create_topics(&["raw_video"]);
    let publisher = site.publisher();
    let (gate, yard) = (answering(&publisher, "gate"), answering(&publisher, "yard"));
    let silent = Camera::open(&publisher, "silent", "raw_video");
    let sender = ControlSender::open(&site.bus, "a test").unwrap();
    ask_until_heard(&sender, &gate);
    assert!(!yard.handle.take_keyframe_request(), "nobody asked for it");
    assert!(sender.request_keyframe(silent.handle.id()));
    // Behind the one that is ignored, in the same partition.
    ask_until_heard(&sender, &yard);
    assert!(!silent.handle.take_keyframe_request());
}

/// Whoever may not create the topic hears requests when somebody else has.
pub fn a_topic_for_requests_that_comes_late(site: &Site) {
    site.create_topics(&["raw_video"]);
    let publisher = site.publisher_with(|config| config.bus.keeps_topics_as_they_are = true);
    let mut gate = answering(&publisher, "gate");
    let sender = ControlSender::open(&site.bus, "a test").unwrap();
    assert!(sender.request_keyframe(gate.handle.id()), "a topic that is missing is no error");
    // Frames go on meanwhile.
    gate.send(2_000);
    gate.flush();
    site.create_topics(&["raw_video", CONTROL]);
    ask_until_heard(&sender, &gate);
}

/// Requests too old, records of somebody else, and more than anybody needs.
pub fn stale_foreign_and_too_many_requests(site: &Site) {
    site.create_topics(&["raw_video", CONTROL]);
    let publisher = site.publisher();
    let [gate, yard, last] = ["gate", "yard", "last"].map(|camera| answering(&publisher, camera));
    let raw = ForeignProducer::new(site, CONTROL, 0);
    let fresh = |camera: &Camera| request(camera.handle.id(), Duration::ZERO).encode();
    await_that("the publisher hears", || {
        raw.send(Some(b"gate"), None, None, Some(&fresh(&gate)));
        raw.flush();
        gate.handle.take_keyframe_request()
    });
    // Behind all of those: none of them is heard later.
    await_that("the last one is heard", || {
        raw.send(Some(b"last"), None, None, Some(&fresh(&last)));
        raw.flush();
        last.handle.take_keyframe_request()
    });
    let _ = gate.handle.take_keyframe_request();
    // The rest after a keyframe is a matter of time alone: nothing tells that it is over.
    std::thread::sleep(KEYFRAME_REST);

    let stale = request(gate.handle.id(), MAX_REQUEST_AGE * 2).encode();
    let rate = ControlRequest { kind: RequestKind::Rate, ..request(gate.handle.id(), Duration::ZERO) }.encode();
    for value in [Some(&stale[..]), Some(&rate), Some(b"\xff\xff"), Some(&[0; 900_000]), None] {
        raw.send(Some(b"gate"), None, None, value);
    }
    raw.send(None, None, None, Some(&fresh(&gate)));
    raw.send(Some(b"no such camera"), None, None, Some(&fresh(&gate)));
    raw.send(Some(b"yard"), None, None, Some(&fresh(&yard)));
    raw.flush();
    await_that("what came behind is heard", || yard.handle.take_keyframe_request());
    assert!(!gate.handle.take_keyframe_request(), "none of those was a request");

    let sender = ControlSender::open(&site.bus, "a test").unwrap();
    let began = Instant::now();
    let mut given = 0_u128;
    for _ in 0..10_000 {
        raw.send(Some(b"gate"), None, None, Some(&fresh(&gate)));
        given += u128::from(gate.handle.take_keyframe_request());
    }
    raw.flush();
    await_that("a flood is over", || {
        sender.request_keyframe(yard.handle.id());
        given += u128::from(gate.handle.take_keyframe_request());
        yard.handle.take_keyframe_request()
    });
    let most = began.elapsed().as_millis() / KEYFRAME_REST.as_millis() + 1;
    assert!(given <= most, "{given} keyframes where {most} are enough");
}

/// What was asked of a publisher that died is not answered by the next one; what is asked then, is.
pub fn requests_across_a_restart_of_the_publisher(site: &Site) {
    site.create_topics(&["raw_video", CONTROL]);
    let sender = ControlSender::open(&site.bus, "a test").unwrap();
    let first = site.publisher();
    let mut gate = answering(&first, "gate");
    gate.send(2_000);
    gate.flush();
    ask_until_heard(&sender, &gate);
    // As a process that is killed: no end, no farewell.
    drop((gate, first));
    let raw = ForeignProducer::new(site, CONTROL, 0);
    let stream = StreamId::main("gate".parse().unwrap(), site.topic("raw_video"));
    raw.send(Some(b"gate"), None, None, Some(&request(&stream, Duration::ZERO).encode()));
    raw.flush();

    let second = site.publisher();
    let (gate, yard) = (answering(&second, "gate"), answering(&second, "yard"));
    ask_until_heard(&sender, &yard);
    assert!(!gate.handle.take_keyframe_request(), "that was asked of another session");
    ask_until_heard(&sender, &gate);
}

/// A live reader that begins at an old keyframe asks, gets a new one and goes on from there.
pub fn a_reader_that_joins_late_asks(site: &Site) {
    site.create_topics(&["raw_video"]);
    let publisher = site.publisher();
    let mut gate = answering(&publisher, "gate");
    for _ in 0..20 {
        let mut frame = gate.next_frame(2_000);
        frame.capture.unix_nanos -= 5_000_000_000;
        gate.submit(frame).unwrap();
        gate.flush();
    }
    let mut subscriber = site.subscriber_with(&["raw_video"], |config| config.start = Start::Live);
    let sender = Arc::new(ControlSender::open(&site.bus, "a test").unwrap());
    let mut aid = JoinAid::new(Arc::clone(&sender), Arc::new(SystemClock));
    let mut asked = 0;
    let mut is_answered = false;
    await_that("the keyframe that was asked for arrives", || {
        let mut frame = gate.next_frame(2_000);
        // The listener may have begun after the first request.
        if asked > 0 && !is_answered {
            sender.request_keyframe(gate.handle.id());
        }
        if gate.handle.take_keyframe_request() {
            (frame, is_answered) = (frame.keyframe(), true);
        }
        gate.submit(frame).unwrap();
        let event = subscriber.recv(Duration::from_millis(20)).unwrap();
        let Some(event) = event else { return false };
        asked += u32::from(aid.see(&event));
        matches!(&event, Event::Frame(frame) if frame.header.is_keyframe && frame.id().seq.0 >= 20)
    });
    assert_eq!(asked, 1, "it asks where it joins, not at each old frame");
}
