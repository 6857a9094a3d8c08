//! An index that cannot be had, or is smaller than the frames' topic.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::{PARTITIONS, Site};
use crate::foreign::read_all;
use crate::load::{Camera, PATIENCE, await_that};
use lumenbus_bus::Role;
use lumenbus_bus::index::IndexReader;
use lumenbus_bus::publisher::PublisherEvent;
use lumenbus_bus::topics::{self, CAMERAS, Cluster, Growth, INDEX, PlanOptions, TopicGroup};
use lumenbus_wire::IndexEntry;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const TOPIC: &str = "raw_video";

/// Creates these topics and no others.
fn create(site: &Site, bases: &[&str], partitions: u32) {
    let cluster = Cluster::open(&site.bus).unwrap();
    let groups = BTreeSet::from([TopicGroup::Frames, TopicGroup::Bus]);
    let options = PlanOptions { groups, frame_partitions: Some(partitions), ..PlanOptions::default() };
    let mut plan = topics::plan(cluster.facts(), &site.bus.topic_prefix, &options);
    let wanted: Vec<_> = bases.iter().map(|base| site.topic(base).to_string()).collect();
    plan.topics.retain(|topic| wanted.contains(&topic.name));
    topics::apply(&cluster, &plan, Growth::Keep).unwrap();
}

/// Told once; frames go on, and their moments are found.
pub fn an_index_that_may_not_be_created(site: &Site) {
    create(site, &[TOPIC, CAMERAS], PARTITIONS);
    let publisher = site.publisher_with(|config| config.bus.keeps_topics_as_they_are = true);
    let mut camera = Camera::open(&publisher, "alone", TOPIC);
    camera.send_many(40, 2_000);
    camera.flush();
    let is_told = |event: &PublisherEvent| matches!(event, PublisherEvent::IndexProblem { .. });
    let mut told = 0;
    let start = Instant::now();
    while told == 0 {
        assert!(start.elapsed() < PATIENCE, "nothing is told of the index");
        told += usize::from(publisher.next_event(Duration::from_secs(1)).is_some_and(|event| is_told(&event)));
    }
    camera.send_many(40, 2_000);
    let stream = camera.handle.id().clone();
    let (sent, summary) = camera.finish();
    assert_eq!((sent.len(), summary.stats.acknowledged_frames), (80, 80));
    assert_eq!(read_all(site, INDEX).len(), 0);
    let found = IndexReader::open(&site.bus).unwrap().find(&stream, i64::MAX).unwrap();
    assert_eq!(found.iter().map(|found| found.id.seq.0).collect::<Vec<_>>(), [70]);
    while let Some(event) = publisher.next_event(Duration::ZERO) {
        told += usize::from(is_told(&event));
    }
    assert_eq!(told, 1);
    drop(publisher.close(PATIENCE));
}

/// The index is deleted under a publisher that writes it: it is made again, and holds what comes from then on.
pub fn an_index_that_is_deleted(site: &Site) {
    create(site, &[TOPIC, CAMERAS, INDEX], PARTITIONS);
    let publisher = site.publisher();
    let mut camera = Camera::open_with(&publisher, "gate", TOPIC, Some(1));
    camera.send_many(20, 2_000);
    camera.flush();
    await_that("the index is written", || read_all(site, INDEX).len() == 2);
    let admin: AdminClient<DefaultClientContext> = site.bus.client_config(Role::Admin).create().unwrap();
    let index = site.topic(INDEX).to_string();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deleted = runtime.block_on(admin.delete_topics(&[&index], &options)).unwrap();
    assert_eq!(deleted, [Ok(index)]);
    await_that("the index is gone", || read_all(site, INDEX).is_empty());
    await_that("the index is written again", || {
        camera.send_many(10, 2_000);
        camera.flush();
        !read_all(site, INDEX).is_empty()
    });
    let stream = camera.handle.id().clone();
    let first = IndexEntry::decode(read_all(site, INDEX)[0].value.as_deref().unwrap()).unwrap();
    assert_eq!((first.previous, first.section.before), (None, None), "nothing of the old index counts in the new one");
    let found = IndexReader::open(&site.bus).unwrap().find(&stream, first.capture_unix_nanos).unwrap();
    assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [first.id]);
}

/// One partition for all four of the frames' topic.
pub fn an_index_with_fewer_partitions(site: &Site) {
    create(site, &[TOPIC, CAMERAS], PARTITIONS);
    create(site, &[INDEX], 1);
    let publisher = site.publisher();
    let open = |n: u32| Camera::open_with(&publisher, &format!("camera-{n}"), TOPIC, Some(n));
    let mut cameras: Vec<_> = (0..PARTITIONS).map(open).collect();
    for camera in &mut cameras {
        camera.send_many(50, 2_000);
        camera.flush();
    }
    let streams: Vec<_> = cameras.iter().map(|camera| camera.handle.id().clone()).collect();
    drop(cameras.into_iter().map(Camera::finish).collect::<Vec<_>>());
    await_that("every entry is written", || read_all(site, INDEX).len() == 5 * streams.len());
    let mut index = IndexReader::open(&site.bus).unwrap();
    for (stream, partition) in streams.iter().zip(0..) {
        let found = index.find(stream, i64::MAX / 2).unwrap();
        assert_eq!(found.iter().map(|found| (found.id.seq.0, found.partition)).collect::<Vec<_>>(), [(40, partition)]);
        assert!(index.last_cost().index_records > 0);
        let coverage = index.coverage(stream, 0, i64::MAX / 2, 100).unwrap();
        assert_eq!((coverage.keyframes.len(), coverage.is_complete), (5, true));
    }
}
