//! What a partition remembers of idempotent producers, so that a repeated batch is answered and not stored again.
//!
//! Rules as in Kafka's `ProducerStateManager`/`ProducerAppendInfo`: the last five batches of a producer are known,
//! an older epoch is fenced, a new epoch begins at sequence 0, and a producer nobody remembers may begin anywhere.

mod snapshot;

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::aborted::AbortedTransaction;
use super::batch::BatchHeader;
use super::control::{Marker, Outcome};
use super::error::LogError;
use super::partition::AppendOrigin;

pub(crate) use snapshot::{load_snapshot, snapshot_path, write_snapshot};

/// Batches remembered per producer: what a client may have in flight.
const WINDOW: usize = 5;
const NO_SEQUENCE: i32 = -1;
const NO_COORDINATOR: i32 = -1;

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SequencedBatch {
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp_ms: i64,
}

impl SequencedBatch {
    fn of(header: &BatchHeader) -> Self {
        Self {
            last_sequence: advance(header.base_sequence, header.last_offset_delta),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp_ms: header.max_timestamp,
        }
    }

    fn is(&self, header: &BatchHeader) -> bool {
        self.offset_delta == header.last_offset_delta
            && self.last_sequence == advance(header.base_sequence, header.last_offset_delta)
    }
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    seen_ms: i64,
    /// Oldest first, at most [`WINDOW`].
    batches: VecDeque<SequencedBatch>,
    /// Of the coordinator that wrote the last marker.
    coordinator_epoch: i32,
    /// First offset of the transaction that is open here.
    open_from: Option<i64>,
}

impl Producer {
    fn new(epoch: i16, seen_ms: i64) -> Self {
        let batches = VecDeque::with_capacity(WINDOW);
        Self { epoch, seen_ms, batches, coordinator_epoch: NO_COORDINATOR, open_from: None }
    }

    /// A newer epoch begins with an empty window.
    fn enter_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }
}

/// A batch that is in the log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) timestamp_ms: i64,
}

/// A transaction that has records in a partition and no marker yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenTransaction {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
}

/// One producer as DescribeProducers tells it; -1 stands for what there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerView {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) last_sequence: i32,
    pub(crate) last_timestamp_ms: i64,
    pub(crate) coordinator_epoch: i32,
    pub(crate) transaction_start_offset: i64,
}

/// What compaction has to leave of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) epoch: i16,
    /// Of its newest data batch; a producer may be known by a marker alone.
    pub(crate) last_offset: Option<i64>,
}

/// The last data batch of an append so far.
#[derive(Debug, Clone, Copy)]
struct Pending {
    producer: (i64, i16),
    last_sequence: i32,
    transactional: bool,
}

/// All producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    entries: HashMap<i64, Producer>,
    /// Producer by the first offset of its open transaction.
    open: BTreeMap<i64, i64>,
}

