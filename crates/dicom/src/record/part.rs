//! Metadata that is too large for a record: cutting it, and putting it together again.

use super::{FINGERPRINT, MAX_METADATA_BYTES, MAX_VALUE_BYTES, ObjectId, PartHeader, schema};
use crate::DicomError;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Most objects whose metadata is incomplete, per [`PartCollector`].
pub const MAX_OPEN_OBJECTS: usize = 256;
/// Most bytes of incomplete metadata, per [`PartCollector`].
pub const MAX_OPEN_BYTES: usize = 64 << 20;

/// One record of `dicom_metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Value of the record header.
    pub header: PartHeader,
    /// Value of the record.
    pub value: Bytes,
}

/// Cuts encoded metadata into records, without copying. The last one commits the object.
pub fn parts(object_id: ObjectId, encoded: &Bytes) -> impl ExactSizeIterator<Item = Part> + '_ {
    let count = encoded.len().div_ceil(MAX_VALUE_BYTES).max(1);
    // `Metadata::encode` gives at most 48 MiB.
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (0..count).map(move |index| {
        let start = index * MAX_VALUE_BYTES;
        let value = encoded.slice(start..encoded.len().min(start + MAX_VALUE_BYTES));
        let header = PartHeader {
            object_id,
            index: number(index),
            count: number(count),
            total_bytes: number(encoded.len()),
            crc32c: crc32c::crc32c(&value),
            fingerprint: FINGERPRINT,
        };
        Part { header, value }
    })
}

/// Puts the parts of many objects' metadata together; those of different objects may lie between each other.
///
/// What is incomplete is bounded: the object that was begun first goes first. Parts come in order within a partition; a
/// repeat of a part is ignored, and part 0 begins anew.
#[derive(Debug, Default)]
pub struct PartCollector {
    open: VecDeque<Open>,
    open_bytes: usize,
    given_up: u64,
}

#[derive(Debug)]
struct Open {
    first: PartHeader,
    next: u32,
    held: BytesMut,
}

impl PartCollector {
    /// Nothing is open.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Objects whose metadata has begun and not ended.
    pub fn open_objects(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.open.iter().map(|open| open.first.object_id)
    }

    /// Objects that were given up for lack of room.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Takes a record's header and value; returns the encoded metadata when it is complete.
    ///
    /// # Errors
    /// [`DicomError::Schema`] for another version of the schema, [`DicomError::TooLarge`] and [`DicomError::Part`] for
    /// parts that cannot be; what is open of the object is dropped then.
    pub fn push(&mut self, header: &PartHeader, value: &Bytes) -> Result<Option<Bytes>, DicomError> {
        let result = schema::known(header.fingerprint)
            .and_then(|()| check(header, value))
            .and_then(|()| if header.count == 1 { Ok(Some(value.clone())) } else { self.take(header, value) });
        if !matches!(result, Ok(None)) {
            self.drop_object(header.object_id);
        }
        result
    }

    fn position(&self, object_id: ObjectId) -> Option<usize> {
        self.open.iter().position(|open| open.first.object_id == object_id)
    }

    fn drop_object(&mut self, object_id: ObjectId) {
        if let Some(open) = self.position(object_id).and_then(|position| self.open.remove(position)) {
            self.open_bytes -= open.held.len();
        }
    }

    fn take(&mut self, header: &PartHeader, value: &Bytes) -> Result<Option<Bytes>, DicomError> {
        if header.index == 0 && self.position(header.object_id).is_none() {
            self.open.push_back(Open { first: *header, next: 0, held: BytesMut::new() });
        }
        let wrong = |what| DicomError::Part { object: header.object_id, index: header.index, what };
        let position = self.position(header.object_id).ok_or_else(|| wrong("its first part did not come"))?;
        let open = &mut self.open[position];
        if (open.first.count, open.first.total_bytes) != (header.count, header.total_bytes) {
            return Err(wrong("the parts disagree on how many there are"));
        }
        if header.index < open.next {
            return Ok(None);
        }
        if header.index > open.next {
            return Err(wrong("the part before it did not come"));
        }
        if open.held.len() + value.len() > header.total_bytes as usize {
            return Err(wrong("the parts are longer than the whole"));
        }
        open.held.extend_from_slice(value);
        open.next += 1;
        self.open_bytes += value.len();
        if open.next == header.count {
            if open.held.len() != header.total_bytes as usize {
                return Err(wrong("the parts are shorter than the whole"));
            }
            let whole = std::mem::take(&mut open.held).freeze();
            self.open_bytes -= whole.len();
            return Ok(Some(whole));
        }
        self.make_room(header.object_id);
        Ok(None)
    }

