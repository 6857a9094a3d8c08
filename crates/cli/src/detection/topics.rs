//! Which frame topics there are: a box may begin with none, and gets them with its cameras.

use crate::commands::subscribe::FRAME_TOPICS;
use lumenbus_bus::topics::Cluster;
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_frame::TopicName;
use lumenbus_pipeline::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two looks: while there is nothing, and once there is something.
const SOON: Duration = Duration::from_millis(250);
const LATER: Duration = Duration::from_secs(5);

/// Why there is no topic to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoTopics {
    /// None has come into being.
    Yet(Arc<str>),
    /// It is not known, or none may be read.
    Failed(Arc<str>),
}

/// What the last look found, or why there was none to see.
#[derive(Debug)]
pub(super) struct FrameTopics(Mutex<Result<Vec<TopicName>, NoTopics>>);

impl FrameTopics {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Err(NoTopics::Yet("the topics were not looked at yet".into()))))
    }

    /// Those that there are, at least one; else why not.
    pub(super) fn found(&self) -> Result<Vec<TopicName>, NoTopics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks until it is told to stop; calls back when there are more than before. One that is gone again stays: readers
    /// wait for it, and a broker that is being moved may not tell all of them.
    pub(super) fn watch(&self, bus: &BusConfig, stop: &Shutdown, on_more: impl Fn()) {
        let mut cluster = None;
        while !stop.is_requested() {
            let seen = look(&mut cluster, bus);
            if seen.is_err() {
                cluster = None;
            }
            if self.note(seen.map_err(|error| NoTopics::Failed(error.to_string().into()))) {
                on_more();
            }
            stop.sleep(if self.found().is_ok() { LATER } else { SOON });
        }
    }

    /// Whether there are more than before.
    fn note(&self, seen: Result<Vec<TopicName>, NoTopics>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *known, seen) {
            (Ok(known), Ok(seen)) => {
                let before = known.len();
                known.extend(seen.into_iter().filter(|topic| !known.contains(topic)).collect::<Vec<_>>());
                known.len() > before
            }
            (Ok(_), Err(_)) => false,
            (unknown, Ok(seen)) if seen.is_empty() => {
                let reason = format!("no topic with frames is there yet ({})", FRAME_TOPICS.join(", "));
                *unknown = Err(NoTopics::Yet(reason.into()));
                false
            }
            (unknown, seen) => {
                *unknown = seen;
                unknown.is_ok()
            }
        }
    }
}

fn look(cluster: &mut Option<Cluster>, bus: &BusConfig) -> Result<Vec<TopicName>, BusError> {
    let cluster = match cluster {
        Some(cluster) => cluster,
        None => cluster.insert(Cluster::open(bus)?),
    };
    let wanted = FRAME_TOPICS.map(|topic| bus.topic_prefix.topic(topic));
    readable(wanted, |topic| cluster.has(topic.as_str()))
}

/// Those that there are and that may be seen; an error where there is none but one that may not.
fn readable(
    wanted: impl IntoIterator<Item = TopicName>,
    has: impl Fn(&TopicName) -> Result<bool, BusError>,
) -> Result<Vec<TopicName>, BusError> {
    let (mut found, mut refused) = (Vec::new(), None);
    for topic in wanted {
        match has(&topic) {
            Ok(true) => found.push(topic),
            Ok(false) => {}
            Err(error @ BusError::NotAuthorised { .. }) => {
                tracing::debug!(%topic, "left out: {error}");
                refused = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_come_are_told_and_none_is_forgotten() {
        let topics = FrameTopics::new();
        let seen = |names: &[&str]| Ok(names.iter().map(|name| name.parse().unwrap()).collect::<Vec<TopicName>>());
        let away = || Err(NoTopics::Failed("away".into()));
        assert!(!topics.note(away()));
        assert_eq!(topics.found(), away());
        assert!(!topics.note(seen(&[])));
        assert!(matches!(topics.found(), Err(NoTopics::Yet(reason)) if reason.contains("raw_video")));
        assert!(topics.note(seen(&["raw_images"])));
        assert!(!topics.note(seen(&["raw_images"])));
        assert!(!topics.note(away()));
        assert!(topics.note(seen(&["raw_video", "raw_images"])));
        assert!(!topics.note(seen(&["raw_video"])));
        assert_eq!(topics.found(), seen(&["raw_images", "raw_video"]));
    }

    #[test]
    fn a_topic_that_may_not_be_seen_is_left_out_and_told_where_there_is_no_other() {
        let wanted = || FRAME_TOPICS.map(|topic| topic.parse::<TopicName>().unwrap());
        let refuse = |topic: &TopicName| {
            Err(BusError::NotAuthorised {
                operation: "read",
                resource: topic.to_string(),
                brokers: "kafka:9092".to_owned(),
                acl: String::new(),
            })
        };
        let first = wanted()[0].clone();
        let found = readable(wanted(), |topic| if *topic == first { Ok(true) } else { refuse(topic) });
        assert_eq!(found.unwrap(), std::slice::from_ref(&first));
        let none = readable(wanted(), |topic| if *topic == first { Ok(false) } else { refuse(topic) });
        assert!(matches!(none, Err(BusError::NotAuthorised { .. })), "{none:?}");
        assert_eq!(readable(wanted(), |_| Ok(false)).unwrap(), []);
        let away = || BusError::Timeout { operation: "read", brokers: String::new(), millis: 1 };
        assert!(readable(wanted(), |topic| if *topic == first { Ok(true) } else { Err(away()) }).is_err());
    }
}
