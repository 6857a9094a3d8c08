//! The publisher's threads: polling the client, the tick, and what takes long.

use crate::BusError;
use crate::publisher::account::EntryFacts;
use crate::publisher::client::{self, POLL};
use crate::publisher::epoch::next_epoch;
use crate::publisher::event::PublisherEvent;
use crate::publisher::hub::{Hub, lock};
use crate::publisher::index::write_index;
use crate::publisher::stream::{Stream, put_entry, stream_entry};
use lumenbus_frame::{CameraId, Epoch};
use lumenbus_wire::{CameraEntry, StreamState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time until something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What must not be done on a thread that has to be quick.
pub(crate) enum Job {
    /// Write a stream's directory entry.
    Entry(Arc<Stream>),
    /// Write what a camera was described as since.
    Describe(CameraId),
    /// Replace a Kafka client that failed for good.
    ReplaceClient,
}

/// Starts the publisher's threads; they end when the hub is closed and the client is taken away.
pub(crate) fn start(hub: &Arc<Hub>, tick: Duration) -> Result<Vec<JoinHandle<()>>, BusError> {
    let (poller, ticker, scribe) = (Arc::clone(hub), Arc::clone(hub), Arc::clone(hub));
    Ok(vec![
        spawn("publisher-poll", move || poll(&poller))?,
        spawn("publisher-tick", move || keep_ticking(&ticker, tick))?,
        spawn("publisher-scribe", move || write_entries(&scribe))?,
    ])
}

/// Starts the thread that writes the index; it ends when the indexer is closed.
pub(crate) fn start_index(hub: &Arc<Hub>) -> Result<JoinHandle<()>, BusError> {
    let (weak, indexer) = (Arc::downgrade(hub), Arc::clone(&hub.indexer));
    spawn("publisher-index", move || write_index(&weak, &indexer))
}

fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, BusError> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(body).map_err(|source| BusError::Thread { what: name, source })
}

fn poll(hub: &Hub) {
    while let Some(client) = hub.client() {
        client.poll(POLL);
    }
}

fn keep_ticking(hub: &Hub, tick: Duration) {
    while hub.check_open().is_ok() {
        hub.tick();
        hub.pause(tick);
    }
}

fn write_entries(hub: &Arc<Hub>) {
    while hub.check_open().is_ok() {
        match hub.next_job(Duration::from_secs(1)) {
            Some(Job::Entry(stream)) => refresh_entry(hub, &stream),
            Some(Job::Describe(camera)) => describe(hub, camera),
            Some(Job::ReplaceClient) => replace_client(hub),
            None => {}
        }
    }
}

/// Writes the entry as things are now; what fails is tried again.
fn refresh_entry(hub: &Hub, stream: &Arc<Stream>) {
    stream.is_entry_queued.store(false, Ordering::Release);
    let core = lock(&stream.core);
    if core.superseded_by().is_some() || stream.is_finished.load(Ordering::Acquire) {
        return;
    }
    let facts = core.entry_facts();
    drop(core);
    let state = if facts.is_offline { StreamState::Offline } else { StreamState::Live };
    match write_entry(hub, stream, facts, state) {
        Ok(()) => {
            let now = hub.now();
            let mut core = lock(&stream.core);
            core.release();
            hub.pump(stream, core, now);
        }
        Err(BusError::Superseded { theirs, .. }) => hub.supersede(stream, theirs),
        Err(error) => {
            let error = Arc::new(error);
            hub.events.tell(PublisherEvent::DirectoryProblem { stream: stream.id.clone(), error });
            hub.pause(RETRY);
            hub.add_entry_job(stream);
        }
    }
}

/// Writes the newest description of a camera; one without an entry gets it with its first stream.
fn describe(hub: &Hub, camera: CameraId) {
    let Some(description) = lock(&hub.descriptions).remove(&camera) else { return };
    let is_new = |known: CameraEntry| {
        let mut entry = known.clone();
        description.put(&mut entry);
        entry != known
    };
    if !hub.directory.entry(&camera).is_some_and(is_new) {
        return;
    }
    match hub.directory.update(&camera, |entry| description.put(entry)) {
        Ok(()) => {}
        // Beyond the limits of an entry: it will be so the next time.
        Err(error @ BusError::DirectoryEntry { .. }) => tracing::warn!(%error, "a camera's description is not written"),
        Err(error) => {
            tracing::warn!(%camera, %error, "the camera's description could not be written yet");
            hub.pause(RETRY);
            // A newer one goes before it.
            lock(&hub.descriptions).entry(camera.clone()).or_insert(description);
            hub.add_job(Job::Describe(camera));
        }
    }
}

/// Writes a stream's entry and waits for it.
pub(crate) fn write_entry(hub: &Hub, stream: &Stream, facts: EntryFacts, state: StreamState) -> Result<(), BusError> {
    let ours = facts.epoch;
    let entry = stream_entry(&stream.id, &stream.options, facts, state, hub.now().unix_nanos);
    let mut theirs = None;
    hub.directory.update(&stream.id.camera, |camera| theirs = put_entry(camera, &lock(&stream.description), entry))?;
    match theirs {
        Some(theirs) => Err(BusError::Superseded { stream: stream.id.clone(), ours, theirs }),
        None => Ok(()),
    }
}

/// A fatal error of the idempotent producer: a new client, and new epochs, so that a late record of the old client
/// cannot get between those of the new one.
fn replace_client(hub: &Arc<Hub>) {
    let streams = hub.streams();
    for stream in &streams {
        lock(&stream.core).hold();
    }
    let new = loop {
        match client::connect(&hub.bus, Arc::downgrade(hub)) {
            Ok(new) => break new,
            Err(error) => tracing::warn!(%error, "the Kafka client could not be replaced yet"),
        }
        if hub.check_open().is_err() {
            return;
        }
        hub.pause(RETRY);
    };
    if let Some(old) = hub.set_client(Some(new)) {
        client::purge(&old);
    }
    hub.replaced_clients.fetch_add(1, Ordering::AcqRel);
    for stream in &streams {
        restart(hub, stream);
    }
    hub.is_replacing.store(false, Ordering::Release);
}

fn restart(hub: &Hub, stream: &Arc<Stream>) {
    let now = hub.now();
    let mut core = lock(&stream.core);
    let mut last: Epoch = core.announced_epoch();
    core.restart(
        || {
            last = next_epoch(Some(last), now);
            last
        },
        now,
    );
    drop(core);
    hub.add_entry_job(stream);
}
