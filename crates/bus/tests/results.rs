//! Results and offsets in one transaction: each frame has exactly one committed result, whoever came and went.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use bytes::Bytes;
use lumenbus_bus::results::{Output, ResultRecord, ResultWriter, ResultWriterConfig};
use lumenbus_bus::subscriber::{Event, Preroll, Receipt, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::topics::ensure_topics;
use lumenbus_bus::{BusError, Publisher, Role, StreamHandle, StreamOptions};
use lumenbus_frame::{CameraId, Codec, EncodedFrame};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{PATIENCE, Site, now, wait_for};

const RESULTS: &str = "analysis_results";
const WAIT: Duration = Duration::from_millis(100);

/// A member of the group: its result of a frame is the frame's name.
struct Member {
    config: SubscriberConfig,
    writer: ResultWriter,
    subscriber: Option<Subscriber>,
}

impl Member {
    fn join(site: &Site) -> Self {
        let mut results = ResultWriterConfig::new(site.config.clone(), site.topic(RESULTS), group(site));
        results.transaction_timeout = Duration::from_secs(5);
        let writer = ResultWriter::open(results).unwrap();
        let mut config = SubscriberConfig::new(site.config.clone(), vec![site.topic("raw_images")]);
        config.start = Start::Earliest;
        config.preroll = Preroll::Deliver;
        config.results = Some(writer.link());
        let subscriber = Some(Subscriber::open(config.clone()).unwrap());
        Self { config, writer, subscriber }
    }

    fn next(&mut self) -> Result<Option<(Event, Receipt)>, BusError> {
        self.subscriber.as_mut().unwrap().recv_held(WAIT)
    }

    /// Handles one event; whether there was a frame.
    fn step(&mut self) -> bool {
        let handled = self.next().and_then(|held| match held {
            Some((event, receipt)) => {
                let result = result_of(&event);
                let is_frame = result.is_some();
                self.writer.submit(result, receipt).map(|()| is_frame)
            }
            None => self.writer.check().map(|()| false),
        });
        handled.unwrap_or_else(|error| {
            eprintln!("begins again: {error}");
            // Its partitions are given up before they are asked for again.
            drop(self.subscriber.take());
            self.subscriber = Some(Subscriber::open(self.config.clone()).unwrap());
            false
        })
    }

    fn steps(&mut self, frames: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut left = frames;
        while left > 0 {
            assert!(Instant::now() < deadline, "{left} of {frames} frames did not come");
            left -= usize::from(self.step());
        }
    }
}

fn group(site: &Site) -> String {
    format!("{}counters", site.config.topic_prefix.as_str())
}

fn result_of(event: &Event) -> Option<ResultRecord> {
    let Event::Frame(frame) = event else { return None };
    let value = format!("{} {}", frame.stream.camera, frame.id().seq).into();
    let key = frame.stream.camera.to_string();
    let (output, header, content_type) = (Output::Results, None, "text/plain");
    Some(ResultRecord { output, header, key, frame_partition: frame.partition, content_type, value })
}

fn cameras(publisher: &Publisher) -> Vec<StreamHandle> {
    let open = |number| {
        let camera = CameraId::new(&format!("camera-{number}")).unwrap();
        publisher.main_stream(camera, "raw_images", StreamOptions::new(Codec::Jpeg)).unwrap()
    };
    (0..6).map(open).collect()
}

fn publish(cameras: &[StreamHandle], frames: usize) {
    for number in 0..frames {
        let frame = EncodedFrame::new(Codec::Jpeg, now(), Bytes::from(vec![7; 500])).keyframe();
        cameras[number % cameras.len()].submit(frame).unwrap();
    }
}

/// How often each result was committed.
fn committed(site: &Site) -> BTreeMap<String, usize> {
    let consumer: BaseConsumer = site
        .config
        .client_config(Role::Consumer)
        .set("group.id", "judge")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let topic = site.topic(RESULTS);
    let metadata = consumer.fetch_metadata(Some(topic.as_str()), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap() {
        list.add_partition_offset(topic.as_str(), partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut found, mut ended) = (BTreeMap::new(), BTreeSet::new());
    let deadline = Instant::now() + PATIENCE;
    while ended.len() < partitions {
        assert!(Instant::now() < deadline, "the results do not end");
        match consumer.poll(WAIT) {
            Some(Ok(record)) => {
                *found.entry(String::from_utf8(record.payload().unwrap().to_vec()).unwrap()).or_insert(0) += 1;
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            _ => {}
        }
    }
    found
}

fn assert_once_each(site: &Site, frames: usize) {
    let found = committed(site);
    let twice: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(found.len(), frames);
}

fn sites() -> Vec<Site> {
    let sites = Site::all();
    for site in &sites {
        ensure_topics(&site.config, &["raw_images", RESULTS]).unwrap();
    }
    sites
}

#[test]
fn what_was_not_committed_is_done_again_by_the_next() {
    for site in sites() {
        let publisher = site.publisher();
        publish(&cameras(&publisher), 300);
        let mut first = Member::join(&site);
        first.steps(100);
        // Its transaction is aborted, or was committed with offsets that know of it.
        drop(first);
        let mut second = Member::join(&site);
        wait_for("every frame has its result", || (!second.step() && committed(&site).len() == 300).then_some(()));
        assert_once_each(&site, 300);
    }
}

#[test]
fn members_that_come_and_go_share_the_work_and_none_is_done_twice() {
    for site in sites() {
        let publisher = site.publisher();
        let cameras = cameras(&publisher);
        let is_over = Arc::new(AtomicBool::new(false));
        let mut first = Member::join(&site);
        publish(&cameras, 200);
        first.steps(50);
        let mut second = Member::join(&site);
        let over = Arc::clone(&is_over);
        let other = std::thread::spawn(move || {
            let mut frames = 0;
            while !over.load(Ordering::Acquire) {
                frames += usize::from(second.step());
            }
            // All is committed; offsets alone may be refused while the other one leaves.
            second.writer.flush().ok();
            frames
        });
        let deadline = Instant::now() + PATIENCE;
        let mut published = 200;
        // More comes until the newcomer has its share.
        while committed(&site).len() < published {
            assert!(Instant::now() < deadline && !other.is_finished(), "not all of {published}");
            for _ in 0..10 {
                first.step();
            }
            if published < 600 {
                publish(&cameras, 100);
                published += 100;
            }
        }
        is_over.store(true, Ordering::Release);
        first.writer.flush().unwrap();
        drop(first);
        let seen = other.join().unwrap();
        eprintln!("the newcomer had {seen} of {published} frames");
        assert_once_each(&site, published);
    }
}
