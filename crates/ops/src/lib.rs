//! What an operator asks: is it alive, how is it going, what is wrong, what will it need.
//!
//! Place in the data flow: beside it. [`Metrics`] ask publishers, subscribers and the cluster when they are scraped;
//! [`Tracing`] follows single frames; [`doctor`] examines a configuration and its cluster; [`budget`] and [`size`] are
//! arithmetic.
//!
//! ```
//! use lumenbus_ops::{Health, Metrics, Stage, Stages, State, http};
//!
//! let (metrics, health) = (Metrics::new(), Health::new());
//! let stages = Stages::new(&metrics);
//! stages.record(Stage::Decode, 7_500);
//! health.set("decoder", State::Ok);
//! let server = http::serve("127.0.0.1:0".parse()?, http::routes(metrics.clone(), health))?;
//! println!("http://{}/metrics", server.addr());
//! assert!(metrics.encode().contains("lumenbus_stage_seconds_count{stage=\"decode\"} 1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod audit;
pub mod budget;
pub mod disk;
pub mod doctor;
mod health;
pub mod http;
pub mod metrics;
pub mod size;
pub mod traces;
pub mod watch;
pub mod webhook;

pub use disk::OwnDisk;
pub use health::{Health, State};
pub use metrics::{Metrics, ReaderMetrics, Stage, Stages, SubscriberMetrics, client_metrics, publisher_metrics};
pub use traces::{TraceConfig, Tracing};
pub use watch::{ClusterWatch, Overview};
