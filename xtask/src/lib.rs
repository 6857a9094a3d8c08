//! Development tasks as a library, so that tests can start what `cargo xtask` starts.
//!
//! The end-to-end tests use [`kafka`] to run a real Apache Kafka cluster; everything else is called
//! by the command line in `main.rs`.
//!
//! ```
//! let root = xtask::workspace::root();
//! assert!(root.join("Cargo.toml").exists());
//! ```

pub mod dist;
pub mod fuzz;
pub mod kafka;
pub mod licenses;
pub mod proto;
pub mod soak;
pub mod tidy;
pub mod workspace;
