//! The brokers a judge is held against.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use super::jvm::Jvm;
use super::record;
use crate::backend::{self, Kind};
use lumenbus_broker::{ApiRequests, Broker, BrokerConfig, RunningBroker};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// One broker, as a judge sees it.
pub struct Site {
    /// Which.
    pub kind: Kind,
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// A folder for files of the judge.
    pub files: TempDir,
    /// Runs Kafka's programs.
    pub jvm: Jvm,
    ours: Option<Ours>,
}

struct Ours {
    /// Until it is stopped.
    broker: Option<RunningBroker>,
    requests: Vec<ApiRequests>,
    data: TempDir,
}

impl Site {
    /// The data directory, where it is ours.
    #[must_use]
    pub fn data(&self) -> Option<&Path> {
        self.ours.as_ref().map(|ours| ours.data.path())
    }

    /// Stops the broker in order, where it is ours and runs.
    ///
    /// # Panics
    /// When it does not stop cleanly.
    pub fn stop(&mut self) {
        let Some(ours) = &mut self.ours else { return };
        let Some(broker) = ours.broker.take() else { return };
        ours.requests = broker.requests();
        broker.shutdown_blocking().unwrap();
    }

    /// A file of the judge, with this text in it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Lets a judge judge Apache Kafka first, which proves its expectations, and then an embedded broker of its own; what it
/// asked the latter for is held to the record. `LUMENBUS_JUDGED` leaves one of them out, `kafka` or `embedded`, where
/// somebody works on the other.
///
/// # Panics
/// When the judge does, or the record is another.
pub fn on_both(judge: &str, hear: impl Fn(&mut Site)) {
    let only = std::env::var("LUMENBUS_JUDGED").unwrap_or_default();
    let Some(mut jvm) = Jvm::start() else { return };
    if only != "embedded" {
        let Some(kafka) = backend::Site::together(Kind::Kafka1) else { return };
        let files = tempfile::tempdir().unwrap();
        let mut site = Site { kind: Kind::Kafka1, bootstrap: kafka.bus.brokers.clone(), files, jvm, ours: None };
        hear(&mut site);
        jvm = site.jvm;
    }
    if only != "kafka" {
        hear_embedded(judge, jvm, hear);
    }
}

fn hear_embedded(judge: &str, jvm: Jvm, hear: impl Fn(&mut Site)) {
    let data = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new(data.path()).listen(([127, 0, 0, 1], 0).into());
    let broker = Broker::start_blocking(config).unwrap();
    let bootstrap = broker.bootstrap_servers();
    let files = tempfile::tempdir().unwrap();
    let ours = Some(Ours { broker: Some(broker), requests: Vec::new(), data });
    let mut site = Site { kind: Kind::Embedded, bootstrap, files, jvm, ours };
    hear(&mut site);
    site.stop();
    if let Some(ours) = site.ours {
        record::hold_to(judge, &ours.requests);
    }
}
