use super::transactions::{COMPACTED, Writer, compact, delivered};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What may happen to a compacted log with transactions.
#[derive(Debug, Clone)]
enum Step {
    Write { producer: usize, key: u8 },
    End { producer: usize, outcome: Outcome },
    Plain { key: u8 },
    Compact,
    Restart { clean: bool },
    LoseIndexes,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
    prop_oneof![
        10 => (0_usize..3, 0_u8..5).prop_map(|(producer, key)| Step::Write { producer, key }),
        6 => (0_usize..3, outcome).prop_map(|(producer, outcome)| Step::End { producer, outcome }),
        3 => (0_u8..5).prop_map(|key| Step::Plain { key }),
        4 => Just(Step::Compact),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
        1 => Just(Step::LoseIndexes),
    ]
}

/// The naive twin: every record with its fate.
#[derive(Debug, Default)]
struct Model {
    records: Vec<(u8, Vec<u8>, Option<Outcome>)>,
    open: [Vec<usize>; 3],
}

impl Model {
    fn value(&self, key: u8) -> Vec<u8> {
        let mut value = vec![key];
        value.extend(value_of(self.records.len()));
        value
    }

    fn end(&mut self, producer: usize, outcome: Outcome) {
        for at in std::mem::take(&mut self.open[producer]) {
            self.records[at].2 = Some(outcome);
        }
    }

    /// The newest committed value of every key, as far as everything is decided.
    fn table(&self) -> BTreeMap<u8, Vec<u8>> {
        let stable = self.records.iter().position(|(_, _, fate)| fate.is_none()).unwrap_or(self.records.len());
        let kept = self.records[..stable].iter().filter(|(_, _, fate)| *fate == Some(Outcome::Commit));
        kept.map(|(key, value, _)| (*key, value.clone())).collect()
    }
}

fn value_of(number: usize) -> Vec<u8> {
    value(number, 60)
}

/// What a reader of committed records ends up with.
fn table(log: &Partition, budget: usize) -> BTreeMap<u8, Vec<u8>> {
    delivered(log, budget).into_iter().map(|value| (value[0], value)).collect()
}

struct Bench {
    dir: tempfile::TempDir,
    store: Option<LogStore>,
    writers: Vec<Writer>,
    model: Model,
    now_ms: i64,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(with_topic(dir.path(), &COMPACTED).0);
        Self { dir, store, writers: (0..3).map(Writer::new).collect(), model: Model::default(), now_ms: NOW }
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
        self.writers[producer].end(&self.log(), outcome);
        self.model.end(producer, outcome);
    }

    fn apply(&mut self, step: &Step) {
        let log = self.log();
        match *step {
            Step::Write { producer, key } => {
                let value = self.model.value(key);
                self.writers[producer].put(&log, &[key], &value);
                self.model.open[producer].push(self.model.records.len());
                self.model.records.push((key, value, None));
            }
            Step::End { producer, outcome } => self.end(producer, outcome),
            Step::Plain { key } => {
                let value = self.model.value(key);
                let records = vec![(Some(vec![key]), Some(value.clone()))];
                append(&log, BatchSpec::records(records, NOW).bytes()).unwrap();
                self.model.records.push((key, value, Some(Outcome::Commit)));
            }
            Step::Compact => self.compact(),
            Step::Restart { clean } => {
                if clean {
                    self.store.as_ref().unwrap().close().unwrap();
                }
                self.reopen("none of them");
            }
            Step::LoseIndexes => self.reopen("txnindex"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn compaction_changes_nothing_for_readers_of_committed_records(
        steps in proptest::collection::vec(step(), 1..120),
        budget in 1_usize..2000,
    ) {
        let mut bench = Bench::new();
        for step in &steps {
            bench.apply(step);
            prop_assert_eq!(table(&bench.log(), budget), bench.model.table(), "{:?}", step);
        }
        (0..3).for_each(|producer| bench.end(producer, Outcome::Abort));
        // Several passes, so that markers and emptied batches go as well; then everything is read from the log alone.
        for _ in 0..3 {
            bench.compact();
            bench.reopen("snapshot");
            let log = bench.log();
            prop_assert_eq!(log.last_stable_offset(), log.high_watermark());
            prop_assert_eq!(table(&log, budget), bench.model.table());
        }
    }
}
