//! Stages wired together: source, encoder, publisher; subscriber, decoder, sink.
//!
//! Data flow: [`publish`] takes frames from a source (through an encoder where asked) onto the bus; [`subscribe`]
//! takes them from the bus into a [`sink`], decoding where the sink's form needs pictures. Everything here is
//! synchronous and stops by a [`Shutdown`].
//!
//! ```
//! use lumenbus_pipeline::Shutdown;
//! use std::time::Duration;
//!
//! let shutdown = Shutdown::default();
//! shutdown.request();
//! shutdown.sleep(Duration::from_secs(3_600)); // returns at once
//! assert!(shutdown.is_requested());
//! ```

pub mod decode;
pub mod fleet;
pub mod mux;
pub mod pool;
pub mod publish;
mod shutdown;
pub mod sink;
pub mod subscribe;
pub mod tally;
pub mod video;

pub use shutdown::Shutdown;
