//! What could not be delivered, once more.

use super::failure::Trouble;
use super::{CHUNK_PATIENCE, Failure, Receiver, Run, Told};
use crate::record::{HEADER, Metadata, PartCollector, RecordHeader};
use crate::transport::TransportError;
use crate::transport::failed::{FailedRecord, open_failures};
use bytes::Bytes;
use lumenbus_bus::objects::Bounds;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

impl Receiver {
    /// Tries again what could not be delivered to this destination.
    pub(super) fn retry(&mut self, run: &mut Run<'_>) -> Result<(), TransportError> {
        for ((destination, ..), record) in open_failures(&self.config.bus)? {
            if destination != self.config.group {
                continue;
            }
            let result = match self.metadata_of(&record)? {
                Some(metadata) => self.store_patiently(None, record.partition, &metadata, run),
                None => Err(Trouble::Object(Failure::MissingMetadata)),
            };
            match result {
                Ok(stored) => {
                    self.failed.write(&record.resolved())?;
                    self.count(&stored);
                    self.stats.retried += 1;
                    (run.told)(Told::Stored(&stored));
                }
                Err(Trouble::Object(failure)) => {
                    self.stats.failed += 1;
                    (run.told)(Told::Failed(&record, &failure));
                }
                Err(Trouble::Lost | Trouble::Stopped) => return Ok(()),
                Err(Trouble::Away(error)) => return Err(error.into()),
                Err(Trouble::Fatal(error) | Trouble::Full(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The object that a failure refers to.
    fn metadata_of(&self, record: &FailedRecord) -> Result<Option<Metadata>, TransportError> {
        let mut parts = PartCollector::new();
        let mut found = None;
        let range = Bounds { start: record.first_offset, end: record.offset.saturating_add(1) };
        self.metadata.read(&BTreeMap::from([(record.partition, range)]), CHUNK_PATIENCE, |part| {
            if let Some(Ok(RecordHeader::Part(header))) = part.header(HEADER).map(RecordHeader::decode)
                && record.object_id.as_deref() == Some(header.object_id.to_string().as_str())
            {
                let whole = parts.push(&header, &Bytes::copy_from_slice(part.value().unwrap_or_default()));
                found = whole.ok().flatten().and_then(|whole| Metadata::decode(&whole).ok());
            }
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }
}
