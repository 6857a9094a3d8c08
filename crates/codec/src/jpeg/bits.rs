//! Bits of entropy-coded data, with a zero byte behind every FF (ITU-T T.81, F.1.2.3).

/// Writes bits, the first one highest.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// What is not yet in `bytes`: the lowest `count` bits.
    pending: u64,
    count: u32,
}

impl BitWriter {
    /// Appends to `bytes`.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, pending: 0, count: 0 }
    }

    /// Appends the lowest `count` bits, at most 31; those above them are zero.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.pending = self.pending << count | u64::from(bits);
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            #[expect(clippy::cast_possible_truncation, reason = "the upper bits are written already")]
            let word = (self.pending >> self.count) as u32;
            self.write(word);
        }
    }

    #[inline(always)]
    fn write(&mut self, word: u32) {
        // A byte is FF exactly where its complement is zero.
        let has_marker = !word.wrapping_add(0x0101_0101) & word & 0x8080_8080 != 0;
        if has_marker {
            self.write_stuffed(&word.to_be_bytes());
        } else {
            self.bytes.extend_from_slice(&word.to_be_bytes());
        }
    }

    #[cold]
    fn write_stuffed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
        }
    }

    /// Fills the last byte with ones.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let fill = (8 - self.count % 8) % 8;
        self.put((1 << fill) - 1, fill);
        let rest = self.pending << (64 - self.count).min(63);
        let bytes = rest.to_be_bytes();
        if self.count > 0 {
            self.write_stuffed(&bytes[..self.count as usize / 8]);
        }
        self.bytes
    }
}

/// Reads bits up to the next marker, and zeros behind that.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, the first one highest; below the lowest `count` of them are zeros.
    bits: u64,
    count: u32,
    /// How many of `count` are not in the file.
    invented: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, bits: 0, count: 0, invented: 0 }
    }

    /// Makes sure of at least 32 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(next) = self.bytes.get(self.at..self.at + 4).and_then(|bytes| bytes.first_chunk()) {
            let word = u32::from_be_bytes(*next);
            if !word.wrapping_add(0x0101_0101) & word & 0x8080_8080 == 0 {
                self.bits |= u64::from(word) << (32 - self.count);
                self.at += 4;
                self.count += 32;
                return;
            }
        }
        self.refill_bytewise();
    }

    #[cold]
    fn refill_bytewise(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    0xFF
                }
                Some([byte, ..]) if *byte != 0xFF => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.invented += 8;
                    0
                }
            };
            self.bits |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next bits without taking them, at most 32 after [`refill`](Self::refill).
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> usize {
        // Shifted in two steps: by 64 in one is not defined.
        usize::try_from(self.bits >> 1 >> (63 - count)).expect("at most 32 bits")
    }

    /// Takes bits that were looked at.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.bits <<= count;
        self.count -= count;
    }

    /// Whether bits were taken that are not in the file.
    pub(super) fn is_beyond_end(&self) -> bool {
        self.invented > self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit.
    fn naive(pieces: &[(u32, u32)]) -> Vec<u8> {
        let mut bits: Vec<bool> =
            pieces.iter().flat_map(|&(bits, count)| (0..count).rev().map(move |at| bits >> at & 1 == 1)).collect();
        bits.resize(bits.len().next_multiple_of(8), true);
        let byte = |bits: &[bool]| bits.iter().fold(0_u8, |byte, &bit| byte << 1 | u8::from(bit));
        bits.chunks(8).map(byte).flat_map(|byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] }).collect()
    }

    #[test]
    fn it_writes_what_a_naive_one_writes() {
        let mut state = 12_345_u32;
        for length in 0..200 {
            let pieces: Vec<_> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let count = state >> 27;
                    // Many ones, so that FF is frequent.
                    ((state | state << 3 | state >> 5) & ((1 << count) - 1), count)
                })
                .collect();
            let mut writer = BitWriter::new(Vec::new());
            pieces.iter().for_each(|&(bits, count)| writer.put(bits, count));
            assert_eq!(writer.finish(), naive(&pieces), "{pieces:?}");
        }
    }

    #[test]
    fn what_was_written_is_read_back_up_to_the_marker() {
        let pieces: Vec<(u32, u32)> =
            (0..500).map(|at| (((at * 2_654_435) | 0xFF0) & ((1 << (at % 32)) - 1), at % 32)).collect();
        let mut writer = BitWriter::new(Vec::new());
        pieces.iter().for_each(|&(bits, count)| writer.put(bits, count));
        let mut bytes = writer.finish();
        bytes.extend([0xFF, 0xD0, 0x55, 0x55]);
        let mut reader = BitReader::new(&bytes);
        for &(bits, count) in &pieces {
            reader.refill();
            assert_eq!(reader.peek(count), bits as usize);
            reader.skip(count);
        }
        assert!(!reader.is_beyond_end());
        reader.refill();
        reader.skip(8);
        assert!(reader.is_beyond_end() && reader.peek(16) == 0, "a marker is not data");
    }
}
