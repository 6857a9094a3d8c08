//! A publisher's ear: a thread that reads the control topic from its end on.

use super::CONTROL;
use super::inbox::{FloodGuard, Ignored, keyframe_of};
use super::wish::Asked;
use crate::directory::{READ_TIMEOUT, reader_config};
use crate::publisher::hub::Hub;
use crate::topics::ensure_topics;
use crate::{BusConfig, BusError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long one poll waits: also how long stopping may take.
const POLL: Duration = Duration::from_millis(100);
/// One question before reading begins waits so long, and is asked again.
const ASK: Duration = Duration::from_secs(2);
/// Looks to the end of the topic within this.
const SEEK: Duration = Duration::from_secs(1);

/// The thread; it ends when this is dropped.
pub(crate) struct Listener {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn start(hub: &Arc<Hub>) -> Result<Self, BusError> {
        let stop = Arc::new(AtomicBool::new(false));
        let ear = Ear { hub: Arc::downgrade(hub), topic: hub.bus.topic_prefix.topic(CONTROL).to_string() };
        let (bus, is_stopped) = (hub.bus.clone(), Arc::clone(&stop));
        let builder = thread::Builder::new().name("publisher-control".to_owned());
        let thread = builder.spawn(move || {
            if let Err(error) = ear.listen(&bus, &is_stopped) {
                tracing::warn!(topic = ear.topic, %error, "requests for keyframes cannot be heard");
            }
        });
        let thread = thread.map_err(|source| BusError::Thread { what: "publisher-control", source })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let is_own = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        if let Some(thread) = self.thread.take().filter(|thread| !is_own(thread))
            && thread.join().is_err()
        {
            tracing::error!("a publisher's thread for requests panicked");
        }
    }
}

/// Asks until there is an answer, so that stopping need not wait for one.
fn ask<T>(stop: &AtomicBool, question: impl Fn(Timeout) -> KafkaResult<T>) -> Option<T> {
    let deadline = Instant::now() + READ_TIMEOUT;
    while !stop.load(Ordering::Acquire) && Instant::now() < deadline {
        match question(Timeout::After(ASK)) {
            Ok(answer) => return Some(answer),
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {}
            Err(_) => return None,
        }
    }
    None
}

fn is_denied(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
}

struct Ear {
    hub: Weak<Hub>,
    topic: String,
}

impl Ear {
    fn listen(&self, bus: &BusConfig, stop: &AtomicBool) -> KafkaResult<()> {
        // One that may not be created may come later.
        if let Err(error) = ensure_topics(bus, &[CONTROL]) {
            tracing::debug!(topic = self.topic, %error, "the control topic is not there yet");
        }
        let consumer = self.consumer(bus, stop)?;
        let (mut guard, mut has_told) = (FloodGuard::default(), false);
        while !stop.load(Ordering::Acquire) {
            let Some(message) = consumer.poll(Timeout::After(POLL)) else { continue };
            let Some(hub) = self.hub.upgrade() else { break };
            match message {
                Ok(message) => {
                    self.take(&hub, &message);
                    if let Some(pause) = guard.note(hub.clock.monotonic_nanos()) {
                        self.look_away(&consumer, &hub, pause);
                    }
                }
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) if is_denied(&error) && !std::mem::replace(&mut has_told, true) => {
                    tracing::warn!(topic = self.topic, %error, "requests for keyframes may not be read");
                }
                Err(error) => tracing::debug!(topic = self.topic, %error, "reading requests"),
            }
        }
        Ok(())
    }

    fn consumer(&self, bus: &BusConfig, stop: &AtomicBool) -> KafkaResult<BaseConsumer> {
        let mut config = reader_config(bus);
        // Nothing but requests is asked on this connection, and a request ends the wait.
        config.set("fetch.wait.max.ms", "500").set("queued.max.messages.kbytes", "512");
        let consumer: BaseConsumer = config.create()?;
        // Known before it is assigned, a topic is fetched from at once; else librdkafka looks for it after a second.
        ask(stop, |wait| consumer.fetch_metadata(Some(&self.topic), wait));
        let end = ask(stop, |wait| consumer.fetch_watermarks(&self.topic, 0, wait));
        // What a topic holds that appears later was asked of somebody who was here already.
        let begin = end.map_or(Offset::Beginning, |(_, end)| Offset::Offset(end));
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(&self.topic, 0, begin)?;
        consumer.assign(&partitions)?;
        Ok(consumer)
    }

    fn take(&self, hub: &Hub, message: &BorrowedMessage<'_>) {
        let offset = message.offset();
        match keyframe_of(message.key(), message.payload(), hub.clock.unix_nanos()) {
            Ok(stream) => match hub.ask_keyframe(&stream) {
                Some(Asked::Open) => tracing::debug!(%stream, offset, "a keyframe is asked for"),
                Some(Asked::JustGiven | Asked::NotGiven) | None => {}
            },
            Err(Ignored::Foreign) => tracing::debug!(topic = self.topic, offset, "not a request known here"),
            Err(Ignored::Stale) => tracing::debug!(topic = self.topic, offset, "a request too old to count"),
        }
    }

    /// More requests than anybody can need: those of this second are left out.
    fn look_away(&self, consumer: &BaseConsumer, hub: &Hub, pause: Duration) {
        tracing::warn!(topic = self.topic, "too many requests; those of the rest of this second are left out");
        hub.pause(pause);
        if let Err(error) = consumer.seek(&self.topic, 0, Offset::End, Timeout::After(SEEK)) {
            tracing::debug!(topic = self.topic, %error, "looking to the end of the requests");
        }
    }
}
