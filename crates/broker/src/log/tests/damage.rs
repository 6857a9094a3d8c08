//! Every file of a data directory damaged by itself.

use super::compaction::copy_tree;
use super::transactions::{Writer, try_delivered};
use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut(usize),
    /// A bit of a byte.
    Flip(usize, u8),
    Scribble([u8; 34], usize),
    Missing,
}

impl Damage {
    fn any(random: &mut StdRng, bytes: usize) -> Self {
        match random.random_range(0..11) {
            0..4 if bytes > 0 => Self::Cut(random.random_range(0..bytes)),
            4..8 if bytes > 0 => Self::Flip(random.random_range(0..bytes), random.random_range(0..8)),
            10 => Self::Missing,
            _ => Self::Scribble(random.random(), random.random_range(0..34)),
        }
    }

    /// Whether it hits what Kafka's format covers with no checksum: where a batch stands.
    fn moves_a_batch(self, path: &Path) -> bool {
        let Self::Flip(at, _) = self else { return false };
        if path.extension().is_none_or(|extension| extension != "log") {
            return false;
        }
        let bytes = fs::read(path).unwrap();
        let mut start = 0;
        while start + 8 <= at {
            start += BatchHeader::parse(&bytes[start..]).unwrap().size;
        }
        start <= at
    }

    fn hit(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Missing => return fs::remove_file(path).unwrap(),
            Self::Scribble(other, length) => bytes = other[..length].to_vec(),
            Self::Cut(at) => bytes.truncate(at),
            Self::Flip(at, bit) => bytes[at] ^= 1 << bit,
        }
        fs::write(path, bytes).unwrap();
    }
}

const CASES: u64 = 150;
/// Without these nothing can be served.
const VITAL: [&str; 1] = ["meta.properties"];

const TOPICS: [&str; 2] = ["left", "right"];
const RECORDS: usize = 24;
const END: i64 = 24;

const SETTINGS: [(&str, &str); 3] =
    [("segment.bytes", "1500"), ("index.interval.bytes", "200"), ("retention.ms", "-1")];

/// Two topics of several segments, written by an idempotent producer.
fn fill(dir: &Path, stop: Stop) {
    fill_open(&open(dir), stop);
}

fn fill_open(store: &LogStore, stop: Stop) {
    for topic in TOPICS {
        let settings = SETTINGS;
        store.create_topic(topic, 1, &overrides(&settings)).unwrap();
        let log = store.partition(topic, 0).unwrap();
        for i in 0..RECORDS {
            if i == RECORDS / 2 {
                checkpoint(store);
            }
            let sequence = i32::try_from(i).unwrap();
            append(&log, BatchSpec::values(&[&value(i, 150)], NOW).producer(7, 0, sequence).bytes()).unwrap();
        }
    }
    if stop == Stop::Clean {
        store.close().unwrap();
    }
}

const LEDGER: &str = "ledger";

/// What was written to the topic with transactions; what was committed says so.
type Ledger = BTreeMap<i64, Vec<u8>>;

fn is_committed(value: &[u8]) -> bool {
    value.starts_with(b"committed")
}

/// A third topic: transactions of two producers at a time, over several segments, every third one aborted.
fn fill_ledger(store: &LogStore) -> Ledger {
    store.create_topic(LEDGER, 1, &overrides(&SETTINGS)).unwrap();
    let log = store.partition(LEDGER, 0).unwrap();
    let mut writers = [Writer::new(1), Writer::new(2)];
    let mut ledger = Ledger::new();
    for round in 0..9 {
        if round == 5 {
            checkpoint(store);
        }
        let outcome = |number: usize| if (round + number).is_multiple_of(3) { Outcome::Abort } else { Outcome::Commit };
        for piece in 0..4 {
            let number = piece % 2;
            let fate = if outcome(number) == Outcome::Commit { "committed" } else { "aborted" };
            let text = format!("{fate} {round} {piece} {}", "y".repeat(80)).into_bytes();
            ledger.insert(writers[number].write(&log, &[&text]), text);
        }
        (0..2).for_each(|number| writers[number].end(&log, outcome(number)));
    }
    assert!(log.segment_count() > 4);
    ledger
}

