//! End-to-end and conformance suites
