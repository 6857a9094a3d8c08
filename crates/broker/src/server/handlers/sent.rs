//! What a produce request may hold for one partition: exactly one whole batch of format v2 (what Apache Kafka's brokers ask
//! for as well). The log itself takes several batches at once; its own checks come after these.

use kafka_protocol::ResponseError;

use super::{Refusal, refusal};

/// Base offset and the batch's own length.
const LENGTH_OVERHEAD: usize = 12;
/// Up to the magic byte, which is in the same place in every format.
const UP_TO_MAGIC: usize = 17;
const ATTRIBUTES_AT: std::ops::Range<usize> = 21..23;
/// The shortest of format 0, which tells a batch from garbage.
const MIN_LENGTH: usize = 14;
const NEWEST_MAGIC: u8 = 2;
const CODEC_BITS: i16 = 0x07;
const ZSTD: i16 = 4;
/// The first version of Produce whose clients may send zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;

/// Checks what a client of this version of Produce sent.
pub(crate) fn check(version: i16, records: &[u8]) -> Result<(), Refusal> {
    let invalid = |reason| Err(refusal(ResponseError::InvalidRecord, reason));
    let Some((batch, behind)) = split(records)? else {
        return invalid("the request holds no whole batch for this partition");
    };
    if batch[UP_TO_MAGIC - 1] != NEWEST_MAGIC {
        return invalid(
            "message formats v0 and v1 are not supported; use a client that speaks format v2 (Kafka 0.11 and newer)",
        );
    }
    let attributes = batch.get(ATTRIBUTES_AT).map_or(0, |bits| i16::from_be_bytes([bits[0], bits[1]]));
    if version < ZSTD_SINCE && attributes & CODEC_BITS == ZSTD {
        let reason = "zstd needs Produce version 7; use a client of Kafka 2.1 or newer, or another codec";
        return Err(refusal(ResponseError::UnsupportedCompressionType, reason));
    }
    if split(behind)?.is_some() {
        return invalid("the request holds more than one batch for this partition");
    }
    if !behind.is_empty() {
        return Err(refusal(ResponseError::CorruptMessage, "there are bytes behind the batch that are no whole batch"));
    }
    if batch[..8] != [0; 8] {
        return invalid("a producer's batch begins at offset 0");
    }
    Ok(())
}

/// A batch and what lies behind it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first batch of any format, if it is whole.
fn split(records: &[u8]) -> Result<Option<Split<'_>>, Refusal> {
    let Some(length) = records.get(8..LENGTH_OVERHEAD) else { return Ok(None) };
    let corrupt = |reason| refusal(ResponseError::CorruptMessage, reason);
    let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let length = usize::try_from(length).ok().filter(|length| *length >= MIN_LENGTH);
    let length = length.ok_or_else(|| corrupt("a batch says that it is shorter than any batch can be"))?;
    let Some(&magic) = records.get(UP_TO_MAGIC - 1) else { return Ok(None) };
    if magic > NEWEST_MAGIC {
        return Err(corrupt("a batch is of an unknown format"));
    }
    Ok(records.split_at_checked(LENGTH_OVERHEAD + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look like a batch up to their attributes.
    fn batch(magic: u8, attributes: u8, base_offset: u8) -> Vec<u8> {
        let mut bytes = vec![0; 80];
        bytes[7] = base_offset;
        bytes[11] = 68;
        bytes[16] = magic;
        bytes[22] = attributes;
        bytes
    }

    #[test]
    fn exactly_one_whole_batch_is_taken() {
        let code = |version: i16, records: &[u8]| check(version, records).err().map_or(0, |refusal| refusal.0);
        let good = batch(2, 0, 0);
        assert_eq!(code(3, &good), 0);
        for cut in 0..good.len() {
            assert_eq!(code(12, &good[..cut]), 87, "cut at {cut}");
        }
        for magic in [0, 1] {
            assert_eq!(code(12, &batch(magic, 0, 0)), 87, "format {magic}");
        }
        for magic in [3, 0xff] {
            assert_eq!(code(12, &batch(magic, 0, 0)), 2, "format {magic}");
        }
        assert_eq!(code(12, &good.repeat(2)), 87, "two batches");
        for cut in 1..good.len() {
            assert_eq!(code(12, &[&good[..], &good[..cut]].concat()), 2, "the second cut at {cut}");
        }
        assert_eq!(code(12, &batch(2, 0, 5)), 87, "an offset");
        for length in [0, 13, -1, i32::MIN] {
            let mut bytes = good.clone();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            assert_eq!(code(12, &bytes), 2, "length {length}");
        }
        let mut endless = good.clone();
        endless[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(code(12, &endless), 87);
        // Twenty-nine bytes of format 2 are no batch, which the log says.
        assert_eq!(code(12, &[&[0; 11][..], &[17, 0, 0, 0, 0, 2], &[0; 12]].concat()), 0);
    }

    #[test]
    fn zstd_is_for_those_who_know_it() {
        for version in 3..=12 {
            let code = check(version, &batch(2, 4, 0)).err().map_or(0, |refusal| refusal.0);
            assert_eq!(code, if version < 7 { 76 } else { 0 }, "version {version}");
            assert!(check(version, &batch(2, 3, 0)).is_ok(), "lz4 in version {version}");
        }
    }
}
