//! Random histories of a compacted log with transactions against a naive twin: a list of records, each with its fate.

use super::model::histories;
use super::transactions::{COMPACTED, compact, delivered_records};
use super::*;
use crate::log::batch::ATTRIBUTE_TRANSACTIONAL;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PRODUCERS: usize = 3;
const COORDINATOR_EPOCH: i32 = 4;

/// Keys, and how many bytes their values have more than their number; `None`: a tombstone.
type Writes = Vec<(u8, Option<usize>)>;

/// What may happen to a compacted log with transactions.
#[derive(Debug, Clone)]
enum Step {
    Write { producer: usize, writes: Writes },
    End { producer: usize, outcome: Outcome },
    Plain(Writes),
    Compact,
    Restart { clean: bool },
    LoseIndexes,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
    let writes = || {
        let value = prop_oneof![4 => (20_usize..100).prop_map(Some), 1 => Just(None)];
        proptest::collection::vec((0_u8..6, value), 1..4)
    };
    prop_oneof![
        10 => (0..PRODUCERS, writes()).prop_map(|(producer, writes)| Step::Write { producer, writes }),
        7 => (0..PRODUCERS, outcome).prop_map(|(producer, outcome)| Step::End { producer, outcome }),
        3 => writes().prop_map(Step::Plain),
        4 => Just(Step::Compact),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
        1 => Just(Step::LoseIndexes),
    ]
}

#[derive(Debug, Clone)]
struct Entry {
    offset: i64,
    key: u8,
    value: Option<Vec<u8>>,
    /// `None` while its transaction is open.
    fate: Option<Outcome>,
}

impl Entry {
    fn is(&self, stored: &Stored) -> bool {
        self.offset == stored.offset && stored.key.as_deref() == Some(&[self.key]) && stored.value == self.value
    }
}

type Table = BTreeMap<u8, Vec<u8>>;

fn apply(table: &mut Table, key: u8, value: Option<Vec<u8>>) {
    match value {
        Some(value) => drop(table.insert(key, value)),
        None => drop(table.remove(&key)),
    }
}

/// The naive twin.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    /// The next offset; markers take one as well.
    end: i64,
    /// Entries of each producer's open transaction.
    open: [Vec<usize>; PRODUCERS],
}

impl Model {
    fn add(&mut self, writes: &Writes, fate: Option<Outcome>) -> BatchSpec {
        let mut records = Vec::new();
        for (key, len) in writes {
            let value = len.map(|len| value(self.entries.len(), len));
            records.push((Some(vec![*key]), value.clone()));
            self.entries.push(Entry { offset: self.end, key: *key, value, fate });
            self.end += 1;
        }
        BatchSpec::records(records, NOW)
    }

    fn stable(&self) -> i64 {
        self.entries.iter().find(|entry| entry.fate.is_none()).map_or(self.end, |entry| entry.offset)
    }

    /// What is committed, as far as everything is decided.
    fn committed(&self) -> impl Iterator<Item = &Entry> {
        let stable = self.stable();
        self.entries.iter().filter(move |entry| entry.fate == Some(Outcome::Commit) && entry.offset < stable)
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        self.committed().for_each(|entry| apply(&mut table, entry.key, entry.value.clone()));
        table
    }
}

/// Every record, whatever its transaction came to.
fn uncommitted(log: &Partition, budget: usize) -> Vec<Stored> {
    let mut stored = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.high_watermark() {
        let slice = log.read(next, budget, FirstBatch::Whole).unwrap();
        let mut rest = &slice.records[..];
        assert!(!rest.is_empty(), "nothing at {next}");
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).unwrap();
            let (batch, after) = rest.split_at(header.size);
            if !header.is_control() {
                stored.extend(decode(batch));
            }
            (rest, next) = (after, header.last_offset() + 1);
        }
    }
    stored
}

/// A log under test, and its twin.
struct Twins {
    dir: tempfile::TempDir,
    store: Option<LogStore>,
    sequences: [i32; PRODUCERS],
    model: Model,
    now_ms: i64,
    budget: usize,
}

