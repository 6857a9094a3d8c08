//! Rights and topics that only feature records and events need: whoever cannot have them is told how to go without.

use super::{WorkError, WorkerConfig};
use lumenbus_bus::BusError;
use lumenbus_bus::topics::{ANALYSIS_RESULTS, EVENTS, IMAGE_FEATURES};

/// The error, with the way out where there is one.
pub(super) fn told(config: &WorkerConfig, error: BusError) -> WorkError {
    let is =
        |name: &str, base| name.strip_prefix("topic ").unwrap_or(name) == config.bus.topic_prefix.topic(base).as_str();
    let is_needed_for_features = match &error {
        BusError::UnknownTopic { topic, .. } => [IMAGE_FEATURES, EVENTS].into_iter().any(|base| is(topic, base)),
        BusError::NotAuthorised { resource, operation, .. } => {
            [IMAGE_FEATURES, EVENTS].into_iter().any(|base| is(resource, base))
                // Results are written in any case; read only to go on with what another worker left.
                || (*operation == "read" && is(resource, ANALYSIS_RESULTS))
        }
        _ => false,
    };
    if config.features && is_needed_for_features { WorkError::Features(error) } else { WorkError::Bus(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_bus::BusConfig;

    #[test]
    fn what_only_features_need_names_the_way_out() {
        let mut config = WorkerConfig::new(BusConfig::new("b:1"), "guards".to_owned());
        let refused = |operation, topic: &str| {
            let (resource, brokers, acl) = (format!("topic {topic}"), "b:1".to_owned(), String::new());
            BusError::NotAuthorised { operation, resource, brokers, acl }
        };
        let unknown = |topic: &str| BusError::UnknownTopic { topic: topic.to_owned(), brokers: "b:1".to_owned() };
        let names_it = |config: &WorkerConfig, error| {
            let text = told(config, error).to_string();
            assert!(text.contains("b:1"), "{text}");
            text.contains("--no-features") && text.contains("features = false")
        };
        for error in [refused("write", IMAGE_FEATURES), refused("read", ANALYSIS_RESULTS), unknown(EVENTS)] {
            assert!(names_it(&config, error));
        }
        for error in [refused("write", ANALYSIS_RESULTS), refused("read", "raw_video"), unknown(ANALYSIS_RESULTS)] {
            assert!(!names_it(&config, error));
        }
        config.features = false;
        assert!(!names_it(&config, refused("write", IMAGE_FEATURES)));
    }
}
