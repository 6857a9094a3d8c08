//! What happened at cameras, as analysis tells it: the newest events, and what is wrong with which picture now.
//!
//! What came into view and what left it are told apart on the bus, and are one occurrence here.

use crate::protocol::{EventsWish, Place, Sort};
use lumenbus_frame::{Epoch, FrameId, StreamId};
use lumenbus_wire::{CameraEvent, EventId, EventKind, HealthState, PresencePhase};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

/// Events held; the ones that came first go first.
pub(crate) const MAX_HELD: usize = 10_000;
/// Offsets read at the beginning. A transaction's end takes one, and most have one event or two.
pub(crate) const MAX_OFFSETS: u32 = 20_000;
/// Ids remembered: what is written again is shown once.
const MAX_SEEN: usize = 2 * MAX_HELD;
/// Streams whose health is known.
const MAX_STREAMS: usize = super::MAX_STREAMS;
/// So much older than what is known, an event that is later in the log tells of a clock that was set back.
const MAX_LATE_NANOS: i64 = 30_000_000_000;
/// So far ahead of now, a time is that of a clock that is wrong.
const MAX_AHEAD_NANOS: i64 = 5_000_000_000;
/// Classes told: of those that are held, the first by name.
const MAX_CLASSES: usize = 200;

/// One line of the list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Occurrence {
    id: EventId,
    place: Place,
    pub(crate) stream: StreamId,
    frame: FrameId,
    what: What,
    lasted_millis: Option<u64>,
    /// As far as is known it still is so.
    is_open: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Presence { class: Arc<str>, count: u32, score: f32 },
    Health { state: HealthState, previous: HealthState },
}

impl Occurrence {
    /// `n`: the stream's number, where it is shown.
    pub(crate) fn to_json(&self, n: Option<u16>) -> Value {
        let mut told = json!({
            "id": self.id.to_string(), "cursor": self.place.to_string(), "n": n, "camera": self.stream.camera.as_str(),
            "topic": self.stream.topic.as_str(), "stream": self.stream.name.as_str(),
            "epoch": self.frame.epoch.to_string(), "seq": self.frame.seq.0,
            "at_ms": super::millis(self.place.at_nanos / 1_000), "lasted_ms": self.lasted_millis, "is_open": self.is_open,
        });
        let more = match &self.what {
            What::Presence { class, count, score } => {
                json!({ "kind": "presence", "class": &**class, "count": count, "score": score })
            }
            What::Health { state, previous } => {
                json!({ "kind": "health", "state": state.as_str(), "previous": previous.as_str() })
            }
        };
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }

    fn class(&self) -> Option<&Arc<str>> {
        match &self.what {
            What::Presence { class, .. } => Some(class),
            What::Health { .. } => None,
        }
    }

    fn is_wanted(&self, wish: &EventsWish) -> bool {
        let is_sort = match &self.what {
            What::Presence { class, .. } => {
                wish.kind != Some(Sort::Health)
                    && wish.state.is_none()
                    && wish.class.as_ref().is_none_or(|wanted| **wanted == **class)
            }
            What::Health { state, .. } => {
                wish.kind != Some(Sort::Presence)
                    && wish.class.is_none()
                    && wish.state.as_ref().is_none_or(|wanted| wanted == state.as_str())
            }
        };
        is_sort && wish.camera.as_ref().is_none_or(|camera| camera == self.stream.camera.as_str())
    }
}

/// Whether events can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Reading {
    /// What the log holds is being read.
    #[default]
    Begun,
    /// Nobody has ever written any.
    Missing,
    /// Each is shown when it comes.
    Ready,
    /// Why not.
    Failed(String),
}

impl Reading {
    fn name(&self) -> &'static str {
        match self {
            Self::Begun => "reading",
            Self::Missing => "missing",
            Self::Ready => "ready",
            Self::Failed(_) => "failed",
        }
    }
}

/// What an event changed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// The line it has added.
    pub(crate) new: Option<Occurrence>,
    /// Lines that are other than before.
    pub(crate) changed: Vec<Occurrence>,
    /// Something else is wrong with the stream's picture, or nothing any more.
    pub(crate) is_health: bool,
}

/// A page of the list.
pub(crate) struct Page {
    pub(crate) events: Vec<Occurrence>,
    pub(crate) has_more: bool,
}

/// What can be under way: a presence of a class that a group of workers sees, or a state of health (no class).
type Open = (StreamId, String, Option<Arc<str>>);

