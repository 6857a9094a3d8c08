//! The wire format from outside: golden bytes, round trips, hostile bytes, allocations.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod allocation;
mod audit;
mod chunks;
mod features;
mod golden;
mod hostile;
mod index;
mod results;
mod roundtrip;
mod samples;
