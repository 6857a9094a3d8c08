//! The tables of ITU-T T.81: scan order, quantisation and Huffman codes of Annex K.

/// Zigzag index → place in a block that is stored column by column (8 × horizontal + vertical frequency), as the
/// transform leaves it (figure A.6, transposed).
pub(super) const PLACE_OF_ZIGZAG: [u8; 64] = transposed(&NATURAL_OF_ZIGZAG);

/// Place in such a block → zigzag index.
pub(super) const ZIGZAG_OF_PLACE: [u8; 64] = inverse(&PLACE_OF_ZIGZAG);

/// Zigzag index → row by row place (figure A.6).
pub(super) const NATURAL_OF_ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

const fn transposed(order: &[u8; 64]) -> [u8; 64] {
    let mut places = [0; 64];
    let mut at = 0;
    while at < 64 {
        places[at] = order[at] % 8 * 8 + order[at] / 8;
        at += 1;
    }
    places
}

#[expect(clippy::cast_possible_truncation, reason = "indices below 64; `try_from` is not const")]
const fn inverse(order: &[u8; 64]) -> [u8; 64] {
    let mut places = [0; 64];
    let mut at = 0;
    while at < 64 {
        places[order[at] as usize] = at as u8;
        at += 1;
    }
    places
}

/// Table K.1, row by row.
pub(super) const LUMINANCE: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// Table K.2, row by row.
pub(super) const CHROMINANCE: [u8; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99,
];

/// A table for a quality of 1 to 100 as libjpeg and everybody after it scales it, so that a quality means the same.
pub(super) fn scaled(table: &[u8; 64], quality: u8) -> [u8; 64] {
    let quality = u32::from(quality.clamp(1, 100));
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    table.map(|step| u8::try_from(((u32::from(step) * percent + 50) / 100).clamp(1, 255)).expect("clamped"))
}

/// How many codes there are of each length from 1 to 16, and their symbols in order (B.2.4.2).
#[derive(Clone, Copy)]
pub(super) struct CodeLengths {
    pub(super) counts: [u8; 16],
    pub(super) symbols: &'static [u8],
}

/// Table K.3.
pub(super) const DC_LUMINANCE: CodeLengths =
    CodeLengths { counts: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], symbols: &DC_SYMBOLS };
/// Table K.4.
pub(super) const DC_CHROMINANCE: CodeLengths =
    CodeLengths { counts: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], symbols: &DC_SYMBOLS };
const DC_SYMBOLS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
/// Table K.5.
pub(super) const AC_LUMINANCE: CodeLengths = CodeLengths {
    counts: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d],
    symbols: &[
        0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
        0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
        0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
        0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
        0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
        0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
        0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
        0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
        0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
    ],
};
/// Table K.6.
pub(super) const AC_CHROMINANCE: CodeLengths = CodeLengths {
    counts: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
    symbols: &[
        0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
        0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
        0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
        0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
        0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
        0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
        0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
        0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
        0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_are_permutations_and_each_others_inverse() {
        let mut seen = NATURAL_OF_ZIGZAG;
        seen.sort_unstable();
        assert!(seen.iter().enumerate().all(|(at, &place)| at == usize::from(place)));
        for zigzag in 0..64 {
            let (place, natural) = (PLACE_OF_ZIGZAG[zigzag], NATURAL_OF_ZIGZAG[zigzag]);
            assert_eq!((place / 8, place % 8), (natural % 8, natural / 8));
            assert_eq!(usize::from(ZIGZAG_OF_PLACE[usize::from(place)]), zigzag);
        }
    }

    #[test]
    fn qualities_scale_as_everywhere() {
        assert_eq!(scaled(&LUMINANCE, 50), LUMINANCE);
        assert_eq!(scaled(&LUMINANCE, 75)[..3], [8, 6, 5]);
        assert_eq!(scaled(&LUMINANCE, 100), [1; 64]);
        assert_eq!(scaled(&CHROMINANCE, 1)[0], 255);
    }

    #[test]
    fn every_length_has_its_symbols() {
        for lengths in [DC_LUMINANCE, DC_CHROMINANCE, AC_LUMINANCE, AC_CHROMINANCE] {
            let codes: usize = lengths.counts.iter().map(|&count| usize::from(count)).sum();
            assert_eq!(codes, lengths.symbols.len());
            let mut symbols = lengths.symbols.to_vec();
            symbols.sort_unstable();
            symbols.dedup();
            assert_eq!(codes, symbols.len());
        }
    }
}
