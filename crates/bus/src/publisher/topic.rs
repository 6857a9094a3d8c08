//! What a publisher has to know of a topic.

use crate::publisher::core::TopicKind;
use crate::publisher::hub::{Hub, lock};
use crate::topics::{Cluster, ensure_topics};
use crate::{BusConfig, BusError};
use lumenbus_frame::TopicName;

/// The topic that never holds control records.
const PICTURES_ONLY: &str = "raw_images";
/// The largest record unless the topic takes less: key + headers + value.
pub(crate) const DEFAULT_RECORD_LIMIT_BYTES: usize = 900 * 1024;
/// Kept free below the topic's `max.message.bytes` for what Kafka adds to a batch.
const BATCH_ALLOWANCE_BYTES: usize = 16 * 1024;
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// A topic as the cluster has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicFacts {
    pub(crate) partitions: u32,
    /// Absent when the cluster does not tell.
    pub(crate) max_message_bytes: Option<usize>,
    pub(crate) kind: TopicKind,
}

impl TopicFacts {
    /// The largest record here; `wanted` is the user's own limit.
    pub(crate) fn record_limit_bytes(&self, wanted: Option<usize>) -> usize {
        let fits = self.max_message_bytes.map(|max| max.saturating_sub(BATCH_ALLOWANCE_BYTES).max(1));
        let limit = wanted.unwrap_or(DEFAULT_RECORD_LIMIT_BYTES);
        fits.map_or(limit, |fits| limit.min(fits))
    }
}

/// Creates the topic if it may and has to be, and looks at it; asked once a publisher.
pub(crate) fn facts(hub: &Hub, topic: &TopicName) -> Result<TopicFacts, BusError> {
    if let Some(known) = lock(&hub.topics).get(topic.as_str()) {
        return Ok(*known);
    }
    let facts = ask(&hub.bus, topic)?;
    lock(&hub.topics).insert(topic.as_str().to_owned(), facts);
    Ok(facts)
}

fn ask(bus: &BusConfig, topic: &TopicName) -> Result<TopicFacts, BusError> {
    let base = bus.topic_prefix.strip(topic.as_str());
    if let Some(base) = base {
        ensure_topics(bus, &[base])?;
    }
    let actual = Cluster::open(bus)?.actual(&[topic.as_str()])?;
    let Some(actual) = actual.get(topic.as_str()) else {
        return Err(BusError::UnknownTopic { topic: topic.as_str().to_owned(), brokers: bus.brokers.clone() });
    };
    let is_pictures_only = base == Some(PICTURES_ONLY);
    Ok(TopicFacts {
        partitions: actual.partitions.max(1),
        max_message_bytes: actual.configs.get(MAX_MESSAGE_BYTES).and_then(|value| value.parse().ok()),
        kind: if is_pictures_only { TopicKind::PicturesOnly } else { TopicKind::Records },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_limit_keeps_below_the_topics() {
        let facts = |max| TopicFacts { partitions: 1, max_message_bytes: max, kind: TopicKind::Records };
        assert_eq!(facts(Some(1_048_588)).record_limit_bytes(None), DEFAULT_RECORD_LIMIT_BYTES);
        assert_eq!(facts(None).record_limit_bytes(None), DEFAULT_RECORD_LIMIT_BYTES);
        assert_eq!(facts(Some(500_000)).record_limit_bytes(None), 500_000 - 16 * 1024);
        assert_eq!(facts(Some(10_000_000)).record_limit_bytes(Some(5_000_000)), 5_000_000);
        assert_eq!(facts(Some(100)).record_limit_bytes(None), 1);
    }
}
