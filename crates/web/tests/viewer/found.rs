//! What analysis finds reaches the clients that ask for it.

use crate::support::{Message, PATIENCE, Socket, World, video};
use lumenbus_bus::first_partition;
use lumenbus_bus::topics::{ANALYSIS_RESULTS, ensure_topics};
use lumenbus_frame::{CaptureTime, Dimensions, Epoch, FrameId, Seq, StreamId};
use lumenbus_wire::{AnalysisResult, Bounds, DetectedObject, Model, ResultForm};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;

/// Somebody who writes results by hand.
struct Analyst<'a> {
    world: &'a World,
    stream: StreamId,
    producer: BaseProducer,
}

impl<'a> Analyst<'a> {
    fn new(world: &'a World, stream: &StreamId) -> Self {
        ensure_topics(&world.bus, &[ANALYSIS_RESULTS]).unwrap();
        let producer = ClientConfig::new().set("bootstrap.servers", &world.bus.brokers).create().unwrap();
        Self { world, stream: stream.clone(), producer }
    }

    fn write(&self, id: FrameId, form: ResultForm, class: &str) {
        let model = Model::new("by-hand", "1");
        let mut result = AnalysisResult::new(self.stream.clone(), id, CaptureTime::arrival(0), model);
        result.size = Some(Dimensions::new(64, 48));
        let bounds = Bounds::new(16.0, 12.0, 32.0, 24.0);
        result.detections = vec![DetectedObject { class: class.into(), score: 0.5, bounds, track_id: Some(u64::MAX) }];
        self.send(form.content_type(), &result.encode(form).unwrap());
    }

    fn send(&self, content_type: &str, value: &[u8]) {
        let headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(content_type) });
        // Where the frames are: both topics have as many partitions.
        let metadata = self.producer.client().fetch_metadata(Some(ANALYSIS_RESULTS), PATIENCE).unwrap();
        let count = u32::try_from(metadata.topics()[0].partitions().len()).unwrap();
        let partition = i32::try_from(first_partition(&self.stream.camera, count)).unwrap();
        let record = BaseRecord::to(ANALYSIS_RESULTS).partition(partition).key(self.stream.camera.as_str());
        let record = record.payload(value).headers(headers);
        self.producer.send(record).unwrap();
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Writes until the viewer has heard of it: it begins to read when the topic is there, at its end.
    fn is_heard(&self, id: FrameId) {
        self.world.wait("an analysis", |snapshot| {
            self.write(id, ResultForm::Json, "first");
            snapshot.streams.iter().any(|stream| stream.analysis.is_some())
        });
    }
}

#[test]
fn a_client_that_asks_gets_what_was_found_and_all_frames() {
    let world = World::new();
    let stream = world.stream("gate", "raw_video");
    world.submit(&stream, video(3));
    let epoch: Epoch = stream.epoch();
    let id = |seq| FrameId { epoch, seq: Seq(seq) };
    let analyst = Analyst::new(&world, stream.id());
    analyst.is_heard(id(0));
    let mut client = Socket::open(world.addr());
    client.say(&json!({ "type": "watch", "streams": [{ "n": 0, "form": "annexb", "boxes_ms": 100 }] }));
    assert_eq!(client.told("found")["boxes"][0]["class"], "first");
    // Neither nonsense nor a stream that nobody knows hurts what follows.
    analyst.send("application/json", b"{");
    analyst.send("text/plain", b"7");
    let other = Analyst::new(&world, &StreamId::main("other".parse().unwrap(), "raw_video".parse().unwrap()));
    other.write(id(0), ResultForm::Json, "elsewhere");
    analyst.write(id(2), ResultForm::Protobuf, "last");
    let (mut frames, mut found) = (Vec::new(), None);
    while frames.len() < 3 || found.is_none() {
        match client.next() {
            Message::Media(media) => frames.push(media.seq),
            Message::Text(message) if message["type"] == "found" && message["seq"] == 2 => found = Some(message),
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(frames, [0, 1, 2]);
    let expected = json!({
        "type": "found", "n": 0, "epoch": epoch.to_string(), "seq": 2, "model": "by-hand", "version": "1",
        "boxes": [{ "class": "last", "score": 0.5, "track": u64::MAX.to_string(), "x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5 }],
    });
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn recorded_frames_come_with_what_was_found_in_them() {
    let world = World::new();
    let stream = world.stream("gate", "raw_video");
    let frames = video(3);
    let begin_nanos = frames[0].capture.unix_nanos;
    world.submit(&stream, frames);
    let analyst = Analyst::new(&world, stream.id());
    let id = |seq| FrameId { epoch: stream.epoch(), seq: Seq(seq) };
    (0..3).for_each(|seq| analyst.write(id(seq), ResultForm::Json, "then"));
    let mut client = Socket::open(world.addr());
    client.say(&json!({ "type": "watch", "streams": [{ "n": 0, "form": "annexb", "boxes_ms": 0 }] }));
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970")]
    let at_ms = (begin_nanos / 1_000_000) as f64;
    client.say(&json!({ "type": "play", "n": 0, "id": 1, "at_ms": at_ms, "speed": 1.0 }));
    client.told("playback");
    // From now on each frame is a recorded one, and has its result before it.
    let (mut found, mut shown) = (Vec::new(), Vec::new());
    while shown.len() < 3 {
        match client.next() {
            Message::Media(media) => shown.push((media.seq, found.last().copied())),
            Message::Text(message) if message["type"] == "found" => found.push(message["seq"].as_u64().unwrap()),
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shown, [(0, Some(0)), (1, Some(1)), (2, Some(2))]);
}
