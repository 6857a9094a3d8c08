//! A record as JSON, for searches, exports and messages to systems that know no DICOM.

use super::key::hex;
use lumenbus_wire::audit::AuditBody;
use serde_json::{Map, Value, json};

/// The record as an object; what is empty is left out. `hash` and `offset` are of the record in the log.
#[must_use]
pub fn to_json(body: &AuditBody, hash: &[u8], offset: u64) -> Value {
    let time = jiff::Timestamp::from_nanosecond(i128::from(body.unix_nanos)).unwrap_or_default();
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        let is_empty = value.is_null() || value.as_str() == Some("");
        if !is_empty {
            object.insert(name.to_owned(), value);
        }
    };
    put("offset", json!(offset));
    put("instance", json!(body.instance));
    put("sequence", json!(body.sequence));
    put("time", json!(time.to_string()));
    put("unix_nanos", json!(body.unix_nanos));
    put("who", json!(body.actor));
    put("who_kind", json!(body.actor_kind.as_str()));
    put("what", json!(body.action.as_str()));
    put("outcome", json!(body.outcome.as_str()));
    put("object", json!(body.object));
    put("object_kind", json!(body.object_kind.map(lumenbus_wire::audit::ObjectKind::as_str)));
    put("peer", json!(body.peer));
    put("host", json!(body.host));
    put("program", json!(body.program));
    put("reason", json!(body.reason));
    if !body.details.is_empty() {
        let details = body.details.iter().map(|(name, value)| (name.clone(), json!(value)));
        put("details", Value::Object(details.collect()));
    }
    if body.lost_before > 0 {
        put("lost_before", json!(body.lost_before));
    }
    put("dicom", json!(body.dicom_message));
    put("hash", json!(hex(hash)));
    put("previous", json!(body.previous.map(|hash| hex(&hash))));
    put("public_key", json!(body.public_key.map(|key| hex(&key))));
    Value::Object(object)
}
