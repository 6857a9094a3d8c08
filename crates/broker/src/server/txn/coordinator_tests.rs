use super::*;
use crate::log::{AppendOrigin, Isolation, Overrides, StoreConfig};
use crate::server::group::Committed;
use crate::server::txn::Status;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// A broker without its sockets, opened anew after every crash.
struct Bench {
    store: LogStore,
    offsets: OffsetStore,
    producer_ids: ProducerIds,
    transactions: Transactions,
    now_ms: i64,
}

const NOW: i64 = 1_700_000_000_000;
const TIMEOUT_MS: i32 = 60_000;
const PARTITIONS: i32 = 2;

impl Bench {
    fn open(folder: &Path, now_ms: i64) -> Self {
        let (store, _) = LogStore::open(StoreConfig::new(folder), now_ms).unwrap();
        if store.topic("t").is_none() {
            let settings = Overrides::from([("segment.bytes".to_owned(), "2000".to_owned())]);
            store.create_topic("t", PARTITIONS, &settings).unwrap();
        }
        let (offsets, _) = OffsetStore::open(&store, 1000).unwrap();
        let producer_ids = ProducerIds::open(folder).unwrap();
        let world = World { store: &store, offsets: &offsets, producer_ids: &producer_ids, now_ms };
        let transactions = Transactions::open(TransactionConfig::default(), world).unwrap();
        Self { store, offsets, producer_ids, transactions, now_ms }
    }

    fn world(&self) -> World<'_> {
        let Self { store, offsets, producer_ids, now_ms, .. } = self;
        World { store, offsets, producer_ids, now_ms: *now_ms }
    }

    fn init(&self, id: &str) -> ProducerRef {
        self.transactions.init(self.world(), id, TIMEOUT_MS, None).unwrap()
    }

    fn write(&self, id: &str, producer: ProducerRef, index: i32, value: &str) {
        self.transactions.add(self.world(), id, producer, vec![at(index)]).unwrap();
        self.append(id, producer, index, value).unwrap();
    }

    fn append(&self, id: &str, producer: ProducerRef, index: i32, value: &str) -> Result<(), ResponseError> {
        let entry = (Bytes::copy_from_slice(value.as_bytes()), None);
        let batch = encode_batch(vec![entry], self.now_ms).unwrap();
        let batch = crate::log::within_transaction(&batch, (producer.id, producer.epoch)).unwrap();
        let log = self.store.partition("t", index).unwrap();
        // As a coordinator, so that the test need not number its batches.
        let append = || log.append(&batch.into(), self.now_ms, AppendOrigin::Coordinator);
        self.transactions.write(id, producer, &at(index), append).map(|appended| {
            appended.unwrap();
        })
    }

    fn commit_offset(&self, id: &str, producer: ProducerRef, group: &str, offset: i64) {
        let partition = (OFFSETS_TOPIC.to_owned(), 0);
        self.transactions.add(self.world(), id, producer, vec![partition.clone()]).unwrap();
        let committed = Committed { offset, leader_epoch: -1, metadata: String::new(), committed_ms: self.now_ms };
        let append = || {
            let offsets = [(at(0), committed)];
            self.offsets.commit_within((producer.id, producer.epoch), group, &offsets, self.now_ms).unwrap();
        };
        self.transactions.write(id, producer, &partition, append).unwrap();
    }

    /// Writes the decision down and nothing else, as if the broker died then. `markers`: partitions already told.
    fn decide_only(&self, id: &str, outcome: Outcome, markers: usize) {
        let transaction = self.transactions.get(id).unwrap();
        let next = transaction.end(transaction.producer, outcome, self.now_ms).unwrap().unwrap();
        self.transactions.append(self.world(), vec![(id, Some(encode_value(&next)))]).unwrap();
        for partition in next.partitions.iter().take(markers) {
            self.world().mark(partition, next.producer, outcome, 0).unwrap();
        }
    }

    fn committed_offset(&self, group: &str) -> Option<i64> {
        self.offsets.get(group, &at(0)).map(|committed| committed.offset)
    }

    fn is_settled(&self) -> bool {
        let logs = (0..PARTITIONS).map(|index| self.store.partition("t", index).unwrap());
        let offsets = self.store.partition(OFFSETS_TOPIC, 0).unwrap();
        logs.chain([offsets]).all(|log| log.last_stable_offset() == log.high_watermark())
    }

    /// Keys that a reader of committed records delivers.
    fn delivered(&self, index: i32) -> Vec<String> {
        let log = self.store.partition("t", index).unwrap();
        let mut next = 0;
        let mut keys = Vec::new();
        loop {
            let found = log.read_isolated(next, (500, FirstBatch::Whole), Isolation::Committed).unwrap();
            let mut bytes = found.records;
            if bytes.is_empty() {
                return keys;
            }
            let mut skipped = BTreeSet::new();
            let mut aborted = found.aborted;
            let batches = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
            for record in batches.into_iter().flat_map(|batch| batch.records) {
                aborted.retain(|one| {
                    let is_later = one.first_offset > record.offset;
                    if !is_later {
                        skipped.insert(one.producer_id);
                    }
                    is_later
                });
                next = record.offset + 1;
                if !record.control {
                    let is_lost = skipped.contains(&record.producer_id);
                    keys.extend((!is_lost).then(|| String::from_utf8(record.key.unwrap().to_vec()).unwrap()));
                } else if crate::log::outcome(&record.key.unwrap()) == Some(Outcome::Abort) {
                    skipped.remove(&record.producer_id);
                }
            }
        }
    }
}

