//! One transactional id as a state machine without clock, log or socket.
//!
//! Rules as in Kafka's `TransactionMetadata` and `TransactionCoordinator` before KIP-890's second part. Every change
//! is computed as the next state, which the coordinator writes to its log before it takes effect.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;

use crate::log::Outcome;
use crate::server::group::TopicPartition;

const NO_PRODUCER_ID: i64 = -1;
const NO_EPOCH: i16 = -1;
/// "The transaction has not begun."
pub(super) const NO_TIME: i64 = -1;

/// A producer's id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerRef {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl ProducerRef {
    const NONE: Self = Self { id: NO_PRODUCER_ID, epoch: NO_EPOCH };

    /// The last epoch is kept for fencing; nobody is given it.
    fn is_exhausted(self) -> bool {
        self.epoch >= i16::MAX - 1
    }

    fn bumped(self) -> Self {
        Self { epoch: self.epoch.saturating_add(1), ..self }
    }
}

/// Where a transactional id stands. The numbers are those of Kafka's transaction log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Has an id and an epoch, and no transaction yet.
    Empty = 0,
    /// A transaction is open.
    Ongoing = 1,
    /// Decided; markers are on their way.
    PrepareCommit = 2,
    /// Decided; markers are on their way.
    PrepareAbort = 3,
    /// The last transaction was committed.
    CompleteCommit = 4,
    /// The last transaction was aborted.
    CompleteAbort = 5,
}

impl Status {
    pub(crate) const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// As Kafka's tools name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    fn prepare(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Commit => Self::PrepareCommit,
            Outcome::Abort => Self::PrepareAbort,
        }
    }

    fn complete(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Commit => Self::CompleteCommit,
            Outcome::Abort => Self::CompleteAbort,
        }
    }
}

/// A transactional id: its producer, and its transaction when there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) producer: ProducerRef,
    /// The producer before the last InitProducerId that named it; a repeat of that request is recognised by it.
    pub(super) previous: ProducerRef,
    pub(crate) timeout_ms: i32,
    pub(crate) status: Status,
    /// Where the transaction has written, or where markers are still to be written.
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// When the transaction began, Unix milliseconds; -1 before the first.
    pub(crate) started_ms: i64,
    /// Last change, Unix milliseconds.
    pub(crate) updated_ms: i64,
}

/// What InitProducerId leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Init {
    /// The next state has the producer's new epoch.
    Next(Transaction),
    /// The request was answered before; nothing changes.
    Repeat,
    /// Epochs are used up: [`Transaction::rotated`] with a new id.
    NewId,
    /// The open transaction is aborted first; then the request is judged again.
    AbortFirst(Transaction),
}

