//! Between the consumer threads and the caller: bounded in bytes, with the policy's way of falling behind.

use super::Policy;
use super::event::{DeliveredFrame, Event};
use super::progress::Progress;
use crate::BusError;
use lumenbus_frame::{FrameId, Gap, GapReason, StreamId};
use lumenbus_lanes::{FrameGate, Passage};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What an event costs besides its payload.
const EVENT_BYTES: usize = size_of::<Item>();
/// How wrong the estimate of a publisher's clock may be before a frame counts as late.
const CLOCK_ALLOWANCE_NANOS: i64 = 50_000_000;

/// A partition as all threads see it.
#[derive(Debug)]
pub(crate) struct PartitionShared {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) progress: Mutex<Progress>,
    /// Another member has it now: what still waits is not handed over.
    pub(crate) is_revoked: AtomicBool,
    /// Offset after the furthest record read.
    pub(crate) frontier: AtomicI64,
    /// Offset up to which everything read is in the queue or was taken from it.
    pub(crate) handed_over: AtomicI64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What must be done when a frame was handled.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) partition: Arc<PartitionShared>,
    pub(crate) first_offset: i64,
    pub(crate) hash: u64,
    /// Absent for what is no frame's: the stream's end, the camera's absence.
    pub(crate) id: Option<FrameId>,
    /// A preroll moves nothing.
    pub(crate) is_preroll: bool,
}

impl Ticket {
    /// The frame is done with: handled, or dropped and told.
    pub(crate) fn done(self) {
        if !self.is_preroll {
            let mut progress = lock(&self.partition.progress);
            if let Some(id) = self.id {
                progress.mark(self.hash, id);
            }
            progress.done(self.first_offset);
        }
    }
}

/// An event on its way to the caller.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) event: Event,
    pub(crate) ticket: Option<Ticket>,
}

impl Item {
    fn bytes(&self) -> usize {
        EVENT_BYTES + frame_of(&self.event).map_or(0, |frame| frame.payload.len() + frame.header_bytes.len())
    }
}

fn frame_of(event: &Event) -> Option<&DeliveredFrame> {
    match event {
        Event::Frame(frame) => Some(frame),
        _ => None,
    }
}

fn stream_of(event: &Event) -> Option<&StreamId> {
    match event {
        Event::Frame(frame) => Some(&frame.stream),
        Event::Gap { stream, .. }
        | Event::Repeat { stream, .. }
        | Event::Offline { stream, .. }
        | Event::End { stream, .. } => Some(stream),
        Event::Notice(_) => None,
    }
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    is_closed: bool,
    error: Option<BusError>,
    late: HashMap<u64, Late>,
    /// Smallest difference of broker's append time and our clock seen: the clocks' offset and the shortest way.
    clock_offset_nanos: Option<i64>,
}

/// A stream under a policy that drops.
#[derive(Default)]
struct Late {
    gate: FrameGate,
    gap: Option<(Arc<StreamId>, Gap)>,
}

pub(crate) struct DeliveryQueue {
    state: Mutex<State>,
    readable: Condvar,
    writable: Condvar,
    limit_bytes: usize,
    policy: Policy,
}

impl DeliveryQueue {
    pub(crate) fn new(limit_bytes: usize, policy: Policy) -> Self {
        Self {
            state: Mutex::default(),
            readable: Condvar::new(),
            writable: Condvar::new(),
            limit_bytes: limit_bytes.max(EVENT_BYTES),
            policy,
        }
    }

    /// Appends everything; the queue may then be over its limit until the next [`has_room`](Self::has_room).
    pub(crate) fn push(&self, items: &mut Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for item in items.drain(..) {
            if self.policy == Policy::Newest && frame_of(&item.event).is_some_and(|frame| frame.header.is_keyframe) {
                supersede(&mut state, &item);
            }
            state.observe_clock(&item.event);
            state.bytes += item.bytes();
            state.items.push_back(item);
        }
        if !matches!(self.policy, Policy::Lossless) {
            self.shed(&mut state);
        }
        drop(state);
        self.readable.notify_one();
    }

    /// Waits until there is room, at most this long.
    pub(crate) fn has_room(&self, wait: Duration) -> bool {
        let state = lock(&self.state);
        let is_full = |state: &mut State| state.bytes >= self.limit_bytes && !state.is_closed;
        let (state, _) = self.writable.wait_timeout_while(state, wait, is_full).unwrap_or_else(PoisonError::into_inner);
        state.bytes < self.limit_bytes || state.is_closed
    }