/// Whatever readers of either kind get is what was written there and what they may see; of an undamaged log, all of it.
fn assert_ledger(log: &Partition, ledger: &Ledger, is_intact: bool, damaged: &str) {
    for from in (log.log_start_offset()..log.high_watermark()).step_by(3) {
        for isolation in [Isolation::Uncommitted, Isolation::Committed] {
            let found = match isolation {
                Isolation::Uncommitted => received(log, from),
                Isolation::Committed => try_delivered(log, from, 400),
            };
            let records = match found {
                Ok(records) => records,
                Err(refusal) => {
                    assert!(!is_intact, "{damaged}: from {from}: {refusal}");
                    continue;
                }
            };
            // Markers have values of their own.
            let data: Ledger = records
                .into_iter()
                .filter_map(|record| record.value.map(|value| (record.offset, value)))
                .filter(|(_, value)| value.len() > 20)
                .collect();
            for (offset, value) in &data {
                assert_eq!(Some(value), ledger.get(offset), "{damaged}: at {offset}");
                let visible = isolation == Isolation::Uncommitted || is_committed(value);
                assert!(visible, "{damaged}: {isolation:?} from {from} got the aborted record at {offset}");
            }
            let wanted = |value: &[u8]| isolation == Isolation::Uncommitted || is_committed(value);
            let all = ledger.range(from..).filter(|(_, value)| wanted(value)).count();
            assert!(!is_intact || data.len() == all, "{damaged}: {isolation:?} from {from}: {} of {all}", data.len());
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Clean,
    Kill,
}

/// All files that hold something of ours, in a fixed order.
fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(all_files(&entry)) } else { found.push(entry) }
    }
    found.retain(|path| path.file_name().is_some_and(|name| name != ".lock" && name != ".running"));
    found.sort();
    found
}

/// What a client that verifies checksums takes of a log, from an offset on; or why the log refuses.
fn received(log: &Partition, from: i64) -> Result<Vec<Stored>, String> {
    let mut out = Vec::new();
    let mut next = from;
    while next < log.high_watermark() {
        let slice = log.read(next, 400, FirstBatch::Whole).map_err(|error| error.to_string())?;
        let mut rest = &slice.records[..];
        if rest.is_empty() {
            return Err(format!("nothing at {next}"));
        }
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).unwrap();
            let (batch, after) = rest.split_at(header.size);
            if checksum(batch) != header.crc {
                return Err(format!("checksum at {next}"));
            }
            out.extend(decode(batch).into_iter().filter(|record| record.offset >= next));
            next = header.last_offset() + 1;
            rest = after;
        }
    }
    Ok(out)
}

/// Whatever is served is what was appended there, and of an undamaged log it is everything.
fn assert_honest(log: &Partition, is_intact: bool, damaged: &str) {
    for from in (log.log_start_offset()..log.high_watermark()).step_by(5) {
        let records = match received(log, from) {
            Ok(records) => records,
            Err(refusal) => {
                assert!(!is_intact, "{damaged}: {} from {from}: {refusal}", log.topic());
                continue;
            }
        };
        for record in &records {
            let number = usize::try_from(record.offset).unwrap();
            assert_eq!(
                record.value.as_deref(),
                Some(&value(number, 150)[..]),
                "{damaged}: {} at {number}",
                log.topic()
            );
        }
        assert!(
            !is_intact || records.len() == RECORDS - usize::try_from(from).unwrap(),
            "{damaged}: {from} of {records:?}"
        );
    }
}

/// Says which case it was that panicked.
struct Case {
    what: String,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {}", self.what);
        }
    }
}

#[test]
fn a_damaged_file_costs_no_other_topic_and_never_a_wrong_record() {
    let filled = [Stop::Clean, Stop::Kill].map(|stop| {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let ledger = fill_ledger(&store);
        fill_open(&store, stop);
        drop(store);
        (dir, ledger)
    });
    for seed in 0..CASES {
        let mut random = StdRng::seed_from_u64(seed);
        let (undamaged, ledger) = &filled[random.random_range(0..2)];
        let dir = tempfile::tempdir().unwrap();
        copy_tree(undamaged.path(), dir.path());
        let files = all_files(dir.path());
        let path = &files[random.random_range(0..files.len())];
        let damage = Damage::any(&mut random, usize::try_from(fs::metadata(path).unwrap().len()).unwrap());
        if damage.moves_a_batch(path) {
            continue;
        }
        let name = path.strip_prefix(dir.path()).unwrap().display().to_string();
        let case = Case { what: format!("seed {seed}: {damage:?} of {name}") };
        damage.hit(path);
        check_damaged(dir.path(), &name, ledger, &case.what);
    }
}

