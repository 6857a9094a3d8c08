//! Records of `__transaction_state` as Apache Kafka lays them out: `TransactionLogKey` 0, `TransactionLogValue` 0.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::state::{ProducerRef, Status, Transaction};
use crate::server::group::TopicPartition;

/// The topic that keeps transactional ids.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// Longest transactional id; a record could hold more, memory should not.
pub(super) const MAX_ID_BYTES: usize = 4096;
const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;
/// Kafka 4 writes it, with compact lengths and tagged fields.
const FLEXIBLE_VERSION: i16 = 1;
const NULL: i32 = -1;

fn put_string(buffer: &mut BytesMut, text: &str) {
    buffer.put_i16(i16::try_from(text.len()).expect("ids and topics are shorter than 32 KiB"));
    buffer.put_slice(text.as_bytes());
}

fn take_string(buffer: &mut Bytes) -> Option<String> {
    let length = usize::try_from(buffer.try_get_i16().ok()?).ok()?;
    if buffer.len() < length {
        return None;
    }
    String::from_utf8(buffer.split_to(length).to_vec()).ok()
}

pub(super) fn encode_key(id: &str) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(KEY_VERSION);
    put_string(&mut buffer, id);
    buffer.freeze()
}

pub(super) fn decode_key(mut key: Bytes) -> Option<String> {
    if key.try_get_i16().ok()? != KEY_VERSION {
        return None;
    }
    take_string(&mut key)
}

pub(super) fn encode_value(transaction: &Transaction) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(VALUE_VERSION);
    buffer.put_i64(transaction.producer.id);
    buffer.put_i16(transaction.producer.epoch);
    buffer.put_i32(transaction.timeout_ms);
    buffer.put_i8(transaction.status as i8);
    if transaction.status == Status::Empty {
        buffer.put_i32(NULL);
    } else {
        put_partitions(&mut buffer, transaction.partitions.iter());
    }
    buffer.put_i64(transaction.updated_ms);
    buffer.put_i64(transaction.started_ms);
    buffer.freeze()
}

fn put_partitions<'a>(buffer: &mut BytesMut, partitions: impl Iterator<Item = &'a TopicPartition>) {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    put_count(buffer, topics.len());
    for (topic, partitions) in topics {
        put_string(buffer, topic);
        put_count(buffer, partitions.len());
        partitions.into_iter().for_each(|partition| buffer.put_i32(partition));
    }
}

fn put_count(buffer: &mut BytesMut, count: usize) {
    buffer.put_i32(i32::try_from(count).expect("the partitions of a transaction are limited"));
}

/// `None`: damaged, or written by something newer.
pub(super) fn decode_value(mut value: Bytes) -> Option<Transaction> {
    let is_flexible = match value.try_get_i16().ok()? {
        VALUE_VERSION => false,
        FLEXIBLE_VERSION => true,
        _ => return None,
    };
    let producer = ProducerRef { id: value.try_get_i64().ok()?, epoch: value.try_get_i16().ok()? };
    let timeout_ms = value.try_get_i32().ok()?;
    let status = usize::try_from(value.try_get_i8().ok()?).ok()?;
    let status = *Status::ALL.get(status)?;
    let mut transaction = Transaction { status, ..Transaction::new(producer.id, timeout_ms, 0) };
    transaction.producer = producer;
    for _ in 0..take_count(&mut value, is_flexible)? {
        let topic = if is_flexible { take_compact_string(&mut value)? } else { take_string(&mut value)? };
        for _ in 0..take_count(&mut value, is_flexible)? {
            transaction.partitions.insert((topic.clone(), value.try_get_i32().ok()?));
        }
        skip_tags(&mut value, is_flexible)?;
    }
    transaction.updated_ms = value.try_get_i64().ok()?;
    transaction.started_ms = value.try_get_i64().ok()?;
    // The tags are of the protocol in which a transaction's end changes the producer's epoch or id: the id is in use
    // with the epoch above, and whoever begins next gets a newer one.
    skip_tags(&mut value, is_flexible)?;
    Some(transaction)
}

/// The length of an array; none counts as empty.
fn take_count(value: &mut Bytes, is_flexible: bool) -> Option<u32> {
    match is_flexible {
        true => Some(take_varint(value)?.saturating_sub(1)),
        false => u32::try_from(value.try_get_i32().ok()?.max(0)).ok(),
    }
}

