//! Events between the bus and the clients.

use super::occurrences::{Change, Occurrence, Reading};
use super::{Hub, lock, text};
use crate::protocol::EventsWish;
use axum::extract::ws::Utf8Bytes;
use lumenbus_frame::StreamId;
use lumenbus_wire::CameraEvent;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// To a client that was too slow for what happened: it asks again.
pub(crate) fn missed() -> Utf8Bytes {
    text(&json!({ "type": "happened", "event": null, "changed": [], "is_missed": true }))
}

impl Hub {
    /// Takes an event; of a camera that is not shown nobody hears.
    pub(crate) fn happened(&self, event: &CameraEvent) {
        if !self.cameras.matches(event.stream.camera.as_str()) {
            return;
        }
        let (change, is_told) = {
            let mut occurrences = lock(&self.occurrences);
            (occurrences.take(event), occurrences.is_ready())
        };
        if change.is_health {
            self.changed.notify_one();
        }
        if is_told && self.happened.receiver_count() > 0 {
            self.tell_change(&change);
        }
    }

    fn tell_change(&self, Change { new, changed, .. }: &Change) {
        if new.is_none() && changed.is_empty() {
            return;
        }
        let changed = self.occurrences_json(changed);
        let new = new.as_ref().map(|event| self.occurrence_json(event));
        let message = json!({ "type": "happened", "event": new, "changed": changed, "is_missed": false });
        drop(self.happened.send(text(&message)));
    }

    fn occurrence_json(&self, event: &Occurrence) -> Value {
        event.to_json(self.registry().find(&event.stream).map(|stream| stream.n))
    }

    /// Numbers are looked up while the events are not locked: lists of streams ask for health with a stream locked.
    fn occurrences_json(&self, events: &[Occurrence]) -> Vec<Value> {
        events.iter().map(|event| self.occurrence_json(event)).collect()
    }

    /// The answer to a wish for events.
    pub(crate) fn events_message(&self, wish: &EventsWish) -> Value {
        let page = lock(&self.occurrences).page(wish);
        let events = self.occurrences_json(&page.events);
        lock(&self.occurrences).message(wish.id, &events, page.has_more)
    }

    /// What happens from now on, for a client that wants to know.
    pub(crate) fn news(&self) -> broadcast::Receiver<Utf8Bytes> {
        self.happened.subscribe()
    }

    /// Whether events can be read; pages that look at them hear when that changes.
    pub(crate) fn reads_events(&self, reading: Reading) {
        let message = {
            let mut occurrences = lock(&self.occurrences);
            occurrences.set_reading(reading).then(|| occurrences.message(0, &[], false))
        };
        if let Some(message) = message {
            drop(self.happened.send(text(&message)));
        }
    }

    /// Older events than those that are read are in the log.
    pub(crate) fn cuts_events(&self) {
        lock(&self.occurrences).set_cut();
    }

    /// Whether everything was read that the log held at the beginning.
    pub(crate) fn has_read_events(&self) -> bool {
        lock(&self.occurrences).is_ready()
    }

    /// What a list of streams says of the health of one.
    pub(super) fn health_json(&self, stream: &StreamId) -> Option<Value> {
        let (state, since_nanos) = lock(&self.occurrences).health_of(stream)?;
        Some(json!({ "state": state.as_str(), "since_ms": super::millis(since_nanos / 1_000) }))
    }
}
