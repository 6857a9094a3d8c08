//! Sends requests to publishers, from a thread of its own.

use super::{CONTROL, REPEAT_REST};
use crate::diagnosis::{Attempt, explain};
use crate::{BusConfig, BusError, Role, SystemClock};
use bytes::Bytes;
use lumenbus_frame::{CameraId, Clock, StreamId};
use lumenbus_wire::{ControlRequest, RequestKind};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::util::Timeout;
use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Requests that may wait for the thread.
const MAX_WAITING: usize = 1_024;
/// Streams whose last request is remembered.
const MAX_REMEMBERED: usize = 10_000;
/// How long looking up the topic may take; requests wait meanwhile.
const LOOK_UP: Duration = Duration::from_secs(2);
/// The client's events are looked after this often while nothing is asked.
const IDLE: Duration = Duration::from_millis(500);
/// What was asked last leaves within this when the sender is dropped.
const LAST_WORDS: Duration = Duration::from_millis(300);

struct Letter {
    camera: CameraId,
    value: Bytes,
}

/// A reader's way to ask publishers, by one small Kafka client that is opened at once and on a thread of its own.
///
/// A request that cannot be delivered within three seconds is lost: nobody would wait for it any more.
///
/// ```no_run
/// use lumenbus_bus::BusConfig;
/// use lumenbus_bus::control::ControlSender;
/// use lumenbus_frame::StreamId;
///
/// let sender = ControlSender::open(&BusConfig::new("127.0.0.1:9092"), "my reader")?;
/// let gate = StreamId::main("gate".parse()?, "raw_video".parse()?);
/// assert!(sender.request_keyframe(&gate));
/// assert!(!sender.request_keyframe(&gate), "once in a while");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ControlSender {
    letters: Option<SyncSender<Letter>>,
    thread: Option<JoinHandle<()>>,
    by: String,
    clock: Arc<dyn Clock>,
    asked: Mutex<HashMap<StreamId, u64>>,
}

impl ControlSender {
    /// Starts the thread; does not wait for a broker. `by` tells people who asks.
    ///
    /// # Errors
    /// A property that librdkafka refuses; no thread.
    pub fn open(bus: &BusConfig, by: &str) -> Result<Self, BusError> {
        Self::with_clock(bus, by, Arc::new(SystemClock))
    }

    /// As [`open`](Self::open), with another clock.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_clock(bus: &BusConfig, by: &str, clock: Arc<dyn Clock>) -> Result<Self, BusError> {
        let topic = bus.topic_prefix.topic(CONTROL).to_string();
        let producer = producer(bus).map_err(|error| explain(error, &Attempt::asking(&bus.brokers)))?;
        let (letters, arriving) = sync_channel(MAX_WAITING);
        let builder = thread::Builder::new().name("lb-control".to_owned());
        let thread = builder.spawn(move || deliver(&producer, &topic, &arriving));
        let thread = thread.map_err(|source| BusError::Thread { what: "control sender", source })?;
        let by = by.to_owned();
        Ok(Self { letters: Some(letters), thread: Some(thread), by, clock, asked: Mutex::default() })
    }

    /// Asks for a keyframe, at most once per stream and [`REPEAT_REST`]. Never waits; whether it was asked for now.
    pub fn request_keyframe(&self, stream: &StreamId) -> bool {
        if !self.is_due(stream) {
            return false;
        }
        let request = ControlRequest {
            request_id: rand::random(),
            kind: RequestKind::Keyframe,
            topic: stream.topic.clone(),
            stream: stream.name.clone(),
            asked_unix_nanos: self.clock.unix_nanos(),
            by: self.by.clone(),
        };
        let letter = Letter { camera: stream.camera.clone(), value: request.encode() };
        self.letters.as_ref().is_some_and(|letters| letters.try_send(letter).is_ok())
    }

    fn is_due(&self, stream: &StreamId) -> bool {
        let now = self.clock.monotonic_nanos();
        let rest = u64::try_from(REPEAT_REST.as_nanos()).unwrap_or(u64::MAX);
        let is_recent = |asked: u64| now.saturating_sub(asked) < rest;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.get(stream).is_some_and(|last| is_recent(*last)) {
            return false;
        }
        if asked.len() >= MAX_REMEMBERED {
            asked.retain(|_, last| is_recent(*last));
        }
        if asked.len() >= MAX_REMEMBERED {
            return false;
        }
        asked.insert(stream.clone(), now);
        true
    }
}

impl Drop for ControlSender {
    fn drop(&mut self) {
        self.letters = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sender of requests ended with a panic");
        }
    }
}

impl fmt::Debug for ControlSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlSender").field("by", &self.by).finish_non_exhaustive()
    }
}

pub(super) struct Reports;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "sending requests");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            tracing::debug!(%error, "a record of the control topic was lost");
        }
    }
}

pub(super) fn producer(bus: &BusConfig) -> Result<BaseProducer<Reports>, KafkaError> {
    let mut config = bus.client_config(Role::Producer);
    config
        .set("acks", "1")
        // It spares the first request half a second for a producer id; one that comes twice is asked once.
        .set("enable.idempotence", "false")
        .set("linger.ms", "0")
        .set("message.timeout.ms", "3000")
        .set("queue.buffering.max.messages", "2000")
        .set("queue.buffering.max.kbytes", "1024");
    config.create_with_context(Reports)
}

fn deliver(producer: &BaseProducer<Reports>, topic: &str, arriving: &Receiver<Letter>) {
    // Known before it is written to, a topic takes the record at once; else librdkafka looks after a second.
    let _ = producer.client().fetch_metadata(Some(topic), Timeout::After(LOOK_UP));
    loop {
        match arriving.recv_timeout(IDLE) {
            Ok(letter) => {
                let record = BaseRecord::to(topic).partition(0).key(letter.camera.as_str()).payload(&letter.value[..]);
                if let Err((error, _)) = producer.send(record) {
                    tracing::debug!(topic, %error, "a request to a publisher was not sent");
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        producer.poll(Timeout::After(Duration::ZERO));
    }
    let _ = producer.flush(Timeout::After(LAST_WORDS));
}
