//! Live viewer and dashboard: frames from the bus into browsers.
//!
//! Data flow: Kafka → subscribe → **hub → client sessions → WebSocket** → page. Frames are not decoded here: a page gets
//! them as coded, or as fragmented MP4. `hub` holds the newest frames and the figures of every stream, `session` is one
//! client, `http` is everything before the WebSocket. The HTTP API and the protocol are in `docs/reference/viewer.md`.
//!
//! ```no_run
//! use lumenbus_bus::BusConfig;
//! use lumenbus_web::{Viewer, ViewerConfig};
//!
//! let viewer = Viewer::start(ViewerConfig::new(BusConfig::new("127.0.0.1:9092")))?;
//! println!("{}", viewer.start_message());
//! # Ok::<(), lumenbus_web::ViewerError>(())
//! ```

mod config;
mod error;
mod feed;
mod http;
mod hub;
pub mod packet;
pub mod protocol;
mod recordings;
mod session;
mod studies;
#[cfg(test)]
mod testing;
mod tls;
mod token;
mod viewer;

pub use config::{
    Action, Actions, CameraName, ComparedSsim, Comparison, ConfiguredCamera, HealthFacts, Limits, NoHealthFacts,
    QualityJudge, ViewerConfig,
};
pub use error::ViewerError;
pub use feed::MAX_TOPICS;
pub use hub::{Analysis, JpegRatio, MAX_STREAMS, Percentiles, StreamPhase, StreamSnapshot, Totals, ViewerSnapshot};
pub use studies::{AccessTrail, NoAccessTrail, StudiesConfig};
pub use tls::{TlsConfig, TlsError};
pub use token::{Token, TokenError};
pub use viewer::Viewer;
