//! Metrics, health, traces, doctor and sizing.

pub mod budget;
mod health;
pub mod http;
pub mod metrics;
pub mod size;

pub use health::{Health, State};
pub use metrics::{Metrics, Stage, Stages, SubscriberMetrics, client_metrics, publisher_metrics};
