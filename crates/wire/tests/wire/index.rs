//! Index entries: what is written is read, and hostile bytes are refused.

use crate::samples;
use lumenbus_frame::{Epoch, FrameId, Seq, StreamName, TopicName};
use lumenbus_wire::{IndexEntry, IndexPosition, IndexSection, MAX_INDEX_ENTRY_BYTES, WireError, proto};
use proptest::prelude::*;
use prost::Message as _;

fn position() -> impl Strategy<Value = IndexPosition> {
    (any::<u32>(), any::<u64>()).prop_map(|(partition, offset)| IndexPosition { partition, offset })
}

prop_compose! {
    fn entry()(
        topic in "[a-zA-Z0-9._-]{3,249}",
        stream in "[a-zA-Z0-9_-]{1,64}",
        (epoch, seq) in any::<(u64, u64)>(),
        (capture_unix_nanos, first_capture_unix_nanos) in any::<(i64, i64)>(),
        (partition, offset, bytes) in any::<(u32, u64, u64)>(),
        previous in prop::option::of(position()),
        before in prop::option::of(position()),
        newest_before_unix_nanos in prop::option::of(any::<i64>()),
        is_thinned in any::<bool>(),
    ) -> IndexEntry {
        IndexEntry {
            topic: TopicName::new(&topic).unwrap(),
            stream: StreamName::new(&stream).unwrap(),
            id: FrameId { epoch: Epoch(epoch), seq: Seq(seq) },
            capture_unix_nanos,
            partition,
            offset,
            bytes,
            previous,
            section: IndexSection { first_capture_unix_nanos, before, newest_before_unix_nanos },
            is_thinned,
        }
    }
}

proptest! {
    #[test]
    fn an_entry_survives(entry in entry()) {
        let bytes = entry.encode();
        prop_assert!(bytes.len() <= MAX_INDEX_ENTRY_BYTES);
        prop_assert_eq!(IndexEntry::decode(&bytes).unwrap(), entry);
    }

    #[test]
    fn damaged_bytes_are_an_entry_or_an_error(at in 0..200_usize, bit in 0..8_u8, keep in 0..200_usize) {
        let mut bytes = samples::index_entry().encode().to_vec();
        let length = bytes.len();
        bytes[at % length] ^= 1 << bit;
        bytes.truncate(keep.max(1));
        if let Ok(entry) = IndexEntry::decode(&bytes) {
            prop_assert_eq!(IndexEntry::decode(&entry.encode()).unwrap(), entry);
        }
    }
}

#[test]
fn what_is_no_entry_is_refused_with_its_reason() {
    let message = |change: &dyn Fn(&mut proto::IndexEntry)| {
        let mut message = proto::IndexEntry::decode(&samples::index_entry().encode()[..]).unwrap();
        change(&mut message);
        IndexEntry::decode(&message.encode_to_vec()).unwrap_err()
    };
    let error = message(&|entry| entry.version = 2);
    assert!(matches!(error, WireError::Version { found: 2, supported: 1 }), "{error}");
    let error = message(&|entry| entry.topic = "no topic".to_owned());
    assert!(matches!(error, WireError::Field { field: "topic", .. }), "{error}");
    let error = message(&|entry| entry.stream = "no stream".to_owned());
    assert!(matches!(error, WireError::Field { field: "stream", .. }), "{error}");
    let error = message(&|entry| entry.section = None);
    assert!(matches!(error, WireError::Field { field: "section", .. }), "{error}");
    let error = message(&|entry| entry.topic = "x".repeat(2_000));
    assert!(matches!(error, WireError::TooLarge { .. }), "{error}");
    assert!(matches!(IndexEntry::decode(&[8, 1, 0xff]).unwrap_err(), WireError::Index { .. }));
    assert!(IndexEntry::decode(b"").is_err());
}

#[test]
fn an_entry_costs_little() {
    let bytes = samples::index_entry().encode().len();
    assert!(bytes <= 110, "{bytes} bytes");
}
