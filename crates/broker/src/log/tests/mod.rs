//! Tests of the store as its users see it, on real files.

mod append;
mod compaction;
mod damage;
mod disk_full;
mod epochs;
mod faults;
mod model;
mod model_transactions;
mod producers;
mod reading;
mod rebuilding;
mod recovery;
mod retention;
mod starts;
mod topics;
mod transactions;
mod waiting;

use std::path::Path;
use std::sync::Arc;

use super::batch::tests::BatchSpec;
use super::batch::{BatchHeader, HEADER_BYTES, checksum};
use super::*;
use bytes::Bytes;

pub(super) const NOW: i64 = 1_700_000_000_000;

pub(super) fn overrides(settings: &[(&str, &str)]) -> Overrides {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn open(dir: &Path) -> LogStore {
    open_reported(dir).0
}

pub(super) fn open_reported(dir: &Path) -> (LogStore, RecoveryReport) {
    LogStore::open(StoreConfig::new(dir), NOW).unwrap()
}

/// A store with the topic `t` of one partition.
pub(super) fn with_topic(dir: &Path, settings: &[(&str, &str)]) -> (LogStore, Arc<Partition>) {
    let store = open(dir);
    store.create_topic("t", 1, &overrides(settings)).unwrap();
    let log = store.partition("t", 0).unwrap();
    (store, log)
}

#[expect(clippy::needless_pass_by_value, reason = "most callers have just built the batch")]
pub(super) fn append(log: &Partition, records: Bytes) -> Result<Appended, LogError> {
    log.append(&records, NOW, AppendOrigin::Client)
}

pub(super) fn append_values(log: &Partition, values: &[&[u8]]) -> Appended {
    append(log, BatchSpec::values(values, NOW).bytes()).unwrap()
}

/// A value that names its number and has `len` bytes more.
pub(super) fn value(number: usize, len: usize) -> Vec<u8> {
    let mut value = format!("value {number} ").into_bytes();
    value.resize(value.len() + len, b'x');
    value
}

/// One stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

/// Decodes whole batches; panics when anything in them is not as it must be.
pub(super) fn decode(mut records: &[u8]) -> Vec<Stored> {
    let mut out = Vec::new();
    let mut next = 0;
    while !records.is_empty() {
        let header = BatchHeader::parse(records).unwrap();
        let (batch, rest) = records.split_at(header.size);
        assert_eq!(checksum(batch), header.crc);
        assert!(header.base_offset >= next);
        next = header.last_offset() + 1;
        let contents = compression::decompress(header.compression(), &batch[HEADER_BYTES..], 1 << 30).unwrap();
        for record in record::records(&contents).map(Result::unwrap) {
            let created = header.base_timestamp + record.timestamp_delta;
            out.push(Stored {
                offset: header.base_offset + i64::from(record.offset_delta),
                timestamp_ms: if header.is_log_append_time() { header.max_timestamp } else { created },
                key: record.key.map(<[u8]>::to_vec),
                value: record.value().map(<[u8]>::to_vec),
            });
        }
        records = rest;
    }
    out
}

/// Reads from `offset` to the end in steps of `budget`, as a consumer does.
pub(super) fn read_from(log: &Partition, offset: i64, budget: usize) -> Vec<Stored> {
    let mut out: Vec<Stored> = Vec::new();
    let mut next = offset;
    while next < log.high_watermark() {
        let slice = log.read(next, budget, FirstBatch::Whole).unwrap();
        assert!(!slice.records.is_empty(), "nothing at {next} of {}", log.high_watermark());
        let last = last_offset(&slice.records);
        assert!(last >= next);
        out.extend(decode(&slice.records).into_iter().filter(|record| record.offset >= next));
        next = last + 1;
    }
    out
}

pub(super) fn read_all(log: &Partition) -> Vec<Stored> {
    read_from(log, log.log_start_offset(), 1 << 20)
}

pub(super) fn last_offset(mut records: &[u8]) -> i64 {
    let mut last = -1;
    while !records.is_empty() {
        let header = BatchHeader::parse(records).unwrap();
        last = header.last_offset();
        records = &records[header.size..];
    }
    last
}

/// Files of a partition with an extension, by name.
pub(super) fn files(dir: &Path, partition: &str, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(dir.join(partition))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

/// A round of housekeeping late enough for everything periodic.
pub(super) fn checkpoint(store: &LogStore) -> HousekeepingReport {
    let report = store.run_housekeeping(NOW + 60_000);
    assert_eq!(report.errors, Vec::<String>::new());
    report
}
