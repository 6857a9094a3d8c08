//! What Prometheus gets to see.
//!
//! Every collector is asked at each scrape; between scrapes nothing is computed. Names are `lumenbus_<noun>_<unit>`,
//! counters end in `_total`, units are seconds and bytes. What Kafka's own clients call `record-send-rate` is
//! `lumenbus_producer_record_send_rate` here, and so on.

mod buckets;
mod client;
mod families;
mod process;
mod publisher;
mod reader;
mod shares;
mod stages;
mod subscriber;
mod tracer;

pub use client::client_metrics;
pub use families::{Distribution, Families, Row, collector};
pub use publisher::publisher_metrics;
pub use reader::ReaderMetrics;
pub use stages::{Stage, Stages};
pub use subscriber::SubscriberMetrics;

use lumenbus_frame::GapReason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Cameras with series of their own; what further ones do is counted under the camera [`OTHER`].
pub const MAX_CAMERAS: usize = 500;
/// Stands for everything beyond a limit.
pub const OTHER: &str = "other";

/// Why a publisher drops frames. Each has its series from the beginning: `increase()` does not see a first value.
const PUBLISHER_REASONS: [GapReason; 8] = [
    GapReason::Overflow,
    GapReason::Expired,
    GapReason::DeliveryFailed,
    GapReason::Oversize,
    GapReason::Undecodable,
    GapReason::SourceDamaged,
    GapReason::SourceLost,
    GapReason::Stopped,
];
/// Why a reader misses frames, beside those.
const READER_REASONS: [GapReason; 7] = [
    GapReason::Aborted,
    GapReason::Retention,
    GapReason::RecordDamaged,
    GapReason::Lagging,
    GapReason::Superseded,
    GapReason::Joining,
    GapReason::Unexplained,
];

/// The metrics of this process; clones are the same ones.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<RwLock<Registry>>,
}

impl Metrics {
    /// Those of the process itself; everything else is registered by its owner.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self { registry: Arc::new(RwLock::new(Registry::default())) };
        metrics.register(Box::new(process::Process));
        metrics
    }

    /// Adds a collector. Each kind once: a name may be described only once in an answer.
    pub fn register(&self, collector: Box<dyn Collector>) {
        self.registry.write().unwrap_or_else(PoisonError::into_inner).register_collector(collector);
    }

    /// All metrics in Prometheus's text format, version 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        // Only a collector of somebody else can fail; what came before it is still worth having.
        if text::encode_registry(&mut text, &registry).is_err() {
            tracing::error!("a collector of metrics failed; the answer ends early");
        }
        classic(&text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// OpenMetrics names a counter without its `_total` in `HELP` and `TYPE` and has a `UNIT`; the older format, which every
/// scraper and promtool reads, names it as in its samples and has none.
fn classic(text: &str) -> String {
    let mut classic = String::with_capacity(text.len() + text.len() / 16);
    let mut help: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        if line.starts_with("# UNIT ") {
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, text)) = help.take() {
                push(&mut classic, &["# HELP ", name, suffix, " ", text]);
            }
            push(&mut classic, &["# TYPE ", name, suffix, " ", kind]);
            continue;
        }
        push(&mut classic, &[line]);
    }
    classic
}

fn push(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
    text.push('\n');
}

/// A series of its own for so many names, one for all others.
#[derive(Debug, Default)]
pub(crate) struct Bounded<T> {
    values: std::collections::HashMap<String, T>,
}

impl<T: Default> Bounded<T> {
    /// The value of a name.
    pub(crate) fn of(&mut self, name: &str, limit: usize) -> &mut T {
        if !self.values.contains_key(name) {
            let name = if self.is_beyond(name, limit) { OTHER } else { name };
            return self.values.entry(name.to_owned()).or_default();
        }
        // Known names, which is nearly every call, cost no allocation.
        self.values.get_mut(name).expect("it was just found")
    }

    /// Whether a name is one of the others.
    pub(crate) fn is_beyond(&self, name: &str, limit: usize) -> bool {
        self.values.len() >= limit && !self.values.contains_key(name)
    }

    /// In the order of the names.
    pub(crate) fn rows(&self) -> Vec<(&String, &T)> {
        let mut rows: Vec<_> = self.values.iter().collect();
        rows.sort_by_key(|row| row.0);
        rows
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::DescriptorEncoder;

    #[derive(Debug)]
    struct Example;

    impl Collector for Example {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let mut families = Families::new(encoder);
            families.counters("lumenbus_things", "Things.", [Row::new(3.0).label("name", "a \"b\"\n")])?;
            families.gauges("lumenbus_level_bytes", "Level.", [Row::new(1.5)])?;
            families.gauges("lumenbus_absent_bytes", "Nothing known.", [])
        }
    }

    #[test]
    fn the_classic_text_format() {
        let metrics = Metrics::new();
        metrics.register(Box::new(Example));
        let text = metrics.encode();
        let ours = "# HELP lumenbus_things_total Things.\n# TYPE lumenbus_things_total counter\n\
                    lumenbus_things_total{name=\"a \\\"b\\\"\\n\"} 3.0\n\
                    # HELP lumenbus_level_bytes Level.\n# TYPE lumenbus_level_bytes gauge\nlumenbus_level_bytes 1.5\n";
        assert!(text.ends_with(ours), "{text}");
        assert!(text.contains("process_start_time_seconds"), "{text}");
    }

    #[test]
    fn names_beyond_the_limit_share_a_series() {
        let mut bounded = Bounded::<u64>::default();
        for number in 0..1_000 {
            *bounded.of(&number.to_string(), 10) += 1;
        }
        let rows = bounded.rows();
        assert_eq!(rows.len(), 11);
        assert_eq!(rows.iter().map(|row| *row.1).sum::<u64>(), 1_000);
        assert_eq!(**rows.iter().find(|row| row.0 == OTHER).map(|row| &row.1).unwrap(), 990);
    }
}
