//! Real-time image and video transport on Apache Kafka: what a Rust user imports.
//!
//! Cameras in; ordered, decodable, accounted-for frames out. This crate is a façade: it names what the other crates
//! do and adds nothing of its own.
//!
//! Publishing and subscribing, against any Kafka broker (`lumenbus broker --data DIR` starts one):
//!
//! ```no_run
//! use lumenbus::bus::{BusConfig, Publisher, PublisherConfig, StreamOptions};
//! use lumenbus::bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
//! use lumenbus::frame::{CaptureTime, Codec, EncodedFrame};
//! use std::time::Duration;
//!
//! let bus = BusConfig::new("127.0.0.1:9092");
//! let publisher = Publisher::open(PublisherConfig::new(bus.clone()))?;
//! let stream = publisher.main_stream("gate-7".parse()?, "raw_images", StreamOptions::new(Codec::Jpeg))?;
//! let picture = std::fs::read("picture.jpg")?.into();
//! stream.submit(EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(1_700_000_000_000_000_000), picture))?;
//! stream.finish(Duration::from_secs(10))?;
//!
//! let mut config = SubscriberConfig::new(bus, vec!["raw_images".parse()?]);
//! config.start = Start::Earliest;
//! let mut subscriber = Subscriber::open(config)?;
//! while let Some(event) = subscriber.recv(Duration::from_secs(1))? {
//!     if let Event::Frame(frame) = event {
//!         println!("{} {} {} bytes", frame.stream, frame.id().seq, frame.payload.len());
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use lumenbus_bus as bus;
pub use lumenbus_codec as codec;
pub use lumenbus_frame as frame;
pub use lumenbus_pipeline as pipeline;
pub use lumenbus_source as source;
pub use lumenbus_vision as vision;
