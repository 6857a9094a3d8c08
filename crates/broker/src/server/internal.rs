//! The broker's own topics.

use std::sync::Arc;

use super::group::OFFSETS_TOPIC;
use super::txn::TRANSACTIONS_TOPIC;
use crate::log::{Apply, LogError, LogStore, Overrides, Topic};

/// Whether a topic belongs to the broker; clients may only read it.
pub(crate) fn is_internal(topic: &str) -> bool {
    topic == OFFSETS_TOPIC || topic == TRANSACTIONS_TOPIC
}

/// The broker's topic with one partition, made when it is missing. One that is there (of Kafka's, of an older version,
/// of an administrator who was quicker) gets the settings it must have: what is deleted by age or size is forgotten.
pub(crate) fn internal_topic(
    store: &LogStore,
    name: &'static str,
    settings: &[(&str, &str)],
) -> Result<Arc<Topic>, LogError> {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings: Overrides = settings.collect();
    let Some(topic) = store.topic(name) else { return store.create_topic(name, 1, &settings) };
    let present = topic.overrides();
    if settings.iter().any(|(name, value)| present.get(name) != Some(value)) {
        tracing::warn!(topic = name, ?settings, "the broker's own topic had other settings; these are put in force");
        store.alter_config(name, Apply::Yes, |_, mut own| {
            own.extend(settings);
            Ok(own)
        })?;
    }
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::StoreConfig;

    #[test]
    fn a_topic_that_is_there_gets_the_settings_it_must_have() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = LogStore::open(StoreConfig::new(folder.path()), 0).unwrap();
        let own = [("cleanup.policy", "delete"), ("retention.ms", "1000")];
        let own: Overrides = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        store.create_topic(TRANSACTIONS_TOPIC, 1, &own).unwrap();
        let must = [("cleanup.policy", "compact")];
        for name in [TRANSACTIONS_TOPIC, OFFSETS_TOPIC] {
            for _ in 0..2 {
                let topic = internal_topic(&store, name, &must).unwrap();
                assert_eq!(topic.overrides()["cleanup.policy"], "compact");
                let policy = topic.partition(0).unwrap().config().cleanup_policy;
                assert!(policy.compact && !policy.delete, "in force at once");
            }
        }
        store.close().unwrap();
        drop(store);
        let (store, _) = LogStore::open(StoreConfig::new(folder.path()), 0).unwrap();
        assert_eq!(store.topic(TRANSACTIONS_TOPIC).unwrap().overrides()["cleanup.policy"], "compact", "for good");
    }
}
