//! Audit records, checkpoints and their text: whatever is accepted survives encoding and decoding, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_wire::audit::{AuditBody, CheckpointBody, SealedCheckpoint, SealedRecord};

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = SealedRecord::decode(data) {
        assert_eq!(SealedRecord::decode(&record.encode()).expect("an encoded record decodes"), record);
    }
    for bytes in [Some(data.to_vec()), SealedRecord::decode(data).ok().map(|record| record.body.to_vec())] {
        let Some(Ok(body)) = bytes.map(|bytes| AuditBody::decode(&bytes)) else { continue };
        let again = body.encode().and_then(|bytes| AuditBody::decode(&bytes));
        assert_eq!(again.expect("an encoded body decodes"), body);
    }
    if let Ok(checkpoint) = SealedCheckpoint::decode(data) {
        assert_eq!(SealedCheckpoint::decode(&checkpoint.encode()).expect("it decodes"), checkpoint);
    }
    if let Ok(body) = CheckpointBody::decode(data) {
        let again = body.encode().and_then(|bytes| CheckpointBody::decode(&bytes));
        assert_eq!(again.expect("an encoded checkpoint decodes"), body);
    }
});
