//! How much a topic holds, by its records' number and the size of some of them.

use super::reader::{Quiet, Until};
use super::sample::{Place, look_at};
use super::{ClusterStatus, TopicStatus, TopicUsage};
use rdkafka::consumer::BaseConsumer;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Sizes kept a topic; the oldest go first.
const MAX_SIZES: usize = 256;
/// From this many on, few are looked at at a time.
const ENOUGH_SIZES: usize = 32;
const FIRST_LOOKS: usize = 12;
const LATER_LOOKS: usize = 4;
/// With enough sizes, a topic is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Usages {
    topics: HashMap<String, Usage>,
}

#[derive(Default)]
struct Usage {
    sizes: VecDeque<usize>,
    looked_at: Option<Instant>,
    span: Option<(i64, i64)>,
}

impl Usage {
    fn is_due(&self) -> bool {
        let is_old = self.looked_at.is_none_or(|looked_at| looked_at.elapsed() >= LOOK_AGAIN);
        is_old || self.sizes.len() < ENOUGH_SIZES
    }

    fn looks(&self) -> usize {
        if self.sizes.len() < ENOUGH_SIZES { FIRST_LOOKS } else { LATER_LOOKS }
    }

    /// `sizes` are those of records chosen at random, `times` of all that were looked at.
    fn take(&mut self, sizes: &[usize], times: &[i64]) {
        self.looked_at = Some(Instant::now());
        self.sizes.extend(sizes);
        let excess = self.sizes.len().saturating_sub(MAX_SIZES);
        self.sizes.drain(..excess);
        self.span = times.iter().min().copied().zip(times.iter().max().copied()).or(self.span);
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate of far fewer than 2^52 bytes")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and `as` saturates")]
    fn estimate(&self, topic: &TopicStatus) -> TopicUsage {
        let mean = self.sizes.iter().sum::<usize>() as f64 / self.sizes.len().max(1) as f64;
        let records = topic.records();
        TopicUsage {
            topic: topic.name.clone(),
            records,
            estimated_bytes: (records as f64 * mean) as u64,
            mean_record_bytes: mean,
            sampled_records: self.sizes.len(),
            is_estimate: true,
            replication: topic.replication(),
            append_span_millis: self.span.map(|(oldest, newest)| newest.saturating_sub(oldest)),
        }
    }
}

impl Usages {
    pub(super) fn read(
        &mut self,
        consumer: &BaseConsumer<Quiet>,
        cluster: &ClusterStatus,
        until: &Until,
    ) -> Vec<TopicUsage> {
        self.topics.retain(|name, _| cluster.topics.iter().any(|topic| topic.name == *name));
        let (mut ends, mut chosen) = (BTreeSet::new(), BTreeSet::new());
        for topic in cluster.topics.iter().filter(|topic| topic.records() > 0) {
            let usage = self.topics.entry(topic.name.clone()).or_default();
            if usage.is_due() {
                ends.extend(span_places(topic));
                chosen
                    .extend((0..usage.looks()).filter_map(|_| place_of(topic, rand::random_range(0..topic.records()))));
            }
        }
        let places = ends.union(&chosen).cloned().collect();
        let mut found: HashMap<String, (Vec<usize>, Vec<i64>)> = HashMap::new();
        for (place, sample) in look_at(consumer, &places, until) {
            let is_chosen = chosen.contains(&place);
            let (sizes, times) = found.entry(place.0).or_default();
            // The oldest and the newest record are not like the others: a topic often ends with a control record.
            sizes.extend(is_chosen.then_some(sample.bytes));
            times.extend(sample.unix_millis);
        }
        for (topic, (sizes, times)) in found {
            self.topics.entry(topic).or_default().take(&sizes, &times);
        }
        let nothing = Usage::default();
        cluster.topics.iter().map(|topic| self.topics.get(&topic.name).unwrap_or(&nothing).estimate(topic)).collect()
    }
}

/// The oldest and the newest record of the fullest partition: what the topic spans.
fn span_places(topic: &TopicStatus) -> Vec<Place> {
    let fullest = topic.partitions.iter().max_by_key(|partition| partition.records());
    let bounds =
        fullest.and_then(|partition| Some((partition.partition, partition.begin_offset?, partition.end_offset?)));
    let places = |(partition, begin, end): (i32, i64, i64)| {
        vec![(topic.name.clone(), partition, begin), (topic.name.clone(), partition, end - 1)]
    };
    bounds.map(places).unwrap_or_default()
}

/// The place of the topic's nth record, partition by partition: each is as likely as any other.
fn place_of(topic: &TopicStatus, mut nth: u64) -> Option<Place> {
    for partition in &topic.partitions {
        if nth < partition.records() {
            let offset = partition.begin_offset?.saturating_add(i64::try_from(nth).ok()?);
            return Some((topic.name.clone(), partition.partition, offset));
        }
        nth -= partition.records();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::PartitionStatus;

    fn topic(bounds: &[(i64, i64)]) -> TopicStatus {
        let partition = |(number, (begin, end)): (usize, &(i64, i64))| PartitionStatus {
            partition: i32::try_from(number).unwrap(),
            leader: Some(1),
            replicas: vec![1, 2, 3],
            in_sync: vec![1],
            begin_offset: Some(*begin),
            end_offset: Some(*end),
        };
        TopicStatus { name: "raw_video".to_owned(), partitions: bounds.iter().enumerate().map(partition).collect() }
    }

    #[test]
    fn every_record_has_one_place() {
        let topic = topic(&[(5, 7), (0, 0), (100, 103)]);
        let places: Vec<_> = (0..6).map(|nth| place_of(&topic, nth).map(|place| (place.1, place.2))).collect();
        let expected = [(0, 5), (0, 6), (2, 100), (2, 101), (2, 102)].map(Some).into_iter().chain([None]);
        assert_eq!(places, expected.collect::<Vec<_>>());
        assert_eq!(span_places(&topic).iter().map(|place| place.2).collect::<Vec<_>>(), [100, 102]);
    }

    #[test]
    fn an_estimate_is_records_times_mean_and_keeps_few_sizes() {
        let mut usage = Usage::default();
        assert!(usage.is_due());
        usage.take(&[100, 300], &[1_000, 4_000, 2_000]);
        let estimate = usage.estimate(&topic(&[(10, 20), (0, 30)]));
        assert_eq!((estimate.records, estimate.estimated_bytes, estimate.sampled_records), (40, 8_000, 2));
        assert_eq!((estimate.append_span_millis, estimate.replication), (Some(3_000), 3));
        for _ in 0..100 {
            usage.take(&[1; 10], &[]);
        }
        assert_eq!(usage.sizes.len(), MAX_SIZES);
        assert!(!usage.is_due());
        assert_eq!(Usage::default().estimate(&topic(&[(0, 9)])).estimated_bytes, 0, "unknown is not made up");
    }
}
