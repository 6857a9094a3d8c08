//! The few bits of a sequence parameter set that a decoder configuration repeats.

/// Bits of a NAL unit's payload, without emulation prevention (H.264 7.4.1, H.265 7.4.2).
pub(super) struct Rbsp {
    bytes: Vec<u8>,
    bit: usize,
}

/// The payload ends before the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndOfPayload;

type Read<T> = Result<T, EndOfPayload>;

impl Rbsp {
    /// Looks at most at `limit` bytes of what follows the NAL unit header.
    pub(super) fn new(payload: &[u8], limit: usize) -> Self {
        let mut bytes = Vec::with_capacity(payload.len().min(limit));
        let mut zeros = 0;
        for &byte in payload.iter().take(limit) {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Self { bytes, bit: 0 }
    }

    /// Bits that have no emulation prevention.
    pub(super) fn plain(payload: &[u8], limit: usize) -> Self {
        Self { bytes: payload[..payload.len().min(limit)].to_vec(), bit: 0 }
    }

    /// Whole bytes from the beginning.
    pub(super) fn front(&self, count: usize) -> Read<&[u8]> {
        self.bytes.get(..count).ok_or(EndOfPayload)
    }

    pub(super) fn skip(&mut self, bits: usize) {
        self.bit = self.bit.saturating_add(bits);
    }

    pub(super) fn bits(&mut self, count: u32) -> Read<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = *self.bytes.get(self.bit / 8).ok_or(EndOfPayload)?;
            let bit = byte >> (7 - self.bit % 8) & 1;
            self.bit += 1;
            Ok(value << 1 | u32::from(bit))
        })
    }

    pub(super) fn flag(&mut self) -> Read<bool> {
        Ok(self.bits(1)? == 1)
    }

    /// Exp-Golomb (H.264 9.1, H.265 9.2).
    pub(super) fn ue(&mut self) -> Read<u32> {
        let mut zeros = 0;
        while self.bits(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return Err(EndOfPayload);
            }
        }
        let rest = self.bits(zeros)?;
        Ok(u32::try_from((1_u64 << zeros) - 1).unwrap_or(u32::MAX).saturating_add(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_emulation_prevention() {
        // 1 010 011 00100 00101 | then bytes with 00 00 03 01 inside.
        let mut bits = Rbsp::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000, 0, 0, 3, 1], 99);
        assert_eq!([(); 5].map(|()| bits.ue().unwrap()), [0, 1, 2, 3, 4]);
        assert_eq!(Rbsp::new(&[0, 0, 3, 1], 99).front(3), Ok(&[0, 0, 1][..]));
        assert_eq!(Rbsp::new(&[0, 0, 3, 1], 99).front(4), Err(EndOfPayload));
        assert_eq!(Rbsp::new(&[0; 8], 99).ue(), Err(EndOfPayload));
        assert_eq!(Rbsp::new(&[], 99).bits(1), Err(EndOfPayload));
    }
}
