//! Two streams in turns with the SHA extensions of x86.

use super::{Block, State};
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_sha256msg1_epu32,
    _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
};

/// FIPS 180-4, section 4.2.2.
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// Whether this processor has the instructions.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// As many blocks of both. Only where [`is_supported`].
#[expect(unsafe_code, reason = "the processor is asked whether it has the instructions")]
pub(super) fn compress_both(a: (&mut State, &[Block]), b: (&mut State, &[Block])) {
    assert!(is_supported());
    // SAFETY: the assertion is what the function needs.
    unsafe { blocks(a, b) }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn blocks((a_state, a): (&mut State, &[Block]), (b_state, b): (&mut State, &[Block])) {
    let [(mut a_abef, mut a_cdgh), (mut b_abef, mut b_cdgh)] = [open(a_state), open(b_state)];
    for (a, b) in a.iter().zip(b) {
        let before = [a_abef, a_cdgh, b_abef, b_cdgh];
        let (mut a_words, mut b_words) = (words(a), words(b));
        macro_rules! four_rounds {
            ($($number:literal)*) => { $(
                if $number >= 4 {
                    a_words = scheduled(a_words);
                    b_words = scheduled(b_words);
                }
                let newest = if $number >= 4 { 3 } else { $number };
                let added = constants($number);
                let a_input = _mm_add_epi32(a_words[newest], added);
                let b_input = _mm_add_epi32(b_words[newest], added);
                a_cdgh = _mm_sha256rnds2_epu32(a_cdgh, a_abef, a_input);
                b_cdgh = _mm_sha256rnds2_epu32(b_cdgh, b_abef, b_input);
                a_abef = _mm_sha256rnds2_epu32(a_abef, a_cdgh, _mm_shuffle_epi32::<0x0E>(a_input));
                b_abef = _mm_sha256rnds2_epu32(b_abef, b_cdgh, _mm_shuffle_epi32::<0x0E>(b_input));
            )* };
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        a_abef = _mm_add_epi32(a_abef, before[0]);
        a_cdgh = _mm_add_epi32(a_cdgh, before[1]);
        b_abef = _mm_add_epi32(b_abef, before[2]);
        b_cdgh = _mm_add_epi32(b_cdgh, before[3]);
    }
    *a_state = close(a_abef, a_cdgh);
    *b_state = close(b_abef, b_cdgh);
}

/// The state in the order of the instructions.
#[target_feature(enable = "sse2")]
fn open(state: &State) -> (__m128i, __m128i) {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    (_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h))
}

#[target_feature(enable = "sse4.1")]
fn close(abef: __m128i, cdgh: __m128i) -> State {
    [
        _mm_extract_epi32::<3>(abef),
        _mm_extract_epi32::<2>(abef),
        _mm_extract_epi32::<3>(cdgh),
        _mm_extract_epi32::<2>(cdgh),
        _mm_extract_epi32::<1>(abef),
        _mm_extract_epi32::<0>(abef),
        _mm_extract_epi32::<1>(cdgh),
        _mm_extract_epi32::<0>(cdgh),
    ]
    .map(i32::cast_unsigned)
}

/// A block's sixteen words, which are big endian.
#[target_feature(enable = "ssse3")]
fn words(block: &Block) -> [__m128i; 4] {
    let (quarters, _) = block.as_chunks::<16>();
    let mut words = [_mm_set_epi64x(0, 0); 4];
    for (word, quarter) in words.iter_mut().zip(quarters) {
        let [low, high] = [0, 8].map(|at| {
            let bytes = quarter[at..].first_chunk().copied().unwrap_or_default();
            i64::from_le_bytes(bytes)
        });
        let reversed = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
        *word = _mm_shuffle_epi8(_mm_set_epi64x(high, low), reversed);
    }
    words
}

#[target_feature(enable = "sse2")]
fn constants(number: usize) -> __m128i {
    let [a, b, c, d] = [0, 1, 2, 3].map(|word| K[4 * number + word].cast_signed());
    _mm_set_epi32(d, c, b, a)
}

/// The next four words behind these sixteen (FIPS 180-4, section 6.2.2).
#[target_feature(enable = "sha,ssse3")]
fn scheduled([first, second, third, fourth]: [__m128i; 4]) -> [__m128i; 4] {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8::<4>(fourth, third));
    [second, third, fourth, _mm_sha256msg2_epu32(sum, fourth)]
}
