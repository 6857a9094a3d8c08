//! Avro's binary encoding, as far as the schema uses it (Avro specification, "Binary Encoding").
//!
//! Written here because a reader must not allocate for what a length claims, and header and tail are to be slices.

use crate::DicomError;
use bytes::Bytes;

/// Most room made ahead for an array's items.
const MAX_RESERVED: usize = 1024;

/// Appends values.
pub(super) fn write_long(out: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while left > 0x7F {
        out.push((left & 0x7F) as u8 | 0x80);
        left >>= 7;
    }
    out.push((left & 0x7F) as u8);
}

/// A length or a number that is never negative.
pub(super) fn write_unsigned(out: &mut Vec<u8>, number: u64) {
    // What does not fit is refused by `Metadata::check`: no file has 2⁶³ bytes.
    write_long(out, i64::try_from(number).unwrap_or(i64::MAX));
}

pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The branch of `["null", …]`.
pub(super) fn write_optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    write_long(out, i64::from(value.is_some()));
    if let Some(value) = value {
        write(out, value);
    }
}

/// One block and the end.
pub(super) fn write_array<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        write_unsigned(out, items.len() as u64);
        for item in items {
            write(out, item);
        }
    }
    write_long(out, 0);
}

/// Reads values one after the other.
pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a Bytes, at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn wrong(&self, what: &'static str) -> DicomError {
        DicomError::Avro { offset: self.at, what }
    }

    pub(super) fn long(&mut self) -> Result<i64, DicomError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.wrong("it ends inside a number"))?;
            self.at += 1;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        Err(self.wrong("a number has more than 64 bits"))
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, DicomError> {
        u64::try_from(self.long()?).map_err(|_| self.wrong("a number is negative"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, DicomError> {
        u32::try_from(self.unsigned()?).map_err(|_| self.wrong("a number has more than 32 bits"))
    }

    pub(super) fn boolean(&mut self) -> Result<bool, DicomError> {
        match self.fixed::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.wrong("a boolean is neither 0 nor 1")),
        }
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DicomError> {
        let taken =
            self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).ok_or_else(|| self.wrong("it ends early"))?;
        self.at += N;
        Ok(*taken)
    }

    /// A slice of what is read.
    pub(super) fn bytes(&mut self) -> Result<Bytes, DicomError> {
        let length = self.unsigned()?;
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let end = end.filter(|&end| end <= self.bytes.len()).ok_or_else(|| self.wrong("it ends inside a value"))?;
        let value = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(value)
    }

    pub(super) fn string(&mut self, most: usize) -> Result<String, DicomError> {
        let bytes = self.bytes()?;
        if bytes.len() > most {
            return Err(self.wrong("a text is too long"));
        }
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| self.wrong("a text is not UTF-8"))
    }

    pub(super) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DicomError>,
    ) -> Result<Option<T>, DicomError> {
        match self.long()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(self.wrong("a union has no such branch")),
        }
    }

    /// All blocks of an array; each item takes at least a byte, so memory grows with what was read.
    pub(super) fn array<T>(
        &mut self,
        most: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DicomError>,
    ) -> Result<Vec<T>, DicomError> {
        let mut items = Vec::new();
        loop {
            let count = match self.long()? {
                0 => return Ok(items),
                // A block that says its size in bytes.
                negative if negative < 0 => {
                    self.unsigned()?;
                    negative.unsigned_abs()
                }
                count => count.unsigned_abs(),
            };
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if count > most - items.len() {
                return Err(self.wrong("an array has more items than any writer writes"));
            }
            items.reserve(count.min(MAX_RESERVED));
            for _ in 0..count {
                items.push(read(self)?);
            }
        }
    }

    pub(super) fn end(&self) -> Result<(), DicomError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.wrong("bytes follow behind the record")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_specification() {
        let check = |number: i64, expected: &[u8]| {
            let mut out = Vec::new();
            write_long(&mut out, number);
            assert_eq!(out, expected, "{number}");
            let bytes = Bytes::from(out);
            assert_eq!(Reader::new(&bytes, 0).long().unwrap(), number);
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(-64, &[0x7F]);
        check(64, &[0x80, 0x01]);
        check(i64::MAX, &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        check(i64::MIN, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
    }

    #[test]
    fn numbers_that_are_none() {
        for wrong in [&[0x80][..], &[0xFF; 10], &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]] {
            let bytes = Bytes::copy_from_slice(wrong);
            assert!(Reader::new(&bytes, 0).long().is_err(), "{wrong:02x?}");
        }
    }
}