impl Producers {
    /// Judges the batches of one append; `Some` when all of them are repeats.
    pub(crate) fn check<'a>(
        &self,
        headers: impl Iterator<Item = &'a BatchHeader>,
        origin: AppendOrigin,
    ) -> Result<Option<Duplicate>, LogError> {
        let mut headers = headers.filter(|header| header.has_producer());
        match origin {
            AppendOrigin::Client => self.check_sent(headers),
            // The coordinators number nothing; only their epochs say whether they are late.
            AppendOrigin::Coordinator => headers.try_for_each(|header| self.check_epoch(header)).map(|()| None),
        }
    }

    fn check_sent<'a>(&self, headers: impl Iterator<Item = &'a BatchHeader>) -> Result<Option<Duplicate>, LogError> {
        let mut duplicate: Option<Duplicate> = None;
        let mut pending: Option<Pending> = None;
        for header in headers {
            if pending.is_none()
                && let Some(known) = self.find_duplicate(header)
            {
                let base_offset = duplicate.map_or(known.base_offset, |first| first.base_offset);
                duplicate = Some(Duplicate { base_offset, ..known });
                continue;
            }
            if duplicate.is_some() {
                return Err(out_of_order(header, NO_SEQUENCE));
            }
            let producer = (header.producer_id, header.producer_epoch);
            let transactional = header.is_transactional();
            match pending.filter(|before| before.producer == producer) {
                Some(before) if !follows(before.last_sequence, header.base_sequence) => {
                    return Err(out_of_order(header, before.last_sequence));
                }
                Some(before) if before.transactional && !transactional => return Err(not_transactional(header)),
                Some(_) => {}
                None => self.check_sequence(header)?,
            }
            let last_sequence = advance(header.base_sequence, header.last_offset_delta);
            pending = Some(Pending { producer, last_sequence, transactional });
        }
        Ok(duplicate)
    }

    fn find_duplicate(&self, header: &BatchHeader) -> Option<Duplicate> {
        let producer = self.entries.get(&header.producer_id).filter(|known| known.epoch == header.producer_epoch)?;
        let batch = producer.batches.iter().find(|batch| batch.is(header))?;
        Some(Duplicate {
            base_offset: batch.last_offset - i64::from(batch.offset_delta),
            last_offset: batch.last_offset,
            timestamp_ms: batch.timestamp_ms,
        })
    }

    fn check_epoch(&self, header: &BatchHeader) -> Result<(), LogError> {
        match self.entries.get(&header.producer_id) {
            Some(producer) if header.producer_epoch < producer.epoch => Err(LogError::InvalidProducerEpoch {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current: producer.epoch,
            }),
            _ => Ok(()),
        }
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), LogError> {
        self.check_epoch(header)?;
        let Some(producer) = self.entries.get(&header.producer_id) else {
            return Ok(());
        };
        let last = if header.producer_epoch == producer.epoch { producer.last_sequence() } else { NO_SEQUENCE };
        if !follows(last, header.base_sequence) {
            return Err(out_of_order(header, last));
        }
        match producer.open_from {
            Some(_) if !header.is_transactional() => Err(not_transactional(header)),
            _ => Ok(()),
        }
    }

    /// Remembers an appended batch; `header` carries its final offsets, `marker` is what a control batch says.
    /// Answers the transaction that was aborted by it.
    pub(crate) fn record(
        &mut self,
        header: &BatchHeader,
        marker: Option<Marker>,
        seen_ms: i64,
    ) -> Option<AbortedTransaction> {
        if !header.has_producer() {
            return None;
        }
        let new = || Producer::new(header.producer_epoch, seen_ms);
        let producer = self.entries.entry(header.producer_id).or_insert_with(new);
        producer.enter_epoch(header.producer_epoch);
        producer.seen_ms = seen_ms;
        if header.is_control() {
            return self.end(header, marker?);
        }
        if producer.batches.len() == WINDOW {
            producer.batches.pop_front();
        }
        producer.batches.push_back(SequencedBatch::of(header));
        if header.is_transactional() && producer.open_from.is_none() {
            producer.open_from = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
        None
    }

    fn end(&mut self, header: &BatchHeader, marker: Marker) -> Option<AbortedTransaction> {
        let producer = self.entries.get_mut(&header.producer_id)?;
        producer.coordinator_epoch = marker.coordinator_epoch;
        let first_offset = producer.open_from.take()?;
        self.open.remove(&first_offset);
        (marker.outcome == Outcome::Abort).then(|| AbortedTransaction {
            producer_id: header.producer_id,
            first_offset,
            last_offset: header.last_offset(),
            last_stable_offset: self.first_open_offset().unwrap_or(header.last_offset() + 1),
        })
    }

    /// Where the oldest open transaction begins.
    pub(crate) fn first_open_offset(&self) -> Option<i64> {
        self.open.first_key_value().map(|(offset, _)| *offset)
    }

    /// The open transactions, oldest first.
    pub(crate) fn open_transactions(&self) -> Vec<OpenTransaction> {
        let open = self.open.values().filter_map(|id| Some((id, self.entries.get(id)?)));
        open.map(|(id, producer)| OpenTransaction { producer_id: *id, producer_epoch: producer.epoch }).collect()
    }

    /// Whether a marker of this epoch would change anything here.
    pub(crate) fn awaits_marker(&self, producer_id: i64, epoch: i16) -> bool {
        self.entries.get(&producer_id).is_some_and(|producer| producer.open_from.is_some() || producer.epoch < epoch)
    }

    /// Forgets a producer unless its transaction is open.
    pub(crate) fn forget_closed(&mut self, producer_id: i64) {
        if self.entries.get(&producer_id).is_some_and(|producer| producer.open_from.is_none()) {
            self.entries.remove(&producer_id);
        }
    }

    /// Every producer, in order of their ids.
    pub(crate) fn views(&self) -> Vec<ProducerView> {
        let view = |(id, producer): (&i64, &Producer)| ProducerView {
            producer_id: *id,
            producer_epoch: producer.epoch,
            last_sequence: producer.last_sequence(),
            last_timestamp_ms: producer.batches.back().map_or(producer.seen_ms, |batch| batch.timestamp_ms),
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start_offset: producer.open_from.unwrap_or(-1),
        };
        let mut views: Vec<_> = self.entries.iter().map(view).collect();
        views.sort_unstable_by_key(|view| view.producer_id);
        views
    }

    /// Forgets producers silent for `expiry_ms`, and beyond `limit` the longest silent tenth; never one with an open
    /// transaction.
    pub(crate) fn expire(&mut self, now_ms: i64, expiry_ms: i64, limit: usize) {
        let oldest = now_ms.saturating_sub(expiry_ms);
        self.entries.retain(|_, producer| producer.seen_ms >= oldest || producer.open_from.is_some());
        self.enforce(limit);
    }

    pub(crate) fn enforce(&mut self, limit: usize) {
        if self.entries.len() <= limit {
            return;
        }
        let idle = self.entries.iter().filter(|(_, producer)| producer.open_from.is_none());
        let mut by_age: Vec<(i64, i64)> = idle.map(|(id, producer)| (producer.seen_ms, *id)).collect();
        by_age.sort_unstable();
        let surplus = self.entries.len() - limit + limit / 10;
        for (_, id) in by_age.into_iter().take(surplus) {
            self.entries.remove(&id);
        }
    }

    /// What compaction has to leave of a producer.
    pub(crate) fn newest(&self, producer_id: i64) -> Option<Newest> {
        let producer = self.entries.get(&producer_id)?;
        let last_offset = producer.batches.back().map(|batch| batch.last_offset);
        Some(Newest { epoch: producer.epoch, last_offset })
    }
}

