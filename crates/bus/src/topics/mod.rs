//! The topics: what there should be, what there is, and the difference.
//!
//! [`plan`] and [`check`] are pure; [`Cluster`] asks and changes a real cluster. An existing topic is never changed by
//! creating; [`apply`] alters settings, and adds partitions only when asked to.

mod apply;
mod block_on;
mod check;
mod cluster;
mod plan;
mod print;

pub use apply::{Applied, Growth, apply, ensure_topics};
pub(crate) use block_on::block_on;
pub use check::{ActualTopic, Drift, DriftKind, check};
pub use cluster::Cluster;
pub(crate) use plan::names;
pub use plan::{PlanOptions, TopicGroup, TopicPlan, TopicSpec, plan};
pub use print::{Format, print_drift, print_plan};

/// Base name of the keyframe index's topic.
pub const INDEX: &str = "lumenbus.index";
/// Base name of the directory's topic.
pub const CAMERAS: &str = "lumenbus.cameras";
/// What analysis found in frames.
pub const ANALYSIS_RESULTS: &str = "analysis_results";
/// What each second of a stream looked like.
pub const IMAGE_FEATURES: &str = "image_features";
/// The audit trail.
pub const AUDIT: &str = "lumenbus.audit";
/// Who is to get DICOM objects.
pub const DESTINATIONS: &str = "lumenbus.destinations";
/// What happened at cameras.
pub const EVENTS: &str = "lumenbus.events";