    /// The next event, waiting at most this long.
    pub(crate) fn pop(&self, wait: Duration, now_unix_nanos: impl Fn() -> i64) -> Result<Option<Item>, BusError> {
        let deadline = Instant::now() + wait;
        let mut state = lock(&self.state);
        loop {
            if let Some(item) = self.take(&mut state, &now_unix_nanos) {
                let has_room = state.bytes < self.limit_bytes;
                drop(state);
                if has_room {
                    self.writable.notify_all();
                }
                return Ok(Some(item));
            }
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.is_closed || left.is_zero() {
                return Ok(None);
            }
            state = self.readable.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The consumer cannot go on.
    pub(crate) fn fail(&self, error: BusError) {
        lock(&self.state).error.get_or_insert(error);
        self.readable.notify_all();
    }

    pub(crate) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.readable.notify_all();
        self.writable.notify_all();
    }

    /// Bytes waiting.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    /// Whether nothing waits, not even the gap of frames that were dropped.
    pub(crate) fn is_empty(&self) -> bool {
        let state = lock(&self.state);
        state.items.is_empty() && state.late.values().all(|late| late.gap.is_none())
    }

    fn take(&self, state: &mut State, now_unix_nanos: &impl Fn() -> i64) -> Option<Item> {
        loop {
            let Some(item) = state.pop_front() else { return state.flush_late() };
            if item.ticket.as_ref().is_some_and(|ticket| ticket.partition.is_revoked.load(Ordering::Acquire)) {
                continue;
            }
            let max_age = match self.policy {
                Policy::Lossless => return Some(item),
                Policy::Live { max_age } => max_age,
                Policy::Newest => Duration::MAX,
            };
            match state.in_time(item, max_age, now_unix_nanos()) {
                Verdict::HandOver(item) => return Some(*item),
                Verdict::First(gap, item) => {
                    state.bytes += item.bytes();
                    state.items.push_front(*item);
                    return Some(*gap);
                }
                Verdict::Dropped => {}
            }
        }
    }

    /// Keeps a queue that must not block within its bytes: the oldest frames go, up to their next keyframes.
    fn shed(&self, state: &mut State) {
        while state.bytes >= self.limit_bytes {
            let Some(at) = state.items.iter().position(|item| frame_of(&item.event).is_some()) else { return };
            state.supersede_at(at, GapReason::Lagging);
            let Event::Gap { stream, .. } = &state.items[at].event else { return };
            let stream = Arc::clone(stream);
            state.drop_until_keyframe(at + 1, &stream);
        }
    }
}

enum Verdict {
    HandOver(Box<Item>),
    /// A gap, then the item.
    First(Box<Item>, Box<Item>),
    Dropped,
}

impl State {
    fn pop_front(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes();
        Some(item)
    }

    fn observe_clock(&mut self, event: &Event) {
        let Some(frame) = frame_of(event) else { return };
        let Some(append) = frame.append_unix_millis else { return };
        let offset = frame.received_unix_nanos.saturating_sub(append.saturating_mul(1_000_000));
        self.clock_offset_nanos = Some(self.clock_offset_nanos.map_or(offset, |least| least.min(offset)));
    }

    /// Age since capture as well as it can be known without trusting the camera's clock.
    fn age_nanos(&self, frame: &DeliveredFrame, now_unix_nanos: i64) -> i64 {
        let Some(append) = frame.append_unix_millis else { return 0 };
        let on_broker = now_unix_nanos - append.saturating_mul(1_000_000) - self.clock_offset_nanos.unwrap_or(0);
        let micros =
            u64::from(frame.header.submit_micros.unwrap_or(0)) + u64::from(frame.header.queue_micros.unwrap_or(0));
        on_broker.saturating_add(i64::try_from(micros * 1_000).unwrap_or(i64::MAX))
    }

    fn in_time(&mut self, item: Item, max_age: Duration, now_unix_nanos: i64) -> Verdict {
        let Some(frame) = frame_of(&item.event) else { return self.after_late_gap(item) };
        // A joined keyframe is wanted whatever its age.
        let is_joining = frame.role != super::FrameRole::Current;
        let limit = i64::try_from(max_age.as_nanos()).unwrap_or(i64::MAX).saturating_add(CLOCK_ALLOWANCE_NANOS);
        let is_late = !is_joining && self.age_nanos(frame, now_unix_nanos) > limit;
        let (hash, is_keyframe) = (super::progress::stream_hash(&frame.stream), frame.header.is_keyframe);
        let late = self.late.entry(hash).or_insert_with(|| {
            let mut gate = FrameGate::default();
            gate.pass(true);
            Late { gate, gap: None }
        });
        if is_late {
            late.gate.close();
        }
        if !is_late && late.gate.pass(is_keyframe) == Passage::Open {
            let Some((stream, gap)) = late.gap.take() else { return Verdict::HandOver(Box::new(item)) };
            let gap = Item { event: Event::Gap { stream, gap }, ticket: None };
            return Verdict::First(Box::new(gap), Box::new(item));
        }
        let id = frame.header.id;
        let mut told = None;
        match &mut late.gap {
            Some((_, gap)) if gap.epoch == Some(id.epoch) && gap.last.is_some_and(|last| last.next() == id.seq) => {
                gap.last = Some(id.seq);
            }
            other => {
                let gap = Gap { epoch: Some(id.epoch), ..Gap::new(id.seq, id.seq, GapReason::Lagging) };
                told = other.replace((Arc::clone(&frame.stream), gap));
            }
        }
        if let Some(ticket) = item.ticket {
            ticket.done();
        }
        match told {
            Some((stream, gap)) => {
                Verdict::HandOver(Box::new(Item { event: Event::Gap { stream, gap }, ticket: None }))
            }
            None => Verdict::Dropped,
        }
    }

