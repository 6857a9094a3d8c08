//! Random histories of one log against a naive twin.
//!
//! `LUMENBUS_MODEL_CASES` says how many, `LUMENBUS_MODEL_SEED` repeats those of a seed that a failure named.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

const CASES_VARIABLE: &str = "LUMENBUS_MODEL_CASES";
const SEED_VARIABLE: &str = "LUMENBUS_MODEL_SEED";
const PRODUCER_ID: i64 = 1;

/// What may happen to a log.
#[derive(Debug, Clone)]
enum Step {
    /// One batch for each list of value sizes, appended together.
    Append {
        batches: Vec<Vec<usize>>,
        codec: i16,
    },
    /// By an idempotent producer.
    Produce(Vec<usize>),
    /// The producer's last batch once more.
    Repeat,
    Read {
        at: prop::sample::Index,
        budget: usize,
    },
    DeleteBelow {
        at: prop::sample::Index,
    },
    Configure {
        segment_bytes: u32,
        retention_bytes: Option<u32>,
    },
    Housekeeping,
    CleanRestart,
    /// The process dies; what it wrote is with the operating system.
    Kill,
    /// The machine dies: of every file, anything behind what was synced may be missing.
    PowerFailure {
        cuts: Vec<prop::sample::Index>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = || proptest::collection::vec(0_usize..400, 1..6);
    let any_index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (proptest::collection::vec(sizes(), 1..3), 0_i16..5)
            .prop_map(|(batches, codec)| Step::Append { batches, codec }),
        4 => sizes().prop_map(Step::Produce),
        1 => Just(Step::Repeat),
        4 => (any_index(), 0_usize..3000).prop_map(|(at, budget)| Step::Read { at, budget }),
        1 => any_index().prop_map(|at| Step::DeleteBelow { at }),
        1 => (6000_u32..9000, proptest::option::of(0_u32..20_000))
            .prop_map(|(segment_bytes, retention_bytes)| Step::Configure { segment_bytes, retention_bytes }),
        2 => Just(Step::Housekeeping),
        1 => Just(Step::CleanRestart),
        1 => Just(Step::Kill),
        2 => proptest::collection::vec(any_index(), 1..8).prop_map(|cuts| Step::PowerFailure { cuts }),
    ]
}

/// The naive twin: a list of values and where it starts.
#[derive(Debug, Default)]
struct Model {
    values: Vec<Vec<u8>>,
    start: usize,
    /// Values that a power failure must leave, and the length of every log file that holds them.
    synced: usize,
    synced_bytes: BTreeMap<OsString, u64>,
    retention_bytes: Option<u32>,
    now_ms: i64,
    /// The producer's batches: base offset, first sequence and values.
    produced: Vec<(usize, i32, Vec<Vec<u8>>)>,
}

impl Model {
    fn new() -> Self {
        Self { now_ms: NOW, ..Self::default() }
    }

    fn add(&mut self, sizes: &[usize]) -> Vec<Vec<u8>> {
        let first = self.values.len();
        let added: Vec<_> = sizes.iter().enumerate().map(|(i, size)| value(first + i, *size)).collect();
        self.values.extend(added.iter().cloned());
        added
    }

    fn next_sequence(&self) -> i32 {
        self.produced.last().map_or(0, |(_, sequence, values)| sequence + i32::try_from(values.len()).unwrap())
    }

    /// What a power failure took.
    fn lose_behind(&mut self, end: usize) {
        self.values.truncate(end);
        self.produced.retain(|(base, _, values)| base + values.len() <= end);
    }
}

/// A log under test, and its twin.
struct Twins {
    dir: tempfile::TempDir,
    store: Option<LogStore>,
    model: Model,
}

fn batch(values: &[Vec<u8>]) -> BatchSpec {
    BatchSpec::values(&values.iter().map(Vec::as_slice).collect::<Vec<_>>(), NOW)
}

fn offset(number: usize) -> i64 {
    i64::try_from(number).unwrap()
}

