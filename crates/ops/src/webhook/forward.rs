//! From the log to the receiver, one event after the other.

use super::client::{Client, TargetError};
use super::delivery::{Answer, Attempts, Verdict};
use super::{TIMEOUTS, WebhookConfig, headers, runtime, unix_seconds};
use lumenbus_bus::results::{EventFollower, Followed, LoggedEvent};
use lumenbus_bus::{BusError, Start};
use lumenbus_wire::{CameraEvent, EventId};
use openssl::error::ErrorStack;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How often somebody who waits looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// An attempt under way may take so long once a stop is asked for.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks for a topic that is not there yet: Kafka tells nobody that one has come.
const TOPIC_LOOK: Duration = Duration::from_millis(500);

/// Why a webhook cannot go on by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The address or the certificates are wrong.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// An attempt may take too short or too long.
    #[error("the timeout of an attempt is {0:?}; choose 100 ms to 60 s")]
    Timeout(Duration),
    /// Reading from Kafka ended.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// No signature can be made.
    #[error("a request cannot be signed: {0}")]
    Sign(#[source] ErrorStack),
    /// No event loop.
    #[error("a webhook cannot start; check the limits of processes and open files")]
    Start(#[source] std::io::Error),
}

/// How a webhook is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WebhookState {
    /// It connects to Kafka.
    #[default]
    Starting,
    /// There are no events to read yet.
    Waiting,
    /// Events go out as they come.
    Working,
    /// The receiver does not take an event; it is asked again.
    Failing {
        /// Why not.
        reason: Arc<str>,
    },
    /// The receiver answered 410 and gets nothing more.
    Gone,
    /// It was told to.
    Stopped,
}

impl WebhookState {
    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting => "waiting",
            Self::Working => "working",
            Self::Failing { .. } => "failing",
            Self::Gone => "gone",
            Self::Stopped => "stopped",
        }
    }

    /// What keeps events from arriving.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Failing { reason } => Some(reason),
            Self::Gone => Some("the receiver answered 410: it wants nothing more"),
            _ => None,
        }
    }
}

/// What a webhook did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebhookStats {
    /// Events that were answered 2xx.
    pub delivered: u64,
    /// Events that were refused too often.
    pub passed_over: u64,
    /// Events that the receiver does not want, and records that are no event known here.
    pub filtered: u64,
    /// Attempts that were not answered 2xx.
    pub failed_attempts: u64,
}

impl WebhookStats {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            passed_over: self.passed_over + other.passed_over,
            filtered: self.filtered + other.filtered,
            failed_attempts: self.failed_attempts + other.failed_attempts,
        }
    }
}

/// How [`Webhook::run`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// All that was there has been delivered.
    AtEnd,
    /// The receiver answered 410. The event was not passed over: it is the first one when it goes on.
    Gone,
}

/// What happens while a webhook runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Told<'a> {
    /// It is a member of its group.
    Joined,
    /// An event arrived.
    Delivered {
        /// Which.
        event: &'a CameraEvent,
        /// With this attempt.
        attempts: u32,
    },
    /// An attempt failed.
    Failed {
        /// Which.
        event: &'a CameraEvent,
        /// How many have failed so far.
        attempts: u32,
        /// How.
        answer: &'a Answer,
        /// Until the next one.
        rest: Duration,
    },
    /// An event was refused too often.
    PassedOver {
        /// Which.
        event: &'a CameraEvent,
        /// How often it was sent.
        attempts: u32,
        /// How it was refused.
        answer: &'a Answer,
    },
}

/// Sends events to one receiver; see the [module](super).
pub struct Webhook {
    config: WebhookConfig,
    now: Mutex<(WebhookState, WebhookStats)>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.config.name).finish_non_exhaustive()
    }
}

/// What became of an event.
enum Outcome {
    Done,
    /// The group gave it to another member.
    Lost,
    Gone,
    Stopped,
}

impl Webhook {
    /// A webhook that does not run yet.
    ///
    /// # Errors
    /// [`WebhookError::Target`] and [`WebhookError::Timeout`].
    pub fn new(config: WebhookConfig) -> Result<Self, WebhookError> {
        if !TIMEOUTS.contains(&config.timeout) {
            return Err(WebhookError::Timeout(config.timeout));
        }
        // What is wrong with certificates is told before anything runs.
        Client::new(config.target.clone(), config.timeout)?;
        Ok(Self { config, now: Mutex::default() })
    }

