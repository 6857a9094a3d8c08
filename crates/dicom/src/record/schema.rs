//! The schema of metadata records, and how a value says which schema it has.

use crate::DicomError;
use serde_json::{Map, Value};

/// The schema as text: what a schema registry is given.
pub const SCHEMA: &str = include_str!("../../schema/dicom_metadata.avsc");
/// The version that this build writes and reads.
pub const SCHEMA_VERSION: u32 = 1;
/// CRC-64-AVRO of [`SCHEMA`] in parsing canonical form.
pub const FINGERPRINT: u64 = 0x0500_a64d_96dc_1606;

/// First bytes of the single-object encoding (Avro specification, "Single-object encoding").
pub(super) const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];
/// First byte of the wire format of Confluent's schema registry.
pub(super) const REGISTRY: u8 = 0;
const MAX_SCHEMA_DEPTH: usize = 64;
const MAX_SCHEMA_BYTES: usize = 1 << 20;

/// What stands in front of the Avro bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `C3 01` and the fingerprint, little endian.
    SingleObject,
    /// `00` and the schema's id in a registry, big endian.
    Registry {
        /// What the registry answered when [`SCHEMA`] was registered.
        schema_id: u32,
    },
}

impl Framing {
    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        match self {
            Self::SingleObject => {
                bytes.extend_from_slice(&SINGLE_OBJECT);
                bytes.extend_from_slice(&FINGERPRINT.to_le_bytes());
            }
            Self::Registry { schema_id } => {
                bytes.push(REGISTRY);
                bytes.extend_from_slice(&schema_id.to_be_bytes());
            }
        }
    }

    /// The frame of a value, and where the Avro bytes begin.
    ///
    /// # Errors
    /// [`DicomError::Framing`], and [`DicomError::Schema`] for a fingerprint of others.
    pub fn read(value: &[u8]) -> Result<(Self, usize), DicomError> {
        match *value {
            [0xC3, 0x01, a, b, c, d, e, f, g, h, ..] => {
                let found = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
                known(found).map(|()| (Self::SingleObject, 10))
            }
            [REGISTRY, a, b, c, d, ..] => Ok((Self::Registry { schema_id: u32::from_be_bytes([a, b, c, d]) }, 5)),
            _ => Err(DicomError::Framing),
        }
    }
}

/// Whether this build reads records of the schema with this fingerprint.
pub(super) fn known(found: u64) -> Result<(), DicomError> {
    if found == FINGERPRINT {
        return Ok(());
    }
    Err(DicomError::Schema { found, supported: FINGERPRINT, version: SCHEMA_VERSION })
}

/// CRC-64-AVRO of a schema in parsing canonical form, to compare with [`FINGERPRINT`] what a registry has under an id.
///
/// # Errors
/// [`DicomError::SchemaText`] when the text is no schema.
pub fn fingerprint_of(schema: &str) -> Result<u64, DicomError> {
    let no_schema = |what| DicomError::SchemaText { what };
    if schema.len() > MAX_SCHEMA_BYTES {
        return Err(no_schema("it has more than 1 MiB"));
    }
    let schema: Value = serde_json::from_str(schema).map_err(|_| no_schema("it is not JSON"))?;
    let mut canonical = String::new();
    write_canonical(&schema, "", MAX_SCHEMA_DEPTH, &mut canonical).ok_or(no_schema("a type is none"))?;
    Ok(rabin(canonical.as_bytes()))
}

/// Avro specification, "Parsing Canonical Form for Schemas".
fn write_canonical(schema: &Value, namespace: &str, depth: usize, out: &mut String) -> Option<()> {
    const PRIMITIVE: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    let depth = depth.checked_sub(1)?;
    match schema {
        Value::String(name) if PRIMITIVE.contains(&name.as_str()) => quote(name, out),
        Value::String(name) => quote(&full_name(name, namespace), out),
        Value::Array(branches) => list(branches, out, |branch, out| write_canonical(branch, namespace, depth, out))?,
        Value::Object(fields) => write_object(fields, namespace, depth, out)?,
        _ => return None,
    }
    Some(())
}

fn write_object(fields: &Map<String, Value>, namespace: &str, depth: usize, out: &mut String) -> Option<()> {
    let kind = fields.get("type")?;
    let Some(kind) = kind.as_str() else {
        return write_canonical(kind, namespace, depth, out);
    };
    if !["record", "enum", "fixed", "array", "map"].contains(&kind) {
        return write_canonical(&Value::String(kind.to_owned()), namespace, depth, out);
    }
    let own_namespace = fields.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    out.push('{');
    let mut inside = own_namespace.to_owned();
    if let Some(name) = fields.get("name") {
        let full = full_name(name.as_str()?, own_namespace);
        inside = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        out.push_str("\"name\":");
        quote(&full, out);
        out.push(',');
    }
    out.push_str("\"type\":");
    quote(kind, out);
    for key in ["fields", "symbols", "items", "values", "size"] {
        let Some(value) = fields.get(key) else { continue };
        out.push_str(&format!(",\"{key}\":"));
        match key {
            "fields" => list(value.as_array()?, out, |field, out| {
                out.push_str("{\"name\":");
                quote(field.get("name")?.as_str()?, out);
                out.push_str(",\"type\":");
                write_canonical(field.get("type")?, &inside, depth, out)?;
                out.push('}');
                Some(())
            })?,
            "symbols" => list(value.as_array()?, out, |symbol, out| symbol.as_str().map(|symbol| quote(symbol, out)))?,
            "size" => out.push_str(&value.as_u64()?.to_string()),
            _ => write_canonical(value, &inside, depth, out)?,
        }
    }
    out.push('}');
    Some(())
}

fn list(values: &[Value], out: &mut String, mut write: impl FnMut(&Value, &mut String) -> Option<()>) -> Option<()> {
    out.push('[');
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write(value, out)?;
    }
    out.push(']');
    Some(())
}

fn quote(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// CRC-64-AVRO (Avro specification, "Schema Fingerprints").
fn rabin(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xC15D_213A_A4D7_A795;
    let step = |crc: u64, _| (crc >> 1) ^ (EMPTY & (crc & 1).wrapping_neg());
    bytes.iter().fold(EMPTY, |crc, &byte| (crc >> 8) ^ (0..8).fold((crc ^ u64::from(byte)) & 0xFF, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_the_specification() {
        // Of Avro's own test data, share/test/data/schema-tests.txt.
        assert_eq!(fingerprint_of("\"null\"").unwrap(), 7_195_948_357_588_979_594);
        assert_eq!(fingerprint_of("{\"type\": \"int\"}").unwrap(), 0x7275_d51a_3f39_5c8f);
        assert!(fingerprint_of("{").is_err() && fingerprint_of("{\"type\":7}").is_err());
    }

    #[test]
    fn the_fingerprint_is_the_schemas() {
        assert_eq!(format!("{:016x}", fingerprint_of(SCHEMA).unwrap()), format!("{FINGERPRINT:016x}"));
    }
}
