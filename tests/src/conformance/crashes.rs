//! Processes that are killed.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::{Kind, PARTITIONS, Site};
use crate::cli::spawn_at;
use crate::load::{Camera, PATIENCE, Traffic};
use crate::tally::Tally;
use lumenbus_bus::Role;
use lumenbus_frame::GapReason;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rustix::process::Signal;
use std::time::Duration;

const TOPIC: &str = "raw_video";

/// SIGKILL of `lumenbus publish`, which is started again: `aborted`, then the new epoch, which ends well.
pub fn a_publisher_is_killed(site: &Site) {
    site.create_topics(&[TOPIC]);
    let prefix = site.bus.topic_prefix.as_str();
    let line = format!("publish test:160x120@50 --camera victim --codec h264 --topic-prefix {prefix}");
    let first = spawn_at(&site.bus.brokers, &line);
    let mut subscriber = site.subscriber(&[TOPIC]);
    let mut tally = Tally::default();
    tally.read_until(&mut subscriber, "the first session sends", |tally| tally.frames() > 40);
    first.signal(Signal::KILL);
    drop(first.finish());
    let second = spawn_at(&site.bus.brokers, &line);
    let epochs = |tally: &Tally| tally.streams.values().map(|stream| stream.epochs.len()).sum::<usize>();
    tally.read_until(&mut subscriber, "the second session sends", |tally| epochs(tally) == 2);
    let so_far = tally.frames();
    tally.read_until(&mut subscriber, "it goes on", |tally| tally.frames() > so_far + 40);
    second.interrupt().code(0);
    tally.read_to_end(&mut subscriber, 1);
    tally.assert_complete();
    let stream = tally.streams.values().next().unwrap();
    let (old, new) = (stream.epochs.first_key_value().unwrap().1, stream.epochs.last_key_value().unwrap().1);
    let last = old.delivered.last().unwrap();
    assert_eq!(old.open_gaps, [(last + 1, GapReason::Aborted)]);
    assert_eq!(old.delivered.len() as u64, last + 1, "without a hole up to there");
    assert_eq!(new.open_gaps, []);
}

fn cameras(publisher: &lumenbus_bus::Publisher) -> Vec<Camera> {
    let open = |n: u32| Camera::open_with(publisher, &format!("camera-{n}"), TOPIC, Some(n % PARTITIONS));
    (0..PARTITIONS).map(open).collect()
}

/// The node that leads a partition.
fn leader(site: &Site, partition: i32) -> u16 {
    let consumer: BaseConsumer = site.bus.client_config(Role::Consumer).create().unwrap();
    let topic = site.topic(TOPIC);
    let metadata = consumer.fetch_metadata(Some(topic.as_str()), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions();
    partitions.iter().find(|found| found.id() == partition).unwrap().leader().try_into().unwrap()
}

/// Cameras and a reader go on over the death of a broker; with three of them without waiting for its return.
pub fn a_broker_is_killed_under_load(site: &mut Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let traffic = Traffic::start(cameras(&publisher), 10_000, Duration::from_millis(15));
    let mut subscriber = site.subscriber(&[TOPIC]);
    let mut tally = Tally::default();
    tally.read_until(&mut subscriber, "frames come", |tally| tally.frames() > 100);
    let victim = leader(site, 0);
    site.cluster().kill(victim);
    let so_far = tally.frames();
    if site.kind == Kind::Kafka3 {
        tally.read_until(&mut subscriber, "two of three go on", |tally| {
            tally.streams.len() == PARTITIONS as usize && tally.frames() > so_far + 400
        });
    } else {
        traffic.wait_for(30);
    }
    site.cluster().restart(victim);
    traffic.wait_for(30);
    let cameras = traffic.stop();
    let streams = cameras.len();
    let finished: Vec<_> = cameras.into_iter().map(|camera| (camera.handle.id().clone(), camera.finish())).collect();
    tally.read_to_end(&mut subscriber, streams);
    tally.assert_complete();
    for (stream, (_, summary)) in &finished {
        let contents = &tally.streams[stream].contents;
        assert!(contents.values().is_sorted_by_key(|content| content.number), "{stream}: in order of submission");
        assert!(contents.len() as u64 >= summary.stats.acknowledged_frames, "{stream}: {summary:?}");
        assert!(contents.len() as u64 > summary.stats.submitted_frames / 2, "{stream}: {summary:?}");
    }
    subscriber.close();
}

/// What was acknowledged is there after SIGKILL right behind the acknowledgement, and the session goes on.
pub fn everything_acknowledged_survives(site: &mut Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let mut cameras = cameras(&publisher);
    for camera in &mut cameras {
        camera.send_many(100, 20_000);
        camera.send(2_000_000);
    }
    for camera in &cameras {
        camera.flush();
    }
    let victim = leader(site, 1);
    site.cluster().kill(victim);
    if site.kind != Kind::Kafka3 {
        site.cluster().restart(victim);
    }
    for camera in &mut cameras {
        camera.send_many(20, 20_000);
    }
    let sent: Vec<_> = cameras.into_iter().map(|camera| (camera.handle.id().clone(), camera.finish().0)).collect();
    let mut subscriber = site.subscriber(&[TOPIC]);
    let mut tally = Tally::default();
    tally.read_to_end(&mut subscriber, sent.len());
    tally.assert_complete();
    for (stream, frames) in &sent {
        tally.assert_contents(stream, frames);
    }
    if site.kind == Kind::Kafka3 {
        site.cluster().restart(victim);
    }
}
