//! A data directory whose newest segment and offset index hold anything: opening it mends it once
//! and for all, and what is left can be read to its end.
//!
//! The first byte gives the length of the index file, the rest is index and segment. Batch checksums
//! are put right, or hardly any input would get past them.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use lumenbus_broker::log::{FirstBatch, LogStore, Overrides, StoreConfig};

const NOW_MS: i64 = 1_700_000_000_000;
const TOPIC: &str = "t";
const READ_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&index_bytes, rest)) = data.split_first() else {
        return;
    };
    let (index, segment) = rest.split_at(usize::from(index_bytes).min(rest.len()));
    let mut segment = segment.to_vec();
    mend_checksums(&mut segment);

    let dir = data_dir();
    let partition = dir.join("t-0");
    // Each run starts from a directory that holds these two files only.
    std::fs::remove_dir_all(&partition).expect("the partition's folder goes");
    std::fs::create_dir(&partition).expect("and comes back");
    std::fs::write(partition.join("00000000000000000000.log"), &segment).expect("a segment");
    std::fs::write(partition.join("00000000000000000000.index"), index).expect("an index");
    open_and_read(dir);
    assert_eq!(open_and_read(dir), 0, "recovery leaves something to recover");
});

/// Opens the store as after a crash, reads everything, and returns how many bytes were cut off.
fn open_and_read(dir: &Path) -> u64 {
    let (store, report) = LogStore::open(StoreConfig::new(dir), NOW_MS).expect("the store opens");
    let partition = store.partition(TOPIC, 0).expect("the partition is there");
    let mut offset = partition.log_start_offset();
    // A partition that recovery gave up answers with an error; that is an answer.
    while let Ok(slice) = partition.read(offset, READ_BYTES, FirstBatch::Whole) {
        let Some(next) = next_offset(&slice.records) else {
            break;
        };
        assert!(next > offset, "a read makes no progress at {offset}");
        offset = next;
    }
    report.truncated_bytes
}

/// The offset behind the last batch of a read.
fn next_offset(records: &[u8]) -> Option<i64> {
    let mut next = None;
    let mut rest = records;
    while let Some((start, length)) = batch(rest) {
        let base = i64::from_be_bytes(rest[start..start + 8].try_into().expect("eight bytes"));
        let delta = i32::from_be_bytes(rest[start + 23..start + 27].try_into().expect("four bytes"));
        next = base.checked_add(i64::from(delta) + 1);
        rest = &rest[start + length..];
    }
    next
}

/// A batch at the beginning: where it starts and its whole length.
fn batch(bytes: &[u8]) -> Option<(usize, usize)> {
    const PREFIX: usize = 12;
    const HEADER: usize = 61;
    let length = i32::from_be_bytes(bytes.get(8..PREFIX)?.try_into().ok()?);
    let whole = usize::try_from(length).ok()?.checked_add(PREFIX)?;
    (HEADER..=bytes.len()).contains(&whole).then_some((0, whole))
}

fn mend_checksums(segment: &mut [u8]) {
    let mut rest = segment;
    while let Some((_, length)) = batch(rest) {
        let (head, tail) = rest.split_at_mut(length);
        let crc = crc32c::crc32c(&head[21..]);
        head[17..21].copy_from_slice(&crc.to_be_bytes());
        rest = tail;
    }
}

/// A directory with one topic of one partition, made once per process. The runner points `TMPDIR`
/// to memory and removes what is left there.
fn data_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("lumenbus-fuzz-{}", std::process::id()));
        let (store, _) = LogStore::open(StoreConfig::new(&dir), NOW_MS).expect("a new store");
        store.create_topic(TOPIC, 1, &Overrides::default()).expect("a topic");
        dir
    })
}
