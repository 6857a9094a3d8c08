//! All webhooks of a process, by name: each on a thread of its own, and they follow the settings while they run.

use super::WebhookOptions;
use lumenbus_bus::BusConfig;
use lumenbus_ops::webhook::{Ending, Told, Webhook, WebhookError, WebhookState, WebhookStats};
use lumenbus_pipeline::Shutdown;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rest before a webhook that cannot read begins again; doubles up to the longest.
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Who held out for this long rests as after a first failure.
const HELD_OUT: Duration = Duration::from_secs(60);

/// The webhooks of a process; clones are the same ones.
#[derive(Clone)]
pub(crate) struct Webhooks {
    bus: Arc<BusConfig>,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    running: BTreeMap<String, Post>,
    /// Told to end; the event under way may take a moment.
    leaving: Vec<Post>,
    /// What those did that have ended.
    past: BTreeMap<String, WebhookStats>,
}

/// A webhook at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookStatus {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) group: String,
    pub(crate) state: WebhookState,
    pub(crate) stats: WebhookStats,
}

/// What [`Webhooks::apply`] did, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WebhookChanges {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
    pub(crate) unchanged: Vec<String>,
    /// With why not.
    pub(crate) refused: Vec<(String, String)>,
}

impl WebhookChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty() && self.refused.is_empty()
    }
}

impl Webhooks {
    /// Nobody yet; [`apply`](Self::apply) brings them.
    pub(crate) fn new(bus: BusConfig) -> Self {
        Self { bus: Arc::new(bus), books: Arc::default() }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Makes them as the settings say. One that changes goes on where it was, as long as its group is the same.
    pub(crate) fn apply(&self, wanted: &[WebhookOptions]) -> WebhookChanges {
        let (mut changes, mut books) = (WebhookChanges::default(), self.books());
        let is_wanted = |name: &String| wanted.iter().any(|options| options.name == *name);
        let gone: Vec<String> = books.running.keys().filter(|name| !is_wanted(name)).cloned().collect();
        for name in gone {
            books.dismiss(&name);
            changes.removed.push(name);
        }
        for options in wanted {
            let name = options.name.clone();
            let known = books.running.get(&name).map(|post| post.place.options == *options);
            if known == Some(true) {
                changes.unchanged.push(name);
                continue;
            }
            books.dismiss(&name);
            match Post::start(&self.bus, options) {
                Ok(post) => {
                    books.running.insert(name.clone(), post);
                    if known.is_some() { changes.changed.push(name) } else { changes.added.push(name) }
                }
                Err(error) => changes.refused.push((name, format!("a thread cannot be started: {error}"))),
            }
        }
        changes
    }

    pub(crate) fn status(&self) -> Vec<WebhookStatus> {
        let mut books = self.books();
        books.reap();
        books.status()
    }

    /// Ends all of them; how it was in the end.
    pub(crate) fn stop(&self) -> Vec<WebhookStatus> {
        let (running, leaving) = {
            let books = &mut *self.books();
            (std::mem::take(&mut books.running), std::mem::take(&mut books.leaving))
        };
        for post in running.values() {
            post.place.stop.request();
        }
        // Not under the lock: whoever asks how they are doing does not wait for them.
        let ended: Vec<_> = running.into_values().map(Post::join).collect();
        let left: Vec<_> = leaving.into_iter().map(Post::join).collect();
        let mut books = self.books();
        left.into_iter().for_each(|status| books.add(status.name, status.stats));
        let sum = |mut status: WebhookStatus| {
            status.stats = status.stats.and(books.past.get(&status.name).copied().unwrap_or_default());
            status
        };
        ended.into_iter().map(sum).collect()
    }
}

impl Books {
    fn dismiss(&mut self, name: &str) {
        if let Some(post) = self.running.remove(name) {
            post.place.stop.request();
            self.leaving.push(post);
        }
    }

    fn reap(&mut self) {
        let (ended, leaving): (Vec<_>, _) =
            std::mem::take(&mut self.leaving).into_iter().partition(|post| post.thread.is_finished());
        self.leaving = leaving;
        for post in ended {
            let name = post.place.options.name.clone();
            let stats = post.join().stats;
            self.add(name, stats);
        }
    }

    fn add(&mut self, name: String, stats: WebhookStats) {
        let past = self.past.entry(name).or_default();
        *past = past.and(stats);
    }

