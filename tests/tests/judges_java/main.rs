//! Apache Kafka's own Java programs and clients, held against the embedded broker and against Apache Kafka.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod connect;
mod copier;
mod groups;
mod mirror;
mod streams;
mod tools;

use lumenbus_broker::{Broker, BrokerConfig};
use lumenbus_tests::judges::record;

#[test]
fn the_record_names_what_the_broker_speaks() {
    let data = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new(data.path()).listen(([127, 0, 0, 1], 0).into());
    let broker = Broker::start_blocking(config).unwrap();
    record::hold_versions(&broker.requests());
    broker.shutdown_blocking().unwrap();
}

/// No program here asks a broker that knows no access control to change it.
const UNJUDGED: [&str; 1] = ["CreateAcls"];

#[test]
fn every_api_has_a_judge() {
    let unjudged = record::unjudged();
    assert!(unjudged.iter().all(|api| UNJUDGED.contains(&api.as_str())), "{unjudged:?}");
}
