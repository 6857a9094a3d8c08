//! The settings file as it is written. What it means is in [`check`](super::check).

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A value of several possible types, with its place.
pub(super) type Value = Spanned<toml::Value>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) brokers: Option<Spanned<String>>,
    pub(super) topic_prefix: Option<Spanned<String>>,
    pub(super) profile: Option<Spanned<String>>,
    pub(super) topics: Topics,
    /// Any Kafka property by name.
    pub(super) kafka: BTreeMap<String, toml::Value>,
    pub(super) broker: Option<BrokerTable>,
    pub(super) viewer: Viewer,
    pub(super) metrics: Metrics,
    pub(super) traces: Traces,
    pub(super) log: Log,
    pub(super) fleet: FleetTable,
    pub(super) camera: Vec<Camera>,
    pub(super) detect: Vec<Detect>,
    pub(super) webhook: Vec<WebhookTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Topics {
    pub(super) create: bool,
}

impl Default for Topics {
    fn default() -> Self {
        Self { create: true }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BrokerTable {
    pub(super) data: Option<Spanned<String>>,
    pub(super) listen: Option<Spanned<String>>,
    pub(super) advertise: Option<Spanned<String>>,
    pub(super) keep_free: Option<Value>,
    pub(super) fsync: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Viewer {
    pub(super) enabled: bool,
    pub(super) listen: Option<Spanned<String>>,
    pub(super) token_file: Option<Spanned<String>>,
    pub(super) https: Option<Spanned<String>>,
    pub(super) allow_hosts: Vec<String>,
    pub(super) show_patient_data: bool,
}

impl Default for Viewer {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: None,
            token_file: None,
            https: None,
            allow_hosts: Vec::new(),
            show_patient_data: false,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) listen: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Traces {
    pub(super) endpoint: Option<Spanned<String>>,
    pub(super) sample_ratio: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Option<Spanned<String>>,
    pub(super) format: Option<Spanned<String>>,
}

/// A folder of video files, each a camera; and whether other processes run the same cameras.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FleetTable {
    pub(super) folder: Option<Spanned<String>>,
    pub(super) group: Option<Spanned<String>>,
    #[serde(rename = "loop")]
    pub(super) is_looped: bool,
    pub(super) snapshots: Option<Value>,
    /// The name under which several processes share this list of cameras.
    pub(super) shared: Option<Spanned<String>>,
    pub(super) node: Option<Spanned<String>>,
}

impl Default for FleetTable {
    fn default() -> Self {
        Self { folder: None, group: None, is_looped: true, snapshots: None, shared: None, node: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Camera {
    pub(super) id: Spanned<String>,
    pub(super) source: Spanned<String>,
    pub(super) username: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<String>>,
    pub(super) password_env: Option<Spanned<String>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) group: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) labels: Option<Spanned<BTreeMap<String, String>>>,
    pub(super) codec: Option<Spanned<String>>,
    pub(super) bitrate: Option<Value>,
    pub(super) quality: Option<Value>,
    #[serde(alias = "keyframe_interval")]
    pub(super) gop: Option<Value>,
    #[serde(default)]
    pub(super) fixed_camera: bool,
    pub(super) idle_skip: Option<bool>,
    #[serde(default)]
    pub(super) denoise: bool,
    #[serde(default = "yes")]
    pub(super) keyframe_requests: bool,
    pub(super) rate_control: Option<Spanned<String>>,
    #[serde(default = "yes")]
    pub(super) scene_cuts: bool,
    pub(super) temporal_layers: Option<Value>,
    pub(super) slices: Option<Value>,
    pub(super) fps: Option<Value>,
    #[serde(rename = "loop", default)]
    pub(super) is_looped: bool,
    pub(super) deadline: Option<Value>,
    pub(super) snapshots: Option<Value>,
    pub(super) topic: Option<Spanned<String>>,
    pub(super) stream: Option<Spanned<String>>,
    pub(super) sub: Option<Spanned<String>>,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
}

/// Analysis workers of one consumer group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detect {
    pub(super) detector: Spanned<String>,
    #[serde(default)]
    pub(super) cameras: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) topics: Vec<Spanned<String>>,
    pub(super) group: Option<Spanned<String>>,
    pub(super) workers: Option<Value>,
    pub(super) from: Option<Spanned<String>>,
    pub(super) policy: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) keyframes_only: bool,
    pub(super) format: Option<Spanned<String>>,
    #[serde(default = "yes")]
    pub(super) features: bool,
    pub(super) buffer: Option<Value>,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
}

/// A receiver of events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookTable {
    pub(super) name: Spanned<String>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) url_file: Option<Spanned<String>>,
    pub(super) secret_file: Option<Spanned<String>>,
    pub(super) secret_env: Option<Spanned<String>>,
    pub(super) ca_file: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) cameras: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) kinds: Vec<Spanned<String>>,
    pub(super) group: Option<Spanned<String>>,
    pub(super) from: Option<Spanned<String>>,
    pub(super) timeout: Option<Value>,
    pub(super) refusals: Option<Value>,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
}

fn yes() -> bool {
    true
}