/// Sequence numbers run 0..=i32::MAX and around.
fn advance(sequence: i32, by: i32) -> i32 {
    let next = (i64::from(sequence) + i64::from(by)) % (i64::from(i32::MAX) + 1);
    i32::try_from(next).unwrap_or(NO_SEQUENCE)
}

fn follows(last: i32, next: i32) -> bool {
    next == advance(last, 1)
}

fn not_transactional(header: &BatchHeader) -> LogError {
    LogError::InvalidTransaction {
        producer_id: header.producer_id,
        reason: "its transaction is open, and this batch does not belong to one",
    }
}

fn out_of_order(header: &BatchHeader, last: i32) -> LogError {
    LogError::OutOfOrderSequence {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        sequence: header.base_sequence,
        last,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::log::batch::tests::BatchSpec;

    pub(super) fn header(id: i64, epoch: i16, sequence: i32, count: usize, offset: i64) -> BatchHeader {
        let values = vec![&b"v"[..]; count];
        let batch = BatchSpec::values(&values, 5).producer(id, epoch, sequence).bytes();
        BatchHeader { base_offset: offset, ..BatchHeader::parse(&batch).unwrap() }
    }

    fn check(producers: &Producers, header: &BatchHeader) -> Result<Option<Duplicate>, i16> {
        producers.check(std::iter::once(header), AppendOrigin::Client).map_err(|error| error.kafka_code())
    }

    #[test]
    fn window_answers_the_last_five_batches_only() {
        let mut producers = Producers::default();
        for i in 0..6 {
            let next = header(1, 0, i * 2, 2, i64::from(i) * 2);
            assert_eq!(check(&producers, &next), Ok(None));
            producers.record(&next, None, 100);
        }
        for i in 1..6 {
            let again = check(&producers, &header(1, 0, i * 2, 2, 0)).unwrap().unwrap();
            assert_eq!((again.base_offset, again.last_offset), (i64::from(i) * 2, i64::from(i) * 2 + 1));
        }
        assert_eq!(check(&producers, &header(1, 0, 0, 2, 0)), Err(45));
        assert_eq!(check(&producers, &header(1, 0, 13, 1, 0)), Err(45));
        assert_eq!(check(&producers, &header(1, 0, 12, 1, 0)), Ok(None));
    }

    #[test]
    fn sequences_wrap_and_epochs_fence() {
        let mut producers = Producers::default();
        assert_eq!(check(&producers, &header(1, 3, 77, 1, 0)), Ok(None), "unknown producers begin anywhere");
        producers.record(&header(1, 3, i32::MAX - 1, 3, 0), None, 100);
        assert!(check(&producers, &header(1, 3, i32::MAX - 1, 3, 0)).unwrap().is_some());
        assert_eq!(check(&producers, &header(1, 3, 1, 1, 3)), Ok(None), "MAX-1, MAX, 0 is followed by 1");
        assert_eq!(check(&producers, &header(1, 2, 1, 1, 3)), Err(47));
        assert_eq!(check(&producers, &header(1, 4, 5, 1, 3)), Err(45), "a new epoch begins at 0");
        assert_eq!(check(&producers, &header(1, 4, 0, 1, 3)), Ok(None));
    }

    #[test]
    fn several_batches_of_one_append_are_judged_together() {
        let mut producers = Producers::default();
        let (first, second, gap) = (header(1, 0, 0, 2, 0), header(1, 0, 2, 2, 2), header(1, 0, 5, 1, 4));
        assert!(matches!(producers.check([&first, &second].into_iter(), AppendOrigin::Client), Ok(None)));
        assert!(producers.check([&first, &gap].into_iter(), AppendOrigin::Client).is_err());
        producers.record(&first, None, 1);
        producers.record(&second, None, 1);
        let both = producers.check([&first, &second].into_iter(), AppendOrigin::Client).unwrap().unwrap();
        assert_eq!((both.base_offset, both.last_offset), (0, 3));
        assert!(producers.check([&second, &gap].into_iter(), AppendOrigin::Client).is_err(), "half repeated, half new");
    }

    #[test]
    fn silent_producers_are_forgotten_and_the_count_is_bounded() {
        let mut producers = Producers::default();
        for id in 0..100 {
            producers.record(&header(id, 0, 0, 1, id), None, id);
        }
        producers.expire(100, 60, 1000);
        assert_eq!(producers.entries.len(), 60);
        producers.enforce(20);
        assert!(producers.entries.len() <= 20);
        assert!(producers.entries.contains_key(&99) && !producers.entries.contains_key(&50));
    }
}