/// What is known of the health of a stream.
#[derive(Debug, Clone, Copy)]
struct Known {
    state: HealthState,
    /// When the frame was taken that showed it.
    at_nanos: i64,
    epoch: Epoch,
}

impl Known {
    /// Whether an event later in the log tells of now. What two workers tell may come in any order, so what is a little
    /// older does not; but a clock that was ahead must not outlast its being set right.
    fn is_outdated_by(&self, event: &CameraEvent, now_nanos: i64) -> bool {
        event.frame.epoch > self.epoch
            || event.capture_unix_nanos >= self.at_nanos
            || self.at_nanos.saturating_sub(event.capture_unix_nanos) > MAX_LATE_NANOS
            || self.at_nanos.saturating_sub(now_nanos) > MAX_AHEAD_NANOS
    }
}

fn now_nanos() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The newest events; bounded.
#[derive(Debug, Default)]
pub(crate) struct Occurrences {
    held: BTreeMap<Place, Occurrence>,
    arrived: VecDeque<Place>,
    seen: HashSet<EventId>,
    seen_order: VecDeque<EventId>,
    open: HashMap<Open, Place>,
    keys: HashMap<Place, Open>,
    health: HashMap<StreamId, Known>,
    classes: BTreeMap<Arc<str>, usize>,
    next_order: u64,
    reading: Reading,
    is_cut: bool,
}

impl Occurrences {
    /// Takes an event; one that was seen before changes nothing.
    pub(crate) fn take(&mut self, event: &CameraEvent) -> Change {
        if !self.seen.insert(event.id) {
            return Change::default();
        }
        self.seen_order.push_back(event.id);
        if self.seen_order.len() > MAX_SEEN
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        match &event.kind {
            EventKind::Health { state, previous, lasted_millis } => {
                self.health(event, *state, *previous, *lasted_millis)
            }
            EventKind::Presence { class, phase, count, score, lasted_millis } => {
                let what = What::Presence { class: Arc::clone(class), count: *count, score: *score };
                match phase {
                    PresencePhase::Begin => self.begin(event, what),
                    PresencePhase::End => self.end(event, what, *lasted_millis),
                }
            }
            _ => Change::default(),
        }
    }

    fn health(
        &mut self,
        event: &CameraEvent,
        state: HealthState,
        previous: HealthState,
        lasted: Option<u64>,
    ) -> Change {
        let what = What::Health { state, previous };
        let known = self.health.get(&event.stream);
        let before = known.map_or(HealthState::Ok, |known| known.state);
        if known.is_some_and(|known| !known.is_outdated_by(event, now_nanos())) {
            return Change { new: self.insert(event, what, lasted, None), ..Change::default() };
        }
        if self.health.len() < MAX_STREAMS || self.health.contains_key(&event.stream) {
            let known = Known { state, at_nanos: event.capture_unix_nanos, epoch: event.frame.epoch };
            self.health.insert(event.stream.clone(), known);
        }
        let key = (event.stream.clone(), String::new(), None);
        let is_trouble = state != HealthState::Ok;
        let closed = self.close(&key, |open| {
            if state != before {
                let nanos = event.capture_unix_nanos.saturating_sub(open.place.at_nanos);
                open.lasted_millis = lasted.or_else(|| u64::try_from(nanos / 1_000_000).ok());
            }
        });
        let new = self.insert(event, what, lasted, is_trouble.then_some(key));
        Change { new, changed: closed.into_iter().collect(), is_health: state != before }
    }

    fn begin(&mut self, event: &CameraEvent, what: What) -> Change {
        let key = Self::key(event, &what);
        // Whoever saw the one before is gone: how long it lasted nobody knows.
        let changed = self.close(&key, |_| {}).into_iter().collect();
        let new = self.insert(event, what, None, Some(key));
        Change { new, changed, is_health: false }
    }

    fn end(&mut self, event: &CameraEvent, what: What, lasted: Option<u64>) -> Change {
        let key = Self::key(event, &what);
        let known = self.close(&key, |open| {
            open.lasted_millis = lasted;
            open.what = what.clone();
        });
        if known.is_some() {
            return Change { changed: known.into_iter().collect(), ..Change::default() };
        }
        // Its beginning is not held: the end tells when that was.
        let nanos = i64::try_from(lasted.unwrap_or(0)).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let began = CameraEvent { capture_unix_nanos: event.capture_unix_nanos.saturating_sub(nanos), ..event.clone() };
        Change { new: self.insert(&began, what, lasted, None), ..Change::default() }
    }

