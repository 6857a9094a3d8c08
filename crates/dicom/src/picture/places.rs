//! Which bytes of the blob are a frame's.

use super::{Coding, Image, MAX_FRAME_BYTES, NoPicture};
use crate::record::{Grouping, Metadata, Pixels};
use std::ops::Range;

/// The bytes of one frame, as ranges of the blob in order; a frame that is not compressed is one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramePlace {
    /// Ascending.
    pub ranges: Vec<Range<u64>>,
    /// Where in the first range the frame begins, in bits.
    pub(super) first_bit: u32,
}

impl FramePlace {
    /// Bytes in all.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// The chunks that hold any of them: index, and where the chunk begins in the blob.
    #[must_use]
    pub fn chunks(&self, metadata: &Metadata) -> Vec<(usize, u64)> {
        let mut start = 0;
        let mut wanted = Vec::new();
        for (index, chunk) in metadata.chunks.iter().enumerate() {
            let end = start + u64::from(chunk.length);
            if self.ranges.iter().any(|range| range.start < end && start < range.end) {
                wanted.push((index, start));
            }
            start = end;
        }
        wanted
    }

    /// Of a chunk that begins at `start` in the blob, what is the frame's, in order.
    pub fn of_chunk<'a>(&'a self, start: u64, chunk: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.ranges.iter().filter_map(move |range| {
            let place = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(chunk.len());
            let piece = place(range.start)..place(range.end);
            if piece.is_empty() { None } else { chunk.get(piece) }
        })
    }
}

impl Image {
    /// Where a frame is, from 0.
    ///
    /// # Errors
    /// No such frame, one that is not all there, or one that is too large.
    pub fn place(&self, metadata: &Metadata, frame: u64) -> Result<FramePlace, NoPicture> {
        let pixels = metadata.pixels.as_ref().ok_or(NoPicture::NoPixels)?;
        if frame >= self.frames {
            return Err(NoPicture::NoFrame);
        }
        let place = if self.coding == Coding::Native {
            self.native(pixels, frame)?
        } else {
            FramePlace { ranges: fragments(pixels, frame, self.frames)?, first_bit: 0 }
        };
        if place.length() > MAX_FRAME_BYTES { Err(NoPicture::TooLarge) } else { Ok(place) }
    }

    fn native(&self, pixels: &Pixels, frame: u64) -> Result<FramePlace, NoPicture> {
        let bits = self.native_bits();
        let first = bits.checked_mul(frame).ok_or(NoPicture::NoFrame)?;
        let end = first.checked_add(bits).ok_or(NoPicture::NoFrame)?.div_ceil(8);
        if end > pixels.length {
            return Err(NoPicture::Damaged { what: "the frame is not all there" });
        }
        // Words that hold two bytes each are read whole.
        let (start, end) = match self.is_swapped {
            true => (first / 16 * 2, end.next_multiple_of(2).min(pixels.length)),
            false => (first / 8, end),
        };
        let first_bit = u32::try_from(first - start * 8).unwrap_or(0);
        let whole = start..end;
        Ok(FramePlace { ranges: vec![whole], first_bit })
    }
}

/// The values of the fragments of a frame.
fn fragments(pixels: &Pixels, frame: u64, frames: u64) -> Result<Vec<Range<u64>>, NoPicture> {
    const MANY: NoPicture = NoPicture::Form { what: "frames beyond the listed fragments" };
    let at = usize::try_from(frame).map_err(|_| NoPicture::NoFrame)?;
    let (first, count) = match &pixels.grouping {
        Grouping::Single => (0, pixels.fragments),
        Grouping::OnePerFrame => (frame, 1),
        Grouping::Counts(counts) => {
            let before = counts.get(..at).ok_or(NoPicture::NoFrame)?;
            let count = counts.get(at).ok_or(NoPicture::NoFrame)?;
            (before.iter().map(|&count| u64::from(count)).sum(), u64::from(*count))
        }
        Grouping::Unknown if frames == 1 => (0, pixels.fragments),
        Grouping::Unknown | Grouping::Native(_) => {
            return Err(NoPicture::Damaged { what: "nothing says which fragments are the frame's" });
        }
    };
    if first + count > pixels.fragment_lengths.len() as u64 {
        return Err(MANY);
    }
    let (first, count) = (usize::try_from(first).map_err(|_| MANY)?, usize::try_from(count).map_err(|_| MANY)?);
    let ranges = pixels.fragment_ranges().skip(first).take(count);
    let ranges = ranges.map(|(start, length)| start..start + u64::from(length)).collect::<Vec<_>>();
    match ranges.last() {
        Some(last) if last.end <= pixels.length => Ok(ranges),
        _ => Err(NoPicture::Damaged { what: "the frame is not all there" }),
    }
}
