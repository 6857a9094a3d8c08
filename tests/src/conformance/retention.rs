//! Retention that is faster than a reader.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::{Kind, Site};
use crate::load::{Camera, PATIENCE, await_that};
use crate::tally::Tally;
use lumenbus_bus::Role;
use lumenbus_bus::subscriber::Notice;
use lumenbus_frame::GapReason;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

const TOPIC: &str = "raw_video";
const FRAMES: u64 = 600;

/// What is gone is a gap with that reason; reading goes on behind it.
pub fn a_slow_reader_is_passed(site: &Site) {
    let settings: &[_] = match site.kind {
        Kind::Embedded => &[("segment.bytes", "1048576"), ("retention.bytes", "2097152")],
        Kind::Kafka1 | Kind::Kafka3 => &[],
    };
    site.create_topics_with(&[TOPIC], settings);
    let publisher = site.publisher();
    let mut camera = Camera::open_with(&publisher, "old", TOPIC, Some(2));
    camera.send_many(20, 20_000);
    camera.flush();
    let mut subscriber = site.subscriber_with(&[TOPIC], |config| {
        config.buffer_bytes = 100_000;
        config.bus.set_property("queued.max.messages.kbytes", "256");
        config.bus.set_property("max.partition.fetch.bytes", "131072");
    });
    let mut tally = Tally::default();
    tally.read_until(&mut subscriber, "the first frame comes", |tally| tally.frames() == 1);
    camera.send_many(FRAMES, 20_000);
    camera.flush();
    if site.kind != Kind::Embedded {
        delete_records(site, 2, 450);
    }
    await_that("the oldest records go", || low_watermark(site, 2) > 300);
    let (stream, epoch) = (camera.handle.id().clone(), camera.handle.epoch());
    camera.finish();
    tally.read_to_end(&mut subscriber, 1);
    tally.assert_complete();
    let told = tally.notices.iter().any(|notice| matches!(notice, Notice::RetentionPassed { partition: 2, .. }));
    assert!(told, "{:?}", tally.notices);
    let missing = tally.streams[&stream].missing();
    assert!(missing.get(&GapReason::Retention).is_some_and(|frames| *frames > 100), "{missing:?}");
    let delivered = &tally.streams[&stream].epochs[&epoch.0].delivered;
    assert!(delivered.contains(&(FRAMES + 19)), "reading went on");
}

pub(crate) fn delete_records(site: &Site, partition: i32, before: i64) {
    let admin: AdminClient<DefaultClientContext> = site.bus.client_config(Role::Admin).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(site.topic(TOPIC).as_str(), partition, Offset::Offset(before)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // librdkafka's own default is the client's socket timeout, which is meant for frames.
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    runtime.block_on(admin.delete_records(&list, &options)).unwrap();
}

fn low_watermark(site: &Site, partition: i32) -> i64 {
    let consumer: BaseConsumer = site.bus.client_config(Role::Consumer).create().unwrap();
    consumer.fetch_watermarks(site.topic(TOPIC).as_str(), partition, PATIENCE).unwrap().0
}
