//! Identity and order.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::load::{Camera, codec_of};
use crate::tally::Tally;
use lumenbus_bus::publisher::LbJson;
use lumenbus_frame::{StreamId, StreamName};
use lumenbus_wire::Envelope;

const TOPICS: [&str; 2] = ["raw_video", "raw_images"];

/// Six cameras with three streams each: every frame arrives under the identity it was submitted with, in order.
pub fn several_cameras_and_streams(site: &Site) {
    read_with(site, 1);
}

/// The same with three consumers in one process.
pub fn several_consumers_in_one_process(site: &Site) {
    read_with(site, 3);
}

fn cameras(site: &Site, publisher: &lumenbus_bus::Publisher) -> Vec<Camera> {
    let streams = |n: usize| {
        let camera = format!("camera-{n}");
        let name = StreamName::new("sub").unwrap();
        let sub = StreamId { camera: camera.parse().unwrap(), topic: site.topic("raw_video"), name };
        [
            Camera::open(publisher, &camera, "raw_video"),
            Camera::open(publisher, &camera, "raw_images"),
            Camera::open_stream(publisher, sub, codec_of("raw_video")),
        ]
    };
    (0..6).flat_map(streams).collect()
}

fn read_with(site: &Site, consumers: usize) {
    site.create_topics(&TOPICS);
    let publisher = site.publisher();
    let mut cameras = cameras(site, &publisher);
    for camera in &mut cameras {
        camera.send_many(30, 20_000);
    }
    let mut subscriber = site.subscriber_with(&TOPICS, |config| config.consumers = consumers);
    for _ in 0..30 {
        for camera in &mut cameras {
            camera.send_many(1, 20_000);
        }
    }
    let streams = cameras.len();
    let sent: Vec<_> = cameras.into_iter().map(|camera| (camera.handle.id().clone(), camera.finish())).collect();
    let mut tally = Tally::default();
    tally.read_to_end(&mut subscriber, streams);
    tally.assert_complete();
    for (stream, (frames, summary)) in &sent {
        assert_eq!(summary.stats.acknowledged_frames, 60);
        tally.assert_contents(stream, frames);
    }
    subscriber.close();
}

/// Whatever envelope the publisher chose, the reader gives the same frames.
pub fn every_envelope(site: &Site) {
    site.create_topics(&TOPICS);
    let mut sent = Vec::new();
    for envelope in [Envelope::Native, Envelope::Protobuf, Envelope::Msgpack, Envelope::Json] {
        let publisher = site.publisher_with(|config| {
            config.envelope = envelope;
            config.lb_json = LbJson::On;
        });
        for base in TOPICS {
            let mut camera = Camera::open(&publisher, envelope.as_str(), base);
            camera.send_many(20, 5_000);
            // Larger than a record.
            camera.send(1_500_000);
            sent.push((camera.handle.id().clone(), camera.finish().0));
        }
    }
    let mut subscriber = site.subscriber(&TOPICS);
    let mut tally = Tally::default();
    tally.read_to_end(&mut subscriber, sent.len());
    tally.assert_complete();
    for (stream, frames) in &sent {
        tally.assert_contents(stream, frames);
    }
}