fn at(index: i32) -> TopicPartition {
    ("t".to_owned(), index)
}

#[test]
fn decisions_of_before_a_crash_are_carried_out_once() {
    for markers in 0..=3 {
        for (outcome, status) in [(Outcome::Commit, Status::CompleteCommit), (Outcome::Abort, Status::CompleteAbort)] {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::open(folder.path(), NOW);
            let producer = bench.init("one");
            bench.write("one", producer, 0, "a");
            bench.write("one", producer, 1, "b");
            bench.commit_offset("one", producer, "g", 7);
            bench.decide_only("one", outcome, markers);
            drop(bench);
            let bench = Bench::open(folder.path(), NOW);
            assert!(bench.is_settled());
            assert_eq!(bench.transactions.get("one").unwrap().status, status);
            let seen: &[&str] = if outcome == Outcome::Commit { &["a"] } else { &[] };
            assert_eq!(bench.delivered(0), seen);
            assert_eq!(bench.committed_offset("g"), (outcome == Outcome::Commit).then_some(7));
            for index in 0..PARTITIONS {
                let end = bench.store.partition("t", index).unwrap().high_watermark();
                assert_eq!(end, 2, "one record and one marker, however many were there before");
            }
            // The producer goes on as if nothing had happened.
            assert_eq!(bench.transactions.end(bench.world(), "one", producer, outcome), Ok(()));
            bench.write("one", producer, 0, "c");
            assert_eq!(bench.transactions.end(bench.world(), "one", producer, Outcome::Commit), Ok(()));
            assert_eq!(bench.delivered(0).last().unwrap(), "c");
        }
    }
}

#[test]
fn open_transactions_outlive_a_crash_until_their_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), NOW);
    let producer = bench.init("one");
    bench.write("one", producer, 0, "a");
    bench.commit_offset("one", producer, "g", 7);
    drop(bench);
    let mut bench = Bench::open(folder.path(), NOW + 59_999);
    bench.transactions.tick(bench.world());
    assert!(!bench.is_settled() && bench.offsets.is_pending("g", &at(0)));
    bench.now_ms += 1;
    bench.transactions.tick(bench.world());
    assert!(bench.is_settled() && !bench.offsets.is_pending("g", &at(0)));
    assert_eq!(bench.append("one", producer, 0, "late"), Err(ResponseError::InvalidProducerEpoch));
    assert!(bench.delivered(0).is_empty());
    assert_eq!(bench.committed_offset("g"), None);
}

