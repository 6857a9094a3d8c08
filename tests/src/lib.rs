//! End-to-end and conformance suites

pub mod cli;