    /// Its consumer group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.config.group
    }

    /// How it is doing.
    #[must_use]
    pub fn state(&self) -> WebhookState {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> WebhookStats {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn note(&self, change: impl FnOnce(&mut WebhookState, &mut WebhookStats)) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, stats) = &mut *now;
        change(state, stats);
    }

    /// Sends until `is_stopped`; what happens is told as it does. It waits for a topic that is not there yet, and for a
    /// broker that goes away.
    ///
    /// # Errors
    /// A broker that is not there or refuses.
    pub fn run(&self, is_stopped: &dyn Fn() -> bool, tell: &mut dyn FnMut(Told<'_>)) -> Result<Ending, WebhookError> {
        let (runtime, config) = (runtime()?, &self.config);
        let mut client = Client::new(config.target.clone(), config.timeout)?;
        self.note(|state, _| *state = WebhookState::Starting);
        let Some(mut follower) = self.open(is_stopped)? else { return Ok(self.end(Ending::Stopped)) };
        self.note(|state, _| *state = WebhookState::Working);
        tell(Told::Joined);
        loop {
            if is_stopped() {
                return Ok(self.end(Ending::Stopped));
            }
            let record = match follower.next(LOOK)? {
                Followed::Record(record) => record,
                Followed::AtEnd if config.until_end => return Ok(self.end(Ending::AtEnd)),
                Followed::AtEnd | Followed::Nothing => continue,
            };
            let wanted = record.event.as_ref().filter(|event| config.filter.matches(event));
            let Some(event) = wanted else {
                self.note(|_, stats| stats.filtered += 1);
                follower.done(&record);
                continue;
            };
            let mut courier = Courier { webhook: self, runtime: &runtime, client: &mut client, is_stopped };
            match courier.deliver(&mut follower, &record, event, tell)? {
                Outcome::Done => follower.done(&record),
                Outcome::Lost => {}
                Outcome::Gone => return Ok(self.end(Ending::Gone)),
                Outcome::Stopped => return Ok(self.end(Ending::Stopped)),
            }
        }
    }

    fn end(&self, ending: Ending) -> Ending {
        self.note(|state, _| {
            *state = if ending == Ending::Gone { WebhookState::Gone } else { WebhookState::Stopped };
        });
        ending
    }

    /// `None` when it is told to stop before there is a topic.
    fn open(&self, is_stopped: &dyn Fn() -> bool) -> Result<Option<EventFollower>, BusError> {
        let config = &self.config;
        let mut start = config.start;
        loop {
            match EventFollower::open(&config.bus, &config.group, start) {
                Ok(follower) => return Ok(Some(follower)),
                Err(BusError::UnknownTopic { .. }) if !config.until_end => {
                    self.note(|state, _| *state = WebhookState::Waiting);
                    // Whatever comes, comes after now.
                    start = Start::Earliest;
                }
                Err(error) => return Err(error),
            }
            let until = Instant::now() + TOPIC_LOOK;
            while Instant::now() < until {
                if is_stopped() {
                    return Ok(None);
                }
                std::thread::sleep(LOOK);
            }
        }
    }
}

/// What it takes to bring an event.
struct Courier<'a> {
    webhook: &'a Webhook,
    runtime: &'a Runtime,
    client: &'a mut Client,
    is_stopped: &'a dyn Fn() -> bool,
}

impl Courier<'_> {
    fn deliver(
        &mut self,
        follower: &mut EventFollower,
        record: &LoggedEvent,
        event: &CameraEvent,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Outcome, WebhookError> {
        let (webhook, config) = (self.webhook, &self.webhook.config);
        let mut attempts = Attempts::default();
        loop {
            let Some(answer) = self.attempt(record, event)? else { return Ok(Outcome::Stopped) };
            let verdict = attempts.judge(&answer, &config.policy, rand::random());
            let made = attempts.made();
            match verdict {
                Verdict::Delivered => {
                    webhook.note(|state, stats| {
                        stats.delivered += 1;
                        *state = WebhookState::Working;
                    });
                    tell(Told::Delivered { event, attempts: made });
                    return Ok(Outcome::Done);
                }
                Verdict::Gone => {
                    webhook.note(|_, stats| stats.failed_attempts += 1);
                    return Ok(Outcome::Gone);
                }
                Verdict::PassedOver => {
                    self.note_failure(event.id, &answer, |stats| stats.passed_over += 1);
                    tell(Told::PassedOver { event, attempts: made, answer: &answer });
                    return Ok(Outcome::Done);
                }
                Verdict::Again(rest) => {
                    self.note_failure(event.id, &answer, |_| {});
                    tell(Told::Failed { event, attempts: made, answer: &answer, rest });
                    if let Some(outcome) = self.rest(follower, record, rest)? {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    fn note_failure(&self, id: EventId, answer: &Answer, count: impl FnOnce(&mut WebhookStats)) {
        let reason = format!("event {id}: {} {answer}", self.webhook.config.target);
        self.webhook.note(|state, stats| {
            stats.failed_attempts += 1;
            count(stats);
            *state = WebhookState::Failing { reason: reason.into() };
        });
    }

    /// One request; `None` when it was given up for a stop.
    fn attempt(&mut self, record: &LoggedEvent, event: &CameraEvent) -> Result<Option<Answer>, WebhookError> {
        let secret = self.webhook.config.secret.as_ref();
        let headers = headers(event, secret, unix_seconds(), &record.value)?;
        let is_stopped = self.is_stopped;
        let stopped = async {
            while !is_stopped() {
                tokio::time::sleep(LOOK).await;
            }
            tokio::time::sleep(GRACE).await;
        };
        let client = &mut *self.client;
        Ok(self.runtime.block_on(async {
            tokio::select! {
                answer = client.post(&headers, &record.value) => Some(answer),
                () = stopped => None,
            }
        }))
    }

    /// Waits, as a member of the group; tells when there will be no other attempt.
    fn rest(
        &self,
        follower: &mut EventFollower,
        record: &LoggedEvent,
        rest: Duration,
    ) -> Result<Option<Outcome>, WebhookError> {
        let until = Instant::now() + rest;
        loop {
            if (self.is_stopped)() {
                return Ok(Some(Outcome::Stopped));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            follower.rest(LOOK.min(left))?;
            if !follower.is_held(record) {
                return Ok(Some(Outcome::Lost));
            }
        }
    }
}
