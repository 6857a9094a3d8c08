use super::*;
use crate::log::aborted::AbortedIndex;
use crate::log::disk::{Disk, SystemDisk};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const TRANSACTIONAL: i16 = 0x10;

/// A producer that numbers its batches.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    id: i64,
    epoch: i16,
    sequence: i32,
}

impl Writer {
    pub(super) fn new(id: i64) -> Self {
        Self { id, epoch: 0, sequence: 0 }
    }

    fn batch(&mut self, values: &[&[u8]]) -> BatchSpec {
        let records = values.iter().map(|value| (Some(value.to_vec()), Some(value.to_vec()))).collect();
        let spec = BatchSpec::records(records, NOW).producer(self.id, self.epoch, self.sequence);
        self.sequence += i32::try_from(values.len()).unwrap();
        spec
    }

    pub(super) fn write(&mut self, log: &Partition, values: &[&[u8]]) -> i64 {
        append(log, self.batch(values).attributes(TRANSACTIONAL).bytes()).unwrap().base_offset
    }

    /// Writes one record with a key.
    pub(super) fn put(&mut self, log: &Partition, key: &[u8], value: &[u8]) {
        let records = vec![(Some(key.to_vec()), Some(value.to_vec()))];
        let batch = BatchSpec::records(records, NOW).producer(self.id, self.epoch, self.sequence);
        append(log, batch.attributes(TRANSACTIONAL).bytes()).unwrap();
        self.sequence += 1;
    }

    pub(super) fn end(&self, log: &Partition, outcome: Outcome) {
        log.end_transaction((self.id, self.epoch), outcome, 4, NOW).unwrap();
    }
}

pub(super) fn committed(log: &Partition, offset: i64) -> ReadSlice {
    log.read_isolated(offset, (1 << 20, FirstBatch::Whole), Isolation::Committed).unwrap()
}

/// The values that a client of isolation level read_committed delivers, with reads of at most `budget` bytes.
pub(super) fn delivered(log: &Partition, budget: usize) -> Vec<Vec<u8>> {
    delivered_records(log, budget).into_iter().map(|record| record.value.unwrap()).collect()
}

/// What a client of isolation level read_committed delivers.
pub(super) fn delivered_records(log: &Partition, budget: usize) -> Vec<Stored> {
    try_delivered(log, log.log_start_offset(), budget).unwrap()
}

/// As [`delivered_records`], from an offset on; or why a client that verifies checksums gets no further.
pub(super) fn try_delivered(log: &Partition, from: i64, budget: usize) -> Result<Vec<Stored>, String> {
    let mut next = from;
    let mut records = Vec::new();
    loop {
        let slice = log.read_isolated(next, (budget, FirstBatch::Whole), Isolation::Committed);
        let slice = slice.map_err(|error| error.to_string())?;
        if slice.records.is_empty() {
            let is_all = next >= slice.last_stable_offset;
            return if is_all { Ok(records) } else { Err(format!("nothing at {next}")) };
        }
        let mut aborted: Vec<_> = slice.aborted.iter().map(|one| (one.first_offset, one.producer_id)).collect();
        aborted.sort_unstable();
        let mut skipped = BTreeSet::new();
        let mut rest = &slice.records[..];
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).unwrap();
            let (batch, after) = rest.split_at(header.size);
            if checksum(batch) != header.crc {
                return Err(format!("checksum at {next}"));
            }
            rest = after;
            while aborted.first().is_some_and(|(first, _)| *first <= header.last_offset()) {
                skipped.insert(aborted.remove(0).1);
            }
            if header.is_control() {
                let marker = crate::log::control::parse(&batch[HEADER_BYTES..]);
                if marker.is_some_and(|marker| marker.outcome == Outcome::Abort) {
                    skipped.remove(&header.producer_id);
                }
            } else if !(header.is_transactional() && skipped.contains(&header.producer_id)) {
                records.extend(decode(batch).into_iter().filter(|record| record.offset >= next));
            }
            next = header.last_offset() + 1;
        }
    }
}

