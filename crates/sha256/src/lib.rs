//! SHA-256 (FIPS 180-4) of two streams at a time that share their bytes.
//!
//! A round of SHA-256 waits for the one before it: a processor with instructions for it is idle half of the time. Two
//! streams in turns fill that time, so the second one costs next to nothing. Blocks of a single stream, and all blocks of
//! other processors, are [`sha2`]'s.

#[cfg(target_arch = "x86_64")]
mod x86;

use sha2::digest::generic_array::GenericArray;

const BLOCK_BYTES: usize = 64;
type State = [u32; 8];
type Block = [u8; BLOCK_BYTES];
/// FIPS 180-4, section 5.3.3.
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The hash of a stream so far.
#[derive(Debug, Clone)]
pub struct Sha256 {
    state: State,
    /// The first `held` bytes are of a block that is not complete.
    block: Block,
    held: usize,
    bytes: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl Sha256 {
    /// Of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { state: INITIAL, block: [0; BLOCK_BYTES], held: 0, bytes: 0 }
    }

    /// The stream goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let rest = self.complete_block(bytes);
        let (blocks, rest) = rest.as_chunks();
        compress(&mut self.state, blocks);
        self.hold(rest);
        self.bytes = self.bytes.wrapping_add(bytes.len() as u64);
    }

    /// Both streams go on with these bytes.
    pub fn update_both(&mut self, other: &mut Self, bytes: &[u8]) {
        let ((ours, our_rest), (others, other_rest)) =
            (self.complete_block(bytes).as_chunks(), other.complete_block(bytes).as_chunks());
        let shared = ours.len().min(others.len());
        compress_both((&mut self.state, &ours[..shared]), (&mut other.state, &others[..shared]));
        compress(&mut self.state, &ours[shared..]);
        compress(&mut other.state, &others[shared..]);
        self.hold(our_rest);
        other.hold(other_rest);
        for stream in [self, other] {
            stream.bytes = stream.bytes.wrapping_add(bytes.len() as u64);
        }
    }

    /// The hash.
    #[must_use]
    pub fn finalize(mut self) -> [u8; 32] {
        let bits = self.bytes.wrapping_mul(8);
        let mut end = vec![0x80];
        let length_at = BLOCK_BYTES - 8;
        end.resize(1 + (2 * BLOCK_BYTES + length_at - 1 - self.held) % BLOCK_BYTES, 0);
        end.extend(bits.to_be_bytes());
        self.update(&end);
        let mut hash = [0; 32];
        for (bytes, word) in hash.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        hash
    }

    /// Completes the block that is held, if these bytes do; returns what is left of them.
    fn complete_block<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.held == 0 {
            return bytes;
        }
        let (taken, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.held));
        self.block[self.held..self.held + taken.len()].copy_from_slice(taken);
        self.held += taken.len();
        if self.held == BLOCK_BYTES {
            compress(&mut self.state, &[self.block]);
            self.held = 0;
        }
        rest
    }

    /// Less than a block, behind what is held.
    fn hold(&mut self, rest: &[u8]) {
        self.block[self.held..self.held + rest.len()].copy_from_slice(rest);
        self.held += rest.len();
    }
}

fn compress(state: &mut State, blocks: &[Block]) {
    for block in blocks {
        sha2::compress256(state, std::slice::from_ref(GenericArray::from_slice(block)));
    }
}

/// As many blocks of both.
fn compress_both(a: (&mut State, &[Block]), b: (&mut State, &[Block])) {
    #[cfg(target_arch = "x86_64")]
    if x86::is_supported() {
        x86::compress_both(a, b);
        return;
    }
    compress(a.0, a.1);
    compress(b.0, b.1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest as _;

    fn expected(bytes: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(bytes).into()
    }

    #[test]
    fn every_length_around_a_block() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..200 {
            let mut hash = Sha256::new();
            hash.update(&bytes[..length]);
            assert_eq!(hash.finalize(), expected(&bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn both_ways_of_two_streams_are_the_same() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let (blocks, _) = bytes.as_chunks();
        let (others, _) = bytes[13..].as_chunks();
        let mut both = [INITIAL; 2];
        let [first, second] = &mut both;
        compress_both((first, &blocks[..100]), (second, &others[..100]));
        let mut each = [INITIAL; 2];
        compress(&mut each[0], &blocks[..100]);
        compress(&mut each[1], &others[..100]);
        assert_eq!(both, each);
    }

    proptest! {
        /// Pieces of either kind: the one hash is of all of them, the other of those that are shared.
        #[test]
        fn pieces_are_their_sum(pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..400), any::<bool>()), 0..20)) {
            let (mut all, mut shared) = (Sha256::new(), Sha256::new());
            let (mut all_bytes, mut shared_bytes) = (Vec::new(), Vec::new());
            for (piece, is_shared) in &pieces {
                all_bytes.extend(piece);
                if *is_shared {
                    shared_bytes.extend(piece);
                    all.update_both(&mut shared, piece);
                } else {
                    all.update(piece);
                }
            }
            prop_assert_eq!(all.finalize(), expected(&all_bytes));
            prop_assert_eq!(shared.finalize(), expected(&shared_bytes));
        }
    }
}