    /// What was dropped of a stream is told before what else happened to it: an end must find it told.
    fn after_late_gap(&mut self, item: Item) -> Verdict {
        let late = stream_of(&item.event).and_then(|stream| self.late.get_mut(&super::progress::stream_hash(stream)));
        let Some((stream, gap)) = late.and_then(|late| late.gap.take()) else {
            return Verdict::HandOver(Box::new(item));
        };
        Verdict::First(Box::new(Item { event: Event::Gap { stream, gap }, ticket: None }), Box::new(item))
    }

    /// Nothing waits: what was dropped is told now.
    fn flush_late(&mut self) -> Option<Item> {
        let (stream, gap) = self.late.values_mut().find_map(|late| late.gap.take())?;
        Some(Item { event: Event::Gap { stream, gap }, ticket: None })
    }

    /// The frame at this place becomes a gap.
    fn supersede_at(&mut self, at: usize, reason: GapReason) {
        let Some(frame) = frame_of(&self.items[at].event) else { return };
        let (stream, id) = (Arc::clone(&frame.stream), frame.header.id);
        self.bytes -= self.items[at].bytes();
        if let Some(ticket) = self.items[at].ticket.take() {
            ticket.done();
        }
        let gap = Gap { epoch: Some(id.epoch), ..Gap::new(id.seq, id.seq, reason) };
        self.items[at].event = Event::Gap { stream, gap };
        self.bytes += EVENT_BYTES;
    }

    fn drop_until_keyframe(&mut self, from: usize, stream: &Arc<StreamId>) {
        for at in from..self.items.len() {
            let Some(frame) = frame_of(&self.items[at].event) else { continue };
            if frame.stream != *stream {
                continue;
            }
            if frame.header.is_keyframe {
                break;
            }
            self.supersede_at(at, GapReason::Lagging);
        }
        merge_gaps(self, stream);
        let is_open = self.items.iter().filter_map(|item| frame_of(&item.event)).any(|frame| frame.stream == *stream);
        if !is_open {
            let late = self.late.entry(super::progress::stream_hash(stream)).or_default();
            late.gate.close();
        }
    }
}

/// Under `newest` a keyframe takes the place of everything of its stream that still waits.
fn supersede(state: &mut State, newcomer: &Item) {
    let Some(frame) = frame_of(&newcomer.event) else { return };
    let stream = Arc::clone(&frame.stream);
    let mut any = false;
    for at in 0..state.items.len() {
        if frame_of(&state.items[at].event).is_some_and(|waiting| waiting.stream == stream) {
            state.supersede_at(at, GapReason::Superseded);
            any = true;
        }
    }
    if any {
        merge_gaps(state, &stream);
    }
}

/// Contiguous gaps of a stream become one, so that a reader that never comes costs one gap a stream.
fn merge_gaps(state: &mut State, of: &Arc<StreamId>) {
    let mut last: Option<usize> = None;
    let mut merged = Vec::new();
    for at in 0..state.items.len() {
        let Event::Gap { stream, gap } = &state.items[at].event else { continue };
        if stream != of {
            continue;
        }
        let gap = *gap;
        if let Some(Event::Gap { gap: before, .. }) = last.map(|index| &mut state.items[index].event) {
            let touches = before.last.is_some_and(|end| end.next() == gap.first) && before.epoch == gap.epoch;
            if touches && before.reason == gap.reason {
                before.last = gap.last;
                merged.push(at);
                continue;
            }
        }
        last = Some(at);
    }
    if merged.is_empty() {
        return;
    }
    let mut at = 0;
    state.items.retain_mut(|item| {
        at += 1;
        let stays = merged.binary_search(&(at - 1)).is_err();
        if !stays && let Some(ticket) = item.ticket.take() {
            ticket.done();
        }
        stays
    });
    state.bytes -= merged.len() * EVENT_BYTES;
}