#[test]
fn transactions_that_nobody_knows_are_aborted_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), NOW);
    let producer = bench.init("one");
    bench.write("one", producer, 0, "a");
    bench.commit_offset("one", producer, "g", 7);
    // The machine lost what the broker had written about it.
    bench.transactions.append(bench.world(), vec![("one", None)]).unwrap();
    drop(bench);
    let bench = Bench::open(folder.path(), NOW);
    assert!(bench.is_settled());
    assert!(bench.delivered(0).is_empty());
    assert_eq!(bench.committed_offset("g"), None);
    assert_eq!(bench.transactions.get("one"), None);
}

#[test]
fn idle_ids_are_forgotten_and_begin_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(folder.path(), NOW);
    let idle = bench.init("idle");
    let open = bench.init("open");
    bench.write("open", open, 0, "a");
    bench.now_ms += 7 * 24 * 3_600_000;
    bench.transactions.expire(bench.world());
    assert!(bench.transactions.get("idle").is_some(), "not before the time is over");
    bench.now_ms += 1;
    bench.transactions.expire(bench.world());
    let ids = |bench: &Bench| bench.transactions.all().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(&bench), ["open"]);
    let add = bench.transactions.add(bench.world(), "idle", idle, vec![at(0)]);
    assert_eq!(add, Err(ResponseError::InvalidProducerIdMapping));
    let now_ms = bench.now_ms;
    drop(bench);
    let bench = Bench::open(folder.path(), now_ms);
    assert_eq!(ids(&bench), ["open"]);
    assert_ne!(bench.init("idle").id, idle.id);
}

#[test]
fn partitions_of_deleted_topics_do_not_hold_a_transaction_up() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), NOW);
    let producer = bench.init("one");
    bench.write("one", producer, 0, "a");
    bench.commit_offset("one", producer, "g", 7);
    bench.store.delete_topic("t").unwrap();
    assert_eq!(bench.transactions.end(bench.world(), "one", producer, Outcome::Commit), Ok(()));
    assert_eq!(bench.transactions.get("one").unwrap().status, Status::CompleteCommit);
    assert_eq!(bench.committed_offset("g"), Some(7));
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Init { who: usize },
    Write { who: usize, index: i32 },
    CommitOffset { who: usize },
    End { who: usize, outcome: Outcome },
    DecideAndCrash { who: usize, outcome: Outcome, markers: usize },
    Crash,
    Stop,
    Housekeeping,
    TimeOut,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = || prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
    prop_oneof![
        1 => (0_usize..3).prop_map(|who| Step::Init { who }),
        9 => (0_usize..3, 0..PARTITIONS).prop_map(|(who, index)| Step::Write { who, index }),
        2 => (0_usize..3).prop_map(|who| Step::CommitOffset { who }),
        6 => (0_usize..3, outcome()).prop_map(|(who, outcome)| Step::End { who, outcome }),
        1 => (0_usize..3, outcome(), 0_usize..4)
            .prop_map(|(who, outcome, markers)| Step::DecideAndCrash { who, outcome, markers }),
        1 => Just(Step::Crash),
        1 => Just(Step::Stop),
        1 => Just(Step::Housekeeping),
        1 => Just(Step::TimeOut),
    ]
}

/// The naive twin of one producer.
#[derive(Debug, Default)]
struct Twin {
    producer: Option<ProducerRef>,
    is_open: bool,
    /// Places in the model's lists that its open transaction has written.
    written: Vec<(usize, usize)>,
    offset: Option<i64>,
}

#[derive(Debug, Default)]
struct Model {
    twins: [Twin; 3],
    /// By partition: keys and what became of them.
    keys: [Vec<(String, Option<Outcome>)>; 2],
    committed: [Option<i64>; 3],
}