/// A directory in which one file is damaged, of which `name` is the path in it.
fn check_damaged(dir: &Path, name: &str, ledger: &Ledger, what: &str) {
    let (store, report) = match LogStore::open(StoreConfig::new(dir), NOW) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(VITAL.contains(&name), "{what}: {error}");
            assert!(error.to_string().contains(name), "{what}: {error}");
            return;
        }
    };
    for topic in TOPICS.into_iter().chain([LEDGER]) {
        let log = store.partition(topic, 0).unwrap();
        let is_of_it = name.starts_with(topic);
        if let Err(offline) = log.check_opened() {
            assert!(is_of_it && offline.to_string().contains(topic), "{what}: {offline}");
            assert!(report.notes.iter().any(|note| note.contains("offline")), "{what}: {report:?}");
            let refused = append(&log, BatchSpec::values(&[b"x"], NOW).bytes()).unwrap_err();
            assert_eq!(refused.kafka_code(), 56, "{what}");
            continue;
        }
        let is_intact = !(is_of_it && name.ends_with(".log"));
        if topic == LEDGER {
            assert_ledger(&log, ledger, is_intact, what);
        } else {
            assert_honest(&log, is_intact, what);
            assert!(!is_intact || (log.log_start_offset(), log.high_watermark()) == (0, END), "{what}");
        }
        if is_intact {
            let end = log.high_watermark();
            assert_eq!(append_values(&log, &[&value(RECORDS, 150)]).base_offset, end, "{what}");
        }
    }
}

/// A store of which one partition cannot be opened, as its log is a folder.
fn half_readable(dir: &Path) -> (LogStore, PathBuf) {
    fill(dir, Stop::Clean);
    let first = files(dir, "left-0", "log").remove(0);
    let aside = dir.join("aside");
    fs::rename(&first, &aside).unwrap();
    fs::create_dir(&first).unwrap();
    fs::remove_file(dir.join("recovery-point-offset-checkpoint")).unwrap();
    (open(dir), first)
}

#[test]
fn a_partition_that_cannot_be_opened_is_offline_and_comes_back_when_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (store, first) = half_readable(dir.path());
    let log = store.partition("left", 0).unwrap();
    let refusal = |error: LogError| {
        assert_eq!(error.kafka_code(), 56);
        assert!(error.to_string().contains(&first.display().to_string()), "{error}");
    };
    refusal(append(&log, BatchSpec::values(&[b"x"], NOW).bytes()).unwrap_err());
    refusal(log.read(0, 1, FirstBatch::Whole).unwrap_err());
    refusal(log.offset_for_timestamp(NOW).unwrap_err());
    refusal(store.delete_records("left", 0, -1).unwrap_err());
    refusal(store.set_config("left", &overrides(&[])).unwrap_err());
    refusal(store.create_partitions("left", 2).unwrap_err());
    refusal(log.end_transaction((7, 0), Outcome::Abort, 0, NOW).unwrap_err());
    checkpoint(&store);
    assert_eq!(read_all(&store.partition("right", 0).unwrap()).len(), RECORDS);
    store.close().unwrap();
    drop((log, store));
    fs::remove_dir(&first).unwrap();
    fs::rename(dir.path().join("aside"), &first).unwrap();
    let store = open(dir.path());
    for topic in TOPICS {
        let log = store.partition(topic, 0).unwrap();
        assert_eq!(read_all(&log).len(), RECORDS, "{topic}");
        assert_eq!(append_values(&log, &[b"x"]).base_offset, END);
    }
}

#[test]
fn a_topic_that_cannot_be_opened_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = half_readable(dir.path());
    store.delete_topic("left").unwrap();
    store.create_topic("left", 1, &Overrides::new()).unwrap();
    assert_eq!(append_values(&store.partition("left", 0).unwrap(), &[b"new"]).base_offset, 0);
}

#[test]
fn settings_that_are_not_understood_keep_a_topic_offline_and_its_file_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), Stop::Kill);
    let path = dir.path().join("left.topic");
    let text = "version=1\ntopic.id=BwcHBwcHBwcHBwcHBwcHBw\npartitions=1\nstate=live\nconfig.from.the.future=7\n";
    fs::write(&path, text).unwrap();
    let store = open(dir.path());
    let error = store.partition("left", 0).unwrap().read(0, 1, FirstBatch::Whole).unwrap_err();
    assert!(error.to_string().contains("from.the.future"), "{error}");
    store.set_config("left", &overrides(&[])).unwrap_err();
    store.close().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

#[test]
fn an_index_entry_that_points_behind_the_log_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), Stop::Clean);
    let index = files(dir.path(), "left-0", "index").remove(1);
    let mut entries = fs::read(&index).unwrap();
    // The second entry's position, 16 MiB too far.
    entries[12] ^= 1;
    fs::write(&index, entries).unwrap();
    let store = open(dir.path());
    assert_honest(&store.partition("left", 0).unwrap(), true, "index");
}
