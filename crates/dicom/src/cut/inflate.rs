//! The beginning of a deflated data set, for its attributes only.

use flate2::{Decompress, FlushDecompress, Status};

/// Most bytes that are inflated; what lies behind has no attributes.
pub const MAX_INFLATED_BYTES: usize = 4 << 20;
const STEP_BYTES: usize = 32 << 10;

/// Inflates until there is enough, the stream ends, or it is none.
#[derive(Debug)]
pub(super) struct Inflater {
    stream: Option<Decompress>,
    inflated: Vec<u8>,
    has_ended: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { stream: Some(Decompress::new(false)), inflated: Vec::new(), has_ended: false }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(stream) = &mut self.stream {
            let room = STEP_BYTES.min(MAX_INFLATED_BYTES - self.inflated.len());
            if room == 0 {
                self.stream = None;
                return;
            }
            let (taken_before, given_before) = (stream.total_in(), self.inflated.len());
            self.inflated.reserve(room);
            let status = stream.decompress_vec(bytes, &mut self.inflated, FlushDecompress::None);
            // The vector may have had more room than it was asked to.
            self.inflated.truncate(MAX_INFLATED_BYTES);
            let taken = usize::try_from(stream.total_in() - taken_before).unwrap_or(bytes.len());
            bytes = bytes.get(taken..).unwrap_or_default();
            match status {
                Ok(Status::StreamEnd) => {
                    self.has_ended = true;
                    self.stream = None;
                }
                Ok(Status::Ok | Status::BufError) if taken > 0 || self.inflated.len() > given_before => {}
                // Nothing moved: all is taken.
                Ok(Status::Ok | Status::BufError) if bytes.is_empty() => return,
                Ok(Status::Ok | Status::BufError) | Err(_) => self.stream = None,
            }
        }
    }

    /// What there is, and whether it is all.
    pub(super) fn finish(self) -> (Vec<u8>, bool) {
        (self.inflated, self.has_ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_bomb_gives_no_more_than_the_limit() {
        let mut bomb = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..64 {
            bomb.write_all(&[0; 1 << 20]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        for piece in [1, 7, 4096, bomb.len()] {
            let mut inflater = Inflater::new();
            bomb.chunks(piece).for_each(|piece| inflater.push(piece));
            let capacity = inflater.inflated.capacity();
            let (inflated, whole) = inflater.finish();
            assert_eq!((inflated.len(), whole), (MAX_INFLATED_BYTES, false), "pieces of {piece}");
            assert!(capacity <= 2 * MAX_INFLATED_BYTES, "{capacity}");
        }
    }
}
