use super::*;
use kafka_protocol::records::RecordBatchDecoder;
use proptest::prelude::*;

fn sample() -> StoredGroup {
    let member = |id: &str, instance_id: Option<&str>| StoredMember {
        id: id.to_owned(),
        instance_id: instance_id.map(str::to_owned),
        client_id: "viewer".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout_ms: 300_000,
        session_timeout_ms: 45_000,
        subscription: Bytes::from_static(b"topics"),
        assignment: Bytes::from_static(b"partitions"),
    };
    StoredGroup {
        protocol_type: "consumer".to_owned(),
        generation: 7,
        protocol: Some("range".to_owned()),
        leader: Some("a".to_owned()),
        since_ms: 1_700_000_000_000,
        members: vec![member("a", None), member("b", Some("box-1"))],
    }
}

#[test]
fn offsets_survive_and_strangers_are_ignored() {
    let at = ("raw_video".to_owned(), 7);
    let key = offset_key("viewers", &at);
    assert_eq!(decode_key(key), Some(Key::Offset("viewers".to_owned(), at)));
    let committed =
        Committed { offset: 1 << 40, leader_epoch: -1, metadata: "μ".repeat(2048), committed_ms: 1_700_000_000_000 };
    assert_eq!(decode_offset(encode_offset(&committed)), Some(committed));
    assert_eq!(decode_key(Bytes::from_static(&[0, 3, 0, 1, b'g'])), None, "a key of the newer group protocol");
    assert_eq!(decode_offset(Bytes::from_static(&[0, 3, 0])), None);
    assert_eq!(decode_key(Bytes::from_static(&[0, 1, 0x7f, 0xff])), None);
}

#[test]
fn groups_survive() {
    assert_eq!(decode_key(group_key("g")), Some(Key::Group("g".to_owned())));
    let empty = StoredGroup { protocol: None, leader: None, members: Vec::new(), ..sample() };
    for group in [sample(), empty] {
        assert_eq!(decode_group(encode_group(&group)), Some(group));
    }
}

/// Values as other versions of Apache Kafka write them (from its `GroupMetadataValue.json` and
/// `OffsetCommitValue.json`).
#[test]
fn other_versions_are_read() {
    let mut oldest = vec![0, 0, 0, 1, b'c', 0, 0, 0, 5, 0, 1, b'r', 0, 1, b'm', 0, 0, 0, 1];
    oldest.extend([0, 1, b'm', 0, 1, b'i', 0, 1, b'h', 0, 0, 0, 9, 0, 0, 0, 1, b's', 0, 0, 0, 1, b'a']);
    let oldest = decode_group(oldest.into()).unwrap();
    assert_eq!((oldest.generation, oldest.since_ms, oldest.members[0].instance_id.as_deref()), (5, -1, None));
    assert_eq!((oldest.members[0].session_timeout_ms, oldest.members[0].rebalance_timeout_ms), (9, 9));
    assert_eq!(oldest.members[0].assignment, Bytes::from_static(b"a"));
    let mut newest = vec![0, 4, 2, b'c', 0, 0, 0, 5, 2, b'r', 0, 0, 0, 0, 0, 0, 0, 0, 3, 2];
    newest.extend([2, b'm', 2, b'x', 2, b'i', 2, b'h', 0, 0, 0, 8, 0, 0, 0, 9, 2, b's', 2, b'a', 1, 0, 1, 7, 0]);
    let newest = decode_group(newest.into()).unwrap();
    assert_eq!((newest.leader, newest.since_ms, newest.members[0].instance_id.as_deref()), (None, 3, Some("x")));
    assert_eq!((newest.members[0].session_timeout_ms, newest.members[0].rebalance_timeout_ms), (9, 8));
    let offset = decode_offset(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 4]));
    let offset = offset.unwrap();
    assert_eq!((offset.offset, offset.leader_epoch, &*offset.metadata, offset.committed_ms), (9, -1, "n", 4));
}

#[test]
fn a_batch_of_offsets_is_one_batch_without_sequence() {
    let entries = (0..5_u8).map(|n| (Bytes::from(vec![n]), None)).collect();
    let batch = encode_batch(entries, 5).unwrap();
    let info = RecordBatchDecoder::decode_batch_info(&mut batch.clone()).unwrap();
    assert_eq!(info.len(), 1);
    assert_eq!((info[0].record_count, info[0].base_sequence), (5, -1));
}

proptest! {
    #[test]
    fn what_is_cut_or_mangled_is_refused_without_harm(
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let whole = encode_group(&sample());
        let cut = cut.index(whole.len());
        prop_assert_eq!(decode_group(whole.slice(..cut)), None);
        let mut mangled = whole.to_vec();
        let at = at.index(mangled.len());
        mangled[at] = value;
        let _ = decode_group(Bytes::from(mangled.clone()));
        let _ = decode_offset(Bytes::from(mangled.clone()));
        let _ = decode_key(Bytes::from(mangled));
    }
}
