//! The viewer against the embedded broker: what clients get, what they may not do, and that none hurts another.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod access;
mod client;
mod found;
mod happened;
mod hostile;
mod http;
mod low_delay;
mod media;
mod recorded;
mod secure;
mod studies;
mod support;
