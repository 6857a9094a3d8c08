//! The embedded single-node broker: Kafka's protocol and on-disk log.

pub mod log;
