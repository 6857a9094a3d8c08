//! Changing a prefix under a CRC-32C without reading what follows it.
//!
//! A CRC is linear: the checksums of `old ++ rest` and `new ++ rest` differ by the difference of the prefixes'
//! checksums, moved over as many zero bytes as `rest` has. That move is a multiplication by `x^(8n)` modulo the
//! polynomial, 32 shifts per set bit of `n`, whatever the size of `rest`.

/// The Castagnoli polynomial, reflected (RFC 3720, appendix B.4).
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Below this many bytes the hardware reads them faster than the multiplication takes.
const CHEAPER_TO_READ_BYTES: usize = 16 * 1024;

/// `x^(2^k)` modulo the polynomial.
const SQUARES: [u32; 32] = squares();

/// The checksum after `old` was replaced by `new` (of equal length) in front of `rest`.
pub(crate) fn replace_prefix(crc: u32, old: &[u8], new: &[u8], rest: &[u8]) -> u32 {
    let prefix = crc32c::crc32c(new);
    if rest.len() < CHEAPER_TO_READ_BYTES {
        return crc32c::crc32c_append(prefix, rest);
    }
    crc ^ shift(crc32c::crc32c(old) ^ prefix, rest.len())
}

/// Moves a difference of checksums over `bytes` following bytes.
fn shift(difference: u32, bytes: usize) -> u32 {
    let mut power = 1_u32 << 31;
    let mut remaining = bytes;
    let mut square = 3;
    while remaining > 0 {
        if remaining & 1 == 1 {
            power = multiply(SQUARES[square & 31], power);
        }
        remaining >>= 1;
        square += 1;
    }
    multiply(power, difference)
}

/// Product modulo the polynomial, bit-reflected.
const fn multiply(a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut factor = b;
    let mut mask = 1_u32 << 31;
    while mask != 0 {
        if a & mask != 0 {
            product ^= factor;
        }
        factor = if factor & 1 == 1 { (factor >> 1) ^ POLYNOMIAL } else { factor >> 1 };
        mask >>= 1;
    }
    product
}

const fn squares() -> [u32; 32] {
    let mut table = [1 << 30; 32];
    let mut k = 1;
    while k < 32 {
        table[k] = multiply(table[k - 1], table[k - 1]);
        k += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn replacing_equals_reading_again(
            old in proptest::collection::vec(any::<u8>(), 40),
            new in proptest::collection::vec(any::<u8>(), 40),
            rest in 0_usize..200_000,
        ) {
            let rest: Vec<u8> = (0..rest).map(|i| (i * 31 % 251).to_le_bytes()[0]).collect();
            let before = crc32c::crc32c_append(crc32c::crc32c(&old), &rest);
            let after = crc32c::crc32c_append(crc32c::crc32c(&new), &rest);
            prop_assert_eq!(replace_prefix(before, &old, &new, &rest), after);
        }
    }
}