#[test]
fn open_transactions_hold_the_last_stable_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"plain"]);
    let (mut one, mut two) = (Writer::new(1), Writer::new(2));
    one.write(&log, &[b"a", b"b"]);
    two.write(&log, &[b"c"]);
    append_values(&log, &[b"plain too"]);
    assert_eq!((log.high_watermark(), log.last_stable_offset()), (5, 1));
    assert_eq!(delivered(&log, 1), [b"plain"]);
    assert!(committed(&log, 3).records.is_empty(), "beyond what is stable, but not out of range");
    one.end(&log, Outcome::Abort);
    assert_eq!(log.last_stable_offset(), 3, "the other one is still open");
    two.end(&log, Outcome::Commit);
    assert_eq!((log.high_watermark(), log.last_stable_offset()), (7, 7));
    let expected = [&b"plain"[..], b"c", b"plain too"];
    for budget in [1, 150, 1 << 20] {
        assert_eq!(delivered(&log, budget), expected);
    }
    let aborted = AbortedTransaction { producer_id: 1, first_offset: 1, last_offset: 5, last_stable_offset: 3 };
    assert_eq!(committed(&log, 0).aborted, [aborted]);
    assert!(committed(&log, 6).aborted.is_empty());
    assert!(log.read(0, 1 << 20, FirstBatch::Whole).unwrap().aborted.is_empty());
}

#[test]
fn what_breaks_a_transaction_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    let mut one = Writer::new(1);
    let code = |batch: Bytes| append(&log, batch).unwrap_err().kafka_code();
    one.write(&log, &[b"a"]);
    let plain = one.clone().batch(&[b"b"]).bytes();
    assert_eq!(code(plain), 48, "outside of its own transaction");
    let both = [one.batch(&[b"b"]).attributes(TRANSACTIONAL).bytes(), one.batch(&[b"c"]).bytes()].concat();
    assert_eq!(code(both.into()), 48);
    assert_eq!(code(BatchSpec::values(&[b"x"], NOW).attributes(TRANSACTIONAL).bytes()), 87, "nobody's transaction");
    let marker = crate::log::control::Marker { outcome: Outcome::Commit, coordinator_epoch: 0 };
    assert_eq!(code(crate::log::control::encode(1, 0, marker, NOW)), 87, "markers are the broker's");
    // The coordinator takes the transaction away from the producer.
    log.end_transaction((1, 1), Outcome::Abort, 0, NOW).unwrap();
    assert_eq!(log.last_stable_offset(), 2);
    assert_eq!(code(one.batch(&[b"late"]).attributes(TRANSACTIONAL).bytes()), 47);
    assert_eq!(log.end_transaction((1, 0), Outcome::Abort, 0, NOW).map_err(|error| error.kafka_code()), Ok(()));
    assert_eq!(log.high_watermark(), 2, "nothing is open, so nothing was written");
    let mut next = Writer { id: 1, epoch: 1, sequence: 0 };
    next.write(&log, &[b"b"]);
    assert_eq!(log.end_transaction((1, 0), Outcome::Commit, 0, NOW).unwrap_err().kafka_code(), 47);
    next.end(&log, Outcome::Commit);
    next.end(&log, Outcome::Commit);
    assert_eq!(log.high_watermark(), 4, "one marker however often it is asked for");
    assert_eq!(delivered(&log, 1 << 20), [b"b"]);
}

#[tokio::test]
async fn a_marker_wakes_who_waits_for_committed_records() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    let mut one = Writer::new(1);
    one.write(&log, &[b"a"]);
    let waiter = Waiter::new(1 << 20);
    let _watch = log.watch(&waiter, Isolation::Committed);
    append_values(&log, &[&[7; 1000]]);
    let mut two = Writer::new(2);
    two.write(&log, &[b"b"]);
    two.end(&log, Outcome::Commit);
    let asleep = tokio::time::timeout(std::time::Duration::ZERO, waiter.woken()).await;
    assert!(asleep.is_err(), "the stable offset stands still");
    one.end(&log, Outcome::Commit);
    waiter.woken().await;
    waiter.rearm(1);
    append_values(&log, &[b"plain"]);
    waiter.woken().await;
}

fn views(log: &Partition) -> Vec<(i64, i64)> {
    log.producers().iter().map(|view| (view.producer_id, view.transaction_start_offset)).collect()
}

