//! Metrics, health, traces, doctor and sizing.
