//! Webhooks: each event of `lumenbus.events` as a POST to somebody's server.
//!
//! A [`Webhook`] is a member of a consumer group and sends one event after the other. The log is its queue: an event is done
//! when the receiver has answered 2xx, and only then the group's offset moves beyond it. So a receiver that is away misses
//! nothing within the topic's retention; after a crash the last events come again, with the ids that they had. Each receiver
//! has a group of its own and never waits for another.
//!
//! Of the parts, `delivery` says what follows from an answer and `signature` what a receiver checks, both without I/O;
//! `client` speaks HTTP.
//!
//! ```
//! use lumenbus_bus::BusConfig;
//! use lumenbus_ops::webhook::{Secret, Target, Webhook, WebhookConfig};
//!
//! let target = Target::new("https://hooks.example/lumenbus", None)?;
//! let mut config = WebhookConfig::new(BusConfig::new("127.0.0.1:9092"), "guards", target);
//! config.secret = Some(Secret::new("0123456789abcdef0123456789abcdef")?);
//! let webhook = Webhook::new(config)?;
//! assert_eq!(webhook.group(), "webhook-guards");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod delivery;
mod filter;
mod forward;
mod signature;

pub use client::{Target, TargetError};
pub use delivery::{Answer, Attempts, RetryPolicy, Verdict, retry_after};
pub use filter::{EventFilter, KindPattern};
pub use forward::{Ending, Told, Webhook, WebhookError, WebhookState, WebhookStats};
pub use signature::{MAX_SECRET_BYTES, MIN_SECRET_BYTES, Secret, SecretError};

use crate::metrics::{Metrics, Row, collector};
use bytes::Bytes;
use client::Client;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use lumenbus_bus::{BusConfig, Start};
use lumenbus_frame::{Epoch, FrameId, Seq, StreamId};
use lumenbus_wire::{CameraEvent, EventKind, HealthState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The header with the event's id: the same for the same event, however often it comes.
pub const EVENT_ID: &str = "x-lumenbus-event-id";
/// The header with the event's kind.
pub const EVENT_KIND: &str = "x-lumenbus-event-kind";
/// The header with the time of the attempt, in Unix seconds.
pub const TIMESTAMP: &str = "x-lumenbus-timestamp";
/// The header with time and HMAC.
pub const SIGNATURE: &str = "x-lumenbus-signature";
/// The header of a test, `1`.
pub const TEST: &str = "x-lumenbus-test";

/// Longest name of a webhook, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Shortest and longest time of an attempt: it keeps the group from noticing a rebalance.
pub const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// One receiver and what it gets.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Its name, in metrics and messages.
    pub name: Arc<str>,
    /// Its consumer group; nobody else's.
    pub group: String,
    /// Where events go.
    pub target: Target,
    /// Signs requests; `None`: they are not signed.
    pub secret: Option<Secret>,
    /// Which events.
    pub filter: EventFilter,
    /// Where a new group begins.
    pub start: Start,
    /// Longest time of an attempt, within [`TIMEOUTS`].
    pub timeout: Duration,
    /// What follows after failures.
    pub policy: RetryPolicy,
    /// Ends when all that is there has been delivered.
    pub until_end: bool,
}

impl WebhookConfig {
    /// The group `webhook-NAME`, every event from now on, attempts of 10 s, no secret.
    #[must_use]
    pub fn new(bus: BusConfig, name: &str, target: Target) -> Self {
        Self {
            bus,
            name: name.into(),
            group: group_of(name),
            target,
            secret: None,
            filter: EventFilter::default(),
            start: Start::Live,
            timeout: Duration::from_secs(10),
            policy: RetryPolicy::default(),
            until_end: false,
        }
    }
}

/// The group of a webhook, unless it is given another.
#[must_use]
pub fn group_of(name: &str) -> String {
    format!("webhook-{name}")
}

/// Sends a test to a receiver: an event that never was, of the camera `test`, with `"test": true`; one attempt.
///
/// # Errors
/// What is wrong with the target, or with this process; the receiver's answer, also none, is no error.
pub fn send_test(target: &Target, secret: Option<&Secret>, timeout: Duration) -> Result<Answer, WebhookError> {
    let now = unix_seconds();
    let event = test_event(now);
    let mut object: serde_json::Map<String, serde_json::Value> = event
        .encode_json()
        .ok()
        .and_then(|value| serde_json::from_slice(&value).ok())
        .expect("an event of ours is an object");
    object.insert("test".to_owned(), true.into());
    let body = Bytes::from(serde_json::Value::from(object).to_string());
    let mut headers = headers(&event, secret, now, &body)?;
    headers.insert(HeaderName::from_static(TEST), HeaderValue::from_static("1"));
    let mut client = Client::new(target.clone(), timeout)?;
    Ok(runtime()?.block_on(client.post(&headers, &body)))
}

/// A camera called `test` that was dark for 12 s and is well again.
fn test_event(unix_seconds: i64) -> CameraEvent {
    let names = "test".parse().ok().zip("raw_video".parse().ok());
    let (camera, topic) = names.expect("these are a camera's and a topic's names");
    let kind = EventKind::Health { state: HealthState::Ok, previous: HealthState::Dark, lasted_millis: Some(12_000) };
    let nanos = unix_seconds.saturating_mul(1_000_000_000);
    let epoch = Epoch(u64::try_from(unix_seconds).unwrap_or(0).saturating_mul(1_000) << 16);
    CameraEvent::new(StreamId::main(camera, topic), FrameId { epoch, seq: Seq(0) }, nanos, kind)
}

/// What a request says beside its body.
fn headers(
    event: &CameraEvent,
    secret: Option<&Secret>,
    unix_seconds: i64,
    body: &[u8],
) -> Result<HeaderMap, WebhookError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lumenbus/", env!("CARGO_PKG_VERSION"))));
    let mut insert = |name, value: String| {
        let value = HeaderValue::try_from(value).expect("digits, letters and = , are a header's");
        headers.insert(HeaderName::from_static(name), value);
    };
    insert(EVENT_ID, event.id.to_string());
    insert(EVENT_KIND, event.kind.as_str().to_owned());
    insert(TIMESTAMP, unix_seconds.to_string());
    if let Some(secret) = secret {
        insert(SIGNATURE, secret.sign(unix_seconds, body).map_err(WebhookError::Sign)?);
    }
    Ok(headers)
}

fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn runtime() -> Result<tokio::runtime::Runtime, WebhookError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WebhookError::Start)
}

/// Registers the figures of webhooks; `webhooks` says which there are at each scrape.
pub fn webhook_metrics(
    metrics: &Metrics,
    webhooks: impl Fn() -> Vec<(String, WebhookStats, WebhookState)> + Send + Sync + 'static,
) {
    metrics.register(collector(move |families| {
        let all = webhooks();
        let events = all.iter().flat_map(|(name, stats, _)| {
            let outcomes =
                [("delivered", stats.delivered), ("passed_over", stats.passed_over), ("filtered", stats.filtered)];
            outcomes.map(|(outcome, count)| Row::count(count).label("webhook", name).label("outcome", outcome))
        });
        families.counters("lumenbus_webhook_events", "Events that a webhook is done with.", events)?;
        let failed = all.iter().map(|(name, stats, _)| Row::count(stats.failed_attempts).label("webhook", name));
        families.counters("lumenbus_webhook_failed_attempts", "Attempts that were not answered 2xx.", failed)?;
        let failing =
            all.iter().map(|(name, _, state)| Row::count(state.trouble().is_some().into()).label("webhook", name));
        families.gauges("lumenbus_webhook_failing", "1 while the newest attempt has failed.", failing)
    }));
}