#[test]
fn open_transactions_and_aborts_are_found_again_after_every_kind_of_stop() {
    for stop in ["clean", "crash", "crash after a checkpoint", "crash without snapshots"] {
        let dir = tempfile::tempdir().unwrap();
        let (store, log) = with_topic(dir.path(), &[("segment.bytes", "1024")]);
        let (mut one, mut two, mut three) = (Writer::new(1), Writer::new(2), Writer::new(3));
        for round in 0..20 {
            one.write(&log, &[&value(round, 50)]);
            one.end(&log, if round % 2 == 0 { Outcome::Abort } else { Outcome::Commit });
            if round == 3 {
                two.write(&log, &[b"two"]);
            }
            if round == 10 && stop != "crash" {
                checkpoint(&store);
            }
        }
        three.write(&log, &[b"three"]);
        let (end, stable) = (log.high_watermark(), log.last_stable_offset());
        if stop == "clean" {
            store.close().unwrap();
        }
        drop((store, log));
        if stop == "crash without snapshots" {
            files(dir.path(), "t-0", "snapshot").iter().for_each(|path| std::fs::remove_file(path).unwrap());
        }
        let store = open(dir.path());
        let log = store.partition("t", 0).unwrap();
        assert_eq!((log.high_watermark(), log.last_stable_offset()), (end, stable), "{stop}");
        assert_eq!(views(&log), [(1, -1), (2, 8), (3, end - 1)], "{stop}");
        let open: Vec<_> = log.open_transactions().iter().map(|open| open.producer_id).collect();
        assert_eq!(open, [2, 3], "{stop}");
        two.end(&log, Outcome::Commit);
        three.end(&log, Outcome::Abort);
        let mut expected: Vec<_> = (0..20).filter(|round| round % 2 == 1).map(|round| value(round, 50)).collect();
        expected.insert(2, b"two".to_vec());
        for budget in [1, 500, 1 << 20] {
            assert_eq!(delivered(&log, budget), expected, "{stop}");
        }
    }
}

#[test]
fn lost_and_damaged_indexes_of_aborts_are_built_anew() {
    for damage in ["missing", "cut", "of other contents", "growing one missing"] {
        let dir = tempfile::tempdir().unwrap();
        let (store, log) = with_topic(dir.path(), &[("segment.bytes", "1024")]);
        let (mut one, mut long) = (Writer::new(1), Writer::new(2));
        long.write(&log, &[b"begins in the first segment"]);
        for round in 0..20 {
            one.write(&log, &[&value(round, 50)]);
            one.end(&log, if round % 3 == 0 { Outcome::Abort } else { Outcome::Commit });
        }
        long.end(&log, Outcome::Abort);
        let before = committed(&log, 0).aborted;
        assert_eq!(before.len(), 8);
        store.close().unwrap();
        drop((store, log));
        let indexes = files(dir.path(), "t-0", "txnindex");
        assert!(indexes.len() > 3);
        match damage {
            "missing" => indexes.iter().for_each(|path| std::fs::remove_file(path).unwrap()),
            "growing one missing" => std::fs::remove_file(indexes.last().unwrap()).unwrap(),
            "cut" => indexes.iter().for_each(|path| {
                let length = path.metadata().unwrap().len();
                std::fs::File::options().write(true).open(path).unwrap().set_len(length / 2 + 1).unwrap();
            }),
            _ => indexes.iter().for_each(|path| std::fs::write(path, [0; 68]).unwrap()),
        }
        let store = open(dir.path());
        let log = store.partition("t", 0).unwrap();
        let mut after = committed(&log, 0).aborted;
        // How far everything was decided at a marker is not told by the log alone, but never too high.
        assert_eq!(after.len(), before.len(), "{damage}");
        for (after, before) in after.iter_mut().zip(&before) {
            assert!(after.last_stable_offset <= before.last_stable_offset, "{damage}");
            after.last_stable_offset = before.last_stable_offset;
        }
        assert_eq!(after, before, "{damage}");
        one.write(&log, &[b"later"]);
        one.end(&log, Outcome::Abort);
        assert_eq!(committed(&log, 0).aborted.len(), 9, "{damage}");
        assert_eq!(delivered(&log, 300).len(), 13, "{damage}");
    }
}

#[test]
fn a_log_of_before_transactions_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"old"]);
    store.close().unwrap();
    drop((store, log));
    files(dir.path(), "t-0", "txnindex").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    append_values(&log, &[b"still old"]);
    assert_eq!(delivered(&log, 1 << 20).len(), 2);
    let mut one = Writer::new(1);
    one.write(&log, &[b"new"]);
    one.end(&log, Outcome::Abort);
    assert_eq!(delivered(&log, 1 << 20).len(), 2);
    assert_eq!(files(dir.path(), "t-0", "txnindex").len(), 1);
    assert_eq!(log.segment_count(), 2, "transactions begin a segment that can note their aborts");
}

