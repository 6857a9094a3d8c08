//! The embedded single-node broker: Kafka's protocol and on-disk log.
//!
//! It stands between publishers and subscribers where no Kafka cluster is: producers append record
//! batches, consumers read them, any Kafka client will do. It knows Kafka and nothing of frames.
//! The two halves are [`log`] (storage in Kafka's own layout) and the server (protocol, groups),
//! which is reached through [`Broker`].
//!
//! ```
//! use lumenbus_broker::{Broker, BrokerConfig, BrokerError};
//!
//! fn main() -> Result<(), BrokerError> {
//!     let data_dir = std::env::temp_dir().join(format!("broker-example-{}", std::process::id()));
//!     let config = BrokerConfig::new(&data_dir).listen(([127, 0, 0, 1], 0).into());
//!     let broker = Broker::start_blocking(config)?;
//!     println!("bootstrap.servers={}", broker.bootstrap_servers());
//!     broker.shutdown_blocking()?;
//!     # std::fs::remove_dir_all(data_dir).ok();
//!     Ok(())
//! }
//! ```

pub mod inspect;
pub mod log;
mod server;

pub use server::{
    AllowAll, ApiRequests, Authorizer, AutoCreate, Broker, BrokerConfig, BrokerError, BrokerStatistics, GroupConfig,
    Limits, Operation, Principal, RequestTimes, Resource, RunningBroker, TransactionConfig, check_request,
};
