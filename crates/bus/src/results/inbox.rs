//! Between those who have results and the thread that writes them: bounded in bytes.

use super::{ResultRecord, ResultStats};
use crate::BusError;
use crate::subscriber::{GroupOffsets, Receipt};
use lumenbus_frame::TopicName;
use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What an item costs besides its result.
const ITEM_BYTES: usize = size_of::<Command>();

/// What became of a frame, or of something else that moves offsets.
pub(super) struct Item {
    pub(super) records: Vec<ResultRecord>,
    pub(super) receipt: Receipt,
}

pub(super) enum Command {
    Item(Item),
    /// Commit or abort what is under way, then answer.
    End(SyncSender<()>),
    /// Another subscriber's offsets from now on.
    Attach(GroupOffsets, SyncSender<Result<(), BusError>>),
}

impl Command {
    fn bytes(&self) -> usize {
        let records = if let Self::Item(item) = self { &item.records[..] } else { &[] };
        records.iter().map(ResultRecord::bytes).sum::<usize>() + ITEM_BYTES
    }
}

/// Why nothing is taken until a subscriber is attached.
struct Broken {
    reason: String,
    /// What it is when it stays so.
    refusal: Option<Explained>,
}

/// An error that is told as often as somebody asks.
pub(super) type Explained = Box<dyn Fn() -> BusError + Send>;

/// What the thread finds.
pub(super) enum Taken {
    Command(Command),
    Nothing,
    Closed,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Command>,
    bytes: usize,
    is_closed: bool,
    broken: Option<Broken>,
    stats: ResultStats,
}

pub(super) struct Inbox {
    state: Mutex<State>,
    readable: Condvar,
    writable: Condvar,
    limit_bytes: usize,
    topic: TopicName,
}

impl Inbox {
    pub(super) fn new(limit_bytes: usize, topic: TopicName) -> Self {
        Self { state: Mutex::default(), readable: Condvar::new(), writable: Condvar::new(), limit_bytes, topic }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room.
    pub(super) fn put(&self, item: Item) -> Result<(), BusError> {
        let is_full = |state: &mut State| state.bytes >= self.limit_bytes && !state.is_closed && state.broken.is_none();
        let mut state = self.writable.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        self.usable(&state)?;
        Self::push(&mut state, Command::Item(item));
        drop(state);
        self.readable.notify_one();
        Ok(())
    }

    /// What is not bounded: there is one of each at a time.
    pub(super) fn command(&self, command: Command) {
        let mut state = self.lock();
        if !state.is_closed {
            Self::push(&mut state, command);
        }
        drop(state);
        self.readable.notify_one();
    }

    fn push(state: &mut State, command: Command) {
        state.bytes += command.bytes();
        state.commands.push_back(command);
    }

    /// Returns when the transaction under way is over, or nobody is left to end it.
    pub(super) fn end_transaction(&self) {
        let (answer, answered) = sync_channel(1);
        self.command(Command::End(answer));
        // An error says that the thread is gone, and its transaction with it.
        let _ = answered.recv();
    }

    /// The next command, waiting until then at most.
    pub(super) fn take(&self, until: Instant) -> Taken {
        let mut state = self.lock();
        loop {
            if let Some(command) = state.commands.pop_front() {
                state.bytes -= command.bytes();
                drop(state);
                self.writable.notify_all();
                return Taken::Command(command);
            }
            if state.is_closed {
                return Taken::Closed;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            state = self.readable.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nothing is taken until a subscriber is attached; what waits is dropped. `refusal`: where another would fare no better.
    pub(super) fn break_off(&self, reason: String, refusal: Option<Explained>) {
        let mut state = self.lock();
        let is_item = |command: &Command| matches!(command, Command::Item(_));
        let (items, others): (Vec<_>, Vec<_>) = std::mem::take(&mut state.commands).into_iter().partition(is_item);
        state.commands = others.into();
        state.bytes = state.commands.iter().map(Command::bytes).sum();
        state.broken = Some(Broken { reason, refusal });
        drop(state);
        drop(items);
        self.writable.notify_all();
    }

    pub(super) fn mend(&self) {
        self.lock().broken = None;
    }

    pub(super) fn check(&self) -> Result<(), BusError> {
        self.usable(&self.lock())
    }

    fn usable(&self, state: &State) -> Result<(), BusError> {
        match &state.broken {
            _ if state.is_closed => Err(BusError::Closed { what: "writer of results" }),
            Some(Broken { refusal: Some(explained), .. }) => Err(explained()),
            Some(Broken { reason, .. }) => {
                Err(BusError::TransactionAborted { topic: self.topic.as_str().to_owned(), reason: reason.clone() })
            }
            None => Ok(()),
        }
    }

    /// No more commands; what waits is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let left = std::mem::take(&mut state.commands);
        state.bytes = 0;
        drop(state);
        // Whoever waits for an answer to one of them hears that there will be none.
        drop(left);
        self.readable.notify_all();
        self.writable.notify_all();
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut ResultStats)) {
        count(&mut self.lock().stats);
    }

    pub(super) fn stats(&self) -> ResultStats {
        self.lock().stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_as_what_it_is_until_somebody_begins_again() {
        let inbox = Inbox::new(1_000, TopicName::new("analysis_results").unwrap());
        inbox.break_off("the partitions were taken away".to_owned(), None);
        assert!(matches!(inbox.check(), Err(BusError::TransactionAborted { .. })));
        let missing = || BusError::UnknownTopic { topic: "t".to_owned(), brokers: "b".to_owned() };
        inbox.break_off("refused".to_owned(), Some(Box::new(missing)));
        for _ in 0..2 {
            assert!(matches!(inbox.check(), Err(BusError::UnknownTopic { .. })));
        }
        inbox.mend();
        assert!(inbox.check().is_ok());
        inbox.close();
        assert!(matches!(inbox.check(), Err(BusError::Closed { .. })));
    }
}
