//! Bits and Exp-Golomb codes of a NAL unit's payload.

/// Why a header's bits could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitError {
    /// The data ends in the middle of a field.
    #[error("the data ends too early")]
    EndOfData,
    /// An Exp-Golomb code longer than 32 bits.
    #[error("a variable-length code is longer than the standard allows")]
    CodeTooLong,
    /// A value outside the standard's range.
    #[error("{field} has the impossible value {value}")]
    OutOfRange {
        /// The field's name in the standard.
        field: &'static str,
        /// Its value.
        value: u32,
    },
}

pub(super) type BitResult<T> = Result<T, BitError>;

/// Reads bits and leaves out emulation prevention bytes (H.264 7.3.1: `emulation_prevention_three_byte`).
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    next: usize,
    zeros: u8,
    current: u8,
    left: u8,
    taken: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: 0, zeros: 0, current: 0, left: 0, taken: 0 }
    }

    fn load_byte(&mut self) -> BitResult<()> {
        let mut byte = *self.bytes.get(self.next).ok_or(BitError::EndOfData)?;
        self.next += 1;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.get(self.next).ok_or(BitError::EndOfData)?;
            self.next += 1;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        self.current = byte;
        self.left = 8;
        Ok(())
    }

    pub(super) fn flag(&mut self) -> BitResult<bool> {
        if self.left == 0 {
            self.load_byte()?;
        }
        self.left -= 1;
        self.taken += 1;
        Ok(self.current >> self.left & 1 == 1)
    }

    /// Bits read so far, without emulation prevention.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// `u(count)`, `count` ≤ 32.
    pub(super) fn bits(&mut self, count: u32) -> BitResult<u32> {
        debug_assert!(count <= 32, "fields have at most 32 bits");
        let mut value = 0_u32;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// `u(8)`.
    pub(super) fn byte(&mut self) -> BitResult<u8> {
        let value = self.bits(8)?;
        Ok(value.to_be_bytes()[3])
    }

    pub(super) fn skip(&mut self, count: u32) -> BitResult<()> {
        (0..count).try_for_each(|_| self.flag().map(drop))
    }

    /// `ue(v)` (H.264 9.1).
    pub(super) fn ue(&mut self) -> BitResult<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(BitError::CodeTooLong);
            }
        }
        let suffix = self.bits(zeros)?;
        Ok((1_u32 << zeros) - 1 + suffix)
    }

    /// `ue(v)` that must not exceed `max`.
    pub(super) fn ue_max(&mut self, field: &'static str, max: u32) -> BitResult<u32> {
        let value = self.ue()?;
        if value > max { Err(BitError::OutOfRange { field, value }) } else { Ok(value) }
    }

    /// `ue(v)` of an id or count that fits a byte.
    pub(super) fn ue_byte(&mut self, field: &'static str, max: u8) -> BitResult<u8> {
        let value = self.ue_max(field, u32::from(max))?;
        Ok(value.to_be_bytes()[3])
    }

    /// `se(v)` (H.264 9.1.1).
    pub(super) fn se(&mut self) -> BitResult<i32> {
        let code = i64::from(self.ue()?);
        let magnitude = (code + 1) / 2;
        let value = if code % 2 == 0 { -magnitude } else { magnitude };
        Ok(i32::try_from(value).expect("|code| < 2^32, so half of it fits"))
    }
}

/// Writes bits and Exp-Golomb codes.
#[derive(Default)]
pub(super) struct BitWriter {
    bits: Vec<bool>,
}

impl BitWriter {
    pub(super) fn flag(&mut self, value: bool) {
        self.bits.push(value);
    }

    pub(super) fn bits(&mut self, value: u32, count: u32) {
        (0..count).rev().for_each(|bit| self.bits.push(value >> bit & 1 == 1));
    }

    pub(super) fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let length = 64 - code.leading_zeros();
        (1..length).for_each(|_| self.bits.push(false));
        (0..length).rev().for_each(|bit| self.bits.push(code >> bit & 1 == 1));
    }

    /// With the RBSP stop bit and emulation prevention.
    pub(super) fn finish_escaped(mut self) -> Vec<u8> {
        self.bits.push(true);
        let raw = self
            .bits
            .chunks(8)
            .map(|chunk| chunk.iter().enumerate().fold(0_u8, |byte, (at, &bit)| byte | u8::from(bit) << (7 - at)));
        let mut out = Vec::new();
        let mut zeros = 0;
        for byte in raw {
            if zeros >= 2 && byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            out.push(byte);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::BitWriter;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_round_trip_through_emulation_prevention(values in proptest::collection::vec(0_u32..u32::MAX / 2, 1..40)) {
            let mut writer = BitWriter::default();
            for &value in &values {
                writer.ue(value);
                writer.bits(value, 32);
            }
            let bytes = writer.finish_escaped();
            prop_assert!(!bytes.windows(3).any(|w| w[0] == 0 && w[1] == 0 && w[2] < 3));
            let mut reader = BitReader::new(&bytes);
            for &value in &values {
                prop_assert_eq!(reader.ue(), Ok(value));
                prop_assert_eq!(reader.bits(32), Ok(value));
            }
        }

        #[test]
        fn any_bytes_end_in_an_error_not_in_a_loop(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = BitReader::new(&bytes);
            let mut steps = 0;
            while reader.se().is_ok() {
                steps += 1;
                prop_assert!(steps <= 8 * bytes.len());
            }
        }
    }

    #[test]
    fn signed_codes_alternate() {
        let mut writer = BitWriter::default();
        (0..5).for_each(|code| writer.ue(code));
        let bytes = writer.finish_escaped();
        let mut reader = BitReader::new(&bytes);
        assert_eq!((0..5).map(|_| reader.se().unwrap()).collect::<Vec<_>>(), [0, 1, -1, 2, -2]);
    }
}
