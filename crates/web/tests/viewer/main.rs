//! The viewer against the embedded broker: what clients get, what they may not do, and that none hurts another.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod access;
mod client;
mod hostile;
mod http;
mod media;
mod secure;
mod support;