impl Twins {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = with_topic(dir.path(), &[("segment.bytes", "7000"), ("index.interval.bytes", "300")]);
        Self { dir, store: Some(store), model: Model::new() }
    }

    fn store(&self) -> &LogStore {
        self.store.as_ref().unwrap()
    }

    fn log(&self) -> Arc<Partition> {
        self.store().partition("t", 0).unwrap()
    }

    fn pick(&self, at: prop::sample::Index) -> usize {
        self.model.start + at.index(self.model.values.len() - self.model.start + 1)
    }

    fn check(&self, from: usize, budget: usize) {
        let records = read_from(&self.log(), offset(from), budget);
        let values: Vec<_> = records.into_iter().map(|record| record.value.unwrap()).collect();
        assert_eq!(values, self.model.values[from..]);
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Append { batches, codec } => {
                let first = self.model.values.len();
                let mut records = Vec::new();
                for sizes in &batches {
                    records.extend_from_slice(&batch(&self.model.add(sizes)).compressed(codec).bytes());
                }
                assert_eq!(append(&self.log(), records.into()).unwrap().base_offset, offset(first));
            }
            Step::Produce(sizes) => {
                let (first, sequence) = (self.model.values.len(), self.model.next_sequence());
                let values = self.model.add(&sizes);
                let records = batch(&values).producer(PRODUCER_ID, 0, sequence).bytes();
                let appended = append(&self.log(), records).unwrap();
                assert_eq!((appended.base_offset, appended.duplicate), (offset(first), false));
                self.model.produced.push((first, sequence, values));
            }
            Step::Repeat => self.repeat(),
            Step::Read { at, budget } => self.check(self.pick(at), budget),
            Step::DeleteBelow { at } => {
                let (before, start) = (self.model.start, offset(self.pick(at)));
                self.model.start = self.pick(at);
                assert_eq!(self.store().delete_records("t", 0, start).unwrap(), start);
                // Nothing leaves the log that a power failure could still take.
                assert!(self.model.start == before || self.log().recovery_point() >= start);
                if self.log().recovery_point() == offset(self.model.values.len()) {
                    self.note_synced();
                }
            }
            Step::Configure { segment_bytes, retention_bytes } => {
                self.model.retention_bytes = retention_bytes;
                let retention = retention_bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
                let settings = [("segment.bytes", &*segment_bytes.to_string()), ("retention.bytes", &*retention)];
                self.store().set_config("t", &overrides(&settings)).unwrap();
            }
            Step::Housekeeping => self.keep_house(),
            Step::CleanRestart => {
                self.store().close().unwrap();
                self.note_synced();
                let report = self.open();
                assert!(report.clean && report.scanned_bytes == 0 && report.notes.is_empty(), "{report:?}");
            }
            Step::Kill => {
                let report = self.open();
                assert!(!report.clean && report.truncated_bytes == 0, "{report:?}");
            }
            Step::PowerFailure { cuts } => self.lose_power(&cuts),
        }
    }

    fn repeat(&self) {
        let Some((base, sequence, values)) = self.model.produced.last() else { return };
        let records = batch(values).producer(PRODUCER_ID, 0, *sequence).bytes();
        let appended = append(&self.log(), records).unwrap();
        assert_eq!((appended.base_offset, appended.duplicate), (offset(*base), true));
    }

    fn keep_house(&mut self) {
        self.model.now_ms += 60_000;
        let before = self.log().size_bytes();
        let report = self.store().run_housekeeping(self.model.now_ms);
        assert_eq!(report.errors, Vec::<String>::new());
        let (log, start) = (self.log(), usize::try_from(self.log().log_start_offset()).unwrap());
        assert!(start >= self.model.start && start <= self.model.values.len());
        if let Some(limit) = self.model.retention_bytes.filter(|_| start > self.model.start) {
            assert!(before > u64::from(limit) && log.size_bytes() >= u64::from(limit), "{before} {limit}");
        }
        self.model.start = start;
        self.note_synced();
    }

    fn note_synced(&mut self) {
        assert_eq!(self.log().recovery_point(), offset(self.model.values.len()));
        self.model.synced = self.model.values.len();
        let logs = files(self.dir.path(), "t-0", "log");
        let length = |path: &std::path::PathBuf| fs::metadata(path).unwrap().len();
        self.model.synced_bytes =
            logs.iter().map(|path| (path.file_name().unwrap().to_owned(), length(path))).collect();
    }

    fn open(&mut self) -> RecoveryReport {
        self.store = None;
        let (store, report) = open_reported(self.dir.path());
        assert_eq!(report.offline_partitions, 0, "{report:?}");
        self.store = Some(store);
        report
    }

    fn lose_power(&mut self, cuts: &[prop::sample::Index]) {
        self.store = None;
        let mut cuts = cuts.iter().cycle();
        for extension in ["log", "index", "timeindex", "txnindex"] {
            for path in files(self.dir.path(), "t-0", extension) {
                let length = fs::metadata(&path).unwrap().len();
                let synced = match extension {
                    "log" => self.model.synced_bytes.get(path.file_name().unwrap()).copied().unwrap_or(0),
                    _ => 0,
                };
                let lost = cuts.next().unwrap().index(usize::try_from(length - synced).unwrap() + 1);
                fs::File::options().write(true).open(&path).unwrap().set_len(length - lost as u64).unwrap();
            }
        }
        let report = self.open();
        assert!(!report.clean, "{report:?}");
        let end = usize::try_from(self.log().high_watermark()).unwrap();
        assert!(end >= self.model.synced.max(self.model.start) && end <= self.model.values.len(), "{end} {report:?}");
        self.model.lose_behind(end);
        self.check(self.model.start, 1 << 20);
    }
}

fn runs_alike(steps: Vec<Step>) {
    let mut twins = Twins::new();
    for step in steps {
        twins.apply(step);
        assert_eq!(twins.log().high_watermark(), offset(twins.model.values.len()));
        assert_eq!(twins.log().log_start_offset(), offset(twins.model.start));
    }
    twins.check(twins.model.start, 1 << 20);
}

/// Runs histories, as many as a variable says or else `default`, and names the seed that repeats a failure.
pub(super) fn histories<S: Strategy>(default: u32, strategy: &S, run: impl Fn(S::Value)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let cases = number(CASES_VARIABLE).map_or(default, |cases| u32::try_from(cases).unwrap());
    let seed = number(SEED_VARIABLE).unwrap_or_else(rand::random);
    println!("{cases} histories of {SEED_VARIABLE}={seed}");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.to_le_bytes().repeat(4));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new_with_rng(config, rng).run(strategy, |history| {
        run(history);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{SEED_VARIABLE}={seed}: {failure}");
    }
}

#[test]
fn a_log_behaves_like_a_list() {
    histories(100, &proptest::collection::vec(step(), 1..60), runs_alike);
}
