//! What a producer's record set must be before anything of it is stored. No lock is held here.

use super::batch::{self, BatchHeader, HEADER_BYTES, HeaderFault};
use super::config::{LogConfig, TimestampType};
use super::control::{self, Marker};
use super::error::LogError;
use super::partition::AppendOrigin;
use super::record::{self, MIN_RECORD_BYTES};

/// A checked batch: its header as it will be stored (offsets aside) and where its records lie.
#[derive(Debug, Clone)]
pub(crate) struct CheckedBatch {
    pub(crate) header: BatchHeader,
    /// The records' bytes in the record set.
    pub(crate) body: std::ops::Range<usize>,
    /// What a control batch says.
    pub(crate) marker: Option<Marker>,
}

/// Splits a record set into batches and checks each; LogAppendTime topics get their stamp here.
pub(crate) fn batches(
    records: &[u8],
    config: &LogConfig,
    now_ms: i64,
    origin: AppendOrigin,
) -> Result<Vec<CheckedBatch>, LogError> {
    if records.len() as u64 > config.segment_bytes {
        return Err(LogError::RecordListTooLarge { bytes: records.len(), limit: config.segment_bytes });
    }
    let mut checked = Vec::with_capacity(1);
    let mut start = 0;
    while start < records.len() {
        let (mut header, batch) = split(records, start)?;
        check(&header, batch, config, origin)?;
        match config.message_timestamp_type {
            TimestampType::LogAppendTime => header.stamp_append_time(now_ms, batch),
            TimestampType::CreateTime => check_create_time(&header, config, now_ms)?,
        }
        let end = start + header.size;
        let marker = if header.is_control() { control::parse(&batch[HEADER_BYTES..]) } else { None };
        checked.push(CheckedBatch { header, body: start + HEADER_BYTES..end, marker });
        start = end;
    }
    if checked.is_empty() {
        return Err(LogError::CorruptMessage { bytes: 0, reason: "it is empty" });
    }
    Ok(checked)
}

fn split(records: &[u8], start: usize) -> Result<(BatchHeader, &[u8]), LogError> {
    let corrupt = |reason| LogError::CorruptMessage { bytes: records.len(), reason };
    let rest = &records[start..];
    let header = BatchHeader::parse_any_offset(rest).map_err(|fault| match fault {
        HeaderFault::Magic(magic @ (0 | 1)) => LogError::UnsupportedMagic { magic },
        HeaderFault::Counts => LogError::InvalidRecord { reason: fault.reason() },
        HeaderFault::Magic(_) | HeaderFault::Field(_) => corrupt(fault.reason()),
    })?;
    let batch = rest.get(..header.size).ok_or_else(|| corrupt("it ends inside a batch"))?;
    Ok((header, batch))
}

fn check(header: &BatchHeader, batch: &[u8], config: &LogConfig, origin: AppendOrigin) -> Result<(), LogError> {
    if header.size > config.max_message_bytes {
        return Err(LogError::MessageTooLarge { bytes: header.size, limit: config.max_message_bytes });
    }
    let computed = batch::checksum(batch);
    if computed != header.crc {
        return Err(LogError::CrcMismatch { stored: header.crc, computed });
    }
    let invalid = |reason| Err(LogError::InvalidRecord { reason });
    if header.is_control() && origin == AppendOrigin::Client {
        return invalid("control batches are the broker's own");
    }
    if header.has_unknown_attributes() || header.delete_horizon_ms().is_some() || header.compression() > 4 {
        return invalid("its attributes have bits that a producer may not set");
    }
    if header.count < 1 || header.last_offset_delta != header.count - 1 {
        return invalid("its record count and last offset delta disagree");
    }
    // A marker has no sequence.
    let has_sequence = header.base_sequence >= 0 || header.is_control();
    if header.has_producer() && (header.producer_id < 0 || header.producer_epoch < 0 || !has_sequence) {
        return invalid("its producer id, epoch or sequence is negative");
    }
    if header.is_transactional() && !header.has_producer() {
        return invalid("a transactional batch names its producer");
    }
    check_contents(header, &batch[HEADER_BYTES..], config)
}

/// What can be seen without decompressing.
fn check_contents(header: &BatchHeader, body: &[u8], config: &LogConfig) -> Result<(), LogError> {
    if header.compression() != 0 {
        return Ok(());
    }
    let invalid = |reason| Err(LogError::InvalidRecord { reason });
    if usize::try_from(header.count).unwrap_or(usize::MAX) > body.len() / MIN_RECORD_BYTES {
        return invalid("it says more records than its bytes can hold");
    }
    let mut count = 0;
    for parsed in record::records(body) {
        match parsed {
            Ok(record) if record.key.is_none() && config.cleanup_policy.compact => {
                return invalid("a compacted topic takes no record without a key");
            }
            Ok(_) => count += 1,
            Err(_) => return invalid("its records break the record format"),
        }
    }
    match count == header.count {
        true => Ok(()),
        false => invalid("its record count is not that of its records"),
    }
}

fn check_create_time(header: &BatchHeader, config: &LogConfig, now_ms: i64) -> Result<(), LogError> {
    let timestamp_ms = header.max_timestamp;
    let invalid = |reason| Err(LogError::InvalidTimestamp { timestamp_ms, reason });
    if header.is_log_append_time() {
        return invalid("a producer may not claim the append time");
    }
    if timestamp_ms < 0 {
        return Ok(());
    }
    if now_ms.saturating_sub(timestamp_ms) > config.message_timestamp_before_max_ms {
        return invalid("older than message.timestamp.before.max.ms allows; raise it or use LogAppendTime");
    }
    if timestamp_ms.saturating_sub(now_ms) > config.message_timestamp_after_max_ms {
        return invalid("later than message.timestamp.after.max.ms allows; mend the clock or use LogAppendTime");
    }
    Ok(())
}
