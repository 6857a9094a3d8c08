//! Frames through Kafka: the publisher, the subscriber, the topics and the camera directory.
//!
//! Data flow: encode → envelope → **publish → Kafka → subscribe** → decode.
//! A [`Publisher`] numbers frames, keeps them in a byte-bounded lane per stream and sends them with explicit
//! partitions from the directory `lumenbus.cameras`. A [`Subscriber`] gives each stream's frames in order and each
//! once, with every hole explained.

mod clock;
mod config;
pub mod control;
mod diagnosis;
mod directory;
mod error;
pub mod index;
pub mod journal;
mod kafka_properties;
pub mod objects;
mod offsets;
pub mod playback;
pub mod publisher;
pub mod results;
pub mod rights;
mod statistics;
pub mod status;
pub mod subscriber;
pub mod topics;
pub mod trace;

pub use clock::SystemClock;
pub use config::{BusConfig, Profile, Role, TopicPrefix};
pub use diagnosis::{BrokerAddress, BrokerProblem, ClusterFacts, probe};
pub use directory::{Directory, DirectoryEvent, DirectoryWatch, MAX_CAMERAS, first_partition};
pub use error::BusError;
pub use kafka_properties::{JavaProperties, PropertiesError, PropertyEffect, PropertyNote};
pub use publisher::{CameraDescription, Publisher, PublisherConfig, StreamHandle, StreamOptions};
pub use statistics::{BrokerStatistics, ClientStatistics, ClientType, PartitionStatistics};
pub use subscriber::{Event, Policy, Start, Subscriber, SubscriberConfig};
pub use trace::FrameTracer;