    fn key(event: &CameraEvent, what: &What) -> Open {
        let class = match what {
            What::Presence { class, .. } => Some(Arc::clone(class)),
            What::Health { .. } => None,
        };
        (event.stream.clone(), event.group.clone(), class)
    }

    /// What was under way is over; `None` where it is not held.
    fn close(&mut self, key: &Open, change: impl FnOnce(&mut Occurrence)) -> Option<Occurrence> {
        let place = self.open.remove(key)?;
        self.keys.remove(&place);
        let open = self.held.get_mut(&place)?;
        open.is_open = false;
        change(open);
        Some(open.clone())
    }

    /// `open`: it is under way from now on.
    fn insert(
        &mut self,
        event: &CameraEvent,
        what: What,
        lasted_millis: Option<u64>,
        open: Option<Open>,
    ) -> Option<Occurrence> {
        let place = Place { at_nanos: event.capture_unix_nanos, order: self.next_order };
        self.next_order += 1;
        let (id, stream, frame, is_open) = (event.id, event.stream.clone(), event.frame, open.is_some());
        let new = Occurrence { id, place, stream, frame, what, lasted_millis, is_open };
        if let Some(class) = new.class() {
            *self.classes.entry(Arc::clone(class)).or_default() += 1;
        }
        if let Some(open) = open {
            self.keys.insert(place, open.clone());
            self.open.insert(open, place);
        }
        self.held.insert(place, new.clone());
        self.arrived.push_back(place);
        if self.arrived.len() > MAX_HELD {
            self.drop_oldest();
        }
        Some(new)
    }

    fn drop_oldest(&mut self) {
        self.is_cut = true;
        let Some(place) = self.arrived.pop_front() else { return };
        if let Some(key) = self.keys.remove(&place) {
            self.open.remove(&key);
        }
        let gone = self.held.remove(&place);
        let Some(class) = gone.as_ref().and_then(Occurrence::class) else { return };
        if let Some(count) = self.classes.get_mut(class) {
            *count -= 1;
            if *count == 0 {
                self.classes.remove(class);
            }
        }
    }

    /// The newest that are wanted, at most `wish.limit`.
    pub(crate) fn page(&self, wish: &EventsWish) -> Page {
        let from = Place { at_nanos: wish.first_nanos(), order: 0 };
        let to = Place { at_nanos: wish.last_nanos(), order: u64::MAX };
        let end = wish.before.map_or(to, |before| before.min(to));
        // A range that ends before it begins is none.
        if end <= from {
            return Page { events: Vec::new(), has_more: false };
        }
        let newest_first = self.held.range(from..end).rev().map(|(_, event)| event);
        let mut wanted = newest_first.filter(|event| event.is_wanted(wish));
        let events: Vec<_> = wanted.by_ref().take(usize::from(wish.limit)).cloned().collect();
        Page { events, has_more: wanted.next().is_some() }
    }

    /// What is wrong with a stream's picture, and since when (capture, Unix nanoseconds).
    pub(crate) fn health_of(&self, stream: &StreamId) -> Option<(HealthState, i64)> {
        self.health.get(stream).map(|known| (known.state, known.at_nanos))
    }

    /// Whether events can be read now; answers whether that is new.
    pub(crate) fn set_reading(&mut self, reading: Reading) -> bool {
        let has_changed = self.reading != reading;
        self.reading = reading;
        has_changed
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.reading == Reading::Ready
    }

    /// The log has older ones than those that are held.
    pub(crate) fn set_cut(&mut self) {
        self.is_cut = true;
    }

    /// The message `events` with these lines.
    pub(crate) fn message(&self, id: u32, events: &[Value], has_more: bool) -> Value {
        let reason = if let Reading::Failed(reason) = &self.reading { reason } else { "" };
        let classes: Vec<&str> = self.classes.keys().take(MAX_CLASSES).map(|class| &**class).collect();
        json!({
            "type": "events", "id": id, "state": self.reading.name(), "reason": reason, "events": events,
            "has_more": has_more, "is_cut": self.is_cut, "classes": classes,
        })
    }
}

#[cfg(test)]
#[path = "occurrences_tests.rs"]
mod tests;
