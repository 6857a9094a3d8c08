//! Records inside a v2 batch (Kafka protocol guide, "Record"); only compaction, time lookups and key checks look here.

/// One record, borrowed from decompressed batch contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordRef<'a> {
    pub(crate) attributes: u8,
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) is_tombstone: bool,
    /// From the key's length to the record's end, as it is stored.
    rest: &'a [u8],
}

impl<'a> RecordRef<'a> {
    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        let mut rest = self.rest;
        take_field(&mut rest).ok()?;
        take_field(&mut rest).ok()?
    }
}

/// The contents of a batch break the record format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadRecord;

/// Smallest possible record: length, attributes, two deltas, null key, null value, no headers.
pub(crate) const MIN_RECORD_BYTES: usize = 7;

/// Walks the records of a batch's decompressed contents.
pub(crate) fn records(contents: &[u8]) -> Records<'_> {
    Records { contents }
}

#[derive(Debug)]
pub(crate) struct Records<'a> {
    contents: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.contents.is_empty() {
            return None;
        }
        let parsed = take_record(&mut self.contents);
        if parsed.is_err() {
            self.contents = &[];
        }
        Some(parsed)
    }
}

fn take_record<'a>(contents: &mut &'a [u8]) -> Result<RecordRef<'a>, BadRecord> {
    let length = usize::try_from(take_varint(contents)?).map_err(|_| BadRecord)?;
    let (mut record, rest) = contents.split_at_checked(length).ok_or(BadRecord)?;
    *contents = rest;
    let (&attributes, after) = record.split_first().ok_or(BadRecord)?;
    record = after;
    let timestamp_delta = take_varlong(&mut record)?;
    let offset_delta = take_varint(&mut record)?;
    let rest = record;
    let key = take_field(&mut record)?;
    let is_tombstone = take_field(&mut record)?.is_none();
    Ok(RecordRef { attributes, timestamp_delta, offset_delta, key, is_tombstone, rest })
}

fn take_field<'a>(record: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BadRecord> {
    let length = take_varint(record)?;
    if length < 0 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| BadRecord)?;
    let (field, rest) = record.split_at_checked(length).ok_or(BadRecord)?;
    *record = rest;
    Ok(Some(field))
}

fn take_varint(bytes: &mut &[u8]) -> Result<i32, BadRecord> {
    i32::try_from(take_varlong(bytes)?).map_err(|_| BadRecord)
}

fn take_varlong(bytes: &mut &[u8]) -> Result<i64, BadRecord> {
    let mut raw = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(BadRecord)?;
        *bytes = rest;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    Err(BadRecord)
}

/// Appends `record` with another timestamp delta; everything else stays as it was stored.
pub(crate) fn put_rebased(out: &mut Vec<u8>, record: &RecordRef<'_>, timestamp_delta: i64) {
    let mut head = Vec::with_capacity(16);
    head.push(record.attributes);
    put_varlong(&mut head, timestamp_delta);
    put_varlong(&mut head, i64::from(record.offset_delta));
    put_varlong(out, (head.len() + record.rest.len()).try_into().unwrap_or(i64::MAX));
    out.extend_from_slice(&head);
    out.extend_from_slice(record.rest);
}

fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw >= 0x80 {
        out.push(raw.to_le_bytes()[0] | 0x80);
        raw >>= 7;
    }
    out.push(raw.to_le_bytes()[0]);
}

/// Appends a record without headers; `deltas` are those of its offset and timestamp.
pub(crate) fn put_record(out: &mut Vec<u8>, deltas: (i32, i64), key: Option<&[u8]>, value: Option<&[u8]>) {
    let (offset_delta, timestamp_delta) = deltas;
    let mut rest = Vec::new();
    for field in [key, value] {
        put_varlong(&mut rest, field.map_or(-1, |field| i64::try_from(field.len()).unwrap_or(i64::MAX)));
        rest.extend_from_slice(field.unwrap_or_default());
    }
    put_varlong(&mut rest, 0);
    let record =
        RecordRef { attributes: 0, timestamp_delta, offset_delta, key, is_tombstone: value.is_none(), rest: &rest };
    put_rebased(out, &record, timestamp_delta);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Field = Option<Vec<u8>>;

    fn field() -> impl Strategy<Value = Field> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))
    }

    proptest! {
        #[test]
        fn records_survive_a_round_trip(deltas in any::<(i32, i64)>(), key in field(), value in field(), moved in any::<i64>()) {
            let mut bytes = Vec::new();
            put_record(&mut bytes, deltas, key.as_deref(), value.as_deref());
            let record = records(&bytes).next().unwrap().unwrap();
            prop_assert_eq!((record.offset_delta, record.timestamp_delta), deltas);
            prop_assert_eq!(record.key, key.as_deref());
            prop_assert_eq!(record.is_tombstone, value.is_none());
            let mut again = Vec::new();
            put_rebased(&mut again, &record, moved);
            let rebased = records(&again).next().unwrap().unwrap();
            prop_assert_eq!(rebased.timestamp_delta, moved);
            prop_assert_eq!(rebased.rest, record.rest);
        }

        #[test]
        fn random_bytes_never_panic_and_always_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(records(&bytes).count() <= bytes.len());
        }
    }
}