impl Model {
    fn end(&mut self, who: usize, outcome: Outcome) {
        let twin = &mut self.twins[who];
        twin.is_open = false;
        for (index, at) in twin.written.drain(..) {
            self.keys[index][at].1 = Some(outcome);
        }
        let offset = twin.offset.take();
        if outcome == Outcome::Commit {
            self.committed[who] = offset.or(self.committed[who]);
        }
    }

    fn delivered(&self, index: usize) -> Vec<String> {
        let keys = &self.keys[index];
        let stable = keys.iter().position(|(_, fate)| fate.is_none()).unwrap_or(keys.len());
        let kept = keys[..stable].iter().filter(|(_, fate)| *fate == Some(Outcome::Commit));
        kept.map(|(key, _)| key.clone()).collect()
    }
}

const IDS: [&str; 3] = ["one", "two", "three"];

fn apply(bench: &mut Option<Bench>, folder: &Path, model: &mut Model, step: &Step) {
    let held = bench.as_mut().unwrap();
    match *step {
        Step::Init { who } => {
            if model.twins[who].is_open {
                model.end(who, Outcome::Abort);
            }
            model.twins[who].producer = Some(held.init(IDS[who]));
        }
        Step::Write { who, index } => {
            let Some(producer) = model.twins[who].producer else { return };
            let list = usize::try_from(index).unwrap();
            let key = format!("{index}-{}", model.keys[list].len());
            held.write(IDS[who], producer, index, &key);
            model.twins[who].is_open = true;
            model.twins[who].written.push((list, model.keys[list].len()));
            model.keys[list].push((key, None));
        }
        Step::CommitOffset { who } => {
            let Some(producer) = model.twins[who].producer else { return };
            let offset = i64::try_from(model.keys[0].len()).unwrap();
            held.commit_offset(IDS[who], producer, IDS[who], offset);
            model.twins[who].is_open = true;
            model.twins[who].offset = Some(offset);
        }
        Step::End { who, outcome } => {
            let Some(producer) = model.twins[who].producer.filter(|_| model.twins[who].is_open) else { return };
            assert_eq!(held.transactions.end(held.world(), IDS[who], producer, outcome), Ok(()));
            model.end(who, outcome);
        }
        Step::DecideAndCrash { who, outcome, markers } => {
            if !model.twins[who].is_open {
                return;
            }
            held.decide_only(IDS[who], outcome, markers);
            model.end(who, outcome);
            reopen(bench, folder);
        }
        Step::Crash => reopen(bench, folder),
        Step::Stop => {
            held.store.close().unwrap();
            reopen(bench, folder);
        }
        Step::Housekeeping => {
            held.now_ms += 20_000;
            assert_eq!(held.store.run_housekeeping(held.now_ms).errors, Vec::<String>::new());
            time_out(held, model);
        }
        Step::TimeOut => {
            held.now_ms += i64::from(TIMEOUT_MS);
            time_out(held, model);
        }
    }
}

fn reopen(bench: &mut Option<Bench>, folder: &Path) {
    let now_ms = bench.take().unwrap().now_ms;
    *bench = Some(Bench::open(folder, now_ms));
}

/// Who was timed out has to come again.
fn time_out(bench: &Bench, model: &mut Model) {
    bench.transactions.tick(bench.world());
    for (who, id) in IDS.iter().enumerate() {
        if model.twins[who].is_open && bench.transactions.get(id).unwrap().status == Status::CompleteAbort {
            model.end(who, Outcome::Abort);
            model.twins[who].producer = None;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn committed_readers_see_exactly_the_committed_records_in_order(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Some(Bench::open(folder.path(), NOW));
        let mut model = Model::default();
        for step in &steps {
            apply(&mut bench, folder.path(), &mut model, step);
            let bench = bench.as_ref().unwrap();
            for index in 0..2 {
                prop_assert_eq!(bench.delivered(i32::try_from(index).unwrap()), model.delivered(index), "{:?}", step);
            }
            for (id, expected) in IDS.iter().zip(model.committed) {
                prop_assert_eq!(bench.committed_offset(id), expected, "{:?}", step);
            }
        }
    }
}