pub(super) const COMPACTED: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1024"),
    ("min.cleanable.dirty.ratio", "0"),
    ("delete.retention.ms", "1000"),
];

pub(super) fn compact(store: &LogStore, now_ms: i64) {
    for _ in 0..2 {
        let report = store.run_housekeeping(now_ms);
        assert_eq!(report.errors, Vec::<String>::new());
    }
}

fn control_batches(log: &Partition) -> usize {
    let slice = log.read(0, 1 << 20, FirstBatch::Whole).unwrap();
    let mut rest = &slice.records[..];
    let mut count = 0;
    while !rest.is_empty() {
        let header = BatchHeader::parse(rest).unwrap();
        count += usize::from(header.is_control() && header.count > 0);
        rest = &rest[header.size..];
    }
    count
}

#[test]
fn compaction_drops_aborted_records_and_later_their_markers() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &COMPACTED);
    let (mut good, mut bad) = (Writer::new(1), Writer::new(2));
    for round in 0..10_u8 {
        good.write(&log, &[&[b'g', round]]);
        good.end(&log, Outcome::Commit);
        // The same key: an aborted record supersedes nothing.
        bad.write(&log, &[&[b'g', round], &[b'b'; 60]]);
        bad.end(&log, Outcome::Abort);
    }
    let filler = |round: usize| {
        for _ in 0..12 {
            append_values_keyed(&log, &value(round, 60));
        }
    };
    filler(1);
    compact(&store, NOW + 60_000);
    let expected: Vec<_> = (0..10_u8).map(|round| vec![b'g', round]).collect();
    assert_eq!(delivered(&log, 1 << 20)[..10], expected);
    let aborted_left = decode_values(&log).iter().filter(|value| value.starts_with(b"bb")).count();
    assert_eq!(aborted_left, 0);
    assert_eq!(control_batches(&log), 20, "their batches were there until now");
    filler(2);
    compact(&store, NOW + 120_000);
    filler(3);
    compact(&store, NOW + 180_000);
    let left = control_batches(&log);
    assert!((10..=11).contains(&left), "{left}: those of committed records and perhaps the newest abort");
    assert_eq!(delivered(&log, 1 << 20)[..10], expected);
    drop((store, log));
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    assert_eq!(log.last_stable_offset(), log.high_watermark());
    assert_eq!(delivered(&log, 1 << 20)[..10], expected);
}

fn append_values_keyed(log: &Partition, value: &[u8]) -> Appended {
    let records = vec![(Some(b"filler".to_vec()), Some(value.to_vec()))];
    append(log, BatchSpec::records(records, NOW).bytes()).unwrap()
}

fn decode_values(log: &Partition) -> Vec<Vec<u8>> {
    read_all(log).into_iter().filter_map(|record| record.value).collect()
}

#[test]
fn open_transactions_are_not_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &COMPACTED);
    let mut one = Writer::new(1);
    one.write(&log, &[b"open"]);
    for round in 0..40 {
        append_values_keyed(&log, &value(round, 60));
    }
    compact(&store, NOW + 60_000);
    assert_eq!(decode_values(&log).len(), 41);
    one.end(&log, Outcome::Commit);
    append_values_keyed(&log, &value(40, 60));
    compact(&store, NOW + 120_000);
    assert!(decode_values(&log).len() < 41);
    assert_eq!(delivered(&log, 1 << 20)[0], b"open");
}

/// What may happen to a log with transactions.
#[derive(Debug, Clone)]
enum Step {
    Write { producer: i64, size: usize },
    End { producer: i64, outcome: Outcome },
    Plain,
    Read { budget: usize },
    Housekeeping,
    Restart { clean: bool },
    LoseIndexes,
    Truncate,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
    prop_oneof![
        8 => (0_i64..4, 0_usize..200).prop_map(|(producer, size)| Step::Write { producer, size }),
        6 => (0_i64..4, outcome).prop_map(|(producer, outcome)| Step::End { producer, outcome }),
        2 => Just(Step::Plain),
        3 => (1_usize..3000).prop_map(|budget| Step::Read { budget }),
        1 => Just(Step::Housekeeping),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
        1 => Just(Step::LoseIndexes),
        1 => Just(Step::Truncate),
    ]
}

