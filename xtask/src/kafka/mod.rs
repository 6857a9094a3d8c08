//! A real Apache Kafka cluster (KRaft, combined nodes) on loopback, from Maven Central artifacts.
//!
//! [`KafkaCluster::start`] resolves the jars of a release once into the user's cache, formats the
//! nodes, starts them and returns when every broker answers and knows all the others. Dropping the
//! value stops the processes; if the owning process is killed, a watchdog does so.
//! [`KafkaError::is_missing_prerequisite`] tells a machine without Java or Maven from a failure.
//!
//! ```no_run
//! use xtask::kafka::{KafkaCluster, KafkaOptions};
//!
//! let cluster = KafkaCluster::start(&KafkaOptions { nodes: 3, ..KafkaOptions::default() })?;
//! println!("bootstrap.servers={}", cluster.bootstrap());
//! cluster.tool("org.apache.kafka.tools.TopicCommand", &["--list"])?;
//! # Ok::<(), xtask::kafka::KafkaError>(())
//! ```

mod cluster;
mod error;
mod install;
mod options;
mod probe;
mod process;
mod programs;
mod properties;
mod secure;
mod state;
mod tool;

pub use cluster::KafkaCluster;
pub use error::KafkaError;
pub use options::{KafkaOptions, KafkaRelease};
pub use programs::KafkaPrograms;
pub use secure::{Credentials, User};
pub use state::{ClusterState, NodeState};
