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
    if value.try_get_i16().ok()? != VALUE_VERSION {
        return None;
    }
    let producer = ProducerRef { id: value.try_get_i64().ok()?, epoch: value.try_get_i16().ok()? };
    let timeout_ms = value.try_get_i32().ok()?;
    let status = usize::try_from(value.try_get_i8().ok()?).ok()?;
    let status = *Status::ALL.get(status)?;
    let mut transaction = Transaction { status, ..Transaction::new(producer.id, timeout_ms, 0) };
    transaction.producer = producer;
    for _ in 0..value.try_get_i32().ok()?.max(0) {
        let topic = take_string(&mut value)?;
        for _ in 0..value.try_get_i32().ok()? {
            transaction.partitions.insert((topic.clone(), value.try_get_i32().ok()?));
        }
    }
    transaction.updated_ms = value.try_get_i64().ok()?;
    transaction.started_ms = value.try_get_i64().ok()?;
    Some(transaction)
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

    #[test]
    fn damaged_and_foreign_records_are_not_read() {
        let value = encode_value(&ongoing());
        for cut in 0..value.len() {
            assert_eq!(decode_value(value.slice(..cut)), None);
        }
        let mut huge = value.to_vec();
        huge[17..21].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(decode_value(huge.into()), None);
        for (at, byte) in [(1, 1), (16, 6), (16, 0xff)] {
            let mut other = value.to_vec();
            other[at] = byte;
            assert_eq!(decode_value(other.into()), None);
        }
        assert_eq!(decode_key(Bytes::from_static(&[0, 1, 0, 0])), None);
        assert_eq!(decode_key(Bytes::from_static(&[0, 0, 0, 9, b'x'])), None);
    }
}
