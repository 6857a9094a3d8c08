//! From Kafka into the hub: a thread that follows the directory, and one per topic that reads frames.
//!
//! A topic is read once the directory names a stream in it: then it exists. One topic that may not be read does not hurt
//! the others. What fails is tried again, with growing pauses.

use crate::hub::{Hub, MAX_OFFSETS, Reading};
use lumenbus_bus::control::ControlSender;
use lumenbus_bus::results::{EventRead, EventReader, ResultReader};
use lumenbus_bus::subscriber::CameraFilter;
use lumenbus_bus::{BusConfig, BusError, Directory, FrameTracer, Subscriber, SubscriberConfig, probe};
use lumenbus_frame::TopicName;
use lumenbus_ops::SubscriberMetrics;
use lumenbus_pipeline::Shutdown;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Most topics read; each costs a Kafka consumer.
pub const MAX_TOPICS: usize = 16;
/// How long one wait for events takes: also how long stopping may take.
const WAIT: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What the threads are told.
#[derive(Clone)]
pub(crate) struct FeedConfig {
    pub(crate) bus: BusConfig,
    pub(crate) cameras: CameraFilter,
    pub(crate) buffer_bytes: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) tracer: Option<Arc<dyn FrameTracer>>,
    pub(crate) metrics: SubscriberMetrics,
}

/// Topics that the directory has named and nobody reads yet.
#[derive(Default)]
struct Named {
    topics: Mutex<Vec<TopicName>>,
    more: Condvar,
}

impl Named {
    fn add(&self, topics: Vec<TopicName>) {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).extend(topics);
        self.more.notify_all();
    }

    fn take(&self) -> Vec<TopicName> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut topics, _) = self
            .more
            .wait_timeout_while(topics, WAIT, |topics| topics.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *topics)
    }
}

/// The reading threads; they end when this is dropped.
pub(crate) struct Feeds {
    shutdown: Arc<Shutdown>,
    manager: Option<JoinHandle<()>>,
}

impl Feeds {
    pub(crate) fn start(hub: Arc<Hub>, config: FeedConfig) -> std::io::Result<Self> {
        let shutdown = Arc::new(Shutdown::default());
        let feeder = Feeder { hub, config, shutdown: Arc::clone(&shutdown) };
        let manager = std::thread::Builder::new().name("viewer-feeds".to_owned()).spawn(move || feeder.manage())?;
        Ok(Self { shutdown, manager: Some(manager) })
    }

    pub(crate) fn close(&mut self) {
        self.shutdown.request();
        if self.manager.take().is_some_and(|manager| manager.join().is_err()) {
            tracing::error!("the viewer's reading thread panicked");
        }
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.close();
    }
}

/// Pauses that double.
struct Pause(Duration);

impl Pause {
    fn next(&mut self, shutdown: &Shutdown) {
        shutdown.sleep(self.0);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

#[derive(Clone)]
struct Feeder {
    hub: Arc<Hub>,
    config: FeedConfig,
    shutdown: Arc<Shutdown>,
}

impl Feeder {
    fn manage(&self) {
        let Some(directory) = self.open(|| Directory::open_reading(&self.config.bus)) else { return };
        match ControlSender::open(&self.config.bus, "view") {
            Ok(control) => self.hub.set_control(control),
            Err(error) => tracing::info!("publishers cannot be asked for keyframes: {error}"),
        }
        let named = Arc::new(Named::default());
        let watch = {
            let (hub, named) = (Arc::clone(&self.hub), Arc::clone(&named));
            directory.on_change(Arc::new(move |event: &lumenbus_bus::DirectoryEvent| {
                named.add(hub.directory(&event.camera, &event.merged));
            }))
        };
        for (camera, entry) in directory.cameras() {
            named.add(self.hub.directory(&camera, &entry));
        }
        let mut threads: BTreeMap<TopicName, JoinHandle<()>> = BTreeMap::new();
        let analysis =
            [self.spawn("viewer-results", Self::follow_results), self.spawn("viewer-events", Self::follow_events)];
        while !self.shutdown.is_requested() {
            for topic in named.take() {
                self.read(topic, &mut threads);
            }
            self.look_for_broker();
        }
        drop(watch);
        for thread in threads.into_values().chain(analysis.into_iter().flatten()) {
            if thread.join().is_err() {
                tracing::error!("a thread that reads for the viewer panicked");
            }
        }
    }

    fn spawn(&self, name: &str, run: fn(&Self)) -> Option<JoinHandle<()>> {
        let feeder = self.clone();
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&feeder));
        spawned.inspect_err(|error| tracing::error!("cannot start the thread {name}: {error}")).ok()
    }

    fn read(&self, topic: TopicName, threads: &mut BTreeMap<TopicName, JoinHandle<()>>) {
        if threads.contains_key(&topic) {
            return;
        }
        if threads.len() >= MAX_TOPICS {
            tracing::warn!(%topic, "more than {MAX_TOPICS} topics: this one is not shown");
            return;
        }
        let (feeder, name) = (self.clone(), topic.clone());
        match std::thread::Builder::new().name(format!("viewer-{topic}")).spawn(move || feeder.follow(&name)) {
            Ok(thread) => {
                threads.insert(topic, thread);
            }
            Err(error) => tracing::error!(%topic, "cannot start a thread to read it: {error}"),
        }
    }

    /// A client only says when it has lost its broker; that it has come back shows in frames, or here.
    fn look_for_broker(&self) {
        if self.hub.disconnected().is_some() && probe(&self.config.bus).is_ok() {
            self.hub.set_connected();
        }
    }