impl Transaction {
    /// A transactional id that nobody has used before, or that has expired.
    pub(super) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer: ProducerRef { id: producer_id, epoch: 0 },
            previous: ProducerRef::NONE,
            timeout_ms,
            status: Status::Empty,
            partitions: BTreeSet::new(),
            started_ms: NO_TIME,
            updated_ms: now_ms,
        }
    }

    /// InitProducerId; `expected` is who the producer believes to be, when it goes on after an error (KIP-360).
    pub(super) fn init(
        &self,
        expected: Option<ProducerRef>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Result<Init, ResponseError> {
        if expected.is_some_and(|expected| !self.is_or_was(expected)) {
            return Err(ResponseError::ProducerFenced);
        }
        match self.status {
            Status::PrepareCommit | Status::PrepareAbort => Err(ResponseError::ConcurrentTransactions),
            Status::Ongoing => Ok(Init::AbortFirst(self.fenced(now_ms))),
            Status::Empty | Status::CompleteCommit | Status::CompleteAbort => {
                let current = |expected: ProducerRef| expected == self.producer;
                match expected {
                    Some(expected) if expected == self.previous => Ok(Init::Repeat),
                    Some(expected) if !current(expected) => Err(ResponseError::ProducerFenced),
                    _ if self.producer.is_exhausted() => Ok(Init::NewId),
                    _ => Ok(Init::Next(self.begun_anew(self.producer.bumped(), expected, timeout_ms, now_ms))),
                }
            }
        }
    }

    fn is_or_was(&self, expected: ProducerRef) -> bool {
        expected.id == self.producer.id || (expected.id == self.previous.id && expected.is_exhausted())
    }

    /// The answer to [`Init::NewId`].
    pub(super) fn rotated(
        &self,
        producer_id: i64,
        expected: Option<ProducerRef>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        self.begun_anew(ProducerRef { id: producer_id, epoch: 0 }, expected, timeout_ms, now_ms)
    }

    fn begun_anew(&self, producer: ProducerRef, expected: Option<ProducerRef>, timeout_ms: i32, now_ms: i64) -> Self {
        let previous = expected.map_or(ProducerRef::NONE, |_| self.producer);
        Self { previous, ..Self { producer, ..Self::new(producer.id, timeout_ms, now_ms) } }
    }

    /// Aborts the open transaction and shuts its producer out.
    fn fenced(&self, now_ms: i64) -> Self {
        Self {
            producer: self.producer.bumped(),
            previous: ProducerRef::NONE,
            status: Status::PrepareAbort,
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    /// The next state when the transaction has been open for too long.
    pub(super) fn timed_out(&self, now_ms: i64) -> Option<Self> {
        let ends_ms = self.started_ms.saturating_add(i64::from(self.timeout_ms));
        (self.status == Status::Ongoing && ends_ms <= now_ms).then(|| self.fenced(now_ms))
    }

    fn check_producer(&self, producer: ProducerRef) -> Result<(), ResponseError> {
        if producer.id != self.producer.id {
            Err(ResponseError::InvalidProducerIdMapping)
        } else if producer.epoch != self.producer.epoch {
            Err(ResponseError::ProducerFenced)
        } else {
            Ok(())
        }
    }

    /// Adds partitions, and begins a transaction when none is open; `None`: they are all in it already.
    pub(super) fn add(
        &self,
        producer: ProducerRef,
        partitions: impl IntoIterator<Item = TopicPartition>,
        now_ms: i64,
    ) -> Result<Option<Self>, ResponseError> {
        self.check_producer(producer)?;
        let mut next = match self.status {
            Status::PrepareCommit | Status::PrepareAbort => return Err(ResponseError::ConcurrentTransactions),
            Status::Ongoing => self.clone(),
            Status::Empty | Status::CompleteCommit | Status::CompleteAbort => {
                Self { status: Status::Ongoing, started_ms: now_ms, ..self.clone() }
            }
        };
        next.partitions.extend(partitions);
        next.updated_ms = now_ms;
        let changed = next.status != self.status || next.partitions.len() != self.partitions.len();
        Ok(changed.then_some(next))
    }

    /// Whether a transactional batch may be appended; the answer is for a Produce or TxnOffsetCommit request.
    pub(super) fn check_write(&self, producer: ProducerRef, partition: &TopicPartition) -> Result<(), ResponseError> {
        self.check_producer(producer).map_err(|error| match error {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            error => error,
        })?;
        match self.status {
            Status::Ongoing if self.partitions.contains(partition) => Ok(()),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// EndTxn; `None`: that is how the last transaction ended.
    pub(super) fn end(
        &self,
        producer: ProducerRef,
        outcome: Outcome,
        now_ms: i64,
    ) -> Result<Option<Self>, ResponseError> {
        self.check_producer(producer)?;
        match self.status {
            Status::Ongoing => Ok(Some(Self { status: Status::prepare(outcome), updated_ms: now_ms, ..self.clone() })),
            status if status == Status::complete(outcome) => Ok(None),
            status if status == Status::prepare(outcome) => Err(ResponseError::ConcurrentTransactions),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// What was decided and is not carried out yet.
    pub(super) fn decided(&self) -> Option<Outcome> {
        match self.status {
            Status::PrepareCommit => Some(Outcome::Commit),
            Status::PrepareAbort => Some(Outcome::Abort),
            _ => None,
        }
    }

    /// The next state when all markers are written.
    pub(super) fn completed(&self, outcome: Outcome, now_ms: i64) -> Self {
        Self { status: Status::complete(outcome), partitions: BTreeSet::new(), updated_ms: now_ms, ..self.clone() }
    }

    /// Whether nothing happened since `before_ms` and nothing is open.
    pub(super) fn is_idle_since(&self, before_ms: i64) -> bool {
        let idle = matches!(self.status, Status::Empty | Status::CompleteCommit | Status::CompleteAbort);
        idle && self.updated_ms < before_ms
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
