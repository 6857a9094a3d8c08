//! Every file of a data directory damaged by itself.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

/// What happens to a file.
#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Scribble(Vec<u8>),
    Missing,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        4 => (any::<prop::sample::Index>(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Damage::Scribble),
        1 => Just(Damage::Missing),
    ]
}

impl Damage {
    fn hit(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Missing => return fs::remove_file(path).unwrap(),
            Self::Scribble(other) => bytes.clone_from(other),
            _ if bytes.is_empty() => {}
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

const TOPICS: [&str; 2] = ["left", "right"];
const RECORDS: usize = 24;
const END: i64 = 24;

/// Two topics of several segments, written by an idempotent producer.
fn fill(dir: &Path, stop: Stop) {
    let store = open(dir);
    for topic in TOPICS {
        let settings = [("segment.bytes", "1500"), ("index.interval.bytes", "200"), ("retention.ms", "-1")];
        store.create_topic(topic, 1, &overrides(&settings)).unwrap();
        let log = store.partition(topic, 0).unwrap();
        for i in 0..RECORDS {
            if i == RECORDS / 2 {
                checkpoint(&store);
            }
            let sequence = i32::try_from(i).unwrap();
            append(&log, BatchSpec::values(&[&value(i, 150)], NOW).producer(7, 0, sequence).bytes()).unwrap();
        }
    }
    if stop == Stop::Clean {
        store.close().unwrap();
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn a_damaged_file_costs_no_other_topic_and_never_a_wrong_record(
        place in any::<prop::sample::Index>(),
        damage in damage(),
        is_clean in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), if is_clean { Stop::Clean } else { Stop::Kill });
        let files = all_files(dir.path());
        let path = place.get(&files);
        let name = path.strip_prefix(dir.path()).unwrap().display().to_string();
        // Checksums do not cover where a batch stands, and Kafka's checkpoints have none at all.
        let is_flip = matches!(damage, Damage::Flip(..));
        prop_assume!(!(is_flip && (name.ends_with(".log") || name.ends_with("-checkpoint"))));
        damage.hit(path);
        let (store, report) = match LogStore::open(StoreConfig::new(dir.path()), NOW) {
            Ok(opened) => opened,
            Err(error) => {
                prop_assert_eq!(&name, "meta.properties");
                prop_assert!(error.to_string().contains(&name), "{}", error);
                return Ok(());
            }
        };
        for topic in TOPICS {
            let log = store.partition(topic, 0).unwrap();
            let is_of_it = name.starts_with(topic);
            match log.check_opened() {
                Ok(()) => {
                    let is_intact = !(is_of_it && name.ends_with(".log"));
                    assert_honest(&log, is_intact, &name);
                    if is_intact {
                        prop_assert_eq!((log.log_start_offset(), log.high_watermark()), (0, END));
                        append_values(&log, &[&value(RECORDS, 150)]);
                    }
                }
                Err(offline) => {
                    prop_assert!(is_of_it, "{offline}");
                    prop_assert!(offline.to_string().contains(topic), "{offline}");
                    prop_assert!(report.notes.iter().any(|note| note.contains("offline")), "{report:?}");
                    prop_assert_eq!(append(&log, BatchSpec::values(&[b"x"], NOW).bytes()).unwrap_err().kafka_code(), 56);
                }
            }
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
