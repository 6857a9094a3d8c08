//! Going through the trail's topic.

use crate::settings::Settings;
use lumenbus_bus::journal::JournalReader;
use lumenbus_bus::topics::AUDIT;
use lumenbus_ops::audit::{AuditBody, SealedRecord, record_hash};
use std::time::Duration;

/// How long the broker may be silent while there is something to read.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn open(settings: &Settings) -> anyhow::Result<JournalReader> {
    lumenbus_bus::probe(&settings.bus).map_err(lumenbus_bus::BusError::from)?;
    Ok(JournalReader::open(&settings.bus, AUDIT)?)
}

/// A record as it lies there, with its hash; not verified. `None`: no audit record.
pub(super) fn read(value: &[u8]) -> Option<(AuditBody, [u8; 32])> {
    let record = SealedRecord::decode(value).ok()?;
    let body = AuditBody::decode(&record.body).ok()?;
    Some((body, record_hash(&record.body)))
}