impl Twins {
    fn new(budget: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(with_topic(dir.path(), &COMPACTED).0);
        Self { dir, store, sequences: [0; PRODUCERS], model: Model::default(), now_ms: NOW, budget }
    }

    fn log(&self) -> Arc<Partition> {
        self.store.as_ref().unwrap().partition("t", 0).unwrap()
    }

    fn compact(&mut self) {
        self.now_ms += 60_000;
        compact(self.store.as_ref().unwrap(), self.now_ms);
    }

    /// Opens the store anew, without the files of a kind.
    fn reopen(&mut self, lost: &str) {
        drop(self.store.take());
        files(self.dir.path(), "t-0", lost).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        self.store = Some(open(self.dir.path()));
    }

    fn end(&mut self, producer: usize, outcome: Outcome) {
        let id = i64::try_from(producer).unwrap();
        self.log().end_transaction((id, 0), outcome, COORDINATOR_EPOCH, NOW).unwrap();
        let ended = std::mem::take(&mut self.model.open[producer]);
        // Where nothing is open there is nothing to mark.
        self.model.end += i64::from(!ended.is_empty());
        for at in ended {
            self.model.entries[at].fate = Some(outcome);
        }
    }

    fn apply(&mut self, step: &Step) {
        let log = self.log();
        match step {
            Step::Write { producer, writes } => {
                let first = self.model.entries.len();
                let id = i64::try_from(*producer).unwrap();
                let batch = self.model.add(writes, None).producer(id, 0, self.sequences[*producer]);
                append(&log, batch.attributes(ATTRIBUTE_TRANSACTIONAL).bytes()).unwrap();
                self.sequences[*producer] += i32::try_from(writes.len()).unwrap();
                self.model.open[*producer].extend(first..self.model.entries.len());
            }
            Step::End { producer, outcome } => self.end(*producer, *outcome),
            Step::Plain(writes) => {
                append(&log, self.model.add(writes, Some(Outcome::Commit)).bytes()).unwrap();
            }
            Step::Compact => self.compact(),
            Step::Restart { clean } => {
                if *clean {
                    self.store.as_ref().unwrap().close().unwrap();
                }
                self.reopen("none of them");
            }
            Step::LoseIndexes => self.reopen("txnindex"),
        }
    }

    /// Both kinds of readers see what the twin holds, and all of it where nothing was compacted.
    fn check(&self) {
        let (log, model) = (self.log(), &self.model);
        assert_eq!((log.high_watermark(), log.last_stable_offset()), (model.end, model.stable()));
        let delivered = delivered_records(&log, self.budget);
        let mut table = Table::new();
        delivered.iter().for_each(|one| apply(&mut table, one.key.as_ref().unwrap()[0], one.value.clone()));
        assert_eq!(table, model.table());
        let clean = log.clean_offset();
        holds(&delivered, &model.committed().collect::<Vec<_>>(), clean);
        holds(&uncommitted(&log, self.budget), &model.entries.iter().collect::<Vec<_>>(), clean);
    }
}

/// `seen` is nothing but `entries` in their order, and all of them from `clean` on.
fn holds(seen: &[Stored], entries: &[&Entry], clean: i64) {
    let mut seen = seen.iter().peekable();
    for entry in entries {
        let is_seen = seen.next_if(|stored| entry.is(stored)).is_some();
        assert!(is_seen || entry.offset < clean, "{entry:?} is missing, compacted up to {clean}");
    }
    assert_eq!(seen.next(), None, "nobody wrote this");
}

fn runs_alike(steps: &[Step], budget: usize) {
    let mut twins = Twins::new(budget);
    for step in steps {
        twins.apply(step);
        twins.check();
    }
    (0..PRODUCERS).for_each(|producer| twins.end(producer, Outcome::Abort));
    // Several passes, so that markers and emptied batches go as well; then everything is read from the log alone.
    for _ in 0..3 {
        twins.compact();
        twins.reopen("snapshot");
        twins.check();
    }
}

#[test]
fn a_compacted_log_of_transactions_behaves_like_a_list() {
    let histories_of = (proptest::collection::vec(step(), 1..120), 1_usize..2000);
    histories(50, &histories_of, |(steps, budget)| runs_alike(&steps, budget));
}
