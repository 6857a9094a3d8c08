//! End-to-end and conformance suites

pub mod backend;
pub mod cli;
pub mod clock;
pub mod coded;
pub mod conformance;
pub mod disk;
pub mod document;
pub mod embedded;
pub mod foreign;
pub mod http;
pub mod http_camera;
pub mod judges;
pub mod load;
pub mod network;
pub mod python;
pub mod results;
pub mod rtsp;
pub mod session;
pub mod soak;
pub mod stored;
pub mod tally;

/// Its program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/rust.md")]
pub struct GuideToRust;
