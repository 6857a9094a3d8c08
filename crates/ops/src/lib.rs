//! Metrics, health, traces, doctor and sizing.

pub mod budget;
pub mod disk;
pub mod doctor;
mod health;
pub mod http;
pub mod metrics;
pub mod size;
pub mod traces;
pub mod watch;

pub use disk::OwnDisk;
pub use health::{Health, State};
pub use metrics::{Metrics, Stage, Stages, SubscriberMetrics, client_metrics, publisher_metrics};
pub use traces::{TraceConfig, Tracing};
pub use watch::{ClusterWatch, Overview};
