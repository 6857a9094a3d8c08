//! Huffman decoding by tables (ITU-T T.81, F.2.2).

use super::bits::BitReader;

/// Codes of at most so many bits are found in one step; nearly all are.
const LOOKUP_BITS: u32 = 10;

/// One table of a file.
pub(super) struct Decoding {
    /// By the next [`LOOKUP_BITS`]: symbol, and length of its code in the upper byte; 0: longer.
    short: Box<[u16; 1 << LOOKUP_BITS]>,
    /// By the same: a coefficient whose code and bits are all in them; 0: not so.
    coefficients: Box<[i32; 1 << LOOKUP_BITS]>,
    /// By length: the first code that is too large for it, aligned to 16 bits.
    limits: [u32; 17],
    /// By length: place of a code's symbol minus the code.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

/// A coefficient that was found in one step, packed: value, run, and bits taken.
pub(super) struct Quick(i32);

impl Quick {
    fn pack(value: i32, run: u32, bits: u32) -> i32 {
        value << 16 | (run << 8 | bits).cast_signed()
    }

    pub(super) fn value(&self) -> i32 {
        self.0 >> 16
    }

    pub(super) fn run(&self) -> usize {
        (self.0 >> 8 & 0xF).cast_unsigned() as usize
    }

    pub(super) fn bits(&self) -> u32 {
        (self.0 & 0xFF).cast_unsigned()
    }
}

impl Decoding {
    /// `None` when the lengths are not those of a prefix code, or a symbol is missing.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            short: Box::new([0; 1 << LOOKUP_BITS]),
            coefficients: Box::new([0; 1 << LOOKUP_BITS]),
            limits: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &count) in (1_u32..).zip(counts) {
            table.offsets[length as usize] = i32::try_from(place).ok()? - i32::try_from(code).ok()?;
            for _ in 0..count {
                if code >> length != 0 {
                    return None;
                }
                table.enter(code, length, *symbols.get(place)?);
                code += 1;
                place += 1;
            }
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    fn enter(&mut self, code: u32, length: u32, symbol: u8) {
        if length > LOOKUP_BITS {
            return;
        }
        let free = LOOKUP_BITS - length;
        let category = u32::from(symbol & 0xF);
        for rest in 0..1_u32 << free {
            let at = (code << free | rest) as usize;
            self.short[at] = u16::try_from(length << 8 | u32::from(symbol)).expect("a length of at most 16");
            if (1..=free).contains(&category) {
                let value = extended(rest >> (free - category), category);
                self.coefficients[at] = Quick::pack(value, u32::from(symbol >> 4), length + category);
            }
        }
    }

    /// A coefficient, its run and its code's length, where the next bits hold them all.
    #[inline(always)]
    pub(super) fn quick(&self, reader: &BitReader<'_>) -> Option<Quick> {
        let entry = self.coefficients[reader.peek(LOOKUP_BITS) & ((1 << LOOKUP_BITS) - 1)];
        (entry != 0).then_some(Quick(entry))
    }

    /// The next symbol; `None` for a code that no symbol has.
    #[inline(always)]
    pub(super) fn symbol(&self, reader: &mut BitReader<'_>) -> Option<u8> {
        let entry = self.short[reader.peek(LOOKUP_BITS) & ((1 << LOOKUP_BITS) - 1)];
        if entry != 0 {
            reader.skip(u32::from(entry >> 8));
            return Some(entry.to_be_bytes()[1]);
        }
        self.long_symbol(reader)
    }

    #[cold]
    fn long_symbol(&self, reader: &mut BitReader<'_>) -> Option<u8> {
        let next = u32::try_from(reader.peek(16)).ok()?;
        let length = (LOOKUP_BITS + 1..=16).find(|&length| next < self.limits[length as usize])?;
        let place = i32::try_from(next >> (16 - length)).ok()? + self.offsets[length as usize];
        let symbol = self.symbols.get(usize::try_from(place).ok()?)?;
        reader.skip(length);
        Some(*symbol)
    }
}

/// The value that `bits` tell within a category of 1 to 15 (F.2.2.1, EXTEND).
#[inline(always)]
pub(super) fn extended(bits: u32, category: u32) -> i32 {
    let value = bits.cast_signed();
    if bits >> (category - 1) == 0 { value - (1 << category) + 1 } else { value }
}

/// Takes the bits of a category of at most 15 and tells the value.
#[inline(always)]
pub(super) fn take_value(reader: &mut BitReader<'_>, category: u32) -> i32 {
    if category == 0 {
        return 0;
    }
    let bits = u32::try_from(reader.peek(category)).expect("at most 15 bits");
    reader.skip(category);
    extended(bits, category)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::tables::{AC_CHROMINANCE, AC_LUMINANCE, DC_CHROMINANCE, DC_LUMINANCE};

    #[test]
    fn every_code_gives_its_symbol() {
        for lengths in [DC_LUMINANCE, DC_CHROMINANCE, AC_LUMINANCE, AC_CHROMINANCE] {
            let table = Decoding::new(&lengths.counts, lengths.symbols).unwrap();
            let (mut code, mut symbols) = (0_u32, lengths.symbols.iter());
            for (length, &count) in (1..).zip(&lengths.counts) {
                for _ in 0..count {
                    let bytes = (code << (16 - length)).to_be_bytes();
                    let stuffed: Vec<u8> = bytes[2..]
                        .iter()
                        .flat_map(|&byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] })
                        .collect();
                    let mut reader = BitReader::new(&stuffed);
                    reader.refill();
                    assert_eq!(table.symbol(&mut reader), symbols.next().copied());
                    code += 1;
                }
                code <<= 1;
            }
        }
    }

    #[test]
    fn values_at_both_ends_of_a_category() {
        assert_eq!([extended(0, 1), extended(1, 1), extended(0, 3), extended(7, 3)], [-1, 1, -7, 7]);
    }

    #[test]
    fn hostile_tables_are_refused() {
        assert!(Decoding::new(&[255; 16], &[0; 256]).is_none(), "more codes than bits");
        assert!(
            Decoding::new(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[1]).is_none(),
            "a symbol is missing"
        );
    }

    #[test]
    fn a_code_that_is_nobodys_is_told() {
        let table = Decoding::new(&DC_LUMINANCE.counts, DC_LUMINANCE.symbols).unwrap();
        let mut reader = BitReader::new(&[0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0]);
        reader.refill();
        assert_eq!(table.symbol(&mut reader), None);
    }
}