    fn make_room(&mut self, keep: ObjectId) {
        while self.open.len() > MAX_OPEN_OBJECTS || self.open_bytes > MAX_OPEN_BYTES {
            let Some(oldest) = self.open.iter().map(|open| open.first.object_id).find(|&id| id != keep) else { return };
            self.drop_object(oldest);
            self.given_up += 1;
        }
    }
}

fn check(header: &PartHeader, value: &Bytes) -> Result<(), DicomError> {
    super::at_most("the encoded metadata", header.total_bytes as usize, MAX_METADATA_BYTES)?;
    let wrong = |what| Err(DicomError::Part { object: header.object_id, index: header.index, what });
    if header.index >= header.count || u64::from(header.count) > u64::from(header.total_bytes).max(1) {
        return wrong("its index, count and total cannot be");
    }
    if header.count == 1 && value.len() != header.total_bytes as usize {
        return wrong("it is not as long as it says");
    }
    if crc32c::crc32c(value) != header.crc32c {
        return wrong("the CRC-32C of its bytes differs");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ObjectId = ObjectId::from_bytes([1; 16]);

    fn large() -> Bytes {
        (0..MAX_VALUE_BYTES * 2 + 10).map(|place| u8::try_from(place % 251).unwrap()).collect()
    }

    #[test]
    fn parts_come_together_with_repeats_and_others_between() {
        let (whole, other) = (large(), ObjectId::from_bytes([2; 16]));
        let mut collector = PartCollector::new();
        let mut done = Vec::new();
        for (mine, theirs) in parts(ID, &whole).zip(parts(other, &whole)) {
            for part in [&mine, &theirs, &mine] {
                match collector.push(&part.header, &part.value) {
                    Ok(taken) => done.extend(taken),
                    // The last part again: its object is complete and forgotten.
                    Err(error) => assert!(mine.header.index == 2, "{error}"),
                }
            }
        }
        assert_eq!(done, [whole.clone(), whole]);
        assert_eq!((collector.open_bytes, collector.open.len()), (0, 0));
    }

    #[test]
    fn what_cannot_be_is_refused_and_forgotten() {
        let whole = large();
        let all: Vec<Part> = parts(ID, &whole).collect();
        let check = |change: &dyn Fn(&mut PartHeader)| {
            let mut collector = PartCollector::new();
            collector.push(&all[0].header, &all[0].value).unwrap();
            let mut header = all[1].header;
            change(&mut header);
            let error = collector.push(&header, &all[1].value).unwrap_err();
            assert_eq!(collector.open_bytes, 0);
            error.to_string()
        };
        assert!(check(&|header| header.index = 2).contains("did not come"));
        assert!(check(&|header| header.count = 4).contains("disagree"));
        assert!(check(&|header| header.crc32c ^= 1).contains("CRC-32C"));
        assert!(check(&|header| header.total_bytes = u32::MAX).contains("limit"));
        assert!(check(&|header| header.fingerprint = 7).contains("update the reader"));
    }

    #[test]
    fn open_metadata_is_bounded() {
        let whole = large();
        let first = parts(ID, &whole).next().unwrap();
        let mut collector = PartCollector::new();
        for number in 0..1_000_u128 {
            let header = PartHeader { object_id: ObjectId::from_bytes(number.to_be_bytes()), ..first.header };
            assert_eq!(collector.push(&header, &first.value).unwrap(), None);
            assert!(collector.open_bytes <= MAX_OPEN_BYTES && collector.open.len() <= MAX_OPEN_OBJECTS);
        }
        assert_eq!(collector.given_up(), 1_000 - collector.open_objects().count() as u64);
    }
}
