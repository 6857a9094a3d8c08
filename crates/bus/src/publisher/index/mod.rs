//! Writes the index: an entry for each acknowledged keyframe, after the fact and beside the frames.
//!
//! A thread and a small Kafka client of their own: an index that cannot be written costs frames nothing. One entry of a
//! stream is on its way at a time, so that each can name the one before.

mod chain;
mod client;

pub(crate) use chain::{Acknowledged, Keyframe};

use crate::BusError;
use crate::index::PATIENCE;
use crate::publisher::event::PublisherEvent;
use crate::publisher::hub::{Hub, lock};
use crate::publisher::stream::Stream;
use chain::Chain;
use client::{Client, Sent};
use lumenbus_wire::IndexPosition;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Until an index that could not be prepared is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// A closing publisher waits so long for the last entries.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Longest look at the client's reports while entries are on their way; a report ends it.
const POLL: Duration = Duration::from_millis(20);
/// Without anything to do.
const IDLE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    chains: HashMap<u32, Chain>,
    /// Streams with something to write; each is in it at most once.
    ready: VecDeque<u32>,
    on_their_way: usize,
    /// Set when the publisher closes: until when entries are still written.
    until: Option<Instant>,
    has_succeeded: bool,
}

/// What streams leave for the thread that writes the index.
#[derive(Default)]
pub(crate) struct Indexer {
    state: Mutex<State>,
    changed: Condvar,
}

impl Indexer {
    /// Takes what a stream's core has acknowledged. Called with the core locked.
    pub(crate) fn add(&self, stream: &Stream, keyframes: impl Iterator<Item = Keyframe>) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let chain = state.chains.entry(stream.number);
        let chain = chain.or_insert_with(|| Chain::new(stream.id.clone(), stream.past_partition));
        let was_ready = chain.is_ready();
        keyframes.for_each(|keyframe| chain.add(keyframe));
        if !was_ready && chain.is_ready() {
            state.ready.push_back(stream.number);
            self.changed.notify_all();
        }
    }

    /// What becomes of the entry of this stream that is on its way.
    fn settled(&self, stream: u32, at: Option<Option<IndexPosition>>) {
        let mut state = lock(&self.state);
        state.on_their_way = state.on_their_way.saturating_sub(1);
        state.has_succeeded |= at.is_some();
        if let Some(chain) = state.chains.get_mut(&stream) {
            chain.settled(at);
            if chain.is_ready() {
                state.ready.push_back(stream);
            }
        }
    }

    /// Entries are written for a little longer, then no more.
    pub(crate) fn close(&self, wait: Duration) {
        lock(&self.state).until.get_or_insert(Instant::now() + wait.min(CLOSE_WAIT));
        self.changed.notify_all();
    }

    /// Forgets streams that are no longer open and have nothing to write.
    fn forget(&self, is_open: impl Fn(u32) -> bool) {
        lock(&self.state).chains.retain(|number, chain| !chain.is_idle() || is_open(*number));
    }

    /// Forgets streams that are no longer open, also what they have to write: there is no index, and there may be none.
    fn give_up(&self, is_open: impl Fn(u32) -> bool) {
        lock(&self.state).chains.retain(|number, _| is_open(*number));
    }

    /// The index may be gone with everything in it, its client is with what was on its way: chains go on where they find
    /// their last entry, or begin.
    fn begin_anew(&self) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        state.on_their_way = 0;
        state.chains.values_mut().for_each(Chain::begin_anew);
        state.ready = state.chains.iter().filter(|(_, chain)| chain.is_ready()).map(|(number, _)| *number).collect();
    }

    /// Waits until there is something to do; `None` when it is over.
    fn next(&self, wait: Duration) -> Option<Vec<u32>> {
        let is_idle = |state: &mut State| state.ready.is_empty() && state.on_their_way == 0 && state.until.is_none();
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, wait, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_done = state.ready.is_empty() && state.on_their_way == 0;
        if state.until.is_some_and(|until| is_done || Instant::now() >= until) {
            return None;
        }
        Some(state.ready.drain(..).collect())
    }

    /// These streams are tried again later, or never when the publisher closes.
    fn put_back(&self, streams: Vec<u32>) {
        let mut state = lock(&self.state);
        state.ready.extend(streams);
        let is_open = |state: &mut State| state.until.is_none();
        let waited = self.changed.wait_timeout_while(state, RETRY, is_open);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.until.is_some() {
            state.ready.clear();
        }
    }

    /// Whether the time of a publisher that closes is up.
    fn is_over(&self) -> bool {
        lock(&self.state).until.is_some_and(|until| Instant::now() >= until)
    }

    /// How long a question may be waited for: no longer than is left when the publisher closes.
    fn patience(&self) -> Duration {
        lock(&self.state).until.map_or(PATIENCE, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether entries are on their way.
    fn is_waiting(&self) -> bool {
        lock(&self.state).on_their_way > 0
    }

    /// Whether an entry got through since the last call.
    fn take_success(&self) -> bool {
        std::mem::take(&mut lock(&self.state).has_succeeded)
    }
}

/// The thread's work, until the publisher closes.
pub(crate) fn write_index(hub: &Weak<Hub>, indexer: &Arc<Indexer>) {
    let mut writer = Writer { hub, indexer, client: None, has_told: false };
    let mut last_forgotten = Instant::now();
    while let Some(ready) = indexer.next(IDLE) {
        writer.write(ready);
        if last_forgotten.elapsed() >= IDLE
            && let Some(hub) = hub.upgrade()
        {
            indexer.forget(|number| hub.stream(number).is_some());
            last_forgotten = Instant::now();
        }
    }
}

struct Writer<'a> {
    hub: &'a Weak<Hub>,
    indexer: &'a Arc<Indexer>,
    client: Option<Client>,
    has_told: bool,
}

