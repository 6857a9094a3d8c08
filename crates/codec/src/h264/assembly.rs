//! Whether the H.264 code of a program has its assembly.
//!
//! openh264's build leaves the assembly out, without a word, where nasm is missing, and does not look again when it has
//! been installed. What a build script of ours would see at its own time says nothing of that. The program itself tells:
//! a constant that only the assembly has is in it or is not.

use std::hint::black_box;
use std::io::{self, Read};

/// The shuffle masks `pb_scanacdc_maska` and `pb_scanacdc_maskb` of openh264's `encoder/core/x86/score.asm`, which follow
/// one another. Kept masked, so that this code is not what is found.
const MARK: [u8; MARK_BYTES] = masked([
    0, 1, 2, 3, 8, 9, 14, 15, 10, 11, 4, 5, 6, 7, 12, 13, 2, 3, 8, 9, 10, 11, 4, 5, 0, 1, 6, 7, 12, 13, 14, 15,
]);
const MARK_BYTES: usize = 32;
const MASK: u8 = 0x5A;
const CHUNK_BYTES: usize = 1 << 20;

/// Whether the H.264 code in this program file has its assembly; `None` where there is none that needs nasm.
///
/// # Errors
/// A program that cannot be read.
pub fn has_h264_assembly(program: impl Read) -> io::Result<Option<bool>> {
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) { has_mark(program).map(Some) } else { Ok(None) }
}

fn has_mark(mut program: impl Read) -> io::Result<bool> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + MARK_BYTES);
    let mask = black_box(MASK);
    loop {
        let read = program.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        let is_mark = |window: &[u8]| window.iter().zip(&MARK).all(|(byte, mark)| byte ^ mask == *mark);
        if chunk.windows(MARK_BYTES).any(is_mark) {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        // A mark may lie across two chunks.
        chunk.drain(..chunk.len().saturating_sub(MARK_BYTES - 1));
    }
}

const fn masked(mut bytes: [u8; MARK_BYTES]) -> [u8; MARK_BYTES] {
    let mut at = 0;
    while at < MARK_BYTES {
        bytes[at] ^= MASK;
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_it_lies() {
        let mark = MARK.map(|byte| byte ^ MASK);
        let check = |before: usize, mark: &[u8], after: usize, expected: bool| {
            let program = [&vec![0; before], mark, &vec![7; after]].concat();
            assert_eq!(has_mark(&program[..]).unwrap(), expected, "{before} {after}");
        };
        for before in [0, 1, 100, CHUNK_BYTES - 31, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES - 16] {
            check(before, &mark, 0, true);
            check(before, &mark, CHUNK_BYTES, true);
            check(before, &mark[..31], 5, false);
        }
        check(0, &[], 0, false);
        check(0, &MARK, 5, false);
    }

    /// The names of the assembly's functions are in this test's symbols exactly when the assembly is.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[test]
    fn this_program_tells_the_truth_about_itself() {
        use std::fs::{self, File};
        let program = std::env::current_exe().unwrap();
        // Backwards, so that it is not found in this text.
        let name: Vec<u8> = "3esss_cAcD4x4nacSsleW".bytes().rev().collect();
        let has_symbol = fs::read(&program).unwrap().windows(name.len()).any(|window| window == name);
        // Uses the encoder, so that it is linked.
        crate::encoder(&crate::EncoderConfig::new(lumenbus_frame::Codec::H264)).unwrap();
        assert_eq!(has_h264_assembly(File::open(program).unwrap()).unwrap(), Some(has_symbol));
    }
}