    /// Tries until it works; `None` when the viewer closes.
    fn open<T>(&self, attempt: impl Fn() -> Result<T, BusError>) -> Option<T> {
        let mut pause = Pause(FIRST_PAUSE);
        while !self.shutdown.is_requested() {
            match attempt() {
                Ok(opened) => {
                    self.hub.set_connected();
                    return Some(opened);
                }
                Err(error) => {
                    self.tell(&error);
                    pause.next(&self.shutdown);
                }
            }
        }
        None
    }

    /// A broker that is away hurts everything; another trouble only what was asked for.
    fn tell(&self, error: &BusError) {
        tracing::info!("the viewer cannot read yet: {error}");
        if error.is_broker_trouble() {
            self.hub.set_disconnected(&error.to_string());
        } else {
            self.hub.tell_notice("unreadable", &error.to_string());
        }
    }

    fn follow(&self, topic: &TopicName) {
        let mut config = SubscriberConfig::new(self.config.bus.clone(), vec![topic.clone()]);
        config.cameras = self.config.cameras.clone();
        config.buffer_bytes = self.config.buffer_bytes;
        config.max_frame_bytes = self.config.max_frame_bytes;
        config.tracer.clone_from(&self.config.tracer);
        let mut pause = Pause(FIRST_PAUSE);
        while let Some(mut subscriber) = self.open(|| Subscriber::open(config.clone())) {
            self.hub.reads(topic);
            self.config.metrics.watch(subscriber.gauges());
            match self.pump(&mut subscriber) {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%topic, "reading for the viewer stopped and begins anew: {error}");
                    self.tell(&error);
                    pause.next(&self.shutdown);
                }
            }
        }
    }

    fn pump(&self, subscriber: &mut Subscriber) -> Result<(), BusError> {
        while !self.shutdown.is_requested() {
            if let Some(event) = subscriber.recv(WAIT)? {
                self.config.metrics.observe(&event);
                self.hub.take(&event);
            }
        }
        Ok(())
    }

    /// Reads what analysis finds. Without a worker there is no such topic, and without results a viewer is whole: the
    /// page is told of neither.
    fn follow_results(&self) {
        let mut pause = Pause(FIRST_PAUSE);
        while !self.shutdown.is_requested() {
            match ResultReader::open(&self.config.bus) {
                Ok(reader) => self.pump_results(&reader, &mut pause),
                Err(error) => tracing::debug!("no results of analysis to read: {error}"),
            }
            pause.next(&self.shutdown);
        }
    }

    /// A reader that opens may be refused all the same: only what is read ends the growth of the pauses.
    fn pump_results(&self, reader: &ResultReader, pause: &mut Pause) {
        while !self.shutdown.is_requested() {
            match reader.recv(WAIT) {
                Ok(Some(result)) => {
                    *pause = Pause(FIRST_PAUSE);
                    self.hub.found(&result);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::info!("reading results of analysis stopped and begins anew: {error}");
                    return;
                }
            }
        }
    }

    /// Reads the newest events, and then each as it comes. What was read before a trouble stays.
    fn follow_events(&self) {
        let mut pause = Pause(FIRST_PAUSE);
        while !self.shutdown.is_requested() {
            let opened = EventReader::open(&self.config.bus, MAX_OFFSETS);
            if let Err(error) = opened.and_then(|mut reader| self.pump_events(&mut reader, &mut pause)) {
                tracing::debug!("events cannot be read now: {error}");
                if let Some(reading) = without_events(&error) {
                    self.hub.reads_events(reading);
                }
            }
            pause.next(&self.shutdown);
        }
    }

    /// Who may see a topic but not read it can open it: nothing is told, and pauses grow, until something was read.
    fn pump_events(&self, reader: &mut EventReader, pause: &mut Pause) -> Result<(), BusError> {
        if reader.is_cut() {
            self.hub.cuts_events();
        }
        while !self.shutdown.is_requested() {
            let read = reader.next(WAIT)?;
            if read == EventRead::Nothing {
                continue;
            }
            *pause = Pause(FIRST_PAUSE);
            if read == EventRead::AtEnd {
                self.hub.reads_events(Reading::Ready);
            } else if !self.hub.has_read_events() {
                self.hub.reads_events(Reading::Begun);
            }
            if let EventRead::Event(event) = read {
                self.hub.happened(&event);
            }
        }
        Ok(())
    }
}

/// What the page is told of events where reading them ended so; `None`: it stays as it is.
fn without_events(error: &BusError) -> Option<Reading> {
    match error {
        BusError::UnknownTopic { .. } => Some(Reading::Missing),
        BusError::NotAuthorised { .. } => Some(Reading::Failed(error.to_string())),
        // The page says already that a broker is away.
        error if error.is_broker_trouble() => None,
        error => Some(Reading::Failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rights_are_told_and_a_broker_that_is_away_is_not() {
        let (topic, brokers) = ("lumenbus.events".to_owned(), "kafka:9092".to_owned());
        let refused = BusError::NotAuthorised {
            operation: "read",
            resource: format!("topic {topic}"),
            brokers: brokers.clone(),
            acl: "--add".to_owned(),
        };
        let told = without_events(&refused);
        assert!(matches!(&told, Some(Reading::Failed(reason)) if reason.contains(&topic)), "{told:?}");
        let missing = BusError::UnknownTopic { topic, brokers: brokers.clone() };
        assert_eq!(without_events(&missing), Some(Reading::Missing));
        assert_eq!(without_events(&BusError::Timeout { operation: "read", brokers, millis: 1 }), None);
    }
}
