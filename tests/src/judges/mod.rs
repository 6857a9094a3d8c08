//! Programs and clients of others, held against the embedded broker and against Apache Kafka with the same expectations.

pub mod clients;
pub mod jvm;
pub mod record;
pub mod site;
pub mod transcript;

pub use jvm::{Jvm, Program};
pub use site::{Site, on_both};
