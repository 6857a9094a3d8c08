use super::*;
use crate::testing::delivered;
use lumenbus_bus::BusConfig;
use lumenbus_bus::subscriber::DeliveredFrame;
use lumenbus_frame::{Codec, Epoch, Gap, GapReason, Seq};
use lumenbus_wire::{StreamEntry, StreamState};
use std::sync::Barrier;

const SECOND: i64 = 1_000_000_000;

fn hub() -> Hub {
    Hub::new(&ViewerConfig::new(BusConfig::new("127.0.0.1:1")))
}

fn id(number: usize) -> Arc<StreamId> {
    Arc::new(StreamId::main(format!("cam-{number}").parse().unwrap(), "raw_video".parse().unwrap()))
}

fn frame(at: i64, role: FrameRole) -> Event {
    Event::Frame(DeliveredFrame { role, ..delivered("cam-0", at.unsigned_abs(), at * SECOND) })
}

fn offline(at: i64) -> Event {
    Event::Offline { stream: id(0), epoch: Epoch(1), since_unix_nanos: at * SECOND, reason: "unplugged".to_owned() }
}

/// What the directory says of the camera.
fn entry(at: i64, state: StreamState) -> CameraEntry {
    let stream = StreamEntry {
        topic: id(0).topic.clone(),
        name: id(0).name.clone(),
        partition: 3,
        epoch: Epoch(1),
        codec: Codec::H264,
        state,
        last_seq: None,
        gaps: Vec::new(),
        next_offset: None,
        updated_unix_nanos: at * SECOND,
        parameters: None,
        repeat: None,
        moved_from: None,
    };
    CameraEntry {
        name: "Gate".to_owned(),
        group: String::new(),
        labels: Vec::new(),
        streams: vec![stream],
        unread: Vec::new(),
    }
}

/// Kinds of the events told since the last look.
fn told(events: &mut broadcast::Receiver<Utf8Bytes>) -> Vec<String> {
    let texts = std::iter::from_fn(|| events.try_recv().ok());
    let kind = |text: Utf8Bytes| serde_json::from_str::<serde_json::Value>(&text).unwrap()["kind"].to_string();
    texts.map(kind).collect()
}

#[test]
fn a_return_is_told_once_also_when_the_directory_knew_it_before() {
    let hub = hub();
    let mut events = hub.events();
    hub.take(&frame(1, FrameRole::Current));
    for directory_is_first in [false, true] {
        hub.take(&offline(2));
        hub.directory(&id(0).camera, &entry(3, StreamState::Offline));
        if directory_is_first {
            hub.directory(&id(0).camera, &entry(4, StreamState::Live));
        }
        hub.take(&frame(5, FrameRole::CatchUp));
        assert_eq!(told(&mut events), ["\"offline\""], "a frame of the past is no return");
        hub.take(&frame(6, FrameRole::Current));
        hub.take(&frame(7, FrameRole::Current));
        assert_eq!(told(&mut events), ["\"online\""]);
    }
}

#[test]
fn a_gap_lies_where_the_cameras_clock_says() {
    let hub = hub();
    let stream = || hub.stream(&id(0)).unwrap();
    let ends = || stream().lock().gaps().map(|gap| gap.at_nanos / 1_000_000).collect::<Vec<_>>();
    let gap = |first, last| {
        let gap = Gap { epoch: Some(Epoch(1)), ..Gap::new(Seq(first), Seq(last), GapReason::SourceLost) };
        Event::Gap { stream: id(0), gap }
    };
    hub.take(&frame(100, FrameRole::Current));
    hub.take(&gap(101, 125));
    hub.take(&gap(126, 126));
    // Nothing came after them yet: a second of frames, and one, behind the last frame.
    assert_eq!(ends(), [101_000, 101_040]);
    hub.take(&frame(130, FrameRole::Current));
    assert_eq!(ends(), [129_960, 130_000]);
    hub.take(&gap(131, 155));
    hub.take(&frame(160, FrameRole::Current));
    assert_eq!(ends(), [129_960, 130_000, 160_000]);
}

#[test]
fn a_loss_told_in_pieces_is_as_long_as_all_of_them() {
    let hub = hub();
    let stream = || hub.stream(&id(0)).unwrap();
    let ends = || stream().lock().gaps().map(|gap| gap.at_nanos / SECOND).collect::<Vec<_>>();
    hub.take(&frame(100, FrameRole::Current));
    for second in 0..5 {
        let first = 101 + 25 * second;
        let gap = Gap { epoch: Some(Epoch(1)), ..Gap::new(Seq(first), Seq(first + 24), GapReason::SourceLost) };
        hub.take(&Event::Gap { stream: id(0), gap });
    }
    assert_eq!(ends(), [101, 102, 103, 104, 105]);
    hub.take(&frame(226, FrameRole::Current));
    assert_eq!(ends(), [222, 223, 224, 225, 226]);
}

#[test]
fn a_stream_that_two_threads_bring_at_once_is_one_stream() {
    const THREADS: usize = 4;
    let (hub, turn) = (hub(), Barrier::new(THREADS));
    let numbers = || {
        let bring = |number| {
            turn.wait();
            hub.stream(&id(number)).unwrap().n
        };
        (0..200).map(bring).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..THREADS).map(|_| scope.spawn(numbers)).collect();
        let all: Vec<_> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(all.iter().all(|numbers| *numbers == all[0]));
    });
    assert_eq!(hub.all().len(), 200);
}

#[test]
fn streams_beyond_the_limit_are_left_out() {
    let hub = hub();
    assert!((0..MAX_STREAMS).all(|number| hub.stream(&id(number)).is_some()));
    assert!(hub.stream(&id(MAX_STREAMS)).is_none());
    assert!(hub.stream(&id(0)).is_some());
}