fn take_compact_string(value: &mut Bytes) -> Option<String> {
    let length = usize::try_from(take_varint(value)?.checked_sub(1)?).ok()?;
    (length <= value.len()).then(|| String::from_utf8(value.split_to(length).to_vec()).ok()).flatten()
}

fn skip_tags(value: &mut Bytes, is_flexible: bool) -> Option<()> {
    let tags = if is_flexible { take_varint(value)? } else { 0 };
    for _ in 0..tags {
        take_varint(value)?;
        let length = usize::try_from(take_varint(value)?).ok()?;
        (length <= value.len()).then(|| value.split_to(length))?;
    }
    Some(())
}

fn take_varint(value: &mut Bytes) -> Option<u32> {
    let mut number = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let byte = value.try_get_u8().ok()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ongoing() -> Transaction {
        let partitions = [("b", 7), ("a", 0), ("b", 1)].map(|(topic, partition)| (topic.to_owned(), partition));
        let mut transaction = Transaction::new(77, 60_000, 1000);
        let producer = transaction.producer;
        transaction = transaction.add(producer, partitions, 2000).unwrap().unwrap();
        transaction.producer.epoch = 5;
        transaction
    }

    #[test]
    fn keys_and_values_survive() {
        assert_eq!(decode_key(encode_key("orders-1")).as_deref(), Some("orders-1"));
        let open = ongoing();
        let empty = Transaction::new(9, 1, 5);
        let done = open.completed(crate::log::Outcome::Abort, 3000);
        for transaction in [open, empty, done] {
            assert_eq!(decode_value(encode_value(&transaction)), Some(transaction));
        }
    }

    #[test]
    fn the_layout_is_kafkas() {
        let value = encode_value(&ongoing());
        let expected = [
            &[0, 0][..],
            &77_i64.to_be_bytes(),
            &[0, 5],
            &60_000_i32.to_be_bytes(),
            &[1],
            &[0, 0, 0, 2, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 0],
            &[0, 1, b'b', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7],
            &2000_i64.to_be_bytes(),
            &2000_i64.to_be_bytes(),
        ];
        assert_eq!(value, expected.concat());
        assert_eq!(encode_key("id"), &[0, 0, 0, 2, b'i', b'd'][..]);
    }

    /// As Kafka 4.1 wrote it, for a producer that speaks the newest protocol.
    fn flexible() -> Vec<u8> {
        [
            &[0, 1][..],
            &77_i64.to_be_bytes(),
            &[0, 5],
            &60_000_i32.to_be_bytes(),
            &[1, 3],
            &[2, b'a', 2, 0, 0, 0, 0, 0],
            &[2, b'b', 3, 0, 0, 0, 1, 0, 0, 0, 7, 0],
            &2000_i64.to_be_bytes(),
            &2000_i64.to_be_bytes(),
            // Previous producer id and the client's version of transactions.
            &[2, 0, 8],
            &76_i64.to_be_bytes(),
            &[2, 2, 0, 2],
        ]
        .concat()
    }

    #[test]
    fn the_newer_layout_is_read() {
        let value = flexible();
        assert_eq!(decode_value(Bytes::from(value.clone())), Some(ongoing()));
        for cut in 0..value.len() {
            assert_eq!(decode_value(Bytes::copy_from_slice(&value[..cut])), None);
        }
        let none = [&value[..17], &[0], &[0; 16], &[0]].concat();
        assert!(decode_value(none.into()).unwrap().partitions.is_empty());
    }

    #[test]
    fn damaged_and_foreign_records_are_not_read() {
        let value = encode_value(&ongoing());
        for cut in 0..value.len() {
            assert_eq!(decode_value(value.slice(..cut)), None);
        }
        let mut huge = value.to_vec();
        huge[17..21].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(decode_value(huge.into()), None);
        for (at, byte) in [(1, 2), (16, 6), (16, 0xff)] {
            let mut other = value.to_vec();
            other[at] = byte;
            assert_eq!(decode_value(other.into()), None);
        }
        assert_eq!(decode_key(Bytes::from_static(&[0, 1, 0, 0])), None);
        assert_eq!(decode_key(Bytes::from_static(&[0, 0, 0, 9, b'x'])), None);
    }
}
