//! Live viewer and dashboard.
