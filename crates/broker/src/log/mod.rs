//! The storage half of the broker: segmented logs in Apache Kafka's own on-disk layout.

mod config;
mod error;
mod partition;
mod store;
mod waiter;

pub use config::{CleanupPolicy, KeepFree, LogConfig, Overrides, StoreConfig, TimestampType};
pub use error::LogError;
pub use partition::{AppendOrigin, Appended, FirstBatch, Partition, ReadSlice, TimestampOffset};
pub use store::{HousekeepingReport, LogStore, RecoveryReport, Topic};
pub use waiter::{Waiter, Watch};