impl Writer<'_> {
    fn write(&mut self, ready: Vec<u32>) {
        if self.client.is_none() && !ready.is_empty() {
            let Some(hub) = self.hub.upgrade() else { return };
            match Client::open(&hub.bus, self.indexer) {
                Ok(client) => self.client = Some(client),
                Err(error) => {
                    self.tell(error);
                    self.indexer.give_up(|number| hub.stream(number).is_some());
                    drop(hub);
                    return self.indexer.put_back(ready);
                }
            }
        }
        let Some(client) = &mut self.client else { return };
        for number in ready {
            // Each may ask the broker.
            if self.indexer.is_over() {
                break;
            }
            go_on(client, self.indexer, number);
        }
        client.poll(if self.indexer.is_waiting() { POLL } else { Duration::ZERO });
        if let Some(error) = client.take_error() {
            if matches!(error, BusError::UnknownTopic { .. }) {
                // Deleted, or a broker does not know it yet: it is prepared again.
                self.client = None;
                self.indexer.begin_anew();
            }
            self.tell(error);
        }
        self.has_told &= !self.indexer.take_success();
    }

    /// Once, until entries get through again.
    fn tell(&mut self, error: BusError) {
        if !std::mem::replace(&mut self.has_told, true)
            && let Some(hub) = self.hub.upgrade()
        {
            hub.events.tell(PublisherEvent::IndexProblem { error: Arc::new(error) });
        }
    }
}

/// Sends a stream's next entry.
fn go_on(client: &mut Client, indexer: &Indexer, number: u32) {
    let past = lock(&indexer.state).chains.get_mut(&number).and_then(|chain| {
        let partition = chain.past_partition.take()?;
        Some((chain.stream.clone(), partition))
    });
    // Not with the lock held: it asks the broker.
    let patience = indexer.patience();
    let last = past.and_then(|(stream, partition)| client.last_entry(&stream, partition, patience));
    let mut state = lock(&indexer.state);
    let Some(chain) = state.chains.get_mut(&number) else { return };
    if let Some(last) = last {
        chain.goes_on_from(last);
    }
    let Some(entry) = chain.next() else { return };
    let camera = chain.stream.camera.clone();
    state.on_their_way += 1;
    drop(state);
    if client.send(number, camera.as_str(), &entry) == Sent::Refused {
        indexer.settled(number, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{Epoch, FrameId, Seq, StreamId, TopicName};

    #[test]
    fn what_is_ready_waits_for_nothing_once_the_time_of_closing_is_up() {
        let indexer = Indexer::default();
        assert_eq!((indexer.is_over(), indexer.patience()), (false, PATIENCE));
        indexer.close(Duration::ZERO);
        assert_eq!((indexer.is_over(), indexer.patience()), (true, Duration::ZERO));
        assert_eq!(indexer.next(IDLE), None);
    }

    fn chain() -> Chain {
        let mut chain = Chain::new(StreamId::main("gate".parse().unwrap(), TopicName::new("raw_video").unwrap()), None);
        chain.add(Keyframe {
            id: FrameId { epoch: Epoch(1), seq: Seq(0) },
            capture_unix_nanos: 1,
            partition: 0,
            offset: 0,
            bytes: 1,
            is_jump: false,
            is_thinned: false,
        });
        chain
    }

    #[test]
    fn closed_streams_are_forgotten_while_there_is_no_index() {
        let indexer = Indexer::default();
        lock(&indexer.state).chains.extend([(1, chain()), (2, chain())]);
        indexer.forget(|number| number == 2);
        assert_eq!(lock(&indexer.state).chains.len(), 2, "a little later they are written");
        indexer.give_up(|number| number == 2);
        assert_eq!(lock(&indexer.state).chains.keys().copied().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn nothing_is_on_its_way_into_an_index_that_is_gone() {
        let indexer = Indexer::default();
        let mut sent = chain();
        sent.next().unwrap();
        lock(&indexer.state).chains.extend([(1, sent), (2, chain())]);
        lock(&indexer.state).on_their_way = 1;
        indexer.begin_anew();
        assert_eq!((indexer.is_waiting(), indexer.next(Duration::ZERO)), (false, Some(vec![2])));
    }
}
