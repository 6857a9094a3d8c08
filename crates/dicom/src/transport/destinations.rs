//! Who is to get the objects: `lumenbus.destinations`.
//!
//! Kafka forgets what a group has committed that was away for a week. A destination stays until it is dropped, and while
//! nothing is known of its offsets, nothing counts as delivered to it.

use super::failed::now_unix_millis;
use super::{Family, TransportError};
use lumenbus_bus::BusConfig;
use lumenbus_bus::objects::{Budget, Deliveries, Outgoing, RecordCompression, RecordWriter, TopicView};
use lumenbus_bus::topics::DESTINATIONS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

const VERSION: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(30);
const BUDGET_BYTES: usize = 1 << 20;

/// A value of `lumenbus.destinations`, as JSON; its key is the destination's name, which is that of its consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Of this form.
    pub version: u32,
    /// When it was registered, in milliseconds of Unix time.
    pub registered_unix_millis: i64,
    /// Which objects it gets; as they came, where nothing is said.
    #[serde(default)]
    pub family: Family,
}

/// All destinations by name.
///
/// # Errors
/// What is wrong with the brokers.
pub fn destinations(bus: &BusConfig) -> Result<BTreeMap<String, Destination>, TransportError> {
    let view = TopicView::open(bus, bus.topic_prefix.topic(DESTINATIONS))?;
    let mut found = BTreeMap::new();
    view.read(&view.bounds()?, PATIENCE, |record| {
        let name = String::from_utf8_lossy(record.key()).into_owned();
        match record.value().map(serde_json::from_slice::<Destination>) {
            None => drop(found.remove(&name)),
            // What a newer version wrote is a destination, too: nothing of its objects may go.
            Some(value) => {
                let registered_unix_millis = record.unix_millis();
                let unknown = Destination { version: 0, registered_unix_millis, family: Family::default() };
                found.insert(name, value.unwrap_or(unknown));
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Registers a destination for objects of this family; whether it is new.
///
/// # Errors
/// [`TransportError::OtherFamily`], and what is wrong with the brokers.
pub fn register(bus: &BusConfig, name: &str, family: Family) -> Result<bool, TransportError> {
    match destinations(bus)?.get(name) {
        Some(known) if known.family == family => return Ok(false),
        Some(_) => return Err(TransportError::OtherFamily { name: name.to_owned() }),
        None => {}
    }
    let destination = Destination { version: VERSION, registered_unix_millis: now_unix_millis(), family };
    let value = serde_json::to_vec(&destination).unwrap_or_default();
    write(bus, name, Some(&value)).map(|()| true)
}

/// Takes a destination off the list: nothing is kept for it any more.
///
/// # Errors
/// [`TransportError::UnknownDestination`], and what is wrong with the brokers.
pub fn drop_destination(bus: &BusConfig, name: &str) -> Result<(), TransportError> {
    if !destinations(bus)?.contains_key(name) {
        return Err(TransportError::UnknownDestination { name: name.to_owned() });
    }
    write(bus, name, None)
}

fn write(bus: &BusConfig, name: &str, value: Option<&[u8]>) -> Result<(), TransportError> {
    let topic = bus.topic_prefix.topic(DESTINATIONS);
    let writer = RecordWriter::open(bus, RecordCompression::None, &Budget::new(BUDGET_BYTES))?;
    let deliveries = Deliveries::new();
    let outgoing = Outgoing { topic: topic.as_str(), partition: 0, key: name, headers: &[], value };
    writer.send(&outgoing, &deliveries)?;
    writer.wait(topic.as_str(), &deliveries)?;
    Ok(())
}
