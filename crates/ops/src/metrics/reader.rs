//! What one reader counts of each of its events.

use super::stages::Clocks;
use super::subscriber::StreamCounts;
use super::{Stages, SubscriberMetrics};
use lumenbus_bus::subscriber::Event;

/// Counts one reader's events, for the thread that calls `Subscriber::recv`: without locks, and without anything that
/// another thread writes. What it counted stays when it is dropped, and is shown at once while it lives.
#[derive(Debug)]
pub struct ReaderMetrics {
    metrics: SubscriberMetrics,
    counts: StreamCounts,
    stages: Option<(Stages, Clocks)>,
}

impl ReaderMetrics {
    /// Counts into these metrics, and into the stage clocks where somebody looks at them.
    #[must_use]
    pub fn new(metrics: &SubscriberMetrics, stages: Option<&Stages>) -> Self {
        let stages = stages.map(|stages| (stages.clone(), Clocks::default()));
        Self { metrics: metrics.clone(), counts: StreamCounts::default(), stages }
    }

    /// Counts an event.
    pub fn observe(&mut self, event: &Event) {
        self.counts.observe(&self.metrics, event);
        if let (Event::Frame(frame), Some((stages, clocks))) = (event, &mut self.stages) {
            clocks.received(stages, frame);
        }
    }
}
