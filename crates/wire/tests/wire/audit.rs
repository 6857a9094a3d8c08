//! Audit records and checkpoints: frozen bytes, round trips, hostile bytes.

use bytes::Bytes;
use lumenbus_wire::WireError;
use lumenbus_wire::audit::{
    Action, ActorKind, AuditBody, CheckpointBody, CheckpointEntry, MAX_AUDIT_BYTES, MAX_AUDIT_NAME_BYTES, ObjectKind,
    Outcome, SealedCheckpoint, SealedRecord,
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn body(sequence: u64) -> AuditBody {
    AuditBody {
        instance: "gateway-1".to_owned(),
        sequence,
        previous: (sequence > 1).then_some([0x11; 32]),
        public_key: (sequence == 1).then_some([0x22; 32]),
        unix_nanos: 1_750_000_012_345_678_901,
        actor_kind: ActorKind::AeTitle,
        actor: "CT_1".to_owned(),
        program: "lumenbus 0.1.0".to_owned(),
        host: "ward-3".to_owned(),
        peer: "10.0.0.7:41122".to_owned(),
        action: Action::Receive,
        object_kind: Some(ObjectKind::SopInstance),
        object: "1.2.840.113619.2.1".to_owned(),
        outcome: Outcome::MinorFailure,
        reason: "no room".to_owned(),
        details: vec![("bytes".to_owned(), "39205".to_owned())],
        lost_before: 2,
        dicom_message: "<AuditMessage/>".to_owned(),
    }
}

fn checkpoint() -> CheckpointBody {
    let entry = CheckpointEntry {
        instance: "gateway-1".to_owned(),
        sequence: 7,
        hash: [0x33; 32],
        offset: 12,
        public_key: [0x22; 32],
        first_sequence: 3,
    };
    let (topic, unix_nanos) = ("lumenbus.audit".to_owned(), 1_750_000_012_345_678_901);
    CheckpointBody { topic, unix_nanos, log_start: 5, log_end: 13, entries: vec![entry] }
}

/// Bytes of version 1 by name. The signatures are no signatures: this crate does not look at them.
fn samples() -> [(&'static str, Bytes); 3] {
    let sealed = |body: AuditBody| SealedRecord { body: body.encode().unwrap(), signature: [0x44; 64] }.encode();
    let kept = SealedCheckpoint { body: checkpoint().encode().unwrap(), signature: [0x55; 64], public_key: [0x66; 32] };
    [("first.value", sealed(body(1))), ("later.value", sealed(body(2))), ("checkpoint.bin", kept.encode())]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/audit/v1")
}

#[test]
fn golden_bytes_of_the_audit_trail_are_written_and_read() {
    for (name, bytes) in samples() {
        let path = folder().join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}");
    }
    let read = |name: &str| std::fs::read(folder().join(name)).unwrap();
    let record = |name: &str| AuditBody::decode(&SealedRecord::decode(&read(name)).unwrap().body).unwrap();
    assert_eq!((record("first.value"), record("later.value")), (body(1), body(2)));
    let kept = SealedCheckpoint::decode(&read("checkpoint.bin")).unwrap();
    assert_eq!(CheckpointBody::decode(&kept.body).unwrap(), checkpoint());
}

#[test]
fn what_breaks_a_rule_is_neither_written_nor_read() {
    let long = "x".repeat(MAX_AUDIT_NAME_BYTES + 1);
    let wrong = [
        AuditBody { sequence: 0, ..body(1) },
        AuditBody { previous: None, ..body(2) },
        AuditBody { public_key: None, ..body(1) },
        AuditBody { instance: "a b".to_owned(), ..body(1) },
        AuditBody { instance: String::new(), ..body(1) },
        AuditBody { actor: long, ..body(1) },
        AuditBody { object_kind: None, ..body(1) },
        AuditBody { details: vec![(String::new(), String::new()); 33], ..body(1) },
    ];
    for (number, body) in wrong.into_iter().enumerate() {
        assert!(body.encode().is_err(), "{number}");
    }
    let mut twice = checkpoint();
    twice.entries.push(twice.entries[0].clone());
    assert!(twice.encode().is_err());
    assert!(matches!(SealedRecord::decode(&vec![0; MAX_AUDIT_BYTES + 1]), Err(WireError::TooLarge { .. })));
    let mut newer = samples()[0].1.to_vec();
    newer[1] = 2;
    assert!(matches!(SealedRecord::decode(&newer), Err(WireError::Version { found: 2, .. })));
}

fn any_body() -> impl Strategy<Value = AuditBody> {
    let texts = proptest::collection::vec("\\PC{0,60}", 8);
    let details = proptest::collection::vec(("\\PC{0,20}", "\\PC{0,40}"), 0..5);
    let kinds = (0..Action::ALL.len(), 0..ActorKind::ALL.len(), 0..Outcome::ALL.len(), 0..=ObjectKind::ALL.len());
    ("[A-Za-z0-9._-]{1,64}", 1_u64.., any::<[u8; 32]>(), any::<i64>(), texts, details, kinds, any::<u64>()).prop_map(
        |(instance, sequence, bytes, unix_nanos, texts, details, (action, actor, outcome, object), lost_before)| {
            let mut texts = texts.into_iter();
            let mut text = || texts.next().unwrap();
            let object_kind = ObjectKind::ALL.get(object).copied();
            AuditBody {
                instance,
                sequence,
                previous: (sequence > 1).then_some(bytes),
                public_key: (sequence == 1).then_some(bytes),
                unix_nanos,
                actor_kind: ActorKind::ALL[actor],
                actor: text(),
                program: text(),
                host: text(),
                peer: text(),
                action: Action::ALL[action],
                object_kind,
                object: object_kind.map_or_else(String::new, |_| text()),
                outcome: Outcome::ALL[outcome],
                reason: text(),
                details,
                lost_before,
                dicom_message: text(),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_record_is_read_as_it_was_written(body in any_body()) {
        let sealed = SealedRecord { body: body.encode().unwrap(), signature: [7; 64] };
        let read = SealedRecord::decode(&sealed.encode()).unwrap();
        prop_assert_eq!(&read, &sealed);
        prop_assert_eq!(AuditBody::decode(&read.body).unwrap(), body);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = SealedRecord::decode(&bytes).map(|record| AuditBody::decode(&record.body));
        let _ = (AuditBody::decode(&bytes), CheckpointBody::decode(&bytes), SealedCheckpoint::decode(&bytes));
    }
}
