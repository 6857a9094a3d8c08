//! Brokers to test against: the embedded one, and Apache Kafka where `LUMENBUS_TEST_KAFKA` names its bootstrap servers.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "part of every test; each uses another part of it"
)]

use bytes::Bytes;
use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use lumenbus_bus::{BusConfig, Publisher, PublisherConfig, StreamHandle, StreamOptions, SystemClock, TopicPrefix};
use lumenbus_frame::{CameraId, CaptureTime, Clock as _, Codec, EncodedFrame, TopicName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The last resort against a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(90);
static NEXT_PREFIX: AtomicU32 = AtomicU32::new(0);

/// A broker to test against; the embedded one ends with it.
pub struct Site {
    pub config: BusConfig,
    pub embedded: Option<(RunningBroker, tempfile::TempDir)>,
}

pub fn start_broker(folder: &Path, listen: SocketAddr) -> RunningBroker {
    Broker::start_blocking(BrokerConfig::new(folder).listen(listen)).unwrap()
}

impl Site {
    pub fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = start_broker(folder.path(), ([127, 0, 0, 1], 0).into());
        Self { config: BusConfig::new(broker.bootstrap_servers()), embedded: Some((broker, folder)) }
    }

    /// Each with topics of its own.
    pub fn all() -> Vec<Self> {
        let mut sites = vec![Self::embedded()];
        match std::env::var("LUMENBUS_TEST_KAFKA").ok().filter(|brokers| !brokers.is_empty()) {
            Some(brokers) => sites.push(Self { config: BusConfig::new(brokers), embedded: None }),
            None => eprintln!("SKIPPED: Apache Kafka; name its bootstrap servers in LUMENBUS_TEST_KAFKA"),
        }
        for site in &mut sites {
            let number = NEXT_PREFIX.fetch_add(1, Ordering::Relaxed);
            site.config.topic_prefix = TopicPrefix::new(&format!("t{}-{number}.", std::process::id())).unwrap();
        }
        sites
    }

    /// The full name of a topic.
    pub fn topic(&self, base: &str) -> TopicName {
        self.config.topic_prefix.topic(base)
    }

    pub fn publisher(&self) -> Publisher {
        Publisher::open(PublisherConfig::new(self.config.clone())).unwrap()
    }
}

pub fn camera() -> CameraId {
    CameraId::new("gate").unwrap()
}

pub fn video(publisher: &Publisher) -> StreamHandle {
    publisher.main_stream(camera(), "raw_video", StreamOptions::new(Codec::H264)).unwrap()
}

pub fn now() -> CaptureTime {
    CaptureTime::arrival(SystemClock.unix_nanos())
}

/// A keyframe, captured now.
pub fn keyframe(bytes: usize) -> EncodedFrame {
    EncodedFrame::new(Codec::H264, now(), Bytes::from(vec![7; bytes])).keyframe()
}

/// Asks until there is an answer: counters and the state of a cluster have no event.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
