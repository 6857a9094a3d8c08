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

/// What the last look found, or why there was none to see.
#[derive(Debug)]
pub(super) struct FrameTopics(Mutex<Result<Vec<TopicName>, Arc<str>>>);

impl FrameTopics {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Err("the topics were not looked at yet".into())))
    }

    /// Those that there are, at least one; else why not.
    pub(super) fn found(&self) -> Result<Vec<TopicName>, Arc<str>> {
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
            if self.note(seen.map_err(|error| error.to_string().into())) {
                on_more();
            }
            stop.sleep(if self.found().is_ok() { LATER } else { SOON });
        }
    }

    /// Whether there are more than before.
    fn note(&self, seen: Result<Vec<TopicName>, Arc<str>>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *known, seen) {
            (Ok(known), Ok(seen)) => {
                let before = known.len();
                known.extend(seen.into_iter().filter(|topic| !known.contains(topic)).collect::<Vec<_>>());
                known.len() > before
            }
            (Ok(_), Err(_)) => false,
            (unknown, Ok(seen)) if seen.is_empty() => {
                *unknown = Err(format!("no topic with frames is there yet ({})", FRAME_TOPICS.join(", ")).into());
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
    let there = cluster.actual(&wanted.each_ref().map(TopicName::as_str))?;
    Ok(wanted.into_iter().filter(|topic| there.contains_key(topic.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_come_are_told_and_none_is_forgotten() {
        let topics = FrameTopics::new();
        let seen = |names: &[&str]| Ok(names.iter().map(|name| name.parse().unwrap()).collect::<Vec<TopicName>>());
        assert!(!topics.note(Err("away".into())));
        assert_eq!(topics.found(), Err("away".into()));
        assert!(!topics.note(seen(&[])));
        assert!(topics.found().unwrap_err().contains("raw_video"));
        assert!(topics.note(seen(&["raw_images"])));
        assert!(!topics.note(seen(&["raw_images"])));
        assert!(!topics.note(Err("away".into())));
        assert!(topics.note(seen(&["raw_video", "raw_images"])));
        assert!(!topics.note(seen(&["raw_video"])));
        assert_eq!(topics.found(), seen(&["raw_images", "raw_video"]));
    }
}
