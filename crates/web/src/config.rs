//! What a viewer is told: where to listen, what to show, whom to let in.

use crate::studies::StudiesConfig;
use crate::tls::TlsConfig;
use crate::token::Token;
use lumenbus_bus::subscriber::CameraFilter;
use lumenbus_bus::{BusConfig, FrameTracer};
use lumenbus_frame::CameraId;
use lumenbus_ops::{ClusterWatch, Health, Metrics, Stages};
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Something a page can ask for beside pictures: a button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// Stable name: `[a-z0-9-]{1,64}`.
    pub id: String,
    /// English text of the button.
    pub label_en: String,
    /// Chinese text of the button.
    pub label_zh: String,
    /// The camera it is about.
    pub camera: Option<CameraName>,
    /// Whether what it switches is on now.
    pub is_on: bool,
}

/// A camera id as JSON has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraName(pub CameraId);

impl Serialize for CameraName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// What the buttons of a page do. `list` is called every second and must be cheap; `run` may block.
pub trait Actions: Send + Sync {
    /// The buttons as they are now.
    fn list(&self) -> Vec<Action>;

    /// Presses one; the answer is shown to the user, also when it is an error.
    fn run(&self, id: &str, camera: Option<&CameraId>) -> Result<String, String>;
}

/// The facts of the health screen; the viewer adds budgets, drops and its own clients.
pub trait HealthFacts: Send + Sync {
    /// A JSON object; must not wait for the cluster.
    fn overview(&self) -> serde_json::Value;
}

/// Nothing is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHealthFacts;

impl HealthFacts for NoHealthFacts {
    fn overview(&self) -> serde_json::Value {
        serde_json::json!({})
    }
}

impl HealthFacts for ClusterWatch {
    fn overview(&self) -> serde_json::Value {
        serde_json::to_value(&*Self::overview(self)).unwrap_or_default()
    }
}

/// A camera of the settings, whether or not it has published anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredCamera {
    /// Its id.
    pub id: CameraId,
    /// Display name.
    pub name: Option<String>,
    /// Group.
    pub group: Option<String>,
    /// Why no frames can come; `None` when all is well. Begins with `unauthorized` for a refused password.
    pub trouble: Option<String>,
}

/// How close two codings come to the same pictures: mean SSIM of luma.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComparedSsim {
    /// Of the video.
    pub coded: f64,
    /// Of the JPEG pictures.
    pub jpeg: f64,
}

/// Somebody who has the original pictures and compares.
pub trait QualityJudge: fmt::Debug + Send + Sync {
    /// So far; `None` until both were compared.
    fn ssim(&self) -> Option<ComparedSsim>;
}

/// Two cameras that show the same, coded as video and as JPEG.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Coded as video.
    pub coded: CameraId,
    /// Coded as JPEG.
    pub jpeg: CameraId,
    /// Bandwidth without quality says little.
    pub judge: Option<Arc<dyn QualityJudge>>,
}

/// What the viewer may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; the next one gets 503.
    pub connections: usize,
    /// Bytes of newest frames of one stream.
    pub ring_bytes_per_stream: usize,
    /// Bytes of newest frames of all streams; divided among them.
    pub ring_bytes: usize,
    /// Largest frame shown.
    pub max_frame_bytes: usize,
    /// Bytes that may wait between Kafka and the viewer, per topic.
    pub feed_bytes: usize,
    /// A client this far behind skips to the newest keyframe.
    pub max_lag: Duration,
    /// A client that takes nothing for this long is disconnected.
    pub send_timeout: Duration,
    /// A client must say hello within this time.
    pub hello_timeout: Duration,
    /// A request's header must be complete within this time.
    pub header_timeout: Duration,
    /// Bytes the system holds for a client that reads slowly; what is in there cannot be skipped.
    pub send_buffer_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            ring_bytes_per_stream: 16 << 20,
            ring_bytes: 256 << 20,
            max_frame_bytes: 16 << 20,
            feed_bytes: 32 << 20,
            max_lag: Duration::from_millis(400),
            send_timeout: Duration::from_secs(15),
            hello_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            send_buffer_bytes: 256 << 10,
        }
    }
}

/// A viewer's settings.
#[derive(Clone)]
pub struct ViewerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How many further ports to try when it is taken; 0 is an error at once.
    pub try_next_ports: u16,
    /// The flag that sets the address, for error messages.
    pub listen_flag: &'static str,
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Which cameras to show.
    pub cameras: CameraFilter,
    /// Who has it is let in; `None`: everybody who can connect.
    pub token: Option<Token>,
    /// Encryption.
    pub tls: Option<TlsConfig>,
    /// Names besides addresses, `localhost` and the machine's own under which a page may be opened.
    pub allowed_hosts: Vec<String>,
    /// Buttons.
    pub actions: Option<Arc<dyn Actions>>,
    /// The pair of the bandwidth headline.
    pub comparison: Option<Comparison>,
    /// Facts of the health screen.
    pub health_facts: Arc<dyn HealthFacts>,
    /// Cameras of the settings; called every second.
    pub configured: Arc<dyn Fn() -> Vec<ConfiguredCamera> + Send + Sync>,
    /// Served at `/metrics`; the viewer's own reading is counted in it.
    pub metrics: Metrics,
    /// Served at `/healthz` and `/readyz`; the viewer is one of its components.
    pub health: Health,
    /// Where durations are counted for `/metrics`.
    pub stages: Stages,
    /// Who follows frames through traces.
    pub tracer: Option<Arc<dyn FrameTracer>>,
    /// The screen of DICOM studies, shown where there are DICOM topics; `None`: never.
    pub studies: Option<StudiesConfig>,
    /// Bounds.
    pub limits: Limits,
    /// Title of the page.
    pub title: String,
}

impl ViewerConfig {
    /// Every camera of this bus on `127.0.0.1:8980`, without a token, with metrics of its own.
    #[must_use]
    pub fn new(bus: BusConfig) -> Self {
        let metrics = Metrics::new();
        let stages = Stages::new(&metrics);
        Self {
            metrics,
            stages,
            tracer: None,
            health: Health::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8980)),
            try_next_ports: 0,
            listen_flag: "--listen",
            bus,
            cameras: CameraFilter::default(),
            token: None,
            tls: None,
            allowed_hosts: Vec::new(),
            actions: None,
            comparison: None,
            health_facts: Arc::new(NoHealthFacts),
            configured: Arc::new(Vec::new),
            studies: None,
            limits: Limits::default(),
            title: "lumenbus".to_owned(),
        }
    }
}

impl fmt::Debug for ViewerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewerConfig")
            .field("listen", &self.listen)
            .field("cameras", &self.cameras)
            .field("token", &self.token)
            .field("limits", &self.limits)
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}
