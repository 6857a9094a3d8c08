//! Results of analysis as others read them.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use crate::load::PATIENCE;
use lumenbus_wire::AnalysisResult;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Their topic.
pub const RESULTS: &str = "analysis_results";

/// A frame's name in a result: camera, epoch, seq.
pub type Name = (String, u64, u64);

fn name_of(result: &AnalysisResult) -> Name {
    (result.stream.camera.to_string(), result.id.epoch.0, result.id.seq.0)
}

/// Reads results from the beginning on, as any client that wants committed ones only.
pub struct Judge {
    consumer: BaseConsumer,
    partitions: usize,
}

impl Judge {
    /// For these brokers, whose results have a topic.
    ///
    /// # Panics
    /// When they have not.
    #[must_use]
    pub fn new(brokers: &str) -> Self {
        let (consumer, partitions) = committed_reader(brokers, RESULTS);
        Self { consumer, partitions }
    }

    /// Every result that is committed when it is asked for, in order within its partition.
    ///
    /// # Panics
    /// When one cannot be read, or they do not end.
    #[must_use]
    pub fn results(&self) -> Vec<AnalysisResult> {
        let mut list = TopicPartitionList::new();
        let mut until = BTreeMap::new();
        for partition in 0..i32::try_from(self.partitions).unwrap() {
            list.add_partition_offset(RESULTS, partition, Offset::Beginning).unwrap();
            until.insert(partition, self.consumer.fetch_watermarks(RESULTS, partition, PATIENCE).unwrap().1);
        }
        self.consumer.assign(&list).unwrap();
        let (mut found, mut ended) = (Vec::new(), BTreeSet::new());
        let deadline = Instant::now() + PATIENCE;
        while ended.len() < self.partitions {
            assert!(Instant::now() < deadline, "the results do not end: {ended:?} of {} do", self.partitions);
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(record)) => {
                    let content_type = record.headers().unwrap().iter().find(|header| header.key == "content-type");
                    let result = AnalysisResult::decode(content_type.unwrap().value, record.payload().unwrap());
                    let result = result.unwrap();
                    assert_eq!(record.key(), Some(result.stream.camera.as_str().as_bytes()));
                    // Of a partition that is written to all the time the end is never seen.
                    if record.offset() + 1 >= until[&record.partition()] {
                        ended.insert(record.partition());
                    }
                    found.push(result);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
                _ => {}
            }
        }
        found
    }

    /// How many results each frame has.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Name, usize> {
        let mut counts = BTreeMap::new();
        for result in self.results() {
            *counts.entry(name_of(&result)).or_insert(0) += 1;
        }
        counts
    }

    /// Holds the results to exactly one of each of these frames.
    ///
    /// # Panics
    /// When a frame has none or several.
    pub fn assert_once_each(&self, frames: &[Name]) {
        let counts = self.counts();
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "more than one result: {twice:?}");
        let missing: Vec<_> = frames.iter().filter(|frame| !counts.contains_key(*frame)).collect();
        assert!(missing.is_empty(), "{} of {} without a result: {missing:?}", missing.len(), frames.len());
        assert_eq!(counts.len(), frames.len(), "results of frames that are none");
    }
}

/// A consumer of committed records that tells where partitions end, and how many partitions the topic has.
///
/// # Panics
/// When the topic is not there.
#[must_use]
pub fn committed_reader(brokers: &str, topic: &str) -> (BaseConsumer, usize) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "judge")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    (consumer, partitions)
}