    fn status(&self) -> Vec<WebhookStatus> {
        let status = |post: &Post| {
            let mut status = post.place.status();
            let leaving = self.leaving.iter().filter(|other| other.place.options.name == status.name);
            let before = leaving.map(|other| other.place.status().stats);
            let before = before.chain(self.past.get(&status.name).copied());
            status.stats = before.fold(status.stats, WebhookStats::and);
            status
        };
        self.running.values().map(status).collect()
    }
}

/// A webhook's thread, and what it is told.
struct Post {
    place: Arc<Place>,
    thread: JoinHandle<()>,
}

struct Place {
    bus: Arc<BusConfig>,
    options: WebhookOptions,
    stop: Shutdown,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    webhook: Option<Arc<Webhook>>,
    /// While there is none.
    state: WebhookState,
    /// Of those before.
    past: WebhookStats,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Post {
    fn start(bus: &Arc<BusConfig>, options: &WebhookOptions) -> std::io::Result<Self> {
        let (bus, options) = (Arc::clone(bus), options.clone());
        let place = Arc::new(Place { bus, options, stop: Shutdown::default(), now: Mutex::default() });
        let keeper = Arc::clone(&place);
        let thread = std::thread::Builder::new().name("webhook".to_owned()).spawn(move || keeper.keep())?;
        Ok(Self { place, thread })
    }

    fn join(self) -> WebhookStatus {
        if self.thread.join().is_err() {
            tracing::error!("the thread that keeps a webhook running panicked");
        }
        self.place.status()
    }
}

impl Place {
    fn status(&self) -> WebhookStatus {
        let now = lock(&self.now);
        let (state, stats) = match &now.webhook {
            Some(webhook) => (webhook.state(), now.past.and(webhook.stats())),
            None => (now.state.clone(), now.past),
        };
        let options = &self.options;
        WebhookStatus {
            name: options.name.clone(),
            target: options.target.to_string(),
            group: options.group(),
            state,
            stats,
        }
    }

    fn keep(&self) {
        let mut rest = REST;
        while !self.stop.is_requested() {
            let began = Instant::now();
            let reason = match self.work() {
                // It is asked again when its settings change, or at the next start.
                Ok(Ending::Gone) => return,
                Ok(Ending::Stopped | Ending::AtEnd) => continue,
                Err(error) => format!("{error:#}"),
            };
            rest = if began.elapsed() >= HELD_OUT { REST } else { rest };
            tracing::warn!(webhook = self.options.name, "a webhook failed and begins again in {rest:?}: {reason}");
            lock(&self.now).state = WebhookState::Failing { reason: reason.into() };
            self.stop.sleep(rest);
            rest = (rest * 2).min(LONGEST_REST);
        }
        lock(&self.now).state = WebhookState::Stopped;
    }

    fn work(&self) -> anyhow::Result<Ending> {
        let config = self.options.config((*self.bus).clone()).map_err(anyhow::Error::msg)?;
        let webhook = Arc::new(Webhook::new(config)?);
        lock(&self.now).webhook = Some(Arc::clone(&webhook));
        let run = || webhook.run(&|| self.stop.is_requested(), &mut |told| self.log(&told));
        // A thread that dies would be missed by nobody.
        let ended = catch_unwind(AssertUnwindSafe(run));
        let mut now = lock(&self.now);
        now.past = now.past.and(webhook.stats());
        now.state = webhook.state();
        now.webhook = None;
        drop(now);
        let ending: Result<Ending, WebhookError> = ended.map_err(|_| anyhow::anyhow!("a webhook panicked"))?;
        if matches!(ending, Ok(Ending::Gone)) {
            let (webhook, target) = (&self.options.name, &self.options.target);
            tracing::warn!(webhook, "{target} answered 410 and gets nothing more; take its section out, or mend it");
        }
        Ok(ending?)
    }

    /// The first failure of an event, and what is given up.
    fn log(&self, told: &Told<'_>) {
        let (webhook, target) = (&self.options.name, &self.options.target);
        match told {
            Told::Failed { event, attempts: 1, answer, rest } => {
                tracing::warn!(webhook, event = %event.id, "{target}: {answer}; it is sent again in {rest:?}, until it is taken");
            }
            Told::PassedOver { event, attempts, answer } => {
                tracing::warn!(webhook, event = %event.id, "{target}: {answer}; passed over after {attempts} attempts");
            }
            Told::Delivered { event, attempts: attempts @ 2.. } => {
                tracing::info!(webhook, event = %event.id, "{target} took it with attempt {attempts}");
            }
            _ => {}
        }
    }
}
