//! Where the blob is cut into chunks.

use super::Part;
use bytes::Bytes;

/// Collects the blob until a chunk is full.
///
/// A unit (frames of equal length, or a fragment) that fits into a chunk is never cut. Units share a chunk while they fit
/// together; a unit that does not fit begins where the one before it ended.
#[derive(Debug)]
pub(super) struct Chunker {
    most: usize,
    held: Vec<u8>,
    /// Chunks of native frames: so many bytes, a multiple of the frame's.
    full: usize,
    /// Where in `held` the last unit begins, if it fits into a chunk.
    unit_at: Option<usize>,
}

impl Chunker {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Vec::new(), full: most, unit_at: None }
    }

    pub(super) fn push<E>(&mut self, part: Part<'_>, sink: &mut impl FnMut(Bytes) -> Result<(), E>) -> Result<(), E> {
        match part {
            Part::Head { .. } => {}
            Part::Frames { length } => {
                let frame = usize::try_from(length).unwrap_or(usize::MAX).max(1);
                self.full = if frame <= self.most { self.most - self.most % frame } else { self.most };
            }
            Part::Unit { length } => {
                self.unit_at = (length <= self.most as u64).then_some(self.held.len());
            }
            Part::Blob(bytes) => return self.blob(bytes, sink),
        }
        Ok(())
    }

    fn blob<E>(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(Bytes) -> Result<(), E>) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.held.len() == self.full {
                self.cut(sink)?;
            }
            let taken = bytes.len().min(self.full - self.held.len());
            self.reserve(taken);
            self.held.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Doubles up to a chunk's size: most objects are smaller than one.
    fn reserve(&mut self, more: usize) {
        super::grow(&mut self.held, more, self.full);
    }

    fn cut<E>(&mut self, sink: &mut impl FnMut(Bytes) -> Result<(), E>) -> Result<(), E> {
        let at = self.unit_at.take().filter(|&at| at > 0).unwrap_or(self.held.len());
        let rest = self.held[at..].to_vec();
        let mut full = std::mem::replace(&mut self.held, rest);
        full.truncate(at);
        // Where the rest began a unit, it begins one still.
        self.unit_at = (!self.held.is_empty()).then_some(0);
        sink(Bytes::from(full))
    }

    pub(super) fn finish<E>(self, sink: &mut impl FnMut(Bytes) -> Result<(), E>) -> Result<(), E> {
        if self.held.is_empty() { Ok(()) } else { sink(Bytes::from(self.held)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn lengths(most: usize, parts: &[(Option<u64>, usize)], frame: Option<u64>) -> Vec<usize> {
        let mut lengths = Vec::new();
        let mut chunker = Chunker::new(most);
        let mut sink = |chunk: Bytes| -> Result<(), Infallible> {
            lengths.push(chunk.len());
            Ok(())
        };
        if let Some(length) = frame {
            chunker.push(Part::Frames { length }, &mut sink).unwrap();
        }
        for &(unit, bytes) in parts {
            if let Some(length) = unit {
                chunker.push(Part::Unit { length }, &mut sink).unwrap();
            }
            for byte in vec![0; bytes] {
                chunker.push(Part::Blob(&[byte]), &mut sink).unwrap();
            }
        }
        chunker.finish(&mut sink).unwrap();
        lengths
    }

    #[test]
    fn units_that_fit_are_not_cut() {
        let unit = |bytes: usize| (Some(bytes as u64), bytes);
        assert_eq!(lengths(100, &[unit(60), unit(60), unit(30), unit(20)], None), [60, 90, 20]);
        assert_eq!(lengths(100, &[unit(100), unit(100), unit(1)], None), [100, 100, 1]);
        // The one that fits nowhere is cut anywhere; the next that fits is whole again.
        assert_eq!(lengths(100, &[unit(30), unit(250), unit(80), unit(10)], None), [100, 100, 80, 90]);
        assert_eq!(lengths(100, &[(None, 250)], None), [100, 100, 50]);
    }

    #[test]
    fn native_frames_share_chunks_in_whole_numbers() {
        assert_eq!(lengths(100, &[(None, 120)], Some(30)), [90, 30]);
        assert_eq!(lengths(100, &[(None, 300)], Some(150)), [100, 100, 100]);
        assert_eq!(lengths(100, &[(None, 3)], Some(1)), [3]);
    }
}