/// The naive twin: every value with its fate, and where the oldest undecided one is.
#[derive(Debug, Default)]
struct Model {
    values: Vec<(Vec<u8>, Option<Outcome>)>,
    open: BTreeMap<i64, Vec<usize>>,
}

impl Model {
    fn delivered(&self) -> Vec<Vec<u8>> {
        let stable = self.values.iter().position(|(_, fate)| fate.is_none()).unwrap_or(self.values.len());
        let kept = self.values[..stable].iter().filter(|(_, fate)| *fate == Some(Outcome::Commit));
        kept.map(|(value, _)| value.clone()).collect()
    }

    fn end(&mut self, producer: i64, outcome: Outcome) {
        for at in self.open.remove(&producer).unwrap_or_default() {
            self.values[at].1 = Some(outcome);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn committed_readers_see_exactly_what_was_committed(steps in proptest::collection::vec(step(), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        let settings = [("segment.bytes", "1200"), ("index.interval.bytes", "200")];
        let mut held = Some(with_topic(dir.path(), &settings));
        let mut writers: Vec<Writer> = (0..4).map(Writer::new).collect();
        let mut model = Model::default();
        for step in steps {
            let (store, log) = held.take().unwrap();
            match step {
                Step::Write { producer, size } => {
                    let value = value(model.values.len(), size);
                    writers[usize::try_from(producer).unwrap()].write(&log, &[&value]);
                    model.open.entry(producer).or_default().push(model.values.len());
                    model.values.push((value, None));
                }
                Step::End { producer, outcome } => {
                    writers[usize::try_from(producer).unwrap()].end(&log, outcome);
                    model.end(producer, outcome);
                }
                Step::Plain => {
                    let value = value(model.values.len(), 20);
                    append_values(&log, &[&value]);
                    model.values.push((value, Some(Outcome::Commit)));
                }
                Step::Read { budget } => prop_assert_eq!(delivered(&log, budget), model.delivered()),
                Step::Housekeeping => drop(checkpoint(&store)),
                Step::Restart { clean } => {
                    if clean {
                        store.close().unwrap();
                    }
                    drop((store, log));
                    let store = open(dir.path());
                    let log = store.partition("t", 0).unwrap();
                    held = Some((store, log));
                    continue;
                }
                Step::LoseIndexes | Step::Truncate => {
                    drop((store, log));
                    for path in files(dir.path(), "t-0", "txnindex") {
                        match step {
                            Step::LoseIndexes => std::fs::remove_file(path).unwrap(),
                            _ => std::fs::write(path, []).unwrap(),
                        }
                    }
                    // An emptied index is sound by itself; without the snapshots every batch is looked at again.
                    for path in files(dir.path(), "t-0", "snapshot") {
                        std::fs::remove_file(path).unwrap();
                    }
                    let store = open(dir.path());
                    let log = store.partition("t", 0).unwrap();
                    held = Some((store, log));
                    continue;
                }
            }
            held = Some((store, log));
        }
        let (store, log) = held.unwrap();
        for producer in 0..4 {
            writers[usize::try_from(producer).unwrap()].end(&log, Outcome::Commit);
            model.end(producer, Outcome::Commit);
        }
        prop_assert_eq!(log.last_stable_offset(), log.high_watermark());
        prop_assert_eq!(delivered(&log, 700), model.delivered());
        drop(store);
    }
}

#[test]
fn the_index_is_kafkas() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"plain"]);
    let mut one = Writer::new(0x0102_0304_0506_0708);
    one.write(&log, &[b"a", b"b"]);
    one.end(&log, Outcome::Abort);
    let bytes = std::fs::read(&files(dir.path(), "t-0", "txnindex")[0]).unwrap();
    let expected =
        [&[0, 0, 1, 2, 3, 4, 5, 6, 7, 8][..], &1_i64.to_be_bytes(), &3_i64.to_be_bytes(), &4_i64.to_be_bytes()];
    assert_eq!(bytes, expected.concat());
    let directory: Arc<Path> = Arc::from(dir.path().join("t-0"));
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    assert!(AbortedIndex::unknown(&disk, &directory, 0).is_known().unwrap());
}
